//! Jobs without a terminal (`sessd run`): their input ends, their output is not lost to whoever reads it, and they may be ended
//! after a time.

use super::{Effect, HolderMachine, Now};
use sessd_proto::Uuid;
use sessd_proto::limits::HOLDER_RING;
use sessd_proto::messages::EndReason;

/// How far a plain job may be ahead of what was sent to whoever reads it. What was sent and did not arrive is asked for again:
/// the ring still has it.
const AHEAD_MAX: u64 = HOLDER_RING as u64 / 2;
/// How long it waits for a reader that was lost with its link, in milliseconds.
const EXPECTED_MS: u64 = 15 * 60_000;

/// What is special about a plain job.
#[derive(Debug)]
pub(super) struct Plain {
    /// Whose input ends, and after how many bytes.
    input_end: Option<(Uuid, u64)>,
    /// How far whoever is to miss nothing was sent its output, and until when one is waited for.
    read_to: u64,
    reader_until_ms: u64,
    /// One was there.
    was_read: bool,
    /// It waits for its reader.
    pub(super) waits: bool,
}

impl Plain {
    pub(super) fn new(now: Now) -> Self {
        Self {
            input_end: None,
            read_to: 0,
            reader_until_ms: now.ms + EXPECTED_MS,
            was_read: false,
            waits: false,
        }
    }

    /// The last reader left on purpose: it does not come back.
    pub(super) fn no_reader_is_expected(&mut self) {
        self.reader_until_ms = 0;
    }

    /// The input of a view ends after so many bytes.
    pub(super) fn input_ends(&mut self, view: Uuid, seq: u64) {
        self.input_end = Some((view, seq));
    }
}

impl HolderMachine {
    /// Looks how far those that are to miss nothing have been sent, and whether the job has to wait for them.
    pub(super) fn look_at_readers(&mut self, now: Now) {
        if !self.job.spec.plain {
            return;
        }
        for offset in self.links.iter().filter_map(super::ManagerLink::reads_all_to) {
            self.plain.read_to = self.plain.read_to.max(offset);
            self.plain.reader_until_ms = now.ms + EXPECTED_MS;
            self.plain.was_read = true;
        }
        let ahead = self.hub.head().saturating_sub(self.plain.read_to) > AHEAD_MAX;
        self.plain.waits = ahead && now.ms < self.plain.reader_until_ms;
    }

    /// May its end be told? Of one that ends before anybody could come, not before somebody has: with the end goes what it
    /// wrote.
    pub(super) fn may_tell_plain_end(&self, now: Now) -> bool {
        !self.job.spec.plain || self.plain.was_read || now.ms >= self.plain.reader_until_ms
    }

    /// Its input ends once all of it is written.
    pub(super) fn end_input_when_due(&mut self) {
        if let Some((view, seq)) = self.plain.input_end
            && (seq == 0 || self.input.written(view).is_some_and(|written| written >= seq))
        {
            self.plain.input_end = None;
            self.effects.push_back(Effect::EndInput);
        }
    }

    /// When it has run as long as it may.
    pub(super) fn run_until_ms(&self) -> Option<u64> {
        self.job.spec.run_for_ms.filter(|_| self.ending.is_none() && self.ended.is_none())
    }

    pub(super) fn end_what_ran_too_long(&mut self, now: Now) {
        if let Some(ms) = self.run_until_ms().filter(|ms| now.ms >= *ms) {
            self.end(EndReason::Deleted, false, "", now);
            // As a decimal, without the code that can print any.
            let seconds = format!("{}.{:03}", ms / 1000, ms % 1000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            self.ended_by = format!("ended when its time was up, after {seconds} s");
        }
    }
}
