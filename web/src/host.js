/** Connecting to a host that wants a person: its questions are asked in the page. */

import { FrameSocket } from './view/socket.js';
import { putMessage } from './wire/frames.js';
import { askLogin } from './ui/login.js';

/**
 * Dials a host now.
 * @param {string} host @param {HTMLElement} over where its questions are put
 * @returns {Promise<void>} rejects with why not
 */
export function connect(host, over) {
  return new Promise((resolve, reject) => {
    let endQuestion = () => {};
    const finish = (/** @type {Error | null} */ error) => {
      endQuestion();
      socket.close();
      if (error) reject(error);
      else resolve();
    };
    const socket = new FrameSocket({
      start: true,
      opened: () => socket.send(putMessage('request', { id: 1, connect: { host } })),
      heard: (frame) => {
        if (frame.kind !== 'message') return;
        const { name, message } = frame;
        if (name === 'question') {
          const id = message['id'];
          endQuestion = askLogin(over, message, (given) => socket.send(putMessage('answer', given === null ? { id } : { id, given })));
        } else if (name === 'questionOver') {
          endQuestion();
        } else if (name === 'reply') {
          finish(message['error'] ? new Error(`${message['error'].message}: ${message['error'].hint}`) : null);
        }
      },
      lost: () => finish(new Error('the manager went away: try again')),
      revoked: () => finish(new Error('this browser is let in no more')),
    });
  });
}

/** Failures that a person can do something about by answering. */
const ASKED = ['needs-login', 'host-key'];

/**
 * Does what wants a host; one that wants a person asks first.
 * @template T
 * @param {string} host @param {HTMLElement} over where its questions are put @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
export async function withLogin(host, over, act) {
  try {
    return await act();
  } catch (error) {
    if (!ASKED.includes(/** @type {import('./api.js').Failure} */ (error).kind)) throw error;
    await connect(host, over);
    return act();
  }
}
