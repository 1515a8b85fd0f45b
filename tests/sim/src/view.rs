//! A view: what it typed and saw. What it makes of what it hears is the client's; the bytes that a job writes are checked where
//! they arrive.

use crate::host::is_old;
use crate::net::decoded;
use sessd_client::core::{Told, ViewCore, Wants};
use sessd_proto::{Decoder, Frame, Uuid};
use sessd_terminal::{Size, Terminal};
use std::collections::VecDeque;

/// What was sent by no view has numbers from here on.
pub const SENT: usize = 3_000;
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
    core: ViewCore,
    lossless: bool,
    /// Keys typed so far, and how many of those it was told may not have arrived.
    pub typed: u16,
    pub excused: u64,
    pub job: String,
    /// Offset of the next output byte; none: it has nothing.
    pub next: Option<u64>,
    /// What it shows, if it was told all of it in the job's own size.
    pub shows: Option<Terminal>,
    /// It was told that the job ended; or it left; or it was sent away: nothing more is expected of it.
    pub over: bool,
    /// It said what no view says.
    pub hostile: bool,
}

/// What a view found in what it read.
#[derive(Debug)]
pub enum Found {
    /// Output of its job at an offset.
    Output(String, u64, Vec<u8>),
    /// Output was left out without a word.
    Gap(u64, u64),
    /// Output was left out, of a view that must miss nothing.
    Skipped(u64),
    /// The job ended.
    Ended(i32),
}

impl View {
    pub fn new(number: usize, manager: usize, session: Uuid, lossless: bool) -> Self {
        let id = Uuid::from_u128(0x7_0000 + number as u128);
        let wants = Wants { lossless, ..Wants::terminal(100) };
        Self {
            id,
            number,
            manager,
            session,
            life: None,
            again_ms: Some(0),
            slow_until: 0,
            unread: VecDeque::new(),
            decoder: Decoder::new(),
            core: ViewCore::new(id, &session.to_string(), wants, Some((80, 24))),
            lossless,
            typed: 0,
            excused: 0,
            job: String::new(),
            next: None,
            shows: None,
            over: false,
            hostile: false,
        }
    }

    /// As it introduces itself.
    pub fn introduces(&mut self) -> sessd_core::views::View {
        self.core.lost();
        self.decoder = Decoder::new();
        self.unread.clear();
        let asked = self.core.attach();
        sessd_core::views::View {
            id: self.id,
            kind: "sim".into(),
            read_only: asked.read_only,
            take: asked.take,
            lossless: asked.lossless,
            size: Some((80, 24)),
            resume: asked.resume.map(|next| (next, asked.job_id)),
            credit: asked.credit,
            scrollback_lines: asked.scrollback_lines as usize,
            paced: false,
            no_output: asked.no_output,
            differences: None,
            from: String::new(),
            terminal: String::new(),
            traits: None,
            no_images: false,
            passive: asked.passive,
            uncounted: asked.uncounted,
            owns: asked.owns,
            standing: asked.standing,
        }
    }

    /// Its connection is gone.
    pub fn lost(&mut self, now_ms: u64, again_ms: u64) {
        self.core.at(now_ms);
        self.core.lost();
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
        self.core.at(now_ms);
        if !self.core.types(&bytes) {
            // It rang the bell.
            self.excused += keys;
        }
    }

    /// When it has something to do.
    pub fn deadline(&self) -> u64 {
        if self.over { u64::MAX } else { self.core.deadline().unwrap_or(u64::MAX).max(self.slow_until) }
    }

    /// Has the holder acknowledged all that it typed and that was not withdrawn?
    pub fn is_quiet(&self) -> bool {
        self.core.carries() && self.core.typed().waiting() == 0
    }

    /// What it sends now.
    pub fn sends(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        self.core.at(now_ms);
        if self.core.undelivered().is_some() {
            let told = self.core.undelivered_told();
            self.excused += (told.dropped + told.doubtful).div_ceil(KEY) as u64;
            self.core.at(now_ms);
        }
        decoded(&std::mem::take(self.core.poll()))
    }

    /// It reads what is there.
    pub fn reads(&mut self, now_ms: u64) -> Vec<Found> {
        self.core.at(now_ms);
        let bytes: Vec<u8> = self.unread.drain(..).collect();
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.push(&bytes);
        let mut found = Vec::new();
        while let Ok(Some(frame)) = decoder.next_frame() {
            if let Ok(frame) = frame.parse() {
                self.takes(frame, &mut found);
            }
        }
        self.decoder = decoder;
        found
    }

    fn takes(&mut self, frame: Frame<'_>, found: &mut Vec<Found>) {
        // What arrives is looked at as it comes, and not as the view takes it.
        if let Frame::Output { offset, bytes } = &frame {
            found.push(Found::Output(self.job.clone(), *offset, bytes.to_vec()));
            let next = self.next.unwrap_or(0);
            if *offset > next {
                found.push(Found::Gap(next, *offset));
            }
        }
        if let Frame::Ended(exit) = &frame {
            found.push(Found::Ended(exit.reason));
        }
        let Ok(Some(told)) = self.core.handle(frame) else { return };
        match told {
            Told::Attached { .. } if self.core.session().job_id != self.job => {
                self.job.clone_from(&self.core.session().job_id);
                (self.next, self.shows) = (None, None);
            }
            Told::Output(bytes) => {
                if let Some(shows) = &mut self.shows {
                    shows.feed(&bytes);
                }
                self.next = self.core.offset();
            }
            Told::Screen { at, size: (cols, rows), snapshot, skipped, .. } => {
                // A holder of the first versions has no old output for the next manager.
                if self.lossless && skipped > 0 && !is_old(&self.job) {
                    found.push(Found::Skipped(skipped));
                }
                let mut shows = Terminal::new(Size { cols, rows }, 100);
                shows.feed(&snapshot);
                (self.shows, self.next) = (Some(shows), Some(at));
            }
            // It is on its screen as it is read.
            Told::Ping(token) => self.core.pong(token),
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
