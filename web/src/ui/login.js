/** What a login asks of the person: over the pane that wants the host. Nothing of the answer is kept. */

import { el } from './dom.js';

/**
 * Puts a question; `answer` is called once, with `null` where the person will not say. Calling what is returned takes it away.
 * @param {HTMLElement} over @param {Record<string, any>} question @param {(given: string | null) => void} answer
 */
export function askLogin(over, question, answer) {
  const input = el('input', {
    type: question['echo'] ? 'text' : 'password',
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: false,
    'aria-label': question['prompt'],
  });
  const end = (/** @type {string | null | undefined} */ given) => {
    if (!box.isConnected) return;
    input.value = '';
    box.remove();
    if (given !== undefined) answer(given);
  };
  const box = el(
    'form',
    {
      class: 'login',
      role: 'dialog',
      'aria-label': `${question['host']} asks`,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        end(input.value);
      },
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        event.stopPropagation();
        if (event.key === 'Escape') end(null);
      },
    },
    el('strong', {}, question['host']),
    question['text'] ? el('pre', {}, question['text']) : null,
    el('label', {}, question['prompt'], input),
    el('div', { class: 'actions' },
      el('button', { type: 'button', onclick: () => end(null) }, 'Cancel'),
      el('button', { type: 'submit' }, 'Answer')),
  );
  over.append(box);
  input.focus();
  return () => end(undefined);
}
