//! What the job asked its terminal while a view was there to answer, and has not been answered. When the last such view
//! leaves before it answered, the holder does. Pure: time is an argument, in milliseconds.

use crate::machine::input::without;
use sessd_terminal::{Outstanding, Query, QueryScanner, ReplyFilter};
use std::collections::VecDeque;
use std::ops::Range;

/// Questions remembered; a program that asks more at once gets no answer to the oldest.
const WAITING_MAX: usize = 64;
/// Who waits longer for an answer has given up.
const FRESH_MS: u64 = 5_000;

/// Questions without an answer.
#[derive(Debug, Default)]
pub struct OutstandingQueries {
    scanner: QueryScanner,
    answers: ReplyFilter,
    waiting: VecDeque<(Query, u64)>,
}

impl OutstandingQueries {
    /// Output passed on to a view that answers. Gives what no view's terminal can answer: that is for the holder, at once.
    pub fn output(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Query> {
        let mut ours = Vec::new();
        for query in self.scanner.sees_query(bytes).into_iter().flatten() {
            if query.is_of_the_session() {
                ours.push(query);
                continue;
            }
            if self.waiting.len() == WAITING_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back((query, now_ms));
        }
        ours
    }

    /// Input of a view: the answers in it are to the questions asked first, but for those that are passed over, which are to
    /// none of them.
    pub fn input(&mut self, bytes: &[u8], passed_over: &[Range<usize>]) {
        if self.waiting.is_empty() {
            return;
        }
        let kept;
        let bytes = if passed_over.is_empty() {
            bytes
        } else {
            kept = without(bytes, passed_over);
            &kept
        };
        let mut keys = Vec::new();
        let reports = self.waiting.iter().map(|(query, _)| query.cursor_reports()).sum();
        self.answers.filter(bytes, &mut Outstanding { cursor_reports: reports }, &mut keys);
        for _ in 0..answers(bytes).saturating_sub(answers(&keys)) {
            self.waiting.pop_front();
        }
    }

    /// Nobody answers any more: what the holder has to answer itself.
    pub fn left(&mut self, now_ms: u64) -> Vec<Query> {
        (self.scanner, self.answers) = Default::default();
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .filter(|(_, at)| now_ms.saturating_sub(*at) < FRESH_MS)
            .map(|(query, _)| query)
            .collect()
    }
}

/// How many sequences begin in `bytes`: each ESC but those of a string's end.
fn answers(bytes: &[u8]) -> usize {
    let escapes = bytes.iter().filter(|b| **b == 0x1b).count();
    escapes - bytes.windows(2).filter(|w| w == b"\x1b\\").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_was_not_answered_before_the_view_left_is_ours() {
        let mut asked = OutstandingQueries::default();
        asked.output(b"text \x1b[c and \x1b]11;?\x1b\\ and \x1b[", 0);
        asked.output(b"6n", 0);
        asked.input(b"ls\x1b[A", &[]);
        asked.input(b"\x1b[?62;22c", &[]);
        assert_eq!(asked.left(10), [Query::DynamicColor(11), Query::CursorPosition]);
        assert_eq!(asked.left(10), [], "once");
    }

    #[test]
    fn what_a_view_left_unanswered_is_not_answered_in_its_own_words() {
        let mut asked = OutstandingQueries::default();
        asked.output(
            b"\x1b]52;\necho PWNED > /tmp/pwned\n;?\x07\x1bP+q\nls\n;544e\x1b\\\x1bP$q\nls\n\x1b\\",
            0,
        );
        let hub = sessd_terminal::Hub::new(sessd_terminal::Size { cols: 80, rows: 24 }, 0, 1024);
        let mut replies = Vec::new();
        asked.left(10).iter().for_each(|query| hub.answer(query, &mut replies));
        assert_eq!(replies, b"\x1b]52;cp;\x1b\\\x1bP0+r;544e\x1b\\\x1bP0$r\x1b\\");
    }

    #[test]
    fn what_no_terminal_can_answer_is_ours_though_a_view_is_there() {
        let mut asked = OutstandingQueries::default();
        let ours = asked.output(b"\x1b[?2048$p\x1b[?2004$p\x1b[?2027$p\x1b[?2031$p", 0);
        assert_eq!(ours, [2048, 2027, 2031].map(Query::PrivateMode));
        assert_eq!(asked.left(10), [Query::PrivateMode(2004)]);
    }

    #[test]
    fn who_waited_too_long_has_given_up() {
        let mut asked = OutstandingQueries::default();
        asked.output(b"\x1b[c", 0);
        assert_eq!(asked.left(FRESH_MS), []);
    }

    #[test]
    fn an_answer_with_a_string_end_counts_once() {
        let mut asked = OutstandingQueries::default();
        asked.output(b"\x1b]11;?\x1b\\\x1b[6n\x1b[5n", 0);
        asked.input(b"\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[2;5R", &[]);
        assert_eq!(asked.left(0), [Query::Status]);
    }
}
