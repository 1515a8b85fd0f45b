/** Keys of the page. Everything can be done without a mouse; what is not here is the job's. */

import * as layouts from './layout.js';

/** @typedef {import('./app.js').App} App */

/** @type {{ keys: string, does: string, fits: (event: KeyboardEvent) => boolean, act: (app: App, event: KeyboardEvent) => void }[]} */
export const SHORTCUTS = [
  { keys: 'Ctrl+Shift+S', does: 'open an existing session', fits: shifted('KeyS'), act: (app) => app.pick() },
  { keys: 'Ctrl+Shift+Enter', does: 'new session in a tab', fits: shifted('Enter'), act: (app) => void app.asksNew() },
  { keys: 'Ctrl+Shift+E', does: 'new session beside this one', fits: shifted('KeyE'), act: (app) => void app.split('row') },
  { keys: 'Ctrl+Shift+O', does: 'new session below this one', fits: shifted('KeyO'), act: (app) => void app.split('column') },
  { keys: 'Ctrl+Shift+X', does: 'close this pane; the job runs on', fits: shifted('KeyX'), act: (app) => app.focused && app.close(app.focused.session) },
  { keys: 'Ctrl+Shift+F', does: 'search', fits: shifted('KeyF'), act: (app) => app.search() },
  { keys: 'Ctrl+Shift+D', does: 'links and sessions', fits: shifted('KeyD'), act: (app) => void app.debug() },
  { keys: 'Ctrl+Shift+,', does: 'settings, and what else there is', fits: shifted('Comma'), act: (app) => void app.menu() },
  { keys: 'Ctrl+Shift+C', does: 'copy', fits: shifted('KeyC'), act: (app) => copy(app) },
  { keys: 'Ctrl+Shift+←→', does: 'the pane before, the next one', fits: (e) => shifted('ArrowLeft')(e) || shifted('ArrowRight')(e), act: nextPane },
  { keys: 'Alt+1…9', does: 'that tab', fits: (e) => e.altKey && !e.ctrlKey && !e.shiftKey && /^Digit[1-9]$/.test(e.code), act: nthTab },
];

/** @param {string} code @returns {(event: KeyboardEvent) => boolean} */
function shifted(code) {
  return (event) => event.ctrlKey && event.shiftKey && !event.altKey && event.code === code;
}

/** @param {App} app @param {KeyboardEvent} event */
function nextPane(app, event) {
  const tab = layouts.activeTab(app.layout);
  if (!tab) return;
  const panes = layouts.panesOf(tab.tree);
  const step = event.code === 'ArrowLeft' ? panes.length - 1 : 1;
  const next = panes[(panes.indexOf(tab.focus) + step) % panes.length];
  if (next) app.open(next);
}

/** @param {App} app @param {KeyboardEvent} event */
function nthTab(app, event) {
  const tab = app.layout.tabs[Number(event.code.slice(5)) - 1];
  if (tab) app.open(tab.focus);
}

/** @param {App} app */
function copy(app) {
  const text = app.focused?.terminal.getSelection();
  if (text) void navigator.clipboard.writeText(text).catch(() => app.say('the browser does not let this page copy'));
}

/** @param {App} app */
export function bindKeys(app) {
  addEventListener(
    'keydown',
    (event) => {
      if (document.querySelector('dialog[open]')) return;
      const shortcut = SHORTCUTS.find((one) => one.fits(event));
      if (!shortcut) return;
      event.preventDefault();
      event.stopPropagation();
      shortcut.act(app, event);
    },
    { capture: true },
  );
}
