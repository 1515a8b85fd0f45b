/**
 * Is the server there? While it is not, all sockets of the page wait for one answer: a browser makes WebSockets of a page that
 * failed often wait for seconds, and one at a time.
 */

/** How long after one that was refused the next question begins, in milliseconds. */
const EVERY_MS = 500;
/** How long an answer may take, in milliseconds: what was begun over a network that was gone is of no use when that is back. */
const SOON_MS = 1_000;
/** One question in so many may take longer: the way may be a slow one. */
const PATIENT = 4;
const LATE_MS = 4_000;

export class Reach {
  /** @type {(() => void)[]} */
  #waiting = [];
  #isAsking = false;
  #asked = 0;
  /** Ends what is waited for. @type {() => void} */
  #hurry = () => {};

  /** @param {(signal: AbortSignal) => Promise<unknown>} ask it fails where the server is not there */
  constructor(ask) {
    this.ask = ask;
  }

  /** Tells once when the server has answered. @param {() => void} tell */
  wait(tell) {
    this.#waiting.push(tell);
    if (!this.#isAsking) void this.#look();
  }

  /** There is reason to hope. */
  hurry() {
    this.#hurry();
  }

  async #look() {
    this.#isAsking = true;
    this.#asked = 0;
    while (!(await this.#answers())) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, EVERY_MS);
        this.#hurry = () => (clearTimeout(timer), resolve(null));
      });
    }
    this.#isAsking = false;
    this.#hurry = () => {};
    for (const tell of this.#waiting.splice(0)) tell();
  }

  async #answers() {
    const abort = new AbortController();
    this.#hurry = () => abort.abort();
    this.#asked += 1;
    const timer = setTimeout(this.#hurry, this.#asked % PATIENT === 0 ? LATE_MS : SOON_MS);
    return this.ask(abort.signal)
      .then(() => true, () => false)
      .finally(() => clearTimeout(timer));
  }
}

/** Of the server this page came from. */
export const reach = new Reach((signal) => fetch('/manifest.webmanifest', { method: 'HEAD', cache: 'no-store', signal }));
