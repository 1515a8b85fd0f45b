//! Bytes on their way to one peer: frames are put in at one end, what was sent goes out at the other.

use sessd_proto::Frame;

/// Bytes that may wait before a producer of bulk output pauses.
pub const OUT_LOW: usize = 128 * 1024;
/// Bytes that may wait before the peer counts as stuck and the connection is given up. One snapshot of a large scrollback
/// fits.
pub const OUT_MAX: usize = 32 << 20;

/// Bytes that wait to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// The bytes that wait.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Queues a frame.
    pub fn put(&mut self, stream: u16, frame: &Frame<'_>) {
        frame.put(stream, &mut self.bytes);
    }

    /// Queues a frame. False: it is longer than any may be, and is not sent.
    #[must_use]
    pub fn try_put(&mut self, stream: u16, frame: &Frame<'_>) -> bool {
        frame.try_put(stream, &mut self.bytes)
    }

    /// Where relayed frames and snapshots are appended.
    pub fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// `n` of the bytes that waited were sent.
    pub fn was_sent(&mut self, n: usize) {
        self.sent = (self.sent + n).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            // A buffer that once held a snapshot must not keep its size for days.
            self.bytes.shrink_to(OUT_LOW);
        } else if self.sent > OUT_LOW {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_forgotten_and_the_rest_stays_in_its_order() {
        let mut outbox = Outbox::default();
        outbox.put(0, &Frame::Ping(7));
        outbox.put(0, &Frame::Pong(8));
        let all = outbox.unsent().to_vec();
        outbox.was_sent(5);
        assert_eq!((outbox.unsent(), outbox.waiting()), (&all[5..], all.len() - 5));
        outbox.end().extend_from_slice(&vec![1; 3 * OUT_LOW]);
        outbox.was_sent(all.len() - 5 + 2 * OUT_LOW);
        assert_eq!(outbox.waiting(), OUT_LOW);
        outbox.was_sent(OUT_LOW);
        assert_eq!(outbox.waiting(), 0);
        assert!(outbox.bytes.capacity() <= OUT_LOW);
    }
}
