//! Frames over any byte stream of tokio's: a reader that hands out frames without copying their bodies, and a queue of
//! bytes to be written that its owner appends to without ever waiting.

use bytes::{Buf, Bytes, BytesMut};
use sessd_base::turn::Turn;
use sessd_proto::frame::IGNORABLE;
use sessd_proto::limits::{FRAME_BODY_MAX, VIEW_WINDOW};
use sessd_proto::{Frame, Header, Invalid, RawFrame};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// A body up to here is copied out of the block it was read into, which it would keep whole otherwise.
const SMALL: usize = 8 * 1024;

/// Bytes read at a time, and so the block that a frame pins which is not [`SMALL`].
const BLOCK: usize = 64 * 1024;

/// Memory that frames hold, counted for all that come from one peer: each is counted for as long as it is kept anywhere.
#[derive(Debug, Clone, Default)]
pub struct Held(Rc<Cell<usize>>);

impl Held {
    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.0.get()
    }

    fn change(&self, was: usize, is: usize) {
        self.0.set((self.0.get() + is).saturating_sub(was));
    }
}

/// One frame's part of it.
#[derive(Debug)]
struct Hold {
    held: Held,
    bytes: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.change(self.bytes, 0);
    }
}

/// One frame that owns its body.
#[derive(Debug)]
pub struct OwnedFrame {
    kind: u8,
    flags: u8,
    /// Which job's stream it belongs to.
    pub stream: u16,
    body: Bytes,
    _hold: Option<Hold>,
}

impl OwnedFrame {
    /// Reads the body.
    ///
    /// # Errors
    /// When it does not have the form of its kind.
    pub fn parse(&self) -> Result<Frame<'_>, Invalid> {
        self.raw().parse()
    }

    /// A frame of our own, as if it had come in.
    pub fn own(stream: u16, frame: &Frame<'_>) -> Self {
        let mut body = Bytes::from(frame.to_bytes(stream));
        // One that is too long to be is empty, and of no kind.
        let header = Header::parse(&body, usize::MAX).ok().flatten();
        let header = header.unwrap_or(Header { length: 0, kind: IGNORABLE, flags: 0, stream });
        body.advance(Header::BYTES.min(body.len()));
        Self { kind: header.kind, flags: header.flags, stream, body, _hold: None }
    }

    /// Bytes of memory it keeps, about.
    pub fn weight(&self) -> usize {
        let body = if self.body.len() <= SMALL { self.body.len() } else { self.body.len().max(BLOCK) };
        body + size_of::<Self>() + 64
    }

    /// The frame as it lies in memory.
    pub fn raw(&self) -> RawFrame<'_> {
        RawFrame { kind: self.kind, flags: self.flags, stream: self.stream, body: &self.body }
    }
}

/// What came out of a stream.
#[derive(Debug)]
pub enum Came {
    /// A frame.
    Frame(OwnedFrame),
    /// Bytes of a frame that is not whole yet: of this stream, or 0.
    Part(u16),
    /// Nothing, and nothing will.
    End,
}

/// Cuts frames out of a stream, and gives the thread back between them when its turn is over.
#[derive(Debug)]
pub struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
    turn: Turn,
    held: Held,
    body_max: usize,
    /// Where bytes of frames that are not whole yet are counted, beyond a block, and how many there may be.
    unfinished: Option<(Hold, usize)>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::with_capacity(BLOCK),
            turn: Turn::default(),
            held: Held::default(),
            body_max: FRAME_BODY_MAX,
            unfinished: None,
        }
    }

    /// One whose frames are counted in `held` for as long as they are kept anywhere.
    pub fn counted(reader: R, held: Held) -> Self {
        Self { held, ..Self::new(reader) }
    }

    /// One of many: all of them together may keep so many bytes of frames that are not whole yet, in `held`.
    pub fn one_of_many(reader: R, held: Held, max: usize) -> Self {
        Self { unfinished: Some((Hold { held, bytes: 0 }, max)), ..Self::new(reader) }
    }

    /// The memory that this peer's frames hold, wherever they wait.
    #[cfg(test)]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// From here on no frame has a body longer than that.
    pub fn set_body_max(&mut self, bytes: usize) {
        self.body_max = bytes.min(FRAME_BODY_MAX);
    }

    /// Has a frame begun that is not whole yet?
    pub fn is_within_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame, `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// As [`Self::came`].
    pub async fn next(&mut self) -> io::Result<Option<OwnedFrame>> {
        loop {
            match self.came().await? {
                Came::Frame(frame) => return Ok(Some(frame)),
                Came::Part(_) => {}
                Came::End => return Ok(None),
            }
        }
    }

    /// The next frame, or that bytes of one came: a slow line takes seconds for one. Cancel-safe.
    ///
    /// # Errors
    /// When the stream breaks, or a header announces a body longer than any may be.
    pub async fn came(&mut self) -> io::Result<Came> {
        let mut has_read = false;
        loop {
            self.turn.pass().await;
            if let Some(frame) = self.cut()? {
                return Ok(Came::Frame(frame));
            }
            if std::mem::take(&mut has_read) {
                let header = Header::parse(&self.buffer, self.body_max).ok().flatten();
                return Ok(Came::Part(header.map_or(0, |header| header.stream)));
            }
            self.buffer.reserve(BLOCK);
            let (reader, buffer, turn) = (&mut self.reader, &mut self.buffer, &mut self.turn);
            let mut read = std::pin::pin!(reader.read_buf(buffer));
            let n = poll_fn(|cx| {
                let polled = read.as_mut().poll(cx);
                if polled.is_pending() {
                    turn.renew();
                }
                polled
            })
            .await?;
            if n == 0 {
                return Ok(Came::End);
            }
            has_read = true;
        }
    }

    /// Ready when the peer has closed its end, or broke it. What it says meanwhile is kept; one that says more than a
    /// block of it is not looked at until that is read.
    pub async fn gone(&mut self) {
        while self.buffer.len() < BLOCK {
            self.buffer.reserve(SMALL);
            if !matches!(self.reader.read_buf(&mut self.buffer).await, Ok(1..)) {
                return;
            }
        }
        std::future::pending().await
    }

    fn count_unfinished(&mut self) -> io::Result<()> {
        let Some((hold, max)) = &mut self.unfinished else { return Ok(()) };
        let bytes = self.buffer.len().saturating_sub(BLOCK);
        if bytes != hold.bytes {
            hold.held.change(hold.bytes, bytes);
            let grows = bytes > std::mem::replace(&mut hold.bytes, bytes);
            if grows && hold.held.bytes() > *max {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "too much is being asked at once: try again",
                ));
            }
        }
        Ok(())
    }

    fn cut(&mut self) -> io::Result<Option<OwnedFrame>> {
        let header = Header::parse(&self.buffer, self.body_max)
            .map_err(|invalid| io::Error::new(io::ErrorKind::InvalidData, invalid))?;
        let Some(header) = header.filter(|header| self.buffer.len() >= header.frame_bytes()) else {
            self.count_unfinished()?;
            return Ok(None);
        };
        self.buffer.advance(Header::BYTES);
        let length = header.length as usize;
        let body = if length <= SMALL {
            let body = Bytes::copy_from_slice(&self.buffer[..length]);
            self.buffer.advance(length);
            body
        } else {
            self.buffer.split_to(length).freeze()
        };
        let Header { kind, flags, stream, .. } = header;
        let mut frame = OwnedFrame { kind, flags, stream, body, _hold: None };
        let bytes = frame.weight();
        self.held.change(0, bytes);
        frame._hold = Some(Hold { held: self.held.clone(), bytes });
        Ok(Some(frame))
    }
}

/// Bytes that wait for one who does not read, beyond which bulk is no longer appended: whoever appends it asks
/// [`OutQueue::is_full`] first, and goes on when the queue has drained. As much as a view of ours ever allows.
const FULL: usize = VIEW_WINDOW as usize;

/// So little goes before whatever is appended next: what is typed waits for no more of what is forwarded.
const CALM: usize = 64 * 1024;

struct Queue {
    bytes: RefCell<Vec<u8>>,
    /// Bytes that were taken out and not yet written.
    writing: Cell<usize>,
    changed: Notify,
    closed: Cell<bool>,
    /// What waits is not to be written any more.
    cut: Cell<bool>,
    /// Called once when it is no longer full.
    when_drained: RefCell<Option<Box<dyn FnOnce()>>>,
    drained: Notify,
    pool: Option<Pool>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.borrow().len() + self.writing.get()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.change(self.len(), 0);
        }
    }
}

/// The queues of many connections that together hold no more than a bound: beyond it the one with most is cut off, whose
/// peer does not read.
#[derive(Debug, Clone)]
pub struct Pool(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Cell<usize>,
    max: usize,
    queues: RefCell<Vec<Weak<Queue>>>,
}

impl Pool {
    /// One whose queues hold `max` bytes at the most.
    pub fn new(max: usize) -> Self {
        Self(Rc::new(Shared { waiting: Cell::new(0), max, queues: RefCell::default() }))
    }

    /// A new queue of it.
    pub fn queue(&self) -> OutQueue {
        let queue = OutQueue(Rc::new(Queue::new(Some(self.clone()))));
        let mut queues = self.0.queues.borrow_mut();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Rc::downgrade(&queue.0));
        queue
    }

    /// Bytes that wait in all of them.
    pub fn waiting(&self) -> usize {
        self.0.waiting.get()
    }

    fn change(&self, was: usize, is: usize) {
        self.0.waiting.set((self.0.waiting.get() + is).saturating_sub(was));
    }

    fn keep_to_bound(&self) {
        while self.waiting() > self.0.max {
            let largest =
                self.0.queues.borrow().iter().filter_map(Weak::upgrade).max_by_key(|queue| queue.len());
            let Some(queue) = largest.filter(|queue| queue.len() > 0) else { return };
            let queue = OutQueue(queue);
            tracing::warn!(bytes = queue.len(), "somebody does not read what was asked for, and is cut off");
            queue.cut();
        }
    }
}

/// Bytes on their way out. Appending never waits; what bounds the queue is what its peer allowed (credits, windows), and
/// whoever appends bulk asks [`OutQueue::is_full`] first.
#[derive(Debug, Clone)]
pub struct OutQueue(Rc<Queue>);

impl Default for OutQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    fn new(pool: Option<Pool>) -> Self {
        Self {
            bytes: RefCell::default(),
            writing: Cell::new(0),
            changed: Notify::new(),
            closed: Cell::new(false),
            cut: Cell::new(false),
            when_drained: RefCell::default(),
            drained: Notify::new(),
            pool,
        }
    }
}

impl OutQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self(Rc::new(Queue::new(None)))
    }

    /// Appends a frame.
    pub fn put(&self, stream: u16, frame: &Frame<'_>) {
        self.with(|out| frame.put(stream, out));
    }

    /// Appends whatever `write` appends.
    pub fn with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.0.closed.get() {
            return;
        }
        let mut bytes = self.0.bytes.borrow_mut();
        let before = bytes.len();
        write(&mut bytes);
        let after = bytes.len();
        drop(bytes);
        self.0.changed.notify_one();
        if let Some(pool) = &self.0.pool {
            pool.change(before, after);
            pool.keep_to_bound();
        }
    }

    /// Appends whole frames. Many of them are not copied where nothing waits.
    pub fn append(&self, frames: Vec<u8>) {
        self.with(|out| {
            if out.is_empty() && frames.len() > SMALL {
                *out = frames;
            } else {
                out.extend_from_slice(&frames);
            }
        });
    }

    /// Is it the same queue?
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So much waits that the peer is to read first.
    pub fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    /// Calls `then`, once, when it is no longer full, or closed. The last one who asked is called.
    pub fn when_drained(&self, then: impl FnOnce() + 'static) {
        *self.0.when_drained.borrow_mut() = Some(Box::new(then));
    }

    /// Ready when it is not full, or closed.
    pub async fn drained(&self) {
        while self.is_full() && !self.is_closed() {
            self.0.drained.notified().await;
        }
    }

    /// Ready when so little waits that what is appended next goes out soon, or when it is closed.
    pub async fn calm(&self) {
        while self.len() >= CALM && !self.is_closed() {
            self.0.drained.notified().await;
        }
    }

    /// No more will be appended; what waits is still written.
    pub fn close(&self) {
        self.0.closed.set(true);
        self.0.changed.notify_one();
        self.tell_drained();
    }

    /// Closes it and forgets what waits: its peer does not read.
    fn cut(&self) {
        let waited = std::mem::take(&mut *self.0.bytes.borrow_mut()).len();
        if let Some(pool) = &self.0.pool {
            pool.change(waited + self.0.writing.replace(0), 0);
        }
        self.0.cut.set(true);
        self.close();
    }

    /// Was it closed, or did its writer fail?
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    fn tell_drained(&self) {
        self.0.drained.notify_waiters();
        let then = self.0.when_drained.borrow_mut().take();
        if let Some(then) = then {
            then();
        }
    }

    fn wrote(&self, n: usize) {
        let (was_full, was_calm) = (self.is_full(), self.len() < CALM);
        let writing = self.0.writing.get();
        let n = n.min(writing);
        self.0.writing.set(writing - n);
        if let Some(pool) = &self.0.pool {
            pool.change(n, 0);
        }
        if !was_calm && self.len() < CALM {
            self.0.drained.notify_waiters();
        }
        if was_full && !self.is_full() {
            self.tell_drained();
        }
    }

    /// Writes until the queue is closed and empty.
    ///
    /// # Errors
    /// When writing fails; the queue is closed then.
    pub async fn drive(&self, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut spare = Vec::new();
        loop {
            std::mem::swap(&mut *self.0.bytes.borrow_mut(), &mut spare);
            if spare.is_empty() {
                if self.0.closed.get() {
                    return writer.shutdown().await;
                }
                self.0.changed.notified().await;
                continue;
            }
            self.0.writing.set(spare.len());
            if let Err(error) = self.write_out(&spare, &mut writer).await {
                // Nobody reads any more.
                self.cut();
                return Err(error);
            }
            spare.clear();
            // One large snapshot must not keep its memory for the life of the connection.
            spare.shrink_to(256 * 1024);
        }
    }

    async fn write_out(&self, bytes: &[u8], writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = tokio::select! {
                biased;
                n = writer.write(rest) => n?,
                () = self.until_cut() => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[n..];
            self.wrote(n);
        }
        writer.flush().await
    }

    async fn until_cut(&self) {
        while !self.0.cut.get() {
            self.0.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(bytes: Vec<u8>) -> Vec<(u8, usize)> {
        let mut reader = FrameReader::new(&bytes[..]);
        let mut all = Vec::new();
        while let Some(frame) = reader.next().await.unwrap() {
            all.push((frame.raw().kind, frame.raw().body.len()));
        }
        all
    }

    #[tokio::test]
    async fn bytes_of_a_frame_are_told_before_it_is_whole() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(near);
        let bytes = Frame::Output { offset: 0, bytes: &[7; 90] }.to_bytes(3);
        for part in [&bytes[..2], &bytes[2..40], &bytes[40..80]] {
            tokio::io::AsyncWriteExt::write_all(&mut far, part).await.unwrap();
            let number = if part.len() == 2 { 0 } else { 3 };
            assert!(matches!(reader.came().await.unwrap(), Came::Part(n) if n == number));
        }
        tokio::io::AsyncWriteExt::write_all(&mut far, &bytes[80..]).await.unwrap();
        assert!(matches!(reader.came().await.unwrap(), Came::Frame(frame) if frame.raw().body.len() == 98));
        drop(far);
        assert!(matches!(reader.came().await.unwrap(), Came::End));
    }

    #[tokio::test]
    async fn frames_of_any_length_come_whole_and_what_they_hold_is_counted_until_they_are_dropped() {
        let mut bytes = Vec::new();
        let lengths = [0, 1, SMALL, SMALL + 1, BLOCK, FRAME_BODY_MAX - 8];
        for length in lengths {
            Frame::Output { offset: 1, bytes: &vec![7; length] }.put(3, &mut bytes);
        }
        let all = frames(bytes.clone()).await;
        assert_eq!(all.iter().map(|(_, len)| *len - 8).collect::<Vec<_>>(), lengths);
        let mut reader = FrameReader::new(&bytes[..]);
        let held = reader.held().clone();
        let mut kept = Vec::new();
        while let Some(frame) = reader.next().await.unwrap() {
            kept.push(frame);
        }
        assert!(held.bytes() > FRAME_BODY_MAX + 3 * BLOCK);
        drop(kept);
        assert_eq!(held.bytes(), 0);
    }

    #[tokio::test]
    async fn of_many_who_begin_large_requests_those_beyond_the_bound_are_refused() {
        let header = Frame::Output { offset: 0, bytes: &vec![0; FRAME_BODY_MAX - 8] }.to_bytes(0);
        let half = &header[..FRAME_BODY_MAX / 2];
        let held = Held::default();
        let mut readers = Vec::new();
        let mut refused = 0;
        for _ in 0..20 {
            // The end of the stream comes after half a frame.
            let mut reader = FrameReader::one_of_many(half, held.clone(), 4 << 20);
            refused += usize::from(reader.next().await.is_err());
            readers.push(reader);
        }
        assert!((10..15).contains(&refused), "{refused} of 20");
        assert!(held.bytes() < (4 << 20) + 20 * 2 * BLOCK);
        readers.clear();
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn of_many_who_do_not_read_the_one_with_most_is_cut_off() {
        let pool = Pool::new(100_000);
        let (reads, greedy) = (pool.queue(), pool.queue());
        reads.put(0, &Frame::Output { offset: 0, bytes: &[1; 1000] });
        while !greedy.is_closed() {
            greedy.put(0, &Frame::Output { offset: 0, bytes: &[1; 1000] });
            assert!(pool.waiting() <= 100_000);
        }
        assert_eq!(pool.waiting(), reads.len());
        assert!(!reads.is_closed());
        drop(reads);
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test]
    async fn of_a_peer_that_is_gone_nothing_waits() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (writer, reader) = tokio::io::duplex(1024);
                let pool = Pool::new(usize::MAX);
                let out = pool.queue();
                out.with(|bytes| bytes.resize(10, 7));
                let writing = out.clone();
                let task = tokio::task::spawn_local(async move { writing.drive(writer).await });
                tokio::task::yield_now().await;
                out.with(|bytes| bytes.resize(5000, 7));
                tokio::task::yield_now().await;
                out.with(|bytes| bytes.resize(2 * FULL, 7));
                drop(reader);
                task.await.unwrap().unwrap_err();
                assert!(out.is_closed());
                assert_eq!((out.len(), pool.waiting()), (0, 0));
            })
            .await;
    }

    #[tokio::test]
    async fn a_queue_that_was_full_tells_when_it_is_not() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (writer, mut reader) = tokio::io::duplex(1024);
                let pool = Pool::new(usize::MAX);
                let out = pool.queue();
                let told = Rc::new(Cell::new(0));
                out.with(|bytes| bytes.resize(FULL + 10, 7));
                assert!(out.is_full());
                let count = told.clone();
                out.when_drained(move || count.set(count.get() + 1));
                let writing = out.clone();
                let task = tokio::task::spawn_local(async move { writing.drive(writer).await });
                let mut some = vec![0; 4096];
                tokio::io::AsyncReadExt::read_exact(&mut reader, &mut some).await.unwrap();
                out.drained().await;
                assert_eq!(told.get(), 1);
                out.close();
                let mut rest = Vec::new();
                tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut rest).await.unwrap();
                assert_eq!(rest.len() + some.len(), FULL + 10);
                task.await.unwrap().unwrap();
                assert_eq!((out.len(), pool.waiting()), (0, 0));
            })
            .await;
    }
}
