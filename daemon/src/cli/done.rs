//! A session that has ended: its last screen, its end, and the question whether to run it again.

use crate::cli::print;
use crate::cli::when::Wall;
use crate::view::signals::{self, Signals};
use rustix::event::{PollFd, PollFlags};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_client::core::{Output, Told, Wants};
use sessd_client::looker::Looker;
use sessd_proto::docs::{Error, InfoDoc, Result};
use sessd_proto::limits::SCROLLBACK_LINES;
use sessd_terminal::{Size, Terminal};
use std::io::{IsTerminal, Read};

/// Shows the end of a session. True: its user wants it to run again.
///
/// # Errors
/// When the manager cannot be asked, or nothing tells us of signals.
pub fn show(paths: &Paths, doc: &InfoDoc) -> Result<bool> {
    let session = &doc.session;
    let stdin = std::io::stdin();
    let person = stdin.is_terminal() && out::is_terminal();
    if let Some(screen) = last_screen(paths, &session.id)? {
        let mut text = if out::is_terminal() {
            screen.ansi(SCROLLBACK_LINES)
        } else {
            screen.text(SCROLLBACK_LINES).into_bytes()
        };
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        out::own(&text)?;
    }
    let label = print::label(session);
    let ended = print::ended(doc, &Wall::here());
    out::say(&format!("[{label}: {ended}; `sessd restart {label}` runs it again]"));
    if !person {
        return Ok(false);
    }
    // Before the question: whoever answers at once is not to be quicker than we are.
    let mut signals = Signals::listen()
        .map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), "try again"))?;
    let before = without_quit(&stdin);
    out::question("restart? [y/N] ");
    let mut line = [0; 256];
    let told_to_go = until_typed(&stdin, &mut signals);
    // One line, however it ends. What cannot be read is no yes.
    let read = if told_to_go.is_none() { stdin.lock().read(&mut line).unwrap_or_default() } else { 0 };
    if !line[..read].ends_with(b"\n") {
        // The shell's prompt begins on a line of its own.
        out::new_line();
    }
    if let Some(before) = before {
        let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &before);
    }
    if let Some(signal) = told_to_go {
        signals::end_by(signal);
    }
    Ok(matches!(line[..read].trim_ascii(), b"y" | b"Y" | b"yes"))
}

/// Waits until something can be read; or the signal that tells us to go.
fn until_typed(stdin: &std::io::Stdin, signals: &mut Signals) -> Option<i32> {
    loop {
        let typed = {
            let mut fds =
                [PollFd::new(stdin, PollFlags::IN), PollFd::from_borrowed_fd(signals.bell(), PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => !fds[0].revents().is_empty(),
                Err(rustix::io::Errno::INTR) => false,
                Err(_) => true,
            }
        };
        let came = signals.take();
        if came.told_to_go.is_some() || typed {
            return came.told_to_go;
        }
        if came.stops && signals::somebody_lets_us_go_on() {
            signals::stop();
        }
    }
}

/// The detach key, which is what ends a program elsewhere, ends the question instead. What is to be put back afterwards.
fn without_quit(stdin: &std::io::Stdin) -> Option<Termios> {
    const OFF: u8 = 0;
    let before = rustix::termios::tcgetattr(stdin).ok()?;
    let mut modes = before.clone();
    let quit = std::mem::replace(&mut modes.special_codes[SpecialCodeIndex::VQUIT], OFF);
    modes.special_codes[SpecialCodeIndex::VEOL] = quit;
    rustix::termios::tcsetattr(stdin, OptionalActions::Now, &modes).ok()?;
    Some(before)
}

fn last_screen(paths: &Paths, id: &str) -> Result<Option<Terminal>> {
    let wants = Wants::looker(Output::Stream, SCROLLBACK_LINES as u32);
    let mut looker = Looker::at(paths, id, wants, None)?;
    let mut screen = None;
    loop {
        match looker.next(None, None)? {
            Some(Told::Screen { size: (cols, rows), snapshot, .. }) => {
                let mut terminal = Terminal::new(Size { cols, rows }.clamped(), SCROLLBACK_LINES);
                terminal.feed(&snapshot);
                screen = Some(terminal);
            }
            Some(Told::Ended(_) | Told::Gone(_)) => return Ok(screen),
            _ => {}
        }
    }
}
