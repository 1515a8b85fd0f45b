/** Searching in a pane and what has scrolled away of it. */

import { button, el } from './dom.js';

const LOOK = {
  decorations: { matchOverviewRuler: '#e8c667', activeMatchColorOverviewRuler: '#ff7b72', matchBackground: '#6b5a1e', activeMatchBackground: '#a6691b' },
};

/** @param {import('./pane.js').Pane} pane */
export function showSearch(pane) {
  const there = pane.element.querySelector('.search input');
  if (there instanceof HTMLInputElement) return there.select();
  const count = el('span', { class: 'faint', role: 'status' });
  const input = el('input', { type: 'search', 'aria-label': 'Search', spellcheck: false, autocapitalize: 'off' });
  const next = () => pane.search.findNext(input.value, LOOK);
  const before = () => pane.search.findPrevious(input.value, LOOK);
  const results = pane.search.onDidChangeResults(({ resultIndex, resultCount }) => {
    count.textContent = resultCount ? `${resultIndex + 1} of ${resultCount}` : input.value ? 'nothing' : '';
  });
  const close = () => {
    results.dispose();
    pane.search.clearDecorations();
    box.remove();
    pane.focus();
  };
  input.addEventListener('input', () => pane.search.findPrevious(input.value, { ...LOOK, incremental: true }));
  input.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Escape') close();
    else if (event.key === 'Enter') (event.shiftKey ? next : before)();
  });
  const box = el('div', { class: 'search', role: 'search' },
    input, count, button('↑', 'The one before', before), button('↓', 'The next one', next), button('×', 'Close', close));
  pane.element.append(box);
  input.focus();
}
