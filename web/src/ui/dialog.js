/** Dialogs: a form that is answered or cancelled. Escape cancels, and the focus goes back to where it was. */

import { el } from './dom.js';

/**
 * Shows a dialog until it is closed; the value it was closed with, or `null`.
 * @template T
 * @param {string} title
 * @param {(close: (value: T | null) => void) => Node[]} fill
 * @param {string} [kind]
 * @returns {Promise<T | null>}
 */
export function dialog(title, fill, kind = '') {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const box = el('dialog', { class: `dialog ${kind}`, 'aria-label': title });
    let isOpen = true;
    const close = (/** @type {T | null} */ value) => {
      if (!isOpen) return;
      isOpen = false;
      box.close();
      box.remove();
      if (before instanceof HTMLElement) before.focus();
      resolve(value);
    };
    box.append(el('h2', {}, title), ...fill(close));
    box.addEventListener('cancel', (event) => {
      event.preventDefault();
      close(null);
    });
    box.addEventListener('click', (event) => {
      if (event.target === box) close(null);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** Asks before something that cannot be undone. @param {string} question @param {string} act @returns {Promise<boolean>} */
export async function confirms(question, act) {
  const answer = await dialog(question, (close) => [
    el(
      'form',
      {
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          close(true);
        },
      },
      el('div', { class: 'actions' },
        el('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
        el('button', { type: 'submit', class: 'danger', autofocus: true }, act),
      ),
    ),
  ]);
  return answer === true;
}

/**
 * Asks for one line.
 * @param {string} title @param {{ value?: string, act: string, hint?: string }} options
 * @returns {Promise<string | null>}
 */
export function asksLine(title, { value = '', act, hint = '' }) {
  return dialog(title, (close) => {
    const input = el('input', { value, autofocus: true, 'aria-label': title, autocapitalize: 'off', spellcheck: false });
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      close(input.value.trim());
    };
    return [
      el('form', { onsubmit: submit }, input, hint ? el('p', { class: 'faint' }, hint) : null,
        el('div', { class: 'actions' },
          el('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
          el('button', { type: 'submit' }, act))),
    ];
  });
}

/** A sentence that must be read. @param {string} title @param {string} text */
export const tells = (title, text) =>
  dialog(title, (close) => [
    el('p', {}, text),
    el('div', { class: 'actions' }, el('button', { type: 'button', autofocus: true, onclick: () => close(true) }, 'OK')),
  ]);
