// Judges snapshots with Ghostty's core, headless (ghostty-web): one terminal is fed with what the program wrote, another, which
// was used before, with the snapshot; they must be the same, and stay so when both are fed with the continuation.
//
//   node ghostty_oracle.mjs ghostty_allowed.txt < cases.json
//
// Ghostty clusters (its mode 2027 is on until somebody says otherwise), and a view leaves that as it is: the snapshot is of a model
// that was told so. Exits 1 if a case differs that is not allowed to, or the other way round.
import { readFileSync } from 'node:fs';
import { print, terminal } from './ghostty.mjs';

const USED = '\x1b[31mold\x1b[?1049h\x1b[2;4r\x1b[?6h\x1b[4h\x1b(0\x1b[?25l\x1b[?2004h\x1b[?1003h\x1b[?1006h\x1b[5 qrubbish\x1b]8;;http://old/\x1b\\';
const MODES = [1, 5, 6, 7, 25, 45, 66, 69, 1000, 1002, 1003, 1004, 1006, 1016, 2004, 2031, 2048];

function feed(t, bytes) {
  // What a view takes out: how the terminal measures stays as it is.
  const text = bytes.toString('latin1').replaceAll('\x1b[?2027l', '').replaceAll('\x1b[?2027h', '');
  if (text) t.write(Buffer.from(text, 'latin1'));
}

const hex = (r, g, b) => ((r << 16) | (g << 8) | b).toString(16);

function line(cells, text) {
  const all = cells.map((cell, x) => {
    const bg = hex(cell.bg_r, cell.bg_g, cell.bg_b);
    // Of a blank only its background counts.
    if (cell.codepoint === 0 || cell.codepoint === 32) return `blank ${bg}`;
    const chars = cell.grapheme_len ? text(x) : String.fromCodePoint(cell.codepoint);
    return `${chars} ${cell.width} ${hex(cell.fg_r, cell.fg_g, cell.fg_b)} ${bg} ${cell.flags} ${cell.hyperlink_id ? 'link' : ''}`;
  });
  return all;
}

function state(c, t) {
  const made = !/-\d+$/.test(c.name);
  t.update();
  const cursor = t.getCursor();
  const s = { cursor: `${cursor.x},${cursor.y} ${cursor.visible}`, alternate: t.isAlternateScreen() };
  const cells = t.getViewport().map((cell) => ({ ...cell }));
  for (let y = 0; y < c.rows; y++) {
    s[`row ${y}`] = line(cells.slice(y * c.cols, (y + 1) * c.cols), (x) => t.getGraphemeString(y, x));
    if (made) s[`wrapped ${y}`] = t.isRowWrapped(y);
  }
  const history = t.getScrollbackLength();
  s.history = history;
  for (let y = 0; y < history; y++) {
    s[`history ${y}`] = line(t.getScrollbackLine(y), (x) => t.getScrollbackGraphemeString(y, x));
  }
  for (const mode of MODES) s[`mode ${mode}`] = t.getMode(mode, false);
  for (const mode of [4, 20]) s[`ansi ${mode}`] = t.getMode(mode, true);
  return s;
}

function differ(a, b) {
  const out = [];
  for (const k of Object.keys({ ...a, ...b })) {
    if (Array.isArray(a[k]) && Array.isArray(b[k])) {
      const x = a[k].findIndex((v, i) => v !== b[k][i]);
      if (x >= 0) out.push(`${k} column ${x}: ${a[k][x]} != ${b[k][x]}`);
    } else if (a[k] !== b[k]) out.push(`${k}: ${a[k]} != ${b[k]}`);
  }
  return out.slice(0, 6);
}

const allowed = readFileSync(process.argv[2], 'utf8').split('\n').filter((l) => l.includes(': ')).map((l) => l.split(':')[0]);
const may = (name) => allowed.includes(name) || allowed.some((a) => a.endsWith('*') && name.startsWith(a.slice(0, -1)));
// Of xterm-* xterm is the only judge, and of kitty-* kitty; random-N: see ghostty_allowed.txt.
const cases = JSON.parse(readFileSync(0, 'utf8')).filter((c) => !/^(xterm|kitty|random)-/.test(c.name));
let bad = 0;
let exact = 0;
for (const c of cases) {
  const bytes = (k) => Buffer.from(c[k], 'base64');
  const [one, two] = [await terminal(c.cols, c.rows), await terminal(c.cols, c.rows)];
  feed(one, bytes('original'));
  feed(two, Buffer.from(USED));
  feed(two, bytes('ghostty'));
  const found = differ(state(c, one), state(c, two));
  feed(one, bytes('continuation'));
  feed(two, bytes('continuation'));
  found.push(...differ(state(c, one), state(c, two)).map((l) => `then ${l}`));
  if (!found.length) exact++;
  if (found.length ? !may(c.name) : allowed.includes(c.name)) {
    bad++;
    console.error(`${c.name}:${found.length ? '' : ' is allowed to differ and does not'}\n  ${found.join('\n  ')}`);
  }
}
print(JSON.stringify({ cases: cases.length, exact, bad }));
console.error(`${cases.length} cases, ${exact} exact, ${bad} wrong`);
process.exit(bad ? 1 : 0);
