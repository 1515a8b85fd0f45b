//! Leaving the login behind: a holder must outlive the ssh connection, the agent, and whatever started it.
//! One of the two rooms where unsafe code is allowed.
#![allow(unsafe_code)]

use crate::io::folder::{JobFolder, context, fault};
use crate::io::inherit;
use sessd_proto::messages::{Inherited, Spawn};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What a holder says when another process has its job already.
pub const HELD: &str = "this job has a holder already";
/// How long a start through systemd may be silent before one without it is tried beside it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How holders are started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The agent's binary.
    pub agent: PathBuf,
    /// `systemd-run`, and the runtime folder of the user's systemd, where a job gets a scope of its own.
    pub scope: Option<(PathBuf, PathBuf)>,
}

/// One way to start a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartMethod {
    /// In a scope of its own that outlives one of its processes being killed for memory (systemd 253 and later).
    ScopeThatGoesOn,
    /// In a scope of its own.
    Scope,
    /// By itself.
    Plain,
}

#[derive(Debug)]
struct Attempt {
    way: StartMethod,
    child: Child,
    verdict: ChildStdout,
    line: Vec<u8>,
    since: Instant,
    ended: bool,
}

/// A holder that is being started and has not said yet whether its job runs. It is started in the best way first; a way
/// that fails without a word, or is silent for too long, is followed by the next one. Several attempts may come to life:
/// the job's lock lets one of them have it.
#[derive(Debug)]
pub struct Starting {
    plan: Plan,
    folder: JobFolder,
    environment: HashMap<String, String>,
    inherits: String,
    attempts: Vec<Attempt>,
    left: Vec<StartMethod>,
    /// The last way could not even be begun, and why.
    failed: Option<String>,
}

impl Starting {
    /// Starts a holder for the job in `folder`.
    ///
    /// # Errors
    /// When nothing can be started at all.
    pub fn begin(folder: &JobFolder, spawn: &Spawn, inherits: &Inherited, plan: Plan) -> io::Result<Self> {
        let left = if plan.scope.is_some() {
            vec![StartMethod::Plain, StartMethod::Scope, StartMethod::ScopeThatGoesOn]
        } else {
            vec![StartMethod::Plain]
        };
        let mut starting = Self {
            plan,
            folder: folder.clone(),
            environment: spawn.environment.clone(),
            inherits: inherit::to_text(inherits),
            attempts: Vec::new(),
            left,
            failed: None,
        };
        starting.next_way()?;
        Ok(starting)
    }

    /// Tries the next way; false when there is none.
    fn next_way(&mut self) -> io::Result<bool> {
        while let Some(way) = self.left.pop() {
            match self.attempt(way) {
                Ok(attempt) => {
                    self.attempts.push(attempt);
                    return Ok(true);
                }
                Err(error) if self.left.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(false)
    }

    fn attempt(&self, way: StartMethod) -> io::Result<Attempt> {
        let mut command = match (&self.plan.scope, way) {
            (Some((systemd_run, _)), StartMethod::Scope | StartMethod::ScopeThatGoesOn) => {
                let id = self.folder.path().file_name().unwrap_or_default().to_string_lossy();
                let mut command = Command::new(systemd_run);
                command.args(["--user", "--scope", "--quiet", "--collect", "--no-ask-password", "--unit"]);
                command.arg(format!("{}{id}", crate::platform::SCOPE));
                if way == StartMethod::ScopeThatGoesOn {
                    command.args(["-p", "OOMPolicy=continue"]);
                }
                command.arg("--").arg(&self.plan.agent);
                command
            }
            _ => Command::new(&self.plan.agent),
        };
        command
            .arg("hold")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if !self.environment.is_empty() {
            command.env_clear().envs(&self.environment);
        }
        if let (Some((_, runtime)), StartMethod::Scope | StartMethod::ScopeThatGoesOn) =
            (&self.plan.scope, way)
        {
            // The same folder the login has, or should have had.
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        command.env(inherit::VARIABLE, &self.inherits);
        // Its own session before exec, so that no signal to ours reaches it in between, and because one that leads a group
        // can make none.
        // SAFETY: setsid(2) is a system call that is async-signal-safe; nothing allocates.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
        }
        let mut child = command.spawn().map_err(context("the job's holder could not be started"))?;
        let verdict = child.stdout.take().ok_or_else(|| fault("the job's holder has no output"))?;
        rustix::io::ioctl_fionbio(&verdict, true)?;
        Ok(Attempt { way, child, verdict, line: Vec::new(), since: Instant::now(), ended: false })
    }

    /// Where something may come from, to be watched for reading.
    pub fn watched(&self) -> impl Iterator<Item = &ChildStdout> {
        self.attempts.iter().filter(|a| !a.ended).map(|a| &a.verdict)
    }

    /// What is known by now.
    pub fn look(&mut self) -> Verdict {
        let mut last = None;
        for attempt in self.attempts.iter_mut().filter(|a| !a.ended) {
            match read_verdict(&mut attempt.verdict, &mut attempt.line) {
                Verdict::Pending | Verdict::Next => {}
                Verdict::Runs(pid) => return Verdict::Runs(pid),
                // The holder's own word is firm; silence is only the failure of this way to start it, and of a job that is
                // held already the one that holds it says how it went.
                Verdict::Failed(failure) if failure.why != HELD && attempt.line.contains(&b'\n') => {
                    return Verdict::Failed(failure);
                }
                Verdict::Failed(why) => {
                    attempt.ended = true;
                    last = Some(why);
                }
            }
        }
        let waiting = self
            .attempts
            .iter()
            .any(|a| !a.ended && (a.way == StartMethod::Plain || a.since.elapsed() < PATIENCE));
        if waiting {
            return Verdict::Pending;
        }
        if self.attempts.iter().any(|a| !a.ended) {
            // A systemd that is silent once is not asked again.
            self.left.retain(|way| *way == StartMethod::Plain);
        }
        match &self.failed {
            Some(why) => Verdict::Failed(why.clone().into()),
            None if !self.left.is_empty() => Verdict::Next,
            None if self.attempts.iter().any(|a| !a.ended) => Verdict::Pending,
            None => {
                Verdict::Failed(last.unwrap_or_else(|| "the job's holder ended before the job began".into()))
            }
        }
    }

    /// Tries the next way, as [`Verdict::Next`] says. The agent's program may lie on a disk that does not answer: this waits for
    /// it.
    pub fn go_on(&mut self) {
        if let Err(error) = self.next_way() {
            self.failed = Some(error.to_string());
        }
    }

    /// The processes, to be waited for so that they leave no zombie while this agent lives.
    pub fn into_children(self) -> impl Iterator<Item = Child> {
        self.attempts.into_iter().map(|a| a.child)
    }
}

/// What a holder said so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing whole yet.
    Pending,
    /// Nothing yet, and it is time for [`Starting::go_on`].
    Next,
    /// The job runs under this pid.
    Runs(u32),
    /// There is no job, and why.
    Failed(Failure),
}

/// Why there is no job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// One sentence for people.
    pub why: String,
    /// What a shell would end with, where it is the command that cannot be executed.
    pub exit_code: Option<u32>,
}

impl<T: Into<String>> From<T> for Failure {
    fn from(why: T) -> Self {
        Self { why: why.into(), exit_code: None }
    }
}

impl Failure {
    /// As a holder said it.
    fn said(line: &str) -> Self {
        match line.split_once('!').map(|(code, why)| (code.parse(), why)) {
            Some((Ok(code), why)) => Self { why: why.to_owned(), exit_code: Some(code) },
            _ => line.into(),
        }
    }
}

/// Reads more of a holder's verdict into `line`.
pub fn read_verdict(from: &mut impl Read, line: &mut Vec<u8>) -> Verdict {
    let mut buffer = [0; 512];
    let ended = match from.read(&mut buffer) {
        Ok(0) => true,
        Ok(n) => {
            line.extend_from_slice(&buffer[..n]);
            line.len() > 4096
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(_) => true,
    };
    let text = String::from_utf8_lossy(line);
    match text.split_once('\n') {
        Some((first, _)) => match first.strip_prefix('!') {
            Some(why) => Verdict::Failed(Failure::said(why)),
            None => first
                .parse()
                .map_or_else(|_| Verdict::Failed("the job's holder spoke nonsense".into()), Verdict::Runs),
        },
        None if ended => Verdict::Failed("the job's holder ended before the job began".into()),
        None => Verdict::Pending,
    }
}

/// First act of an agent: own session, no terminal, no descriptor but its three, signals as they are by default.
pub fn leave_caller() {
    // Fails when we lead a session already, which is all we want: sshd makes one, and so does whoever starts a holder.
    let _ = rustix::process::setsid();
    close_inherited();
    reset_signals();
}

/// The same for a holder, whose cwd is its folder. Returns where the verdict goes.
pub fn daemonize(folder: &JobFolder) -> io::Result<File> {
    leave_caller();
    std::env::set_current_dir(folder.path()).map_err(context(folder.path().display()))?;
    let verdict = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    rustix::io::fcntl_setfd(&verdict, rustix::io::FdFlags::CLOEXEC)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(context("/dev/null"))?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(verdict)
}

/// Signals that whoever started us ignored or held back are what they are by default: `sh -c 'x &'` and `nohup` ignore some,
/// and Ctrl-C, or the HUP that ends a job, would be dead in the job. The manager has the same lines (`daemon/base/src/process.rs`
/// says why they are not shared).
fn reset_signals() {
    use nix::libc;
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: an action that was read can be looked at, and the default one has no handler. Only what is ignored is
        // changed; SIGPIPE is ignored on purpose, by Rust itself, and reset for children by it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if signal != libc::SIGPIPE
                && libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Closes every descriptor above stderr: what a login leaves open would otherwise live as long as the job, and an
/// ssh client waits for it.
fn close_inherited() {
    for fd in crate::platform::open_descriptors() {
        // SAFETY: this is the first act of the process: nothing in it owns a descriptor above stderr, and this one is open.
        unsafe { rustix::io::close(fd) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A folder with a job and programs in it.
    struct Programs(tempfile::TempDir);

    impl Programs {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, script: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn job(&self) -> JobFolder {
            let folder = JobFolder::at(self.0.path().join("the-job"));
            folder.make().unwrap();
            folder
        }

        /// Starts a job through a `systemd-run` that is `script`, and gives the last verdict and what the fake wrote down.
        fn start(&self, systemd_run: &str, agent: &str) -> (Verdict, String) {
            let notes = self.0.path().join("notes");
            let noting = format!("echo \"$XDG_RUNTIME_DIR $*\" >>{}\n{systemd_run}", notes.display());
            let plan = Plan {
                agent: self.write("agent", agent),
                scope: Some((self.write("systemd-run", &noting), "/run/user/7".into())),
            };
            let mut starting =
                Starting::begin(&self.job(), &Spawn::default(), &Inherited::default(), plan).unwrap();
            let begun = Instant::now();
            let verdict = loop {
                match starting.look() {
                    Verdict::Next => starting.go_on(),
                    Verdict::Pending => assert!(begun.elapsed() < Duration::from_secs(20), "no verdict"),
                    verdict => break verdict,
                }
                let mut fds: Vec<_> = starting
                    .watched()
                    .map(|fd| rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN))
                    .collect();
                let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                rustix::event::poll(&mut fds, Some(&timeout)).unwrap();
            };
            for mut child in starting.into_children() {
                let _ = child.kill();
                let _ = child.wait();
            }
            (verdict, fs::read_to_string(notes).unwrap_or_default())
        }
    }

    /// What `systemd-run` does in the end: it becomes the program after `--`.
    const RUN: &str = "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"";

    #[test]
    fn a_holder_is_started_in_a_scope_of_its_own() {
        let programs = Programs::new();
        let (verdict, notes) = programs.start(RUN, "echo 42");
        assert_eq!(verdict, Verdict::Runs(42));
        assert_eq!(notes.lines().count(), 1, "{notes}");
        assert!(notes.starts_with("/run/user/7 --user --scope "), "{notes}");
        assert!(notes.contains(" --unit sessd-job-the-job ") && notes.contains(" -- "), "{notes}");
        assert!(notes.contains("/agent hold /"), "{notes}");
    }

    #[test]
    fn an_older_systemd_and_then_none_is_tried() {
        let programs = Programs::new();
        let (verdict, notes) =
            programs.start(&format!("case \"$*\" in *OOMPolicy*) exit 1;; esac; {RUN}"), "echo 42");
        assert_eq!((verdict, notes.lines().count()), (Verdict::Runs(42), 2));
        let programs = Programs::new();
        let (verdict, notes) = programs.start("exit 1", "echo 42");
        assert_eq!((verdict, notes.lines().count()), (Verdict::Runs(42), 2));
    }

    #[test]
    fn a_systemd_that_hangs_is_not_waited_for() {
        let programs = Programs::new();
        let begun = Instant::now();
        assert_eq!(programs.start("exec sleep 60", "echo 42").0, Verdict::Runs(42));
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
    }

    #[test]
    fn the_holders_own_word_is_final() {
        let programs = Programs::new();
        let (verdict, notes) = programs.start(RUN, "echo '!no such folder'");
        assert_eq!((verdict, notes.lines().count()), (Verdict::Failed("no such folder".into()), 1));
        let programs = Programs::new();
        assert!(matches!(programs.start("exit 1", "exit 1").0, Verdict::Failed(_)));
    }

    #[test]
    fn a_late_holder_that_has_the_job_is_the_one_that_counts() {
        let programs = Programs::new();
        // The first attempt takes the job and takes its time; the second finds it held.
        let agent = "if mkdir \"$2/held\" 2>/dev/null; then sleep 3; echo 42; else echo '!this job has a holder already'; fi";
        assert_eq!(programs.start(RUN, agent).0, Verdict::Runs(42));
    }
}
