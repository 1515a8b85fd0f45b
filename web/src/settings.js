/** What a person set, kept in this browser. */

/**
 * @typedef {object} Settings
 * @property {'system' | 'dark' | 'light'} theme
 * @property {number} fontSize
 * @property {boolean} copyOnSelect
 * @property {boolean} clipboardWrite programs may write the clipboard (OSC 52)
 * @property {boolean} notifications
 * @property {boolean} screenReader
 * @property {boolean} keyBar
 */

/** @type {Settings} */
const USUAL = {
  theme: 'system',
  fontSize: 14,
  copyOnSelect: false,
  clipboardWrite: false,
  notifications: false,
  screenReader: false,
  keyBar: matchMedia('(pointer: coarse)').matches,
};

const KEY = 'sessd.settings';

/** @type {Set<() => void>} */
const listeners = new Set();

/** @returns {Settings} */
function load() {
  try {
    return { ...USUAL, ...JSON.parse(localStorage.getItem(KEY) ?? '{}') };
  } catch {
    return { ...USUAL };
  }
}

let current = load();

/** @returns {Readonly<Settings>} */
export const settings = () => current;

const tellAll = () => {
  for (const tell of listeners) tell();
};

/** What another tab set meanwhile stays. @param {Partial<Settings>} change */
export function set(change) {
  current = { ...load(), ...change };
  localStorage.setItem(KEY, JSON.stringify(current));
  tellAll();
}

addEventListener('storage', ({ key }) => {
  if (key !== null && key !== KEY) return;
  current = load();
  tellAll();
});

/** @param {() => void} tell @returns {() => void} that ends it */
export function onSettings(tell) {
  listeners.add(tell);
  return () => void listeners.delete(tell);
}

const dark = matchMedia('(prefers-color-scheme: dark)');
dark.addEventListener('change', tellAll);

/** Is the page dark now? */
export const isDark = () => (current.theme === 'system' ? dark.matches : current.theme === 'dark');
