//! Leaving the login behind: a holder must outlive the ssh connection, the agent, and whatever started it.
//! One of the two rooms where unsafe code is allowed.
#![allow(unsafe_code)]

use crate::folder::{JobFolder, context, fault};
use sessd_proto::messages::Spawn;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A holder that was started and has not said yet whether its job runs.
#[derive(Debug)]
pub struct Starting {
    /// To be waited for, so that it leaves no zombie while this agent lives.
    pub child: Child,
    /// The holder writes one line here: the job's pid, or `!` and why there is no job.
    pub verdict: std::process::ChildStdout,
}

/// Starts a holder for the job in `folder`.
pub fn start_holder(folder: &JobFolder, spawn: &Spawn) -> io::Result<Starting> {
    let exe = std::env::current_exe().map_err(context("where the agent's own binary is"))?;
    let mut command = Command::new(exe);
    command.arg("hold").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if !spawn.environment.is_empty() {
        command.env_clear().envs(&spawn.environment);
    }
    // Its own process group before exec, so that a signal to the agent's group in between does not reach it; the
    // holder makes its own session as its first act.
    command.process_group(0);
    let mut child = command.spawn().map_err(context("the job's holder could not be started"))?;
    let verdict = child.stdout.take().ok_or_else(|| fault("the job's holder has no output"))?;
    rustix::io::ioctl_fionbio(&verdict, true)?;
    Ok(Starting { child, verdict })
}

/// What a holder said so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing whole yet.
    Pending,
    /// The job runs under this pid.
    Runs(u32),
    /// There is no job, and why.
    Failed(String),
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
            Some(why) => Verdict::Failed(why.to_owned()),
            None => first
                .parse()
                .map_or_else(|_| Verdict::Failed("the job's holder spoke nonsense".into()), Verdict::Runs),
        },
        None if ended => Verdict::Failed("the job's holder ended before the job began".into()),
        None => Verdict::Pending,
    }
}

/// First act of a holder: own session, no terminal, no descriptor but its three, default umask kept, cwd in its folder.
/// Returns where the verdict goes.
pub fn leave_login(folder: &JobFolder) -> io::Result<File> {
    // Fails only when we lead a session already, which is all we want.
    let _ = rustix::process::setsid();
    close_inherited();
    std::env::set_current_dir(folder.path()).map_err(context(folder.path().display()))?;
    let verdict = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    rustix::io::fcntl_setfd(&verdict, rustix::io::FdFlags::CLOEXEC)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(context("/dev/null"))?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(verdict)
}

/// Closes every descriptor above stderr: what a login leaves open would otherwise live as long as the job, and an
/// ssh client waits for it.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd")) else {
        return;
    };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // SAFETY: this is the first act of the process: nothing in it owns a descriptor above stderr. The one of
        // `read_dir` itself is closed already, and closing a number that is not open does nothing.
        unsafe { rustix::io::close(fd) };
    }
}
