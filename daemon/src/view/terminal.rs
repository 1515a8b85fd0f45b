//! The user's terminal: raw while the view has it, given back as it was however the view ends.

use crate::view::borrowed::Borrowed;
use crate::view::plain::Plain;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sessd_proto::docs::{Error, Result};
use sessd_proto::messages::Traits;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};

/// What was before we came, for whoever has to give it back: the guard, or a panic.
static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);
/// A panic gives it back; once is enough, however many views there are one after the other.
static ON_PANIC: Once = Once::new();

struct Taken {
    before: Termios,
    borrowed: Borrowed,
    /// Rows from the top below which there is no text; none: not known.
    text_rows: Option<u16>,
    /// It can only be written to.
    plain: Option<Plain>,
}

/// The terminal, raw as long as this lives.
#[derive(Debug)]
pub struct Raw {
    _private: (),
}

/// The size of the terminal on stdout, if it has one.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Width and height of a cell in pixels; 0: not known.
fn cell() -> (u32, u32) {
    let Ok(size) = tcgetwinsize(rustix::stdio::stdout()) else { return (0, 0) };
    let pixels = |all: u16, cells: u16| u32::from(all.checked_div(cells).unwrap_or(0));
    (pixels(size.ws_xpixel, size.ws_col), pixels(size.ws_ypixel, size.ws_row))
}

/// What the terminal is like, as far as it said; none: nothing is known of it.
pub fn traits() -> Option<Traits> {
    let (cell_width, cell_height) = cell();
    let measured = taken().as_ref().and_then(|taken| taken.borrowed.measured());
    let clusters =
        measured.map_or(0, |columns| sessd_terminal::Traits::default().measured(columns).clusters.into());
    let traits = Traits { clusters, cell_width, cell_height };
    (measured.is_some() || traits != Traits::default()).then_some(traits)
}

/// Names the terminal, the same for all who are run in it one after the other; empty: it has no name. Device and session, because
/// a device is another window's when this one is closed.
pub fn name() -> String {
    let device =
        rustix::fs::fstat(rustix::stdio::stdout()).map(|stat| (stat.st_dev, stat.st_rdev, stat.st_ino));
    let session = rustix::process::getsid(None);
    match (device, session) {
        (Ok((dev, rdev, ino)), Ok(sid)) => format!("{dev:x}.{rdev:x}.{ino:x}.{}", sid.as_raw_nonzero()),
        _ => String::new(),
    }
}

/// Is there a terminal for a view?
///
/// # Errors
/// When stdin or stdout is none.
pub fn needed() -> Result<()> {
    if rustix::termios::isatty(rustix::stdio::stdin()) && rustix::termios::isatty(rustix::stdio::stdout()) {
        return Ok(());
    }
    Err(Error::failed("a view needs a terminal", "run it in one, without redirections"))
}

#[allow(clippy::disallowed_methods)] // a view draws
fn put(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone needs nothing given back.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

fn taken() -> MutexGuard<'static, Option<Taken>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes of a session's output what the user's terminal is to be told, so that it can be given back.
pub fn pass(bytes: &[u8], out: &mut Vec<u8>) {
    match &mut *taken() {
        Some(Taken { plain: Some(plain), .. }) => plain.pass(bytes, out),
        Some(taken) => taken.borrowed.pass(bytes, out),
        None => out.extend_from_slice(bytes),
    }
}

/// Was something passed on since this was last asked that the terminal may answer, though it is no query we know?
pub fn take_asked() -> bool {
    taken().as_mut().is_some_and(|taken| taken.borrowed.take_asked())
}

/// What is typed, without what the terminal answers to questions of our own. Times in the view's milliseconds.
pub fn typed(bytes: &[u8], now_ms: u64) -> Vec<u8> {
    taken().as_mut().map_or_else(|| bytes.to_vec(), |taken| taken.borrowed.typed(bytes, now_ms))
}

/// When [`expire_typed`] must be asked.
pub fn deadline_ms() -> Option<u64> {
    taken().as_ref().and_then(|taken| taken.borrowed.deadline_ms())
}

/// What was held back of what is typed, once its time has passed.
pub fn expire_typed(now_ms: u64) -> Vec<u8> {
    taken().as_mut().map_or_else(Vec::new, |taken| taken.borrowed.expire_typed(now_ms))
}

/// Whether the terminal may answer a question of our own still.
pub fn awaits_answers(now_ms: u64) -> bool {
    taken().as_ref().is_some_and(|taken| taken.borrowed.awaits_answers(now_ms))
}

/// As [`pass`], for a whole snapshot.
pub fn pass_snapshot(snapshot: &[u8], out: &mut Vec<u8>) {
    match &mut *taken() {
        Some(Taken { plain: Some(plain), .. }) => {
            return plain.screen(snapshot, size().unwrap_or((80, 24)), out);
        }
        Some(taken) => taken.borrowed.snapshot_begins(out),
        None => {}
    }
    pass(snapshot, out);
}

/// When the terminal is given back, the cursor goes below so many rows of text; `None`: below all.
pub fn leave_below(text_rows: Option<u16>) {
    if let Some(taken) = &mut *taken() {
        taken.text_rows = text_rows;
    }
}

fn give_back() {
    // Never waited for: a panic may have come while it was in use, and the guard comes after it.
    let taken = match TAKEN.try_lock() {
        Ok(mut taken) => taken.take(),
        Err(TryLockError::Poisoned(taken)) => taken.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    };
    let Some(Taken { before, mut borrowed, text_rows, plain }) = taken else { return };
    if plain.is_some() {
        put(b"\r\n");
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &before);
        return;
    }
    let undo = borrowed.all_back(size(), text_rows);
    put(&undo);
    let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &before);
}

/// The terminal is as it was while `meanwhile` runs, and then ours again; [`Raw`] goes on to guard it.
///
/// # Errors
/// As [`Raw::take`].
pub fn lend(plain: bool, wide: bool, meanwhile: impl FnOnce()) -> Result<()> {
    give_back();
    meanwhile();
    let _there_is_a_guard_already = std::mem::ManuallyDrop::new(Raw::take(plain, wide)?);
    Ok(())
}

impl Raw {
    /// Takes the terminal. What it shows is scrolled out of sight, not wiped out. `plain`: it can only be written to;
    /// `wide`: it shows more than ASCII.
    ///
    /// # Errors
    /// When stdin or stdout is no terminal.
    pub fn take(plain: bool, wide: bool) -> Result<Self> {
        needed()?;
        let trouble = |e: rustix::io::Errno| {
            Error::failed(format!("the terminal cannot be used ({e})"), "try it in another one")
        };
        let before = tcgetattr(rustix::stdio::stdin()).map_err(trouble)?;
        let mut raw = before.clone();
        raw.make_raw();
        *taken() = Some(Taken {
            before,
            borrowed: Borrowed::default(),
            text_rows: None,
            plain: plain.then(Plain::default),
        });
        let guard = Self { _private: () };
        ON_PANIC.call_once(|| {
            let default = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                default(info);
            }));
        });
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).map_err(trouble)?;
        if plain {
            put(b"sessd: this terminal shows text only (TERM is `dumb` or not set): colours and places are left out\r\n");
            return Ok(guard);
        }
        put(Borrowed::TAKE);
        put("\r\n".repeat(size().map_or(0, |(_, rows)| rows.into())).as_bytes());
        // The last row is blank now, and the cursor is in it.
        if wide
            && let Some((_, row)) = size()
            && let Some(taken) = &mut *taken()
        {
            put(&taken.borrowed.measure(row));
        }
        Ok(guard)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        give_back();
    }
}
