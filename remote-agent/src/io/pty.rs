//! Opening a PTY and starting a program on it. One of the two rooms where unsafe code is allowed.
#![allow(unsafe_code)]

use crate::io::folder::{context, fault};
use crate::io::inherit;
use crate::machine::echo::Discipline;
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::termios::{InputModes, LocalModes, OptionalActions, Winsize};
use sessd_proto::messages::JobSpec;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A PTY with a program on it.
#[derive(Debug)]
pub struct Pty {
    /// Our end, not blocking.
    pub master: OwnedFd,
    /// The program; leader of its own session, its terminal the PTY's other end.
    pub child: Child,
    /// What was started, with the login shell by its path.
    pub command: Vec<String>,
    /// Its input and output, where these are not the terminal.
    plain: Option<Plain>,
}

/// Pipes to and from a program, our ends, not blocking.
#[derive(Debug)]
struct Plain {
    /// What it writes, to stdout and stderr.
    output: OwnedFd,
    /// What it reads; none: it has ended.
    input: Option<OwnedFd>,
}

impl Pty {
    /// Where the program's output comes from.
    pub fn source(&self) -> &OwnedFd {
        self.plain.as_ref().map_or(&self.master, |plain| &plain.output)
    }

    /// Where its input goes; none: that has ended.
    pub fn sink(&self) -> Option<&OwnedFd> {
        self.plain.as_ref().map_or(Some(&self.master), |plain| plain.input.as_ref())
    }

    /// Its input ends. A terminal's never does.
    pub fn end_input(&mut self) {
        if let Some(plain) = &mut self.plain {
            plain.input = None;
        }
    }

    /// What is to be watched, for these.
    pub fn watched(&self, flags: PollFlags) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let Some(plain) = &self.plain else {
            return if flags.is_empty() { Vec::new() } else { vec![(self.master.as_fd(), flags)] };
        };
        let output = flags.contains(PollFlags::IN).then(|| (plain.output.as_fd(), PollFlags::IN));
        let input = plain.input.as_ref().filter(|_| flags.contains(PollFlags::OUT));
        output.into_iter().chain(input.map(|fd| (fd.as_fd(), PollFlags::OUT))).collect()
    }
}

/// Does the terminal hide what is typed, and take it line by line, as at a question for a password?
pub fn hides_what_is_typed(master: impl AsFd) -> bool {
    matches!(discipline(master), Discipline { echo: false, lines: true })
}

/// How the terminal takes what is typed.
pub fn discipline(master: impl AsFd) -> Discipline {
    rustix::termios::tcgetattr(master).map_or_else(
        |_| Discipline::default(),
        |modes| Discipline {
            echo: modes.local_modes.contains(LocalModes::ECHO),
            lines: modes.local_modes.contains(LocalModes::ICANON),
        },
    )
}

/// Pipes: what the program gets as its input and its output, and our ends.
fn pipes() -> io::Result<(OwnedFd, OwnedFd, Plain)> {
    let pipe = || {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| context("no pipe could be made")(e.into()))
    };
    let ((their_input, input), (output, their_output)) = (pipe()?, pipe()?);
    rustix::io::ioctl_fionbio(&input, true)?;
    rustix::io::ioctl_fionbio(&output, true)?;
    Ok((their_input, their_output, Plain { output, input: Some(input) }))
}

fn size(cols: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Gives the PTY another size; the foreground program gets SIGWINCH if it differs.
pub fn resize(master: impl AsFd, cols: u16, rows: u16) -> io::Result<()> {
    Ok(rustix::termios::tcsetwinsize(master, size(cols, rows))?)
}

/// The process group in the foreground of the PTY.
pub fn foreground(master: impl AsFd) -> Option<u32> {
    rustix::termios::tcgetpgrp(master).ok().map(|pid| pid.as_raw_nonzero().get() as u32)
}

/// What a shell ends with for a command that is not there, and for one that may not or cannot be executed (POSIX, sh,
/// "Exit Status for Commands").
const NOT_FOUND: u32 = 127;
const NOT_EXECUTABLE: u32 = 126;

/// It is the command that cannot be executed.
#[derive(Debug)]
struct NoProgram {
    exit_code: u32,
    why: String,
}

impl std::fmt::Display for NoProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for NoProgram {}

fn no_program(exit_code: u32, why: String) -> io::Error {
    io::Error::other(NoProgram { exit_code, why })
}

/// What a shell would end with, where it is the command that cannot be executed.
pub fn exit_code_of(error: &io::Error) -> Option<u32> {
    error.get_ref()?.downcast_ref::<NoProgram>().map(|no| no.exit_code)
}

/// Starts the program of `spec` on a new PTY, or, if it is plain, with pipes and no terminal. `own`: variables that it gets
/// whatever else is said.
///
/// # Errors
/// With the reason a person needs: no such folder, no such command, no permission.
pub fn spawn(spec: &JobSpec, cols: u16, rows: u16, own: &[(&str, OsString)]) -> io::Result<Pty> {
    let master = crate::platform::open_pty().map_err(context("no terminal could be opened"))?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave =
        rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    if let Ok(mut modes) = rustix::termios::tcgetattr(&slave) {
        // So that the kernel's own line editing erases whole characters.
        modes.input_modes |= InputModes::IUTF8;
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes)?;
    }
    resize(&master, cols, rows)?;

    let home = std::env::var("HOME").unwrap_or_default();
    let cwd = folder_of(&spec.cwd, &home, |path| may_begin_in(path).is_ok());
    if let Err(why) = may_begin_in(&cwd) {
        return Err(fault(format!("the folder {} {why}", cwd.display())));
    }
    let shell = login_shell();
    let (mut command, started) = match spec.command.as_slice() {
        [] => {
            let mut command = Command::new(&shell);
            let name =
                Path::new(&shell).file_name().map_or("sh".into(), |n| n.to_string_lossy().into_owned());
            // A leading dash is how login(1) tells a shell that it is a login shell.
            command.arg0(format!("-{name}"));
            (command, vec![shell, "-l".to_owned()])
        }
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            (command, spec.command.clone())
        }
    };
    let clone = |fd: &OwnedFd| fd.try_clone().map(Stdio::from);
    let (plain, has_terminal) = if spec.plain {
        let (input, output, plain) = pipes()?;
        command.stdin(Stdio::from(input)).stdout(clone(&output)?).stderr(Stdio::from(output));
        (Some(plain), false)
    } else {
        command.stdin(clone(&slave)?).stdout(clone(&slave)?).stderr(clone(&slave)?);
        (None, true)
    };
    drop(slave);
    command.current_dir(&cwd);
    for name in NOT_FOR_THE_JOB {
        command.env_remove(name);
    }
    // What our terminal model speaks, whatever the terminals that will show it are.
    command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor").env("PWD", &cwd);
    if spec.plain {
        command.env("TERM", "dumb").env_remove("COLORTERM");
    }
    command.envs(&spec.env);
    command
        .env("SESSD_SESSION", &spec.session_id)
        .env("SESSD_NAME", &spec.name)
        .env("SESSD_HOST", &spec.host)
        .envs(own.iter().map(|(name, value)| (*name, value)));
    let inherits = inherit::Ready::new(&inherit::told());
    // SAFETY: between fork and exec there are only system calls, all of them async-signal-safe; no allocation.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if has_terminal {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            inherits.apply();
            Ok(())
        });
    }
    let program =
        spec.command.first().map_or_else(|| "the login shell".into(), |p| format!("`{}`", printable(p)));
    let child = command.spawn().map_err(|error| match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => {
            no_program(NOT_FOUND, format!("{program} was not found on this host"))
        }
        (io::ErrorKind::PermissionDenied, _) => {
            no_program(NOT_EXECUTABLE, format!("{program} may not be executed (permission denied)"))
        }
        (_, Some(code)) if code == rustix::io::Errno::NOEXEC.raw_os_error() => {
            no_program(NOT_EXECUTABLE, format!("{program} is no program that this host can execute"))
        }
        _ => context(format!("{program} could not be started"))(error),
    })?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(Pty { master, child, command: started, plain })
}

/// Variables that speak of the terminal or login the agent was started from, not of the job's.
const NOT_FOR_THE_JOB: &[&str] = &[
    "SESSD_AGENT_DIR",
    inherit::VARIABLE,
    "SSH_TTY",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WINDOWID",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "COLUMNS",
    "LINES",
    "OLDPWD",
    "SHLVL",
    "_",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "JOURNAL_STREAM",
];

fn login_shell() -> String {
    std::env::var("SHELL").ok().filter(|s| Path::new(s).is_file()).unwrap_or_else(|| "/bin/sh".into())
}

/// Where a job begins. Nobody asked for a home that is not there (a user of a directory service, without one on this
/// host), or that the user may not enter: such a login begins in `/`, as with sshd.
fn folder_of(cwd: &str, home: &str, may_enter: impl Fn(&Path) -> bool) -> PathBuf {
    let home = if home.is_empty() { "/" } else { home };
    match cwd {
        "" if !may_enter(Path::new(home)) => PathBuf::from("/"),
        "" | "~" => PathBuf::from(home),
        _ => match cwd.strip_prefix("~/") {
            Some(rest) => Path::new(home).join(rest),
            // A relative folder is relative to where a login begins.
            None => Path::new(home).join(cwd),
        },
    }
}

/// Can a job begin there? What is wrong with it: only what is known not to be there does not exist.
fn may_begin_in(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => match rustix::fs::access(path, rustix::fs::Access::EXEC_OK) {
            Err(rustix::io::Errno::ACCESS) => Err("may not be entered (permission denied)".to_owned()),
            _ => Ok(()),
        },
        Ok(_) => Err("is a file".to_owned()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err("does not exist".to_owned())
        }
        Err(e) => Err(format!("cannot be reached: {e}")),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// Reads what there is, up to `buffer`. `Ok(0)` is the end: nobody has the other side open any more.
pub fn read(master: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::io::read(master, buffer) {
        Ok(n) => Ok(Some(n)),
        // Linux says EIO once the last descriptor of the other side is closed.
        Err(rustix::io::Errno::IO) => Ok(Some(0)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_begins_where_a_login_does() {
        let there = |path: &Path| path == Path::new("/home/me");
        for (cwd, home, wanted) in [
            ("", "/home/me", "/home/me"),
            ("", "/home/nobody", "/"),
            ("", "", "/"),
            ("~", "/home/me", "/home/me"),
            ("src", "/home/me", "/home/me/src"),
            ("~/src", "/home/me", "/home/me/src"),
            ("/srv", "/home/nobody", "/srv"),
            // Asked for: that it is not there is said.
            ("~", "/home/nobody", "/home/nobody"),
            ("src", "", "/src"),
        ] {
            assert_eq!(folder_of(cwd, home, there), Path::new(wanted), "{cwd:?} of {home:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_looked_at_is_not_said_not_to_exist() {
        let root = std::env::temp_dir().join(format!("sessd-folder-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let (file, loops) = (root.join("file"), root.join("loops"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("loops", &loops).unwrap();
        let said = |path: &Path| may_begin_in(path).unwrap_err();
        let all = [said(&root.join("none")), said(&file.join("x")), said(&file), said(&loops)];
        let here = may_begin_in(&root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(here, Ok(()));
        assert_eq!(all[..3], ["does not exist", "does not exist", "is a file"]);
        assert!(all[3].starts_with("cannot be reached: "), "{}", all[3]);
    }

    #[test]
    fn a_folder_that_may_not_be_entered_is_no_place_to_begin_in() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(may_begin_in(dir.path()), Ok(()));
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        // Nothing is closed to root.
        assert_eq!(may_begin_in(dir.path()).is_ok(), rustix::process::geteuid().is_root());
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
}
