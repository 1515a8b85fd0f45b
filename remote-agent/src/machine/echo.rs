//! The echo of what is typed, for views that show it before it is there. A view that foretells what a key will show needs to
//! know two things that only the owner of a PTY knows: by what output a guess is to be judged, and whether the terminal shows
//! at all what is typed. Pure: the holder hands in what was written, how the terminal stands, and the time.
//!
//! What a program makes of a key comes a moment after the key. So a view is told of its input [`Echoes::SETTLE_MS`] after it
//! was written, with the offset of the output up to then. How the terminal takes what is typed is looked at with each write,
//! each output and each of these words, and told when it changes.

use sessd_proto::{Frame, Uuid};
use std::collections::VecDeque;

/// How a terminal takes what is typed: two flags of its line discipline (termios(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discipline {
    /// `ECHO`: it shows it.
    pub echo: bool,
    /// `ICANON`: line by line.
    pub lines: bool,
}

/// Input that was written, and when its echo counts as complete.
#[derive(Debug)]
struct Waiting {
    view: Uuid,
    seq: u64,
    due_ms: u64,
}

/// What views that predict are to be told.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// Somebody predicts.
    wanted: bool,
    waiting: VecDeque<Waiting>,
    discipline: Option<Discipline>,
    /// It is another than was told, or was not told to somebody.
    untold: bool,
    /// How the terminal stands was asked and not answered.
    asked: bool,
    /// What is due at this time is told now.
    tell_at: Option<u64>,
}

impl Echoes {
    /// How long after it was written what a key brought counts as complete, in milliseconds: as long as mosh gives it.
    pub(super) const SETTLE_MS: u64 = 50;
    /// Words that wait at the most. Nobody types so fast: what more comes is told with the last.
    const WAITING_MAX: usize = 64;

    /// Whether any view predicts. One that comes anew is told how the terminal stands.
    pub(super) fn wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if wanted {
            self.untold = true;
        } else {
            *self = Self::default();
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Input of a view was written before `seq`.
    pub(super) fn wrote(&mut self, view: Uuid, seq: u64, now_ms: u64) {
        if !self.wanted {
            return;
        }
        let (due_ms, full) = (now_ms + Self::SETTLE_MS, self.waiting.len() >= Self::WAITING_MAX);
        match self.waiting.iter_mut().rev().find(|waiting| waiting.view == view) {
            // In one go with the one before, or too many.
            Some(last) if last.due_ms == due_ms => last.seq = seq,
            Some(last) if full => (last.seq, last.due_ms) = (seq, due_ms),
            _ if full => {}
            _ => self.waiting.push_back(Waiting { view, seq, due_ms }),
        }
    }

    /// How the terminal stands.
    pub(super) fn stands(&mut self, discipline: Discipline, now_ms: u64) {
        if self.wanted {
            self.untold |= self.discipline.replace(discipline) != Some(discipline);
            if std::mem::take(&mut self.asked) {
                self.tell_at = Some(now_ms);
            }
        }
    }

    /// Is it to be asked how the terminal stands, because something is to be told? `settled`: all that the job wrote is known.
    /// Where it is not, what is due waits a little longer.
    pub(super) fn asks(&mut self, settled: bool, now_ms: u64) -> bool {
        let first = self.wanted && self.discipline.is_none();
        let due = self.due_ms().is_some_and(|at| now_ms >= at);
        if due && !settled {
            for waiting in &mut self.waiting {
                waiting.due_ms = waiting.due_ms.max(now_ms + Self::SETTLE_MS / 2);
            }
        }
        (first || (due && settled)) && !std::mem::replace(&mut self.asked, true)
    }

    /// When something is due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        // The oldest may have been put off.
        self.waiting.iter().map(|waiting| waiting.due_ms).min().filter(|_| !self.asked)
    }

    /// Tells a link about those of its views. All links are told before [`Self::told`].
    pub(super) fn put(&self, views: &[Vec<u8>], head: u64, mut put: impl FnMut(&Frame<'_>)) {
        let Some(Discipline { echo, lines }) = self.discipline else { return };
        for view in views.iter().filter_map(|id| Uuid::from_slice(id).ok()) {
            let due = |waiting: &&Waiting| {
                waiting.view == view && self.tell_at.is_some_and(|now| now >= waiting.due_ms)
            };
            let seq = self.waiting.iter().filter(due).map(|waiting| waiting.seq).max();
            if seq.is_some() || self.untold {
                put(&Frame::Echoed { view, seq: seq.unwrap_or(0), offset: head, echo, lines });
            }
        }
    }

    /// Every link was told.
    pub(super) fn told(&mut self) {
        if self.discipline.is_some() {
            self.untold = false;
        }
        if let Some(now_ms) = self.tell_at.take() {
            self.waiting.retain(|waiting| now_ms < waiting.due_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Discipline = Discipline { echo: true, lines: true };
    const HIDDEN: Discipline = Discipline { echo: false, lines: true };

    fn told(echoes: &mut Echoes, views: &[Uuid], head: u64) -> Vec<(u128, u64, u64, bool)> {
        let ids: Vec<Vec<u8>> = views.iter().map(|view| view.as_bytes().to_vec()).collect();
        let mut told = Vec::new();
        echoes.put(&ids, head, |frame| {
            let Frame::Echoed { view, seq, offset, echo, .. } = frame else { panic!("{frame:?}") };
            told.push((view.as_u128(), *seq, *offset, *echo));
        });
        echoes.told();
        told
    }

    #[test]
    fn a_view_is_told_of_its_echo_once_it_is_complete_and_of_the_flag_at_once() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut echoes = Echoes::default();
        echoes.wrote(one, 1, 0);
        assert_eq!((echoes.due_ms(), echoes.asks(true, 0)), (None, false), "nobody wants it");
        echoes.wanted(true);
        assert!(echoes.asks(true, 0) && !echoes.asks(true, 0), "asked once");
        assert!(told(&mut echoes, &[one], 0).is_empty(), "nothing is known yet");
        echoes.stands(SHOWN, 0);
        assert_eq!(told(&mut echoes, &[one, two], 7), [(1, 0, 7, true), (2, 0, 7, true)]);
        echoes.wrote(one, 1, 100);
        echoes.wrote(one, 2, 120);
        echoes.stands(SHOWN, 120);
        assert!(told(&mut echoes, &[one], 9).is_empty(), "not before its time, and the flag is the same");
        assert_eq!(echoes.due_ms(), Some(150));
        assert!(echoes.asks(true, 150));
        echoes.stands(SHOWN, 150);
        assert_eq!(told(&mut echoes, &[one, two], 9), [(1, 1, 9, true)]);
        // Where not all that the job wrote is known, it is waited for.
        assert!(!echoes.asks(false, 170));
        assert_eq!(echoes.due_ms(), Some(195));
        echoes.stands(HIDDEN, 180);
        assert_eq!(told(&mut echoes, &[one], 9), [(1, 0, 9, false)], "a flag waits for nothing");
        assert!(echoes.asks(true, 195));
        echoes.stands(HIDDEN, 195);
        assert_eq!(told(&mut echoes, &[one], 12), [(1, 2, 12, false)]);
        assert_eq!(echoes.due_ms(), None);
    }

    #[test]
    fn however_much_is_typed_what_waits_is_bounded_and_its_end_is_told() {
        let view = Uuid::from_u128(1);
        let mut echoes = Echoes::default();
        echoes.wanted(true);
        for at in 0..1_000 {
            echoes.wrote(view, at + 1, at);
        }
        assert_eq!(echoes.waiting.len(), Echoes::WAITING_MAX);
        assert!(echoes.asks(true, 2_000));
        echoes.stands(SHOWN, 2_000);
        assert_eq!(told(&mut echoes, &[view], 5), [(1, 1_000, 5, true)]);
        echoes.wanted(false);
        assert_eq!((echoes.due_ms(), echoes.is_wanted()), (None, false));
    }
}
