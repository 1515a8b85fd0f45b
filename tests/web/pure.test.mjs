// What of the page is pure, without a browser: the codec against the golden frames, what was typed, the view, the layout.
// `node --test tests/web/pure.test.mjs`

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, put, putInput, putMessage } from '../../web/src/wire/frames.js';
import { decode, encode } from '../../web/src/wire/protobuf.js';
import * as layouts from '../../web/src/layout.js';
import { PENDING_MAX, PENDING_MIN, ViewCore } from '../../web/src/view/core.js';
import { JobPath, WOKE_MS } from '../../web/src/view/path.js';
import { withoutMarks } from '../../web/src/paste.js';
import { Reach } from '../../web/src/view/reach.js';
import { Silence } from '../../web/src/view/silence.js';
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
  'question', 'answer', 'question-over', 'drawing',
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

/** A path that carries, at 1 s; what is told of the link. */
const stands = (link, epoch, more = {}) => ({ link, epoch, detail: '', ...more });
const carrying = () => {
  const path = new JobPath(0);
  path.found(false, 1_000);
  path.told(stands('up', 1), 1_000);
  assert.ok(path.carries(1_000) && path.trouble(1_000) === null);
  return path;
};
const textOf = (path) => sent(path.outgoing).map(([, , piece]) => piece).join('');

test('what is typed over a short break is sent when it is over, and nothing is said', () => {
  const path = carrying();
  path.told(stands('connecting', 1), 2_000);
  assert.ok(path.typed(bytes('ls\r'), 2_100) && path.isWanted(2_100));
  assert.ok(!path.isWanted(2_900) && path.isWanted(3_100), 'once a second');
  assert.deepEqual([path.trouble(3_499), path.deadline(2_100)], [null, 3_500]);
  path.told(stands('up', 2), 3_400);
  path.tick(3_400);
  assert.deepEqual([textOf(path), path.undelivered(3_400), path.isWanted(9_000)], ['ls\r', null, false]);
});

test('a long break is said, and what grew old is told before typing goes on', () => {
  const path = carrying();
  path.told(stands('down', 1), 2_000);
  assert.ok(path.typed(bytes('rm x'), 2_000));
  assert.deepEqual(path.trouble(3_500), { of: 'link', link: 'down', silent: 1_500, why: '' });
  assert.equal(path.deadline(3_500), 6_000, 'the manager is asked whether it is there');
  path.tick(32_000);
  assert.ok(!path.typed(bytes('\r'), 32_100), 'what follows on what was dropped is refused');
  path.told(stands('up', 2), 33_000);
  path.tick(33_000);
  assert.deepEqual(path.undelivered(33_000), { dropped: 5, doubtful: 0 });
  assert.ok(!path.typed(bytes('x'), 33_100), 'and is until the person knows');
  assert.equal(path.undeliveredTold().dropped, 6);
  assert.ok(path.typed(bytes('y'), 33_200) && path.undelivered(33_200) === null);
  assert.equal(textOf(path), 'y');
});

test('the holder is waited for that long to say what became of what was withdrawn', () => {
  const path = carrying();
  path.typed(bytes('\x03'), 1_000);
  assert.equal(textOf(path), '\x03');
  path.told(stands('down', 1), 1_500);
  path.tick(2_500);
  path.told(stands('up', 2), 3_000);
  path.tick(3_000);
  assert.deepEqual([path.undelivered(4_999), path.deadline(4_000)], [null, 5_000]);
  assert.deepEqual(path.undelivered(5_000), { dropped: 0, doubtful: 1 });
  path.outgoing.withdrawn(0, 1);
  assert.deepEqual(path.undelivered(4_000), { dropped: 1, doubtful: 0 }, 'it said so in time');
});

test('a holder that is silent while its host answers is not taken for its host', () => {
  const path = carrying();
  path.told({ ...stands('up', 1), holder_silent_ms: 2_000 }, 5_000);
  assert.deepEqual([path.trouble(6_000), path.carries(6_000)], [{ of: 'holder', silent: 3_000 }, true]);
  path.told(stands('up', 1), 7_000);
  assert.equal(path.trouble(7_000), null);
  path.told({ ...stands('up', 1), holder_silent_ms: 2_000 }, 8_000);
  path.lost(8_100);
  assert.equal(path.holderSilentSince, null, 'of which nobody says anything now');
});

test('a manager that is silent is a broken path until it speaks', () => {
  const path = carrying();
  assert.ok(path.tick(6_000).manager);
  assert.deepEqual([path.deadline(6_000), path.trouble(8_999)], [9_000, null]);
  path.tick(9_000);
  assert.deepEqual([path.trouble(9_000), path.carries(9_000)], [{ of: 'manager', silent: 3_000 }, false]);
  assert.ok(path.typed(bytes('x'), 9_500));
  path.managerSpoke(10_000);
  path.tick(10_000);
  assert.ok(path.carries(10_000) && path.trouble(10_000) === null);
  assert.equal(textOf(path), 'x');
});

test('a link that is late is amiss though it is up, and one that is tried again keeps its cause', () => {
  const path = carrying();
  path.told(stands('up', 1, { silent_ms: 4_000 }), 6_000);
  assert.deepEqual([path.trouble(6_000)?.silent, path.carries(6_000)], [4_000, true]);
  path.told(stands('down', 1, { detail: 'no route' }), 7_000);
  path.told(stands('connecting', 1), 8_000);
  assert.equal(path.trouble(8_500)?.why, 'no route');
  path.told(stands('up', 2), 9_000);
  assert.equal(path.trouble(9_000), null);
});

test('without a manager that is said with why, and the next one begins anew', () => {
  const path = carrying();
  path.typed(bytes('x'), 1_500);
  assert.equal(textOf(path), 'x');
  path.lost(2_000);
  path.notFound('the disk is full');
  assert.deepEqual([path.trouble(3_499), path.trouble(3_500)], [null, { of: 'no-manager', why: 'the disk is full' }]);
  assert.deepEqual(path.tick(9_000), { manager: false, holder: false }, 'there is nobody to ask');
  path.found(false, 10_000);
  // The first path of a manager may have the number that the last of the one before had.
  path.told(stands('up', 1), 10_000);
  assert.equal(textOf(path), 'x', 'not acknowledged, so it goes again');
  path.lost(11_000);
  path.found(true, 12_000);
  path.told(stands('up', 1), 12_000);
  path.tick(12_000);
  assert.deepEqual([textOf(path), path.undelivered(12_000)], ['', { dropped: 0, doubtful: 1 }]);
});

test('after a sleep nothing is known until those who were asked after it have answered', () => {
  const path = carrying();
  assert.equal(path.isKnown(5_000), true);
  path.woke(true, 5_000);
  assert.equal(path.isKnown(5_000), false);
  // What came before the sleep is read after it.
  path.managerSpoke(5_010);
  path.managerAnswered(4_000);
  assert.equal(path.isKnown(5_010), false);
  assert.equal(path.carries(5_010), true, 'what is typed is given on: it is sent again where it did not arrive');
  path.managerAnswered(5_000);
  assert.equal(path.isKnown(5_020), false, 'the holder was asked, too');
  path.holderSpoke(5_030);
  assert.equal(path.isKnown(5_030), true);
  // A holder that does not say: then the manager's word of the link counts, but not before the manager's own.
  path.woke(true, 6_000);
  assert.equal(path.isKnown(6_000 + WOKE_MS), false);
  path.managerAnswered(6_000);
  assert.deepEqual([path.isKnown(5_999 + WOKE_MS), path.isKnown(6_000 + WOKE_MS)], [false, true]);
  assert.ok(path.deadline(6_010) <= 6_000 + WOKE_MS, 'that is told when it is so');
  // Who only looks asks the manager alone, and a new connection knows what it knows.
  path.woke(false, 20_000);
  path.managerAnswered(20_000);
  assert.equal(path.isKnown(20_010), true);
  path.woke(true, 21_000);
  path.lost(21_010);
  path.found(false, 21_020);
  assert.equal(path.isKnown(21_020), true);
});

test('whoever sleeps until the deadline misses nothing, and is not woken for nothing', () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let round = 0; round < 200; round++) {
    const path = carrying();
    let [now, epoch] = [1_000, 1];
    for (let n = 0; n < 40; n++) {
      const [what, later] = [random(12), random(4_000)];
      const then = Math.max(now, Math.min(now + later, path.deadline(now) - 1));
      assert.equal(path.trouble(then)?.of, path.trouble(now)?.of);
      assert.equal(path.carries(then), path.carries(now));
      assert.equal(path.isKnown(then), path.isKnown(now));
      now += later;
      if (what === 0) path.lost(now);
      else if (what === 1) path.found(false, now);
      else if (what === 2) path.told(stands('down', epoch), now);
      else if (what < 5) path.told(stands('up', (epoch += Number(what === 3))), now);
      else if (what === 5) path.typed(bytes('ab\x03c'), now);
      else if (what === 6) path.managerSpoke(now);
      else if (what === 7) path.holderSpoke(now);
      else if (what === 8) sent(path.outgoing);
      else if (what === 10) path.woke(random(2) === 0, now);
      else if (what === 11) path.managerAnswered(now);
      else if (path.undelivered(now)) path.undeliveredTold();
      path.tick(now);
      assert.ok(path.deadline(now) > now, `${path.deadline(now)} at ${now}`);
    }
  }
});

test('who answers is never blamed, and one question is open at a time', () => {
  const silence = new Silence(0);
  for (let now = 0; now < 60_000; now += 10) {
    if (silence.ask(null, now).manager) silence.managerSpoke(now + 1);
    assert.equal(silence.ofManager(now), null);
  }
  assert.deepEqual(silence.ask(60_000, 61_500), { manager: true, holder: true });
  assert.deepEqual(silence.ask(60_000, 63_500), { manager: false, holder: false });
  // While the manager says nothing either, it is not known that it is the host.
  assert.equal(silence.ofLink(60_000, 63_500), null);
  silence.managerSpoke(61_510);
  assert.deepEqual([silence.ofLink(60_000, 62_999), silence.ofLink(60_000, 63_000)], [null, 3_000]);
});

const view = () => {
  const core = new ViewCore('dev', { id: new Uint8Array(16).fill(1), readOnly: false, scrollback: 100, size: { cols: 80, rows: 24 } });
  core.handle(message('attached', { session_id: 's', job_id: 'j' }), 0);
  return core;
};
const message = (name, fields) => parse(putMessage(name, fields).buffer);
const output = (offset, string) => ({ kind: 'output', offset, bytes: bytes(string) });
const screen = (at, more, string) => ({ kind: 'snapshot', at, skipped: 0, cols: 80, rows: 24, more, bytes: bytes(string) });
const attachOf = (core) => parse(core.attach().buffer).message;

test('output is told once however often it comes, and what is missing is asked for as a screen', () => {
  const core = view();
  assert.equal(core.handle(screen(10, true, 'a'), 0), null);
  assert.equal(text(core.handle(screen(10, false, 'b'), 0).bytes), 'ab');
  assert.equal(text(core.handle(output(10, 'abc'), 0).bytes), 'abc');
  assert.equal(text(core.handle(output(11, 'bcd'), 0).bytes), 'd');
  assert.equal(core.handle(output(3, 'xyz'), 0), null);
  assert.equal(core.handle(output(15, 'z'), 0), null);
  assert.deepEqual(core.toSend.map((frame) => parse(frame.buffer).name), ['subscribe']);
  assert.equal(core.need, 14);
});

test('what is drawn for another size is output that stands for all before it, and is paid for', () => {
  const core = view();
  core.handle(screen(10, false, 's'), 0);
  assert.equal(text(core.handle({ kind: 'drawing', at: 500, bytes: bytes('d') }, 0).bytes), 'd');
  assert.deepEqual([core.need, core.pending, attachOf(core).resume], [500, 2, 500]);
  core.took(2, 0);
  assert.equal(core.handle({ kind: 'drawing', at: 600, bytes: bytes('') }, 0), null);
  assert.deepEqual([core.need, core.pending, core.toSend.length], [600, 0, 0]);
});

test('a manager of another protocol is told with what to do', () => {
  const greeted = (proto_min, proto_max) => view().handle(message('hello', { proto_min, proto_max, version: '9.9.9' }), 0);
  assert.deepEqual([greeted(1, 1), greeted(1, 4)], [null, null]);
  assert.match(greeted(2, 4).error.message, /9\.9\.9\) is newer/);
  assert.match(greeted(0, 0).error.message, /is older/);
});

test('the next manager is asked for what follows, a restarted job for all', () => {
  const core = view();
  core.handle(screen(10, false, 's'), 0);
  core.handle(output(10, 'abc'), 0);
  core.lost();
  let attach = attachOf(core);
  assert.deepEqual([attach.session, attach.resume, attach.job_id, attach.scrollback_lines], ['s', 13, 'j', 0]);
  assert.equal(core.handle(message('attached', { session_id: 's', job_id: 'j' }), 0).restarted, false);
  core.lost();
  assert.equal(core.handle(message('attached', { session_id: 's', job_id: 'k' }), 0).restarted, true);
  attach = attachOf(core);
  assert.equal(attach.resume, undefined);
});

test('no more waits in the page than was allowed, and what the terminal took is allowed again', () => {
  const core = view();
  core.handle(screen(0, false, ''), 0);
  let at = 0;
  let granted = PENDING_MAX;
  while (at < 5 * PENDING_MAX) {
    const piece = 'x'.repeat(Math.min(30_000, granted - at));
    assert.ok(piece.length > 0, 'the sender waits for nothing');
    core.handle(output(at, piece), 0);
    at += piece.length;
    assert.ok(core.pending <= PENDING_MAX);
    core.took(piece.length, 0);
    for (const frame of core.toSend.splice(0)) granted = Number(parse(frame.buffer).count);
    assert.ok(granted <= core.taken + PENDING_MAX);
  }
});

test('less may wait where the terminal is slow, and as much as ever where it is quick', () => {
  const rate = (perMs) => {
    const core = view();
    core.handle(screen(0, false, ''), 0);
    let [at, now] = [0, 0];
    for (; at < 3_000_000; at += 30_000) {
      core.handle(output(at, 'x'.repeat(30_000)), now);
      now += 30_000 / perMs;
      core.took(30_000, now);
      // Nobody types or writes for a while: that says nothing of the terminal.
      now += 1_000;
    }
    return core.window;
  };
  assert.equal(rate(20_000), PENDING_MAX);
  assert.ok(Math.abs(rate(2_000) - 160_000) < 5_000, String(rate(2_000)));
  assert.equal(rate(100), PENDING_MIN);
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

test('while the server is away it is asked again and again, a dead network is not waited for, and all who wait are told once', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const asked = [];
  const reach = new Reach((signal) => new Promise((resolve, reject) => {
    asked.push({ resolve, reject });
    signal.addEventListener('abort', () => reject(new Error('too late')));
  }));
  const told = [];
  for (const n of [1, 2]) reach.wait(() => told.push(n));
  // Refused: asked again half a second later, or at once where there is reason to hope.
  asked[0].reject(new Error('refused'));
  await settle();
  t.mock.timers.tick(499);
  await settle();
  assert.equal(asked.length, 1);
  t.mock.timers.tick(1);
  await settle();
  assert.equal(asked.length, 2);
  asked[1].reject(new Error('refused'));
  await settle();
  reach.hurry();
  await settle();
  assert.equal(asked.length, 3);
  // Silent: given up after a second, but for one in four, which has as long as a slow way needs.
  const silent = async (ms) => {
    const before = asked.length;
    t.mock.timers.tick(ms - 1);
    await settle();
    const early = asked.length;
    t.mock.timers.tick(1);
    await settle();
    t.mock.timers.tick(500);
    await settle();
    assert.deepEqual([early, asked.length], [before, before + 1], `${ms}`);
  };
  await silent(1_000);
  await silent(4_000);
  await silent(1_000);
  asked.at(-1).resolve();
  await settle();
  assert.deepEqual(told, [1, 2]);
  const before = asked.length;
  t.mock.timers.tick(10_000);
  await settle();
  assert.equal(asked.length, before);
});

test('a text that is pasted cannot end its own paste', () => {
  for (const [pasted, want] of [
    ['plain\n\ttext', 'plain\n\ttext'],
    ['\x1b[31mred\x1b[m', '\x1b[31mred\x1b[m'],
    ['a\x1b[201~rm -rf\n', 'arm -rf\n'],
    ['a\x1b[20\x1b[201~1~rm', 'arm'],
    ['a\x1b\x1b[20\x1b[200~1~[201~rm', 'arm'],
  ]) {
    assert.equal(withoutMarks(pasted), want);
  }
  const nested = '\x1b[20'.repeat(100_000) + '1~'.repeat(100_000);
  assert.ok(!withoutMarks(nested).includes('\x1b[201~'));
});
