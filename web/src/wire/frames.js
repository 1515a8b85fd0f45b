/**
 * Frames of the sessd protocol, one in each message of a WebSocket: an 8-byte header (u32 length, u8 kind, u8 flags, u16
 * stream, little-endian) and a body. `proto/src/frame.rs` has the table, and its golden bytes are this file's test.
 */

import { decode, encode } from './protobuf.js';
import * as m from './messages.js';

export const HEADER = 8;
/** Kinds with this bit may be ignored by who does not know them. */
export const IGNORABLE = 0x80;
const MORE = 1;
const WITHDRAWN = 1;

/** @type {{ [name: string]: [kind: number, schema: import('./protobuf.js').Schema] }} */
const MESSAGES = {
  hello: [0x01, m.Hello],
  unsupported: [0x04, m.Unsupported],
  close: [0x05, m.Close],
  subscribe: [0x31, m.Subscribe],
  resize: [0x34, m.Resize],
  request: [0x50, m.Request],
  reply: [0x51, m.Reply],
  attach: [0x52, m.Attach],
  attached: [0x53, m.Attached],
  viewState: [0x54, m.ViewState],
  ended: [0x56, m.ExitRecord],
  detach: [0x57, m.Detach],
  event: [0x58, m.Event],
  question: [0xd1, m.Question],
  answer: [0xd2, m.QuestionAnswer],
  questionOver: [0xd3, m.QuestionOver],
  tryNow: [0xd9, m.Empty],
};

/** @type {{ [name: string]: number }} */
const COUNTS = { ping: 0x02, pong: 0x03, credit: 0x13 };

const OUTPUT = 0x10;
const SNAPSHOT = 0x11;
const INPUT = 0x14;
const INPUT_ACK = 0x15;
const DRAWING = 0x16;
const WITHDRAWN_KIND = 0x95;
/** The protocol's version that the page speaks (`proto/src/hello.rs`). */
export const PROTO = 1;

const NAMES = new Map([
  ...Object.entries(MESSAGES).map(([name, [kind]]) => /** @type {const} */ ([kind, name])),
  ...Object.entries(COUNTS).map(([name, kind]) => /** @type {const} */ ([kind, name])),
]);

/**
 * A frame with its meaning. Messages have the fields of their table in messages.js.
 * @typedef {{ kind: 'output', offset: number, bytes: Uint8Array }} Output
 * @typedef {{ kind: 'snapshot', at: number, skipped: number, cols: number, rows: number, more: boolean, bytes: Uint8Array }} Snapshot
 * @typedef {{ kind: 'drawing', at: number, bytes: Uint8Array }} Drawing
 * @typedef {{ kind: 'input', view: Uint8Array, seq: number, withdrawn: boolean, bytes: Uint8Array }} Input
 * @typedef {{ kind: 'inputAck', view: Uint8Array, seq: number }} InputAck
 * @typedef {{ kind: 'withdrawn', view: Uint8Array, from: number, to: number }} Withdrawn
 * @typedef {{ kind: 'ping' | 'pong' | 'credit', count: bigint }} Count
 * @typedef {{ kind: 'message', name: string, message: Record<string, any> }} Said
 * @typedef {{ kind: 'unknown', number: number }} Unknown
 * @typedef {Output | Snapshot | Drawing | Input | InputAck | Withdrawn | Count | Said | Unknown} Frame
 */

/** @param {number} length @param {number} kind @param {number} flags @returns {[Uint8Array<ArrayBuffer>, DataView]} */
function begin(length, kind, flags) {
  const bytes = new Uint8Array(HEADER + length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint8(4, kind);
  view.setUint8(5, flags);
  return [bytes, view];
}

/** @param {string} name one of the messages @param {Record<string, any>} message */
export function putMessage(name, message) {
  const row = MESSAGES[name];
  if (!row) throw new Error(`there is no message ${name}`);
  const body = encode(row[1], message);
  const [bytes] = begin(body.length, row[0], 0);
  bytes.set(body, HEADER);
  return bytes;
}

/** @param {'ping' | 'pong' | 'credit'} name @param {bigint | number} count */
export function putCount(name, count) {
  const [bytes, view] = begin(8, /** @type {number} */ (COUNTS[name]), 0);
  view.setBigUint64(HEADER, BigInt(count), true);
  return bytes;
}

/** @param {Uint8Array} viewId @param {number} seq @param {Uint8Array} typed @param {boolean} withdrawn */
export function putInput(viewId, seq, typed, withdrawn) {
  const [bytes, view] = begin(24 + typed.length, INPUT, withdrawn ? WITHDRAWN : 0);
  bytes.set(viewId, HEADER);
  view.setBigUint64(HEADER + 16, BigInt(seq), true);
  bytes.set(typed, HEADER + 24);
  return bytes;
}

/** Writes what was parsed again: for the test that nothing is lost. @param {Frame} frame */
export function put(frame) {
  switch (frame.kind) {
    case 'message':
      return putMessage(frame.name, frame.message);
    case 'ping':
    case 'pong':
    case 'credit':
      return putCount(frame.kind, frame.count);
    case 'input':
      return putInput(frame.view, frame.seq, frame.bytes, frame.withdrawn);
    case 'output': {
      const [bytes, view] = begin(8 + frame.bytes.length, OUTPUT, 0);
      view.setBigUint64(HEADER, BigInt(frame.offset), true);
      bytes.set(frame.bytes, HEADER + 8);
      return bytes;
    }
    case 'drawing': {
      const [bytes, view] = begin(8 + frame.bytes.length, DRAWING, 0);
      view.setBigUint64(HEADER, BigInt(frame.at), true);
      bytes.set(frame.bytes, HEADER + 8);
      return bytes;
    }
    case 'snapshot': {
      const [bytes, view] = begin(20 + frame.bytes.length, SNAPSHOT, frame.more ? MORE : 0);
      view.setBigUint64(HEADER, BigInt(frame.at), true);
      view.setBigUint64(HEADER + 8, BigInt(frame.skipped), true);
      view.setUint16(HEADER + 16, frame.cols, true);
      view.setUint16(HEADER + 18, frame.rows, true);
      bytes.set(frame.bytes, HEADER + 20);
      return bytes;
    }
    case 'inputAck': {
      const [bytes, view] = begin(24, INPUT_ACK, 0);
      bytes.set(frame.view, HEADER);
      view.setBigUint64(HEADER + 16, BigInt(frame.seq), true);
      return bytes;
    }
    case 'withdrawn': {
      const [bytes, view] = begin(32, WITHDRAWN_KIND, 0);
      bytes.set(frame.view, HEADER);
      view.setBigUint64(HEADER + 16, BigInt(frame.from), true);
      view.setBigUint64(HEADER + 24, BigInt(frame.to), true);
      return bytes;
    }
    case 'unknown':
      return begin(0, frame.number, 0)[0];
  }
}

/**
 * The frame of one message.
 * @param {ArrayBuffer} buffer @returns {Frame}
 */
export function parse(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER || view.getUint32(0, true) !== buffer.byteLength - HEADER) {
    throw new Error('this is not one whole frame');
  }
  const kind = view.getUint8(4);
  const flags = view.getUint8(5);
  const bytes = (/** @type {number} */ from) => new Uint8Array(buffer, HEADER + from);
  const long = (/** @type {number} */ at) => Number(view.getBigUint64(HEADER + at, true));
  switch (kind) {
    case OUTPUT:
      return { kind: 'output', offset: long(0), bytes: bytes(8) };
    case SNAPSHOT:
      return {
        kind: 'snapshot',
        at: long(0),
        skipped: long(8),
        cols: view.getUint16(HEADER + 16, true),
        rows: view.getUint16(HEADER + 18, true),
        more: (flags & MORE) !== 0,
        bytes: bytes(20),
      };
    case DRAWING:
      return { kind: 'drawing', at: long(0), bytes: bytes(8) };
    case INPUT:
      return {
        kind: 'input',
        view: bytes(0).subarray(0, 16),
        seq: long(16),
        withdrawn: (flags & WITHDRAWN) !== 0,
        bytes: bytes(24),
      };
    case INPUT_ACK:
      return { kind: 'inputAck', view: bytes(0).subarray(0, 16), seq: long(16) };
    case WITHDRAWN_KIND:
      return { kind: 'withdrawn', view: bytes(0).subarray(0, 16), from: long(16), to: long(24) };
  }
  const name = NAMES.get(kind);
  if (name === undefined) return { kind: 'unknown', number: kind };
  const row = MESSAGES[name];
  if (row) return { kind: 'message', name, message: decode(row[1], bytes(0)) };
  return { kind: /** @type {'ping' | 'pong' | 'credit'} */ (name), count: view.getBigUint64(HEADER, true) };
}
