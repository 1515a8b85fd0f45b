/** Requests to the server: the command line's documents and verbs. */

/** @typedef {import('./documents').SessionDoc} SessionDoc */

/** What the contract says of a failure. */
export class Failure extends Error {
  /** @param {number} status @param {{ kind: string, message: string, hint: string }} error */
  constructor(status, error) {
    super(error.hint ? `${error.message}: ${error.hint}` : error.message);
    this.status = status;
    this.kind = error.kind;
  }
}

/**
 * @param {string} method @param {string} path @param {unknown} [body] @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function ask(method, path, body, signal) {
  const headers = body === undefined ? undefined : { 'content-type': 'application/json' };
  const options = { method, ...(signal && { signal }), ...(headers && { headers, body: JSON.stringify(body) }) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Failure(0, { kind: 'failed', message: 'the web view does not answer', hint: 'start `sessd web` again' });
  }
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : null;
  let error = { kind: 'failed', message: text || answer.statusText, hint: '' };
  try {
    error = JSON.parse(text).error;
  } catch {
    // A sentence, then.
  }
  throw new Failure(answer.status, error);
}

const at = (/** @type {string} */ session, path = '') => `/api/sessions/${encodeURIComponent(session)}${path}`;

export const api = {
  /** @param {string} token */
  login: (token) => ask('POST', '/api/login', { token }),
  /** @returns {Promise<{ id: string, read_only: boolean, version: string }>} */
  me: () => ask('GET', '/api/me'),
  logout: () => ask('POST', '/api/logout'),
  /** @param {AbortSignal} [signal] @returns {Promise<SessionDoc[]>} */
  sessions: (signal) => ask('GET', '/api/sessions', undefined, signal),
  /** @param {string} id @returns {Promise<import('./documents').InfoDoc>} */
  info: (id) => ask('GET', at(id)),
  /** @param {Record<string, unknown>} what @returns {Promise<SessionDoc>} */
  create: (what) => ask('POST', '/api/sessions', what),
  /** @param {string} id @param {{ name?: string, set?: Record<string, string>, remove?: string[] }} what */
  tag: (id, what) => ask('POST', at(id, '/tag'), what),
  /** @param {string} id */
  restart: (id) => ask('POST', at(id, '/restart')),
  /** @param {string} id @param {boolean} [force] */
  remove: (id, force) => ask('DELETE', at(id, force ? '?force=1' : '')),
  removeAll: (/** @type {string[]} */ ids) => ask('POST', '/api/delete-all', ids),
  /** @param {string} id @param {{ text?: string, keys?: string[] }} what */
  send: (id, what) => ask('POST', at(id, '/send'), what),
  /** @returns {Promise<string[]>} */
  hosts: () => ask('GET', '/api/hosts'),
  /** @returns {Promise<import('./documents').StatusDoc>} */
  status: () => ask('GET', '/api/status'),
  /** @returns {Promise<{ token: string }>} */
  token: () => ask('POST', '/api/token'),
};
