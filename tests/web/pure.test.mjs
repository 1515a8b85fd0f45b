// What of the page is pure, without a browser: the codec against the golden frames, what was typed, the view, the layout.
// `node --test tests/web/pure.test.mjs`

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, put, putInput, putMessage } from '../../web/src/wire/frames.js';
import { decode, encode } from '../../web/src/wire/protobuf.js';
import * as layouts from '../../web/src/layout.js';
import { PENDING_MAX, ViewCore } from '../../web/src/view/core.js';
import { CONTROL_MS, HELD_MAX, Outgoing, TEXT_MS, keys } from '../../web/src/view/typed.js';

const golden = readFileSync(new URL('../../proto/tests/golden.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split(' '));
const unhex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (string) => new TextEncoder().encode(string);

/** Frames of the golden list that a page speaks. Their stream number is not its business: a page has only stream 0. */
const SPOKEN = [
  'hello', 'ping', 'pong', 'unsupported', 'close', 'output', 'snapshot', 'credit', 'input', 'input-ack', 'subscribe', 'resize',
  'json!', 'error!', 'events?', 'attach', 'attached', 'ended', 'detach', 'event', 'withdrawn', 'try-now',
  'question', 'answer', 'question-over',
];

test('the frames of released programs are read, and written as they came', () => {
  const found = golden.filter(([name]) => SPOKEN.includes(name));
  assert.deepEqual([...new Set(found.map(([name]) => name))].sort(), [...SPOKEN].sort());
  for (const [name, hex] of found) {
    const frame = unhex(hex);
    frame[6] = frame[7] = 0;
    const parsed = parse(frame.buffer);
    assert.notEqual(parsed.kind, 'unknown', name);
    assert.deepEqual(put(parsed), frame, name);
  }
});

test('what a frame says is what the golden list means by it', () => {
  const say = (name) => parse(unhex(golden.find(([one]) => one === name)[1]).buffer);
  assert.deepEqual(say('output'), { kind: 'output', offset: 7, bytes: bytes('hi') });
  const { view, ...input } = say('input');
  assert.deepEqual([...view], Array(16).fill(0x11));
  assert.deepEqual(input, { kind: 'input', seq: 3, withdrawn: true, bytes: bytes('a') });
  const attached = say('attached').message;
  assert.deepEqual(attached, { session_id: 's', name: 'n', host: 'h', job_id: 'j' });
  const state = say('view-state').message;
  assert.deepEqual([state.link, state.epoch, state.next_try_ms, state.detail, state.leader, state.cols, state.rows], ['up', 1, 2, 'd', true, 80, 24]);
  assert.equal(say('ended').message.code, 7);
});

test('what is not one whole frame is no frame, and what is unknown is passed over', () => {
  for (const cut of [[], [1, 0, 0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 2, 0, 0, 0, 9]]) assert.throws(() => parse(Uint8Array.from(cut).buffer));
  assert.deepEqual(parse(Uint8Array.from([0, 0, 0, 0, 0x7e, 0, 0, 0]).buffer), { kind: 'unknown', number: 0x7e });
  const later = { a: [1, 'string'], b: [9, 'number'] };
  assert.deepEqual(decode({ b: [9, 'number'] }, encode(later, { a: 'x', b: 7 })), { b: 7 });
  for (const number of [0, 127, 128, 2 ** 31, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]) {
    assert.equal(decode({ b: [9, 'number'] }, encode(later, { b: number })).b, number);
  }
  for (const number of [-1, -9, 0, 7, 2 ** 31 - 1]) {
    const schema = { code: [2, 'signed', 'optional'] };
    assert.equal(decode(schema, encode(schema, { code: number })).code, number);
  }
});

const sent = (outgoing) => {
  const all = [];
  for (let next; (next = outgoing.nextToSend()); ) all.push([next.seq, next.withdrawn, text(next.bytes)]);
  return all;
};

test('what is not acknowledged is sent again on a new path', () => {
  const out = new Outgoing();
  out.typed(bytes('abc'), false, 0);
  assert.deepEqual(sent(out), [[0, false, 'abc']]);
  assert.deepEqual(sent(out), []);
  out.acknowledged(1);
  out.pathIsNew(10);
  assert.deepEqual(sent(out), [[1, false, 'bc']]);
  out.acknowledged(3);
  out.pathIsNew(20);
  assert.deepEqual([sent(out), out.waiting], [[], 0]);
});

test('a command is never run without its middle', () => {
  const out = new Outgoing();
  assert.ok(out.typed(bytes('/tmp/old'), true, 0));
  out.withdrawOld(TEXT_MS);
  assert.deepEqual(out.lost, { dropped: 8, doubtful: 0 });
  assert.ok(!out.typed(bytes('\r'), true, TEXT_MS + 1000));
  out.pathIsNew(TEXT_MS + 5000);
  assert.ok(!out.typed(bytes('\r'), false, TEXT_MS + 5001));
  assert.deepEqual(sent(out), [[8, true, '']]);
  assert.deepEqual(out.told(), { dropped: 10, doubtful: 0 });
  assert.ok(out.typed(bytes('ls'), false, TEXT_MS + 6000));
  assert.deepEqual(sent(out), [[8, false, 'ls']]);
});

test('a control key is old after moments, and the holder says whether one that was sent arrived', () => {
  for (const [from, want] of [[2, { dropped: 1, doubtful: 0 }], [3, { dropped: 0, doubtful: 0 }]]) {
    const out = new Outgoing();
    out.typed(bytes('ab\x03'), false, 0);
    sent(out);
    out.acknowledged(2);
    out.withdrawOld(CONTROL_MS);
    assert.deepEqual(out.lost, { dropped: 0, doubtful: 1 });
    out.pathIsNew(CONTROL_MS + 1);
    assert.deepEqual(sent(out), [[3, true, '']]);
    out.withdrawn(from, 3);
    assert.deepEqual(out.told(), want);
  }
});

test('what is held has a bound, and so has what is on its way', () => {
  const out = new Outgoing();
  assert.ok(!out.typed(new Uint8Array(HELD_MAX + 1), true, 0));
  const flood = new Outgoing();
  assert.ok(flood.typed(bytes('x'.repeat(200_000)), false, 0));
  assert.equal(sent(flood).reduce((sum, [, , piece]) => sum + piece.length, 0), 64 * 1024);
  flood.acknowledged(64 * 1024);
  assert.equal(sent(flood).length, 1);
  assert.equal(keys(bytes('a\x1b[Aä\x1bOP\x1bx')), 5);
});

const view = () => {
  const core = new ViewCore('dev', { id: new Uint8Array(16).fill(1), readOnly: false, scrollback: 100, size: { cols: 80, rows: 24 } });
  core.handle(message('attached', { session_id: 's', job_id: 'j' }));
  return core;
};
const message = (name, fields) => parse(putMessage(name, fields).buffer);
const output = (offset, string) => ({ kind: 'output', offset, bytes: bytes(string) });
const screen = (at, more, string) => ({ kind: 'snapshot', at, skipped: 0, cols: 80, rows: 24, more, bytes: bytes(string) });
const attachOf = (core) => parse(core.attach().buffer).message;

test('output is told once however often it comes, and what is missing is asked for as a screen', () => {
  const core = view();
  assert.equal(core.handle(screen(10, true, 'a')), null);
  assert.equal(text(core.handle(screen(10, false, 'b')).bytes), 'ab');
  assert.equal(text(core.handle(output(10, 'abc')).bytes), 'abc');
  assert.equal(text(core.handle(output(11, 'bcd')).bytes), 'd');
  assert.equal(core.handle(output(3, 'xyz')), null);
  assert.equal(core.handle(output(15, 'z')), null);
  assert.deepEqual(core.toSend.map((frame) => parse(frame.buffer).name), ['subscribe']);
  assert.equal(core.need, 14);
});

test('the next manager is asked for what follows, a restarted job for all', () => {
  const core = view();
  core.handle(screen(10, false, 's'));
  core.handle(output(10, 'abc'));
  core.lost();
  let attach = attachOf(core);
  assert.deepEqual([attach.session, attach.resume, attach.job_id, attach.scrollback_lines], ['s', 13, 'j', 0]);
  assert.equal(core.handle(message('attached', { session_id: 's', job_id: 'j' })).restarted, false);
  core.lost();
  assert.equal(core.handle(message('attached', { session_id: 's', job_id: 'k' })).restarted, true);
  attach = attachOf(core);
  assert.equal(attach.resume, undefined);
});

test('no more waits in the page than was allowed, and what the terminal took is allowed again', () => {
  const core = view();
  core.handle(screen(0, false, ''));
  let at = 0;
  let granted = PENDING_MAX;
  while (at < 5 * PENDING_MAX) {
    const piece = 'x'.repeat(Math.min(30_000, granted - at));
    assert.ok(piece.length > 0, 'the sender waits for nothing');
    core.handle(output(at, piece));
    at += piece.length;
    assert.ok(core.pending <= PENDING_MAX);
    core.took(piece.length);
    for (const frame of core.toSend.splice(0)) granted = Number(parse(frame.buffer).count);
    assert.ok(granted <= core.taken + PENDING_MAX);
  }
});

test('a size is said once, and not to nobody', () => {
  const core = view();
  core.resize({ cols: 80, rows: 24 });
  core.resize({ cols: 90, rows: 30 });
  core.resize({ cols: 90, rows: 30 });
  assert.equal(core.toSend.length, 1);
  core.lost();
  core.resize({ cols: 100, rows: 30 });
  assert.equal(core.toSend.length, 0);
  assert.equal(attachOf(core).cols, 100);
});

test('no session is in two panes, and the last pane takes its tab along', () => {
  let layout = layouts.open(layouts.EMPTY, 'a');
  layout = layouts.splitWith(layout, 'a', 'b', 'row');
  layout = layouts.splitWith(layout, 'b', 'c', 'column');
  layout = layouts.open(layout, 'd');
  assert.deepEqual(layout.tabs.map((tab) => layouts.panesOf(tab.tree)), [['a', 'b', 'c'], ['d']]);
  const again = layouts.open(layout, 'b');
  assert.deepEqual([again.tabs.length, again.active, layouts.activeTab(again).focus], [2, 'a', 'b']);
  layout = layouts.close(layouts.close(again, 'b'), 'a');
  assert.deepEqual(layouts.panesOf(layout.tabs[0].tree), ['c']);
  // The tab that is called after `a` is still there; one of its own for `a` is another.
  layout = layouts.open(layout, 'a');
  assert.equal(new Set(layout.tabs.map((tab) => tab.id)).size, 3);
  layout = layouts.pruned(layout, (session) => session === 'd');
  assert.deepEqual([layout.tabs.map((tab) => tab.id), layout.active], [['d'], 'd']);
  assert.deepEqual(layouts.close(layout, 'd'), layouts.EMPTY);
});

test('what a browser kept comes back, and what cannot be understood does not', () => {
  const layout = layouts.splitWith(layouts.open(layouts.EMPTY, 'a'), 'a', 'b', 'row');
  assert.deepEqual(layouts.read(JSON.stringify(layout)), layout);
  const twice = { tabs: [{ id: 'x', tree: { split: 'row', ratio: 0.5, first: { pane: 'a' }, second: { pane: 'a' } }, focus: 'a' }], active: 'x' };
  for (const bad of [null, '', '{', '{"tabs":3}', '{"tabs":[{"id":"a","tree":{}}]}', JSON.stringify(twice)]) {
    assert.deepEqual(layouts.read(bad), layouts.EMPTY);
  }
  const resized = layouts.resizeIn(layout, 'a', [], 5);
  assert.equal(resized.tabs[0].tree.ratio, 0.9);
});

test('keys go out as the frame that a holder reads', () => {
  const frame = parse(putInput(new Uint8Array(16).fill(2), 5, bytes('ls'), true).buffer);
  assert.deepEqual([frame.kind, frame.seq, frame.withdrawn, text(frame.bytes)], ['input', 5, true, 'ls']);
});
