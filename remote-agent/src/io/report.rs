//! `sessd report`, said inside a job: to its holder's socket, or, where that cannot be reached (in a container, as another
//! user, over another ssh), through the terminal, as `OSC 777 ; sessd ; STATE ; NOTE`.
//!
//! Every job finds a program that does so: `SESSD_AGENT` names this one, and a folder at the end of its PATH has it as `sessd`.

use sessd_proto::messages::{Doing, Report};
use sessd_proto::{Frame, hello};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The variable that names the holder's socket.
pub const SOCKET: &str = "SESSD_SOCKET";
/// How long a holder may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is wrong with the words.
pub const USAGE: &str = "usage: sessd report working|waiting|done [--note TEXT]";

/// The words of a report.
pub fn parse(words: &[&str]) -> Option<Report> {
    let (mut state, mut note) = (None, String::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--note" | "-n" => note = (*words.next()?).to_owned(),
            word if word.starts_with("--note=") => note = word["--note=".len()..].to_owned(),
            "working" if state.is_none() => state = Some(Doing::Working),
            "waiting" if state.is_none() => state = Some(Doing::Waiting),
            "done" if state.is_none() => state = Some(Doing::Done),
            _ => return None,
        }
    }
    Some(Report { state: state? as i32, note })
}

/// Reports to the holder, or through the terminal.
///
/// # Errors
/// When neither can be reached: it is said outside of a job.
pub fn report(report: Report) -> io::Result<()> {
    let socket = std::env::var_os(SOCKET).filter(|path| !path.is_empty());
    if let Some(socket) = socket
        && to_holder(&UnixStream::connect(socket), &report).is_ok()
    {
        return Ok(());
    }
    let mut terminal = std::fs::OpenOptions::new().write(true).open("/dev/tty").map_err(|_| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "this is no job of sessd: its holder is not here, and no terminal",
        )
    })?;
    terminal.write_all(sequence(&report).as_bytes())
}

fn to_holder(stream: &io::Result<UnixStream>, report: &Report) -> io::Result<()> {
    let mut stream = stream.as_ref().map_err(|error| io::Error::from(error.kind()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut words = Frame::Hello(hello::hello(crate::VERSION, "")).to_bytes(0);
    Frame::Report(report.clone()).put(0, &mut words);
    stream.write_all(&words)?;
    let mut decoder = sessd_proto::Decoder::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            match frame.parse().map_err(io::Error::other)? {
                Frame::Sent(_) => return Ok(()),
                Frame::Unsupported(_) | Frame::Close(_) => return Err(io::ErrorKind::Unsupported.into()),
                _ => {}
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => decoder.push(&buffer[..n]),
        }
    }
}

fn sequence(report: &Report) -> String {
    let word = match Doing::try_from(report.state) {
        Ok(Doing::Waiting) => "waiting",
        Ok(Doing::Done) => "done",
        _ => "working",
    };
    let note: String = report.note.chars().filter(|c| !c.is_control()).collect();
    format!("\x1b]777;sessd;{word};{note}\x1b\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_terminal::{Reported, Signal, Size, Terminal};

    #[test]
    fn the_words_of_a_report() {
        let waiting = |note: &str| Some(Report { state: Doing::Waiting as i32, note: note.into() });
        for (words, want) in [
            (&["waiting"][..], waiting("")),
            (&["waiting", "--note", "which file?"], waiting("which file?")),
            (&["--note=x", "waiting"], waiting("x")),
            (&["waiting", "-n", "x"], waiting("x")),
            (&[], None),
            (&["--note", "x"], None),
            (&["waiting", "done"], None),
            (&["waiting", "--note"], None),
            (&["asleep"], None),
        ] {
            assert_eq!(parse(words), want, "{words:?}");
        }
    }

    #[test]
    fn what_is_said_through_the_terminal_is_heard_by_the_model() {
        let mut terminal = Terminal::new(Size { cols: 80, rows: 24 }, 0);
        let report = parse(&["done", "--note", "a;b\x1b\\c"]).unwrap();
        terminal.feed(sequence(&report).as_bytes());
        assert_eq!(terminal.take_signals(), [Signal::Report(Reported::Done, "a;b\\c".into())]);
        assert_eq!(terminal.text(0), "");
    }
}
