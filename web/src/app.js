/** The page: which sessions are shown where, and what a person does with them. */

import { api } from './api.js';
import { withLogin } from './host.js';
import * as layouts from './layout.js';
import { Notices } from './notices.js';
import { Sessions } from './sessions.js';
import { onSettings, isDark } from './settings.js';
import { bindKeys } from './shortcuts.js';
import { confirms } from './ui/dialog.js';
import { must } from './ui/dom.js';
import { KeyBar } from './ui/keybar.js';
import { asksNew } from './ui/new.js';
import { Pane } from './ui/pane.js';
import { showPicker } from './ui/picker.js';
import { showSearch } from './ui/search.js';
import { showStage } from './ui/stage.js';
import { showTabs, showTools } from './ui/tabs.js';
import { label } from './words.js';

const KEPT = 'sessd.layout';
/** The least that a pane has, in pixels: below that nothing is read. */
const PANE_MIN = { row: 90, column: 45 };
/** How long after what is looked at the tabs behind it are attached, in milliseconds. */
const BEHIND_MS = 300;

/** @typedef {{ id: string, read_only: boolean, version: string }} Me */
/** @typedef {'tab' | 'row' | 'column'} Where a session is shown: in a tab of its own, beside another, below it */

export class App {
  /** @type {Map<string, Pane>} */
  panes = new Map();
  layout = layouts.EMPTY;
  #drawing = false;
  /** How many panes want to be looked at. */
  calls = 0;

  /** @param {Me} me @param {() => void} revoked */
  constructor(me, revoked) {
    this.me = me;
    this.revoked = () => {
      for (const pane of this.panes.values()) pane.close();
      revoked();
    };
    this.sessions = new Sessions({
      changed: () => this.#sessionsChanged(),
      notice: (event) => this.notices.hear(event),
      failed: (error) => this.say(error.message),
    });
    this.notices = new Notices(this);
    this.keyBar = new KeyBar(this);
    onSettings(() => this.#dress());
    this.#dress();
    bindKeys(this);
    showTools(this);
    addEventListener('pagehide', () => {
      // Closing the page leaves on purpose; one that comes back from the browser's memory is made anew.
      for (const pane of this.panes.values()) pane.view?.leave();
    });
    addEventListener('pageshow', (event) => {
      if (event.persisted) location.reload();
    });
  }

  #dress() {
    document.documentElement.dataset['theme'] = isDark() ? 'dark' : 'light';
  }

  /** The first look: what was shown before, what the address names, or what there is. @param {import('./documents').SessionDoc[] | null} docs */
  async begin(docs) {
    if (docs) this.sessions.take(docs);
    else await this.sessions.fetch().catch((error) => this.say(error.message));
    this.sessions.listen();
    const kept = layouts.read(localStorage.getItem(KEPT));
    this.layout = layouts.pruned(kept, (session) => this.sessions.get(session) !== undefined);
    const named = location.pathname.match(/^\/s\/(.+)$/)?.[1];
    const running = this.sessions.running();
    if (named) {
      const selector = decodeURIComponent(named);
      this.open(this.sessions.find(selector)?.id ?? selector);
    } else if (this.layout.tabs.length) {
      this.show(this.layout);
    } else if (this.isSmall() && running.length) {
      this.pick();
    } else if (running.length === 1 && running[0]) {
      this.open(running[0].id);
    } else if (running.length > 1) {
      this.pick();
    } else if (!this.me.read_only) {
      await this.create({}, 'tab');
    }
    this.draw();
    document.body.dataset['ready'] = 'yes';
    performance.mark('ready');
  }

  /** A page of a hand's width. */
  isSmall() {
    return matchMedia('(max-width: 40rem)').matches;
  }

  /** @returns {Pane | undefined} the one that is typed in */
  get focused() {
    const tab = layouts.activeTab(this.layout);
    return tab && this.panes.get(tab.focus);
  }

  /** Everything that is shown follows from the layout. @param {layouts.Layout} layout */
  show(layout) {
    this.layout = layout;
    localStorage.setItem(KEPT, JSON.stringify(layout));
    const shown = new Set(layout.tabs.flatMap((tab) => layouts.panesOf(tab.tree)));
    for (const [session, pane] of this.panes) {
      if (shown.has(session)) continue;
      pane.close();
      this.panes.delete(session);
    }
    for (const session of shown) if (!this.panes.has(session)) this.panes.set(session, this.#pane(session));
    showStage(this);
    const focus = layouts.activeTab(layout)?.focus;
    history.replaceState(null, '', focus ? `/s/${focus}` : '/');
    this.draw();
    clearTimeout(this.behind);
    this.behind = setTimeout(() => this.#attachBehind(), BEHIND_MS);
  }

  /**
   * Tabs that nobody has looked at are attached, too, one at a time: their dots are true, and a session whose tab is here is not
   * taken for one that everybody left.
   */
  #attachBehind() {
    const next = [...this.panes.values()].find((pane) => !pane.view);
    if (!next) return;
    next.attach();
    this.behind = setTimeout(() => this.#attachBehind());
  }

  /** @param {string} session */
  #pane(session) {
    return new Pane(session, {
      doc: () => this.sessions.get(session),
      readOnly: this.me.read_only,
      changed: () => this.draw(),
      focused: () => {
        if (this.focused?.session !== session) this.show(layouts.focus(this.layout, session));
      },
      closed: () => this.close(session),
      revoked: this.revoked,
      clipboard: (text) => this.notices.clipboard(text),
    });
  }

  /** Tabs, title and panels are drawn again, once for all that changes at a time. */
  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    queueMicrotask(() => {
      this.#drawing = false;
      showTabs(this);
      this.keyBar.draw();
      const pane = this.focused;
      const calls = [...this.panes.values()].filter((one) => one.calls).length;
      const name = pane ? this.nameOf(pane.session) : 'sessd';
      if (calls !== this.calls) void (calls ? navigator.setAppBadge?.(calls) : navigator.clearAppBadge?.())?.catch(() => {});
      this.calls = calls;
      document.title = `${calls ? `(${calls}) ` : ''}${pane?.title || name}`;
    });
  }

  /** @param {string} session */
  nameOf(session) {
    return label(this.sessions.get(session), session);
  }

  #sessionsChanged() {
    for (const [session, pane] of this.panes) {
      pane.drawBanner();
      pane.viewsAre(this.sessions.get(session)?.views.length ?? 0);
      // It was restarted elsewhere.
      if (pane.view?.standing === 'ended' && this.sessions.get(session)?.state === 'running') pane.view.again();
    }
    this.draw();
    dispatchEvent(new Event('sessions'));
  }

  /** Shows a session; one that is shown already is gone to. @param {string} session @param {Where} [where] */
  open(session, where = 'tab') {
    const beside = this.focused?.session;
    const layout =
      where === 'tab' || !beside || !this.#hasRoom(where)
        ? layouts.open(this.layout, session)
        : layouts.splitWith(this.layout, beside, session, where);
    this.show(layout);
    this.panes.get(session)?.focus();
  }

  /** @param {string} session */
  close(session) {
    this.show(layouts.close(this.layout, session));
    this.focused?.focus();
    if (!this.layout.tabs.length && this.sessions.running().length) this.pick();
  }

  /**
   * A new session, shown. A host that wants a person asks first. Why it could not be made, if it could not.
   * @param {Record<string, unknown>} what @param {Where} where @returns {Promise<string>}
   */
  async create(what, where) {
    const stage = must('#stage');
    const cell = { width: 8.4, height: 17 };
    const size = {
      cols: Math.max(2, Math.floor(stage.clientWidth / cell.width)),
      rows: Math.max(1, Math.floor(stage.clientHeight / cell.height)),
    };
    const wanted = { ...size, ...what, id: newId() };
    try {
      const doc = await withLogin(String(what['host'] ?? 'local'), stage, () => api.create(wanted));
      this.sessions.all.set(doc.id, doc);
      this.open(doc.id, where);
      return '';
    } catch (error) {
      const why = String(/** @type {Error} */ (error).message);
      this.say(why);
      return why;
    }
  }

  /** Asks for a name and a host first. @param {Where} where */
  async asksNew(where = 'tab') {
    if (this.me.read_only) return this.say('this browser may only look');
    let [what, why] = [await asksNew(this), ''];
    while (what) {
      why = await this.create(what, where);
      what = why ? await asksNew(this, what, why) : null;
    }
  }

  /** Can what has the focus be shown in half of its place? @param {'row' | 'column'} where */
  #hasRoom(where) {
    const box = this.focused?.element.getBoundingClientRect();
    return !box || (where === 'row' ? box.width : box.height) >= 2 * PANE_MIN[where];
  }

  /** A fresh session beside or below the one that is typed in, on the same host. @param {'row' | 'column'} where */
  async split(where) {
    const host = this.sessions.get(this.focused?.session ?? '')?.host;
    if (this.me.read_only) return this.pick(where);
    if (!this.#hasRoom(where)) return this.say('there is no room for another pane here');
    await this.create(host ? { host } : {}, where);
  }

  /** Opens one that exists. @param {Where} [where] */
  pick(where = 'tab') {
    void showPicker(this, where);
  }

  /** @param {string} session */
  async kill(session) {
    if (!(await confirms(`End ${this.nameOf(session)} and its job?`, 'End it'))) return;
    await api.remove(session).catch((error) => this.say(error.message));
    this.sessions.fetchSoon();
  }

  search() {
    if (this.focused) showSearch(this.focused);
  }

  // What is rarely wanted comes when it is.

  async debug() {
    const part = await this.#part(import('./ui/debug.js'));
    part?.showDebug(this);
  }

  async menu() {
    const part = await this.#part(import('./ui/menu.js'));
    part?.showMenu(this);
  }

  /** A server of another version has none of this page's files. @template T @param {Promise<T>} part */
  #part(part) {
    return part.catch(() => void this.say('this part of the page is not there any more: load the page again'));
  }

  /** A sentence about the page. @param {string} text */
  say(text) {
    const status = must('#status');
    status.textContent = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (status.textContent = ''), 6_000);
  }
}

/** A UUIDv7, so that a request that was not answered can be made again. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Date.now()) << 16n | BigInt(0x7000 | (Math.random() * 0x1000)));
  bytes[8] = (/** @type {number} */ (bytes[8]) & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
