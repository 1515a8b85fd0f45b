/** A WebSocket of frames that is opened again when it is gone, at once when there is reason to hope. */

import { parse, putCount } from '../wire/frames.js';
import { reach } from './reach.js';
import { onWake } from './wake.js';

/** Close codes of the server (`daemon/web/src/relay.rs`). */
const REVOKED = 4001;
/** How long until one that was open is opened again, in milliseconds: soon at first, and never later than a second. */
const FIRST_MS = 100;
const LAST_MS = 1_000;
/** How long a connection may take to be made: over a network that is gone it takes minutes. */
const OPEN_MS = 4_000;
/** And how long, before the server is asked whether it is there, which it is soon after a network is back. */
const AGAIN_MS = 1_000;
/** How long after the page woke one that was open may owe an answer, and how old one may be that was being opened. */
const WOKE_MS = 800;
/** What came may wait so long behind the page's work, in milliseconds. */
const WORK_MS = 100;

/** @typedef {import('../wire/frames.js').Frame} Frame */

export class FrameSocket {
  /** @type {WebSocket | null} */
  #socket = null;
  #tries = 0;
  /** The server was not there: it is waited for. */
  #awaits = false;
  /** When the present one was begun. */
  #begun = 0;
  /** When anything was heard last. */
  #heard = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #doubt;
  /** Those that ended. */
  retries = 0;

  /**
   * @param {{ start: boolean, opened: () => void, heard: (frame: Frame) => void, lost: () => void, revoked: () => void }} to
   */
  constructor(to) {
    this.to = to;
    this.closed = false;
    this.endWakes = onWake(() => this.#woke());
    this.#open(OPEN_MS);
  }

  /** @param {number} within how long it may take, in milliseconds */
  #open(within) {
    const url = new URL(`/frames?start=${this.to.start ? 1 : 0}`, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#begun = performance.now();
    let wasOpen = false;
    this.#timer = setTimeout(() => this.drop(), within);
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      wasOpen = true;
      clearTimeout(this.#timer);
      this.to.opened();
    };
    socket.onmessage = (event) => {
      if (this.#socket !== socket) return;
      this.#heard = performance.now();
      this.to.heard(parse(event.data));
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#gone(event.code, wasOpen);
    };
  }

  /** @param {number} code @param {boolean} wasOpen the server was there */
  #gone(code, wasOpen) {
    clearTimeout(this.#timer);
    clearTimeout(this.#doubt);
    this.#doubt = undefined;
    this.#socket = null;
    if (this.closed) return;
    if (code === REVOKED) {
      this.close();
      this.to.revoked();
      return;
    }
    this.retries += 1;
    if (wasOpen) {
      this.#timer = setTimeout(() => this.#open(AGAIN_MS), Math.min(FIRST_MS * 2 ** this.#tries++, LAST_MS));
    } else {
      this.#awaits = true;
      reach.wait(() => this.#openAgain(OPEN_MS));
    }
    this.to.lost();
  }

  /** @param {number} within */
  #openAgain(within) {
    this.#awaits = false;
    if (this.closed || this.#socket) return;
    clearTimeout(this.#timer);
    this.#open(within);
  }

  /** It is of use: one that is gone now is opened again soon. */
  settled() {
    this.#tries = 0;
  }

  /** Somebody waits, or something has changed. */
  tryNow() {
    if (this.closed || this.#socket || document.visibilityState === 'hidden') return;
    if (this.#awaits) reach.hurry();
    else this.#openAgain(OPEN_MS);
  }

  /** What was there before may be gone without a word. */
  #woke() {
    const socket = this.#socket;
    if (!socket) return this.tryNow();
    if (socket.readyState === WebSocket.CONNECTING) {
      if (performance.now() > this.#begun + WOKE_MS) this.drop();
      return;
    }
    if (this.#doubt) return;
    const after = (/** @type {number} */ ms, /** @type {() => void} */ then) => {
      this.#doubt = setTimeout(() => {
        this.#doubt = undefined;
        if (this.#socket === socket) then();
      }, ms);
    };
    // What came before the sleep, or is behind the page's work, is taken in first.
    after(WORK_MS, () => {
      const asked = performance.now();
      this.send(putCount('ping', Math.round(asked * 1000)));
      const isSilent = (/** @type {() => void} */ then) => () => this.#heard < asked && then();
      after(WOKE_MS, isSilent(() => after(WORK_MS, isSilent(() => this.drop()))));
    });
  }

  /** The other end says nothing any more: another connection is made. */
  drop() {
    const socket = this.#socket;
    if (!socket) return;
    const wasOpen = socket.readyState === WebSocket.OPEN;
    this.#socket = null;
    socket.close();
    this.#gone(0, wasOpen);
  }

  /** @param {Uint8Array<ArrayBuffer>} frame @returns {boolean} whether it was given on */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  /** For good. */
  close() {
    this.closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#doubt);
    this.endWakes();
    this.#socket?.close(1000);
    this.#socket = null;
  }
}
