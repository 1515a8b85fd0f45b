// Judges what a view writes when its window changes its size, with headless xterm.js: scrollback and screen as one must hold each
// line once.
//
//   node xterm_sizes.mjs < sizes.json
//
// Exits 1 if a case differs.
import pkg from '@xterm/headless';
import { readFileSync } from 'node:fs';
const { Terminal } = pkg;

// Lines of another width: xterm.js takes fewer rows back from its scrollback, or more, than others do; a view cannot know.
const ALLOWED = ['wider', 'wider-and-higher', 'narrower', 'narrower-and-back'];

const cases = JSON.parse(readFileSync(0));
let bad = 0;
for (const { name, steps, text } of cases) {
  const term = new Terminal({ cols: 20, rows: 8, scrollback: 2000, allowProposedApi: true, logLevel: 'off' });
  for (const [kind, ...what] of steps) {
    if (kind === 'size') term.resize(...what);
    else await new Promise((done) => term.write(Buffer.from(what[0], 'hex'), done));
  }
  const lines = [];
  for (let y = 0; y < term.buffer.normal.length; y++) {
    const row = term.buffer.normal.getLine(y);
    const written = row.translateToString(true);
    if (row.isWrapped) lines[lines.length - 1] += written;
    else lines.push(written);
  }
  while (lines.length && !lines.at(-1)) lines.pop();
  if (JSON.stringify(lines) !== JSON.stringify(text) && !ALLOWED.includes(name)) {
    bad += 1;
    console.error(`${name}: ${lines} != ${text}`);
  }
}
console.error(`${cases.length} changes of size, ${bad} wrong`);
process.exit(bad ? 1 : 0);
