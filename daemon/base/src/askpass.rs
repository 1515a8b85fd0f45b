//! What the system's `ssh` asks, on its way to a person: this program under another name, which ssh runs with its question
//! (`SSH_ASKPASS`), gives it to whoever started ssh and prints the answer.
//!
//! Both ends meet at a socket beside that name, in a folder that nobody else can enter. The question is one kind and the
//! text up to the end; the answer is [`GIVEN`] and the text up to the end, or nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// The name under which this program asks for ssh.
pub const NAME: &str = "sessd-askpass";
/// The socket beside it.
pub const SOCKET: &str = "s";
/// A question that is answered.
pub const QUESTION: u8 = b'?';
/// Something to be done, such as a touch, that ssh itself notices.
pub const NOTICE: u8 = b'!';
/// Before an answer.
pub const GIVEN: u8 = b'=';
/// The longest question and the longest answer, in bytes.
pub const LONGEST: usize = 8 << 10;

/// What ssh wants where it runs this program to ask; `None`: it was not started for that.
pub fn be_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    let name = Path::new(&name);
    if name.file_name()? != NAME {
        return None;
    }
    let socket = name.parent()?.join(SOCKET);
    let question = arguments.next().unwrap_or_default();
    let is_notice = std::env::var_os("SSH_ASKPASS_PROMPT").is_some_and(|kind| kind == "none");
    let kind = if is_notice { NOTICE } else { QUESTION };
    match ask(&socket, kind, &question.to_string_lossy()) {
        Ok(Some(answer)) => {
            let line = Zeroizing::new([answer.as_slice(), b"\n"].concat());
            let printed = rustix::io::write(rustix::stdio::stdout(), &line);
            Some(if printed.is_ok_and(|n| n == line.len()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Ok(None) | Err(_) => Some(ExitCode::FAILURE),
    }
}

fn ask(socket: &Path, kind: u8, question: &str) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut stream = UnixStream::connect(socket)?;
    let end = question.floor_char_boundary(LONGEST - 1);
    stream.write_all(&[&[kind], &question.as_bytes()[..end]].concat())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Room for all of it from the beginning, so that no copy is left behind.
    let mut answer = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    stream.take(LONGEST as u64).read_to_end(&mut answer)?;
    Ok((answer.first() == Some(&GIVEN)).then(|| Zeroizing::new(answer[1..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_question_gets_there_and_its_answer_comes_back() {
        for (reply, expected) in
            [(&b"=a secret"[..], Some(&b"a secret"[..])), (b"=", Some(b"")), (b"", None), (b"no", None)]
        {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join(SOCKET);
            let listener = UnixListener::bind(&socket).unwrap();
            let person = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                stream.read_to_end(&mut asked).unwrap();
                stream.write_all(reply).unwrap();
                asked
            });
            let answer = ask(&socket, QUESTION, "me@box's password: ").unwrap();
            assert_eq!(answer.as_deref().map(Vec::as_slice), expected);
            assert_eq!(person.join().unwrap(), b"?me@box's password: ");
        }
        assert!(ask(Path::new("/nowhere/s"), QUESTION, "x").is_err());
    }
}
