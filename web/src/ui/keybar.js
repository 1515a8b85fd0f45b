/** For a phone: a row of the keys that its keyboard has not, and a box whose text is sent as one paste. */

import { onSettings, settings } from '../settings.js';
import { button, el, must } from './dom.js';

/** @typedef {import('../app.js').App} App */

/** Sign, name, and the bytes; in application mode of the cursor keys other ones. */
const KEYS = /** @type {const} */ ([
  ['Esc', 'Escape', '\x1b'],
  ['Tab', 'Tab', '\t'],
  ['^C', 'Control C', '\x03'],
  ['←', 'Left', '\x1b[D'],
  ['↑', 'Up', '\x1b[A'],
  ['↓', 'Down', '\x1b[B'],
  ['→', 'Right', '\x1b[C'],
  ['⏎', 'Enter', '\r'],
]);

export class KeyBar {
  /** The next key is one with Control held. */
  #control = false;

  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.text = el('textarea', {
      rows: 1, placeholder: 'Text, sent in one piece', 'aria-label': 'Text to send', autocapitalize: 'off', spellcheck: true,
      oninput: () => this.#grow(),
    });
    this.controlKey = button('Ctrl', 'Control, for the next key', () => this.#holdControl(!this.#control));
    const keys = KEYS.map(([sign, name, bytes]) => button(sign, name, () => this.#press(bytes)));
    keys.splice(2, 0, this.controlKey);
    this.bar = must('#keys');
    this.bar.append(
      el('div', { class: 'row', role: 'toolbar', 'aria-label': 'Keys' }, ...keys),
      el('form', { class: 'compose', onsubmit: (/** @type {Event} */ event) => this.#send(event) },
        this.text,
        el('button', { type: 'submit', 'aria-label': 'Send and Enter' }, 'Send')),
    );
    // A finger on a key must not take the keyboard away.
    this.bar.addEventListener('pointerdown', (event) => {
      if (event.target instanceof HTMLButtonElement && event.target.type === 'button') event.preventDefault();
    });
    onSettings(() => this.draw());
  }

  draw() {
    this.bar.hidden = !settings().keyBar || !this.app.focused || this.app.me.read_only;
  }

  #grow() {
    this.text.style.height = 'auto';
    this.text.style.height = `${Math.min(this.text.scrollHeight, 160)}px`;
    if (this.#control && this.text.value) {
      const letter = this.text.value.at(-1)?.toUpperCase() ?? '';
      this.text.value = this.text.value.slice(0, -1);
      this.#holdControl(false);
      this.#press(String.fromCharCode(letter.charCodeAt(0) & 0x1f));
    }
  }

  /** @param {boolean} held */
  #holdControl(held) {
    this.#control = held;
    this.controlKey.setAttribute('aria-pressed', String(held));
    if (held) this.text.focus();
  }

  /** @param {string} bytes */
  #press(bytes) {
    const pane = this.app.focused;
    if (!pane) return;
    const isArrow = /^\x1b\[[ABCD]$/.test(bytes);
    const sent = isArrow && pane.terminal.modes.applicationCursorKeysMode ? bytes.replace('[', 'O') : bytes;
    pane.terminal.input(sent, true);
  }

  /** @param {Event} event */
  #send(event) {
    event.preventDefault();
    const pane = this.app.focused;
    if (!pane) return;
    if (this.text.value) pane.paste(this.text.value);
    pane.terminal.input('\r', true);
    this.text.value = '';
    this.#grow();
  }
}
