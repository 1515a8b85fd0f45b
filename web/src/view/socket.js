/** A WebSocket of frames that is opened again when it is gone, at once when there is reason to hope. */

import { parse } from '../wire/frames.js';

/** Close codes of the server (`daemon/web/src/relay.rs`). */
const REVOKED = 4001;
/** How long until it is tried again, in milliseconds: soon at first, and never later than a second. */
const FIRST_MS = 100;
const LAST_MS = 1_000;
/** How long a connection may take to be made: over a network that is gone it takes minutes. */
const OPEN_MS = 4_000;

/** @typedef {import('../wire/frames.js').Frame} Frame */

/** What may have brought the network or this page back. */
const WAKES = /** @type {const} */ (['online', 'focus', 'pageshow']);

export class FrameSocket {
  /** @type {WebSocket | null} */
  #socket = null;
  #tries = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** When it is tried next, by `performance.now()`; null: it is open, or being opened. @type {number | null} */
  nextTry = null;
  retries = 0;

  /**
   * @param {{ start: boolean, opened: () => void, heard: (frame: Frame) => void, lost: () => void, revoked: () => void }} to
   */
  constructor(to) {
    this.to = to;
    this.closed = false;
    this.wake = () => this.tryNow();
    for (const name of WAKES) addEventListener(name, this.wake);
    document.addEventListener('visibilitychange', this.wake);
    this.#open();
  }

  #open() {
    this.nextTry = null;
    const url = new URL(`/frames?start=${this.to.start ? 1 : 0}`, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#timer = setTimeout(() => this.drop(), OPEN_MS);
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      clearTimeout(this.#timer);
      this.to.opened();
    };
    socket.onmessage = (event) => {
      if (this.#socket !== socket) return;
      this.#tries = 0;
      this.to.heard(parse(event.data));
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#gone(event.code);
    };
  }

  /** @param {number} code */
  #gone(code) {
    clearTimeout(this.#timer);
    this.#socket = null;
    if (this.closed) return;
    if (code === REVOKED) {
      this.close();
      this.to.revoked();
      return;
    }
    this.retries += 1;
    const wait = Math.min(FIRST_MS * 2 ** this.#tries++, LAST_MS);
    this.nextTry = performance.now() + wait;
    this.#timer = setTimeout(() => this.#open(), wait);
    this.to.lost();
  }

  /** Somebody waits, or something has changed. */
  tryNow() {
    if (this.closed || this.#socket || document.visibilityState === 'hidden') return;
    clearTimeout(this.#timer);
    this.#open();
  }

  /** The other end says nothing any more: another connection is made. */
  drop() {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.close();
    this.#gone(0);
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
    for (const name of WAKES) removeEventListener(name, this.wake);
    document.removeEventListener('visibilitychange', this.wake);
    this.#socket?.close(1000);
    this.#socket = null;
  }
}
