/** What is rarely wanted: settings, keys, another device, signing out. */

import { api } from '../api.js';
import { set, settings } from '../settings.js';
import { SHORTCUTS } from '../shortcuts.js';
import { dialog, tells } from './dialog.js';
import { el } from './dom.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../settings.js').Settings} Settings */

/** @param {keyof Settings} name @param {string} text @param {() => Promise<boolean>} [allowed] */
function check(name, text, allowed) {
  const box = el('input', {
    type: 'checkbox',
    checked: Boolean(settings()[name]),
    onchange: async () => {
      if (box.checked && allowed && !(await allowed())) box.checked = false;
      set({ [name]: box.checked });
    },
  });
  return el('label', { class: 'check' }, box, text);
}

/** @returns {Promise<boolean>} */
async function mayNotify() {
  if (!('Notification' in window)) return false;
  return (await Notification.requestPermission()) === 'granted';
}

/** @param {App} app */
export function showMenu(app) {
  void dialog('Settings', (close) => {
    const theme = el('select', { 'aria-label': 'Colours', onchange: () => set({ theme: /** @type {Settings['theme']} */ (theme.value) }) },
      ...['system', 'dark', 'light'].map((value) => el('option', { value, selected: settings().theme === value }, value)));
    const font = el('input', {
      type: 'number', min: '6', max: '40', value: String(settings().fontSize), 'aria-label': 'Size of letters',
      onchange: () => set({ fontSize: Math.min(40, Math.max(6, Number(font.value) || 14)) }),
    });
    const act = (/** @type {string} */ text, /** @type {() => void} */ does) =>
      el('button', { type: 'button', onclick: () => { close(null); does(); } }, text);
    const session = app.focused?.session;
    return [
      el('label', {}, 'Colours', theme),
      el('label', {}, 'Letters', font),
      check('copyOnSelect', 'Copy what is selected'),
      check('clipboardWrite', 'Programs may write the clipboard'),
      check('notifications', 'Notifications of jobs', mayNotify),
      check('screenReader', 'For a screen reader'),
      check('keyBar', 'Keys and text box below the terminal'),
      el('div', { class: 'actions wrap' },
        act('Links and sessions', () => void app.debug()),
        session ? act('Screen as text', () => void window.open(`/plain/${session}`, '_blank', 'noopener')) : null,
        session && !app.me.read_only ? act('End this session…', () => void app.kill(session)) : null,
        app.me.read_only ? null : act('Another device…', () => void anotherDevice(app)),
        act('Sign out', () => void api.logout().then(() => location.reload(), (error) => app.say(error.message)))),
      el('details', {}, el('summary', {}, 'Keys'),
        el('dl', {}, ...SHORTCUTS.flatMap(({ keys, does }) => [el('dt', {}, keys), el('dd', {}, does)]))),
      el('p', { class: 'faint' }, `sessd ${app.me.version}${app.me.read_only ? ', this browser may only look' : ''}`),
      el('div', { class: 'actions' }, el('button', { type: 'button', onclick: () => close(null) }, 'Close')),
    ];
  }, 'menu');
}

/** @param {App} app */
async function anotherDevice(app) {
  try {
    const { token } = await api.token();
    await tells('Open this once on the other device', `${location.origin}/#token=${token}`);
  } catch (error) {
    app.say(String(/** @type {Error} */ (error).message));
  }
}
