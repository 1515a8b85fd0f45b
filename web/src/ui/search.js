/** Searching in a pane and what has scrolled away of it. */

import { button, el } from './dom.js';

/** @typedef {import('./pane.js').Pane} Pane */
/** @typedef {import('@xterm/addon-search').SearchAddon} SearchAddon */

/** @type {WeakMap<Pane, Promise<SearchAddon>>} */
const addons = new WeakMap();

/** What searches in it, which comes when it is wanted first. @param {Pane} pane */
function addonOf(pane) {
  const load = async () => {
    const { SearchAddon } = await import('@xterm/addon-search');
    const addon = new SearchAddon();
    pane.terminal.loadAddon(addon);
    return addon;
  };
  const addon = addons.get(pane) ?? load();
  addons.set(pane, addon);
  return addon;
}

const LOOK = {
  decorations: { matchOverviewRuler: '#e8c667', activeMatchColorOverviewRuler: '#ff7b72', matchBackground: '#6b5a1e', activeMatchBackground: '#a6691b' },
};

/** @param {Pane} pane */
export function showSearch(pane) {
  const there = pane.element.querySelector('.search input');
  if (there instanceof HTMLInputElement) return there.select();
  const addon = addonOf(pane);
  const count = el('span', { class: 'faint', role: 'status' });
  const input = el('input', { type: 'search', 'aria-label': 'Search', spellcheck: false, autocapitalize: 'off' });
  const next = async () => (await addon).findNext(input.value, LOOK);
  const before = async (incremental = false) => (await addon).findPrevious(input.value, { ...LOOK, incremental });
  const results = addon.then((search) =>
    search.onDidChangeResults(({ resultIndex, resultCount }) => {
      count.textContent = resultCount ? `${resultIndex + 1} of ${resultCount}` : input.value ? 'nothing' : '';
    }),
  );
  const close = async () => {
    box.remove();
    pane.focus();
    (await results).dispose();
    (await addon).clearDecorations();
  };
  input.addEventListener('input', () => void before(true));
  input.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Escape') void close();
    else if (event.key === 'Enter') void (event.shiftKey ? next() : before());
  });
  const box = el('div', { class: 'search', role: 'search' },
    input, count,
    button('↑', 'The one before', () => void before()), button('↓', 'The next one', () => void next()), button('×', 'Close', () => void close()));
  pane.element.append(box);
  input.focus();
}
