//! What reaches the screen: the job's output, and the one line at the bottom that is ours.

use super::{SAY_AGAIN_MS, View};
use crate::view::terminal;
use crate::view::words::{self, Facts, Trouble};
use sessd_terminal::QueryScanner;

/// How long a notice is shown, and for how long of that the output waits beneath it; a key ends both.
const NOTICE_MS: u64 = 4_000;
const NOTICE_HOLDS_MS: u64 = 1_500;
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
    held: Vec<u8>,
}

impl Notice {
    pub(super) fn ends_at(&self) -> u64 {
        if self.held.is_empty() { self.until } else { self.holds_until }
    }
}

/// Is it said now that output was skipped? It was `told` then, and a key was `typed` then.
fn may_tell_of_skipped(told: Option<u64>, typed: Option<u64>, now: u64) -> bool {
    let past = |at: Option<u64>, ms: u64| at.is_none_or(|at| now >= at + ms);
    past(told, NOTICE_AGAIN_MS) && past(typed, NOTICE_AFTER_KEY_MS)
}

impl View<'_> {
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
        let (mut holds_until, mut until) = (now, now + NOTICE_MS);
        if let Line::Notice(old) = std::mem::replace(&mut self.line, Line::Away) {
            (holds_until, until) = (old.holds_until, old.until);
            if text.is_empty() {
                text = old.text;
            }
        }
        if skipped > 0 && may_tell_of_skipped(self.noticed_at, self.typed_at, now) {
            text = format!("{skipped} bytes of output were skipped, this is the newest");
            self.noticed_at = Some(now);
            (holds_until, until) = (now + NOTICE_HOLDS_MS, now + NOTICE_MS);
        }
        if !text.is_empty() && now < until {
            self.draw_line(&format!(" sessd: {text}"));
            self.line = Line::Notice(Notice { text, holds_until, until, beneath: screen, held: Vec::new() });
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
