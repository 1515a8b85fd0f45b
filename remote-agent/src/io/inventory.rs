//! What jobs there are on this machine, and whether each is alive. Three answers: an error is evidence of nothing.

use crate::io::folder::{JobFolder, fault};
use crate::io::hold::SOCKET;
use crate::io::remains;
use crate::platform;
use rustix::fs::{Mode, OFlags};
use sessd_proto::messages::{JobReport, JobSpec, Liveness};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Bytes of a path that fit into a socket's address, with the zero behind it, on every system.
pub const ADDRESS_MAX: usize = 103;

/// Connects to the holder of the job in `folder`. Without `patience` it is not waited for: a holder that stands still takes
/// connections until its queue is full, and then nobody's turn comes.
///
/// # Errors
/// Why it cannot be reached, which is evidence of nothing.
pub fn connect(folder: &JobFolder, patience: Option<Duration>) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
    let path = folder.path().join(SOCKET);
    // However long the path is, that of an open folder is short.
    let (inside, address) = if path.as_os_str().len() <= ADDRESS_MAX {
        (None, SocketAddrUnix::new(&path)?)
    } else {
        let inside = rustix::fs::open(
            folder.path(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let short = platform::path_of(inside.as_fd()).ok_or_else(|| fault("its path is too long"))?;
        let address = SocketAddrUnix::new(short.join(SOCKET))?;
        (Some(inside), address)
    };
    let flags = if patience.is_none() { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags | SocketFlags::CLOEXEC,
        None,
    )?;
    if patience.is_some() {
        // It counts for the connecting, too.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, patience)?;
    }
    let connected = rustix::net::connect(&socket, &address);
    drop(inside);
    match connected {
        Ok(()) => Ok(socket.into()),
        Err(rustix::io::Errno::AGAIN) => Err(fault("it takes no more connections")),
        Err(error) => Err(error.into()),
    }
}

/// For how long an ended job is kept for managers that have not forgotten it, in milliseconds.
const KEPT_MS: u64 = 7 * 24 * 3_600_000;

/// Which managers have held a job and not forgotten it. Where that was not written, or was cleaned away, it is the one that
/// made the job.
pub fn managers(folder: &JobFolder, spec: Option<&JobSpec>) -> io::Result<Vec<String>> {
    let maker = || spec.map(|s| s.manager_id.clone()).filter(|id| !id.is_empty()).into_iter().collect();
    Ok(folder.managers()?.unwrap_or_else(maker))
}

/// Takes away what is left of an ended job as far as `manager_id` is concerned: the folder stays for the other managers
/// that have held the job, for a week at the most. Without an id it goes at once.
pub fn forget(folder: &JobFolder, manager_id: &str, spec: Option<&JobSpec>) -> io::Result<()> {
    let mut left = managers(folder, spec)?;
    left.retain(|id| id != manager_id);
    if manager_id.is_empty() || left.is_empty() || ended_ago_ms(folder).is_some_and(|age| age > KEPT_MS) {
        return folder.remove();
    }
    folder.write_managers(&left)
}

/// How long ago the job ended; of one whose holder was killed, when it was last known to run.
fn ended_ago_ms(folder: &JobFolder) -> Option<u64> {
    folder.age_ms("exit").or_else(|| folder.age_ms("holder"))
}

/// Removes jobs that ended more than eight days ago: a day longer than any manager keeps a record of them.
pub fn remove_old(jobs: &Path) {
    const OLD_MS: u64 = KEPT_MS + 24 * 3_600_000;
    for entry in std::fs::read_dir(jobs).into_iter().flatten().flatten() {
        let Ok(folder) = JobFolder::of(jobs, &entry.file_name().to_string_lossy()) else { continue };
        if folder.age_ms("exit").is_some_and(|age| age > OLD_MS) && matches!(folder.try_lock(), Ok(Some(_))) {
            // What cannot be removed is there at the next start.
            let _ = folder.remove();
        }
    }
}

/// What is said of a job whose holder is gone.
const KILLED: &str = "the job's holder was killed";

/// The same, and what of the job runs on.
fn killed(folder: &JobFolder) -> String {
    match remains::first(folder) {
        Some(pid) => format!(
            "{KILLED}, and process {pid} of it ran on without a terminal: `delete` or `restart` ends it"
        ),
        None => KILLED.to_owned(),
    }
}

/// Looks at one job.
pub fn look(folder: &JobFolder, boot_id: &str) -> JobReport {
    let mut report = JobReport::default();
    let name = folder.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match folder.spec() {
        Ok(spec) => report.spec = spec,
        Err(error) => report.detail = error.to_string(),
    }
    report.spec.get_or_insert_default().job_id = name;
    report.managers = managers(folder, report.spec.as_ref()).unwrap_or_default();
    let mark = folder.mark().unwrap_or_default();
    if let Some(mark) = &mark {
        (report.pid, report.boot_id) = (mark.pid, mark.boot_id.clone());
    }
    let answer = connect(folder, None);
    report.holder_answers = answer.is_ok();
    let (liveness, detail) = match (folder.exit(), answer) {
        (Ok(Some(exit)), _) => {
            report.exit = Some(exit);
            (Liveness::Exited, String::new())
        }
        (_, Ok(_)) => (Liveness::Alive, String::new()),
        (exit, Err(error)) => {
            let gone = mark.as_ref().and_then(|mark| {
                if !boot_id.is_empty() && !mark.boot_id.is_empty() && mark.boot_id != boot_id {
                    return Some("the host was rebooted");
                }
                // The kernel lets go of the lock when the holder dies, whatever kills it; the process number alone would
                // also say "gone" when looked at from another container.
                let unlocked = matches!(folder.try_lock(), Ok(Some(_)));
                let other = platform::process(mark.pid).is_none_or(|now| now.start != mark.start || now.dead);
                (unlocked && other).then_some(KILLED)
            });
            match (gone, exit) {
                (Some(_), Err(damaged)) => {
                    (Liveness::Gone, format!("the exit record cannot be read ({damaged})"))
                }
                (Some(KILLED), _) => (Liveness::Gone, killed(folder)),
                (Some(why), _) => (Liveness::Gone, why.to_owned()),
                (None, _) => (Liveness::Unknown, format!("the job's holder does not answer ({error})")),
            }
        }
    };
    report.liveness = liveness as i32;
    if report.detail.is_empty() {
        report.detail = detail;
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::folder::HolderMark;
    use sessd_proto::messages::ExitRecord;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    const ONE: &str = "00000000-0000-0000-0000-000000000001";
    const TWO: &str = "00000000-0000-0000-0000-000000000002";

    fn job() -> (tempfile::TempDir, JobFolder) {
        let jobs = tempfile::tempdir().unwrap();
        let folder = JobFolder::of(jobs.path(), "00000000-0000-0000-0000-00000000000a").unwrap();
        folder.make().unwrap();
        folder
            .write_spec(&JobSpec { name: "dev".into(), manager_id: ONE.into(), ..JobSpec::default() })
            .unwrap();
        (jobs, folder)
    }

    /// A process that is not there any more.
    fn nobody() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    fn mark(pid: u32, start: u64, boot: &str) -> HolderMark {
        HolderMark { pid, start, boot_id: boot.into() }
    }

    fn liveness(folder: &JobFolder) -> (Liveness, String) {
        let report = look(folder, "boot");
        (Liveness::try_from(report.liveness).unwrap(), report.detail)
    }

    #[test]
    fn the_evidence_and_what_it_is_worth() {
        let (_jobs, folder) = job();
        assert_eq!(liveness(&folder).0, Liveness::Unknown, "asked for, and no holder yet");
        folder.write_mark(&mark(nobody(), 1, "boot")).unwrap();
        assert_eq!(liveness(&folder), (Liveness::Gone, "the job's holder was killed".into()));
        let lock = folder.try_lock().unwrap().unwrap();
        assert_eq!(liveness(&folder).0, Liveness::Unknown, "somebody has the lock");
        drop(lock);

        // The number is another process's now.
        let own = platform::process(std::process::id()).unwrap();
        folder.write_mark(&mark(own.pid, own.start - 1, "boot")).unwrap();
        assert_eq!(liveness(&folder).0, Liveness::Gone);
        let lock = folder.try_lock().unwrap().unwrap();
        assert_eq!(liveness(&folder).0, Liveness::Unknown);
        drop(lock);
        folder.write_mark(&mark(own.pid, own.start, "boot")).unwrap();
        assert_eq!(liveness(&folder).0, Liveness::Unknown, "it lives, and does not answer");

        // Killed, and nobody asks how it ended: as in a container whose first process reaps nobody.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = loop {
            match platform::process(child.id()).unwrap() {
                process if process.dead => break process,
                _ => std::thread::yield_now(),
            }
        };
        folder.write_mark(&mark(dead.pid, dead.start, "boot")).unwrap();
        assert_eq!(liveness(&folder), (Liveness::Gone, "the job's holder was killed".into()));
        child.wait().unwrap();

        folder.write_mark(&mark(own.pid, own.start, "before")).unwrap();
        assert_eq!(liveness(&folder), (Liveness::Gone, "the host was rebooted".into()));
    }

    #[test]
    fn damaged_files_are_named_and_never_read_as_an_answer() {
        let (_jobs, folder) = job();
        folder.write_exit(&ExitRecord { reason: 1, code: Some(7), ..ExitRecord::default() }).unwrap();
        assert_eq!(look(&folder, "boot").exit.and_then(|exit| exit.code), Some(7));
        let path = folder.path().join("exit");
        let whole = fs::read(&path).unwrap();
        for cut in [0, 1, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(liveness(&folder).0, Liveness::Unknown, "no evidence but a damaged file");
            folder.write_mark(&mark(nobody(), 1, "boot")).unwrap();
            let (liveness, detail) = liveness(&folder);
            assert_eq!(liveness, Liveness::Gone);
            assert!(detail.contains("exit is damaged"), "{detail}");
            fs::remove_file(folder.path().join("holder")).unwrap();
        }
        fs::remove_file(&path).unwrap();
        fs::write(folder.path().join("spec"), b"\xff").unwrap();
        fs::write(folder.path().join("holder"), b"\xff\xff").unwrap();
        fs::write(folder.path().join("managers"), b"\xff\n").unwrap();
        let (liveness, detail) = liveness(&folder);
        assert_eq!(liveness, Liveness::Unknown);
        assert!(detail.contains("spec is damaged"), "{detail}");
    }

    #[test]
    fn a_record_stays_until_every_manager_has_forgotten_it() {
        let (jobs, folder) = job();
        let spec = folder.spec().unwrap();
        folder.write_exit(&ExitRecord::default()).unwrap();
        folder.write_managers(&[ONE.into(), TWO.into()]).unwrap();
        forget(&folder, ONE, spec.as_ref()).unwrap();
        forget(&folder, ONE, spec.as_ref()).unwrap();
        assert_eq!(look(&folder, "boot").managers, [TWO]);
        assert!(folder.exists().unwrap());
        forget(&folder, TWO, spec.as_ref()).unwrap();
        assert!(!folder.exists().unwrap());

        // The file was cleaned away: the maker is known all the same.
        let (_jobs, folder) = job();
        folder.write_exit(&ExitRecord::default()).unwrap();
        forget(&folder, TWO, spec.as_ref()).unwrap();
        assert!(folder.exists().unwrap());
        forget(&folder, ONE, spec.as_ref()).unwrap();
        assert!(!folder.exists().unwrap());
        drop(jobs);
    }

    #[test]
    fn what_ended_long_ago_goes() {
        let (jobs, folder) = job();
        let days = |n: u64| SystemTime::now() - Duration::from_secs(n * 24 * 3_600 + 60);
        let exit = |at| {
            File::options().write(true).open(folder.path().join("exit")).unwrap().set_modified(at).unwrap()
        };
        folder.write_exit(&ExitRecord::default()).unwrap();
        folder.write_managers(&[ONE.into(), TWO.into()]).unwrap();
        exit(days(7));
        remove_old(jobs.path());
        assert!(folder.exists().unwrap());
        exit(SystemTime::now() + Duration::from_secs(1_000_000));
        remove_old(jobs.path());
        assert!(folder.exists().unwrap(), "a clock that was put back makes nothing old");
        exit(days(8));
        let lock = folder.try_lock().unwrap().unwrap();
        remove_old(jobs.path());
        assert!(folder.exists().unwrap(), "its holder is there");
        drop(lock);
        remove_old(jobs.path());
        assert!(!folder.exists().unwrap());
        folder.make().unwrap();
        folder.write_exit(&ExitRecord::default()).unwrap();
        folder.write_managers(&[ONE.into(), TWO.into()]).unwrap();
        exit(days(7));
        forget(&folder, ONE, None).unwrap();
        assert!(!folder.exists().unwrap(), "a week is long enough for the other");
    }
}
