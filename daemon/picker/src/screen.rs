//! The user's terminal: taken for the picker and given back as it was, however the picker ends.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sessd_proto::docs::{Error, Result};
use std::sync::{Mutex, Once, PoisonError, TryLockError};

/// What was before we came, for whoever has to give it back: the guard, or a panic.
static TAKEN: Mutex<Option<Termios>> = Mutex::new(None);
static ON_PANIC: Once = Once::new();

/// What is touched is saved (XTSAVE) where the terminal knows how; the alternate screen keeps the first one and its cursor; a
/// keyboard entry of our own lies on what the user's shell set. Pastes come marked, so that none is taken for keys; the mouse is
/// told by its buttons alone.
const TAKE: &[u8] =
    b"\x1b[?7;25;1000;1006;2004s\x1b[?1049h\x1b[>0u\x1b[?25l\x1b[?7h\x1b[?2004h\x1b[?1000h\x1b[?1006h\x1b[m\x1b[H\x1b[2J";

/// Ends whatever was half said, then takes away what [`TAKE`] put there.
const GIVE_BACK: &[u8] =
    b"\x18\x1b[?2026l\x1b[m\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[<1u\x1b[?25h\x1b[?1049l\x1b[?7;25;1000;1006;2004r";

/// The terminal, ours as long as this lives.
#[derive(Debug)]
pub(crate) struct Screen {
    _private: (),
}

/// Its size; one that does not say has the usual one.
pub(crate) fn size() -> (u16, u16) {
    match tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    }
}

/// Writes all of it. A terminal that is gone needs nothing more.
pub(crate) fn put(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// `flush`: what was typed and not read is for nobody.
fn give_back(flush: bool) {
    // Never waited for: a panic may have come while it was in use, and the guard comes after it.
    let before = match TAKEN.try_lock() {
        Ok(mut taken) => taken.take(),
        Err(TryLockError::Poisoned(taken)) => taken.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(before) = before {
        put(GIVE_BACK);
        let how = if flush { OptionalActions::Flush } else { OptionalActions::Now };
        let _ = tcsetattr(rustix::stdio::stdin(), how, &before);
    }
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When stdin is none.
    pub(crate) fn take() -> Result<Self> {
        let trouble = |e: rustix::io::Errno| {
            Error::failed(format!("the terminal cannot be used ({e})"), "try it in another one")
        };
        let before = tcgetattr(rustix::stdio::stdin()).map_err(trouble)?;
        let mut raw = before.clone();
        raw.make_raw();
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        ON_PANIC.call_once(|| {
            let default = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back(true);
                default(info);
            }));
        });
        let screen = Self { _private: () };
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).map_err(trouble)?;
        put(TAKE);
        Ok(screen)
    }

    /// Gives it back to whoever takes it next, with what was typed and not read.
    pub(crate) fn hand_on(self) {
        give_back(false);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::File;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    const PANICS: &str = "SESSD_TEST_PANICS";

    /// This test again, on a terminal of its own, panics where it has taken that.
    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read_there() {
        if std::env::var_os(PANICS).is_some() {
            let _screen = Screen::take().expect("a terminal");
            panic!("as it happens");
        }
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        let before = tcgetattr(&theirs).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "screen::tests::a_panic_gives_the_terminal_back_and_is_read_there",
                "--nocapture",
            ])
            .env(PANICS, "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        // What is asked of the terminal is asked while somebody has it: what it says is read beside.
        let mut said = File::from(ours);
        let reader = std::thread::spawn(move || {
            let (mut all, mut some) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = said.read(&mut some) {
                all.extend_from_slice(&some[..n]);
            }
            all
        });
        assert!(!child.wait().unwrap().success());
        let after = tcgetattr(&theirs).unwrap();
        drop(theirs);
        let all = reader.join().unwrap();
        let find = |what: &[u8]| all.windows(what.len()).position(|some| some == what);
        let (taken, given, read) = (find(TAKE), find(GIVE_BACK), find(b"as it happens"));
        assert!(taken.is_some() && taken < given && given < read, "{:?}", String::from_utf8_lossy(&all));
        assert_eq!(all.windows(GIVE_BACK.len()).filter(|some| *some == GIVE_BACK).count(), 1);
        assert_eq!((before.local_modes, before.input_modes), (after.local_modes, after.input_modes));
        assert_eq!(before.output_modes, after.output_modes);
    }
}
