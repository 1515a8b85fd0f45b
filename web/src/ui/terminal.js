/** A terminal of xterm.js, as every pane has one: its addons, its colours, and who of all views answers a job's questions. */

import { ClipboardAddon } from '@xterm/addon-clipboard';
import { FitAddon } from '@xterm/addon-fit';
import { ProgressAddon } from '@xterm/addon-progress';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import { isDark, settings } from '../settings.js';
import { countAsTheModel } from './widths.js';

const FONT = 'ui-monospace, "Cascadia Code", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
const LINES = 10_000;
/** More terminals than that at a time have no room on a graphics card. */
const WEBGL_MAX = 8;

const DARK = {
  background: '#101418', foreground: '#d8dee6', cursor: '#7cc4ff', cursorAccent: '#101418', selectionBackground: '#2f4a66',
  black: '#1c232b', red: '#ff7b72', green: '#7ee2a0', yellow: '#e8c667', blue: '#79b8ff', magenta: '#d2a8ff', cyan: '#76d9e6',
  white: '#d8dee6', brightBlack: '#6b7785', brightRed: '#ffa198', brightGreen: '#a5f0bd', brightYellow: '#f5dc94',
  brightBlue: '#a5d3ff', brightMagenta: '#e2c5ff', brightCyan: '#a5ecf5', brightWhite: '#ffffff',
};
const LIGHT = {
  background: '#fbfcfd', foreground: '#1d2733', cursor: '#0b6bcb', cursorAccent: '#fbfcfd', selectionBackground: '#bfdcf7',
  black: '#1d2733', red: '#b3261e', green: '#1a7f42', yellow: '#8a6100', blue: '#0b5cad', magenta: '#7d3cb5', cyan: '#0c7286',
  white: '#5d6874', brightBlack: '#6b7785', brightRed: '#d13a31', brightGreen: '#21964f', brightYellow: '#a67600',
  brightBlue: '#1273d4', brightMagenta: '#9650d1', brightCyan: '#10879e', brightWhite: '#3a4653',
};

/** The colours of now. */
export const theme = () => (isDark() ? DARK : LIGHT);

/** Opens what a job links to, if that is a page; nothing else is followed. @param {string} uri */
function follow(uri) {
  if (/^https?:\/\//i.test(uri)) window.open(uri, '_blank', 'noopener,noreferrer');
}

/** A terminal parses a piece in one go, and looks at keys in between: so many bytes take it a few milliseconds. */
const PIECE = 8 * 1024;

/** Gives a terminal bytes, so that it can look up in between. @param {Terminal} terminal @param {Uint8Array} bytes @param {() => void} took all of it is in the terminal */
export function feed(terminal, bytes, took) {
  let at = 0;
  for (; bytes.length - at > PIECE; at += PIECE) terminal.write(bytes.subarray(at, at + PIECE));
  terminal.write(bytes.subarray(at), took);
}

/**
 * @typedef {object} Pieces
 * @property {Terminal} terminal
 * @property {FitAddon} fit
 * @property {ProgressAddon} progress
 */

/**
 * @param {{ leads: () => boolean, answers: () => void, copied: (text: string) => void, link: (uri: string) => void }} to
 *   `leads`: this terminal is the one that answers; `answers`: what it says next is such an answer
 * @returns {Pieces}
 */
export function makeTerminal(to) {
  const { fontSize, screenReader } = settings();
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: true,
    fontFamily: FONT,
    fontSize,
    linkHandler: { activate: (_, uri) => follow(uri), hover: (_, uri) => to.link(uri), leave: () => to.link('') },
    macOptionIsMeta: true,
    screenReaderMode: screenReader,
    scrollback: LINES,
    theme: theme(),
  });
  const [fit, progress] = [new FitAddon(), new ProgressAddon()];
  const clipboard = new ClipboardAddon(undefined, {
    readText: () => '',
    writeText: (selection, text) => {
      if (String(selection) !== 'p') to.copied(text);
    },
  });
  const links = new WebLinksAddon((_, uri) => follow(uri), {
    hover: (_, uri) => to.link(uri),
    leave: () => to.link(''),
  });
  for (const addon of [fit, progress, clipboard, links]) terminal.loadAddon(addon);
  answerOnce(terminal, to);
  countAsTheModel(terminal);
  return { terminal, fit, progress };
}

/**
 * Of all views of a session one answers what the job asks its terminal. Handlers that were added last are asked first: they
 * take the question away where another view leads. What the clipboard holds is told to nobody.
 * @param {Terminal} terminal @param {{ leads: () => boolean, answers: () => void }} to
 */
function answerOnce(terminal, { leads, answers }) {
  const asked = () => {
    if (!leads()) return true;
    answers();
    return false;
  };
  const { parser } = terminal;
  for (const id of [
    { final: 'c' }, { prefix: '>', final: 'c' }, { prefix: '=', final: 'c' }, { final: 'n' }, { prefix: '?', final: 'n' },
    { intermediates: '$', final: 'p' }, { prefix: '?', intermediates: '$', final: 'p' }, { prefix: '>', final: 'q' },
    { prefix: '?', final: 'u' }, { final: 't' },
  ]) parser.registerCsiHandler(id, asked);
  parser.registerDcsHandler({ intermediates: '$', final: 'q' }, asked);
  for (const code of [4, 10, 11, 12]) parser.registerOscHandler(code, (data) => (data.includes('?') ? asked() : false));
  parser.registerOscHandler(52, (data) => data.endsWith(';?'));
}

let drawing = 0;

/** @type {boolean | undefined} */
let card;

/** Is there a graphics card? Where a program plays one, text is drawn a hundred times faster without. */
function hasCard() {
  if (card === undefined) {
    const gl = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
    const info = gl?.getExtension('WEBGL_debug_renderer_info');
    const name = info ? String(gl?.getParameter(info.UNMASKED_RENDERER_WEBGL)) : '';
    card = gl !== null && !/swiftshader|llvmpipe|software|basic render/i.test(name);
    gl?.getExtension('WEBGL_lose_context')?.loseContext();
  }
  return card;
}

/** Draws with the graphics card, while there is room there; else as text. @param {Terminal} terminal @returns {Promise<() => void>} that lets go of it */
export async function drawFast(terminal) {
  if (drawing >= WEBGL_MAX || !hasCard()) return () => {};
  drawing += 1;
  try {
    const { WebglAddon } = await import('@xterm/addon-webgl');
    const addon = new WebglAddon();
    let isThere = true;
    const end = () => {
      if (!isThere) return;
      isThere = false;
      drawing -= 1;
      addon.dispose();
    };
    addon.onContextLoss(end);
    terminal.loadAddon(addon);
    return end;
  } catch {
    drawing -= 1;
    return () => {};
  }
}
