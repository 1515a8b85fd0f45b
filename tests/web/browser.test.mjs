// The page in a real browser, against the real manager, agent and sshd: each promise of the web view is a test.
// `node --test tests/web/browser.test.mjs`; pictures are left in tests/web/pictures.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, afterEach, before, describe, test as unbounded } from 'node:test';
import { PICTURES, World, isLive, screenOf, shows, standing, until } from './world.mjs';

/** @type {World} */
let world;
before(async () => {
  mkdirSync(PICTURES, { recursive: true });
  world = await World.make();
});
after(() => world?.end());
afterEach(() => world.clean());

const test = (name, body) => unbounded(name, { timeout: 60_000 }, body);
const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: 'dark' };
const type = (page, text) => page.keyboard.type(text);
const enter = async (page, line) => {
  await type(page, line);
  await page.keyboard.press('Enter');
};
const info = (session) => world.json('info', session);
const viewsOf = async (session) => (await info(session)).views.length;
const note = (page) => page.locator('.pane .note').first();

describe('a first visit', () => {
  test('with no session makes one, which is typed in at once', async () => {
    const page = await world.page();
    await isLive(page);
    await enter(page, 'echo $((40+2)) $COLUMNS');
    await shows(page, /^42/m);
    const [session] = await world.list();
    const size = await page.evaluate(() => [globalThis.sessd.focused.terminal.cols, globalThis.sessd.focused.terminal.rows]);
    await until('the session to have the size of its pane', async () => {
      const now = await info(session.id);
      return now.size.cols === size[0] && now.size.rows === size[1];
    });
    assert.equal((await info(session.id)).views[0].kind, 'web');
    assert.deepEqual(page.problems, []);
  });

  test('with one session shows it, with several the list', async () => {
    const id = await world.create('dev', 'echo one of one; exec cat');
    const page = await world.page();
    await shows(page, 'one of one');
    assert.match(page.url(), new RegExp(`/s/${id}$`));
    await world.create('two', 'exec cat');
    const other = await world.page();
    await other.waitForSelector('dialog.picker');
    assert.equal(await other.locator('.pane').count(), 0);
  });
});

describe('a pane', () => {
  test('detaches when it is closed, and says how its session ended and starts it again', async () => {
    await world.create('dev', 'echo begun; read line; exit 7');
    const page = await world.page();
    await shows(page, 'begun');
    await page.getByLabel('Close: the job runs on').click();
    await until('the view to be gone', async () => (await viewsOf('dev')) === 0);
    assert.equal((await info('dev')).state, 'running');
    await page.keyboard.press('Escape');
    await page.goto(`${world.origin}/s/dev`);
    await shows(page, 'begun');
    await page.keyboard.press('Enter');
    await page.locator('.banner', { hasText: 'exited with 7' }).waitFor();
    assert.equal(await standing(page), 'ended');
    // The address of an ended session says so, too.
    await page.reload();
    await page.locator('.banner', { hasText: 'exited with 7' }).waitFor();
    await page.getByRole('button', { name: 'Restart' }).click();
    await isLive(page);
    await shows(page, 'begun');
  });

  test('heals when the manager is killed, without clearing and with one attach, and what was typed meanwhile arrives', async () => {
    await world.create('dev', 'echo before; exec cat');
    const page = await world.page();
    await shows(page, 'before');
    await enter(page, 'typed');
    await shows(page, 'typed\ntyped');
    const attaches = [];
    const resizes = [];
    page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
      if (payload[4] === 0x52) attaches.push(payload);
      if (payload[4] === 0x34) resizes.push(payload);
    }));
    const resets = await page.evaluate(() => {
      const { terminal } = globalThis.sessd.focused;
      globalThis.cleared = 0;
      const reset = terminal.reset.bind(terminal);
      terminal.reset = () => ((globalThis.cleared += 1), reset());
      return globalThis.cleared;
    });
    const { pid } = await world.json('daemon', 'status');
    const said = page.locator('.note', { hasText: 'reattached' }).waitFor();
    process.kill(pid, 'SIGKILL');
    await until('the break to be seen', async () => (await standing(page)) !== 'live');
    await type(page, 'held');
    const begun = Date.now();
    await isLive(page);
    assert.ok(Date.now() - begun < 4_000, `it took ${Date.now() - begun} ms`);
    await said;
    await page.keyboard.press('Enter');
    await shows(page, 'before\ntyped\ntyped\nheld\nheld');
    assert.equal(await page.evaluate(() => globalThis.cleared), resets);
    assert.deepEqual([attaches.length, resizes.length], [1, 0], 'its size is said once');
    assert.deepEqual(page.problems.filter((text) => !/WebSocket/.test(text)), []);
  });

  test('heals when its connection was dead for a while and nobody said so, as after a sleep', async () => {
    await world.create('dev', 'exec cat');
    const page = await world.page();
    await isLive(page);
    await enter(page, 'before');
    await shows(page, 'before\nbefore');
    world.web.kill('SIGSTOP');
    try {
      await type(page, 'asleep');
      await until('the silence to be seen', async () => (await standing(page)) !== 'live');
    } finally {
      world.web.kill('SIGCONT');
    }
    const begun = Date.now();
    await isLive(page);
    assert.ok(Date.now() - begun < 4_000, `it took ${Date.now() - begun} ms`);
    await page.keyboard.press('Enter');
    await shows(page, 'asleep\nasleep');
  });

  test('heals when the web view itself is started again, and when its session is restarted elsewhere', async () => {
    await world.create('dev', 'echo job $$; exec cat');
    const page = await world.page();
    await shows(page, 'job');
    const first = (await screenOf(page)).match(/job (\d+)/)[1];
    const port = Number(new URL(world.origin).port);
    world.web.kill('SIGKILL');
    await until('the break to be seen', async () => (await standing(page)) !== 'live');
    await world.startWeb(port);
    await isLive(page);
    await enter(page, 'again');
    await shows(page, 'again\nagain');
    await world.sessd('restart', 'dev');
    await until('the new job', async () => {
      const found = (await screenOf(page)).match(/job (\d+)/);
      return found && found[1] !== first;
    });
    await enter(page, 'new');
    await shows(page, 'new\nnew');
  });

  test('that is typed in sizes the session; another is shown at that size with smaller letters', async () => {
    const id = await world.create('dev', 'while :; do stty size; sleep 0.1; done');
    const large = await world.page(`/s/${id}`);
    await isLive(large);
    await large.keyboard.press('a');
    const sizeOf = (page) => page.evaluate(() => [globalThis.sessd.focused.terminal.cols, globalThis.sessd.focused.terminal.rows]);
    const small = await world.page(`/s/${id}`, { viewport: { width: 700, height: 420 } });
    await isLive(small);
    const [cols, rows] = await sizeOf(large);
    await until('the small one to follow', async () => (await sizeOf(small)).join() === `${cols},${rows}`);
    await shows(small, `${rows} ${cols}`);
    const letters = await small.evaluate(() => globalThis.sessd.focused.terminal.options.fontSize);
    assert.ok(letters < 14, `letters of ${letters}`);
    await small.locator('.sized', { hasText: `${cols}×${rows}` }).waitFor();
    // Typing takes the size, and leaving gives it back.
    await small.keyboard.press('a');
    await until('the small one to lead', async () => (await sizeOf(small))[0] < cols);
    const mine = await sizeOf(small);
    await shows(large, `${mine[1]} ${mine[0]}`);
    await small.context().close();
    await until('the large one to have its size again', async () => (await sizeOf(large)).join() === `${cols},${rows}`);
    await shows(large, `${rows} ${cols}`);
  });

  test('of a session that has the size of its largest or its smallest view shows it whole, and has it alone again', async () => {
    const sizeOf = (page) => page.evaluate(() => [globalThis.sessd.focused.terminal.cols, globalThis.sessd.focused.terminal.rows]);
    const fitsOf = (page) => page.evaluate(() => [globalThis.sessd.focused.fits.cols, globalThis.sessd.focused.fits.rows]);
    for (const policy of ['largest', 'smallest']) {
      const id = await world.create(policy, 'while :; do stty size; sleep 0.1; done', '--size-policy', policy);
      const large = await world.page(`/s/${id}`);
      const small = await world.page(`/s/${id}`, { viewport: { width: 700, height: 420 } });
      await isLive(large);
      await isLive(small);
      const wanted = await fitsOf(policy === 'largest' ? large : small);
      // Who types makes no difference.
      await (policy === 'largest' ? small : large).keyboard.press('a');
      for (const each of [large, small]) {
        await until(policy, async () => (await sizeOf(each)).join() === wanted.join() || Promise.reject(new Error(`${await sizeOf(each)} is not ${wanted}`)));
        await shows(each, `${wanted[1]} ${wanted[0]}`);
      }
      // Once the one whose size it was has left, it has the other's.
      const [leaves, stays] = policy === 'largest' ? [large, small] : [small, large];
      await leaves.context().close();
      await until('its own size', async () => (await sizeOf(stays)).join() === (await fitsOf(stays)).join() && (await fitsOf(stays)).join() !== wanted.join());
      await shows(stays, (await fitsOf(stays)).reverse().join(' '));
      await stays.context().close();
    }
  });

  test('asks what a login wants, on a host behind a passphrase, and shows a lost link with a countdown', async () => {
    await world.create('far', 'echo over ssh; exec cat', '--host', 'box');
    const page = await world.page();
    await shows(page, 'over ssh');
    await world.stopSsh();
    await page.locator('#trouble', { hasText: /tried again in|down|connecting/ }).waitFor();
    assert.ok(['down', 'connecting', 'stalled'].includes(await standing(page)));
    world.startSsh();
    await page.locator('#trouble button').click();
    await isLive(page);
    await enter(page, 'back');
    await shows(page, 'back\nback');
    // Another host of the same machine, whose key wants a passphrase.
    await page.keyboard.press('Control+Shift+Enter');
    await page.getByLabel('Name').fill('secret');
    await page.getByLabel('Host').fill('locked');
    await page.keyboard.press('Enter');
    const answer = page.locator('.login input');
    await answer.waitFor();
    assert.equal(await answer.getAttribute('type'), 'password');
    await answer.fill('opensesame');
    await answer.press('Enter');
    await until('the session on the host', async () => (await world.list()).some((one) => one.name === 'secret' && one.state === 'running'));
    await isLive(page);
    await shows(page, /[$#] *$/m);
    // The next manager knows no passphrase: it is asked for in the pane that wants the host, and typing goes on.
    await enter(page, 'echo $((40+2))');
    await shows(page, '42');
    process.kill((await world.json('daemon', 'status')).pid, 'SIGKILL');
    const again = page.locator('.pane .login input');
    await again.waitFor();
    await again.fill('opensesame');
    await again.press('Enter');
    await isLive(page);
    await enter(page, 'echo $((50+2))');
    await shows(page, '52');
  });
});

describe('tabs and splits', () => {
  test('are fresh sessions, kept over a reload, and no session is opened twice', async () => {
    await world.create('dev', 'echo the first; exec cat');
    const page = await world.page();
    await shows(page, 'the first');
    await page.keyboard.press('Control+Shift+E');
    await until('a pane beside it', async () => (await page.locator('.pane').count()) === 2);
    await page.keyboard.press('Control+Shift+O');
    await until('a pane below that', async () => (await page.locator('.pane').count()) === 3);
    await page.keyboard.press('Control+Shift+Enter');
    await page.getByLabel('Name').fill('named');
    await page.keyboard.press('Enter');
    await until('a second tab', async () => (await page.locator('.tab').count()) === 2);
    await isLive(page);
    assert.equal((await world.list()).length, 4);
    // Escape makes none.
    await page.keyboard.press('Control+Shift+Enter');
    await page.locator('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('dialog').waitFor({ state: 'detached' });
    assert.equal((await world.list()).length, 4);
    await page.keyboard.press('Control+Shift+S');
    await page.locator('.sessions li', { hasText: 'dev' }).locator('.open').waitFor();
    await page.keyboard.type('dev');
    await page.keyboard.press('Enter');
    await until('the tab that has it', async () => /\+2/.test(await page.locator('.tab.active .label').innerText()));
    assert.equal(await page.locator('.pane').count(), 3);
    // Dividers are moved by keys, too.
    const before = (await page.locator('.pane').first().boundingBox()).width;
    await page.locator('.divider').first().focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await until('a wider pane', async () => (await page.locator('.pane').first().boundingBox()).width > before + 20);
    await page.goto(world.origin);
    await until('all tabs again', async () => (await page.locator('.tab').count()) === 2 && (await page.locator('.pane').count()) === 3);
    await shows(page, 'the first', (await info('dev')).id);
  });

  test('of one browser and of two show one session at once, and each is typed in', async () => {
    const id = await world.create('dev', 'exec cat');
    const one = await world.page(`/s/${id}`);
    await isLive(one);
    const twin = await one.context().newPage();
    await twin.goto(`${world.origin}/s/${id}`);
    await isLive(twin);
    const other = await world.page(`/s/${id}`);
    await isLive(other);
    assert.equal(await viewsOf('dev'), 3);
    const pages = [one, twin, other];
    for (const [n, page] of pages.entries()) {
      await page.bringToFront();
      await enter(page, `from ${n}`);
      for (const each of pages) await shows(each, `from ${n}\nfrom ${n}`);
    }
    // What is set in one tab stays when another sets something else, or the colours of the system change, and holds in both.
    for (const [page, label] of [[one, 'Copy what is selected'], [twin, 'Keys and text box below the terminal']]) {
      await page.bringToFront();
      await page.getByLabel(/^More/).click();
      await page.getByLabel(label).check();
      await page.keyboard.press('Escape');
    }
    const kept = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('sessd.settings')));
    for (const colorScheme of ['dark', 'light']) {
      await one.emulateMedia({ colorScheme });
      await one.locator(`html[data-theme="${colorScheme}"]`).waitFor();
      const { copyOnSelect, keyBar } = await kept(one);
      assert.deepEqual([copyOnSelect, keyBar], [true, true], colorScheme);
    }
    await one.locator('#keys').waitFor();
    await twin.close();
    await other.context().close();
    await until('two of them to be gone', async () => (await viewsOf('dev')) === 1);
    await enter(one, 'alone');
    await shows(one, 'alone\nalone');
  });

  test('are made, gone through and closed by keys alone', async () => {
    const id = await world.create('dev', 'exec cat');
    const page = await world.page(`/s/${id}`);
    await isLive(page);
    const focused = () => page.evaluate(() => globalThis.sessd.focused?.session);
    await page.keyboard.press('Control+Shift+E');
    await until('a pane beside it that is typed in', async () => (await focused()) !== id);
    await isLive(page);
    await enter(page, 'echo $((40+2))');
    await shows(page, '42');
    const second = await focused();
    await page.keyboard.press('Control+Shift+ArrowLeft');
    await until('the one before', async () => (await focused()) === id);
    await enter(page, 'first');
    await shows(page, 'first\nfirst');
    await page.keyboard.press('Control+Shift+Enter');
    await page.getByLabel('Name').waitFor();
    await page.keyboard.press('Enter');
    await until('a second tab', async () => (await page.locator('.tab').count()) === 2);
    await page.keyboard.press('Alt+Digit1');
    await until('the first tab', async () => (await focused()) === id);
    await page.keyboard.press('Control+Shift+X');
    await until('its neighbour', async () => (await focused()) === second);
    assert.equal((await info('dev')).state, 'running');
    await page.keyboard.press('Control+Shift+S');
    await page.keyboard.type('dev');
    await page.keyboard.press('Enter');
    await until('it again', async () => (await focused()) === id);
    await shows(page, 'first\nfirst');
  });

  test('twenty panes are live at a time', async () => {
    for (let n = 0; n < 20; n++) await world.create(`n${n}`, `echo pane ${n}; exec cat`);
    const ids = (await world.list()).map(({ id }) => id);
    const page = await world.page();
    await page.keyboard.press('Escape');
    await page.evaluate((all) => all.forEach((id, n) => globalThis.sessd.open(id, n === 0 ? 'tab' : n % 2 ? 'row' : 'column')), ids);
    await until('all to be live', () => page.evaluate(() => [...globalThis.sessd.panes.values()].filter((pane) => pane.view.standing === 'live').length === 20));
    await enter(page, 'hello');
    await shows(page, 'hello\nhello');
  });
});

describe('the list', () => {
  test('filters, peeks, renames, tags, ends one and ends all', async () => {
    await world.create('alpha', 'echo the screen of alpha; exec cat');
    await world.create('beta', 'exec cat');
    const page = await world.page();
    await page.locator('dialog.picker').waitFor();
    await page.keyboard.type('alp');
    await until('one that fits', async () => (await page.locator('.sessions li').count()) === 1);
    await page.locator('.peek', { hasText: 'the screen of alpha' }).waitFor();
    await page.keyboard.press('F2');
    await page.getByRole('textbox', { name: 'A name for alpha' }).fill('gamma');
    await page.keyboard.press('Enter');
    await until('the new name', async () => (await world.list()).some((one) => one.name === 'gamma'));
    await page.getByLabel('Filter').fill('gamma');
    await page.getByRole('button', { name: 'Tags' }).click();
    await page.getByRole('textbox', { name: 'Tags of gamma' }).fill('gpu team=ml');
    await page.keyboard.press('Enter');
    await until('the tags', async () => (await info('gamma')).tags.team === 'ml');
    await page.getByRole('button', { name: 'End it (Delete)' }).click();
    await page.getByRole('button', { name: 'End it', exact: true }).click();
    await until('it to be gone', async () => (await world.list()).length === 1);
    // What changes elsewhere is seen without asking.
    await page.getByLabel('Filter').fill('');
    await world.create('delta', 'exec cat');
    await page.locator('.sessions li', { hasText: 'delta' }).waitFor();
    await page.getByRole('button', { name: 'End all…' }).click();
    await page.getByRole('button', { name: 'End all', exact: true }).click();
    await until('all to be gone', async () => (await world.list()).length === 0);
  });
});

describe('what a job says', () => {
  test('is seen at the tab and in the title, and can be answered from a notice', async () => {
    const quiet = await world.create('quiet', 'exec cat');
    const agent = await world.create(
      'agent',
      `printf '\\033]0;my title\\007'; read a; printf '\\033]9;may I?\\007'; read b; echo "answered <$b>"; read c; printf '\\a'; exec cat`,
    );
    const page = await world.page(`/s/${agent}`);
    await until('the title', async () => (await page.title()) === 'my title');
    const look = (id) => page.evaluate((one) => globalThis.sessd.open(one), id);
    const tab = () => page.locator('.tab', { hasText: 'agent' }).getAttribute('class');
    await look(quiet);
    await isLive(page);
    await world.sessd('send', 'agent', '--enter', 'go');
    const notice = page.locator('.notice', { hasText: 'may I?' });
    await notice.waitFor();
    assert.match(await tab(), /calls/);
    assert.match(await page.title(), /^\(1\)/);
    await page.locator('.tab', { hasText: 'agent' }).locator('[data-activity=waiting]').waitFor();
    // It is answered in place, and the notice goes.
    await notice.getByLabel('Answer').click();
    await page.getByRole('textbox', { name: 'Answer agent' }).fill('yes');
    await page.keyboard.press('Enter');
    await until('the answer', async () => (await world.sessd('capture', 'agent')).includes('answered <yes>'));
    await notice.waitFor({ state: 'detached' });
    // A look takes the mark away, and a bell in a tab that is not looked at brings it.
    await look(agent);
    await until('no mark', async () => !/calls/.test(await tab()));
    await look(quiet);
    await world.sessd('send', 'agent', '--enter', 'ring');
    await until('a mark for the bell', async () => /calls/.test(await tab()));
  });

  test('can be a notification of the browser, once the person allows it', async () => {
    const quiet = await world.create('quiet', 'exec cat');
    await world.create('agent', `read a; printf '\\033]9;look here\\007'; exec cat`);
    const page = await world.page(`/s/${quiet}`, { permissions: ['notifications'] });
    await isLive(page);
    await page.evaluate(() => {
      globalThis.told = [];
      globalThis.Notification = class {
        static permission = 'granted';
        static requestPermission = async () => 'granted';
        constructor(title, { body }) {
          globalThis.told.push(`${title}: ${body}`);
        }
      };
    });
    await page.getByLabel(/^More/).click();
    await page.getByLabel('Notifications of jobs').check();
    await page.keyboard.press('Escape');
    await world.sessd('send', 'agent', '--enter', 'go');
    await until('the notification', () => page.evaluate(() => globalThis.told.some((text) => /agent: .*look here/.test(text))));
  });

  test('in links, titles, wide characters and the clipboard is held to what the person allows', async () => {
    const context = { permissions: ['clipboard-read', 'clipboard-write'] };
    const family = '👩‍👩‍👧';
    const script = `printf 'see https://example.invalid/x here\\n'; printf '\\033[?2004h'; read go; printf '\\033[?2027h${family}|\\n\\033[?2027l${family}|\\n'; stty raw -echo; exec cat -v`;
    await world.create('dev', script);
    const page = await world.page('/', context);
    await shows(page, 'see https://example.invalid/x here');
    await page.keyboard.press('Enter');
    await shows(page, /\|[^]*\|/);
    // A family is one character of two columns where the job asked for clusters, else as many as it has people.
    const ends = await page.evaluate(() => [2, 3].map((row) => {
      const line = globalThis.sessd.focused.terminal.buffer.active.getLine(row);
      return Array.from({ length: 10 }, (_, n) => line?.getCell(n)?.getChars()).indexOf('|');
    }));
    assert.deepEqual(ends, [2, 6]);
    // A link is followed by a click, to a page of its own.
    await page.evaluate(() => {
      globalThis.open = (uri) => void (globalThis.opened = uri);
    });
    const row = await page.locator('.pane .xterm-screen').boundingBox();
    await page.mouse.move(row.x + 60, row.y + 8);
    await page.locator('.hint', { hasText: 'https://example.invalid/x' }).waitFor();
    await page.mouse.click(row.x + 60, row.y + 8);
    await until('the link', async () => (await page.evaluate(() => globalThis.opened)) === 'https://example.invalid/x');
    // A paste goes with its marks.
    await page.evaluate(() => globalThis.sessd.focused.paste('two\nlines'));
    await shows(page, '^[[200~two');
    await shows(page, '^[[201~');
    // A program may write the clipboard only when the person says so, and never reads it.
    await page.evaluate(() => navigator.clipboard.writeText('mine'));
    const write = (text) => page.evaluate((data) => globalThis.sessd.focused.terminal.write(`\u001b]52;c;${btoa(data)}\u0007`), text);
    await write('theirs');
    const ask = page.locator('.notice', { hasText: 'clipboard' });
    await ask.waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'mine');
    await ask.getByRole('button', { name: 'Copy' }).click();
    await until('the clipboard', async () => (await page.evaluate(() => navigator.clipboard.readText())) === 'theirs');
    const before = await screenOf(page);
    await page.evaluate(() => new Promise((done) => globalThis.sessd.focused.terminal.write('\u001b]52;c;?\u0007', done)));
    await type(page, 'z');
    await until('what was typed after it', async () => (await screenOf(page)).replace(before, '').includes('z'));
    assert.ok(!(await screenOf(page)).includes('^[]52'), 'the clipboard was told to a program');
    // What is selected is copied where that is set.
    await page.evaluate(() => {
      localStorage.setItem('sessd.settings', JSON.stringify({ copyOnSelect: true }));
    });
    await page.reload();
    await shows(page, 'see https');
    // What is drawn anew meanwhile takes a selection away.
    await until('the selection', () =>
      page.evaluate(async () => {
        const { terminal } = globalThis.sessd.focused;
        terminal.clearSelection();
        terminal.select(0, 0, 3);
        await new Promise((resolve) => setTimeout(resolve, 50));
        return (await navigator.clipboard.readText()) === 'see';
      }),
    );
  });
});

describe('without a mouse or eyes', () => {
  test('a screen is searched, read by a reader of screens, and served as text', async () => {
    const id = await world.create('dev', 'seq 500; echo needle in it; seq 100; exec cat');
    const page = await world.page();
    await shows(page, '100');
    await page.keyboard.press('Control+Shift+F');
    await page.keyboard.type('needle');
    await page.locator('.search .faint', { hasText: '1 of 1' }).waitFor();
    await page.keyboard.press('Enter');
    await shows(page, 'needle in it');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+Shift+Comma');
    await page.locator('dialog.menu').waitFor();
    await page.keyboard.press('Escape');
    await enter(page, 'typed again');
    await shows(page, 'typed again');
    await page.evaluate(() => localStorage.setItem('sessd.settings', JSON.stringify({ screenReader: true })));
    await page.reload();
    await until('rows that a reader of screens finds', async () => {
      const rows = await page.locator('.xterm-accessibility-tree').allInnerTexts();
      return rows.some((text) => text.replaceAll('\u00a0', ' ').includes('typed again')) || Promise.reject(new Error(rows.join('').slice(-400)));
    });
    await page.goto(`${world.origin}/plain/${id}?lines=1000`);
    await page.locator('pre', { hasText: 'needle in it' }).waitFor();
    assert.match(await page.title(), /dev/);
    // Only what is loaded from the server is there.
    assert.equal(await page.locator('script').count(), 0);
  });

  test('the panel of links and sessions has its numbers', async () => {
    await world.create('far', 'echo over ssh; exec cat', '--host', 'box');
    const page = await world.page();
    await shows(page, 'over ssh');
    await page.keyboard.press('Control+Shift+D');
    await page.locator('#debug td', { hasText: 'warm' }).waitFor();
    await page.locator('#debug td', { hasText: 'box' }).first().waitFor();
    await until('a round trip', async () => /\d ms/.test(await page.locator('#debug').innerText()));
  });
});

describe('a phone', () => {
  test('begins with the list, types by its own keys and a box, and nothing is wider than the screen', async () => {
    await world.create('dev', "printf '\\033[?2004h'; stty raw -echo; exec cat -v");
    await world.create('other', 'exec cat');
    const page = await world.page('/', PHONE);
    await page.locator('dialog.picker').waitFor();
    // What the list does with a session is under one finger.
    const more = async (name, act) => {
      await page.getByLabel(`Rename, tag or end ${name}`).tap();
      await page.getByRole('button', { name: act, exact: true }).tap();
    };
    await more('other', 'Rename');
    await page.getByRole('textbox', { name: 'A name for other' }).fill('logs');
    await page.getByRole('button', { name: 'Rename', exact: true }).tap();
    await until('the new name', async () => (await world.list()).some((one) => one.name === 'logs'));
    await page.getByLabel('Rename, tag or end logs').waitFor();
    await more('logs', 'Tags');
    await page.getByRole('textbox', { name: 'Tags of logs' }).fill('team=ml');
    await page.getByRole('button', { name: 'Set', exact: true }).tap();
    await page.locator('.sessions li .tag', { hasText: 'team=ml' }).waitFor();
    // Two quick taps there are not two taps on the line, which would open the session.
    await page.getByLabel('Rename, tag or end logs').dispatchEvent('dblclick');
    assert.equal(await page.locator('dialog.picker').count(), 1);
    await page.getByLabel('Rename, tag or end logs').tap();
    await page.screenshot({ path: `${PICTURES}/phone-acts.png` });
    await page.getByRole('button', { name: 'Cancel' }).tap();
    await page.screenshot({ path: `${PICTURES}/phone-list.png` });
    await page.locator('.sessions li', { hasText: 'dev' }).tap();
    await isLive(page);
    await page.getByLabel('Escape').tap();
    await shows(page, '^[');
    await page.getByLabel('Control C').tap();
    await shows(page, '^C');
    const box = page.getByLabel('Text to send');
    await box.tap();
    await box.fill('do this\nand that');
    await page.getByLabel('Send and Enter').tap();
    await shows(page, '^[[200~do this');
    await shows(page, '^[[201~');
    const wide = await page.evaluate(() => Math.max(...[...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.closest('#tabs, .xterm')).map((one) => one.getBoundingClientRect().right)));
    assert.ok(wide <= 390.5, `something ends at ${wide}`);
    assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth), true);
    const small = await page.evaluate(() => [...document.querySelectorAll('#keys button, #tools button')].filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect().height));
    assert.ok(Math.min(...small) >= 40, `a button is ${Math.min(...small)} high`);
    await page.screenshot({ path: `${PICTURES}/phone.png` });
  });
});

describe('a browser that only looks', () => {
  test('sees, and changes nothing', async () => {
    const id = await world.create('dev', 'echo to be seen; exec cat');
    const page = await world.page(`/s/${id}`, {}, true);
    await shows(page, 'to be seen');
    await enter(page, 'typed');
    await world.sessd('send', 'dev', '--enter', 'by another');
    await shows(page, 'by another\nby another');
    assert.ok(!(await screenOf(page)).includes('typed'));
    assert.equal((await info('dev')).views[0].read_only, true);
    assert.equal(await page.getByLabel(/^New session/).count(), 0);
  });

  test('is at the door without a token, and thrown out when it is revoked', async () => {
    const context = await world.context();
    const page = await context.newPage();
    await page.goto(world.origin);
    await page.waitForSelector('.door');
    const { token } = await world.json('web', 'tokens', '--new');
    await page.getByLabel('Address or token').fill(`${world.origin}/#token=${token}`);
    await page.keyboard.press('Enter');
    await isLive(page);
    assert.ok(!page.url().includes(token));
    await world.sessd('web', 'tokens', '--revoke-all');
    await page.waitForSelector('.door');
  });
});

describe('numbers', () => {
  test('a flood leaves the page answering, holds no more than its bound, and says what it skipped', async () => {
    const id = await world.create('dev', 'stty -echo; read go; yes "$(seq -s " " 40)" | head -c 50000000; echo; echo the end; exec cat');
    const page = await world.page(`/s/${id}`);
    await isLive(page);
    await page.evaluate(() => {
      globalThis.longest = 0;
      globalThis.pending = 0;
      let last = performance.now();
      const look = () => {
        const now = performance.now();
        globalThis.longest = Math.max(globalThis.longest, now - last);
        globalThis.pending = Math.max(globalThis.pending, globalThis.sessd.focused.view.core.pending);
        last = now;
        setTimeout(look);
      };
      look();
    });
    // From when a key is pressed to when the page has it and has given it on.
    await page.evaluate(() => {
      globalThis.answered = [];
      addEventListener('keyup', (event) => globalThis.answered.push(performance.now() - event.timeStamp));
    });
    await page.keyboard.press('Enter');
    const begun = Date.now();
    const ended = shows(page, 'the end', undefined, 50_000).then(() => (globalThis.over = true));
    globalThis.over = false;
    while (!globalThis.over) {
      await page.keyboard.press('F9');
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 30))]);
    }
    const seconds = (Date.now() - begun) / 1000;
    const { longest, pending, skipped, answered } = await page.evaluate(() => ({ longest: globalThis.longest, pending: globalThis.pending, skipped: globalThis.sessd.focused.view.core.skipped, answered: globalThis.answered }));
    console.log(`flood: ${seconds.toFixed(1)} s, a key was answered after ${Math.max(...answered).toFixed(0)} ms at the longest of ${answered.length}, the page was busy for ${longest.toFixed(0)} ms, ${pending} bytes waited, ${skipped} skipped`);
    assert.ok(Math.max(...answered) < 500, `a key waited for ${Math.max(...answered)} ms`);
    assert.ok(pending <= 500_000 + 64 * 1024, `${pending} bytes waited`);
    // More than the promise: the machine may be as slow as it likes.
    assert.ok(longest < 500, `busy for ${longest} ms`);
    if (skipped) await note(page).filter({ hasText: 'skipped' }).waitFor({ state: 'attached' });
    await enter(page, 'after it');
    await shows(page, 'after it');
  });

  test('a key is painted soon, and the page is ready soon and small', async () => {
    const id = await world.create('dev', 'stty -icanon; exec cat');
    const page = await world.page(`/s/${id}`);
    await isLive(page);
    await page.evaluate(() => {
      const { terminal, view } = globalThis.sessd.focused;
      globalThis.took = [];
      let [pressed, echoed] = [0, 0];
      addEventListener('keydown', () => (pressed = performance.now()), { capture: true });
      const handle = view.core.handle.bind(view.core);
      view.core.handle = (frame, now) => {
        if (frame.kind === 'output' && pressed) echoed ||= performance.now();
        return handle(frame, now);
      };
      terminal.onRender(() => {
        // A cursor that blinks is drawn without an echo.
        if (!echoed) return;
        globalThis.took.push([echoed - pressed, performance.now() - echoed]);
        pressed = echoed = 0;
      });
    });
    for (let n = 0; n < 20; n++) {
      await page.keyboard.press('k');
      await until('the glyph', () => page.evaluate((n) => globalThis.took.length > n, n));
    }
    const took = await page.evaluate(() => globalThis.took);
    const median = (which) => took.map((one) => one[which]).sort((a, b) => a - b)[took.length >> 1];
    const [echo, painted] = [median(0), median(1)];
    const sizes = await page.evaluate(() => performance.getEntriesByType('resource').reduce((sum, one) => sum + one.encodedBodySize, 0));
    await page.reload();
    await page.waitForSelector('body[data-ready]');
    const ready = await page.evaluate(() => performance.getEntriesByName('ready')[0].startTime);
    console.log(`a key is echoed after ${echo.toFixed(1)} ms and painted ${painted.toFixed(1)} ms later (medians), the page is ready after ${ready.toFixed(0)} ms, ${sizes} bytes in all`);
    assert.ok(sizes < 200_000, `${sizes} bytes`);
    // A frame, and as much again where the machine is busy.
    assert.ok(painted < 34 && ready < 2_000, `${painted} ms, ${ready} ms`);
  });
});

test('pictures', async () => {
  await world.create('build', `printf '\\033[32m   Compiling\\033[m sessd v0.1.0\\n\\033[1;33mwarning\\033[m: unused\\n\\033[34m~/src/sessd\\033[m $ '; exec cat`);
  await world.create('train', `for i in 1 2 3 4 5; do printf 'epoch %d  loss \\033[36m0.%d\\033[m\\n' $i $((90-i*9)); done; exec cat`, '--host', 'box', '--tag', 'gpu', '--tag', 'team=ml');
  await world.create('logs', 'seq 40; exec cat');
  for (const scheme of ['dark', 'light']) {
    const page = await world.page('/', { colorScheme: scheme });
    await page.locator('dialog.picker').waitFor();
    await page.locator('.sessions li', { hasText: 'train' }).click();
    await page.locator('.peek', { hasText: 'epoch 5' }).waitFor();
    await page.screenshot({ path: `${PICTURES}/list-${scheme}.png` });
    await page.keyboard.press('Escape');
    for (const [name, where] of [['build', 'tab'], ['train', 'row'], ['logs', 'column']]) {
      await page.evaluate(([id, place]) => globalThis.sessd.open(id, place), [(await info(name)).id, where]);
    }
    await shows(page, '40');
    await page.screenshot({ path: `${PICTURES}/page-${scheme}.png` });
    await page.getByLabel(/^More/).click();
    await page.screenshot({ path: `${PICTURES}/settings-${scheme}.png` });
    await page.context().close();
  }
});
