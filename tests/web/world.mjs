// One user's machine for the browser's tests: a home, a real manager, a real sshd, `sessd web`, and Debian's Chromium.

import { execFile, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
export const SESSD = process.env.SESSD_BIN ?? `${root}target/debug/sessd`;
export const PICTURES = `${root}tests/web/pictures`;

/** How long a fact may take, in milliseconds. */
export const SOON = 15_000;

/** Asks `fact` until it holds; gives what it gave. */
export async function until(what, fact, within = SOON) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    try {
      const value = await fact();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

export class World {
  static async make() {
    const world = new World();
    world.root = mkdtempSync('/tmp/sw.');
    for (const name of ['h', 's', 'run', 'f', 'ssh']) mkdirSync(`${world.root}/${name}`, { mode: 0o700 });
    world.env = {
      PATH: process.env.PATH,
      HOME: `${world.root}/h`,
      SESSD_HOME: `${world.root}/s`,
      XDG_RUNTIME_DIR: `${world.root}/run`,
      SESSD_FALLBACK_DIR: `${world.root}/f`,
      SESSD_SSH_CONFIG: `${world.root}/ssh/config`,
      TERM: 'xterm-256color',
      LANG: 'C.UTF-8',
      SHELL: '/bin/sh',
      PS1: '$ ',
    };
    await world.startSshd();
    await world.startWeb();
    world.browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
    return world;
  }

  /** A real sshd for the host `box`, whose key is known and which lets our key in. */
  async startSshd() {
    const dir = `${this.root}/ssh`;
    this.sshPort = await freePort();
    for (const name of ['host', 'key']) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${dir}/${name}`]);
    await run('sh', ['-c', `cp ${dir}/key.pub ${dir}/authorized && printf '[127.0.0.1]:${this.sshPort} ' > ${dir}/known && cat ${dir}/host.pub >> ${dir}/known`]);
    const user = userInfo().username;
    const text = (pairs) => pairs.map((pair) => pair.join(' ')).join('\n') + '\n';
    writeFileSync(`${dir}/sshd`, text([
      ['Port', this.sshPort], ['ListenAddress', '127.0.0.1'], ['HostKey', `${dir}/host`], ['PidFile', 'none'], ['UsePAM', 'no'],
      ['AuthorizedKeysFile', `${dir}/authorized`], ['StrictModes', 'no'], ['PermitRootLogin', 'yes'], ['PasswordAuthentication', 'no'],
      ['SetEnv', `HOME=${this.env.HOME}`, `SESSD_FALLBACK_DIR=${this.env.SESSD_FALLBACK_DIR}`, 'PS1="$ "'],
    ]));
    writeFileSync(`${dir}/config`, text([
      ['Host', 'box', 'locked'], ['HostName', '127.0.0.1'], ['Port', this.sshPort], ['User', user], ['IdentitiesOnly', 'yes'],
      ['UserKnownHostsFile', `${dir}/known`], ['GlobalKnownHostsFile', '/dev/null'],
      ['Match', 'originalhost', 'box'], ['IdentityFile', `${dir}/key`],
      ['Match', 'originalhost', 'locked'], ['IdentityFile', `${dir}/locked`],
    ]));
    // The same key, behind a passphrase.
    await run('sh', ['-c', `cp ${dir}/key ${dir}/locked && ssh-keygen -q -p -P '' -N opensesame -f ${dir}/locked`]);
    const sshd = await run('sh', ['-c', 'PATH="$PATH:/usr/sbin" command -v sshd']).then(({ stdout }) => stdout.trim());
    this.sshdPath = sshd;
    await run('sh', ['-c', 'mkdir -p /run/sshd 2>/dev/null || true']);
    this.startSsh = () => {
      this.sshd = spawn(sshd, ['-D', '-e', '-f', `${dir}/sshd`], { stdio: 'ignore' });
    };
    this.startSsh();
  }

  /** The same host, by another name and another port. */
  knows(name, port) {
    return this.knowsAs([[name, [`Port ${port}`, `IdentityFile ${this.root}/ssh/key`]]], port);
  }

  /** The same host, by another name, whose key is not known: a person is asked. */
  async asks(name) {
    const dir = `${this.root}/ssh`;
    const known = `${dir}/known.${name}`;
    writeFileSync(known, '');
    const config = readFileSync(`${dir}/config`, 'utf8');
    if (config.includes(known)) return;
    const lines = [`Host ${name}`, `UserKnownHostsFile ${known}`, 'StrictHostKeyChecking ask', `IdentityFile ${dir}/key`];
    writeFileSync(`${dir}/config`, `${lines.join('\n')}\n${config.replace('Host box locked', `Host box locked ${name}`)}`);
  }

  /** A user of this machine with that password, gone with this world; false where none can be made here. */
  async makeUser(password) {
    const name = `sessdw${process.pid}`;
    const home = `/tmp/${name}`;
    if (process.geteuid?.() !== 0) return false;
    if (!(await run('useradd', ['-m', '-s', '/bin/sh', '-d', home, name]).then(() => true, () => false))) return false;
    this.user = { name, home };
    const setting = spawn('chpasswd', { stdio: ['pipe', 'ignore', 'inherit'] });
    setting.stdin.end(`${name}:${password}\n`);
    await new Promise((resolve) => setting.once('exit', resolve));
    return true;
  }

  /** Hosts by these names that let that user in, each by the method that its name has. */
  async letsIn(methods) {
    const dir = `${this.root}/ssh`;
    const port = await freePort();
    const { name, home } = this.user;
    const config = readFileSync(`${dir}/sshd`, 'utf8').split('\n')
      .filter((line) => !/^(Port|UsePAM|PasswordAuthentication|SetEnv) /.test(line))
      .concat(`Port ${port}`, 'UsePAM yes', 'PasswordAuthentication yes', 'KbdInteractiveAuthentication yes', `SetEnv HOME=${home} SESSD_FALLBACK_DIR=${home}`, '');
    writeFileSync(`${dir}/sshd.pam`, config.join('\n'));
    await this.knowsAs(methods.map((method) => [method, [`Port ${port}`, `User ${name}`, `PreferredAuthentications ${method}`]]), port);
    this.pam = spawn(this.sshdPath, ['-D', '-e', '-f', `${dir}/sshd.pam`], { stdio: 'ignore' });
  }

  async knowsAs(hosts, port) {
    const dir = `${this.root}/ssh`;
    appendFileSync(`${dir}/known`, `[127.0.0.1]:${port} ${readFileSync(`${dir}/host.pub`, 'utf8')}`);
    const config = readFileSync(`${dir}/config`, 'utf8');
    const names = hosts.map(([name]) => name).join(' ');
    const blocks = hosts.map(([name, lines]) => `Host ${name}\n${lines.join('\n')}\n`).join('');
    writeFileSync(`${dir}/config`, `${blocks}${config.replace('Host box locked', `Host box locked ${names}`)}`);
  }

  /** Every connection to the host breaks, and none is taken. */
  async stopSsh() {
    const below = async (pid) => {
      const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(pid)]).catch(() => ({ stdout: '' }));
      const children = stdout.split(/\s+/).filter(Boolean).map(Number);
      return [pid, ...(await Promise.all(children.map(below))).flat()];
    };
    // What runs in a session of the host's is the job's, which lives on: only sshd's own processes are ended.
    const isSshd = async (pid) => (await run('ps', ['-o', 'comm=', '-p', String(pid)]).catch(() => ({ stdout: '' }))).stdout.startsWith('sshd');
    for (const pid of await below(this.sshd.pid)) if (await isSshd(pid)) process.kill(pid, 'SIGKILL');
  }

  async startWeb(port = 0, ...more) {
    this.web = spawn(SESSD, ['web', '--no-open', '--listen', `127.0.0.1:${port}`, ...more], { env: this.env, stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await new Promise((resolve, reject) => {
      let text = '';
      this.web.stdout.on('data', (data) => {
        text += data;
        if (text.includes('\n')) resolve(text.trim());
      });
      this.web.on('exit', () => reject(new Error(`sessd web ended: ${text}`)));
    });
    this.origin = line.split('/#')[0];
    this.token = line.split('token=')[1];
  }

  /** It is killed, and gone: its port is free. */
  async killWeb() {
    const gone = new Promise((resolve) => this.web.once('exit', resolve));
    this.web.kill('SIGKILL');
    await gone;
  }

  /** `sessd` with these arguments; its output. */
  async sessd(...args) {
    const { stdout } = await run(SESSD, args, { env: this.env, timeout: 30_000, maxBuffer: 1 << 28 });
    return stdout;
  }

  async json(...args) {
    return JSON.parse(await this.sessd('--json', ...args));
  }

  list() {
    return this.json('list', '--all');
  }

  /** The id of a new session that runs a script. */
  async create(name, script, ...more) {
    return (await this.json('create', '--name', name, ...more, '--', 'sh', '-c', script)).id;
  }

  /** A browser of its own that was let in, before its first page. */
  async context(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1200, height: 760 }, colorScheme: 'dark', ...options });
    this.contexts.push(context);
    if (process.env.FROM_DISK) {
      // While the page is worked on: as it lies in web/, without building the program again.
      await context.route(/\/at\/[^/]+\/(src|style)\//, (route) =>
        route.fulfill({ path: `${root}web/${new URL(route.request().url()).pathname.split('/').slice(3).join('/')}` }),
      );
    }
    return context;
  }

  contexts = [];

  /** A page of a browser that was let in. */
  async page(path = '/', options = {}, readOnly = false, origin = this.origin) {
    const context = await this.context(options);
    const { token } = await this.json('web', 'tokens', '--new', ...(readOnly ? ['--read-only'] : []));
    const page = await context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.message));
    page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
    await page.goto(`${origin}${path}#token=${token}`);
    await page.waitForSelector('body[data-ready]');
    return page;
  }

  /** Nothing is left of a test. */
  async clean() {
    for (const context of this.contexts.splice(0)) await context.close();
    if ((await this.list()).length) await this.sessd('delete', '--all', '--force');
    for (const { id } of await this.list()) await this.sessd('delete', '--force', id).catch(() => {});
  }

  async end() {
    await this.browser?.close();
    this.web?.kill();
    await this.sessd('delete', '--all', '--force').catch(() => {});
    await this.sessd('daemon', 'stop').catch(() => {});
    this.sshd?.kill();
    this.pam?.kill();
    if (this.user) {
      await run('pkill', ['-KILL', '-U', this.user.name]).catch(() => {});
      await run('userdel', ['-r', '-f', this.user.name]).catch(() => {});
    }
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The text of a pane's screen, as the terminal has it. */
export const screenOf = (page, session) =>
  page.evaluate((id) => {
    const panes = [...(globalThis.sessd?.panes.values() ?? [])];
    const pane = id ? panes.find((one) => one.session === id) : globalThis.sessd?.focused;
    if (!pane) return '';
    const buffer = pane.terminal.buffer.active;
    return Array.from({ length: pane.terminal.rows }, (_, row) => buffer.getLine(buffer.viewportY + row)?.translateToString(true) ?? '').join('\n');
  }, session);

/** Waits until a pane shows that. */
export const shows = (page, text, session, within = SOON) =>
  until(`the screen to show ${text}`, async () => {
    const screen = await screenOf(page, session);
    return (text instanceof RegExp ? text.test(screen) : screen.includes(text)) || Promise.reject(new Error(screen.trimEnd()));
  }, within);

export const standing = (page) => page.locator('.tab.active .dot').getAttribute('data-standing');
export const isLive = (page) => until('the pane to be live', async () => (await standing(page)) === 'live');
