//! This machine as a host: the agent is found, installed and started by the very commands that another host runs, so that
//! it has the same folders, the same fallbacks and the same `agent_dir`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::{AgentImage, BoxFuture, Connection, ExecStream, Failure, Mends, StartOptions, openssh};

/// A shell of our own in the place of a login.
#[derive(Debug)]
pub struct Here {
    home: PathBuf,
}

impl Here {
    /// For the user whose home this is.
    pub fn new(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// Takes away a program that has the agent's name and is not the agent: nobody looks at one again that is there.
    /// Reads files: not for a thread that somebody waits for.
    pub fn remove_damaged(&self, image: &AgentImage, options: &StartOptions) {
        let variable =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = |path: PathBuf| path.join("sessd-agent");
        let mut folders: Vec<PathBuf> = match &options.agent_dir {
            Some(folder) => vec![match folder.strip_prefix("~/") {
                Some(rest) => self.home.join(rest),
                None => PathBuf::from(folder),
            }],
            None => vec![below(self.home.join(".local/state"))],
        };
        if options.agent_dir.is_none() {
            folders.extend(["XDG_STATE_HOME", "XDG_RUNTIME_DIR"].into_iter().filter_map(variable).map(below));
            let own = format!("sessd-agent-{}", rustix::process::getuid().as_raw());
            let shared = variable("SESSD_FALLBACK_DIR")
                .map_or_else(|| vec!["/var/tmp".into(), "/tmp".into()], |folder| vec![folder]);
            folders.extend(shared.into_iter().map(|folder| folder.join(&own)));
        }
        for folder in folders {
            let path = folder.join("bin").join(format!("sessd-agent-{}", image.name()));
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
            if is_file && std::fs::read(&path).is_ok_and(|there| there != image.bytes) {
                // What cannot be removed is somebody else's, and is not used either.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

impl Connection for Here {
    fn exec<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>> {
        let child = Command::new("/bin/sh")
            .args(["-c", command])
            .env("HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let full = |error: &std::io::Error| {
            let full = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|errno| errno.raw_os_error());
            error.raw_os_error().is_some_and(|code| full.contains(&code))
        };
        let hint = match &child {
            Err(error) if full(error) => {
                "raise the limit of open files (`ulimit -n`), then `sessd daemon restart`"
            }
            _ => "look at how many processes this user may have (`ulimit -u`)",
        };
        let stream = child.map_err(|error| error.to_string()).and_then(|mut child| {
            match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
                (Some(stdin), Some(stdout), Some(stderr)) => {
                    Ok(openssh::process_stream(child, stdin, stdout, stderr, b""))
                }
                _ => Err("it has no pipes".to_owned()),
            }
        });
        let stream = stream.map_err(|error| Failure::AgentInstall {
            detail: format!("/bin/sh cannot be run ({error})"),
            hint: hint.to_owned(),
            mends: Mends::Time,
        });
        Box::pin(std::future::ready(stream))
    }

    fn host(&self) -> String {
        "this machine".to_owned()
    }

    fn asks_a_person(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        "a shell on this machine".to_owned()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
