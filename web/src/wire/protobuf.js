/**
 * The little of protobuf that the page speaks: varints, bytes, nested messages. A schema is a table of fields; the tables are in
 * messages.js, the numbers in `proto/src/messages.rs`.
 */

/**
 * @typedef {'string' | 'bytes' | 'number' | 'signed' | 'bool'} Scalar
 * @typedef {{ [field: string]: [tag: number, type: Scalar | Schema, rule?: 'optional' | 'repeated'] }} Schema
 * @typedef {Record<string, any>} Message
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

class Writer {
  /** @type {number[]} */
  bytes = [];

  /** @param {number} value a whole number that is not negative */
  varint(value) {
    while (value >= 0x80) {
      this.bytes.push((value % 0x80) | 0x80);
      value = Math.floor(value / 0x80);
    }
    this.bytes.push(value);
  }

  /** @param {number} tag @param {number} wire */
  key(tag, wire) {
    this.varint(tag * 8 + wire);
  }

  /** @param {ArrayLike<number>} bytes */
  block(bytes) {
    this.varint(bytes.length);
    for (let i = 0; i < bytes.length; i++) this.bytes.push(/** @type {number} */ (bytes[i]));
  }
}

/** @param {Writer} out @param {number} tag @param {Scalar | Schema} type @param {any} value */
function writeField(out, tag, type, value) {
  if (typeof type === 'object' || type === 'string' || type === 'bytes') {
    out.key(tag, BYTES);
    out.block(typeof type === 'object' ? encode(type, value) : type === 'string' ? encoder.encode(value) : value);
    return;
  }
  out.key(tag, VARINT);
  if (type === 'signed' && value < 0) {
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      out.bytes.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    out.bytes.push(Number(rest));
  } else {
    out.varint(Number(value));
  }
}

/** @param {Scalar | Schema} type @param {any} value */
function isDefault(type, value) {
  if (value === undefined || value === null) return true;
  return type === 'string' || type === 'bytes' ? value.length === 0 : !value;
}

/**
 * The bytes of a message; what is as by default is left out.
 * @param {Schema} schema @param {Message} message
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encode(schema, message) {
  const out = new Writer();
  const fields = Object.entries(schema).sort(([, a], [, b]) => a[0] - b[0]);
  for (const [name, [tag, type, rule]] of fields) {
    const value = message[name];
    if (rule === 'repeated') {
      for (const item of value ?? []) writeField(out, tag, type, item);
    } else if (rule === 'optional' || typeof type === 'object') {
      if (value !== undefined && value !== null) writeField(out, tag, type, value);
    } else if (!isDefault(type, value)) {
      writeField(out, tag, type, value);
    }
  }
  return Uint8Array.from(out.bytes);
}

/** @param {Scalar | Schema} type @param {'optional' | 'repeated' | undefined} rule @returns {any} */
function initial(type, rule) {
  if (rule === 'repeated') return [];
  if (rule === 'optional' || typeof type === 'object') return undefined;
  return { string: '', bytes: new Uint8Array(), number: 0, signed: 0, bool: false }[type];
}

class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.low = 0;
  }

  byte() {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw new Error('a message is cut off');
    this.at += 1;
    return byte;
  }

  /** Exact up to 2^53; its last 32 bits, with their sign, are in `low`. @returns {number} */
  varint() {
    let value = 0;
    let unit = 1;
    this.low = 0;
    for (let n = 0; n < 10; n++, unit *= 0x80) {
      const byte = this.byte();
      if (n < 5) this.low |= (byte & 0x7f) << (7 * n);
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
    }
    throw new Error('a number is too long');
  }

  /** @param {number} length */
  take(length) {
    const end = this.at + length;
    if (end > this.bytes.length) throw new Error('a message is cut off');
    const piece = this.bytes.subarray(this.at, end);
    this.at = end;
    return piece;
  }

  /** @param {number} wire @returns {number | Uint8Array} */
  value(wire) {
    switch (wire) {
      case VARINT:
        return this.varint();
      case FIXED64:
        return this.take(8);
      case BYTES:
        return this.take(this.varint());
      case FIXED32:
        return this.take(4);
      default:
        throw new Error('a field has no form');
    }
  }
}

/** @param {Scalar | Schema} type @param {number | Uint8Array} raw @param {number} low @returns {any} */
function readField(type, raw, low) {
  if (raw instanceof Uint8Array) {
    if (typeof type === 'object') return decode(type, raw);
    if (type === 'string') return decoder.decode(raw);
    if (type === 'bytes') return raw;
  } else if (type === 'bool') {
    return raw !== 0;
  } else if (type === 'number') {
    return raw;
  } else if (type === 'signed') {
    return low;
  }
  throw new Error('a field has another form');
}

/**
 * The message of these bytes; what is not known is passed over.
 * @param {Schema} schema @param {Uint8Array} bytes @returns {Message}
 */
export function decode(schema, bytes) {
  /** @type {Message} */
  const message = {};
  /** @type {Map<number, string>} */
  const names = new Map();
  for (const [name, [tag, type, rule]] of Object.entries(schema)) {
    message[name] = initial(type, rule);
    names.set(tag, name);
  }
  const reader = new Reader(bytes);
  while (reader.at < bytes.length) {
    const key = reader.varint();
    const raw = reader.value(key % 8);
    const name = names.get(Math.floor(key / 8));
    const field = name === undefined ? undefined : schema[name];
    if (name === undefined || field === undefined) continue;
    const value = readField(field[1], raw, reader.low);
    if (field[2] === 'repeated') message[name].push(value);
    else message[name] = value;
  }
  return message;
}
