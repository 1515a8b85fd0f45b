//! What the kernel tells about processes. Every answer may be missing: a process that ends while it is looked at is no
//! error, and a system without `/proc` tells nothing.

use crate::machine::process::{Ident, Process};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Reads one process; `None` when it is not there, or cannot be seen.
pub fn process(pid: u32) -> Option<Process> {
    // One read into a buffer that any line fits: this is done for every process of the host.
    let mut line = [0; 1024];
    let mut file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let n = file.read(&mut line).ok()?;
    parse(&String::from_utf8_lossy(&line[..n]))
}

/// The name may hold blanks and parentheses, so fields are counted from the last `)` (proc(5)).
fn parse(line: &str) -> Option<Process> {
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let fields: Vec<&str> = line.get(close + 1..)?.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    let state = fields.first()?.chars().next()?;
    Some(Process {
        pid: line.get(..open)?.trim().parse().ok()?,
        name: line.get(open + 1..close)?.to_owned(),
        waits: state == 'S',
        dead: matches!(state, 'Z' | 'X' | 'x'),
        parent: number(1)? as u32,
        session: number(3)? as u32,
        cpu: (11..15).filter_map(number).sum(),
        start: number(19)?,
    })
}

/// Every number in use; `None` where they cannot be listed.
fn pids() -> Option<Vec<u32>> {
    let entries = fs::read_dir("/proc").ok()?;
    let pids: Vec<u32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    // We are a process ourselves: where there is none, this is no /proc.
    if pids.is_empty() { None } else { Some(pids) }
}

/// Every process there is.
fn all() -> Option<Vec<Process>> {
    Some(pids()?.into_iter().filter_map(process).collect())
}

/// The POSIX session of `leader`, the processes in `known`, and whatever descends from those; the descendants are given as
/// of the leader's session, whatever their own, because their parent may be gone when they are looked at again. A thousand
/// holders may look at the same moment, on a host with thousands of processes: only what belongs to the job is read. Where
/// the kernel does not list children, every process is. Each is named by number and start time: numbers are given again.
/// `None`: processes cannot be seen here, and nothing is known of who is left.
pub fn family(leader: Ident, known: &[Ident]) -> Option<Vec<Process>> {
    if !std::path::Path::new("/proc/thread-self/children").exists() {
        return all();
    }
    let is = |(pid, start): Ident| process(pid).is_some_and(|now| now.start == start);
    // With the number of the leader given to another process, there is nobody left of the session that had it.
    let session_is_ours = process(leader.0).is_none_or(|now| now.start == leader.1);
    let in_session = |pid: u32| {
        let sid = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid.cast_signed())));
        sid.is_ok_and(|sid| sid.as_raw().cast_unsigned() == leader.0)
    };
    let pids = pids()?;
    let mut found: Vec<u32> = known.iter().filter(|known| is(**known)).map(|(pid, _)| *pid).collect();
    if session_is_ours {
        let others: Vec<u32> =
            pids.into_iter().filter(|pid| in_session(*pid) && !found.contains(pid)).collect();
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
    let seen = found.iter().enumerate().filter_map(|(at, pid)| {
        let seen = process(*pid)?;
        Some(if at < roots { seen } else { Process { session: leader.0, ..seen } })
    });
    Some(seen.collect())
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

/// Processes of a job that are looked at for what they use of the processor.
const LOOKED_AT_MAX: usize = 256;

/// What a process and its descendants have used of the processor, in ticks; `None`: it cannot be seen. Where the kernel does
/// not list children, those that were waited for count.
pub fn processor(pid: u32) -> Option<u64> {
    let mut used = process(pid)?.cpu;
    let mut found = children(pid).unwrap_or_default();
    let mut at = 0;
    while let Some(child) = found.get(at).copied().filter(|_| at < LOOKED_AT_MAX) {
        at += 1;
        used += process(child).map_or(0, |process| process.cpu);
        found.extend(children(child).unwrap_or_default());
    }
    Some(used)
}

/// Is the process without children that live? `None` where the kernel does not tell. Some shells leave a child that has
/// ended to their next command.
pub fn childless(pid: u32) -> Option<bool> {
    let lives = |child: &u32| process(*child).is_some_and(|child| !child.dead);
    Some(!children(pid)?.iter().any(lives))
}

/// The programs that run, as far as this user may look: those of its own processes. `None`: they cannot be seen.
pub fn programs() -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir("/proc").ok()?;
    let found: Vec<PathBuf> =
        entries.flatten().filter_map(|e| fs::read_link(e.path().join("exe")).ok()).collect();
    // Our own is one of them.
    if found.is_empty() { None } else { Some(found) }
}

/// The current folder of a process, where that can be told. It is told by name: no disk is asked.
pub fn cwd(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// The home that a process was given, where that can be told.
pub fn home_of(pid: u32) -> Option<OsString> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let home = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"HOME="))?;
    Some(OsStr::from_bytes(home).to_owned())
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
        let seen = parse(line).unwrap();
        assert_eq!((seen.pid, seen.name.as_str(), seen.waits, seen.dead), (42, "a) b (c)", true, false));
        assert_eq!((seen.parent, seen.session, seen.cpu, seen.start), (1, 42, 26, 999));
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
        let start = process(sid).unwrap().start;
        let names = || {
            let mut names: Vec<String> =
                family((sid, start), &[]).unwrap().into_iter().map(|s| s.name).collect();
            names.sort();
            names
        };
        let begun = std::time::Instant::now();
        while names() != ["sh", "sleep", "sleep"] {
            assert!(begun.elapsed().as_secs() < 20, "{:?}", names());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let found = family((sid, start), &[]).unwrap();
        assert!(found.iter().all(|p| p.session == sid && p.pid != beside.id()), "{found:?}");
        assert_eq!(
            family((sid, start + 1), &[]).unwrap(),
            [],
            "the number is another's now, and so is its session"
        );
        let other = (beside.id(), process(beside.id()).unwrap().start);
        assert_eq!(family((sid, start), &[(other.0, other.1 + 1)]).unwrap().len(), 3);
        let known = family((sid, start), &[other]).unwrap();
        assert_eq!(known.len(), 4);
        for member in &known {
            let pid = rustix::process::Pid::from_raw(member.pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        leader.wait().unwrap();
        beside.wait().unwrap();
    }

    #[test]
    fn we_find_ourselves() {
        let own = process(std::process::id()).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(own.start > 0);
    }
}
