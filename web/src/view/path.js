/**
 * The path from a view to its job: does it carry what is typed, since when not, what is amiss, and what became of what was typed
 * meanwhile: the rules of `daemon/client/src/path.rs`. Pure: time is an argument, in milliseconds.
 */

import { Silence } from './silence.js';
import { Outgoing } from './typed.js';

/** How long the path may be broken before it is worth a word: most breaks are over by then. */
export const SAY_AFTER_MS = 1_500;
/** How long after the path is back the holder may take to say what became of what was withdrawn. */
export const SETTLE_MS = 2_000;
/** How often a key that is typed has the link tried at once. */
const TRY_NOW_MS = 1_000;
/** How long after a sleep the holder may take to answer, once the manager has: then what the manager says of the link counts. */
export const WOKE_MS = 3_000;
/** A number that no path of a manager has: those begin anew with each manager. */
const NO_PATH = -1;

/**
 * What is amiss: there is no manager; it has been silent for so long; the job's holder has, and its host has not; the link is broken,
 * or silent.
 * @typedef {{ of: 'no-manager', why: string } | { of: 'manager', silent: number }
 *   | { of: 'holder', silent: number } | { of: 'link', link: string, silent: number, why: string }} Trouble
 */

/** @param {string} link whether what is given to such a link arrives */
const carries = (link) => link === 'up' || link === 'local';

/** @param {...(number | null)} times */
const soonest = (...times) => Math.min(...times.map((at) => at ?? Infinity));

export class JobPath {
  /** A manager is there and has attached the view. */
  attached = false;
  /** @type {Record<string, any>} How the session stood when that was told last. */
  state = { link: 'down', epoch: NO_PATH, detail: '' };
  outgoing = new Outgoing();
  /** @type {number | null} */
  brokenSince = null;
  /** When the path was back, and what is lost was not told yet. @type {number | null} */
  settlingSince = null;
  /** Since when the holder owes an answer that its host does not, as the manager says. @type {number | null} */
  holderSilentSince = null;
  /** When the link was last wanted at once because of a key. @type {number | null} */
  wantedAt = null;
  /**
   * Since when it is not known whether what was heard before a sleep is true, and whose word is waited for.
   * @type {{ since: number, manager: boolean, holder: boolean } | null}
   */
  #doubt = null;

  /** @param {number} now */
  constructor(now) {
    this.silence = new Silence(now);
    this.brokenSince = now;
    /** When anything was heard of the host last, as far as is known. */
    this.heardAt = now;
  }

  /** Can what is typed be given to something that carries it on? @param {number} now */
  carries(now) {
    return this.attached && carries(this.state['link']) && this.silence.ofManager(now) === null;
  }

  get #unanswered() {
    return carries(this.state['link']) ? (this.outgoing.unansweredSince ?? null) : null;
  }

  /**
   * The machine slept, or the page did: all that is known is from before, until those who are asked now have answered.
   * @param {boolean} asksHolder what only looks does not ask it @param {number} now
   */
  woke(asksHolder, now) {
    if (this.attached) this.#doubt = { since: now, manager: true, holder: asksHolder };
  }

  /** Is what is known from after the last sleep? @param {number} now */
  isKnown(now) {
    return this.#doubt === null || (!this.#doubt.manager && now >= this.#doubt.since + WOKE_MS);
  }

  /** The manager answered what it was asked then: what came before a sleep was said before it. @param {number} asked */
  managerAnswered(asked) {
    if (this.#doubt && asked >= this.#doubt.since) this.#doubt.manager = false;
    this.#settleDoubt();
  }

  #settleDoubt() {
    if (this.#doubt && !this.#doubt.manager && !this.#doubt.holder) this.#doubt = null;
  }

  /** @param {number} now */
  managerSpoke(now) {
    this.silence.managerSpoke(now);
  }

  /** @param {number} now */
  holderSpoke(now) {
    this.heardAt = now;
    this.silence.holderSpoke(now);
    if (this.#doubt) this.#doubt.holder = false;
    this.#settleDoubt();
  }

  /** A manager has attached the view. @param {boolean} restarted to another job than before @param {number} now */
  found(restarted, now) {
    this.attached = true;
    this.#doubt = null;
    this.silence = new Silence(now);
    this.state = { ...this.state, detail: '', epoch: NO_PATH };
    if (restarted) this.outgoing.jobIsNew();
  }

  /** The manager is gone. @param {number} now */
  lost(now) {
    this.attached = false;
    this.#doubt = null;
    this.state = { ...this.state, link: 'down', detail: '', silent_ms: undefined, next_try_ms: undefined };
    this.holderSilentSince = null;
    this.brokenSince ??= now;
    this.settlingSince = null;
  }

  /** No manager can be had, and why. @param {string} why */
  notFound(why) {
    this.state = { ...this.state, detail: why };
  }

  /** The manager says how the session stands. @param {Record<string, any>} state @param {number} now */
  told(state, now) {
    const isNew = state['epoch'] !== this.state['epoch'];
    const wasUp = this.brokenSince === null;
    const dials = state['link'] === 'connecting' || state['link'] === 'stalled';
    // While it is tried again, what was wrong is still what is known.
    const detail = !state['detail'] && dials && !wasUp ? this.state['detail'] : state['detail'];
    const silent = state['silent_ms'];
    const holderSilent = state['holder_silent_ms'];
    this.holderSilentSince = holderSilent === undefined ? null : now - holderSilent;
    if (silent !== undefined) this.heardAt = Math.max(this.heardAt, now - silent);
    else if (wasUp || carries(state['link'])) this.heardAt = now;
    this.state = { ...state, detail };
    if (this.carries(now)) this.#carriesAgain(isNew, wasUp, now);
    else this.brokenSince ??= now;
  }

  /** @param {boolean} isNew @param {boolean} wasUp @param {number} now */
  #carriesAgain(isNew, wasUp, now) {
    if (isNew) {
      this.outgoing.pathIsNew(now);
      this.silence.holderSpoke(now);
    } else if (!wasUp) {
      this.outgoing.pathIsBack(now);
    }
    this.brokenSince = null;
    if (this.outgoing.refuses || this.outgoing.hasLost) this.settlingSince ??= now;
  }

  /** Does what is due, and says whom to ask now. @param {number} now @returns {import('./silence.js').Ask} */
  tick(now) {
    const up = this.carries(now);
    // The manager was silent, and is not any more.
    if (up && this.brokenSince !== null) this.#carriesAgain(false, false, now);
    else if (!up && this.attached) this.brokenSince ??= now;
    if (!up) {
      this.settlingSince = null;
      this.outgoing.withdrawOld(now);
    } else if (this.#isSettled(now) && !this.outgoing.hasLost) {
      this.undeliveredTold();
    }
    return this.attached ? this.silence.ask(this.#unanswered, now) : { manager: false, holder: false };
  }

  /** When something is due; nothing before that changes what is amiss. @param {number} now */
  deadline(now) {
    const after = (/** @type {number | null} */ at) => (at !== null && at > now ? at : Infinity);
    return soonest(
      this.attached ? this.silence.due(this.#unanswered, now) : null,
      this.carries(now) ? null : this.outgoing.oldAt,
      after(this.settlingSince === null ? null : this.settlingSince + SETTLE_MS),
      after(this.brokenSince === null ? null : this.brokenSince + SAY_AFTER_MS),
      after(this.silence.unansweredAt(this.#unanswered)),
      after(this.#doubt && this.#doubt.since + WOKE_MS),
    );
  }

  /** @param {number} now */
  #isSettled(now) {
    return this.settlingSince !== null && (!this.outgoing.doubt || now >= this.settlingSince + SETTLE_MS);
  }

  /**
   * Keys that were not delivered over a break that has ended, once it is known what became of them or the holder took too long to
   * say. Until that is told what is typed is refused. @param {number} now
   */
  undelivered(now) {
    return this.outgoing.hasLost && this.#isSettled(now) ? this.outgoing.lost : null;
  }

  /** The person is told, or there is nothing to tell: what is typed from now on is sent. */
  undeliveredTold() {
    this.settlingSince = null;
    return this.outgoing.told();
  }

  /** Keys were typed. False: some of them were refused. @param {Uint8Array} keys @param {number} now */
  typed(keys, now) {
    return this.outgoing.typed(keys, !this.carries(now), now);
  }

  /** Somebody types into a broken path. True: it is to be tried at once, which is so once a second. @param {number} now */
  isWanted(now) {
    if (this.carries(now) || (this.wantedAt !== null && now < this.wantedAt + TRY_NOW_MS)) return false;
    this.wantedAt = now;
    return true;
  }

  /** What is amiss now, if it is worth a word. @param {number} now @returns {Trouble | null} */
  trouble(now) {
    const late = this.brokenSince !== null && now >= this.brokenSince + SAY_AFTER_MS;
    const { link, detail: why } = this.state;
    if (!this.attached) return late ? { of: 'no-manager', why } : null;
    const manager = this.silence.ofManager(now);
    if (manager !== null) return { of: 'manager', silent: manager };
    const heard = now - this.heardAt;
    if (this.brokenSince !== null) return late ? { of: 'link', link, silent: heard, why } : null;
    if (this.holderSilentSince !== null) return { of: 'holder', silent: now - this.holderSilentSince };
    // The manager has noticed that the host is late, or something that was typed is unanswered.
    const silent = this.state['silent_ms'] !== undefined ? heard : this.silence.ofLink(this.#unanswered, now);
    return silent === null ? null : { of: 'link', link, silent, why };
  }
}
