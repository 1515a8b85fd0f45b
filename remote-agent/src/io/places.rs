//! Where jobs of this user may lie on this machine. It has nothing to do with where the agent's binary lies: every agent,
//! of whatever version and wherever it was put, finds the same places.
//!
//! ```text
//! ROOT                                   jobs
//! agent_dir of the configuration         ROOT/jobs/MACHINE        where it is given, the only place for new jobs
//! ~/.local/state/sessd-agent             ROOT/jobs/MACHINE        else the first of these that takes one
//! $XDG_STATE_HOME/sessd-agent            ROOT/jobs/MACHINE
//! $XDG_RUNTIME_DIR/sessd-agent           ROOT/jobs/MACHINE.HOME
//! /var/tmp/sessd-agent-UID               ROOT/jobs/MACHINE.HOME   $SESSD_FALLBACK_DIR instead of /var/tmp and /tmp
//! /tmp/sessd-agent-UID                   ROOT/jobs/MACHINE.HOME
//! ```
//!
//! All of them are looked at, and those that a manager's records name. `MACHINE` keeps the jobs of several machines with one
//! home apart, `HOME` those of several homes of one user. The first agents wrote `MACHINE` alone everywhere: of those
//! folders only what a job's own home, or a manager's record, shows to be ours is told.

use crate::io::folder::{JobFolder, fault, machine};
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Places that are looked into, with those that a manager names.
const PLACES_MAX: usize = 64;

/// Who else may write to what a root lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody: it is below the user's home, or the user says where.
    Private,
    /// Everybody, or every home of this user: the root has to be ours alone, and a home has a folder of its own in it.
    Shared,
    /// Named by the configuration: nobody but us, and all that is above it has to keep to that.
    Given,
}

/// One folder of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    root: PathBuf,
    jobs: PathBuf,
    kind: Kind,
    /// Jobs of other homes, or of other machines, may lie here too: each has to show whose it is.
    mixed: bool,
}

/// What was found in a place.
#[derive(Debug)]
pub enum Survey {
    /// All of it was read. Nothing there is an answer too, where we could have made it.
    All(Vec<JobFolder>),
    /// It is not there, is another user's, or may not be entered: nothing in it is ours, and nothing in it is told.
    NotOurs,
    /// It could not be read to its end, which is evidence of nothing.
    Unread(String),
}

/// What decides where the places are.
#[derive(Debug, Default, Clone)]
struct Facts {
    agent_dir: Option<PathBuf>,
    home: Option<PathBuf>,
    /// The home without links in its path, where that can be told.
    real_home: Option<PathBuf>,
    state: Option<PathBuf>,
    runtime: Option<PathBuf>,
    fallback: Option<PathBuf>,
    uid: u32,
    machine: String,
}

/// All places of this user on this machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// For new jobs, the best first.
    new: usize,
    list: Vec<Place>,
    home: Option<PathBuf>,
    machine: String,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn home() -> Option<PathBuf> {
    variable("HOME").map(|home| plain(&home))
}

/// The home of this process without links in its path, where that can be told. The home may be on a disk that does not
/// answer: this waits for it.
pub fn real_home() -> Option<PathBuf> {
    fs::canonicalize(home()?).ok()
}

/// A short name for a home. Two homes of one user do not have the same by chance.
fn key(home: &Path) -> String {
    // FNV-1a: nobody gains anything by a second home with the same number, both are this user's.
    let hash = home.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The path without slashes at its end and in double.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

impl Places {
    /// Those of this process. `real_home`: as [`real_home`] found it, or `None` while it is not found.
    pub fn here(real_home: Option<PathBuf>) -> Self {
        Self::of(&Facts {
            agent_dir: variable("SESSD_AGENT_DIR"),
            real_home,
            home: home(),
            state: variable("XDG_STATE_HOME"),
            runtime: variable("XDG_RUNTIME_DIR"),
            fallback: variable("SESSD_FALLBACK_DIR"),
            uid: rustix::process::getuid().as_raw(),
            machine: machine(),
        })
    }

    fn of(facts: &Facts) -> Self {
        let nowhere = PathBuf::from("/");
        let home = facts.home.as_ref().unwrap_or(&nowhere);
        let own = format!("{}.{}", facts.machine, key(facts.real_home.as_ref().unwrap_or(home)));
        // As the home is called without a look at it, which may have been all that could be done.
        let by_name = format!("{}.{}", facts.machine, key(home));
        let mut roots: Vec<(PathBuf, Kind)> = Vec::new();
        let below = |path: &PathBuf| path.join("sessd-agent");
        roots.extend(facts.agent_dir.iter().map(|dir| (dir.clone(), Kind::Given)));
        roots.extend(facts.home.iter().map(|home| (home.join(".local/state/sessd-agent"), Kind::Private)));
        roots.extend(facts.state.iter().map(|state| (below(state), Kind::Private)));
        roots.extend(facts.runtime.iter().map(|runtime| (below(runtime), Kind::Shared)));
        let usual = [PathBuf::from("/var/tmp"), PathBuf::from("/tmp")];
        for folder in facts.fallback.as_ref().map_or(&usual[..], std::slice::from_ref) {
            roots.push((folder.join(format!("sessd-agent-{}", facts.uid)), Kind::Shared));
        }
        let new = if facts.agent_dir.is_some() { 1 } else { roots.len() };
        if facts.runtime.is_none() && facts.fallback.is_none() {
            // A login without it (cron, `su`) still looks where the others put their jobs.
            roots.push((format!("/run/user/{}/sessd-agent", facts.uid).into(), Kind::Shared));
        }
        let place = |(root, kind): &(PathBuf, Kind), name: &str, mixed| {
            let root = plain(root);
            Place { jobs: root.join("jobs").join(name), root, kind: *kind, mixed }
        };
        let name = |kind: Kind| if kind == Kind::Shared { own.as_str() } else { facts.machine.as_str() };
        let mut list: Vec<Place> = roots.iter().map(|root| place(root, name(root.1), false)).collect();
        for root in roots.iter().filter(|(_, kind)| *kind == Kind::Shared) {
            list.push(place(root, &by_name, false));
            list.push(place(root, &facts.machine, true));
        }
        let mut known = HashSet::new();
        // A folder of ours that is named twice is one place, and the first name is the one it has.
        list.retain(|place| known.insert(place.jobs.clone()));
        Self { new: new.min(list.len()), list, home: facts.home.clone(), machine: facts.machine.clone() }
    }

    /// Those, and the ones that a manager's records name.
    pub fn and(&self, named: &[String]) -> Self {
        let mut all = self.clone();
        for jobs in named.iter().map(|jobs| plain(Path::new(jobs))) {
            let Some(root) = root_of(&jobs) else { continue };
            if all.list.len() >= PLACES_MAX || all.list.iter().any(|place| place.jobs == jobs) {
                continue;
            }
            let kind = all.list.iter().find(|place| place.root == root).map_or(Kind::Private, |p| p.kind);
            let ours = jobs.file_name().is_some_and(|name| name.as_bytes() == all.machine.as_bytes());
            all.list.push(Place { root: root.to_owned(), jobs, kind, mixed: kind == Kind::Shared || !ours });
        }
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.list.iter()
    }

    /// The folder of the jobs that this machine has by preference, for who knows of one only.
    pub fn first(&self) -> Option<&Place> {
        self.list.first()
    }

    /// Where a new job may go, the best first.
    pub fn for_new(&self) -> impl Iterator<Item = &Place> {
        self.list[..self.new].iter()
    }

    /// What is in a place. `manager`: who asks; what its records name is its own.
    pub fn read(&self, place: &Place, manager: &str) -> Survey {
        match place.check() {
            Ok(()) => {}
            Err(NotUsed::Absent) if place.could_be_made() => return Survey::All(Vec::new()),
            Err(NotUsed::Absent | NotUsed::Foreign(_)) => return Survey::NotOurs,
            Err(NotUsed::Unknown(why)) => return Survey::Unread(why),
        }
        let unread = |error: io::Error| Survey::Unread(format!("{}: {error}", place.jobs.display()));
        let entries = match fs::read_dir(&place.jobs) {
            Ok(entries) => entries,
            Err(error) => return unread(error),
        };
        let mut jobs = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return unread(error),
            };
            let Ok(folder) = JobFolder::of(&place.jobs, &entry.file_name().to_string_lossy()) else {
                continue;
            };
            if !place.mixed || self.is_ours(place, &folder, manager) {
                jobs.push(folder);
            }
        }
        Survey::All(jobs)
    }

    /// Whether a job of a folder that several homes or machines have used belongs here.
    fn is_ours(&self, place: &Place, folder: &JobFolder, manager: &str) -> bool {
        let mark = folder.mark().ok().flatten();
        let name = place.jobs.file_name().unwrap_or_default().to_string_lossy();
        let of_this_machine =
            name.strip_prefix(&self.machine).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !of_this_machine {
            // This machine had another name when it began, or it is another machine. The boot tells them apart.
            let boot = crate::platform::boot_id();
            return !boot.is_empty() && mark.is_some_and(|mark| mark.boot_id == boot);
        }
        let made_by_us = || {
            crate::io::inventory::managers(folder, folder.spec().ok().flatten().as_ref())
                .is_ok_and(|ids| ids.iter().any(|id| id == manager))
        };
        let home = mark.and_then(|mark| crate::platform::home_of(mark.pid));
        match (home, &self.home) {
            (Some(theirs), Some(ours)) => plain(Path::new(&theirs)) == *ours || made_by_us(),
            _ => made_by_us(),
        }
    }

    /// The folder of a job, wherever it is. One in which something was begun goes before one in which nothing was.
    ///
    /// # Errors
    /// When a place cannot be looked into: the job may be there.
    pub fn find(&self, job_id: &str) -> io::Result<Option<JobFolder>> {
        let mut empty = None;
        for place in &self.list {
            let folder = JobFolder::of(&place.jobs, job_id)?;
            match fs::symlink_metadata(folder.path()) {
                Ok(_) => {}
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(crate::io::folder::context(folder.path().display())(error)),
            }
            match place.check() {
                Ok(()) => {}
                Err(NotUsed::Unknown(why)) => return Err(fault(why)),
                Err(_) => continue,
            }
            if folder.has("holder") || folder.has("exit") {
                return Ok(Some(folder));
            }
            empty.get_or_insert(folder);
        }
        Ok(empty)
    }
}

/// `ROOT` of `ROOT/jobs/NAME`. `None`: a path that no agent ever made, whoever says so.
fn root_of(jobs: &Path) -> Option<&Path> {
    let above = jobs.parent().filter(|above| above.file_name().is_some_and(|name| name == "jobs"))?;
    let straight = jobs.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    above.parent().filter(|root| root.is_absolute() && straight)
}

fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Why a place is not used.
enum NotUsed {
    Absent,
    Foreign(String),
    Unknown(String),
}

impl NotUsed {
    fn of(path: &Path, error: &io::Error) -> Self {
        let what = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Foreign(what),
            _ if is_absence(error) => Self::Absent,
            _ => Self::Unknown(what),
        }
    }
}

fn ours_alone(path: &Path, meta: &Metadata, mode: u32) -> Result<(), NotUsed> {
    let foreign = |what: &str| Err(NotUsed::Foreign(format!("{} {what}", path.display())));
    if !meta.is_dir() {
        return foreign("is no folder");
    }
    if meta.uid() != rustix::process::getuid().as_raw() {
        return foreign("belongs to another user");
    }
    if meta.mode() & mode != 0 {
        return foreign("can be written by others");
    }
    Ok(())
}

impl Place {
    /// The folder that jobs have theirs in.
    pub fn jobs(&self) -> &Path {
        &self.jobs
    }

    /// The folder that the agent's programs lie in, where they lie in this place.
    pub fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Is it there, and ours?
    fn check(&self) -> Result<(), NotUsed> {
        let look = |path: &Path| fs::symlink_metadata(path).map_err(|e| NotUsed::of(path, &e));
        match self.kind {
            Kind::Private => {}
            Kind::Shared => ours_alone(&self.root, &look(&self.root)?, 0o077)?,
            Kind::Given => {
                look(&self.root)?;
                safe(&self.root)?;
            }
        }
        ours_alone(&self.jobs, &look(&self.jobs)?, 0)
    }

    /// Nothing is there, and a holder that lives would have made it again.
    fn could_be_made(&self) -> bool {
        let there = self.jobs.ancestors().find(|above| above.exists());
        there.is_some_and(|above| rustix::fs::access(above, rustix::fs::Access::WRITE_OK).is_ok())
    }

    /// Makes it, where it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or is not ours alone.
    pub fn make(&self) -> io::Result<()> {
        if self.kind == Kind::Shared {
            // In a folder that others write to ours is made in one step, or it is somebody else's.
            match fs::DirBuilder::new().mode(0o700).create(&self.root) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(crate::io::folder::context(self.root.display())(error));
                }
                _ => {}
            }
            ours_alone(&self.root, &fs::symlink_metadata(&self.root)?, 0o077).map_err(error_of)?;
        }
        crate::io::folder::make_private(&self.jobs)?;
        self.check().map_err(error_of)
    }
}

fn error_of(why: NotUsed) -> io::Error {
    match why {
        NotUsed::Absent => fault("it is gone again"),
        NotUsed::Foreign(why) | NotUsed::Unknown(why) => fault(why),
    }
}

/// Nobody but the user and root can put anything in the place of `path`, or of what it lies in: as sshd wants it of a
/// home. A folder that everybody may write to is safe with the sticky bit, in which each can only move what is theirs.
fn safe(path: &Path) -> Result<(), NotUsed> {
    let real = fs::canonicalize(path).map_err(|error| NotUsed::of(path, &error))?;
    for (up, path) in real.ancestors().enumerate() {
        let meta = fs::symlink_metadata(path).map_err(|error| NotUsed::of(path, &error))?;
        let (uid, mode) = (meta.uid(), meta.mode());
        if uid != 0 && uid != rustix::process::getuid().as_raw() {
            return Err(NotUsed::Foreign(format!("{} belongs to another user", path.display())));
        }
        let sticky = up > 0 && mode & 0o1000 != 0;
        if mode & 0o022 != 0 && !sticky {
            return Err(NotUsed::Foreign(format!("{} can be written by others", path.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const JOB: &str = "00000000-0000-0000-0000-00000000000a";
    const US: &str = "00000000-0000-0000-0000-000000000001";

    fn facts(root: &Path) -> Facts {
        let at = |name: &str| Some(root.join(name));
        Facts {
            home: at("home"),
            runtime: at("run"),
            fallback: at("fall"),
            uid: rustix::process::getuid().as_raw(),
            machine: "box-1".into(),
            ..Facts::default()
        }
    }

    fn world() -> (tempfile::TempDir, Facts) {
        let root = tempfile::tempdir().unwrap();
        for name in ["home", "run", "fall", "home2", "given"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let facts = facts(root.path());
        (root, facts)
    }

    fn ids(places: &Places) -> Vec<String> {
        let mut ids: Vec<String> = places
            .iter()
            .flat_map(|place| match places.read(place, US) {
                Survey::All(jobs) => jobs,
                _ => Vec::new(),
            })
            .map(|job| job.path().file_name().unwrap().to_string_lossy()[35..].to_owned())
            .collect();
        ids.sort();
        ids
    }

    fn put(place: &Place, n: usize) {
        place.make().unwrap();
        JobFolder::of(place.jobs(), &format!("{}{n}", &JOB[..35])).unwrap().make().unwrap();
    }

    #[test]
    fn the_same_places_are_found_wherever_the_agent_lies_and_the_home_comes_first() {
        let facts =
            |uid| Facts { home: Some("/home/me".into()), uid, machine: "box".into(), ..Facts::default() };
        let of = |facts: &Facts| -> Vec<String> {
            Places::of(facts).for_new().map(|place| place.jobs().to_string_lossy().into_owned()).collect()
        };
        let key = key(Path::new("/home/me"));
        assert_eq!(
            of(&facts(7)),
            [
                "/home/me/.local/state/sessd-agent/jobs/box".to_owned(),
                format!("/var/tmp/sessd-agent-7/jobs/box.{key}"),
                format!("/tmp/sessd-agent-7/jobs/box.{key}"),
            ]
        );
        let given =
            Facts { agent_dir: Some("/data/agent".into()), fallback: Some("/scratch".into()), ..facts(7) };
        assert_eq!(of(&given), ["/data/agent/jobs/box"], "what is given is the only place for new jobs");
        let looked: Vec<_> = Places::of(&given).iter().map(|place| place.jobs().to_owned()).collect();
        assert!(looked.contains(&"/home/me/.local/state/sessd-agent/jobs/box".into()), "{looked:?}");
        assert!(looked.contains(&format!("/scratch/sessd-agent-7/jobs/box.{key}").into()), "{looked:?}");
    }

    #[test]
    fn jobs_are_seen_in_every_place_and_found_by_their_id() {
        let (root, facts) = world();
        let places = Places::of(&facts);
        for (n, place) in places.for_new().enumerate() {
            put(place, n);
        }
        assert_eq!(ids(&places), ["0", "1", "2"]);
        // Another agent_dir for new jobs hides none of the old ones.
        let given = Places::of(&Facts { agent_dir: Some(root.path().join("given")), ..facts.clone() });
        put(given.for_new().next().unwrap(), 3);
        assert_eq!(ids(&given), ["0", "1", "2", "3"]);
        // And when it is taken out of the configuration, the manager's records name it.
        assert_eq!(ids(&places), ["0", "1", "2"]);
        let named = root.path().join("given/jobs/box-1").to_string_lossy().into_owned();
        let places = places.and(&[named, "/etc".into(), "/x/../jobs/y".into()]);
        assert_eq!(ids(&places), ["0", "1", "2", "3"]);
        for n in 0..4 {
            assert!(places.find(&format!("{}{n}", &JOB[..35])).unwrap().is_some(), "{n}");
        }
        assert!(places.find(&format!("{}9", &JOB[..35])).unwrap().is_none());
    }

    #[test]
    fn two_homes_of_one_user_share_a_fallback_and_no_jobs() {
        let (root, one) = world();
        let two = Facts { home: Some(root.path().join("home2")), ..one.clone() };
        let (one, two) = (Places::of(&one), Places::of(&two));
        for (places, n) in [(&one, 1), (&two, 2)] {
            put(places.for_new().last().unwrap(), n);
        }
        assert_eq!((ids(&one), ids(&two)), (vec!["1".to_owned()], vec!["2".to_owned()]));
    }

    #[test]
    fn what_the_first_agents_left_in_a_shared_folder_has_to_show_whose_it_is() {
        let (root, facts) = world();
        let places = Places::of(&facts);
        let shared = root.path().join(format!("fall/sessd-agent-{}", facts.uid));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o700)).unwrap();
        let jobs = shared.join("jobs/box-1");
        let other = US.replace('1', "2");
        for (n, manager) in [(1, US), (2, other.as_str())] {
            let folder = JobFolder::of(&jobs, &format!("{}{n}", &JOB[..35])).unwrap();
            folder.make().unwrap();
            folder.write_managers(&[manager.to_owned()]).unwrap();
        }
        assert_eq!(ids(&places), ["1"], "made by the manager that asks; of the other nothing is known");
        let own = crate::io::folder::HolderMark { pid: std::process::id(), start: 1, boot_id: String::new() };
        JobFolder::of(&jobs, &format!("{}2", &JOB[..35])).unwrap().write_mark(&own).unwrap();
        assert_eq!(ids(&places), ["1"], "its holder has another home");
        if let Some(home) = variable("HOME") {
            let ours = Places::of(&Facts { home: Some(home), ..facts });
            assert_eq!(ids(&ours), ["1", "2"], "its holder has this home");
        }
    }

    #[test]
    fn a_folder_of_others_is_no_place_and_evidence_of_nothing() {
        let (root, facts) = world();
        let places = Places::of(&facts);
        let shared = places.for_new().last().unwrap();
        assert!(matches!(places.read(shared, US), Survey::All(jobs) if jobs.is_empty()), "it could be made");
        put(shared, 1);
        fs::set_permissions(&shared.root, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(places.read(shared, US), Survey::NotOurs), "others can write to it");
        assert!(shared.make().is_err());
        fs::set_permissions(&shared.root, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(places.read(shared, US), Survey::All(jobs) if jobs.len() == 1));
        fs::remove_dir_all(&shared.root).unwrap();
        std::os::unix::fs::symlink(root.path().join("given"), &shared.root).unwrap();
        assert!(matches!(places.read(shared, US), Survey::NotOurs), "a link is nobody's folder");
        assert!(shared.make().is_err());
    }

    #[test]
    fn a_given_folder_is_used_only_where_nobody_else_can_put_anything_in_its_place() {
        let (root, facts) = world();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let above = root.path().join("given");
        let agent = above.join("agent");
        let places = Places::of(&Facts { agent_dir: Some(agent.clone()), ..facts });
        let place = places.for_new().next().unwrap();
        place.make().unwrap();
        for (folder, bits, good) in [
            (&above, 0o777, false),
            (&above, 0o775, false),
            (&above, 0o1777, true),
            (&above, 0o755, true),
            (&agent, 0o1777, false),
            (&agent, 0o770, false),
            (&agent, 0o700, true),
        ] {
            mode(folder, bits);
            let made = place.make();
            assert_eq!(made.is_ok(), good, "{bits:o} on {}: {made:?}", folder.display());
            assert!(made.err().is_none_or(|error| error.to_string().contains("can be written by others")));
            assert_eq!(matches!(places.read(place, US), Survey::All(_)), good);
        }
    }
}
