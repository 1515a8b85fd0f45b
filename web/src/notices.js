/** What jobs say to people: a mark at the tab, and a notification of the browser where the person has allowed that. */

import { api } from './api.js';
import { settings } from './settings.js';
import { asksLine } from './ui/dialog.js';
import { button, el } from './ui/dom.js';

/** How long a notice stays, in milliseconds. */
const STAYS_MS = 12_000;
/** The most that are seen at a time. */
const SEEN_MAX = 4;

/** @typedef {import('./app.js').App} App */

export class Notices {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.box = el('div', { id: 'notices', role: 'log', 'aria-label': 'Notices' });
    document.body.append(this.box);
  }

  /** @param {Record<string, any>} event a document of the event stream */
  hear(event) {
    const session = String(event['id']);
    const pane = this.app.panes.get(session);
    const isWaiting = event['event'] === 'activity' && event['activity']?.state === 'waiting';
    if (event['event'] === 'activity' && !isWaiting) {
      // It waits no more: somebody has answered.
      this.box.querySelector(`.waits[data-session="${CSS.escape(session)}"]`)?.remove();
      return;
    }
    const isSeen = document.visibilityState === 'visible' && document.hasFocus() && this.app.focused === pane;
    if (isSeen && pane) return;
    pane?.call();
    const name = event['name'] ?? this.app.nameOf(session);
    const said = isWaiting ? (event['activity'].note ?? 'waits for you') : [event['title'], event['body']].filter(Boolean).join(': ');
    if (event['kind'] === 'bell' && !said) return;
    this.#show(session, name, said, isWaiting);
    this.#notify(session, name, said);
  }

  /** @param {string} session @param {string} name @param {string} said @param {boolean} isWaiting */
  #show(session, name, said, isWaiting) {
    // The last word of a session stands for those before it; who waits does so whatever else it says.
    const before = this.box.querySelector(`[data-session="${CSS.escape(session)}"]`);
    isWaiting ||= before?.classList.contains('waits') ?? false;
    before?.remove();
    const end = () => {
      clearTimeout(timer);
      this.#remove(notice);
    };
    const send = async (/** @type {{ text?: string, keys?: string[] }} */ what) => {
      end();
      await api.send(session, what).catch((error) => this.app.say(error.message));
    };
    const answer = async () => {
      const text = await asksLine(`Answer ${name}`, { act: 'Send' });
      if (text !== null) await send({ text, keys: ['Enter'] });
    };
    const notice = el('div', { class: isWaiting ? 'notice waits' : 'notice', 'data-session': session },
      el('button', { type: 'button', class: 'text', onclick: () => { end(); this.app.open(session); } }, el('strong', {}, name), ` ${said}`),
      isWaiting && !this.app.me.read_only
        ? el('span', {}, button('⏎', 'Approve: press Enter', () => void send({ keys: ['Enter'] })), button('✎', 'Answer', () => void answer()))
        : null,
      button('×', 'Close', end));
    this.box.append(notice);
    while (this.box.children.length > SEEN_MAX) this.box.firstElementChild?.remove();
    // Who waits, waits.
    const timer = isWaiting ? undefined : setTimeout(end, STAYS_MS);
  }

  /** @param {string} session @param {string} name @param {string} said */
  #notify(session, name, said) {
    if (!settings().notifications || !('Notification' in window) || Notification.permission !== 'granted') return;
    try {
      const notification = new Notification(name, { body: said, tag: session });
      notification.onclick = () => {
        window.focus();
        this.app.open(session);
      };
    } catch {
      // A phone's browser shows none without a service worker.
    }
  }

  /** The keyboard goes back to where it is typed. @param {HTMLElement} notice */
  #remove(notice) {
    const had = notice.contains(document.activeElement);
    notice.remove();
    if (had) this.app.focused?.focus();
  }

  /** A program wrote the clipboard (OSC 52): by consent. @param {string} text */
  clipboard(text) {
    const write = () => void navigator.clipboard.writeText(text).catch(() => this.app.say('the browser does not let this page copy'));
    if (settings().clipboardWrite) return write();
    const end = () => this.#remove(notice);
    const notice = el('div', { class: 'notice', 'data-session': 'clipboard' },
      el('span', { class: 'text' }, `A program wants to write ${text.length} characters into the clipboard`),
      el('button', { type: 'button', onclick: () => { end(); write(); } }, 'Copy'),
      button('×', 'Close', end));
    this.box.querySelector('[data-session=clipboard]')?.remove();
    this.box.append(notice);
    setTimeout(end, STAYS_MS);
  }
}
