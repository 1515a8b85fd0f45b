/** The panes of the tab that is looked at, as its tree has them, with dividers that are moved by mouse, finger or arrow keys. */

import * as layouts from '../layout.js';
import { el, must } from './dom.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {('first' | 'second')[]} Path */

/** @param {App} app */
export function showStage(app) {
  const stage = must('#stage');
  const tab = layouts.activeTab(app.layout);
  const shown = new Set(tab ? layouts.panesOf(tab.tree) : []);
  for (const [session, pane] of app.panes) if (!shown.has(session)) pane.hide();
  // A divider that is being moved must stay where it is: what has not changed is not made anew.
  const form = tab ? JSON.stringify([tab.id, shape(tab.tree)]) : '';
  if (stage.dataset['form'] === form && form) {
    if (tab) setRatios(stage, tab.tree);
  } else {
    stage.dataset['form'] = form;
    stage.replaceChildren(...(tab ? [draw(app, tab.id, tab.tree, [])] : [empty(app)]));
  }
  for (const session of shown) app.panes.get(session)?.element.classList.toggle('focused', session === tab?.focus);
  const panes = [...shown].flatMap((session) => app.panes.get(session) ?? []);
  // What is typed in is there first; the others come one at a time, and keys are heard in between.
  panes.sort((a, b) => Number(b.session === tab?.focus) - Number(a.session === tab?.focus));
  const later = panes.filter((pane, n) => n > 0 && !pane.isOpen);
  for (const pane of panes) if (!later.includes(pane)) pane.show();
  const next = () => {
    const pane = later.shift();
    if (!pane) return;
    // It may be closed by now, or in a tab that nobody looks at.
    if (stage.contains(pane.element)) pane.show();
    setTimeout(next);
  };
  setTimeout(next);
}

/** @param {layouts.Tree} tree @returns {unknown} */
const shape = (tree) => ('pane' in tree ? tree.pane : [tree.split, shape(tree.first), shape(tree.second)]);

/** @param {Element} stage @param {layouts.Tree} tree */
function setRatios(stage, tree) {
  const walk = (/** @type {Element | null | undefined} */ element, /** @type {layouts.Tree} */ part) => {
    if ('pane' in part || !(element instanceof HTMLElement)) return;
    element.style.setProperty('--ratio', String(part.ratio));
    element.querySelector(':scope > .divider')?.setAttribute('aria-valuenow', String(Math.round(part.ratio * 100)));
    walk(element.firstElementChild, part.first);
    walk(element.lastElementChild, part.second);
  };
  walk(stage.firstElementChild, tree);
}

/** @param {App} app @param {string} tab @param {layouts.Tree} tree @param {Path} path @returns {HTMLElement} */
function draw(app, tab, tree, path) {
  if ('pane' in tree) return app.panes.get(tree.pane)?.element ?? el('div');
  const parts = el('div', { class: `split ${tree.split}` });
  parts.style.setProperty('--ratio', String(tree.ratio));
  parts.append(
    draw(app, tab, tree.first, [...path, 'first']),
    divider(app, tab, tree, path, parts),
    draw(app, tab, tree.second, [...path, 'second']),
  );
  return parts;
}

/** @param {App} app @param {string} tab @param {layouts.Split} tree @param {Path} path @param {HTMLElement} parts */
function divider(app, tab, tree, path, parts) {
  const isRow = tree.split === 'row';
  const set = (/** @type {number} */ ratio) => app.show(layouts.resizeIn(app.layout, tab, path, ratio));
  const now = () => Number(parts.style.getPropertyValue('--ratio'));
  const handle = el('div', {
    class: 'divider',
    role: 'separator',
    tabIndex: 0,
    'aria-label': 'Divider',
    'aria-orientation': isRow ? 'vertical' : 'horizontal',
    'aria-valuenow': Math.round(tree.ratio * 100),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      set(now() + step * 0.03);
    },
  });
  handle.addEventListener('pointerdown', (event) => {
    handle.setPointerCapture(event.pointerId);
    const move = (/** @type {PointerEvent} */ to) => {
      const box = parts.getBoundingClientRect();
      set(isRow ? (to.clientX - box.left) / box.width : (to.clientY - box.top) / box.height);
    };
    handle.addEventListener('pointermove', move);
    handle.addEventListener('lostpointercapture', () => handle.removeEventListener('pointermove', move), { once: true });
  });
  return handle;
}

/** @param {App} app */
function empty(app) {
  return el('div', { class: 'empty' },
    el('p', {}, 'No session is shown.'),
    app.me.read_only ? null : el('button', { type: 'button', onclick: () => void app.asksNew() }, 'New session'),
    el('button', { type: 'button', onclick: () => app.pick() }, 'Open existing'));
}
