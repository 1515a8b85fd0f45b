/** Making elements. Text is always text: nothing of a host's ever becomes markup. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An element with properties, `on…` listeners, `data-…`, `aria-…` and other attributes, and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, any>} [properties] @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.className = value;
    else if (name in element && !name.includes('-')) /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of that selector, which is there. @param {string} selector @returns {HTMLElement} */
export function must(selector) {
  const found = document.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`there is no ${selector}`);
  return found;
}

/** A button with a name for those who do not see its sign. @param {string} sign @param {string} name @param {(event: Event) => void} act */
export function button(sign, name, act) {
  return el('button', { type: 'button', title: name, 'aria-label': name, onclick: act }, sign);
}
