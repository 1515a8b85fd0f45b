//! The last bytes of a stream, by absolute offset.

/// The bytes asked for left the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    /// The oldest offset still held.
    pub oldest: u64,
}

impl std::fmt::Display for Expired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the bytes asked for are gone; the oldest held is at {}", self.oldest)
    }
}

impl std::error::Error for Expired {}

/// Bytes the buffer grows by until it has its capacity.
const STEP: usize = 64 << 10;

/// Holds the newest `capacity` bytes appended. `oldest ≤ head`, and every offset from `oldest` to `head` can be read.
/// Memory is taken in steps as it fills.
#[derive(Clone, Debug)]
pub struct Ring {
    buf: Vec<u8>,
    capacity: usize,
    oldest: u64,
    head: u64,
    /// Where in `buf` the byte at `head` will go.
    at: usize,
}

impl AsRef<Ring> for Ring {
    fn as_ref(&self) -> &Ring {
        self
    }
}

impl Ring {
    /// An empty ring of `capacity` bytes (at least 1) whose first byte will have offset `at`.
    pub fn new(capacity: usize, at: u64) -> Self {
        Self { buf: Vec::new(), capacity: capacity.max(1), oldest: at, head: at, at: 0 }
    }

    /// Offset of the oldest byte held; the head if there is none.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Offset of the next byte appended.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes it may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends; the oldest bytes go where there is no room. An offset never passes 2^64.
    pub fn append(&mut self, bytes: &[u8]) {
        self.head = self.head.saturating_add(bytes.len() as u64);
        // Of more than fits, only the end would stay.
        let mut rest = &bytes[bytes.len().saturating_sub(self.capacity)..];
        if rest.len() < bytes.len() {
            self.at = (self.at + (bytes.len() - rest.len())) % self.capacity;
            if self.buf.len() < self.capacity {
                self.grow(self.capacity);
                self.buf.resize(self.capacity, 0);
            }
        }
        while !rest.is_empty() {
            if self.at == self.capacity {
                self.at = 0;
            }
            let n = rest.len().min(self.capacity - self.at);
            let (now, later) = rest.split_at(n);
            let over = n.min(self.buf.len() - self.at);
            self.buf[self.at..self.at + over].copy_from_slice(&now[..over]);
            if over < n {
                self.grow(self.at + n);
                self.buf.extend_from_slice(&now[over..]);
            }
            self.at += n;
            rest = later;
        }
        self.oldest = self.oldest.max(self.head.saturating_sub(self.capacity as u64));
    }

    fn grow(&mut self, needed: usize) {
        if needed > self.buf.capacity() {
            let goal = needed.max(self.buf.capacity() * 2).next_multiple_of(STEP).min(self.capacity);
            self.buf.reserve_exact(goal - self.buf.len());
        }
    }

    /// Up to `max` bytes from offset `from` on, as far as they lie in one piece: fewer than are held may come, and none
    /// only at the head (or past it). Read on from where it ended.
    pub fn read(&self, from: u64, max: usize) -> Result<&[u8], Expired> {
        if from < self.oldest {
            return Err(Expired { oldest: self.oldest });
        }
        let Some(back) = self.head.checked_sub(from) else { return Ok(&[]) };
        let back = back as usize;
        if back == 0 {
            return Ok(&[]);
        }
        let (start, end) = if back <= self.at {
            (self.at - back, self.at)
        } else {
            (self.at + self.capacity - back, self.buf.len())
        };
        Ok(&self.buf[start..end.min(start + max.min(back))])
    }
}
