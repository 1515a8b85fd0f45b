/**
 * How wide characters are: as the model of a job's holder counts (`terminal/src/width.rs`), so that cursor and text agree. Each
 * code point has its own cells, and what has none joins the cell before; where the job asked for clusters (mode 2027), a cluster
 * is one character.
 */

import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes';

/** @typedef {import('@xterm/xterm').Terminal} Terminal */
/** @typedef {import('@xterm/xterm').IUnicodeVersionProvider} Provider */

const CLUSTERS = '15-graphemes';
const CODE_POINTS = 'code-points';
/** Marks, variation selectors, joiners; vowels and finals of Hangul. */
const NO_CELL = /^[\p{Mn}\p{Me}\p{Default_Ignorable_Code_Point}\u1160-\u11ff\ud7b0-\ud7ff]$/u;

/** What the addon knows, which is asked for nothing but to hand it over. @returns {Provider[]} */
function providers() {
  /** @type {Provider[]} */
  const known = [];
  const shim = { unicode: { register: (/** @type {Provider} */ one) => known.push(one), versions: [], activeVersion: '' } };
  new UnicodeGraphemesAddon().activate(/** @type {any} */ (shim));
  return known;
}

/** What xterm.js keeps of a character: a state of the provider's, its width, and whether it joins the one before. @param {number} width @param {boolean} joins */
const kept = (width, joins) => (width << 1) | (joins ? 1 : 0);

/** @param {Provider} clusters @returns {Provider} */
function codePoints(clusters) {
  /** @type {Map<number, 0 | 1 | 2>} */
  const seen = new Map();
  const wcwidth = (/** @type {number} */ codePoint) => {
    if (codePoint < 0x300) return 1;
    const known = seen.get(codePoint);
    if (known !== undefined) return known;
    const width = NO_CELL.test(String.fromCodePoint(codePoint)) ? 0 : clusters.wcwidth(codePoint);
    seen.set(codePoint, width);
    return width;
  };
  return {
    version: CODE_POINTS,
    wcwidth,
    charProperties: (codePoint, before) => {
      const width = wcwidth(codePoint);
      const widthBefore = (before >> 1) & 3;
      return width === 0 && widthBefore > 0 ? kept(widthBefore, true) : kept(width, false);
    },
  };
}

/** @param {Terminal} terminal */
export function countAsTheModel(terminal) {
  const clusters = providers().find(({ version }) => version === CLUSTERS);
  if (!clusters) return;
  for (const provider of [clusters, codePoints(clusters)]) terminal.unicode.register(provider);
  const set = (/** @type {string} */ version) => (/** @type {(number | number[])[]} */ modes) => {
    if (modes.includes(2027)) terminal.unicode.activeVersion = version;
    return false;
  };
  terminal.unicode.activeVersion = CODE_POINTS;
  terminal.parser.registerCsiHandler({ prefix: '?', final: 'h' }, set(CLUSTERS));
  terminal.parser.registerCsiHandler({ prefix: '?', final: 'l' }, set(CODE_POINTS));
}
