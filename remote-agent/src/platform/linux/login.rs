//! Would a logout end the job? The facts of this host, and what follows from them: how to start a holder, and what to
//! warn of. The decisions are pure. No home is looked at but to find `systemd-run`, which only [`Facts::scope`] does.
//!
//! A scope of the user's systemd gives the job a cgroup of its own, but it ends with the user's systemd, and that ends
//! after the last logout unless the user *lingers*. So a job goes there only where that makes it safer than staying in
//! the login's own scope, which most hosts leave alone.

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the unit of a job's own scope begins; the job's id follows.
pub const SCOPE: &str = "sessd-job-";

/// In which part of systemd's tree a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CgroupPart {
    /// None that logins have to do with, or there is no systemd.
    Other,
    /// A login's own scope: ended with the login where `KillUserProcesses` says so.
    Login,
    /// Below the user's systemd: ended with it.
    UserManager,
    /// Below the user's systemd, in a scope of the job's own.
    OwnScope,
}

/// What counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where systemd runs this machine: where programs are looked for, and the runtime folder that a systemd of this user
    /// would have.
    systemd: Option<(String, PathBuf)>,
    /// The user's systemd stays after the last logout.
    lingers: Option<bool>,
    /// A login's processes are ended with it.
    kills: Option<bool>,
    /// Where the process is.
    place: CgroupPart,
}

impl Facts {
    /// Is a scope of its own the safer place for a job that is started from here, where one can be had?
    fn wants_scope(&self) -> bool {
        self.lingers == Some(true)
            || match self.place {
                // It ends with the user's systemd either way, and has at least a cgroup of its own.
                CgroupPart::UserManager => true,
                // This login's end is the end; the last login's end is later.
                CgroupPart::Login => self.kills == Some(true),
                CgroupPart::Other | CgroupPart::OwnScope => false,
            }
    }

    /// With which program, and by which runtime folder, a job that is started from here gets a scope of its own; `None`: it
    /// is better off without one, or none can be had. The folders of programs may be on a disk: this waits for it.
    pub fn scope(self) -> Option<(PathBuf, PathBuf)> {
        if !self.wants_scope() {
            return None;
        }
        let (path, runtime) = self.systemd?;
        let answers = |socket: &str| does_answer(&runtime.join(socket));
        if !(answers("systemd/private") || answers("bus")) {
            return None;
        }
        let program = path
            .split(':')
            .map(|p| Path::new(p).join("systemd-run"))
            .find(|p| p.is_absolute() && p.is_file())?;
        Some((program, runtime))
    }

    /// What to say of a job that is in `self.place`.
    pub fn warnings(&self) -> Vec<String> {
        const LINGER: &str = "the end of your last login on this host ends the job; to keep it run there: loginctl enable-linger \
                              (where that is denied, as root: loginctl enable-linger USER)";
        const SCOPE_FAILED: &str = "the end of this login ends the job, because this host kills what a login leaves \
                                    (KillUserProcesses=yes) and no scope could be made; to see why run there: systemd-run --user --scope true";
        let warning = match (self.place, self.lingers, self.kills) {
            (CgroupPart::UserManager | CgroupPart::OwnScope, Some(false), _) => LINGER,
            (CgroupPart::Login, Some(true), Some(true)) => SCOPE_FAILED,
            (CgroupPart::Login, _, Some(true)) => LINGER,
            _ => return Vec::new(),
        };
        vec![warning.to_owned()]
    }
}

/// Reads the facts below `root` (`/`), for a process whose `/proc/PID/cgroup` is `cgroup`.
fn facts(root: &Path, cgroup: &str, variable: impl Fn(&str) -> Option<String>, uid: u32) -> Facts {
    let mut facts = Facts { systemd: None, lingers: None, kills: None, place: CgroupPart::Other };
    // The folder that tells that systemd runs this machine (sd_booted(3)).
    if !root.join("run/systemd/system").is_dir() {
        return facts;
    }
    facts.place = place(cgroup);
    let path = variable("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let runtime = variable("XDG_RUNTIME_DIR")
        .map_or_else(|| root.join("run/user").join(uid.to_string()), PathBuf::from);
    facts.systemd = Some((path, runtime));
    if let Some(user) =
        variable("USER").or_else(|| variable("LOGNAME")).filter(|u| !u.is_empty() && !u.contains('/'))
    {
        facts.lingers = root.join("var/lib/systemd/linger").join(&user).try_exists().ok();
        facts.kills = kills(&settings(root), &user);
    }
    facts
}

/// The facts of this machine for process `pid`, which was given the variables that `variable` knows.
pub fn login(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Facts {
    // Without it the place is unknown, which warns of nothing.
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    facts(Path::new("/"), &cgroup, variable, rustix::process::getuid().as_raw())
}

/// Does somebody listen there? Without waiting: a service that is stuck does not answer.
fn does_answer(socket: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    SocketAddrUnix::new(socket).is_ok_and(|address| {
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .is_ok_and(|fd| rustix::net::connect(fd, &address).is_ok())
    })
}

/// Where `/proc/PID/cgroup` says the process is.
fn place(cgroup: &str) -> CgroupPart {
    let of = |path: &str| match path.rsplit('/').next().unwrap_or_default() {
        unit if unit.starts_with(SCOPE) => CgroupPart::OwnScope,
        _ if path.contains("/user@") => CgroupPart::UserManager,
        unit if unit.starts_with("session-") && unit.ends_with(".scope") => CgroupPart::Login,
        _ => CgroupPart::Other,
    };
    let lines = cgroup.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    lines
        .filter(|(names, _)| matches!(*names, "" | "name=systemd"))
        .map(|(_, path)| of(path))
        .max()
        .unwrap_or(CgroupPart::Other)
}

/// All of logind's configuration, in the order in which later lines win.
fn settings(root: &Path) -> String {
    const PLACES: [&str; 4] = ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"];
    let mut text = PLACES
        .iter()
        .rev()
        .find_map(|p| std::fs::read_to_string(root.join(p).join("logind.conf")).ok())
        .unwrap_or_default();
    // By name, and of one name in several places the last one counts.
    let mut parts = BTreeMap::new();
    for place in PLACES {
        for entry in std::fs::read_dir(root.join(place).join("logind.conf.d")).into_iter().flatten().flatten()
        {
            if entry.file_name().as_encoded_bytes().ends_with(b".conf") {
                parts.insert(entry.file_name(), entry.path().into_os_string());
            }
        }
    }
    for part in parts.into_values() {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(part).unwrap_or_default());
    }
    text
}

/// Are `user`'s processes ended with the login? `None` where the configuration does not tell.
fn kills(settings: &str, user: &str) -> Option<bool> {
    let last = |key: &str| {
        let value = |line: &str| {
            Some(line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().to_owned())
        };
        // The file as it is shipped names the built-in default in a comment.
        let shipped =
            settings.lines().filter_map(|line| value(line.trim_start().strip_prefix('#')?)).next_back();
        settings.lines().filter_map(value).next_back().or(shipped)
    };
    let has = |list: String| list.split_whitespace().any(|name| name == user);
    let spared = last("KillExcludeUsers").map_or(user == "root", has);
    let meant = last("KillOnlyUsers").is_none_or(|list| list.is_empty() || has(list));
    if spared || !meant {
        return Some(false);
    }
    last("KillUserProcesses").map(|value| matches!(value.as_str(), "yes" | "true" | "on" | "1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_process_is_where_its_cgroup_says() {
        for (cgroup, expected) in [
            ("0::/user.slice/user-1000.slice/session-5.scope\n", CgroupPart::Login),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n", CgroupPart::UserManager),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/sessd-job-x.scope\n",
                CgroupPart::OwnScope,
            ),
            ("0::/system.slice/ssh.service\n", CgroupPart::Other),
            (
                "9:name=systemd:/user.slice/user-1.slice/session-2.scope\n4:memory:/user.slice\n0::/\n",
                CgroupPart::Login,
            ),
            ("9:name=systemd:/\n4:memory:/session-3.scope\n0::/\n", CgroupPart::Other),
            ("", CgroupPart::Other),
        ] {
            assert_eq!(place(cgroup), expected, "{cgroup}");
        }
    }

    #[test]
    fn the_table() {
        let (yes, no) = (Some(true), Some(false));
        // Place, lingers, kills: wants a scope; is warned where it is; is warned in a scope of its own.
        for (place, lingers, kills, scope, warned, warned_in_scope) in [
            (CgroupPart::Other, no, no, false, false, true),
            (CgroupPart::Other, None, None, false, false, false),
            (CgroupPart::Other, yes, no, true, false, false),
            (CgroupPart::Login, no, no, false, false, true),
            (CgroupPart::Login, no, None, false, false, true),
            (CgroupPart::Login, no, yes, true, true, true),
            (CgroupPart::Login, None, yes, true, true, false),
            (CgroupPart::Login, yes, yes, true, true, false),
            (CgroupPart::Login, yes, no, true, false, false),
            (CgroupPart::UserManager, no, no, true, true, true),
            (CgroupPart::UserManager, yes, yes, true, false, false),
            (CgroupPart::UserManager, None, None, true, false, false),
        ] {
            let facts = Facts { systemd: None, lingers, kills, place };
            assert_eq!(facts.wants_scope(), scope, "{facts:?}");
            assert_eq!(!facts.warnings().is_empty(), warned, "{facts:?}");
            assert!(facts.warnings().iter().all(|w| !w.contains("  ")), "{facts:?}");
            assert_eq!(facts.clone().scope(), None, "there is no systemd-run");
            let moved = Facts { place: CgroupPart::OwnScope, ..facts };
            assert_eq!(!moved.warnings().is_empty(), warned_in_scope, "{moved:?}");
        }
    }

    #[test]
    fn whether_a_login_takes_its_processes_along_is_read_as_logind_reads_it() {
        for (settings, user, expected) in [
            ("", "me", None),
            ("#KillUserProcesses=no\n", "me", Some(false)),
            ("#KillUserProcesses=no\nKillUserProcesses = yes\n", "me", Some(true)),
            ("KillUserProcesses=yes\nKillUserProcesses=no\n", "me", Some(false)),
            ("KillUserProcesses=yes\n", "root", Some(false)),
            ("KillUserProcesses=yes\nKillExcludeUsers=\n", "root", Some(true)),
            ("KillUserProcesses=yes\nKillExcludeUsers=root me\n", "me", Some(false)),
            ("KillUserProcesses=yes\nKillOnlyUsers=you\n", "me", Some(false)),
            ("KillUserProcesses=yes\n#KillOnlyUsers=\n", "me", Some(true)),
        ] {
            assert_eq!(kills(settings, user), expected, "{settings} {user}");
        }
    }

    #[test]
    fn the_facts_are_read_and_without_systemd_there_are_none() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let login = "0::/user.slice/user-7.slice/session-5.scope\n";
        let bin = root.join("bin").to_string_lossy().into_owned();
        let variable = |name: &str| match name {
            "PATH" => Some(bin.clone()),
            "USER" => Some("me".to_owned()),
            _ => None,
        };
        let none = Facts { systemd: None, lingers: None, kills: None, place: CgroupPart::Other };
        assert_eq!(facts(root, login, variable, 7), none);
        for folder in
            ["run/systemd/system", "run/user/7", "var/lib/systemd/linger", "etc/systemd/logind.conf.d", "bin"]
        {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("etc/systemd/logind.conf"), "#KillUserProcesses=no\n").unwrap();
        let systemd = Some((bin.clone(), root.join("run/user/7")));
        let here = Facts { systemd, lingers: Some(false), kills: Some(false), place: CgroupPart::Login };
        assert_eq!(facts(root, login, variable, 7), here);
        fs::write(root.join("etc/systemd/logind.conf.d/a.conf"), "[Login]\nKillUserProcesses=yes\n").unwrap();
        fs::write(root.join("bin/systemd-run"), "").unwrap();
        fs::write(root.join("var/lib/systemd/linger/me"), "").unwrap();
        // A file where a socket should be, and a socket that nobody listens on, are not answers.
        fs::write(root.join("run/user/7/bus"), "").unwrap();
        let here = Facts { lingers: Some(true), kills: Some(true), ..here };
        assert_eq!(facts(root, login, variable, 7), here);
        assert_eq!(here.clone().scope(), None, "no systemd of this user answers");
        fs::remove_file(root.join("run/user/7/bus")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(root.join("run/user/7/bus")).unwrap();
        assert_eq!(here.scope(), Some((root.join("bin/systemd-run"), root.join("run/user/7"))));
    }
}
