//! One end of a channel: a byte stream beside a job's terminal, whose bytes have offsets, so that nothing is lost or doubled
//! over a path that breaks. Both ends are this, and neither touches a socket.
//!
//! ```text
//!  socket ──▶ [kept until the other end passed it on] ─ ─ ─ ▶ [what came, not yet written] ──▶ socket
//!         read                                   frames  data                           writable
//! ```
//!
//! An end of the stream counts as one more byte: it is kept, sent again and acknowledged as bytes are.

use crate::Frame;
use crate::limits::{CHANNEL_WINDOW, CHUNK};

/// What the other end did that none does. It ends the channel and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than the window.
    #[error("more was sent than may be on its way")]
    Beyond,
    /// Bytes are missing.
    #[error("some of it was left out")]
    Gap,
    /// Bytes after the end, or another end than before.
    #[error("it goes on behind its end")]
    PastEnd,
    /// What was never sent is said to have come.
    #[error("more came than was sent")]
    Unsent,
}

/// Bytes by offset, the first of which may be let go of.
#[derive(Debug, Default)]
struct Run {
    bytes: Vec<u8>,
    /// Bytes at the beginning that were let go of.
    gone: usize,
    /// Offset of the first that is held.
    start: u64,
}

impl Run {
    fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    fn from(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes[self.gone..].get(at..).unwrap_or_default()
    }

    fn drop_to(&mut self, offset: u64) {
        let n = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.len());
        (self.gone, self.start) = (self.gone + n, self.start + n as u64);
        if self.gone == self.bytes.len() {
            self.bytes.clear();
            self.gone = 0;
            // One that was busy once does not keep its room for days.
            self.bytes.shrink_to(CHUNK);
        } else if self.gone > CHUNK {
            self.bytes.drain(..self.gone);
            self.gone = 0;
        }
    }
}

/// One end.
#[derive(Debug, Default)]
pub struct Channel {
    /// What was read here and not passed on there.
    out: Run,
    /// What was sent on this path, as an offset.
    sent: u64,
    /// Where our stream ends, once that is known.
    out_end: Option<u64>,
    /// The other end has passed on everything, its end with it.
    out_done: bool,
    /// What came and was not written here.
    incoming: Run,
    /// Where theirs ends.
    in_end: Option<u64>,
    /// That was passed on, too.
    in_done: bool,
    /// What they were told of what was passed on.
    told: u64,
    tell: bool,
    /// What is written here goes nowhere any more.
    deaf: bool,
    /// The other end has given it up.
    closed: bool,
}

impl Channel {
    /// One on which nothing came yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much may be read for it now.
    pub fn room(&self) -> usize {
        if self.out_end.is_some() || self.closed {
            0
        } else {
            CHANNEL_WINDOW - self.out.len().min(CHANNEL_WINDOW)
        }
    }

    /// This was read. No more than there is room for.
    pub fn read(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }

    /// There is no more to read.
    pub fn read_end(&mut self) {
        self.out_end.get_or_insert(self.out.end());
    }

    /// Has all that is to be read been read?
    pub fn is_read(&self) -> bool {
        self.out_end.is_some()
    }

    /// Appends what is to be sent, as frames: bytes up to about `most`, an end, a credit. The number of bytes in them.
    pub fn put(&mut self, channel: u64, most: usize, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        if std::mem::take(&mut self.tell) {
            self.told = self.consumed();
            Frame::ChannelCredit { channel, consumed: self.told }.put(0, out);
        }
        while out.len() - before < most {
            let bytes = self.out.from(self.sent);
            if bytes.is_empty() {
                break;
            }
            let bytes = &bytes[..bytes.len().min(CHUNK)];
            Frame::ChannelData { channel, offset: self.sent, bytes }.put(0, out);
            self.sent += bytes.len() as u64;
        }
        if self.out_end == Some(self.sent) && !self.out_done {
            Frame::ChannelEnd { channel, offset: self.sent }.put(0, out);
            self.sent += 1;
        }
        out.len() - before
    }

    /// Is there anything to send?
    pub fn has_more(&self) -> bool {
        self.tell || self.sent < self.out.end() || (self.out_end == Some(self.sent) && !self.out_done)
    }

    /// Bytes came.
    ///
    /// # Errors
    /// When they may not.
    pub fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let (have, end) = (self.incoming.end(), offset.saturating_add(bytes.len() as u64));
        if offset > have {
            return Err(Fault::Gap);
        }
        if end <= have {
            return Ok(());
        }
        if self.in_end.is_some() {
            return Err(Fault::PastEnd);
        }
        let new = &bytes[(have - offset) as usize..];
        if self.incoming.len() + new.len() > CHANNEL_WINDOW {
            return Err(Fault::Beyond);
        }
        self.incoming.bytes.extend_from_slice(new);
        self.swallow_if_deaf();
        Ok(())
    }

    /// Their stream ends here.
    ///
    /// # Errors
    /// When it cannot.
    pub fn end(&mut self, offset: u64) -> Result<(), Fault> {
        match self.in_end {
            Some(end) if end == offset => Ok(()),
            Some(_) => Err(Fault::PastEnd),
            None if offset != self.incoming.end() => Err(Fault::Gap),
            None => {
                self.in_end = Some(offset);
                self.swallow_if_deaf();
                Ok(())
            }
        }
    }

    /// They have passed on so much.
    ///
    /// # Errors
    /// When that is more than was sent.
    pub fn credit(&mut self, consumed: u64) -> Result<(), Fault> {
        if consumed > self.sent {
            return Err(Fault::Unsent);
        }
        self.out.drop_to(consumed);
        self.out_done |= self.out_end.is_some_and(|end| consumed > end);
        Ok(())
    }

    /// What is to be written here next.
    pub fn writable(&self) -> &[u8] {
        self.incoming.from(self.incoming.start)
    }

    /// So much of it was written.
    pub fn wrote(&mut self, n: usize) {
        self.incoming.drop_to(self.incoming.start + n as u64);
        // Often enough that whoever sends never waits for it, and no oftener.
        self.tell |= self.consumed() - self.told >= CHANNEL_WINDOW as u64 / 4;
    }

    /// Everything that came is written and nothing follows: whoever is written to is to be told so.
    pub fn ends_here(&self) -> bool {
        !self.in_done && self.in_end == Some(self.incoming.start)
    }

    /// They were told.
    pub fn ended_here(&mut self) {
        (self.in_done, self.tell) = (true, true);
    }

    /// Nobody reads here any more: what is there and what comes is let go of.
    pub fn write_failed(&mut self) {
        self.deaf = true;
        self.swallow_if_deaf();
    }

    fn swallow_if_deaf(&mut self) {
        if self.deaf {
            self.wrote(self.incoming.len());
            if self.ends_here() {
                self.ended_here();
            }
        }
    }

    /// Whoever was joined here is gone, and all that they said is sent: the other end is to be told, who would go on for
    /// nobody.
    pub fn is_abandoned(&self) -> bool {
        self.deaf && !self.in_done && self.out_end.is_some_and(|end| self.sent > end)
    }

    /// The other end has given it up.
    pub fn given_up(&mut self) {
        self.closed = true;
    }

    /// Is nothing left to do for it here?
    pub fn is_finished(&self) -> bool {
        self.is_over() || (self.closed && self.writable().is_empty())
    }

    /// Is everything passed on, both ways, and said so?
    pub fn is_over(&self) -> bool {
        self.out_done && self.in_done && !self.tell
    }

    /// What came so far; an end counts one.
    pub fn received(&self) -> u64 {
        self.incoming.end() + u64::from(self.in_end.is_some())
    }

    fn consumed(&self) -> u64 {
        self.incoming.start + u64::from(self.in_done)
    }

    /// A new path: the other end has `received`, the rest is sent again.
    ///
    /// # Errors
    /// When it cannot have that.
    pub fn resume(&mut self, received: u64) -> Result<(), Fault> {
        if received > self.out.end() + u64::from(self.out_end.is_some()) {
            return Err(Fault::Unsent);
        }
        if received < self.out.start {
            return Err(Fault::Gap);
        }
        self.sent = received;
        // What was said on the path before may not have come.
        self.tell = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decoder;
    use proptest::prelude::*;

    /// What arrives at `to` of these frames; `most`: only so many of them.
    fn deliver(to: &mut Channel, frames: &[u8], most: usize) {
        let mut decoder = Decoder::new();
        decoder.push(frames);
        for _ in 0..most {
            let Some(raw) = decoder.next_frame().unwrap() else { break };
            match raw.parse().unwrap() {
                Frame::ChannelData { offset, bytes, .. } => to.data(offset, bytes).unwrap(),
                Frame::ChannelEnd { offset, .. } => to.end(offset).unwrap(),
                Frame::ChannelCredit { consumed, .. } => to.credit(consumed).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        /// Whatever is cut, and however often: what is read at one end is written at the other, once, in order, with its end.
        #[test]
        fn a_channel_carries_every_byte_once_over_paths_that_break(
            lengths in proptest::collection::vec(0usize..60_000, 0..12),
            steps in proptest::collection::vec((any::<bool>(), 0usize..6, 0usize..90_000, any::<bool>()), 1..60),
        ) {
            let sent: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|n| (n * 7 + n / 251) as u8).collect();
            let (mut one, mut two) = (Channel::new(), Channel::new());
            let (mut read, mut got) = (0, Vec::new());
            let finish = std::iter::repeat_n((true, usize::MAX, 90_000, false), 40);
            for (forth, most, n, breaks) in steps.into_iter().chain(finish) {
                let room = one.room().min(n).min(sent.len() - read);
                one.read(&sent[read..read + room]);
                read += room;
                if read == sent.len() {
                    one.read_end();
                }
                let mut frames = Vec::new();
                one.put(4, n, &mut frames);
                deliver(&mut two, &frames, most);
                let can = two.writable().len().min(n);
                got.extend_from_slice(&two.writable()[..can]);
                two.wrote(can);
                if two.ends_here() {
                    two.ended_here();
                    two.read_end();
                }
                let mut back = Vec::new();
                two.put(4, n, &mut back);
                deliver(&mut one, &back, if forth { usize::MAX } else { most });
                if one.ends_here() {
                    one.ended_here();
                }
                if breaks || most < usize::MAX {
                    // What did not come is lost with its path.
                    let (first, second) = (one.received(), two.received());
                    one.resume(second).unwrap();
                    two.resume(first).unwrap();
                }
                prop_assert!(one.out.len() <= CHANNEL_WINDOW && two.incoming.len() <= CHANNEL_WINDOW);
            }
            prop_assert!(got == sent, "{} of {}", got.len(), sent.len());
            prop_assert!(one.is_over() && two.is_over(), "{:?} {:?}", one, two);
        }
    }

    #[test]
    fn what_no_end_does_is_a_fault() {
        let mut end = Channel::new();
        assert_eq!(end.data(1, b"x"), Err(Fault::Gap));
        assert_eq!(end.data(0, &vec![0; CHANNEL_WINDOW + 1]), Err(Fault::Beyond));
        assert_eq!(end.data(0, b"ab"), Ok(()));
        assert_eq!(end.data(0, b"abc"), Ok(()), "what is known is trimmed");
        assert_eq!(end.writable(), b"abc");
        assert_eq!(end.end(2), Err(Fault::Gap));
        assert_eq!(end.end(3), Ok(()));
        assert_eq!(end.data(3, b"d"), Err(Fault::PastEnd));
        assert_eq!(end.end(4), Err(Fault::PastEnd));
        assert_eq!(end.data(u64::MAX, b"d"), Err(Fault::Gap));
        assert_eq!(end.credit(1), Err(Fault::Unsent));
        end.read(b"xy");
        assert_eq!(end.credit(1), Err(Fault::Unsent), "it was not sent");
        end.put(4, 100, &mut Vec::new());
        assert_eq!(end.credit(2), Ok(()));
        assert_eq!(end.resume(1), Err(Fault::Gap), "that was let go of");
        assert_eq!(end.resume(3), Err(Fault::Unsent));
    }

    #[test]
    fn whoever_does_not_read_is_sent_no_more_than_a_window() {
        let mut end = Channel::new();
        end.read(&vec![1; CHANNEL_WINDOW]);
        assert_eq!(end.room(), 0);
        let mut out = Vec::new();
        end.put(4, usize::MAX, &mut out);
        assert_eq!(end.room(), 0, "sent is not passed on");
        end.credit(10).unwrap();
        assert_eq!(end.room(), 10);
    }
}
