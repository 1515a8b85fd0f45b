/** A pane: one terminal that shows one session, with what is said about it. */

import { api } from '../api.js';
import { connect, withLogin } from '../host.js';
import { withoutMarks } from '../paste.js';
import { onSettings, settings } from '../settings.js';
import { endPhrase, label } from '../words.js';
import { View } from '../view/view.js';
import { el } from './dom.js';
import { askLogin } from './login.js';
import { drawFast, feed, makeTerminal, theme } from './terminal.js';

/** How long a sentence about the pane stays, in milliseconds. */
const NOTE_MS = 4_000;
/** How long another size than ours must last before we show the session at that one. */
const FOLLOW_MS = 150;
/** The same where the session should have our size and does not: its host may be slow. One that is fixed says so at once. */
const OVERRULED_MS = 2_000;
/** How often it is asked at the most whether a size is still fixed, while somebody types. */
const ASK_MS = 1_000;
/** The smallest letters that a session of another size is shown in. */
const FONT_MIN = 5;

const encoder = new TextEncoder();

/** @typedef {{ cols: number, rows: number }} Size */

/** @param {Size | null | undefined} a @param {Size | null | undefined} b */
const sameSize = (a, b) => a?.cols === b?.cols && a?.rows === b?.rows;

export class Pane {
  title = '';
  progress = 0;
  /** It wants to be looked at. */
  calls = false;
  /** What fits into the pane with letters as they are set. @type {Size | null} */
  fits = null;
  /** The session keeps this size though we ask for ours. @type {Size | null} */
  #overruled = null;
  /** And for good: it is fixed. */
  #isFixed = false;
  /** When it was asked last whether it still is. */
  #askedAt = 0;
  /** How many views the session had. */
  #views = 0;
  #answering = false;
  /** A login is being asked for. */
  #loggingIn = false;
  /** How it stood when that was looked at last. */
  #stood = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #following;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noteTimer;
  /** @type {(() => void) | null} */
  #fast = null;
  #opened = false;

  /**
   * @param {string} session its id
   * @param {object} to
   * @param {() => import('../documents').SessionDoc | undefined} to.doc what is known of the session
   * @param {boolean} to.readOnly
   * @param {() => void} to.changed its dot, title or sign is another
   * @param {() => void} to.focused
   * @param {() => void} to.closed the person closes it
   * @param {() => void} to.revoked
   * @param {(text: string) => void} to.clipboard a program wrote the clipboard
   */
  constructor(session, to) {
    this.session = session;
    this.to = to;
    const pieces = makeTerminal({
      leads: () => this.view?.core.state?.['leader'] === true,
      answers: () => {
        this.#answering = true;
        queueMicrotask(() => (this.#answering = false));
      },
      copied: (text) => to.clipboard(text),
      link: (uri) => this.#hint(uri),
    });
    const { terminal, progress } = pieces;
    this.terminal = terminal;
    this.fit = pieces.fit;
    this.screen = el('div', { class: 'screen' });
    this.note = el('div', { class: 'note', role: 'status', hidden: true });
    this.banner = el('div', { class: 'banner', hidden: true });
    this.hint = el('div', { class: 'hint', hidden: true });
    this.sized = el('div', { class: 'sized', hidden: true });
    this.element = el(
      'section',
      { class: 'pane', 'data-session': session, tabIndex: -1, 'aria-label': 'Terminal' },
      this.screen, this.note, this.banner, this.hint, this.sized,
    );
    this.element.addEventListener('focusin', () => to.focused());
    // xterm.js takes it as it comes.
    this.screen.addEventListener('paste', (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.paste(event.clipboardData?.getData('text/plain') ?? '');
    }, { capture: true });
    terminal.onTitleChange((title) => {
      this.title = title;
      to.changed();
    });
    terminal.onBell(() => this.call());
    terminal.onData((data) => this.#said(data));
    terminal.onBinary((data) => this.#typed(Uint8Array.from(data, (c) => c.charCodeAt(0))));
    terminal.onSelectionChange(() => {
      const text = terminal.getSelection();
      if (settings().copyOnSelect && text) void navigator.clipboard?.writeText(text).catch(() => {});
    });
    progress.onChange(({ state, value }) => {
      this.progress = state === 0 ? 0 : value;
      to.changed();
    });
    this.observer = new ResizeObserver(() => this.#measure());
    this.endSettings = onSettings(() => this.#set());
  }

  /** It is in the page now, and seen. */
  show() {
    this.#open();
    this.observer.observe(this.element);
    this.#measure();
    this.#connect();
    if (!this.#fast) {
      this.#fast = () => {};
      void drawFast(this.terminal).then((end) => (this.#fast = end));
    }
  }

  /** Its terminal is in the page. */
  get isOpen() {
    return this.#opened;
  }

  #open() {
    if (this.#opened) return;
    this.#opened = true;
    this.terminal.open(this.screen);
    const { textarea } = this.terminal;
    textarea?.setAttribute('autocapitalize', 'off');
    textarea?.setAttribute('autocomplete', 'off');
  }

  /** It is attached, though nobody has looked at it: without a size, so that it gives none to its session. */
  attach() {
    // Only a terminal that is open answers what its job asks.
    this.#open();
    this.#connect();
  }

  /** It is not seen. */
  hide() {
    this.#fast?.();
    this.#fast = null;
  }

  #connect() {
    if (this.view) return;
    this.view = new View(
      this.session,
      { readOnly: this.to.readOnly, scrollback: 2_000, size: this.fits },
      {
        output: (bytes, took) => feed(this.terminal, bytes, took),
        screen: (screen, took) => this.#drawScreen(screen, took),
        restarted: () => {
          this.terminal.reset();
          this.say('a new job runs here');
        },
        changed: () => this.#changed(),
        note: (text) => this.say(text),
        question: (question) => {
          this.call();
          this.endQuestion?.();
          this.endQuestion = askLogin(this.element, question, (given) => this.view?.reply(question['id'], given));
        },
        questionOver: () => this.endQuestion?.(),
        revoked: () => this.to.revoked(),
      },
    );
  }

  /** @param {{ bytes: Uint8Array, skipped: number, cols: number, rows: number }} screen @param {() => void} took */
  #drawScreen(screen, took) {
    if (screen.skipped > 0) {
      const size = screen.skipped < 1e6 ? `${Math.ceil(screen.skipped / 1e3)} kB` : `${(screen.skipped / 1e6).toFixed(1)} MB`;
      this.say(`${size} of output skipped: this is the screen of now`);
    }
    feed(this.terminal, screen.bytes, took);
  }

  /** What xterm.js says: keys, pastes and mouse of the person, or an answer to the job. @param {string} data */
  #said(data) {
    const bytes = encoder.encode(data);
    if (this.#answering) this.view?.answer(bytes);
    else this.#typed(bytes);
  }

  /** @param {Uint8Array} bytes */
  #typed(bytes) {
    if (this.view?.isOver) return;
    this.calls = false;
    this.lead();
    this.view?.type(bytes);
    if (this.view?.outgoing.refuses) this.say('what is typed now goes nowhere: what was typed before it is too old');
    this.#changed();
  }

  /** Text that is pasted, with the marks that the job asked for. @param {string} text */
  paste(text) {
    this.terminal.paste(withoutMarks(text));
  }

  /** The session gets the size of this pane, once; not one that kept its own when it was asked last. */
  lead() {
    if (this.#overruled) return void this.#stillFixed();
    clearTimeout(this.#following);
    const wasOther = this.element.classList.contains('other-size');
    if (this.fits) this.#take(this.fits);
    // Letters of another size may fit a little otherwise.
    if (wasOther) queueMicrotask(() => this.#measure());
  }

  /** The view is of that size, and so is the terminal. @param {Size} size */
  #take(size) {
    this.view?.resize(size);
    this.#draw(size);
  }

  /** The terminal has that size, in letters as they are set or, where it is none that fits, smaller. @param {Size} size */
  #draw(size) {
    const { terminal } = this;
    const font = settings().fontSize;
    let letters = font;
    if (this.fits && !sameSize(size, this.fits)) {
      const scale = Math.min(this.fits.cols / size.cols, this.fits.rows / size.rows, 1);
      letters = Math.max(FONT_MIN, Math.floor(font * scale * 2) / 2);
    }
    if (terminal.options.fontSize !== letters) terminal.options.fontSize = letters;
    if (terminal.cols !== size.cols || terminal.rows !== size.rows) terminal.resize(size.cols, size.rows);
    const isOther = !!this.fits && !sameSize(size, this.fits);
    this.element.classList.toggle('other-size', isOther);
    this.sized.hidden = !isOther || this.to.readOnly;
    const why = this.#overruled ? 'kept by the session' : 'as in another view: type to fit';
    this.sized.textContent = `${size.cols}×${size.rows}, ${why}`;
  }

  #measure() {
    if (!this.element.isConnected || this.element.clientWidth < 20) return;
    const { terminal } = this;
    const font = settings().fontSize;
    const now = terminal.options.fontSize ?? font;
    const dimensions = this.fit.proposeDimensions();
    if (!dimensions || !Number.isFinite(dimensions.cols)) return;
    const scale = now / font;
    const fits = {
      cols: Math.max(2, Math.floor(dimensions.cols * scale)),
      rows: Math.max(1, Math.floor(dimensions.rows * scale)),
    };
    if (sameSize(fits, this.fits)) return;
    this.fits = fits;
    if (this.#isFixed && this.#overruled) return this.#draw(this.#overruled);
    this.#overruled = null;
    const size = this.view?.core.size;
    const state = this.view?.core.state;
    if (!size || !state || state['sizes']) this.#take(fits);
    else this.#draw(size);
  }

  /** The state of the view, or of the session, is another. */
  #changed() {
    const state = this.view?.core.state;
    if (state?.['cols']) this.#fitTo({ cols: state['cols'], rows: state['rows'] }, state['sizes']);
    const stands = this.view?.standing ?? '';
    const isNew = stands !== this.#stood;
    this.#stood = stands;
    // Who looks at it is asked at once, and only once: after that the person says when.
    if (isNew && stands === 'needs-login' && this.element.classList.contains('focused')) void this.logIn();
    this.drawBanner();
    this.to.changed();
  }

  /** Dials the host, for which a person is asked here. */
  async logIn() {
    const host = this.view?.core.attached['host'];
    if (!host || this.#loggingIn || this.to.readOnly) return;
    this.#loggingIn = true;
    try {
      await connect(host, this.element);
      this.focus();
    } catch (error) {
      this.say(String(/** @type {Error} */ (error).message));
    } finally {
      this.#loggingIn = false;
    }
  }

  /**
   * The session has that size. Where another view sizes it, this one is shown at that size: what is written for one size makes no
   * sense at another. @param {Size} size @param {boolean} isOurs this view sizes it
   */
  #fitTo(size, isOurs) {
    clearTimeout(this.#following);
    const { view, fits, terminal } = this;
    if (!view) return;
    // Nobody has looked at it yet.
    if (!fits) {
      if (terminal.cols !== size.cols || terminal.rows !== size.rows) terminal.resize(size.cols, size.rows);
      return;
    }
    if (isOurs && !sameSize(size, this.#overruled)) {
      [this.#overruled, this.#isFixed] = [null, false];
      if (!sameSize(view.core.size, fits)) this.#take(fits);
      if (sameSize(size, fits)) return;
      const yields = () => {
        this.#overruled = size;
        this.#take(size);
      };
      this.#following = setTimeout(yields, OVERRULED_MS);
      void this.#whetherFixed(size, this.#following, yields);
    } else if (!sameSize(size, view.core.size)) {
      this.#following = setTimeout(() => this.#take(size), FOLLOW_MS);
    }
  }

  /**
   * A size that is fixed is not waited for. @param {Size} size @param {ReturnType<typeof setTimeout>} following @param {() => void} yields
   */
  async #whetherFixed(size, following, yields) {
    const info = await api.info(this.session).catch(() => null);
    if (info?.size_policy !== 'fixed' || !sameSize(info.size, size) || this.#following !== following) return;
    clearTimeout(following);
    this.#isFixed = true;
    yields();
  }

  /** Who types would size the session, if it is fixed no more; nobody tells of that. */
  async #stillFixed() {
    const now = performance.now();
    if (!this.#isFixed || now < this.#askedAt + ASK_MS) return;
    this.#askedAt = now;
    const info = await api.info(this.session).catch(() => null);
    if (!info || info.size_policy === 'fixed' || !this.#isFixed) return;
    [this.#overruled, this.#isFixed] = [null, false];
    this.lead();
  }

  /** The session has so many views: where one left that the session had its size from, it may be ours again. @param {number} views */
  viewsAre(views) {
    const left = views < this.#views;
    this.#views = views;
    if (!left || !this.#overruled || this.#isFixed) return;
    this.#overruled = null;
    if (this.fits) this.#take(this.fits);
  }

  /** What stands over the screen: how the session ended, that it is away, that it cannot be shown. */
  drawBanner() {
    const { view } = this;
    const children = [];
    const again = (/** @type {View} */ ours) => {
      ours.again();
      // The button goes, and what is typed next is for the job.
      this.focus();
    };
    if (view?.standing === 'ended') {
      const restart = async () => {
        const host = this.to.doc()?.host ?? view.core.attached['host'];
        await withLogin(host, this.element, () => api.restart(this.session)).catch((error) => this.say(error.message));
        again(view);
      };
      children.push(el('p', {}, `${label(this.to.doc(), this.session)}: ${endPhrase(view.end, this.to.doc()?.end)}`));
      if (!this.to.readOnly) children.push(el('button', { type: 'button', onclick: restart }, 'Restart'));
    } else if (view?.standing === 'away') {
      children.push(el('p', {}, view.detail || 'detached'));
      children.push(el('button', { type: 'button', onclick: () => again(view) }, 'Attach again'));
    } else if (view?.standing === 'refused') {
      children.push(el('p', {}, view.detail));
    }
    const key = children.map((child) => child.textContent).join();
    if (this.banner.dataset['key'] === key) return;
    this.banner.dataset['key'] = key;
    if (children.length) children.push(el('button', { type: 'button', onclick: () => this.to.closed() }, 'Close'));
    this.banner.replaceChildren(...children);
    this.banner.hidden = !children.length;
  }

  /** A sentence for the person, for a while. @param {string} text */
  say(text) {
    clearTimeout(this.#noteTimer);
    this.note.textContent = text;
    this.note.hidden = false;
    this.#noteTimer = setTimeout(() => (this.note.hidden = true), NOTE_MS);
  }

  /** @param {string} uri */
  #hint(uri) {
    this.hint.textContent = uri;
    this.hint.hidden = uri === '';
  }

  /** The job wants somebody. */
  call() {
    this.calls = true;
    this.to.changed();
  }

  #set() {
    const { terminal } = this;
    terminal.options.theme = theme();
    terminal.options.screenReaderMode = settings().screenReader;
    if (terminal.options.fontSize !== settings().fontSize) {
      terminal.options.fontSize = settings().fontSize;
      this.fits = null;
      this.#measure();
    }
  }

  focus() {
    this.calls = false;
    this.terminal.focus();
  }

  /** The view leaves; the job runs on. */
  close() {
    this.observer.disconnect();
    this.endSettings();
    this.hide();
    clearTimeout(this.#following);
    this.view?.leave();
    this.terminal.dispose();
    this.element.remove();
  }
}
