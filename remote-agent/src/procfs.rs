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

/// Every process there is.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| stat(e.file_name().to_str()?.parse().ok()?)).collect()
}

/// Is the process without children? `None` where the kernel does not tell.
pub fn childless(pid: u32) -> Option<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let children = fs::read(task.ok()?.path().join("children")).ok()?;
        if children.iter().any(u8::is_ascii_digit) {
            return Some(false);
        }
    }
    Some(true)
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
    fn we_find_ourselves() {
        let own = stat(std::process::id()).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(own.start > 0);
    }
}
