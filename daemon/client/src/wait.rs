//! What a script waits for, and whether it is so. Pure: whoever waits hands in what it sees of the session.
//!
//! ```text
//!  waiting ──▶ met        what was asked for is so, or has come anew where only that counts
//!     ├──────▶ ended      the job did, before that
//!     └──────▶ gone       the session was deleted
//! ```
//!
//! A text is looked for on the screen, and in the rows that left it since the last look: what scrolls by in one piece of
//! output is found too. A line is looked at as a person sees it and as it was written, with the blank behind a prompt. Patterns are bounded: the engine takes time in proportion to the text, whatever the pattern, and a
//! pattern that would need much memory is refused.

use regex::{Regex, RegexBuilder};
use sessd_proto::docs::EndDoc;
use sessd_terminal::Terminal;

/// Memory of a compiled pattern, in bytes.
const PATTERN_BYTES: usize = 1 << 20;
/// Longest pattern or text, in bytes.
const PATTERN_MAX: usize = 4096;

/// What is waited for.
#[derive(Debug, Clone)]
pub enum Until {
    /// The job has ended.
    Exit,
    /// It is done or quiet.
    Idle,
    /// It works.
    Working,
    /// It waits for a person.
    Waiting,
    /// A text is on the screen.
    Text(Pattern),
    /// It writes anything.
    Changed,
}

/// A text that is looked for.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// As it is.
    Literal(String),
    /// A regular expression.
    Regex(Regex),
}

impl Pattern {
    /// Is it in a text without the blanks at its lines' ends, or in the same text as it was `written`?
    fn is_in(&self, text: &str, written: impl FnOnce() -> String) -> bool {
        let is_in = |text: &str| match self {
            Self::Literal(literal) => text.contains(literal.as_str()),
            Self::Regex(regex) => regex.is_match(text),
        };
        is_in(text) || is_in(&written())
    }
}

/// Why a text cannot be waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// No text at all.
    #[error("an empty text is on every screen")]
    Empty,
    /// A text of more than [`PATTERN_MAX`] bytes, or a pattern that would need too much memory.
    #[error("the text is too long to be waited for")]
    TooLong,
    /// Not a regular expression; the sentence says why.
    #[error("the pattern is no regular expression: {0}")]
    NoRegex(String),
}

impl Until {
    /// What `word` says: one of `exit`, `idle`, `working`, `waiting`, or else a text, a regular expression if `regex`. Without
    /// a word it is any output if `changed`, else the end.
    ///
    /// # Errors
    /// When the text cannot be waited for.
    pub fn named(word: Option<&str>, regex: bool, changed: bool) -> Result<Self, Wrong> {
        Ok(match word {
            None if changed => Self::Changed,
            None => Self::Exit,
            Some("") => return Err(Wrong::Empty),
            Some(text) if text.len() > PATTERN_MAX => return Err(Wrong::TooLong),
            Some(pattern) if regex => Self::Text(Pattern::Regex(compiled(pattern)?)),
            Some("exit") => Self::Exit,
            Some("idle") => Self::Idle,
            Some("working") => Self::Working,
            Some("waiting") => Self::Waiting,
            Some(text) => Self::Text(Pattern::Literal(text.to_owned())),
        })
    }

    /// Is it about what the job is doing?
    pub fn is_activity(&self) -> bool {
        matches!(self, Self::Idle | Self::Working | Self::Waiting)
    }

    /// Does whoever waits need the job's output?
    pub fn needs_output(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Changed)
    }

    /// For people: what did not come.
    pub fn words(&self) -> String {
        match self {
            Self::Exit => "it ended".to_owned(),
            Self::Idle => "it was idle".to_owned(),
            Self::Working => "it worked".to_owned(),
            Self::Waiting => "it waited for anybody".to_owned(),
            Self::Text(Pattern::Literal(text)) => format!("its screen showed `{text}`"),
            Self::Text(Pattern::Regex(regex)) => format!("its screen showed anything like `{regex}`"),
            Self::Changed => "it wrote anything".to_owned(),
        }
    }
}

fn compiled(pattern: &str) -> Result<Regex, Wrong> {
    let built = RegexBuilder::new(pattern)
        .multi_line(true)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(100)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Wrong::TooLong,
        // The engine draws an arrow under the place: its last line is the sentence.
        error => {
            let text = error.to_string();
            Wrong::NoRegex(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
    })
}

/// What came of waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What was waited for is so.
    Met,
    /// The job ended, and that was not it.
    Ended(EndDoc),
    /// The session is deleted.
    Gone,
}

/// What is seen of the session.
#[derive(Debug, Clone, Copy)]
pub enum Observed<'a> {
    /// Its model stands here after output, which counts as new, or after a screen that was there before.
    Screen {
        /// The model.
        model: &'a Terminal,
        /// It came since the waiting began.
        new: bool,
    },
    /// What it is doing, by the contract's word, and since when, in milliseconds of one clock.
    Doing(&'a str, i64),
    /// How its job ended.
    Ended(&'a EndDoc),
    /// It is deleted.
    Gone,
}

/// Somebody who waits.
#[derive(Debug, Clone)]
pub struct Wait {
    until: Until,
    /// Only what comes anew counts.
    changed: bool,
    /// Rows that had left the screen at the last look.
    scrolled: Option<usize>,
    /// What it was doing when the waiting began.
    first: Option<(bool, i64)>,
}

impl Wait {
    /// Begins to wait. `changed`: what is so already does not count.
    pub fn new(until: Until, changed: bool) -> Self {
        Self { until, changed, scrolled: None, first: None }
    }

    /// What is waited for.
    pub fn until(&self) -> &Until {
        &self.until
    }

    /// Looks at what is seen. `None`: it is waited on.
    pub fn look(&mut self, seen: Observed<'_>) -> Option<Outcome> {
        let met = match (seen, &self.until) {
            (Observed::Ended(_), Until::Exit) => true,
            (Observed::Ended(end), _) => return Some(Outcome::Ended(end.clone())),
            (Observed::Gone, _) => return Some(Outcome::Gone),
            (Observed::Screen { new, .. }, Until::Changed) => new,
            (Observed::Screen { model, new }, Until::Text(pattern)) => {
                let now = model.scrollback_len();
                let rows = self.scrolled.replace(now).map_or(0, |before| now.saturating_sub(before));
                (new || !self.changed)
                    && pattern.is_in(&model.screen_text(rows, true), || model.written_text(rows))
            }
            (Observed::Doing(word, since), until) if until.is_activity() => {
                let is = match until {
                    Until::Idle => matches!(word, "done" | "quiet"),
                    Until::Working => word == "working",
                    _ => word == "waiting",
                };
                let (was, first_since) = *self.first.get_or_insert((is, since));
                if !is {
                    // From here on it comes anew.
                    self.first = Some((false, since));
                }
                is && (!self.changed || !was || since > first_since)
            }
            (Observed::Screen { .. } | Observed::Doing(..), _) => false,
        };
        met.then_some(Outcome::Met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::docs::Reason;
    use sessd_terminal::Size;

    fn model(text: &str) -> Terminal {
        let mut model = Terminal::new(Size { cols: 20, rows: 3 }, 100);
        model.feed(text.as_bytes());
        model
    }

    fn text(pattern: &str, regex: bool, changed: bool) -> Wait {
        Wait::new(Until::named(Some(pattern), regex, changed).unwrap(), changed)
    }

    fn end() -> EndDoc {
        EndDoc { reason: Reason::Exited.into(), code: Some(3), signal: None, at: String::new(), detail: None }
    }

    #[test]
    fn a_text_is_found_on_the_screen_across_a_broken_line_and_in_what_scrolled_by() {
        let met = |wait: &mut Wait, model: &Terminal, new| {
            wait.look(Observed::Screen { model, new }) == Some(Outcome::Met)
        };
        for (pattern, regex, screen, want) in [
            ("ready", false, "server ready", true),
            ("Ready", false, "server ready", false),
            ("a.c", false, "abc", false),
            ("a.c", true, "abc", true),
            ("^b$", true, "a\r\nb\r\nc", true),
            ("0123456789abcdefghijKL", false, "0123456789abcdefghijKL", true),
            ("working", true, "working", true),
            // A prompt ends with a blank, and somebody waits for it with or without.
            ("$ ", false, "$ ", true),
            (r"\$ $", true, "$ ", true),
            (r"\$$", true, "$ ", true),
            ("name? ", false, "name? ", true),
            ("$ ", false, "$", false),
            (r"^\$ $", true, "$ ls\r\n1", false),
        ] {
            assert_eq!(met(&mut text(pattern, regex, false), &model(screen), false), want, "{pattern}");
        }
        let mut wait = text("needle", false, false);
        let mut screen = model("");
        assert!(!met(&mut wait, &screen, false));
        screen.feed(b"needle\r\n1\r\n2\r\n3\r\n4");
        assert!(met(&mut wait, &screen, true), "it left the screen in the same piece");
        // What had scrolled away before the waiting began is not on the screen.
        assert!(!met(&mut text("needle", false, false), &screen, false));
        let mut wait = text("needle", false, true);
        assert!(!met(&mut wait, &model("needle"), false), "it was there before");
        assert!(met(&mut wait, &model("needle"), true));
    }

    #[test]
    fn what_the_job_does_is_waited_for_by_its_word() {
        let wait = |word, changed| Wait::new(Until::named(Some(word), false, changed).unwrap(), changed);
        let met =
            |wait: &mut Wait, word, since| wait.look(Observed::Doing(word, since)) == Some(Outcome::Met);
        for (until, doing, want) in [
            ("idle", "done", true),
            ("idle", "quiet", true),
            ("idle", "waiting", false),
            ("idle", "secret", false),
            ("idle", "working", false),
            ("working", "working", true),
            ("waiting", "waiting", true),
            ("waiting", "done", false),
            ("exit", "done", false),
        ] {
            assert_eq!(met(&mut wait(until, false), doing, 1), want, "{until} {doing}");
        }
        let mut anew = wait("idle", true);
        assert!(!met(&mut anew, "done", 1), "it was so already");
        assert!(!met(&mut anew, "done", 1));
        assert!(met(&mut anew.clone(), "done", 2), "it worked in between, too short to be seen");
        assert!(!met(&mut anew, "working", 3));
        assert!(met(&mut anew, "done", 4));
    }

    #[test]
    fn an_end_is_what_was_waited_for_or_says_why_it_never_comes() {
        let mut exit = Wait::new(Until::named(None, false, false).unwrap(), false);
        assert_eq!(exit.look(Observed::Ended(&end())), Some(Outcome::Met));
        assert_eq!(exit.look(Observed::Gone), Some(Outcome::Gone));
        let mut other = text("x", false, false);
        assert_eq!(other.look(Observed::Ended(&end())), Some(Outcome::Ended(end())));
        let mut any = Wait::new(Until::named(None, false, true).unwrap(), true);
        assert_eq!(any.look(Observed::Screen { model: &model("x"), new: false }), None);
        assert_eq!(any.look(Observed::Screen { model: &model("x"), new: true }), Some(Outcome::Met));
    }

    #[test]
    #[allow(clippy::disallowed_types, reason = "what a pattern may cost is bounded in time")]
    fn a_pattern_that_would_take_for_ever_is_bounded_or_refused() {
        assert_eq!(
            Until::named(Some("((a{0,500}){0,500}){0,500}"), true, false).unwrap_err(),
            Wrong::TooLong
        );
        assert!(
            matches!(Until::named(Some("("), true, false), Err(Wrong::NoRegex(why)) if why.contains("unclosed"))
        );
        assert_eq!(Until::named(Some(""), false, false).unwrap_err(), Wrong::Empty);
        assert_eq!(Until::named(Some(&"x".repeat(5000)), false, false).unwrap_err(), Wrong::TooLong);
        // What takes other engines for ever.
        let mut model = Terminal::new(Size { cols: 1000, rows: 160 }, 0);
        model.feed("a".repeat(160_000).as_bytes());
        let began = std::time::Instant::now();
        assert_eq!(
            text("(a*)*(a|a)*b", true, false).look(Observed::Screen { model: &model, new: true }),
            None
        );
        assert!(began.elapsed().as_secs() < 10);
    }
}
