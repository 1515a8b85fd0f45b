/** The row of tabs with their dots, and the buttons of the page. */

import * as layouts from '../layout.js';
import { ago } from '../words.js';
import { button, el, must } from './dom.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('./pane.js').Pane} Pane */

/** The worse, the earlier: a tab has the dot of its worst pane. */
const WORST = ['needs-login', 'refused', 'away', 'stalled', 'down', 'connecting', 'ended', 'live'];

/** What a job is doing. @type {Record<string, string>} */
const SIGNS = { working: '…', waiting: '?', done: '✓', secret: '✱' };

/** @param {Pane | undefined} pane */
export const standing = (pane) => pane?.view?.standing ?? 'connecting';

/** How a pane stands, as a sentence. @param {Pane | undefined} pane */
export function standingWords(pane) {
  const view = pane?.view;
  const state = standing(pane);
  const detail = view?.detail ? `: ${view.detail}` : '';
  const wait = view?.nextTryAt ? Math.max(0, Math.ceil((view.nextTryAt - Date.now()) / 1000)) : null;
  const again = wait === null ? '' : `; tried again in ${ago(wait)}`;
  const held = view?.held ? `; ${view.held} bytes typed wait` : '';
  return `${state === 'needs-login' ? 'needs a login' : state}${detail}${again}${held}`;
}

/** @param {App} app @param {layouts.Tab} tab */
function worst(app, tab) {
  const panes = layouts.panesOf(tab.tree).map((session) => app.panes.get(session));
  return panes.sort((a, b) => WORST.indexOf(standing(a)) - WORST.indexOf(standing(b)))[0];
}

/** @param {App} app */
export function showTabs(app) {
  const row = must('#tabs');
  const known = new Map([...row.children].map((one) => [/** @type {HTMLElement} */ (one).dataset['tab'], one]));
  const tabs = app.layout.tabs.map((tab) => {
    const element = known.get(tab.id) ?? makeTab(app, tab.id);
    fill(app, tab, /** @type {HTMLElement} */ (element));
    return element;
  });
  if (tabs.length !== row.children.length || tabs.some((one, n) => row.children[n] !== one)) row.replaceChildren(...tabs);
  showTrouble(app);
}

/** @param {App} app @param {string} id */
function makeTab(app, id) {
  const find = () => app.layout.tabs.find((tab) => tab.id === id);
  const close = () => {
    const tab = find();
    if (tab) app.show(layouts.panesOf(tab.tree).reduce((layout, session) => layouts.close(layout, session), app.layout));
    if (!app.layout.tabs.length && app.sessions.running().length) app.pick();
  };
  const select = () => {
    const tab = find();
    if (tab) app.open(tab.focus);
  };
  const element = el(
    'div',
    { class: 'tab', 'data-tab': id, draggable: true },
    el('button', { type: 'button', class: 'name', role: 'tab', onclick: select },
      el('span', { class: 'dot' }), el('span', { class: 'label' }), el('span', { class: 'activity' })),
    button('×', 'Close: the job runs on', close),
  );
  element.addEventListener('auxclick', (event) => {
    if (event.button === 1) close();
  });
  element.addEventListener('dragstart', (event) => event.dataTransfer?.setData('text/x-tab', id));
  element.addEventListener('dragover', (event) => event.preventDefault());
  element.addEventListener('drop', (event) => {
    const moved = event.dataTransfer?.getData('text/x-tab');
    const to = app.layout.tabs.findIndex((tab) => tab.id === id);
    if (moved) app.show(layouts.moveTab(app.layout, moved, to));
  });
  return element;
}

/** @param {App} app @param {layouts.Tab} tab @param {HTMLElement} element */
function fill(app, tab, element) {
  const pane = app.panes.get(tab.focus);
  const bad = worst(app, tab);
  const state = standing(bad);
  const doc = app.sessions.get(tab.focus);
  const count = layouts.panesOf(tab.tree).length;
  const name = `${app.nameOf(tab.focus)}${count > 1 ? ` +${count - 1}` : ''}`;
  const title = pane?.title || doc?.title || '';
  const isActive = tab.id === app.layout.active;
  const calls = layouts.panesOf(tab.tree).some((session) => app.panes.get(session)?.calls);
  const activity = doc?.activity?.state ?? '';
  element.classList.toggle('active', isActive);
  element.classList.toggle('calls', calls);
  element.style.setProperty('--progress', `${pane?.progress ?? 0}%`);
  const [select] = element.children;
  const [dot, text, mark] = /** @type {HTMLElement[]} */ ([...(select?.children ?? [])]);
  select?.setAttribute('aria-selected', String(isActive));
  select?.setAttribute('title', `${name}: ${standingWords(bad)}${title ? `\n${title}` : ''}`);
  select?.setAttribute('aria-label', `${name}, ${standingWords(bad)}${activity ? `, ${activity}` : ''}`);
  if (dot) dot.dataset['standing'] = state;
  const shown = title && title !== name ? `${name} · ${title}` : name;
  if (text && text.textContent !== shown) text.textContent = shown;
  if (mark) {
    mark.dataset['activity'] = activity;
    mark.textContent = SIGNS[activity] ?? '';
  }
}

/** What is wrong with the pane that is looked at, with what can be done now. @param {App} app */
function showTrouble(app) {
  const pane = app.focused;
  const state = standing(pane);
  let line = document.querySelector('#trouble');
  // A moment of connecting is no trouble.
  if (!pane?.view?.trouble && state !== 'needs-login') return line?.remove();
  if (!line) {
    line = el('div', { id: 'trouble', role: 'status' }, el('span'), button('now', 'Try now', () => {
      const looked = app.focused;
      if (standing(looked) === 'needs-login') return void looked?.logIn();
      looked?.view?.tryNow();
      looked?.focus();
    }));
    must('#stage').before(line);
  }
  const words = standingWords(pane);
  const [text] = line.children;
  if (text && text.textContent !== words) text.textContent = words;
}

/** @param {App} app */
export function showTools(app) {
  const tools = app.me.read_only
    ? []
    : [
        button('+', 'New session (Ctrl+Shift+Enter)', () => void app.asksNew()),
        button('◫', 'New session beside this one (Ctrl+Shift+E)', () => void app.split('row')),
        button('⊟', 'New session below this one (Ctrl+Shift+O)', () => void app.split('column')),
      ];
  // A click there does not take the keyboard away from the terminal.
  must('#tools').addEventListener('mousedown', (event) => event.preventDefault());
  must('#tools').replaceChildren(
    ...tools,
    button('☰', 'Open existing (Ctrl+Shift+S)', () => app.pick()),
    button('⌕', 'Search (Ctrl+Shift+F)', () => app.search()),
    button('⋯', 'More (Ctrl+Shift+,)', () => void app.menu()),
  );
  // Countdowns go on by themselves.
  setInterval(() => {
    if ([...app.panes.values()].some((pane) => standing(pane) !== 'live')) app.draw();
  }, 1_000);
}
