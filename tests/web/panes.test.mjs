// Panes, tabs and splits of the page, in a real browser against the real manager, agent and sshd.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe } from 'node:test';
import { promisify } from 'node:util';
import { enter, info, test, type, viewsOf, world } from './harness.mjs';
import { isLive, screenOf, shows, standing, until } from './world.mjs';

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
    // It is typed in at once.
    await page.keyboard.press('Enter');
    await page.locator('.banner', { hasText: 'exited with 7' }).waitFor();
    // An address of none keeps its name.
    await page.goto(`${world.origin}/s/nonesuch`);
    await page.locator('.banner', { hasText: 'there is no session `nonesuch`' }).waitFor();
    assert.equal(await page.locator('.tab.active .label').innerText(), 'nonesuch');
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

  test('of a session whose size is fixed is that size at once, however it is resized, until it is fixed no more', async () => {
    const id = await world.create('dev', 'while :; do stty size; sleep 0.1; done', '--size', '150x50', '--size-policy', 'fixed');
    const page = await world.page(`/s/${id}`);
    const now = () => page.evaluate(() => {
      const { terminal, fits } = globalThis.sessd.focused;
      return { size: `${terminal.cols}x${terminal.rows}`, fits: `${fits?.cols}x${fits?.rows}`, letters: terminal.options.fontSize };
    });
    await isLive(page);
    const begun = Date.now();
    await until('the size of the session', async () => (await now()).size === '150x50');
    // The page asks once, and does not wait whether the host is slow.
    assert.ok(Date.now() - begun < 1_500, `it took ${Date.now() - begun} ms`);
    await shows(page, '50 150');
    const { letters } = await now();
    assert.ok(letters < 14, `letters of ${letters}`);
    await page.setViewportSize({ width: 900, height: 500 });
    await until('smaller letters', async () => (await now()).letters < letters);
    assert.equal((await now()).size, '150x50');
    await page.keyboard.press('a');
    assert.equal((await now()).size, '150x50');
    await world.sessd('size', 'dev', 'latest');
    await until('its own size', async () => {
      await page.keyboard.press('a');
      const { size, fits } = await now();
      return size === fits && size !== '150x50';
    });
    await shows(page, (await now()).size.split('x').reverse().join(' '));
    await world.sessd('size', 'dev', '77x22');
    await until('another', async () => (await now()).size === '77x22');
    await shows(page, '22 77');
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

describe('a password', () => {
  test('and all that PAM asks are asked in the page of one who may answer, and kept nowhere', async (t) => {
    const [secret, next] = ['not a word 7', 'An0ther-quite-long-one'];
    if (!(await world.makeUser(secret))) return t.skip('no user can be made here');
    await world.letsIn(['password', 'keyboard-interactive']);
    await world.create('dev', 'exec cat');
    const page = await world.page();
    await isLive(page);
    const makes = async (name, host) => {
      await page.keyboard.press('Control+Shift+Enter');
      await page.getByLabel('Name').fill(name);
      await page.getByLabel('Host').fill(host);
      await page.keyboard.press('Enter');
    };
    const box = page.locator('.login');
    // What is asked after that answer is another question.
    const answers = async (question, text) => {
      await box.filter({ hasText: question }).waitFor();
      const input = box.locator('input');
      assert.equal(await input.getAttribute('type'), 'password');
      const asked = await box.elementHandle();
      await input.fill(text);
      await input.press('Enter');
      await until('the question to go', () => asked.evaluate((element) => !element.isConnected));
    };
    await makes('pw', 'password');
    await answers(/password:/i, secret);
    await page.locator('.tab.active .label', { hasText: 'pw' }).waitFor();
    await isLive(page);
    // One that only looks wants the host, too, and comes last: who may answer is asked all the same.
    await world.sessd('host', 'disconnect', 'password');
    const looker = await world.page('/s/pw', {}, true);
    await until('the first to know', async () => (await standing(page)) !== 'live');
    await page.locator('#trouble button').click();
    await answers(/password:/i, secret);
    await isLive(page);
    assert.equal(await looker.locator('.login').count(), 0);
    // It is to be changed at the next login: one question after the other.
    await promisify(execFile)('chage', ['-d', '0', world.user.name]);
    await makes('ki', 'keyboard-interactive');
    await answers(/password:/i, secret);
    await answers(/current.*password:/i, secret);
    await answers(/new password:/i, next);
    await answers(/retype|again/i, next);
    await page.locator('.tab.active .label', { hasText: 'ki' }).waitFor();
    await isLive(page);
    for (const word of [secret, next]) {
      const kept = await page.evaluate((word) => document.documentElement.outerHTML.includes(word) || JSON.stringify({ ...localStorage, ...sessionStorage }).includes(word), word);
      assert.ok(!kept, 'a secret is in the page');
      assert.ok(!readFileSync(`${world.root}/s/sessd.log`, 'utf8').includes(word), 'a secret is in the log');
    }
  });
});

describe('a host whose key is not known', () => {
  test('has it asked whether that is right, for a new session and for one that is there', async () => {
    await world.asks('fresh');
    await world.create('dev', 'exec cat');
    const page = await world.page();
    await isLive(page);
    const answers = async () => {
      await page.locator('.login', { hasText: /fingerprint is SHA256/ }).waitFor();
      await page.locator('.login input').fill('yes');
      await page.keyboard.press('Enter');
    };
    await page.keyboard.press('Control+Shift+Enter');
    await page.getByLabel('Name').fill('there');
    await page.getByLabel('Host').fill('fresh');
    await page.keyboard.press('Enter');
    await answers();
    await page.locator('.tab.active .label', { hasText: 'there' }).waitFor();
    await isLive(page);
    // Its file is gone, and so is the manager that had asked.
    await world.asks('fresh');
    await world.sessd('daemon', 'restart');
    await answers();
    await isLive(page);
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
    // What cannot be made is there to be mended.
    await page.getByLabel('Host').fill('no such host');
    await page.keyboard.press('Enter');
    await page.locator('dialog').getByRole('alert').waitFor();
    assert.equal(await page.getByLabel('Name').inputValue(), 'named');
    await page.getByLabel('Host').fill('local');
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

  test('that nobody has looked at yet are attached, give no size, and answer what their jobs ask', async () => {
    const asks = 'stty -icanon -echo; read line; printf "\\033]11;?\\007"; dd bs=1 count=8 2>/dev/null | od -c; stty size; exec cat';
    const [seen, behind] = [await world.create('seen', 'exec cat'), await world.create('behind', asks, '--size', '97x31')];
    const page = await world.page(`/s/${behind}`);
    await isLive(page);
    await page.evaluate((id) => globalThis.sessd.open(id), seen);
    await isLive(page);
    const { size } = await info('behind');
    await page.setViewportSize({ width: 700, height: 500 });
    await page.reload();
    const dots = () => page.locator('.tab .dot').evaluateAll((all) => all.map((dot) => dot.dataset.standing));
    await until('both to be live', async () => (await dots()).join() === 'live,live');
    assert.equal(await viewsOf('behind'), 1);
    await world.sessd('send', 'behind', '--enter', 'go');
    await shows(page, /\]\s+1\s+1\s+;\s+r\s+g\s+b/, behind);
    await shows(page, `${size.rows} ${size.cols}`, behind);
    await page.keyboard.press('Alt+Digit1');
    await until('its own size, once it is looked at', async () => (await info('behind')).size.rows < size.rows);
    assert.deepEqual(page.problems, []);
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
