/** The list of sessions: filter, peek, open, rename, tag, end. It is live, and needs no mouse. */

import { api } from '../api.js';
import * as layouts from '../layout.js';
import { endPhrase, since } from '../words.js';
import { asksLine, confirms, dialog } from './dialog.js';
import { button, el } from './dom.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../documents').SessionDoc} SessionDoc */

/** Lines of a screen that are peeked at. */
const PEEK_ROWS = 16;
/** How long a session is selected before its screen is asked for, in milliseconds. */
const LOOK_AFTER_MS = 60;
/** Lines of the list that are made at a time: the others when somebody comes near them. */
const MADE = 30;

/** How well a text fits what is looked for: every letter in order, the closer the better; null: not. @param {string} text @param {string} wanted */
export function fits(text, wanted) {
  let [at, score] = [-1, 0];
  const lower = text.toLowerCase();
  for (const letter of wanted.toLowerCase().replaceAll(' ', '')) {
    const next = lower.indexOf(letter, at + 1);
    if (next < 0) return null;
    score += next - at - 1;
    at = next;
  }
  return score;
}

/** @param {SessionDoc} doc */
const tagsOf = (doc) => Object.entries(doc.tags).map(([key, value]) => (value ? `${key}=${value}` : key));

/** @param {App} app @param {SessionDoc} doc */
const searched = (app, doc) =>
  [app.nameOf(doc.id), doc.host, ...tagsOf(doc), doc.title ?? '', doc.foreground ?? '', doc.command.join(' ')].join(' ');

/** Those that fit, the best first; of equals the one that was active last. @param {App} app @param {string} wanted */
function found(app, wanted) {
  return app.sessions
    .sorted()
    .flatMap((doc) => {
      const score = !wanted ? 0 : fits(searched(app, doc), wanted);
      return score === null ? [] : [{ doc, score }];
    })
    .sort((a, b) => Number(a.doc.state === 'done') - Number(b.doc.state === 'done') || a.score - b.score)
    .map(({ doc }) => doc);
}

/** What is done with a button of a line is not done with the line: two quick clicks there do not open the session. @param {Event} event */
const stays = (event) => event.stopPropagation();

/** @param {App} app @param {import('../app.js').Where} where */
export async function showPicker(app, where) {
  if (document.querySelector('dialog.picker')) return;
  void app.sessions.freshen().catch((error) => app.say(error.message));
  /** @type {string | null} */
  let chosen = null;
  const opened = await dialog('Sessions', (close) => fill(app, close, (id) => (chosen = id), () => chosen), 'picker');
  if (opened === 'new') await app.asksNew(where);
  else if (opened) app.open(opened, where);
}

/**
 * @param {App} app @param {(value: string | null) => void} close
 * @param {(id: string | null) => void} choose @param {() => string | null} chosen
 */
function fill(app, close, choose, chosen) {
  const filter = el('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter', autofocus: true, autocapitalize: 'off', spellcheck: false, role: 'combobox', 'aria-controls': 'sessions', 'aria-expanded': 'true' });
  const list = el('ul', { class: 'sessions', id: 'sessions', role: 'listbox', 'aria-label': 'Sessions' });
  const peek = el('pre', { class: 'peek', 'aria-label': 'Its screen' });
  /** @type {SessionDoc[]} */
  let docs = [];
  /** How many of them have a line. */
  let made = 0;
  const doc = () => docs.find((one) => one.id === chosen());

  /** So many have a line, and some more. @param {number} count */
  const make = (count) => {
    if (count <= made || made === docs.length) return;
    const more = docs.slice(made, Math.ceil(count / MADE) * MADE);
    made += more.length;
    list.append(...more.map(row));
  };
  // The Tab key comes to the buttons of the line that is selected, and not to those of a thousand others.
  const reach = (/** @type {Element | null} */ line, /** @type {number} */ index) => {
    for (const one of line?.querySelectorAll('button') ?? []) one.tabIndex = index;
  };
  const mark = () => {
    make(docs.findIndex((one) => one.id === chosen()) + 1);
    const before = list.querySelector('[aria-selected=true]');
    before?.setAttribute('aria-selected', 'false');
    reach(before, -1);
    const line = docs.length ? list.querySelector(`#session-${chosen()}`) : null;
    line?.setAttribute('aria-selected', 'true');
    reach(line, 0);
    filter.setAttribute('aria-activedescendant', line?.id ?? '');
  };

  const draw = () => {
    if (!list.isConnected) {
      removeEventListener('sessions', draw);
      return;
    }
    // Those that somebody scrolled to stay.
    const had = made;
    docs = found(app, filter.value);
    if (!doc()) choose(docs[0]?.id ?? null);
    const before = list.scrollTop;
    made = 0;
    list.replaceChildren(...(docs.length ? [] : [el('li', { class: 'faint' }, filter.value ? 'Nothing fits.' : 'There is no session.')]));
    make(Math.max(1, had));
    list.scrollTop = before;
    mark();
  };
  const select = (/** @type {string} */ id) => {
    choose(id);
    mark();
    list.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
    look();
  };
  const screenOf = async (/** @type {string} */ id) => {
    const page = await fetch(`/plain/${id}`).then((answer) => (answer.ok ? answer.text() : ''), () => '');
    const text = new DOMParser().parseFromString(page, 'text/html').querySelector('pre')?.textContent ?? '';
    return text.split('\n').slice(-PEEK_ROWS).join('\n');
  };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let looking;
  // Whoever goes through the list looks at where they stop.
  const look = () => {
    clearTimeout(looking);
    looking = setTimeout(async () => {
      const id = chosen();
      if (!id || !app.sessions.get(id) || !list.isConnected || app.isSmall()) return;
      const text = await screenOf(id);
      if (chosen() === id) peek.textContent = text;
    }, LOOK_AFTER_MS);
  };
  const isOpen = (/** @type {SessionDoc} */ one) => layouts.tabOf(app.layout, one.id) !== undefined;

  /** @param {SessionDoc} one */
  const row = (one) => {
    const state = one.state === 'running' ? (one.activity?.state ?? 'running') : one.state === 'done' ? endPhrase(null, one.end) : one.state;
    const views = one.views.length;
    const line = el(
      'li',
      {
        role: 'option',
        id: `session-${one.id}`,
        'aria-selected': 'false',
        'data-session': one.id,
        onclick: () => (chosen() === one.id || app.isSmall() ? close(one.id) : select(one.id)),
        ondblclick: () => close(one.id),
      },
      el('span', { class: 'dot', 'data-standing': one.state === 'done' ? 'ended' : one.link === 'local' || one.link === 'up' ? 'live' : one.link }),
      el('span', { class: 'what' },
        el('span', { class: 'who' },
          el('strong', {}, app.nameOf(one.id)),
          el('span', { class: 'faint' }, ` ${one.host}`),
          isOpen(one) ? el('span', { class: 'open' }, ' (open)') : null,
          ...tagsOf(one).map((tag) => el('span', { class: 'tag' }, tag))),
        el('span', { class: 'faint how' },
          // However long that is, the rest is seen.
          el('span', { class: 'title' }, one.title || one.foreground || one.command.join(' ')),
          el('span', {}, ['', state, one.state === 'disconnected' ? one.link : '', views ? `${views} view${views > 1 ? 's' : ''}` : '', since(one.last_active_at)].filter((word, n) => word || n === 0).join(' · ')))),
      app.isSmall() ? more(one) : acts(one),
    );
    reach(line, -1);
    return line;
  };

  /** @param {SessionDoc} one */
  const acts = (one) =>
    app.me.read_only
      ? null
      : el('span', { class: 'acts', onclick: stays, ondblclick: stays },
          button('✎', 'Rename (F2)', () => void rename(one)),
          button('#', 'Tags', () => void tag(one)),
          one.state === 'done' ? button('↻', 'Restart', () => void restart(one)) : null,
          button('✕', 'End it (Delete)', () => void kill(one)));

  /** The same in the room of one finger. @param {SessionDoc} one */
  const more = (one) =>
    el('span', { class: 'acts', onclick: stays, ondblclick: stays },
      button('⋯', `${app.me.read_only ? 'Peek at' : 'Peek at, rename, tag or end'} ${app.nameOf(one.id)}`, async () => {
        const shown = el('pre', { class: 'peek', 'aria-label': 'Its screen' });
        void screenOf(one.id).then((text) => (shown.textContent = text));
        const act = await dialog(app.nameOf(one.id), (done) => [
          shown,
          el('div', { class: 'actions column' },
            ...(app.me.read_only
              ? []
              : [
                  el('button', { type: 'button', onclick: () => done(rename) }, 'Rename'),
                  el('button', { type: 'button', onclick: () => done(tag) }, 'Tags'),
                  ...(one.state === 'done' ? [el('button', { type: 'button', onclick: () => done(restart) }, 'Restart')] : []),
                  el('button', { type: 'button', class: 'danger', onclick: () => done(kill) }, one.state === 'done' ? 'Forget it' : 'End it'),
                ]),
            el('button', { type: 'button', onclick: () => done(null) }, 'Cancel')),
        ]);
        await act?.(one);
      }));

  const attempt = async (/** @type {Promise<unknown>} */ act) => {
    await act.catch((error) => app.say(error.message));
    await app.sessions.fetch().catch(() => {});
    draw();
  };
  const restart = (/** @type {SessionDoc} */ one) => attempt(api.restart(one.id));
  const rename = async (/** @type {SessionDoc} */ one) => {
    const name = await asksLine(`A name for ${app.nameOf(one.id)}`, { value: one.name ?? '', act: 'Rename', hint: 'Letters, digits, . _ -; empty: none' });
    if (name !== null && name !== (one.name ?? '')) await attempt(api.tag(one.id, { name }));
  };
  const tag = async (/** @type {SessionDoc} */ one) => {
    const line = await asksLine(`Tags of ${app.nameOf(one.id)}`, { value: tagsOf(one).join(' '), act: 'Set', hint: 'KEY or KEY=VALUE, with spaces between' });
    if (line === null) return;
    const set = Object.fromEntries(line.split(/\s+/).filter(Boolean).map((pair) => pair.match(/^([^=]+)=?(.*)$/s)?.slice(1) ?? [pair, '']));
    await attempt(api.tag(one.id, { set, remove: Object.keys(one.tags).filter((key) => !(key in set)) }));
  };
  const kill = async (/** @type {SessionDoc} */ one) => {
    const isOver = one.state === 'done';
    if (await confirms(isOver ? `Forget ${app.nameOf(one.id)}?` : `End ${app.nameOf(one.id)} and its job?`, isOver ? 'Forget it' : 'End it')) await attempt(api.remove(one.id));
  };
  const killAll = async () => {
    const ids = docs.filter((one) => one.state !== 'done').map((one) => one.id);
    if (!ids.length) return app.say('nothing of this runs');
    const many = ids.length > 1 ? `${ids.length} sessions and their jobs` : 'one session and its job';
    const which = filter.value.trim() ? `the ${many}, which fit “${filter.value.trim()}”` : `all ${many}`;
    if (await confirms(`End ${ids.length > 1 ? which : many}?`, 'End all')) await attempt(api.removeAll(ids));
  };

  list.addEventListener('scroll', () => {
    if (list.scrollTop + 2 * list.clientHeight > list.scrollHeight) make(made + 1);
  });
  filter.addEventListener('input', () => {
    choose(null);
    [made, list.scrollTop] = [0, 0];
    draw();
    look();
  });
  filter.addEventListener('keydown', (event) => {
    const at = docs.findIndex((one) => one.id === chosen());
    const one = docs[at];
    const steps = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 });
    const step = steps[event.key];
    if (step) {
      const next = docs[Math.min(docs.length - 1, Math.max(0, at + step))];
      if (next) select(next.id);
    } else if (event.key === 'Enter') {
      close(one?.id ?? (filter.value ? null : 'new'));
    } else if (event.key === 'F2' && one && !app.me.read_only) {
      void rename(one);
    } else if (event.key === 'Delete' && filter.value === '' && one && !app.me.read_only) {
      void kill(one);
    } else {
      return;
    }
    event.preventDefault();
  });
  addEventListener('sessions', draw);
  queueMicrotask(() => {
    draw();
    look();
  });
  return [
    filter,
    el('div', { class: 'both' }, list, peek),
    el('div', { class: 'actions' },
      app.me.read_only ? null : el('button', { type: 'button', class: 'danger', onclick: () => void killAll() }, 'End all…'),
      el('span', { class: 'space' }),
      app.me.read_only ? null : el('button', { type: 'button', onclick: () => close('new') }, 'New'),
      el('button', { type: 'button', onclick: () => close(null) }, 'Close')),
  ];
}
