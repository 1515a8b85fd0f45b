// What the page shows beside its panes, and to whom: the list, what jobs say, readers of screens, a phone, a browser that only looks.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { PHONE, enter, info, test, type, viewsOf, world } from './harness.mjs';
import { PICTURES, isLive, screenOf, shows, standing, until } from './world.mjs';

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
    // The page knows it, too: what is gone is not peeked at.
    await page.locator('.sessions', { hasText: 'Nothing fits.' }).waitFor();
    // What changes elsewhere is seen without asking.
    await page.getByLabel('Filter').fill('');
    await world.create('delta', 'exec cat');
    await page.locator('.sessions li', { hasText: 'delta' }).waitFor();
    // One that has ended says how.
    await world.create('over', 'exit 3');
    await page.locator('.sessions li', { hasText: 'over' }).filter({ hasText: 'exited with 3' }).waitFor();
    // All that are shown, and of those what runs.
    await world.create('delta-2', 'exec cat');
    await page.getByLabel('Filter').fill('delta');
    await until('those that fit', async () => (await page.locator('.sessions li').count()) === 2);
    await page.getByRole('button', { name: 'End all…' }).click();
    await page.locator('dialog', { hasText: 'End the 2 sessions and their jobs, which fit “delta”?' }).last().waitFor();
    await page.getByRole('button', { name: 'End all', exact: true }).click();
    await until('the others alone', async () => (await world.list()).map(({ name }) => name).sort().join() === 'beta,over');
    await page.locator('.sessions', { hasText: 'Nothing fits.' }).waitFor();
    await page.getByLabel('Filter').fill('');
    await page.getByRole('button', { name: 'End all…' }).click();
    await page.getByRole('button', { name: 'End all', exact: true }).click();
    await until('all to be gone', async () => (await world.list()).every(({ name }) => name === 'over'));
    assert.deepEqual(page.problems, []);
  });
});

describe('a long list', () => {
  test('makes the lines that somebody comes near, and finds all', async () => {
    await world.create('dev', 'exec cat');
    const page = await world.page();
    await isLive(page);
    await page.evaluate(() => {
      const { sessions } = globalThis.sessd;
      const [one] = sessions.sorted();
      const many = Array.from({ length: 500 }, (_, n) => ({ ...one, id: one.id.slice(0, -4) + String(n).padStart(4, '0'), name: `n${n}` }));
      sessions.fetch = async () => sessions.take(many);
    });
    await page.keyboard.press('Control+Shift+S');
    const lines = page.locator('.sessions li');
    const chosen = page.locator('.sessions li[aria-selected=true] strong');
    await until('some lines', async () => (await lines.count()) > 20);
    assert.ok((await lines.count()) < 100);
    for (let n = 0; n < 12; n++) await page.keyboard.press('PageDown');
    assert.equal(await chosen.innerText(), 'n96');
    // The Tab key goes from the filter to what can be done with that one, and not through all the others.
    const reached = () => page.evaluate(() => document.activeElement.closest('li')?.querySelector('strong').textContent ?? document.activeElement.textContent);
    const order = [];
    for (let n = 0; n < 8 && order.at(-1) !== 'End all…'; n++) {
      await page.keyboard.press('Tab');
      order.push(await reached());
    }
    assert.deepEqual(order.filter((one) => /^n\d/.test(one)), ['n96', 'n96', 'n96']);
    assert.equal(order.at(-1), 'End all…');
    await page.getByLabel('Filter').focus();
    const before = await lines.count();
    await page.locator('.sessions').evaluate((list) => (list.scrollTop = list.scrollHeight));
    await until('more lines', async () => (await lines.count()) > before);
    // What happens elsewhere does not take the list away from where somebody looks.
    const top = await page.locator('.sessions').evaluate((list) => list.scrollTop);
    await page.evaluate(() => globalThis.sessd.sessions.fetch());
    assert.equal(await page.locator('.sessions').evaluate((list) => list.scrollTop), top);
    await page.keyboard.type('n499');
    await until('the one that fits', async () => (await chosen.innerText()) === 'n499' && (await lines.count()) === 1);
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

  test('is text wherever it is shown, and its links lead to pages only', async () => {
    const evil = '<img src=x onerror=globalThis.pwned=1>';
    const link = (uri, text) => `\\033]8;;${uri}\\033\\\\${text}\\033]8;;\\033\\\\`;
    const links = [link('javascript:globalThis.pwned=2', 'run'), link('file:///etc/passwd', 'file'), link('data:text/html,x', 'data'), link('https://example.invalid/ok', 'page')];
    await world.create('quiet', 'exec cat');
    const id = await world.create('dev', `printf '\\033]0;${evil}\\007${links.join(' ')}\\n'; read go; printf '\\033]9;${evil}\\007'; exec cat`, '--tag', `k=${evil}`);
    const page = await world.page(`/s/${id}`);
    await shows(page, 'run file data page');
    await page.evaluate(() => {
      globalThis.opened = [];
      globalThis.open = (uri) => void globalThis.opened.push(uri);
    });
    const { x, y, width } = await page.locator('.pane .xterm-screen').boundingBox();
    const cell = width / (await page.evaluate(() => globalThis.sessd.focused.terminal.cols));
    for (const column of [1, 5, 10, 15]) {
      await page.mouse.move(x + cell * column, y + 8);
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      if (column === 15) await page.locator('.hint', { hasText: 'https://example.invalid/ok' }).waitFor();
      await page.mouse.click(x + cell * column, y + 8);
    }
    await until('the page', async () => (await page.evaluate(() => globalThis.opened.length)) > 0);
    assert.deepEqual(await page.evaluate(() => globalThis.opened), ['https://example.invalid/ok']);
    assert.equal(await page.title(), evil);
    // In the list, with its tag; in a notice; and on the page of its text.
    await page.keyboard.press('Control+Shift+S');
    await page.locator('.sessions li', { hasText: `k=${evil}` }).waitFor();
    await page.locator('.sessions li', { hasText: 'quiet' }).dblclick();
    await world.sessd('send', 'dev', '--enter', 'go');
    await page.locator('.notice', { hasText: evil }).waitFor();
    assert.deepEqual(await page.evaluate(() => [document.querySelectorAll('img').length, globalThis.pwned ?? null]), [0, null]);
    await page.goto(`${world.origin}/plain/${id}`);
    assert.deepEqual(await page.evaluate(() => [document.querySelectorAll('img, script').length, globalThis.pwned ?? null]), [0, null]);
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
    // What a row says, by the head of its column.
    const cell = (table, row, column) =>
      page.locator('#debug table').nth(table).evaluate((element, [row, column]) => {
        const at = [...element.querySelectorAll('th')].findIndex((head) => head.textContent === column);
        const line = [...element.querySelectorAll('tbody tr')].find((one) => one.firstElementChild.textContent === row);
        return line?.children[at]?.textContent ?? '';
      }, [row, column]);
    const bytes = (text) => Number.parseFloat(text) * ({ kB: 1e3, MB: 1e6 }[text.split(' ')[1]] ?? 1);
    const [before, sent] = [bytes(await cell(1, 'box', 'bytes in')), bytes(await cell(1, 'box', 'bytes out'))];
    assert.ok(before > 100 && sent > 100, `${before} in, ${sent} out`);
    assert.equal(await cell(1, 'box', 'retries'), '0');
    assert.equal(await cell(0, 'far', 'lag'), '0 B');
    await page.evaluate(() => globalThis.sessd.focused.view.type(new TextEncoder().encode(`${'x'.repeat(500)}\r`.repeat(4))));
    await until('the bytes of both ways', async () => bytes(await cell(1, 'box', 'bytes in')) > before + 2_000 && bytes(await cell(1, 'box', 'bytes out')) > sent + 2_000);
    // Output that this page does not take in: the job is ahead of what is seen by all of it.
    await page.evaluate(() => {
      globalThis.sessd.focused.view.core.handle = () => null;
    });
    await world.sessd('send', 'far', '--enter', 'y'.repeat(3_000));
    await until('the lag', async () => bytes(await cell(0, 'far', 'lag')) > 5_000);
    await world.stopSsh();
    await until('the link to be down', async () => ['down', 'connecting'].includes(await cell(1, 'box', 'link')));
    world.startSsh();
    await until('the retries', async () => Number(await cell(1, 'box', 'retries')) > 0);
  });
});

describe('a phone', () => {
  test('begins with the list, types by its own keys and a box, and nothing is wider than the screen', async () => {
    await world.create('dev', "printf '\\033[?2004h'; stty raw -echo; exec cat -v");
    await world.create('other', 'echo seen by a finger; exec cat');
    const page = await world.page('/', PHONE);
    await page.locator('dialog.picker').waitFor();
    // What the list does with a session is under one finger.
    const more = async (name, act) => {
      await page.getByLabel(`Peek at, rename, tag or end ${name}`).tap();
      await page.getByRole('button', { name: act, exact: true }).tap();
    };
    await more('other', 'Rename');
    await page.getByRole('textbox', { name: 'A name for other' }).fill('logs');
    await page.getByRole('button', { name: 'Rename', exact: true }).tap();
    await until('the new name', async () => (await world.list()).some((one) => one.name === 'logs'));
    await page.getByLabel('Peek at, rename, tag or end logs').waitFor();
    await more('logs', 'Tags');
    await page.getByRole('textbox', { name: 'Tags of logs' }).fill('team=ml');
    await page.getByRole('button', { name: 'Set', exact: true }).tap();
    await page.locator('.sessions li .tag', { hasText: 'team=ml' }).waitFor();
    // Two quick taps there are not two taps on the line, which would open the session.
    await page.getByLabel('Peek at, rename, tag or end logs').dispatchEvent('dblclick');
    assert.equal(await page.locator('dialog.picker').count(), 1);
    await page.getByLabel('Peek at, rename, tag or end logs').tap();
    await page.locator('dialog .peek', { hasText: 'seen by a finger' }).waitFor();
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
    await box.fill('do this\x1b[201~\nand that');
    await page.getByLabel('Send and Enter').tap();
    await shows(page, '^[[200~do this^Mand that^[[201~');
    // What stands in the clipboard cannot end its own paste either.
    await page.locator('.pane textarea').evaluate((area) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', 'one\x1b[201~two');
      area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    });
    await until('the paste, once', async () => (await screenOf(page)).replaceAll('\n', '').endsWith('^[[200~onetwo^[[201~'));
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

  test('is thrown out alone when it alone is revoked', async () => {
    const id = await world.create('dev', 'exec cat');
    const browsers = async () => (await world.json('web', 'tokens')).browsers.map((browser) => browser.id);
    const before = await browsers();
    const one = await world.page(`/s/${id}`);
    await isLive(one);
    const first = (await browsers()).find((browser) => !before.includes(browser));
    const other = await world.page(`/s/${id}`);
    await isLive(other);
    await world.sessd('web', 'tokens', '--revoke', first);
    await one.waitForSelector('.door');
    await enter(other, 'still here');
    await shows(other, 'still here\nstill here');
    // Neither what it has open nor what it asks for anew is answered.
    await one.reload();
    await one.waitForSelector('.door');
    await until('its view to be gone', async () => (await viewsOf('dev')) === 1);
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
