/** One view of a session, driven: its connection, what is typed into it, and how it stands. */

import { putCount, putInput, putMessage } from '../wire/frames.js';
import { ViewCore } from './core.js';
import { FrameSocket } from './socket.js';
import { Outgoing } from './typed.js';

/** How often the manager is asked whether it is there, and how long it may owe the answer, in milliseconds. */
const BEAT_MS = 5_000;
const MANAGER_MS = 3_000;
/** How soon after something was typed both ends are asked, and after how long that is said. */
const PROBE_MS = 1_000;
const UNANSWERED_MS = 3_000;
/** How long it may take to learn what became of keys over a break. */
const SETTLE_MS = 2_000;

/**
 * How a view stands, for its dot:
 * live; connecting (to the server, the manager or the host); stalled (silent); down (the host is out of reach, to be tried
 * again); needs-login; ended; away (sent away, or the person left); refused (there is no such session, or it cannot be shown).
 * @typedef {'live' | 'connecting' | 'stalled' | 'down' | 'needs-login' | 'ended' | 'away' | 'refused'} Standing
 */

/**
 * What is told of a view.
 * @typedef {object} Listener
 * @property {(bytes: Uint8Array, took: () => void) => void} output bytes for the terminal
 * @property {(screen: { bytes: Uint8Array, skipped: number, known: boolean, cols: number, rows: number }, took: () => void) => void} screen
 * @property {() => void} restarted another job than before: nothing of the old one counts
 * @property {() => void} changed how it stands, its size or who leads
 * @property {(note: string) => void} note a sentence for the person
 * @property {(question: Record<string, any>) => void} question
 * @property {(id: number) => void} questionOver
 * @property {() => void} revoked this browser is let in no more
 */

export class View {
  /** @type {Standing} */
  standing = 'connecting';
  /** @type {Record<string, any> | null} */
  end = null;
  /** Why it stands so. */
  detail = '';
  /** When the host is dialled next, by the manager's clock, in milliseconds. @type {number | null} */
  nextTryAt = null;
  /** @type {number | null} */
  rtt = null;
  outgoing = new Outgoing();
  /** When the oldest heartbeat was asked that is not answered. @type {number | null} */
  #asked = null;
  #heardAt = performance.now();
  #holderAsked = 0;
  #holderHeard = 0;
  /** @type {number | null} */
  #epoch = null;
  #pathUp = false;
  /** @type {number | null} When the path came back, while keys over the break are not told of. */
  #settling = null;
  #wasLost = false;

  /**
   * @param {string} session
   * @param {{ readOnly: boolean, scrollback: number, size: { cols: number, rows: number } | null }} wants
   * @param {Listener} listener
   */
  constructor(session, wants, listener) {
    const id = crypto.getRandomValues(new Uint8Array(16));
    this.core = new ViewCore(session, { ...wants, id });
    this.listener = listener;
    this.timer = setInterval(() => this.#look(), 250);
    this.#connect();
  }

  #connect() {
    this.socket = new FrameSocket({
      start: true,
      opened: () => {
        this.core.lost();
        this.socket?.send(this.core.attach());
        this.#asked = null;
        this.#heardAt = performance.now();
      },
      heard: (frame) => {
        this.#asked = null;
        this.#heardAt = performance.now();
        const told = this.core.handle(frame);
        if (told) this.#hear(told);
        this.#flush();
      },
      lost: () => {
        this.core.lost();
        this.#wasLost = true;
        this.#pathUp = false;
        this.#epoch = null;
        this.#stand('connecting', 'the manager is looked for');
      },
      revoked: () => this.listener.revoked(),
    });
  }

  /** @param {Standing} standing @param {string} detail */
  #stand(standing, detail) {
    this.standing = standing;
    this.detail = detail;
    this.listener.changed();
  }

  /** @param {import('./core.js').Told} told */
  #hear(told) {
    const now = performance.now();
    switch (told.told) {
      case 'attached':
        if (told.restarted) {
          this.outgoing = new Outgoing();
          this.end = null;
          this.listener.restarted();
        } else if (told.again && this.#wasLost) {
          this.listener.note('reattached');
        }
        this.#wasLost = false;
        break;
      case 'output':
        this.#holderHeard = now;
        this.listener.output(told.bytes, this.#taker(told.bytes.length));
        break;
      case 'screen':
        this.#holderHeard = now;
        this.listener.screen(told, this.#taker(told.bytes.length));
        break;
      case 'state':
        if (told.state['text_rows'] === undefined) this.#stateChanged(told.state, now);
        break;
      case 'written':
        this.#holderHeard = now;
        this.outgoing.acknowledged(told.seq);
        break;
      case 'withdrawn':
        this.#holderHeard = now;
        this.outgoing.withdrawn(told.from, told.to);
        break;
      case 'ping':
        // Answered when what came before it is in the terminal: an empty write comes after those before it.
        this.listener.output(new Uint8Array(), () => {
          this.core.send(putCount('pong', told.token));
          this.#flush();
        });
        break;
      case 'pong':
        this.rtt = now - Number(told.token) / 1000;
        break;
      case 'ended':
        this.end = told.end;
        this.#over('ended', '');
        break;
      case 'sentAway':
        this.#over('away', told.why);
        break;
      case 'refused':
        if (told.error.kind === 'failed') this.#stand('connecting', told.error.message);
        else this.#over('refused', told.error.message);
        break;
      case 'question':
        this.listener.question(told.question);
        break;
      case 'questionOver':
        this.listener.questionOver(told.id);
        break;
    }
  }

  /** Says that bytes are in the terminal, once they are, on the connection they came over. @param {number} length */
  #taker(length) {
    const socket = this.socket;
    const connection = socket?.retries;
    return () => {
      if (this.socket !== socket || socket?.retries !== connection) return;
      this.core.took(length);
      this.#flush();
    };
  }

  /** @param {Standing} standing @param {string} detail */
  #over(standing, detail) {
    this.socket?.close();
    this.core.lost();
    this.#stand(standing, detail);
  }

  get isOver() {
    return ['ended', 'away', 'refused'].includes(this.standing);
  }

  /** A view that is over comes again: its session was restarted, or the person asks. */
  again() {
    if (!this.isOver) return;
    this.end = null;
    this.#wasLost = true;
    this.#stand('connecting', '');
    this.#connect();
  }

  /** @param {Record<string, any>} state @param {number} now */
  #stateChanged(state, now) {
    const carries = state['link'] === 'up' || state['link'] === 'local';
    const isNew = this.#epoch !== state['epoch'];
    this.nextTryAt = state['next_try_ms'] ?? null;
    if (carries) {
      if (isNew) this.outgoing.pathIsNew(now);
      else if (!this.#pathUp) this.outgoing.pathIsBack(now);
      this.#epoch = state['epoch'];
      if (!this.#pathUp || isNew) this.#holderHeard = now;
      this.#settling ??= this.outgoing.refuses || this.outgoing.lost.dropped + this.outgoing.lost.doubtful > 0 ? now : null;
    }
    this.#pathUp = carries;
    const standing = /** @type {Standing} */ (carries ? 'live' : state['link']);
    this.#stand(standing, state['detail']);
  }

  /** Nothing may be typed now and arrive. */
  get isHeld() {
    return !this.#pathUp || !this.core.isAttached || this.standing === 'stalled';
  }

  /** Keys of the person. @param {Uint8Array} bytes */
  type(bytes) {
    if (this.isOver || this.core.readOnly) return;
    this.outgoing.typed(bytes, this.isHeld, performance.now());
    if (this.isHeld) this.socket?.tryNow();
    this.#flush();
  }

  /** What the terminal says of itself. @param {Uint8Array} bytes */
  answer(bytes) {
    if (this.isOver || this.core.readOnly || this.isHeld) return;
    this.outgoing.answered(bytes, performance.now());
    this.#flush();
  }

  /** Bytes typed and not on their way to the job yet. */
  get held() {
    return this.isHeld ? this.outgoing.waiting : 0;
  }

  /** @param {{ cols: number, rows: number }} size */
  resize(size) {
    this.core.resize(size);
    this.#flush();
  }

  /** The link is to be tried now. */
  tryNow() {
    this.socket?.tryNow();
    this.core.send(putMessage('tryNow', {}));
    this.#flush();
  }

  /** What a login is answered; null: nothing. @param {number} id @param {string | null} given */
  reply(id, given) {
    this.core.send(putMessage('answer', given === null ? { id } : { id, given }));
    this.#flush();
  }

  #flush() {
    if (!this.core.isAttached) {
      this.core.toSend = this.core.toSend.filter((frame) => !this.socket?.send(frame));
      return;
    }
    if (this.#pathUp && this.standing !== 'stalled') {
      for (let next; (next = this.outgoing.nextToSend()); ) {
        this.core.send(putInput(this.core.id, next.seq, next.bytes, next.withdrawn));
      }
    }
    const frames = this.core.toSend;
    this.core.toSend = [];
    for (const frame of frames) this.socket?.send(frame);
  }

  /** What time brings: heartbeats, silence, keys that are too old. */
  #look() {
    const now = performance.now();
    if (this.isOver) return;
    if (this.isHeld) this.outgoing.withdrawOld(now);
    if (this.core.isAttached) {
      const unanswered = this.outgoing.unansweredSince;
      const owed = unanswered === undefined ? null : Math.max(unanswered, this.#holderHeard);
      const probes = owed !== null && now - Math.max(owed, this.#holderAsked) >= PROBE_MS;
      if (probes) {
        this.#holderAsked = now;
        this.core.send(putInput(this.core.id, this.outgoing.sent, new Uint8Array(), false));
      }
      if (this.#asked === null && (probes || now - this.#heardAt >= BEAT_MS)) {
        this.#asked = now;
        this.core.send(putCount('ping', Math.round(now * 1000)));
      }
      if (this.#asked !== null && now - this.#asked >= MANAGER_MS) {
        // The connection may be dead and nobody said so: a machine slept, a network changed.
        this.#asked = null;
        this.socket?.drop();
        return;
      }
      const silent = owed !== null && now - owed >= UNANSWERED_MS;
      if (silent && this.standing === 'live') this.#stand('stalled', 'what was typed is not answered');
      else if (!silent && this.standing === 'stalled' && this.#pathUp) this.#stand('live', '');
    }
    this.#settle(now);
    this.#flush();
  }

  /** After a break, once it is known what became of what was typed: that is told, and typing goes on. @param {number} now */
  #settle(now) {
    if (this.#settling === null || !this.#pathUp) return;
    if (this.outgoing.doubt && now - this.#settling < SETTLE_MS) return;
    this.#settling = null;
    const { dropped, doubtful } = this.outgoing.told();
    const counted = (/** @type {number} */ n) => `${n} key${n === 1 ? '' : 's'}`;
    if (dropped) this.listener.note(`${counted(dropped)} typed meanwhile went nowhere: type again`);
    if (doubtful) this.listener.note(`of ${counted(doubtful)} it is not known whether they arrived`);
  }

  /** Leaves on purpose. */
  leave() {
    this.socket?.send(putMessage('detach', {}));
    this.close();
  }

  /** Lets go of everything. */
  close() {
    clearInterval(this.timer);
    this.socket?.close();
  }
}
