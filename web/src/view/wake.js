/** Moments at which the network or this page may have come back: what was true before them may be true no more. */

/**
 * How often it is looked whether time has passed unseen, in milliseconds: for so long a page that is seen may show what was true
 * before a sleep.
 */
const LOOK_MS = 250;
/** How much time that passed unseen is a sleep, in milliseconds: less, and the page was at work. */
export const SLEPT_MS = 2_500;

/** @type {Set<(slept: boolean) => void>} */
const sleepers = new Set();

/** When it was looked last, by the clock that goes on in a sleep. */
let looked = Date.now();
/** Time has passed unseen, of which nobody was told: nobody sees the page. */
let hasSlept = false;

function look() {
  const now = Date.now();
  hasSlept ||= now - looked > SLEPT_MS;
  looked = now;
}

function wake() {
  look();
  if (document.visibilityState !== 'visible') return;
  const slept = hasSlept;
  hasSlept = false;
  sleepers.forEach((tell) => tell(slept));
}

/**
 * Tells of each such moment while the page is seen. `slept`: this page, or its machine, stood still before it.
 * @param {(slept: boolean) => void} tell @returns {() => void} ends that
 */
export function onWake(tell) {
  if (!isWatching) watch();
  sleepers.add(tell);
  return () => sleepers.delete(tell);
}

let isWatching = false;
function watch() {
  isWatching = true;
  looked = Date.now();
  for (const name of ['online', 'focus', 'pageshow']) addEventListener(name, wake);
  for (const name of ['visibilitychange', 'resume']) document.addEventListener(name, wake);
  // A machine that slept says nothing of it.
  setInterval(() => {
    look();
    if (hasSlept) wake();
  }, LOOK_MS);
}
