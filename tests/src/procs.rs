//! What `/proc` knows: who is alive, who belongs to a world, how much memory is whose.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// Every process id there is.
pub fn all() -> Vec<i32> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    dir.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// True while `pid` runs; a zombie is dead.
pub fn alive(pid: i32) -> bool {
    !matches!(stat(pid), None | Some(('Z' | 'X', _)))
}

/// The state letter and the parent of a process.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, blanks and parentheses too: what follows its last parenthesis is regular.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The name of the program, as the kernel keeps it (15 bytes).
pub fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The command line, arguments divided by blanks.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// Processes whose environment or command line mentions `root`: everything that was started for one world.
pub fn mentioning(root: &Path) -> Vec<i32> {
    let needle = root.as_os_str().as_encoded_bytes();
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let mentions = |pid: i32, file: &str| {
        fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| find(&bytes, needle).is_some())
    };
    all()
        .into_iter()
        .filter(|&pid| pid != me && alive(pid) && (mentions(pid, "environ") || mentions(pid, "cmdline")))
        .collect()
}

/// `pid` and all its descendants.
pub fn family(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until `pid` is gone.
///
/// # Panics
/// When it lives on.
pub fn wait_gone(pid: i32, within: Duration) {
    until(&format!("process {pid} ({}) to be gone", command_line(pid)), within, || {
        (!alive(pid)).then_some(())
    });
}

/// Kills every process of the world at `root`, and whatever those start meanwhile.
pub fn kill_all_mentioning(root: &Path) {
    for _ in 0..200 {
        let rest = mentioning(root);
        if rest.is_empty() {
            return;
        }
        for pid in rest {
            signal(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Memory of `pid` that nobody shares, in bytes.
pub fn private_memory(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kilobytes = text
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>();
    Some(kilobytes * 1024)
}

/// Where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == first) {
        let at = from + at;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
