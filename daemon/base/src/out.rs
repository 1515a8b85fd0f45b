//! What is printed: the one way to stdout and stderr, but for what a view draws. Whatever a session, a host or an argument
//! is called, nothing in it acts on the terminal it is printed to; and an answer that could not be printed is a failure.

#![allow(clippy::disallowed_methods)] // what the rest of the program may not call is called here

use crate::process;
use sessd_proto::docs::text;
use sessd_proto::docs::{Error, Result};
use std::io::{self, ErrorKind, Write};

/// What came of printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// It is out.
    Yes,
    /// Whoever read it has read enough and is gone, which is no failure.
    NobodyReads,
}

/// Onto stdout. One that was closed when we began is an error as for every program, however often Rust has opened `/dev/null` there.
fn print(bytes: &[u8]) -> Result<Printed> {
    if process::stdout_was_closed() && !bytes.is_empty() {
        return put(&mut Closed, bytes);
    }
    put(&mut io::stdout().lock(), bytes)
}

/// Where nothing can be written.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(rustix::io::Errno::BADF.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<Printed> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Printed::Yes),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::NobodyReads),
        Err(error) => Err(Error::failed(
            format!("the answer could not be printed ({})", reason(&error)),
            "what was asked for is done; look at where the output goes",
        )),
    }
}

/// "No space left on device", without the number behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Text of several lines for people.
///
/// # Errors
/// When it could not be printed.
pub fn lines(text: &str) -> Result<Printed> {
    print(text::shown_lines(text).as_bytes())
}

/// One line for people.
///
/// # Errors
/// When it could not be printed.
pub fn line(text: &str) -> Result<Printed> {
    print(format!("{}\n", text::shown(text)).as_bytes())
}

/// A JSON document on a line of its own.
///
/// # Errors
/// When it could not be printed.
pub fn json(document: &str) -> Result<Printed> {
    print(format!("{}\n", text::json(document)).as_bytes())
}

/// Bytes that this program makes itself, as they are: a script for a shell, a screen drawn from our own model.
///
/// # Errors
/// When they could not be printed.
pub fn own(bytes: &[u8]) -> Result<Printed> {
    print(bytes)
}

/// A line of the manager for whoever started it. Nobody may be there to read it any more.
pub fn announce(text: &str) {
    let _ = print(format!("{}\n", text::json(text)).as_bytes());
}

/// A line on stderr. There is nobody to tell that it could not be printed.
pub fn say(text: &str) {
    let _ = put(&mut io::stderr().lock(), format!("{}\n", text::shown(text)).as_bytes());
}

/// A remark on stderr, with our name before it.
pub fn note(text: &str) {
    say(&format!("sessd: {text}"));
}

/// A JSON document on stderr.
pub fn say_json(document: &str) {
    let _ = put(&mut io::stderr().lock(), format!("{}\n", text::json(document)).as_bytes());
}

/// A question on stderr; the answer is typed behind it.
pub fn question(text: &str) {
    let _ = put(&mut io::stderr().lock(), text::shown(text).as_bytes());
}

/// A line on stderr that takes the place of the one before: how far something is. Nothing: it goes.
pub fn over(text: &str) {
    let _ = put(&mut io::stderr().lock(), format!("\r\x1b[K{}", text::shown(text)).as_bytes());
}

/// Is stderr a terminal?
pub fn is_seen() -> bool {
    rustix::termios::isatty(rustix::stdio::stderr())
}

/// The cursor to a new line, on stderr.
pub fn new_line() {
    let _ = put(&mut io::stderr().lock(), b"\n");
}

/// Does a person see what is said beside the output?
pub fn notes_are_seen() -> bool {
    rustix::termios::isatty(rustix::stdio::stderr())
}

/// Is stdout a terminal?
pub fn is_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdout())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_not_be_printed_is_a_failure_and_a_reader_that_left_is_none() {
        assert_eq!(put(&mut Vec::new(), b"x"), Ok(Printed::Yes));
        assert_eq!(put(&mut Fails(ErrorKind::BrokenPipe), b"x"), Ok(Printed::NobodyReads));
        let error = put(&mut Fails(ErrorKind::StorageFull), b"x").unwrap_err();
        assert_eq!(error.kind.exit_code(), 1);
        assert_eq!(reason(&io::Error::from_raw_os_error(28)), "No space left on device");
    }
}
