//! A question that the manager puts before the person at this terminal.
//!
//! [`Editor`] takes what is typed and is pure; [`ask`] is for a command, on the terminal that it was started from, whatever
//! its standard input is.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use sessd_base::process;
use sessd_base::prompt::{Answer, Question};
use sessd_proto::Frame;
use sessd_proto::messages as m;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::{Zeroize as _, Zeroizing};

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 4096;

/// An answer while it is typed.
#[derive(Debug)]
pub struct Editor {
    typed: Zeroizing<Vec<u8>>,
    /// An escape sequence of which the end is waited for. The keys of arrows and the like say nothing here.
    escape: Option<Vec<u8>>,
}

impl Default for Editor {
    fn default() -> Self {
        // As large as it may become: growing would leave copies behind.
        Self { typed: Zeroizing::new(Vec::with_capacity(MAX_ANSWER)), escape: None }
    }
}

impl Editor {
    /// Takes what is typed, up to its end. `Some`: that is the answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Answer> {
        for byte in bytes {
            let answer = match &mut self.escape {
                None if *byte == 0x1b => {
                    self.escape = Some(Vec::new());
                    None
                }
                None => self.key(*byte),
                Some(sequence) if sequence.is_empty() && matches!(byte, b'[' | b'O') => {
                    sequence.push(*byte);
                    None
                }
                Some(sequence) if !sequence.is_empty() && (0x20..=0x3f).contains(byte) => {
                    if sequence.len() < 32 {
                        sequence.push(*byte);
                    }
                    None
                }
                Some(_) => {
                    let sequence = self.escape.take().unwrap_or_default();
                    if *byte == b'u' { self.key_by_number(&sequence) } else { None }
                }
            };
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// A key as a terminal tells it by the number of its character (`CSI 13 u`), which a job may have asked for.
    fn key_by_number(&mut self, sequence: &[u8]) -> Option<Answer> {
        let text = std::str::from_utf8(sequence.get(1..)?).ok()?;
        let mut parts =
            text.split(';').map(|part| part.split(':').next().and_then(|n| n.parse::<u32>().ok()));
        let (key, modifiers) = (char::from_u32(parts.next()??)?, parts.next().flatten().unwrap_or(1) - 1);
        if modifiers & 4 != 0 {
            return self.key(u8::try_from(key).ok()? & 0x1f);
        }
        let mut bytes = Zeroizing::new([0; 4]);
        key.encode_utf8(&mut bytes[..]).bytes().find_map(|byte| self.key(byte))
    }

    /// One byte that is part of no sequence.
    fn key(&mut self, byte: u8) -> Option<Answer> {
        match byte {
            b'\r' | b'\n' => {
                let typed = std::mem::replace(&mut self.typed, Zeroizing::new(Vec::new()));
                return Some(match std::str::from_utf8(&typed) {
                    Ok(text) => Answer::Given(Zeroizing::new(text.to_owned())),
                    Err(_) => Answer::Declined,
                });
            }
            // Ctrl-C, and Ctrl-D where nothing is typed.
            0x03 => return Some(Answer::Declined),
            0x04 if self.typed.is_empty() => return Some(Answer::Declined),
            0x08 | 0x7f => while self.typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            0x15 => self.typed.clear(),
            0x20.. if self.typed.len() < MAX_ANSWER => self.typed.push(byte),
            _ => {}
        }
        None
    }

    /// What is typed so far, where it may be seen.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.typed).into_owned()
    }
}

/// A question as it came, cleaned once more: it goes to a terminal.
pub fn from_message(question: &m::Question) -> Question {
    let clean = |text: &str, max| sessd_proto::docs::text::clean(text, max);
    let lines: Vec<String> = question.text.lines().take(40).map(|line| clean(line, 400)).collect();
    Question {
        host: clean(&question.host, 300),
        text: lines.join("\n"),
        prompt: clean(&question.prompt, 600),
        echo: question.echo,
    }
}

/// An answer as it is sent. The caller wipes it.
pub fn answer_frame(id: u64, given: Option<Zeroizing<String>>) -> Vec<u8> {
    let given = given.map(|given| given.as_str().to_owned());
    let mut bytes = Vec::with_capacity(MAX_ANSWER + 64);
    let frame = Frame::Answer(m::QuestionAnswer { id, given });
    frame.put(0, &mut bytes);
    // The message's own copy.
    if let Frame::Answer(mut message) = frame {
        message.given.zeroize();
    }
    bytes
}

/// The terminal that this process belongs to, if there is one and a person can be asked there.
pub fn terminal() -> Option<File> {
    File::options().read(true).write(true).open("/dev/tty").ok()
}

/// Whether a person can be asked.
pub fn is_answered() -> bool {
    terminal().is_some()
}

/// Asks on the terminal. `over` is called whenever `also` can be read: whether the question is not wanted any more.
/// `None`: it is not, or there is no terminal.
pub fn ask(
    question: &Question,
    also: std::os::fd::BorrowedFd<'_>,
    mut over: impl FnMut() -> bool,
) -> Option<Answer> {
    let mut tty = terminal()?;
    let before = tcgetattr(&tty).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
    quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    let told_to_go = Arc::new(AtomicUsize::new(0));
    let heard: Vec<_> = process::ending_signals()
        .filter_map(|s| signal_hook::flag::register_usize(s, told_to_go.clone(), s as usize).ok())
        .collect();
    // What was typed before the question was seen is no answer to it.
    tcsetattr(&tty, OptionalActions::Flush, &quiet).ok()?;
    let mut head = String::new();
    if !question.text.is_empty() {
        head.push_str(&question.text.replace('\n', "\r\n"));
        head.push_str("\r\n");
    }
    head.push_str(&question.prompt);
    if !head.ends_with(' ') {
        head.push(' ');
    }
    let _ = tty.write_all(head.as_bytes());
    let answer = typed(question, &mut tty, also, &mut over, &told_to_go);
    let _ = tty.write_all(b"\r\n");
    let _ = tcsetattr(&tty, OptionalActions::Drain, &before);
    for id in heard {
        signal_hook::low_level::unregister(id);
    }
    if let signal @ 1.. = told_to_go.load(Ordering::Relaxed) {
        let _ = signal_hook::low_level::emulate_default_handler(signal as i32);
        // It does not know all of them.
        std::process::exit(128 + signal as i32);
    }
    answer
}

fn typed(
    question: &Question,
    tty: &mut File,
    also: std::os::fd::BorrowedFd<'_>,
    over: &mut impl FnMut() -> bool,
    told_to_go: &AtomicUsize,
) -> Option<Answer> {
    let mut editor = Editor::default();
    let mut buffer = Zeroizing::new([0u8; 1024]);
    loop {
        let (can_type, can_hear) = {
            let mut fds = [PollFd::new(&*tty, PollFlags::IN), PollFd::from_borrowed_fd(also, PollFlags::IN)];
            // Looked at again for a signal that came just before.
            let pause = Timespec { tv_sec: 1, tv_nsec: 0 };
            match rustix::event::poll(&mut fds, Some(&pause)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Some(Answer::Declined),
            }
            (!fds[0].revents().is_empty(), !fds[1].revents().is_empty())
        };
        if told_to_go.load(Ordering::Relaxed) != 0 {
            return Some(Answer::Declined);
        }
        if can_hear && over() {
            return None;
        }
        if !can_type {
            continue;
        }
        let read = match tty.read(&mut buffer[..]) {
            Ok(0) | Err(_) => return Some(Answer::Declined),
            Ok(read) => read,
        };
        let before = question.echo.then(|| editor.shown());
        let answer = editor.feed(&buffer[..read]);
        buffer[..read].zeroize();
        if let Some(answer) = answer {
            if let (Some(before), Answer::Given(given)) = (&before, &answer) {
                redraw(tty, before, given);
            }
            return Some(answer);
        }
        if let Some(before) = before {
            redraw(tty, &before, &editor.shown());
        }
    }
}

/// What is typed and may be seen, in the place of what was there before.
fn redraw(tty: &mut File, before: &str, now: &str) {
    let clean = |text: &str| sessd_proto::docs::text::clean(text, MAX_ANSWER);
    let back = "\u{8} \u{8}".repeat(clean(before).chars().count());
    let _ = tty.write_all(format!("{back}{}", clean(now)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Option<Answer> {
        Some(Answer::Given(Zeroizing::new(text.to_owned())))
    }

    #[test]
    fn an_answer_is_what_was_typed_before_enter() {
        for (typed, expected) in [
            (&b"secret\r"[..], given("secret")),
            (b"\n", given("")),
            (b"ab\x7fc\n", given("ac")),
            ("äö\x7f\n".as_bytes(), given("ä")),
            (b"wrong\x15right\n", given("right")),
            (b"a\x1b[Ab\x1bOCc\x1b[1;5Dd\n", given("abcd")),
            (b"half", None),
            (b"gone\x03", Some(Answer::Declined)),
            (b"\x04", Some(Answer::Declined)),
            (b"a\x04\n", given("a")),
            (b"\xff\n", Some(Answer::Declined)),
            (b"a\x1b[98u\x1b[127u\x1b[99;1:1u\x1b[13u", given("ac")),
            (b"\x1b[99;5u", Some(Answer::Declined)),
        ] {
            let whole = Editor::default().feed(typed);
            assert!(whole == expected, "{:?}", String::from_utf8_lossy(typed));
            // However it is cut.
            let mut editor = Editor::default();
            let cut = typed.iter().find_map(|byte| editor.feed(&[*byte]));
            assert!(cut == expected, "{:?}", String::from_utf8_lossy(typed));
        }
    }

    #[test]
    fn an_answer_has_a_bound() {
        let mut editor = Editor::default();
        assert!(editor.feed(&vec![b'x'; MAX_ANSWER * 2]).is_none());
        assert_eq!(editor.shown().len(), MAX_ANSWER);
    }

    #[test]
    fn what_a_host_says_does_nothing_to_the_terminal() {
        let question = from_message(&m::Question {
            prompt: "Pass\u{1b}[2Jword: ".into(),
            text: "a\r\n\u{7}b".into(),
            ..m::Question::default()
        });
        assert_eq!((question.prompt.as_str(), question.text.as_str()), ("Pass[2Jword:", "a\nb"));
    }
}
