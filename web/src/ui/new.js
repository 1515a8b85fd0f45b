/** A new session: an optional name, a host. Enter makes it, Escape does not; what could not be made is there to be mended. */

import { api } from '../api.js';
import { dialog } from './dialog.js';
import { el } from './dom.js';

/**
 * @typedef {{ name?: string, host?: string, command?: string[] }} Wanted
 * @param {import('../app.js').App} app
 * @param {Wanted} [before] what was asked for and could not be made @param {string} [why] why not
 * @returns {Promise<Wanted | null>}
 */
export function asksNew(app, before = {}, why = '') {
  const current = before.host ?? app.sessions.get(app.focused?.session ?? '')?.host ?? 'local';
  return dialog('New session', (close) => {
    const field = (/** @type {Record<string, any>} */ more) =>
      el('input', { autocapitalize: 'off', autocomplete: 'off', spellcheck: false, ...more });
    const name = field({ autofocus: true, placeholder: 'optional', value: before.name ?? '', maxLength: 64, pattern: '[A-Za-z0-9._][A-Za-z0-9._\\-]*' });
    const host = field({ value: current });
    const command = field({ placeholder: 'the login shell', value: before.command?.[2] ?? '' });
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
        why ? el('p', { class: 'error', role: 'alert' }, why) : null,
        el('label', {}, 'Name', name), el('label', {}, 'Host', host, choices), el('label', {}, 'Command', command),
        el('div', { class: 'actions' },
          el('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
          el('button', { type: 'submit' }, 'Start'))),
    ];
  });
}
