/** Moments at which the network or this page may have come back: what was true before them may be true no more. */

/** How often it is looked whether time has passed unseen, and how much of it is a sleep, in milliseconds. */
const LOOK_MS = 1_000;
const SLEPT_MS = 2_500;

/** @type {Set<() => void>} */
const sleepers = new Set();
const wake = () => document.visibilityState === 'visible' && sleepers.forEach((tell) => tell());

/** Tells of each such moment while the page is seen. @param {() => void} tell @returns {() => void} ends that */
export function onWake(tell) {
  if (!isWatching) watch();
  sleepers.add(tell);
  return () => sleepers.delete(tell);
}

let isWatching = false;
function watch() {
  isWatching = true;
  for (const name of ['online', 'focus', 'pageshow']) addEventListener(name, wake);
  for (const name of ['visibilitychange', 'resume']) document.addEventListener(name, wake);
  // A machine that slept says nothing of it.
  let looked = Date.now();
  setInterval(() => {
    const now = Date.now();
    if (now - looked > SLEPT_MS) wake();
    looked = now;
  }, LOOK_MS);
}
