// Judges what a view writes when its window changes its size, with Ghostty's core: scrollback and screen as one must hold all that
// was written once.
//
//   node ghostty_sizes.mjs < sizes.json
//
// Exits 1 if a case differs.
import { readFileSync } from 'node:fs';
import { terminal } from './ghostty.mjs';

const line = (cells) => cells.map((c) => (c.codepoint ? String.fromCodePoint(c.codepoint) : '')).join('');

const cases = JSON.parse(readFileSync(0));
let bad = 0;
for (const { name, steps, text } of cases) {
  let [cols, rows] = [20, 8];
  const term = await terminal(cols, rows);
  for (const [kind, ...what] of steps) {
    if (kind === 'size') {
      [cols, rows] = what;
      term.resize(cols, rows);
    } else term.write(Buffer.from(what[0], 'hex'));
  }
  term.update();
  const history = Array.from({ length: term.getScrollbackLength() }, (_, y) => line(term.getScrollbackLine(y)));
  // How it was wrapped is not asked: rows are one after the other.
  const found = history.join('') + line(term.getViewport());
  if (found !== text.join('')) {
    bad += 1;
    console.error(`${name}: ${found} != ${text.join('')}`);
  }
}
console.error(`${cases.length} changes of size, ${bad} wrong`);
process.exit(bad ? 1 : 0);
