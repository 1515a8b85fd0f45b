/** Each link and each pane in numbers: for whoever wants to know why it is slow. */

import { api } from '../api.js';
import { since, size } from '../words.js';
import { el, must } from './dom.js';
import { standingWords } from './tabs.js';

/** How often it looks while it is open, in milliseconds. */
const LOOK_MS = 1_000;

/** @param {number | null | undefined} ms */
const took = (ms) => (ms === null || ms === undefined ? '–' : `${ms.toFixed(1)} ms`);

/** @param {number | null | undefined} bytes */
const amount = (bytes) => (bytes === null || bytes === undefined ? '–' : size(bytes));

/**
 * What the job wrote and this pane does not show yet, as far as the manager knows: on the way here, and in the page.
 * @param {import('../view/core.js').ViewCore | undefined} core @param {import('../documents').InfoDoc | undefined} info
 */
function behind(core, info) {
  const waits = core?.pending ?? 0;
  const written = info?.output_bytes;
  const onItsWay = core?.need === null || core?.need === undefined || !written ? 0 : written - core.need;
  return size(waits + Math.max(0, onItsWay));
}

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
    /** @type {Map<string, import('../documents').InfoDoc>} */
    const infos = new Map();
    const ask = async (/** @type {string} */ session) => infos.set(session, await api.info(session));
    const open = new Set([...app.panes.values()].filter((pane) => pane.view && !pane.view.isOver).map((pane) => pane.session));
    await Promise.allSettled([...open].map(ask));
    if (panel.hidden) return;
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
        isOver ? '–' : behind(pane.view?.core, infos.get(pane.session)),
        size(core?.skipped ?? 0),
        pane.view?.outgoing.waiting ?? 0,
        pane.view?.socket?.retries ?? 0,
        isOver ? '–' : core?.need === null ? 'cold' : 'warm',
        !isOver && core?.state?.['leader'] ? 'answers' : '',
        doc?.size ? `${doc.size.cols}x${doc.size.rows}` : '–',
      ];
    });
    const links = (status?.links ?? []).map((link) => [link.host, link.link, took(link.rtt_ms), amount(link.bytes_in), amount(link.bytes_out), link.retries ?? '–', since(link.heard_at), link.next_try_at ?? '', link.detail ?? '']);
    panel.replaceChildren(
      el('h2', {}, 'Panes'),
      table(['session', 'state', 'round trip', 'bytes', 'lag', 'skipped', 'unwritten keys', 'retries', 'screen', 'queries', 'size'], views),
      el('h2', {}, 'Links'),
      table(['host', 'link', 'round trip', 'bytes in', 'bytes out', 'retries', 'heard ago', 'next try', 'why'], links),
      el('p', { class: 'faint' }, status ? `manager ${status.version}, pid ${status.pid}, ${status.sessions} sessions` : 'the manager does not answer'),
    );
    setTimeout(() => void look(), LOOK_MS);
  };
  void look();
}
