/** One view of a session, driven: its connection, what is typed into it, and how it stands. */

import { putCount, putInput, putMessage } from '../wire/frames.js';
import { ViewCore } from './core.js';
import { JobPath } from './path.js';
import { FrameSocket } from './socket.js';
import { onWake } from './wake.js';

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
 * @property {() => void} questionOver
 * @property {() => void} revoked this browser is let in no more
 */

/** Links that a view's dot has a colour for; a newer manager's word is none of them. @type {Standing[]} */
const LINKS = ['connecting', 'stalled', 'down', 'needs-login'];

export class View {
  /** @type {Record<string, any> | null} */
  end = null;
  /** @type {number | null} */
  rtt = null;
  path = new JobPath(performance.now());
  /** How it ended, if it did, and why. @type {{ standing: 'ended' | 'away' | 'refused', detail: string } | null} */
  #over = null;
  #wasLost = false;
  /** How it stood when that was told last. */
  #told = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} session
   * @param {{ readOnly: boolean, scrollback: number, size: { cols: number, rows: number } | null }} wants
   * @param {Listener} listener
   */
  constructor(session, wants, listener) {
    const id = crypto.getRandomValues(new Uint8Array(16));
    this.core = new ViewCore(session, { ...wants, id });
    this.listener = listener;
    this.endWakes = onWake((slept) => slept && this.#woke());
    this.#connect();
  }

  #connect() {
    this.socket = new FrameSocket({
      start: true,
      opened: () => {
        this.core.lost();
        this.socket?.send(this.core.attach());
        this.#look();
      },
      heard: (frame) => {
        const now = performance.now();
        this.path.managerSpoke(now);
        const told = this.core.handle(frame, now);
        if (told) this.#hear(told);
        this.#look();
      },
      lost: () => {
        this.core.lost();
        // What was asked over this connection is answered over none: the next one numbers its questions anew.
        this.listener.questionOver();
        this.#wasLost = true;
        this.path.lost(performance.now());
        this.#look();
      },
      revoked: () => this.listener.revoked(),
    });
  }

  /** How it stands now. @returns {Standing} */
  get standing() {
    if (this.#over) return this.#over.standing;
    if (!this.path.attached) return 'connecting';
    const now = performance.now();
    if (this.path.carries(now)) {
      if (!this.path.isKnown(now)) return 'connecting';
      return this.path.trouble(now) ? 'stalled' : 'live';
    }
    const link = LINKS.find((word) => word === this.path.state['link']);
    return this.path.silence.ofManager(now) === null ? (link ?? 'connecting') : 'stalled';
  }

  /** What is amiss, if it is worth a word. */
  get trouble() {
    return this.#over ? null : this.path.trouble(performance.now());
  }

  /** Why it stands so, in a few words. */
  get detail() {
    if (this.#over) return this.#over.detail;
    const trouble = this.trouble;
    if (!trouble) return this.path.attached ? this.path.state['detail'] : '';
    const seconds = 'silent' in trouble ? `${Math.round(trouble.silent / 1000)} s` : '';
    if (trouble.of === 'no-manager') return trouble.why || 'the manager is looked for';
    if (trouble.of === 'holder') {
      return `the job's holder has said nothing for ${seconds}, its host has: \`sessd info\` says what can be done`;
    }
    if (trouble.of === 'manager') return `the manager has said nothing for ${seconds}`;
    return trouble.why || `nothing was heard of the host for ${seconds}`;
  }

  /** When the host is dialled next, by the manager's clock, in milliseconds. @returns {number | null} */
  get nextTryAt() {
    return this.path.attached ? (this.path.state['next_try_ms'] ?? null) : null;
  }

  get outgoing() {
    return this.path.outgoing;
  }

  /** @param {import('./core.js').Told} told */
  #hear(told) {
    const now = performance.now();
    switch (told.told) {
      case 'attached':
        this.socket?.settled();
        this.path.found(told.restarted, now);
        if (told.restarted) {
          this.end = null;
          this.listener.restarted();
        } else if (told.again && this.#wasLost) {
          this.listener.note('reattached');
        }
        this.#wasLost = false;
        break;
      case 'output':
        this.path.holderSpoke(now);
        this.listener.output(told.bytes, this.#taker(told.bytes.length));
        break;
      case 'screen':
        this.listener.screen(told, this.#taker(told.bytes.length));
        break;
      case 'state':
        if (told.state['text_rows'] !== undefined) break;
        this.path.told(told.state, now);
        this.listener.changed();
        break;
      case 'written':
        this.path.holderSpoke(now);
        this.outgoing.acknowledged(told.seq);
        break;
      case 'withdrawn':
        this.path.holderSpoke(now);
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
        this.path.managerAnswered(Number(told.token) / 1000);
        break;
      case 'ended':
        this.end = told.end;
        this.#finish('ended', '');
        break;
      case 'sentAway':
        this.#finish('away', told.why);
        break;
      case 'refused':
        {
          const why = [told.error.message, told.error.hint].filter(Boolean).join(': ');
          if (told.error.kind === 'failed' || told.error.kind === 'version-skew') {
            // It may be otherwise in a moment: another manager.
            this.socket?.drop();
            this.path.notFound(why);
          } else {
            this.#finish('refused', why);
          }
        }
        break;
      case 'question':
        this.listener.question(told.question);
        break;
      case 'questionOver':
        this.listener.questionOver();
        break;
    }
  }

  /** Says that bytes are in the terminal, once they are, on the connection they came over. @param {number} length */
  #taker(length) {
    const socket = this.socket;
    const connection = socket?.retries;
    return () => {
      if (this.socket !== socket || socket?.retries !== connection) return;
      this.core.took(length, performance.now());
      this.#flush();
    };
  }

  /** @param {'ended' | 'away' | 'refused'} standing @param {string} detail */
  #finish(standing, detail) {
    this.listener.questionOver();
    this.socket?.close();
    this.core.lost();
    this.path.lost(performance.now());
    this.#over = { standing, detail };
  }

  get isOver() {
    return this.#over !== null;
  }

  /** A view that is over comes again: its session was restarted, or the person asks. */
  again() {
    if (!this.isOver) return;
    this.end = null;
    this.#over = null;
    this.#wasLost = true;
    this.path.brokenSince = performance.now();
    this.#connect();
    this.#look();
  }

  /** Nothing may be typed now and arrive. */
  get isHeld() {
    return !this.path.carries(performance.now());
  }

  /** Keys of the person. @param {Uint8Array} bytes */
  type(bytes) {
    if (this.isOver || this.core.readOnly) return;
    const now = performance.now();
    this.path.typed(bytes, now);
    if (this.path.isWanted(now)) this.tryNow();
    this.#look();
  }

  /** What the terminal says of itself. @param {Uint8Array} bytes */
  answer(bytes) {
    if (this.isOver || this.core.readOnly || this.isHeld) return;
    this.outgoing.answered(bytes, performance.now());
    this.#look();
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
    if (!this.isHeld) {
      for (let next; (next = this.outgoing.nextToSend()); ) {
        this.core.send(putInput(this.core.id, next.seq, next.bytes, next.withdrawn));
      }
    }
    const frames = this.core.toSend;
    this.core.toSend = [];
    for (const frame of frames) this.socket?.send(frame);
  }

  /** The round trip to the manager is wanted as it is now. */
  measure() {
    if (this.isOver || !this.path.attached) return;
    this.core.send(putCount('ping', Math.round(performance.now() * 1000)));
    this.#flush();
  }

  /** This page stood still: who is at the other ends is asked before anything is said of them. */
  #woke() {
    if (this.isOver || !this.path.attached) return;
    // A whole number is the same on its way back.
    const now = Math.floor(performance.now());
    const asksHolder = !this.core.readOnly && this.path.carries(now);
    this.path.woke(asksHolder, now);
    this.core.send(putCount('ping', now * 1000));
    if (asksHolder) this.core.send(putInput(this.core.id, this.outgoing.sent, new Uint8Array(), false));
    this.#look();
  }

  /** What is due now is done, what is amiss is told, and the next look is set. */
  #look() {
    clearTimeout(this.#timer);
    const now = performance.now();
    if (!this.isOver) {
      const { manager, holder } = this.path.tick(now);
      if (holder) this.core.send(putInput(this.core.id, this.outgoing.sent, new Uint8Array(), false));
      if (manager) this.core.send(putCount('ping', Math.round(now * 1000)));
      // The connection may be dead and nobody said so: a machine slept, a network changed.
      if (this.path.attached && this.path.silence.ofManager(now) !== null) return this.socket?.drop();
      if (this.path.undelivered(now)) this.#tellLost(this.path.undeliveredTold());
      this.#flush();
      const due = this.path.deadline(now) - now;
      if (due < Infinity) this.#timer = setTimeout(() => this.#look(), Math.max(1, due));
    }
    const told = `${this.standing} ${this.trouble?.of} ${this.detail}`;
    if (told === this.#told) return;
    this.#told = told;
    this.listener.changed();
  }

  /** @param {import('./typed.js').Lost} lost */
  #tellLost({ dropped, doubtful }) {
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
    this.endWakes();
    clearTimeout(this.#timer);
    this.socket?.close();
  }
}
