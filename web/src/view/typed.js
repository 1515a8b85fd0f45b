/**
 * What was typed, until the holder says it was written to the PTY: the rules of `daemon/client/src/typed.rs`. Pure: time is an
 * argument, in milliseconds.
 *
 * Bytes are numbered from 0 over the view's whole life. After every break in the path to the holder what is not acknowledged is
 * sent again; the holder drops what it has seen. What has become too old meanwhile is withdrawn, and all that was typed after
 * it: a job that gets the end of a line without its middle may do what nobody meant. A control key is old after moments.
 */

/** Typed bytes that are held while nothing can be sent. */
export const HELD_MAX = 64 * 1024;
/** Typed bytes that are kept unacknowledged while they can be sent; a paste beyond is refused, and said to be. */
export const AHEAD_MAX = 4 * 1024 * 1024;
/** Age at which held text is withdrawn. */
export const TEXT_MS = 30_000;
/** Age at which a held control key, or an answer of the terminal, is withdrawn. */
export const CONTROL_MS = 1_000;
/** Input bytes of one view that may be on their way unacknowledged (`proto/src/limits.rs`). */
const INPUT_WINDOW = 64 * 1024;

/** @typedef {'text' | 'control' | 'answer'} What */
/** @typedef {{ seq: number, bytes: Uint8Array, at: number, what: What }} Piece */
/** @typedef {{ seq: number, withdrawn: boolean, bytes: Uint8Array }} ToSend */
/** Keys that never arrive, and that may have arrived. @typedef {{ dropped: number, doubtful: number }} Lost */

const NOTHING = new Uint8Array();
const CONTROLS = [0x03, 0x04, 0x1a, 0x1c];

/** How many keys a person pressed for these bytes, as far as bytes tell. @param {Uint8Array} bytes */
export function keys(bytes) {
  const text = new TextDecoder().decode(bytes);
  // eslint-disable-next-line no-control-regex
  return [...text.replace(/\x1b[[O][^@-~]*[@-~]|\x1b./gs, 'k')].length;
}

/** @param {Piece} piece */
const oldAt = (piece) => piece.at + (piece.what === 'text' ? TEXT_MS : CONTROL_MS);

export class Outgoing {
  /** @type {Piece[]} What is neither acknowledged nor withdrawn, in order. */
  pieces = [];
  /** The number the next typed byte gets. */
  next = 0;
  acknowledgedTo = 0;
  /** Everything before this number was sent over the present path, or needs not be. */
  sent = 0;
  /** Everything before this number was given to some path. */
  given = 0;
  /** What the holder has not seen before this number is withdrawn. */
  withdrawnTo = 0;
  withdrawalGiven = 0;
  held = 0;
  /** Something was dropped, so all that is typed is. */
  refuses = false;
  /** @type {{ to: number, pieces: Array<{ seq: number, bytes: Uint8Array }> } | null} */
  doubt = null;
  asked = false;
  /** @type {Lost} */
  lostSoFar = { dropped: 0, doubtful: 0 };
  forgotten = false;

  /** Bytes typed and neither acknowledged nor withdrawn. */
  get waiting() {
    return this.pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
  }

  /** When the oldest typed byte was typed that was sent over the present path and not acknowledged. */
  get unansweredSince() {
    return this.pieces.find((piece) => piece.what !== 'answer' && piece.seq < this.sent)?.at;
  }

  /** @returns {Lost} */
  get lost() {
    const doubtful = (this.doubt?.pieces ?? []).reduce((sum, piece) => sum + keys(piece.bytes), 0);
    return { dropped: this.lostSoFar.dropped, doubtful: this.lostSoFar.doubtful + doubtful };
  }

  get hasLost() {
    const { dropped, doubtful } = this.lost;
    return dropped + doubtful > 0;
  }

  /** When something that is kept is too old to be sent. @returns {number | null} */
  get oldAt() {
    return this.pieces.length ? Math.min(...this.pieces.map(oldAt)) : null;
  }

  /** The job it was typed for has ended, and another is there, which nothing of it is for. Numbers begin anew. */
  jobIsNew() {
    const { dropped, doubtful } = this.lost;
    const lost = { dropped, doubtful };
    for (const { seq, bytes, what } of this.pieces) {
      if (what === 'answer') continue;
      const given = Math.min(Math.max(0, this.given - seq), bytes.length);
      lost.doubtful += keys(bytes.subarray(0, given));
      lost.dropped += keys(bytes.subarray(given));
    }
    Object.assign(this, new Outgoing(), { lostSoFar: lost });
  }

  /** The person is told, or there is nothing to tell: what is typed from now on is sent. */
  told() {
    const lost = this.lost;
    this.refuses = false;
    this.doubt = null;
    this.lostSoFar = { dropped: 0, doubtful: 0 };
    return lost;
  }

  /**
   * Keys were typed. False when some of it was refused.
   * @param {Uint8Array} bytes @param {boolean} held nothing can be sent now @param {number} now
   */
  typed(bytes, held, now) {
    if (held) this.withdrawOld(now);
    const room = this.refuses ? 0 : held ? HELD_MAX - this.held : AHEAD_MAX - this.waiting;
    const keep = bytes.subarray(0, Math.max(0, room));
    const refused = bytes.subarray(keep.length);
    this.held = held ? this.held + keep.length : 0;
    let from = 0;
    for (let at = 0; at < keep.length; at++) {
      if (!CONTROLS.includes(/** @type {number} */ (keep[at]))) continue;
      this.#add(keep.subarray(from, at), 'text', now);
      this.#add(keep.subarray(at, at + 1), 'control', now);
      from = at + 1;
    }
    this.#add(keep.subarray(from), 'text', now);
    if (refused.length) {
      this.refuses = true;
      this.lostSoFar.dropped += keys(refused);
    }
    return refused.length === 0;
  }

  /** Our terminal answered a question of the job. @param {Uint8Array} bytes @param {number} now */
  answered(bytes, now) {
    this.#add(bytes, 'answer', now);
  }

  /** @param {Uint8Array} bytes @param {What} what @param {number} now */
  #add(bytes, what, now) {
    if (!bytes.length) return;
    this.pieces.push({ seq: this.next, bytes: bytes.slice(), at: now, what });
    this.next += bytes.length;
  }

  /** Everything before `seq` was written to the PTY. @param {number} seq */
  acknowledged(seq) {
    seq = Math.min(seq, this.next);
    if (seq < this.acknowledgedTo) {
      this.forgotten = true;
      this.sent = this.acknowledgedTo;
      return;
    }
    this.acknowledgedTo = seq;
    this.sent = Math.max(this.sent, seq);
    let first;
    while ((first = this.pieces[0]) && first.seq < seq) {
      const done = seq - first.seq;
      if (done < first.bytes.length) {
        first.bytes = first.bytes.subarray(done);
        first.seq = seq;
        break;
      }
      this.pieces.shift();
    }
    if (this.doubt && (seq < this.doubt.to || this.withdrawalGiven < this.doubt.to)) {
      this.#arrived(seq);
      if (!this.doubt.pieces.length) this.doubt = null;
    }
  }

  /** @param {number} seq bytes before it have arrived */
  #arrived(seq) {
    if (!this.doubt) return;
    const left = [];
    for (const piece of this.doubt.pieces) {
      const here = Math.min(Math.max(0, seq - piece.seq), piece.bytes.length);
      if (here < piece.bytes.length) left.push({ seq: piece.seq + here, bytes: piece.bytes.subarray(here) });
    }
    this.doubt.pieces = left;
  }

  /** Of what was withdrawn before `to`, the bytes from `from` on never arrive. @param {number} from @param {number} to */
  withdrawn(from, to) {
    if (!this.doubt || from > this.doubt.to || this.doubt.to > to) return;
    this.#arrived(from);
    this.lostSoFar.dropped += this.doubt.pieces.reduce((sum, piece) => sum + keys(piece.bytes), 0);
    this.doubt = null;
  }

  /** The path to the holder is a new one. @param {number} now */
  pathIsNew(now) {
    this.pathIsBack(now);
    this.sent = this.acknowledgedTo;
    this.asked = false;
  }

  /** The path to the holder carries again what it is given. @param {number} now */
  pathIsBack(now) {
    this.withdrawOld(now);
    this.held = 0;
  }

  /** Withdraws what is too old to be sent, and all that was typed after it. @param {number} now */
  withdrawOld(now) {
    const old = (/** @type {Piece} */ piece) => now >= oldAt(piece);
    this.pieces = this.pieces.filter((piece) => piece.what !== 'answer' || !old(piece));
    const first = this.pieces.findIndex(old);
    const begins = this.pieces[first];
    if (!begins) return;
    this.refuses = true;
    this.withdrawnTo = this.next;
    this.sent = Math.min(this.sent, begins.seq);
    const doubtful = [];
    for (const piece of this.pieces.splice(first)) {
      if (piece.what === 'answer') continue;
      const given = Math.min(Math.max(0, this.given - piece.seq), piece.bytes.length);
      this.lostSoFar.dropped += keys(piece.bytes.subarray(given));
      this.held = Math.max(0, this.held - piece.bytes.length);
      if (given) doubtful.push({ seq: piece.seq, bytes: piece.bytes.subarray(0, given) });
    }
    if (doubtful.length || this.doubt) {
      this.doubt ??= { to: 0, pieces: [] };
      this.doubt.to = this.withdrawnTo;
      this.doubt.pieces.push(...doubtful);
      this.asked = false;
    }
  }

  /** The next frame to send, while the window has room; it counts as sent. @returns {ToSend | null} */
  nextToSend() {
    if (this.forgotten) {
      this.forgotten = false;
      return this.#withdrawal(this.acknowledgedTo);
    }
    const sent = this.sent;
    if (this.doubt && sent >= this.doubt.to && !this.asked) {
      this.asked = true;
      return this.#withdrawal(this.doubt.to);
    }
    const piece = this.pieces.find((one) => one.seq + one.bytes.length > sent);
    if (!piece) return this.withdrawnTo > sent ? this.#withdrawal(this.withdrawnTo) : null;
    const seq = Math.max(piece.seq, sent);
    const room = this.acknowledgedTo + INPUT_WINDOW - seq;
    if (room <= 0) return seq === sent ? null : this.#withdrawal(seq);
    const from = seq - piece.seq;
    const until = Math.min(piece.bytes.length, from + room);
    this.sent = piece.seq + until;
    this.given = Math.max(this.given, this.sent);
    if (seq > sent) {
      this.withdrawalGiven = Math.max(this.withdrawalGiven, seq);
      this.asked = true;
    }
    return { seq, withdrawn: seq > sent, bytes: piece.bytes.subarray(from, until) };
  }

  /** What was not sent before `seq` never will be. @param {number} seq @returns {ToSend} */
  #withdrawal(seq) {
    this.sent = Math.max(this.sent, seq);
    this.withdrawalGiven = Math.max(this.withdrawalGiven, seq);
    if (!this.doubt || this.doubt.to <= seq) this.asked = true;
    return { seq, withdrawn: true, bytes: NOTHING };
  }
}
