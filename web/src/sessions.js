/** All sessions, as they stand: fetched, and fetched again when the event stream says that something has changed. */

import { api } from './api.js';
import { FrameSocket } from './view/socket.js';
import { putCount, putMessage } from './wire/frames.js';

/** @typedef {import('./documents').SessionDoc} SessionDoc */

/** How long changes are gathered before they are fetched, in milliseconds: longer where fetching takes long. */
const GATHER_MS = 60;
const GATHER_TIMES = 4;
/** How often it is asked whether anybody is at the other end, in milliseconds; a network may go without a word. */
const BEAT_MS = 10_000;
/** How old the list may be that is shown without another fetch, in milliseconds: what changes is told. */
const FRESH_MS = 500;
/** How long a fetch may take, in milliseconds: one over a connection that died without a word would never end. */
const FETCH_MS = 5_000;

export class Sessions {
  /** @type {Map<string, SessionDoc>} */
  all = new Map();
  /** Whether the manager is heard. */
  isLive = false;
  /** @type {FrameSocket | undefined} */
  socket;
  #asking = false;
  #again = false;
  /** When they were fetched last. */
  #taken = -Infinity;
  /** How long the last fetch took, in milliseconds. */
  #took = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} to
   * @param {() => void} to.changed
   * @param {(notice: Record<string, any>) => void} to.notice a job says something to people, or what it does has changed
   * @param {(error: Error) => void} to.failed
   */
  constructor(to) {
    this.to = to;
  }

  /** Hears of changes from now on. */
  listen() {
    let isOwed = false;
    setInterval(() => {
      if (isOwed) this.socket?.drop();
      isOwed = this.socket?.send(putCount('ping', 0)) ?? false;
    }, BEAT_MS);
    this.socket ??= new FrameSocket({
      start: false,
      opened: () => {
        this.socket?.send(putMessage('request', { id: 1, events: {} }));
        this.isLive = true;
        this.fetchSoon();
      },
      heard: (frame) => {
        isOwed = false;
        this.socket?.settled();
        if (frame.kind !== 'message' || frame.name !== 'event') return;
        const event = JSON.parse(frame.message['json']);
        if (event.event === 'notice' || event.event === 'activity') this.to.notice(event);
        this.fetchSoon();
      },
      lost: () => {
        this.isLive = false;
        this.to.changed();
      },
      revoked: () => {},
    });
  }

  fetchSoon() {
    // Changes without end are fetched all the same.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.fetch().catch((error) => {
        // While something is heard, it may be otherwise the next time.
        if (this.isLive && error.status === 0) this.fetchSoon();
        else this.to.failed(error);
      });
    }, Math.max(GATHER_MS, GATHER_TIMES * this.#took));
  }

  /** @returns {Promise<void>} */
  async fetch() {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    try {
      do {
        this.#again = false;
        const begun = performance.now();
        this.take(await api.sessions(AbortSignal.timeout(FETCH_MS)));
        this.#took = performance.now() - begun;
      } while (this.#again);
    } finally {
      this.#asking = false;
    }
  }

  /** They are to be as they are now; what was fetched a moment ago is that. */
  async freshen() {
    if (performance.now() > this.#taken + FRESH_MS) await this.fetch();
  }

  /** All of them are these now. @param {SessionDoc[]} docs */
  take(docs) {
    this.#taken = performance.now();
    this.all = new Map(docs.map((doc) => [doc.id, doc]));
    this.to.changed();
  }

  /** @param {string} id */
  get(id) {
    return this.all.get(id);
  }

  /** Those that have not ended, the one that was active last first. */
  running() {
    return this.sorted().filter((doc) => doc.state !== 'done');
  }

  /** @returns {SessionDoc[]} */
  sorted() {
    // Times are all of one form, so that their order is that of their letters.
    const at = (/** @type {SessionDoc} */ doc) => doc.last_active_at ?? doc.created_at;
    return [...this.all.values()].sort((a, b) => (at(a) < at(b) ? 1 : at(a) > at(b) ? -1 : 0));
  }

  /** Which session a person means: by its id, the beginning of one, or its name. @param {string} selector */
  find(selector) {
    const docs = [...this.all.values()];
    const fits = docs.filter((doc) => doc.id.startsWith(selector) || doc.id.endsWith(selector));
    return this.all.get(selector) ?? docs.find((doc) => doc.name === selector) ?? (fits.length === 1 ? fits[0] : undefined);
  }
}
