/** The page begins here: lets itself in, learns what there is, and shows it. */

import { api } from './api.js';
import { App } from './app.js';
import { takeEarly } from './early.js';
import { el, must } from './ui/dom.js';

/** The token that the printed address has behind its `#`; it is taken out of the address at once. */
function tokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', location.pathname + location.search);
  return token;
}

/** What is seen by who is not let in. @param {string} why */
function showDoor(why) {
  const input = el('input', { autocomplete: 'off', spellcheck: false, 'aria-label': 'Address or token', autofocus: true });
  const door = el(
    'form',
    {
      class: 'door',
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        const token = input.value.trim().replace(/^.*token=/, '');
        try {
          await api.login(token);
          location.reload();
        } catch (error) {
          showDoor(String(/** @type {Error} */ (error).message));
        }
      },
    },
    el('h1', {}, 'sessd'),
    el('p', {}, why),
    el('label', {}, 'The address that `sessd web` printed, or its token', input),
    el('button', { type: 'submit' }, 'Come in'),
  );
  must('#bar').hidden = true;
  must('#stage').replaceChildren(door);
  document.body.dataset['ready'] = 'door';
}

async function begin() {
  const token = tokenOfAddress();
  try {
    if (token !== null) await api.login(token);
  } catch (error) {
    // The browser may have been let in before with that very address.
    if (await api.me().then(() => false, () => true)) return showDoor(String(/** @type {Error} */ (error).message));
  }
  // Both at a time: each is a way there and back.
  const early = takeEarly();
  const sessions = (early?.sessions ?? api.sessions()).catch(() => null);
  let me;
  try {
    me = await (early?.me ?? api.me());
  } catch (error) {
    return showDoor(String(/** @type {Error} */ (error).message));
  }
  const app = new App(me, () => showDoor('this browser was signed out'));
  // For the browser's console.
  Object.assign(globalThis, { sessd: app });
  await app.begin(await sessions);
}

void begin();
