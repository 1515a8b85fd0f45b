//! What reaches the screen: the job's output, and the one line at the bottom that is ours.

use super::{SAY_AGAIN_MS, View};
use crate::view::terminal;
use crate::view::words::{self, Facts, Trouble};
use sessd_terminal::{QueryScanner, Size, Terminal};

/// How long a notice is shown, and for how long of that the output waits beneath it; a key ends both.
const NOTICE_MS: u64 = 4_000;
const NOTICE_HOLDS_MS: u64 = 1_500;
/// How long output pauses before the way out is said again that it took away, and how often that is done.
const HINT_PAUSE_MS: u64 = 400;
const HINTS_AGAIN: u8 = 3;
/// That output was skipped is not said again before this: on a slow line it would hide the last row all the time.
const NOTICE_AGAIN_MS: u64 = 30_000;
/// Nor so soon after a key: the last row is where the prompt comes that Ctrl-C was for.
const NOTICE_AFTER_KEY_MS: u64 = 2_000;

/// The line at the bottom that is ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Not there.
    Away,
    /// The path is broken, and the screen beneath the line that will say so was asked for, then.
    Asked(u64),
    /// The path is broken, and it says so since `at` (0: about to be), over this screen.
    Shown { at: u64, beneath: Vec<u8> },
    /// Something is to be known about the stream.
    Notice(Notice),
}

impl Line {
    /// Is it this that people are told now?
    pub(super) fn says(&self, text: &str) -> bool {
        matches!(self, Self::Notice(notice) if notice.text == text)
    }

    /// Bytes of output that wait beneath it.
    pub(super) fn holds(&self) -> usize {
        if let Self::Notice(notice) = self { notice.held.len() } else { 0 }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    text: String,
    /// Output that comes before this waits; what comes later ends the notice.
    holds_until: u64,
    until: u64,
    beneath: Vec<u8>,
    /// Nothing is beneath it.
    row_is_blank: bool,
    held: Vec<u8>,
}

impl Notice {
    pub(super) fn ends_at(&self) -> u64 {
        if self.held.is_empty() { self.until } else { self.holds_until }
    }
}

/// The way out. It is said over the first screen, and gone with the first key. Output ends it as it ends any notice; once that
/// pauses it is said again, so that the prompt of a shell that just began does not take it away unseen.
#[derive(Debug)]
pub(super) struct Hint {
    text: String,
    /// For so long, once there was a screen.
    until: Option<u64>,
    /// It is said again then.
    again_at: Option<u64>,
    /// How often that may still be.
    again: u8,
}

impl Hint {
    pub(super) fn new(text: String) -> Self {
        Self { text, until: None, again_at: None, again: HINTS_AGAIN }
    }

    /// Has a screen room for it: is its bottom row blank, and no program has all of it? It lies over nothing that is shown.
    fn has_room(screen: &[u8]) -> bool {
        let Some((cols, rows)) = terminal::size() else { return false };
        let mut model = Terminal::new(Size { cols, rows }.clamped(), 0);
        model.feed(screen);
        let text = model.screen_text(0, false);
        let last = text.split('\n').nth(usize::from(rows).saturating_sub(1)).unwrap_or_default();
        !model.is_alternate() && last.trim().is_empty()
    }

    fn until(&mut self, now: u64) -> u64 {
        *self.until.get_or_insert(now + NOTICE_MS)
    }

    fn was_covered(&mut self, now: u64) {
        if self.again > 0 {
            self.again_at = Some(now + HINT_PAUSE_MS);
        }
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.again_at
    }

    /// Is it to be said again now?
    fn is_due(&mut self, now: u64) -> bool {
        if self.again_at.is_none_or(|at| now < at) {
            return false;
        }
        (self.again_at, self.again) = (None, self.again.saturating_sub(1));
        self.until.is_none_or(|until| now < until)
    }
}

/// Is it said now that output was skipped? It was `told` then, and a key was `typed` then.
fn may_tell_of_skipped(told: Option<u64>, typed: Option<u64>, now: u64) -> bool {
    let past = |at: Option<u64>, ms: u64| at.is_none_or(|at| now >= at + ms);
    past(told, NOTICE_AGAIN_MS) && past(typed, NOTICE_AFTER_KEY_MS)
}

impl View<'_> {
    /// Says the way out again, over a screen that is fetched for that.
    pub(super) fn hint_again(&mut self) {
        let now = self.now();
        if self.hint.as_mut().is_some_and(|hint| hint.is_due(now)) && matches!(self.line, Line::Away) {
            self.core.redraw();
            self.flush_manager();
        }
    }

    /// Output for the terminal.
    pub(super) fn show(&mut self, bytes: &[u8], now: u64) {
        self.take_back();
        let asks = self.questions.sees_query(bytes);
        for query in asks.iter().flatten() {
            self.outstanding.cursor_reports =
                self.outstanding.cursor_reports.saturating_add(query.cursor_reports());
            (self.unanswered, self.asked_at) = (self.unanswered + 1, now);
        }
        match &mut self.line {
            Line::Notice(notice) if asks.is_none() && now < notice.holds_until => {
                notice.held.extend_from_slice(bytes);
            }
            _ => {
                if let Some(hint) = self.hint.as_mut().filter(|hint| self.line.says(&hint.text)) {
                    hint.was_covered(now);
                }
                self.unsay();
                terminal::pass(bytes, &mut self.to_terminal);
            }
        }
        if terminal::take_asked() {
            self.maybe_asked_at = Some(now);
        }
    }

    /// A whole screen for the terminal. `known`: it is of the byte up to which output was shown.
    pub(super) fn show_screen(&mut self, known: bool, skipped: u64, screen: Vec<u8>, now: u64) {
        self.questions = QueryScanner::default();
        if matches!(self.line, Line::Asked(_)) && known {
            // What the line will hide, to be drawn when it goes.
            self.line = Line::Shown { at: 0, beneath: screen };
            return;
        }
        if !self.plain || !known {
            terminal::pass_snapshot(&screen, &mut self.to_terminal);
        }
        let mut text = std::mem::take(&mut self.to_say);
        if self.asked_to_tell_at.is_some() {
            text = self.undelivered_told();
        }
        let (mut holds_until, mut until, mut row_is_blank) = (now, now + NOTICE_MS, false);
        if let Line::Notice(old) = std::mem::replace(&mut self.line, Line::Away) {
            (holds_until, until) = (old.holds_until, old.until);
            // The way out lies over a blank row only.
            if text.is_empty() && !(skipped > 0 && old.row_is_blank) {
                text = old.text;
            }
        }
        if skipped > 0 && may_tell_of_skipped(self.noticed_at, self.typed_at, now) {
            text = format!("{skipped} bytes of output were skipped, this is the newest");
            self.noticed_at = Some(now);
            (holds_until, until) = (now + NOTICE_HOLDS_MS, now + NOTICE_MS);
        }
        if text.is_empty()
            && let Some(hint) = &mut self.hint
        {
            if Hint::has_room(&screen) {
                (text, until, row_is_blank) = (hint.text.clone(), hint.until(now), true);
            } else {
                self.hint = None;
            }
        }
        if !text.is_empty() && now < until {
            self.draw_line(&format!(" sessd: {text}"));
            let beneath = screen;
            self.line =
                Line::Notice(Notice { text, holds_until, until, beneath, row_is_blank, held: Vec::new() });
        }
    }

    /// One line at the bottom while the path is broken. What is beneath it is fetched first: the manager has it, and the line
    /// must go without a trace.
    pub(super) fn say(&mut self) {
        let now = self.now();
        if self.asked.is_some() && self.lost.is_none() {
            return;
        }
        if matches!(&self.line, Line::Notice(notice) if now >= notice.ends_at()) {
            self.unsay();
        }
        let Some(trouble) = self.trouble(now) else {
            if matches!(self.line, Line::Asked(_) | Line::Shown { .. }) {
                self.unsay();
            }
            return;
        };
        self.take_back();
        // Somebody who could send us the screen.
        let answers = !self.plain && self.lost.is_none() && !matches!(trouble, Trouble::ManagerSilent { .. });
        match self.line {
            Line::Away if !answers => self.line = Line::Shown { at: 0, beneath: Vec::new() },
            Line::Away => {
                self.core.redraw();
                self.flush_manager();
                self.line = Line::Asked(now);
                return;
            }
            // A manager that was just started does not know the screen, and its host is out of reach.
            Line::Asked(at) if !answers || now >= at + SAY_AGAIN_MS => {
                self.line = Line::Shown { at: 0, beneath: Vec::new() }
            }
            Line::Shown { at, .. } if at == 0 || now >= at + SAY_AGAIN_MS => {}
            _ => return,
        }
        if let Line::Shown { at, .. } = &mut self.line {
            *at = now;
        }
        let facts = Facts {
            session: &self.label,
            host: &self.host,
            trouble,
            held: self.core.typed().waiting_keys(),
            lost: self.core.typed().lost(),
            refuses: self.core.typed().refuses(),
            read_only: self.request.read_only,
            leave: self.leave_key.as_deref(),
        };
        // A space at either end.
        let cols = terminal::size().map_or(80, |(cols, _)| usize::from(cols));
        let text = words::line(&facts, cols.saturating_sub(2).max(1), self.wide);
        self.draw_line(&format!(" {text}"));
        self.write_terminal(true);
    }

    fn draw_line(&mut self, text: &str) {
        if self.plain {
            // Line by line, and not each second.
            let said: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
            if self.plain_said != said {
                self.plain_said = said;
                let text = words::shown(text, self.wide);
                self.to_terminal.extend_from_slice(format!("\r\n[{}]\r\n", text.trim()).as_bytes());
            }
            return;
        }
        let (cols, rows) = terminal::size().unwrap_or((80, 24));
        let text = words::cut(&words::shown(text, self.wide), cols.into());
        // DECSC and DECRC around it: cursor, character sets and attributes are what they were.
        let line = format!(
            "\x1b7\x0f\x1b(B\x1b[?6l\x1b[r\x1b[?69l\x1b[4l\x1b[{rows};1H\x1b[0;7m{text}\x1b[K\x1b[0m\x1b8"
        );
        self.to_terminal.extend_from_slice(line.as_bytes());
    }

    /// The line goes as the view does. What is left of it is text in the user's terminal, so that nothing is drawn for a row in
    /// which nothing stood.
    pub(super) fn unsay_for_good(&mut self) {
        match &mut self.line {
            Line::Notice(notice) if notice.row_is_blank && notice.held.is_empty() && !self.plain => {
                self.line = Line::Away;
                let rows = terminal::size().map_or(24, |(_, rows)| rows);
                self.to_terminal.extend_from_slice(
                    format!("\x1b7\x1b[?6l\x1b[r\x1b[{rows};1H\x1b[0m\x1b[K\x1b8").as_bytes(),
                );
            }
            _ => self.unsay(),
        }
    }

    /// The line goes, and the screen is as if it had never been there.
    pub(super) fn unsay(&mut self) {
        match std::mem::replace(&mut self.line, Line::Away) {
            Line::Shown { .. } if self.plain => self.plain_said.clear(),
            Line::Notice(notice) if self.plain => {
                self.plain_said.clear();
                terminal::pass(&notice.held, &mut self.to_terminal);
            }
            Line::Shown { beneath, .. } if beneath.is_empty() => {
                let rows = terminal::size().map_or(24, |(_, rows)| rows);
                self.to_terminal.extend_from_slice(
                    format!("\x1b7\x1b[?6l\x1b[r\x1b[{rows};1H\x1b[0m\x1b[K\x1b8").as_bytes(),
                );
                self.core.redraw();
            }
            Line::Shown { beneath, .. } => terminal::pass_snapshot(&beneath, &mut self.to_terminal),
            Line::Notice(notice) => {
                terminal::pass_snapshot(&notice.beneath, &mut self.to_terminal);
                terminal::pass(&notice.held, &mut self.to_terminal);
            }
            Line::Away | Line::Asked(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_output_was_skipped_is_said_now_and_then_and_not_where_a_prompt_is_waited_for() {
        for (told, typed, now, says) in [
            (None, None, 0, true),
            (None, Some(1_000), 1_900, false),
            (None, Some(1_000), 3_000, true),
            (Some(1_000), None, 9_000, false),
            (Some(1_000), Some(30_500), 31_000, false),
            (Some(1_000), Some(9_000), 31_000, true),
        ] {
            assert_eq!(may_tell_of_skipped(told, typed, now), says, "{told:?}, {typed:?}, {now}");
        }
    }
}
