/**
 * Who owes this view an answer, and since when: the rules of `daemon/client/src/silence.rs`. Pure: time is an argument, in
 * milliseconds. The manager is asked with a heartbeat, and the holder, whenever something typed is not acknowledged, with an
 * input frame without bytes. Silence is counted from a question that was asked: a page that slept blames nobody.
 */

/** How often the manager is asked while nothing is typed. */
const BEAT_MS = 5_000;
/** How soon after what was typed both are asked, and how often again. */
const PROBE_MS = 1_000;
/** A manager that owes an answer for so long is not well. */
const MANAGER_MS = 3_000;
/** What was typed and is unanswered for so long is said to be. */
export const UNANSWERED_MS = 3_000;

/** Whom to ask now. @typedef {{ manager: boolean, holder: boolean }} Ask */

export class Silence {
  /** The oldest heartbeat since the manager's last word. @type {number | null} */
  managerAsked = null;

  /** Nothing is owed. @param {number} now */
  constructor(now) {
    this.managerAt = this.managerHeard = this.holderHeard = this.holderAsked = now;
  }

  /** @param {number} now */
  managerSpoke(now) {
    this.managerAsked = null;
    this.managerAt = this.managerHeard = now;
  }

  /** @param {number} now */
  holderSpoke(now) {
    this.holderHeard = now;
  }

  /**
   * Since when the holder owes an answer.
   * @param {number | null} unanswered when the oldest typed byte that was sent and is not acknowledged was typed
   */
  #owedSince(unanswered) {
    return unanswered === null ? null : Math.max(unanswered, this.holderHeard);
  }

  /** When to look next. @param {number | null} unanswered @param {number} now */
  due(unanswered, now) {
    if (this.managerAsked !== null) {
      const tooLong = this.managerAsked + MANAGER_MS;
      return now < tooLong ? tooLong : Infinity;
    }
    const owed = this.#owedSince(unanswered);
    const probe = owed === null ? Infinity : Math.max(owed, this.holderAsked) + PROBE_MS;
    return Math.min(probe, this.managerAt + BEAT_MS);
  }

  /** One question is open at a time. @param {number | null} unanswered @param {number} now @returns {Ask} */
  ask(unanswered, now) {
    if (this.managerAsked !== null) return { manager: false, holder: false };
    const owed = this.#owedSince(unanswered);
    const holder = owed !== null && now >= Math.max(owed, this.holderAsked) + PROBE_MS;
    if (holder) this.holderAsked = now;
    const manager = holder || now >= this.managerAt + BEAT_MS;
    if (manager) this.managerAsked = this.managerAt = now;
    return { manager, holder };
  }

  /** How long the manager has been silent, once that is too long. @param {number} now */
  ofManager(now) {
    const silent = this.managerAsked === null ? 0 : now - this.managerAsked;
    return silent >= MANAGER_MS ? silent : null;
  }

  /** When what was typed will have been unanswered for too long. @param {number | null} unanswered */
  unansweredAt(unanswered) {
    const owed = this.#owedSince(unanswered);
    return owed === null ? null : owed + UNANSWERED_MS;
  }

  /**
   * How long what was typed has been unanswered, once that is too long. Of a manager that has said nothing since it was asked about
   * that, it is not known who is silent. @param {number | null} unanswered @param {number} now
   */
  ofLink(unanswered, now) {
    const owed = this.#owedSince(unanswered);
    if (owed === null || this.managerHeard < owed + PROBE_MS) return null;
    return now - owed >= UNANSWERED_MS ? now - owed : null;
  }
}
