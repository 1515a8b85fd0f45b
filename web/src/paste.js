/** Text that is pasted: it comes from anywhere, and a program that asked for marks takes what is between them for text. */

/** Marks of bracketed paste, which are a terminal's to write. */
const MARKS = /\x1b\[20[01]~/g;
/** So often marks are left out that stand there once others were; text with more of them was made to deceive. */
const PASSES = 8;

/** The text without what would end its own paste, and have what follows taken for typed. @param {string} text */
export function withoutMarks(text) {
  for (let pass = 0; pass < PASSES; pass++) {
    const next = text.replace(MARKS, '');
    if (next === text) return text;
    text = next;
  }
  return text.replaceAll('\x1b', '');
}
