//! Commands to run as jobs, paced by the test and not by a clock.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::procs;
use crate::wait::until;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// `text` as one word of `sh`.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A job that prints lines `n:000000`, `n:000001`, … as many as the test asks for, when it asks for them.
///
/// It reads the counts from a named pipe; it ends with code 0 when this end of the pipe is dropped.
#[derive(Debug)]
pub struct Numbers {
    pipe: File,
    pipe_path: PathBuf,
    pid_path: PathBuf,
    asked: std::cell::Cell<usize>,
}

impl Numbers {
    /// A numbering job whose pipe lies in `dir`.
    ///
    /// # Panics
    /// When the pipe cannot be made.
    pub fn new(dir: &Path) -> Numbers {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let pipe_path = dir.join(format!("numbers.{n}"));
        let pid_path = dir.join(format!("numbers.{n}.pid"));
        mknodat(CWD, &pipe_path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a named pipe");
        // Opened both ways: it neither waits for the job, nor gives it an end before this end is dropped.
        let pipe =
            OpenOptions::new().read(true).write(true).open(&pipe_path).expect("our end of the named pipe");
        Numbers { pipe, pipe_path, pid_path, asked: std::cell::Cell::new(0) }
    }

    /// The script, for `sh -c`.
    pub fn script(&self) -> String {
        let (pipe, pid) = (self.pipe_path.display(), self.pid_path.display());
        format!(
            "echo $$ >{pid}.new; mv {pid}.new {pid}; i=0; exec 3<{pipe}; while read -r many <&3; do last=$((i+many)); \
             while [ $i -lt $last ]; do printf 'n:%06d\\n' $i; i=$((i+1)); done; done"
        )
    }

    /// Asks for `many` more lines.
    ///
    /// # Panics
    /// When the pipe is full: the job no longer reads.
    pub fn emit(&self, many: usize) {
        (&self.pipe).write_all(format!("{many}\n").as_bytes()).expect("the numbering job's pipe");
        self.asked.set(self.asked.get() + many);
    }

    /// How many lines have been asked for.
    pub fn asked(&self) -> usize {
        self.asked.get()
    }

    /// The last line that has been asked for.
    pub fn last_line(&self) -> String {
        format!("n:{:06}", self.asked.get().saturating_sub(1))
    }

    /// The job's process, once it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub fn pid(&self) -> i32 {
        wait_pid(&self.pid_path)
    }
}

/// The process id that a job wrote to `path`.
///
/// # Panics
/// When it does not come.
pub fn wait_pid(path: &Path) -> i32 {
    let pid = until(&format!("a process id in {}", path.display()), Duration::from_secs(15), || {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    });
    assert!(procs::alive(pid), "process {pid} of {} is gone already", path.display());
    pid
}

/// A script that notes its process id in `path`, then goes on with `rest`.
pub fn noting_pid(path: &Path, rest: &str) -> String {
    let path = path.display();
    format!("echo $$ >{path}.new; mv {path}.new {path}; {rest}")
}

/// The numbers of all lines `n:000000` in `bytes`, in order of appearance.
pub fn numbers_in(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(at) = procs::find(rest, b"n:") {
        rest = &rest[at + 2..];
        if rest.len() >= 6 && rest[..6].iter().all(u8::is_ascii_digit) {
            found.push(rest[..6].iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')));
            rest = &rest[6..];
        }
    }
    found
}

/// Says what is wrong with `numbers`, which should be 0, 1, 2, … up to `count`: each once and in order.
///
/// # Errors
/// The first number that is lost, doubled or out of order.
pub fn check_numbers(numbers: &[usize], count: usize) -> Result<(), String> {
    for (at, &number) in numbers.iter().enumerate() {
        if number != at {
            let around = &numbers[at.saturating_sub(3)..(at + 4).min(numbers.len())];
            let kind = if number < at { "again or out of order" } else { "after a gap" };
            return Err(format!("line {number} came {kind}, where {at} should be (around it: {around:?})"));
        }
    }
    if numbers.len() == count { Ok(()) } else { Err(format!("{} lines came of {count}", numbers.len())) }
}
