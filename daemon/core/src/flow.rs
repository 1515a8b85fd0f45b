//! How much of a job's output may be on its way at a time: what the way carries in a moment beyond its round trip, measured. What
//! is in flight is what an answer to Ctrl-C waits behind, and how old the screen is that is shown.
//!
//! Measured is what the answer to a ping takes that went on the session's own stream: it comes behind all output that was sent
//! before it, so it is as late as that output is. The least that one ever took is the way itself; what is more, output that waits.

use sessd_proto::limits::{HOLDER_RING, LINK_WINDOW};

/// What a stream begins with, and doubles within a few round trips where the line is fast. Little enough to be sent twice over a
/// slow one: a bypass takes over while what the first stream was granted is still on its way, and what is typed then is answered
/// behind both.
pub const WINDOW_FIRST: u64 = 8 * 1024;
/// The least: a screen.
pub const WINDOW_MIN: u64 = 16 * 1024;
/// A way that was ever so short is this machine, or the next room: what waits there waits for a processor, not for a line, and a
/// measure of that would skip output on a machine that is busy. In milliseconds, there and back.
const NEAR_MS: u64 = 5;
/// How long output may wait on its way, in milliseconds.
const QUEUE_MS: u64 = 100;
/// A way is measured no more often than that while little comes, in milliseconds.
const ASK_MS: u64 = 1_000;
/// A job is shown as it is now rather than what it wrote longer ago than that, in milliseconds, as far as the way tells.
const BACKLOG_MS: u64 = 500;
/// The least that a job may be ahead: a snapshot has to be the shorter way.
const LAG_MIN: u64 = 32 * 1024;
/// Nothing but the holder's ring bounds what a job is ahead on a way that carries so much in a second.
const FAST: u64 = HOLDER_RING as u64 / 4;
/// Lines of scrollback on a way of which little is known.
const LINES_UNKNOWN: u32 = 200;
/// Marks our pings among those of the session. A count of what was told never gets there.
const MARK: u64 = 1 << 63;

/// What a holder may skip of a job that writes faster than the way carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// Bytes that a job may be ahead of what was sent; beyond that its screen is sent instead.
    pub lag: u64,
    /// Lines of scrollback that such a screen comes with.
    pub lines: u32,
}

#[derive(Debug, Clone, Copy)]
struct ProbeSent {
    token: u64,
    at_ms: u64,
    received: u64,
    /// What had come since the one before, and when that was.
    came: u64,
    since_ms: u64,
    /// That was much.
    full: bool,
}

/// How much may be on its way on one stream.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    window: u64,
    /// What the way takes there and back when nothing waits on it.
    base_ms: Option<u64>,
    asked: Option<ProbeSent>,
    last: ProbeSent,
    /// It was too much once: from then on more is tried by small steps.
    found: bool,
    /// How often in a row output waited too long.
    slow: u32,
    skip: Option<Skip>,
}

impl Default for Flow {
    fn default() -> Self {
        let last = ProbeSent { token: MARK, at_ms: 0, received: 0, came: 0, since_ms: 0, full: false };
        Self { window: WINDOW_FIRST, base_ms: None, asked: None, last, found: false, slow: 0, skip: None }
    }
}

impl Flow {
    /// A new stream on the same way, as a bypass is. A ping of the stream before means nothing. What was sent on that one may
    /// still fill the line, so what the way itself takes is known from before; and a way that was slow counts as slow until it
    /// proves to be fast: what comes first is a screen, and may be long.
    pub fn begin(&mut self) {
        let Self { window, base_ms, found, skip, last: ProbeSent { token, .. }, .. } = *self;
        *self = Self { window: window.min(WINDOW_FIRST), base_ms, found, skip, ..Self::default() };
        self.last.token = token;
    }

    /// The way itself is gone; the next may be another, which takes what it takes.
    pub fn broke(&mut self) {
        self.begin();
        self.base_ms = None;
    }

    /// Bytes that may be on their way.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// What may be skipped; none: what the holder's ring has lost.
    pub fn skip(&self) -> Option<Skip> {
        self.skip
    }

    /// Lines of scrollback that a screen comes with in place of what was skipped: few until the way has proved to be fast, for
    /// all of them are ten seconds of a slow one. None: all.
    pub fn lines(&self) -> Option<u32> {
        let unknown = (self.window < LINK_WINDOW).then_some(LINES_UNKNOWN);
        self.skip.map(|skip| skip.lines.min(LINES_UNKNOWN)).or(unknown)
    }

    /// The token of a ping to send now, where one is worth it; `received`: bytes that came on this stream so far.
    pub fn ask(&mut self, now_ms: u64, received: u64) -> Option<u64> {
        let first = self.base_ms.is_none();
        let came = received.saturating_sub(self.last.received);
        let due = came >= self.window / 4 || (came > 0 && now_ms >= self.last.at_ms + ASK_MS);
        if self.asked.is_some() || !(first || due) {
            return None;
        }
        let full = came >= self.window / 4;
        let (token, since_ms) = ((self.last.token + 1) | MARK, self.last.at_ms);
        self.last = ProbeSent { token, at_ms: now_ms, received, came, since_ms, full };
        self.asked = Some(self.last);
        Some(self.last.token)
    }

    /// The answer to one. Whether the holder is to be told what may be skipped.
    pub fn answered(&mut self, token: u64, now_ms: u64, received: u64) -> bool {
        let Some(asked) = self.asked.take_if(|asked| asked.token == token) else { return false };
        let (before, lines) = (self.skip, self.lines());
        let took = now_ms.saturating_sub(asked.at_ms).max(1);
        let base = self.base_ms.map_or(took, |base| base.min(took));
        self.base_ms = Some(base);
        if base < NEAR_MS {
            (self.window, self.found, self.slow, self.skip) = (LINK_WINDOW, false, 0, None);
            return before.is_some() || lines.is_some();
        }
        let came = received.saturating_sub(asked.received);
        // A packet that is long holds the answer back with all that comes with it: then nothing seems to have come meanwhile.
        let both = (came + asked.came).saturating_mul(1_000) / now_ms.saturating_sub(asked.since_ms).max(1);
        let rate = both.max(came.saturating_mul(1_000) / took);
        if came < self.window / 4 && !asked.full {
            // Not our output is what it waited for; or there is none.
            self.slow = 0;
        } else if took > base + QUEUE_MS / 2 {
            // Half way to too much is enough: it is what the line carries.
            if took > base + QUEUE_MS {
                let carries = rate.saturating_mul(base + QUEUE_MS) / 1_000;
                self.window = carries.max(self.window / 2).clamp(WINDOW_MIN, self.window.max(WINDOW_MIN));
                self.found = true;
            }
            self.slow = self.slow.saturating_add(1);
            // Once may be a way that stood still: that carries what was written when it goes on.
            if self.slow >= 2 || self.skip.is_some() {
                self.skip = skip_at(rate);
            }
        } else {
            self.slow = 0;
            let more = if self.found { self.window / 4 } else { self.window };
            self.window = (self.window + more).min(LINK_WINDOW);
            if let (Some(skip), Some(now)) = (self.skip, skip_at(rate)) {
                self.skip = Some(if now.lag > skip.lag { now } else { skip });
            } else {
                self.skip = None;
            }
        }
        // What changes by little is not worth a word.
        if let (Some(old), Some(new)) = (before, self.skip)
            && new.lag.abs_diff(old.lag) < old.lag / 4
        {
            self.skip = before;
        }
        self.skip != before || self.lines().is_some() != lines.is_some()
    }
}

/// What may be skipped on a way that carries `rate` bytes a second.
fn skip_at(rate: u64) -> Option<Skip> {
    let lag = (rate.saturating_mul(BACKLOG_MS) / 1_000).max(LAG_MIN);
    // A tenth of a second's worth of lines of eighty characters.
    (rate < FAST).then(|| Skip { lag, lines: u32::try_from(rate / 800).unwrap_or(u32::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A way that carries `rate` bytes a second and takes `one_way` ms, a job that always has more, and a holder that sends what
    /// it may. What is in flight is counted each millisecond.
    struct SimulatedLine {
        rate: u64,
        one_way: u64,
        flow: Flow,
        sent: u64,
        granted: u64,
        received: u64,
        /// Ahead of the line, in order: bytes, or a pong.
        queue: VecDeque<Result<u64, u64>>,
        budget: u64,
        grants: VecDeque<(u64, u64)>,
        pings: VecDeque<(u64, u64)>,
        coming: VecDeque<(u64, Result<u64, u64>)>,
        ms: u64,
        /// How long the newest byte took that came.
        age: u64,
    }

    impl SimulatedLine {
        fn new(rate: u64, one_way: u64) -> Self {
            let mut flow = Flow::default();
            let granted = flow.window();
            let ping = flow.ask(0, 0).unwrap();
            let pings = VecDeque::from([(one_way, ping)]);
            SimulatedLine {
                rate,
                one_way,
                flow,
                sent: 0,
                granted,
                received: 0,
                queue: VecDeque::new(),
                budget: 0,
                grants: VecDeque::new(),
                pings,
                coming: VecDeque::new(),
                ms: 0,
                age: 0,
            }
        }

        fn step(&mut self, writes: bool) {
            self.ms += 1;
            while let Some((_, token)) = self.pings.pop_front_if(|(at, _)| *at <= self.ms) {
                self.queue.push_back(Err(token));
            }
            while let Some((_, total)) = self.grants.pop_front_if(|(at, _)| *at <= self.ms) {
                self.granted = self.granted.max(total);
            }
            if writes && self.granted > self.sent {
                self.queue.push_back(Ok(self.granted - self.sent));
                self.sent = self.granted;
            }
            self.budget = self.rate / 1_000;
            let at = self.ms + self.one_way;
            while let Some(first) = self.queue.front_mut() {
                match first {
                    Err(token) => self.coming.push_back((at, Err(*token))),
                    Ok(left) if *left > self.budget => {
                        self.coming.push_back((at, Ok(self.budget)));
                        *left -= self.budget;
                        break;
                    }
                    Ok(left) => {
                        self.budget -= *left;
                        self.coming.push_back((at, Ok(*left)));
                    }
                }
                self.queue.pop_front();
            }
            while let Some((_, what)) = self.coming.pop_front_if(|(at, _)| *at <= self.ms) {
                match what {
                    Ok(bytes) => self.received += bytes,
                    Err(token) => {
                        self.flow.answered(token, self.ms, self.received);
                    }
                }
                if let Some(token) = self.flow.ask(self.ms, self.received) {
                    self.pings.push_back((self.ms + self.one_way, token));
                }
                let total = self.received + self.flow.window();
                self.grants.push_back((self.ms + self.one_way, total));
            }
            let waiting: u64 = self.queue.iter().filter_map(|what| what.ok()).sum();
            self.age = self.one_way + waiting * 1_000 / self.rate;
        }
    }

    #[test]
    fn a_flood_on_a_slow_line_waits_for_less_than_half_a_second() {
        for (rate, one_way) in [(100_000, 50), (100_000, 5), (50_000, 20), (400_000, 100), (1_000_000, 150)] {
            let mut way = SimulatedLine::new(rate, one_way);
            // The first answer comes before all output: it was asked for before that was.
            for _ in 0..2 * one_way + 5 {
                way.step(false);
            }
            let (mut worst, mut first) = (0, 0);
            for ms in 0..20_000 {
                way.step(true);
                if ms > 3_000 + 4 * one_way {
                    worst = worst.max(way.age)
                } else {
                    first = first.max(way.age)
                };
            }
            assert!(worst <= one_way + 400, "{rate} B/s, {one_way} ms: {worst} ms");
            assert!(first <= one_way + 800, "{rate} B/s, {one_way} ms: {first} ms at first");
            let carried = way.received * 1_000 / way.ms;
            assert!(carried * 10 >= rate * 8, "{rate} B/s, {one_way} ms: only {carried} B/s");
            let skip = way.flow.skip().map(|skip| skip.lag * 1_000 / rate);
            if rate < FAST / 2 {
                assert!(skip.is_some_and(|ms| ms <= 700), "{rate} B/s, {one_way} ms: {skip:?} ms are kept");
            }
        }
    }

    #[test]
    fn a_fast_line_is_filled_and_nothing_is_skipped() {
        for one_way in [0, 1, 20] {
            let mut way = SimulatedLine::new(100_000_000, one_way);
            for _ in 0..1_000 {
                way.step(true);
            }
            assert_eq!((way.flow.window(), way.flow.skip()), (LINK_WINDOW, None), "{one_way} ms");
        }
    }

    #[test]
    fn a_line_that_is_not_the_bottleneck_carries_as_much_as_without_a_measure() {
        for (rate, one_way) in [(100_000_000, 3), (20_000_000, 10), (100_000_000, 40)] {
            let mut way = SimulatedLine::new(rate, one_way);
            for _ in 0..2 * one_way + 5 {
                way.step(false);
            }
            let round_trip = 2 * one_way;
            for _ in 0..8 * round_trip {
                way.step(true);
            }
            assert_eq!(way.flow.window(), LINK_WINDOW, "{rate} B/s, {one_way} ms: after eight round trips");
            let (from, ms) = (way.received, way.ms);
            for _ in 0..2_000 {
                way.step(true);
            }
            // What a full window carries, or the line if that is less; a grant is worth a quarter of one.
            let most = rate.min(LINK_WINDOW * 1_000 / (round_trip + 2));
            let carried = (way.received - from) * 1_000 / (way.ms - ms);
            assert!(carried * 10 >= most * 9, "{rate} B/s, {one_way} ms: {carried} of {most} B/s");
        }
    }

    #[test]
    fn a_busy_machine_far_away_skips_nothing_and_is_soon_as_fast_as_before() {
        let mut flow = Flow::default();
        let token = flow.ask(0, 0).unwrap();
        flow.answered(token, 20, 0);
        let (mut now, mut received, mut least) = (20, 0, LINK_WINDOW);
        for n in 0..200 {
            received += flow.window() / 4;
            let token = flow.ask(now, received).unwrap();
            // Each seventh answer waits for a processor; what was sent meanwhile came.
            now += if n % 7 == 6 { 120 } else { 22 };
            received += flow.window() * 3 / 4;
            flow.answered(token, now, received);
            assert_eq!(flow.skip(), None, "{n}");
            if n > 20 {
                least = least.min(flow.window());
            }
        }
        assert!(least >= LINK_WINDOW / 2, "{least}");
    }

    #[test]
    fn a_busy_machine_is_not_a_slow_line() {
        let mut flow = Flow::default();
        let token = flow.ask(0, 0).unwrap();
        assert!(flow.answered(token, 2, 0), "all of the scrollback is wanted now");
        for n in 1..10 {
            let token = flow.ask(n * 1_000, n * LINK_WINDOW / 4).unwrap();
            flow.answered(token, n * 1_000 + 400, n * LINK_WINDOW / 4 + 1);
        }
        assert_eq!((flow.window(), flow.skip(), flow.lines()), (LINK_WINDOW, None, None));
    }

    #[test]
    fn a_line_that_stood_still_for_once_is_not_slow() {
        let mut flow = Flow::default();
        let token = flow.ask(0, 0).unwrap();
        assert!(!flow.answered(token, 20, 0));
        let token = flow.ask(30, 64 * 1024).unwrap();
        assert_eq!(flow.ask(31, 128 * 1024), None, "one at a time");
        assert!(!flow.answered(token, 9_000, 128 * 1024));
        assert_eq!(flow.skip(), None);
        let token = flow.ask(9_001, 200 * 1024).unwrap();
        assert!(!flow.answered(token, 9_021, 300 * 1024));
        assert_eq!((flow.slow, flow.skip()), (0, None));
    }

    #[test]
    fn a_bypass_that_begins_behind_a_full_line_is_not_far_away() {
        let mut flow = Flow::default();
        let token = flow.ask(0, 0).unwrap();
        flow.answered(token, 110, 0);
        // What the stream before has sent fills the line; the answers come in packets with all that follows them.
        flow.begin();
        let mut now = 150;
        let mut received = 0;
        for _ in 0..4 {
            received += flow.window();
            let token = flow.ask(now, received).unwrap();
            now += 450;
            flow.answered(token, now, received);
        }
        assert_eq!((flow.base_ms, flow.window()), (Some(110), WINDOW_MIN));
        assert!(flow.skip().is_some_and(|skip| skip.lag <= 64 * 1024), "{:?}", flow.skip());
    }

    #[test]
    fn an_answer_to_a_ping_of_another_stream_means_nothing() {
        let mut flow = Flow::default();
        let old = flow.ask(0, 0).unwrap();
        flow.broke();
        let new = flow.ask(1_000, 0).unwrap();
        assert_ne!(old, new);
        flow.answered(old, 1_001, 0);
        assert_eq!(flow.base_ms, None);
        flow.answered(new, 1_040, 0);
        assert_eq!(flow.base_ms, Some(40));
        assert_eq!(flow.ask(1_050, 0), None, "nothing came: nothing is asked");
        assert_eq!(flow.ask(1_060, 10), None);
        assert!(flow.ask(2_100, 10).is_some());
    }
}
