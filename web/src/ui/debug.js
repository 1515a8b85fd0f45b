/** Each link and each pane in numbers: for whoever wants to know why it is slow. */

import { api } from '../api.js';
import { size } from '../words.js';
import { el, must } from './dom.js';
import { standingWords } from './tabs.js';

/** How often it looks while it is open, in milliseconds. */
const LOOK_MS = 1_000;

/** @param {number | null | undefined} ms */
const took = (ms) => (ms === null || ms === undefined ? '–' : `${ms.toFixed(1)} ms`);

/** @param {string[]} head @param {(string | number)[][]} rows */
const table = (head, rows) =>
  el('table', {},
    el('thead', {}, el('tr', {}, ...head.map((text) => el('th', { scope: 'col' }, text)))),
    el('tbody', {}, ...rows.map((row) => el('tr', {}, ...row.map((cell) => el('td', {}, String(cell)))))));

/** Opens or closes it. @param {import('../app.js').App} app */
export function showDebug(app) {
  const panel = must('#debug');
  panel.hidden = !panel.hidden;
  const look = async () => {
    if (panel.hidden) return;
    const status = await api.status().catch(() => null);
    const views = [...app.panes.values()].map((pane) => {
      const core = pane.view?.core;
      const doc = app.sessions.get(pane.session);
      // What is over waits for nothing and answers nothing.
      const isOver = pane.view?.isOver ?? true;
      pane.view?.measure();
      return [
        app.nameOf(pane.session),
        standingWords(pane),
        took(pane.view?.rtt),
        size(core?.bytes ?? 0),
        size(core?.pending ?? 0),
        size(core?.skipped ?? 0),
        pane.view?.outgoing.waiting ?? 0,
        pane.view?.socket?.retries ?? 0,
        isOver ? '–' : core?.need === null ? 'cold' : 'warm',
        !isOver && core?.state?.['leader'] ? 'answers' : '',
        doc?.size ? `${doc.size.cols}x${doc.size.rows}` : '–',
      ];
    });
    const links = (status?.links ?? []).map((link) => [link.host, link.link, took(link.rtt_ms), link.next_try_at ?? '', link.detail ?? '']);
    panel.replaceChildren(
      el('h2', {}, 'Panes'),
      table(['session', 'state', 'round trip', 'bytes', 'lag', 'skipped', 'unwritten keys', 'retries', 'screen', 'queries', 'size'], views),
      el('h2', {}, 'Links'),
      table(['host', 'link', 'round trip', 'next try', 'why'], links),
      el('p', { class: 'faint' }, status ? `manager ${status.version}, pid ${status.pid}, ${status.sessions} sessions` : 'the manager does not answer'),
    );
    setTimeout(() => void look(), LOOK_MS);
  };
  void look();
}
