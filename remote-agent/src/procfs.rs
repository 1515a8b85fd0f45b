//! What the kernel tells about processes. Every answer may be missing: a process that ends while it is looked at is no
//! error, and a system without `/proc` tells nothing.

use std::fs;
use std::io::Read;

/// One line of `/proc/PID/stat`, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: u32,
    /// The program's name, at most 15 bytes.
    pub comm: String,
    /// `R`, `S`, `T`, `Z`, …
    pub state: char,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub pgrp: u32,
    /// Session.
    pub sid: u32,
    /// CPU time used, own and of children waited for, in ticks.
    pub cpu: u64,
    /// Start time in ticks since boot.
    pub start: u64,
}

/// Reads one process, `None` when it is not there.
pub fn stat(pid: u32) -> Option<Stat> {
    // One read into a buffer that any line fits: this is done for every process of the host.
    let mut line = [0; 1024];
    let mut file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let n = file.read(&mut line).ok()?;
    parse(&String::from_utf8_lossy(&line[..n]))
}

/// The name may hold blanks and parentheses, so fields are counted from the last `)` (proc(5)).
fn parse(line: &str) -> Option<Stat> {
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let fields: Vec<&str> = line.get(close + 1..)?.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    Some(Stat {
        pid: line.get(..open)?.trim().parse().ok()?,
        comm: line.get(open + 1..close)?.to_owned(),
        state: fields.first()?.chars().next()?,
        ppid: number(1)? as u32,
        pgrp: number(2)? as u32,
        sid: number(3)? as u32,
        cpu: (11..15).filter_map(number).sum(),
        start: number(19)?,
    })
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// Every process there is.
fn all() -> Vec<Stat> {
    pids().into_iter().filter_map(stat).collect()
}

/// The POSIX session of `leader`, the processes in `known`, and whatever descends from those; the descendants are given as
/// of the leader's session, whatever their own, because their parent may be gone when they are looked at again. A thousand
/// holders may look at the same moment, on a host with thousands of processes: only what belongs to the job is read. Where
/// the kernel does not list children, every process is. Each is named by number and start time: numbers are given again.
pub fn family(leader: (u32, u64), known: &[(u32, u64)]) -> Vec<Stat> {
    if !std::path::Path::new("/proc/thread-self/children").exists() {
        return all();
    }
    let is = |(pid, start): (u32, u64)| stat(pid).is_some_and(|now| now.start == start);
    // With the number of the leader given to another process, there is nobody left of the session that had it.
    let session_is_ours = stat(leader.0).is_none_or(|now| now.start == leader.1);
    let in_session = |pid: u32| {
        let sid = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid.cast_signed())));
        sid.is_ok_and(|sid| sid.as_raw().cast_unsigned() == leader.0)
    };
    let mut found: Vec<u32> = known.iter().filter(|known| is(**known)).map(|(pid, _)| *pid).collect();
    if session_is_ours {
        let others: Vec<u32> =
            pids().into_iter().filter(|pid| in_session(*pid) && !found.contains(pid)).collect();
        found.extend(others);
    }
    let roots = found.len();
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).copied() {
        looked_at += 1;
        // A child that ends while the list is read may hide the one after it: twice.
        for child in children(parent).into_iter().chain(children(parent)).flatten() {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
    let stats = found.iter().enumerate().filter_map(|(at, pid)| {
        let stat = stat(*pid)?;
        Some(if at < roots { stat } else { Stat { sid: leader.0, ..stat } })
    });
    stats.collect()
}

/// The children of a process. `None` where the kernel does not tell, or the process is gone.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let children = fs::read(task.ok()?.path().join("children")).ok()?;
        all.extend(
            String::from_utf8_lossy(&children).split_ascii_whitespace().filter_map(|p| p.parse::<u32>().ok()),
        );
    }
    Some(all)
}

/// Is the process without children that live? `None` where the kernel does not tell. Some shells leave a child that has
/// ended to their next command.
pub fn childless(pid: u32) -> Option<bool> {
    let lives = |child: &u32| stat(*child).is_some_and(|child| !matches!(child.state, 'Z' | 'X' | 'x'));
    Some(!children(pid)?.iter().any(lives))
}

/// The programs that run, as far as this user may look: those of its own processes.
pub fn programs() -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| fs::read_link(e.path().join("exe")).ok()).collect()
}

/// The arguments a process was started with.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 1 42 42 34816 42 4194304 10 20 0 0 5 6 7 8 20 0 1 0 999 1 2";
        let stat = parse(line).unwrap();
        assert_eq!((stat.pid, stat.comm.as_str(), stat.state), (42, "a) b (c)", 'S'));
        assert_eq!((stat.ppid, stat.pgrp, stat.sid, stat.cpu, stat.start), (1, 42, 42, 26, 999));
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn a_family_is_the_session_and_all_that_descends_from_it() {
        use std::process::{Command, Stdio};
        // A session of its own, in which one more is begun; and one process of ours beside it.
        let mut leader = Command::new("setsid");
        leader.args(["sh", "-c", "setsid sleep 1000 & sleep 1000 & echo; wait"]).stdout(Stdio::piped());
        let mut leader = leader.spawn().unwrap();
        let mut beside = Command::new("sleep").arg("1000").spawn().unwrap();
        leader.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let sid = leader.id();
        let start = stat(sid).unwrap().start;
        let names = || {
            let mut names: Vec<String> = family((sid, start), &[]).into_iter().map(|s| s.comm).collect();
            names.sort();
            names
        };
        let begun = std::time::Instant::now();
        while names() != ["sh", "sleep", "sleep"] {
            assert!(begun.elapsed().as_secs() < 20, "{:?}", names());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let found = family((sid, start), &[]);
        assert!(found.iter().all(|p| p.sid == sid && p.pid != beside.id()), "{found:?}");
        assert_eq!(family((sid, start + 1), &[]), [], "the number is another's now, and so is its session");
        let other = (beside.id(), stat(beside.id()).unwrap().start);
        assert_eq!(family((sid, start), &[(other.0, other.1 + 1)]).len(), 3);
        let known = family((sid, start), &[other]);
        assert_eq!(known.len(), 4);
        for process in &known {
            let pid = rustix::process::Pid::from_raw(process.pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        leader.wait().unwrap();
        beside.wait().unwrap();
    }

    #[test]
    fn we_find_ourselves() {
        let own = stat(std::process::id()).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(own.start > 0);
    }
}
