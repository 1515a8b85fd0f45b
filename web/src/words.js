/** How things are called. */

/** @typedef {import('./documents').SessionDoc} SessionDoc */

const HANDLE = 6;
/** What is no id is a name that an address has, of no session that is known. */
const ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** What a person calls a session. @param {SessionDoc | undefined} doc @param {string} [id] */
export const label = (doc, id = doc?.id ?? '') => doc?.name ?? (ID.test(id) ? id.slice(-HANDLE) : id);

const REASONS = ['ended', 'exited', 'signaled', 'deleted', 'reaped', 'lost', 'failed', 'restarted'];

/**
 * How a job ended.
 * @param {Record<string, any> | null | undefined} record what the view was told @param {import('./documents').EndDoc | null} [doc]
 */
export function endPhrase(record, doc) {
  const reason = doc?.reason ?? REASONS[record?.['reason']] ?? 'ended';
  const code = doc?.code ?? record?.['code'];
  const signal = doc?.signal ?? record?.['signal'];
  const detail = doc?.detail || record?.['detail'];
  const how =
    reason === 'exited' ? `exited with ${code ?? 'an unknown code'}`
    : reason === 'signaled' ? `ended by signal ${signal ?? '?'}`
    : reason === 'reaped' ? 'ended because it was idle'
    : reason === 'lost' ? 'lost by its host'
    : reason === 'failed' ? 'never ran'
    : reason;
  return detail ? `${how}: ${detail}` : how;
}

/** How long ago. @param {number} seconds */
export function ago(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** @param {string | null | undefined} time RFC 3339 */
export const since = (time) => (time ? ago((Date.now() - Date.parse(time)) / 1000) : '');

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
