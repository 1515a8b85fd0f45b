/** A new session: an optional name, a host. Enter makes it, Escape does not. */

import { api } from '../api.js';
import { dialog } from './dialog.js';
import { el } from './dom.js';

/** @param {import('../app.js').App} app @returns {Promise<Record<string, unknown> | null>} */
export function asksNew(app) {
  const current = app.sessions.get(app.focused?.session ?? '')?.host ?? 'local';
  return dialog('New session', (close) => {
    const field = (/** @type {Record<string, any>} */ more) =>
      el('input', { autocapitalize: 'off', autocomplete: 'off', spellcheck: false, ...more });
    const name = field({ autofocus: true, placeholder: 'optional', maxLength: 64, pattern: '[A-Za-z0-9._][A-Za-z0-9._\\-]*' });
    const host = field({ value: current });
    const command = field({ placeholder: 'the login shell' });
    const choices = el('datalist', { id: 'hosts' });
    host.setAttribute('list', 'hosts');
    void api.hosts().then(
      (names) => choices.append(...names.map((value) => el('option', { value }))),
      () => {},
    );
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      const line = command.value.trim();
      close({
        ...(name.value && { name: name.value }),
        host: host.value.trim() || 'local',
        // As a shell reads it.
        ...(line && { command: ['sh', '-c', line] }),
      });
    };
    return [
      el('form', { onsubmit: submit },
        el('label', {}, 'Name', name), el('label', {}, 'Host', host, choices), el('label', {}, 'Command', command),
        el('div', { class: 'actions' },
          el('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
          el('button', { type: 'submit' }, 'Start'))),
    ];
  });
}
