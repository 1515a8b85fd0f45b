//! A view: what it typed and saw. The bytes that a job writes are checked where they arrive.

use crate::host::raw;
use sessd_client::typed::Outgoing;
use sessd_proto::limits::VIEW_WINDOW;
use sessd_proto::{Decoder, Frame, Uuid};
use sessd_terminal::{Size, Terminal};
use std::collections::VecDeque;

/// Bytes of one key, so that each can be told from every other: whose it is and the how many-eth.
pub const KEY: usize = 4;

/// One view, over all its connections.
#[derive(Debug)]
pub struct View {
    pub id: Uuid,
    /// A number of its own among all.
    pub number: usize,
    pub manager: usize,
    pub session: Uuid,
    /// Connected to that life of its manager.
    pub life: Option<u64>,
    /// When it comes again.
    pub again_ms: Option<u64>,
    /// It reads nothing until then.
    pub slow_until: u64,
    /// Bytes that it has not read.
    pub unread: VecDeque<u8>,
    decoder: Decoder,
    outgoing: Outgoing,
    epoch: u64,
    /// Keys typed so far, and how many of those it was told may not have arrived.
    pub typed: u16,
    pub excused: u64,
    pub job: String,
    /// Offset of the next output byte; none: it has nothing.
    pub next: Option<u64>,
    /// Bytes of a snapshot that is coming.
    snapshot: Vec<u8>,
    /// What it shows, if it was told all of it in the job's own size.
    pub shows: Option<Terminal>,
    pub received: u64,
    granted: u64,
    /// It was told that the job ended; or it left; or it was sent away: nothing more is expected of it.
    pub over: bool,
    /// It said what no view says.
    pub hostile: bool,
    /// What the last state said of the link.
    pub link_word: String,
}

/// What a view found in what it read.
#[derive(Debug)]
pub enum Found {
    /// Output of its job at an offset.
    Output(String, u64, Vec<u8>),
    /// Output was left out without a word.
    Gap(u64, u64),
    /// The job ended.
    Ended(i32, Option<i32>),
}

impl View {
    pub fn new(number: usize, manager: usize, session: Uuid) -> Self {
        Self {
            id: Uuid::from_u128(0x7_0000 + number as u128),
            number,
            manager,
            session,
            life: None,
            again_ms: Some(0),
            slow_until: 0,
            unread: VecDeque::new(),
            decoder: Decoder::new(),
            outgoing: Outgoing::new(),
            epoch: 0,
            typed: 0,
            excused: 0,
            job: String::new(),
            next: None,
            snapshot: Vec::new(),
            shows: None,
            received: 0,
            granted: VIEW_WINDOW,
            over: false,
            hostile: false,
            link_word: String::new(),
        }
    }

    /// As it introduces itself.
    pub fn introduces(&mut self) -> sessd_core::views::View {
        (self.received, self.granted, self.epoch) = (0, VIEW_WINDOW, 0);
        self.decoder = Decoder::new();
        self.unread.clear();
        self.snapshot.clear();
        self.link_word.clear();
        sessd_core::views::View {
            id: self.id,
            kind: "sim".into(),
            read_only: false,
            take: false,
            lossless: false,
            size: Some((80, 24)),
            resume: self.next.map(|next| (next, self.job.clone())),
            credit: self.granted,
            scrollback_lines: 100,
            paced: false,
            no_output: false,
            differences: None,
            from: String::new(),
            terminal: String::new(),
            traits: None,
            no_images: false,
            standing: None,
            passive: false,
            uncounted: false,
        }
    }

    /// Its connection is gone.
    pub fn lost(&mut self, again_ms: u64) {
        self.link_word.clear();
        if self.life.take().is_some() && !self.over {
            self.again_ms = Some(again_ms);
        }
    }

    /// It types.
    pub fn types(&mut self, keys: u64, now_ms: u64) {
        let mut bytes = Vec::new();
        for _ in 0..keys {
            bytes.extend(key(self.number, self.typed));
            self.typed = self.typed.wrapping_add(1);
        }
        if !self.outgoing.typed(&bytes, !self.path_is_up(), now_ms) {
            // It rang the bell.
            self.excused += keys;
        }
    }

    fn path_is_up(&self) -> bool {
        self.life.is_some() && self.link_word == "up"
    }

    /// Has the holder acknowledged all that it typed and that was not withdrawn?
    pub fn is_quiet(&self) -> bool {
        self.path_is_up() && self.outgoing.waiting() == 0
    }

    /// What it sends now.
    pub fn sends(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        if !self.path_is_up() {
            self.outgoing.withdraw_old(now_ms);
            return all;
        }
        if !self.outgoing.is_in_doubt() && (self.outgoing.refuses() || self.outgoing.lost().any()) {
            let told = self.outgoing.told();
            self.excused += (told.dropped + told.doubtful).div_ceil(KEY) as u64;
        }
        let view = self.id;
        while let Some(next) = self.outgoing.next_to_send() {
            let frame = Frame::Input { view, seq: next.seq, withdrawn: next.withdrawn, bytes: next.bytes };
            all.push(frame.to_bytes(0));
        }
        if self.received + VIEW_WINDOW / 2 > self.granted {
            self.granted = self.received + VIEW_WINDOW;
            all.push(Frame::Credit(self.granted).to_bytes(0));
        }
        all
    }

    /// It reads what is there.
    pub fn reads(&mut self, now_ms: u64) -> Vec<Found> {
        let bytes: Vec<u8> = self.unread.drain(..).collect();
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.push(&bytes);
        let mut found = Vec::new();
        while let Ok(Some(frame)) = decoder.next_frame() {
            let mut whole = Vec::new();
            frame.relay(0, &mut whole);
            self.takes(now_ms, &whole, &mut found);
        }
        self.decoder = decoder;
        found
    }

    fn takes(&mut self, now_ms: u64, whole: &[u8], found: &mut Vec<Found>) {
        let Ok(frame) = raw(whole).parse() else { return };
        match frame {
            Frame::Attached(attached) if attached.job_id != self.job => {
                self.job = attached.job_id;
                (self.next, self.shows) = (None, None);
            }
            Frame::ViewState(state) => {
                let was_up = self.path_is_up();
                self.link_word = state.link;
                if self.path_is_up() && state.epoch != self.epoch {
                    self.epoch = state.epoch;
                    self.outgoing.path_is_new(now_ms);
                } else if self.path_is_up() && !was_up {
                    self.outgoing.path_is_back(now_ms);
                }
            }
            Frame::InputAck { seq, .. } => self.outgoing.acknowledged(seq),
            Frame::Withdrawn { from, to, .. } => self.outgoing.withdrawn(from, to),
            Frame::Output { offset, bytes } => {
                self.received += bytes.len() as u64;
                found.push(Found::Output(self.job.clone(), offset, bytes.to_vec()));
                let next = self.next.unwrap_or(0);
                if offset > next {
                    found.push(Found::Gap(next, offset));
                }
                let seen = (next.saturating_sub(offset) as usize).min(bytes.len());
                if let Some(shows) = &mut self.shows {
                    shows.feed(&bytes[seen..]);
                }
                self.next = Some(next.max(offset + bytes.len() as u64));
            }
            Frame::Snapshot { at, cols, rows, more, bytes, .. } => {
                self.received += bytes.len() as u64;
                self.snapshot.extend_from_slice(bytes);
                if !more {
                    let mut shows = Terminal::new(Size { cols, rows }, 100);
                    shows.feed(&std::mem::take(&mut self.snapshot));
                    self.shows = Some(shows);
                    self.next = Some(at);
                }
            }
            Frame::Ended(exit) => {
                found.push(Found::Ended(exit.reason, exit.code));
            }
            _ => {}
        }
    }
}

/// The bytes of a key: none is a control character, and the view can be read from each.
pub fn key(view: usize, number: u16) -> [u8; KEY] {
    let six = |n: usize| 0x3f + (n & 0x3f) as u8;
    let number = usize::from(number);
    [0x21 + (view / 64) as u8, six(view), six(number >> 6), six(number)]
}

/// Whose key it is and which.
pub fn key_of(bytes: &[u8]) -> Option<(usize, u16)> {
    let [view, low, high, last] = *bytes else { return None };
    let six = |byte: u8| (0x3f..0x7f).contains(&byte).then(|| usize::from(byte - 0x3f));
    let number = six(high)? << 6 | six(last)?;
    Some((usize::from(view.checked_sub(0x21)?) * 64 + six(low)?, u16::try_from(number).ok()?))
}
