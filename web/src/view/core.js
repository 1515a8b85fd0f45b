/**
 * One view of a session, as a value: what it asks for, what it makes of what it hears, and what it owes. No socket, no clock:
 * the rules of `daemon/client/src/core.rs`, in the page. The view is the end that counts: it knows which output byte it needs
 * next, so that it goes on with the next manager where it was.
 */

import { IGNORABLE, PROTO, putCount, putMessage } from '../wire/frames.js';

/** Output bytes that are asked for ahead of what the terminal has taken: what waits in the page is never more. */
export const PENDING_MAX = 500_000;
/** And never less than this, however slow the terminal is. */
export const PENDING_MIN = 64 * 1024;
/** How long what waits may take the terminal, in milliseconds: what is typed under a flood is seen that late. */
const PENDING_MS = 80;

/** @typedef {import('../wire/frames.js').Frame} Frame */
/** @typedef {Record<string, any>} State how the session stands: the fields of `ViewState` */
/**
 * @typedef {{ told: 'attached', restarted: boolean, again: boolean }
 *   | { told: 'screen', skipped: number, known: boolean, bytes: Uint8Array, cols: number, rows: number }
 *   | { told: 'output', bytes: Uint8Array }
 *   | { told: 'state', state: State }
 *   | { told: 'written', seq: number }
 *   | { told: 'withdrawn', from: number, to: number }
 *   | { told: 'ping', token: bigint }
 *   | { told: 'pong', token: bigint }
 *   | { told: 'ended', end: Record<string, any> }
 *   | { told: 'sentAway', why: string }
 *   | { told: 'question', question: Record<string, any> }
 *   | { told: 'questionOver', id: number }
 *   | { told: 'refused', error: { kind: string, message: string, hint: string } }} Told
 */

/** @param {Uint8Array} a @param {Uint8Array} b */
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

export class ViewCore {
  /** @type {Uint8Array<ArrayBuffer>[]} Frames to be sent. */
  toSend = [];
  /** @type {Record<string, any>} */
  attached = { session_id: '', name: '', host: '', job_id: '' };
  isAttached = false;
  /** @type {State | null} */
  state = null;
  /** @type {number | null} The next output byte that is needed; none: a screen comes first. */
  need = null;
  /** @type {Uint8Array[]} */
  partial = [];
  /** What came over this connection, what of it the terminal has taken, and what was allowed. */
  received = 0;
  taken = 0;
  granted = PENDING_MAX;
  /** How much may wait, by how fast the terminal takes it. */
  window = PENDING_MAX;
  /** Since when something waits, how long it did since that was weighed, and what was taken in that time. */
  #waitsFrom = 0;
  #waited = 0;
  #weighed = 0;
  /** Over its whole life. */
  bytes = 0;
  skipped = 0;

  /**
   * @param {string} session by any selector
   * @param {{ id: Uint8Array, readOnly: boolean, scrollback: number, size: { cols: number, rows: number } | null }} wants
   */
  constructor(session, wants) {
    this.session = session;
    this.id = wants.id;
    this.readOnly = wants.readOnly;
    this.scrollback = wants.scrollback;
    this.size = wants.size;
  }

  /** What a manager is asked, the first one or the next. */
  attach() {
    const again = this.attached['session_id'] !== '';
    return putMessage('attach', {
      session: again ? this.attached['session_id'] : this.session,
      view_id: this.id,
      cols: this.size?.cols ?? 0,
      rows: this.size?.rows ?? 0,
      read_only: this.readOnly,
      kind: 'web',
      resume: this.need,
      credit: PENDING_MAX,
      scrollback_lines: this.need === null ? this.scrollback : 0,
      job_id: this.attached['job_id'],
      no_images: true,
      standing: again ? { leads: this.state?.['leader'] ?? false, sizes: this.state?.['sizes'] ?? false } : undefined,
    });
  }

  /** So many bytes came. @param {number} bytes @param {number} now */
  #came(bytes, now) {
    if (this.pending === 0) this.#waitsFrom = now;
    this.received += bytes;
    this.bytes += bytes;
  }

  /** @param {Frame} frame @param {number} now in milliseconds @returns {Told | null} */
  handle(frame, now) {
    switch (frame.kind) {
      case 'message':
        return this.#message(frame.name, frame.message);
      case 'snapshot': {
        this.#came(frame.bytes.length, now);
        this.partial.push(frame.bytes);
        if (frame.more) return null;
        const known = this.need === frame.at;
        this.need = frame.at;
        this.skipped += frame.skipped;
        const bytes = joined(this.partial);
        this.partial = [];
        return { told: 'screen', skipped: frame.skipped, known, bytes, cols: frame.cols, rows: frame.rows };
      }
      case 'output': {
        this.#came(frame.bytes.length, now);
        this.need ??= frame.offset;
        if (frame.offset > this.need) {
          // The whole screen again is right in any case.
          this.took(frame.bytes.length, now);
          this.redraw();
          return null;
        }
        const fresh = frame.bytes.subarray(this.need - frame.offset);
        this.took(frame.bytes.length - fresh.length, now);
        this.need += fresh.length;
        return fresh.length ? { told: 'output', bytes: fresh } : null;
      }
      // Of a pane that is drawn: what changes on its terminal, and stands for all output before.
      case 'drawing':
        this.#came(frame.bytes.length, now);
        this.need = frame.at;
        return frame.bytes.length ? { told: 'output', bytes: frame.bytes } : null;
      case 'inputAck':
        return same(frame.view, this.id) ? { told: 'written', seq: frame.seq } : null;
      case 'withdrawn':
        return same(frame.view, this.id) ? { told: 'withdrawn', from: frame.from, to: frame.to } : null;
      case 'ping':
        return { told: 'ping', token: frame.count };
      case 'pong':
        return { told: 'pong', token: frame.count };
      case 'unknown':
        if ((frame.number & IGNORABLE) === 0) this.send(putMessage('unsupported', { kind: frame.number }));
        return null;
      default:
        return null;
    }
  }

  /** @param {string} name @param {Record<string, any>} message @returns {Told | null} */
  #message(name, message) {
    switch (name) {
      case 'attached': {
        const again = this.attached['job_id'] !== '';
        const restarted = again && message['job_id'] !== this.attached['job_id'];
        if (restarted) this.need = null;
        this.attached = message;
        this.isAttached = true;
        return { told: 'attached', restarted, again };
      }
      case 'hello': {
        const older = message['proto_max'] < PROTO;
        if (!older && message['proto_min'] <= PROTO) return null;
        return {
          told: 'refused',
          error: {
            kind: 'version-skew',
            message: `the running manager (sessd ${message['version']}) is ${older ? 'older' : 'newer'} than this page`,
            hint: older ? '`sessd daemon restart` starts the newer one; sessions run on' : 'start `sessd web` again, and load this page again',
          },
        };
      }
      case 'viewState':
        if (message['text_rows'] === undefined) this.state = message;
        return { told: 'state', state: message };
      case 'ended':
        return { told: 'ended', end: message };
      case 'detach':
        return { told: 'sentAway', why: message['detail'] };
      case 'question':
        return { told: 'question', question: message };
      case 'questionOver':
        return { told: 'questionOver', id: message['id'] };
      case 'close':
        return { told: 'refused', error: { kind: 'failed', message: message['detail'], hint: '' } };
      case 'reply':
        return message['error'] ? { told: 'refused', error: message['error'] } : null;
      case 'unsupported':
        if (message['kind'] !== 0x52 && message['kind'] !== 0x14) return null;
        return {
          told: 'refused',
          error: {
            kind: 'version-skew',
            message: 'the running manager is older than this page',
            hint: '`sessd daemon restart` starts the newer one; sessions run on',
          },
        };
      default:
        return null;
    }
  }

  /** So many bytes that came are in the terminal: as many more may come. @param {number} bytes @param {number} now */
  took(bytes, now) {
    this.taken = Math.min(this.taken + bytes, this.received);
    this.#waited += now - this.#waitsFrom;
    this.#waitsFrom = now;
    this.#weighed += bytes;
    if (this.#weighed >= PENDING_MIN) {
      const fits = (this.#weighed / Math.max(1, this.#waited)) * PENDING_MS;
      this.window = Math.round(Math.min(PENDING_MAX, Math.max(PENDING_MIN, (this.window + fits) / 2)));
      this.#weighed = this.#waited = 0;
    }
    if (this.granted - this.taken <= this.window / 2) {
      this.granted = this.taken + this.window;
      this.send(putCount('credit', this.granted));
    }
  }

  /** What came and is not in the terminal. */
  get pending() {
    return this.received - this.taken;
  }

  /** The connection is gone: what was to be said on it is, too. */
  lost() {
    this.isAttached = false;
    this.received = this.taken = 0;
    this.granted = PENDING_MAX;
    this.partial = [];
    this.toSend = [];
  }

  /** @param {Uint8Array<ArrayBuffer>} frame */
  send(frame) {
    this.toSend.push(frame);
  }

  /** Asks for the whole screen. */
  redraw() {
    this.send(putMessage('subscribe', {}));
  }

  /** The terminal has another size; said once. @param {{ cols: number, rows: number }} size */
  resize(size) {
    if (this.size?.cols === size.cols && this.size.rows === size.rows) return;
    this.size = size;
    if (this.isAttached) this.send(putMessage('resize', size));
  }
}

/** @param {Uint8Array[]} pieces */
function joined(pieces) {
  if (pieces.length === 1) return /** @type {Uint8Array} */ (pieces[0]);
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
