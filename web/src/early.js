/** What is asked before the rest of the page is there: each is a way there and back, which takes no longer than reading that. */

import { api } from './api.js';

/** Who comes with a token is not let in yet. */
const comesIn = new URLSearchParams(location.hash.slice(1)).has('token');
const early = comesIn ? null : { me: api.me(), sessions: api.sessions() };
// Whoever wants it hears of a failure.
early?.me.catch(() => {});
early?.sessions.catch(() => {});

/** Once: what is asked later is asked anew. */
let isTaken = false;

/** The first answers, if they were asked for. */
export function takeEarly() {
  if (isTaken) return null;
  isTaken = true;
  return early;
}
