//! An inventory being taken: place by place and job by job, each a task of its own, so that a key never waits for more than
//! one of them, and one that stands still costs the rest nothing. Of what cannot be told it says just that.

use crate::io::folder::{JobFolder, machine};
use crate::io::inventory;
use crate::io::places::{Places, Survey};
use crate::{VERSION, platform, wall_ms};
use prost::Message;
use sessd_proto::messages::{Inventory, JobReport, JobSpec, Liveness};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of jobs in one page, unless a single one has more: what a key may have to wait behind.
const PAGE: usize = 64 << 10;
/// Most bytes of one job's report. What the first managers allowed may be longer, and is told in part.
const REPORT_MAX: usize = 512 << 10;
/// Once so many bytes are told, of each further job only that much is.
const TOLD_MAX: usize = 16 << 20;
const SHORT: usize = 8 << 10;
/// What is said of a job while its disk does not answer.
pub const NO_ANSWER: &str = "the disk that the job's folder is on does not answer";
/// Steps that may be under way at a time.
const WINDOW: usize = 32;

/// One thing to be done.
#[derive(Debug)]
enum Step {
    Place(usize),
    Job(JobFolder),
}

/// What came of it.
#[derive(Debug)]
pub enum ListingResult {
    /// Of a place.
    Place(usize, Survey),
    /// Of a job.
    Job(Box<JobReport>),
    /// The job was forgotten while it was looked at.
    Gone,
}

/// An inventory being taken.
#[derive(Debug)]
pub struct Listing {
    /// The request it answers.
    pub request: u64,
    places: Arc<Places>,
    manager: Arc<str>,
    boot: Arc<str>,
    steps: VecDeque<Step>,
    /// What is under way, by its number: the folder of jobs, and what is looked at.
    under_way: Vec<(u64, String, PathBuf)>,
    /// Folders of jobs, and whether each was read to its end.
    read: Vec<(String, bool)>,
    complete: bool,
    jobs: Vec<JobReport>,
}

impl Listing {
    /// Begins one.
    pub fn new(request: u64, places: &Arc<Places>, manager: String) -> Self {
        Self {
            request,
            steps: (0..places.len()).map(Step::Place).collect(),
            places: places.clone(),
            manager: manager.into(),
            boot: platform::boot_id().into(),
            under_way: Vec::new(),
            read: Vec::new(),
            complete: true,
            jobs: Vec::new(),
        }
    }

    /// Begins what can be begun. `put` queues a task and gives its number, or has no room for it now. What `stuck` says of
    /// stands still since an earlier look: it is not looked at a second time meanwhile.
    pub fn go_on(
        &mut self,
        stuck: impl Fn(&Path) -> bool,
        mut put: impl FnMut(Box<dyn FnOnce() -> ListingResult + Send>) -> Option<u64>,
    ) {
        while self.under_way.len() < WINDOW
            && let Some(step) = self.steps.pop_front()
        {
            let (places, manager, boot) = (self.places.clone(), self.manager.clone(), self.boot.clone());
            let (of, at, task): (String, PathBuf, Box<dyn FnOnce() -> ListingResult + Send>) = match &step {
                Step::Place(at) => {
                    let at = *at;
                    let Some(place) = self.places.iter().nth(at) else { continue };
                    let task = move || {
                        if let Some(first) = places.first().filter(|_| at == 0) {
                            // Where new jobs go. That it cannot be made is said by what is found.
                            let _ = first.make();
                        }
                        let found = places.iter().nth(at).map(|place| places.read(place, &manager));
                        ListingResult::Place(at, found.unwrap_or(Survey::NotOurs))
                    };
                    (shown(place.jobs()), place.jobs().to_owned(), Box::new(task))
                }
                Step::Job(folder) => {
                    let (folder, path) = (folder.clone(), folder.path().to_owned());
                    let of = folder.path().parent().map(shown).unwrap_or_default();
                    let task = move || {
                        let report = inventory::look(&folder, &boot);
                        let gone = matches!(folder.exists(), Ok(false));
                        if gone { ListingResult::Gone } else { ListingResult::Job(Box::new(report)) }
                    };
                    (of, path, Box::new(task))
                }
            };
            if stuck(&at) {
                self.missed(of, &at);
                continue;
            }
            match put(task) {
                Some(id) => {
                    self.under_way.push((id, of, at));
                }
                None => {
                    self.steps.push_front(step);
                    return;
                }
            }
        }
    }

    /// Takes what came of a task. False: it is none of this inventory's.
    pub fn told(&mut self, id: u64, told: &mut Option<ListingResult>) -> bool {
        let Some(at) = self.under_way.iter().position(|(begun, ..)| *begun == id) else { return false };
        let (_, of, path) = self.under_way.swap_remove(at);
        match told.take() {
            Some(ListingResult::Place(_, Survey::All(jobs))) => {
                self.read.push((of, true));
                self.steps.extend(jobs.into_iter().map(Step::Job));
            }
            Some(ListingResult::Place(_, Survey::NotOurs) | ListingResult::Gone) => {}
            Some(ListingResult::Place(_, Survey::Unread(_))) => self.complete = false,
            Some(ListingResult::Job(mut report)) => {
                report.folder = of;
                self.jobs.push(*report);
            }
            None => self.missed(of, &path),
        }
        true
    }

    /// Of a job that cannot be looked at only that is told; a folder that cannot be read may have any job in it.
    fn missed(&mut self, of: String, path: &Path) {
        let Some(name) = path.file_name().filter(|_| path.parent() == Some(Path::new(&of))) else {
            self.complete = false;
            return;
        };
        let spec = JobSpec { job_id: name.to_string_lossy().into_owned(), ..JobSpec::default() };
        self.jobs.push(JobReport {
            spec: Some(spec),
            liveness: Liveness::Unknown as i32,
            detail: NO_ANSWER.to_owned(),
            folder: of,
            ..JobReport::default()
        });
    }

    /// A task stands still: the inventory does without it. What it looks at; `None`: it is none of this inventory's.
    pub fn give_up(&mut self, id: u64) -> Option<PathBuf> {
        let path = self.under_way.iter().find(|(begun, ..)| *begun == id).map(|(.., path)| path.clone())?;
        self.told(id, &mut None);
        Some(path)
    }

    /// Nothing is left to be done.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.under_way.is_empty()
    }

    /// The answer, cut into pages. All but the last say that they are not all of it, also to who does not know pages.
    pub fn pages(self) -> VecDeque<Inventory> {
        let head = Inventory {
            boot_id: self.boot.to_string(),
            machine_id: machine(),
            agent_version: VERSION.to_owned(),
            now_ms: wall_ms(),
            jobs: Vec::new(),
            complete: false,
            folder: self.places.first().map(|place| shown(place.jobs())).unwrap_or_default(),
            places: Vec::new(),
        };
        let mut pages = VecDeque::new();
        let (mut page, mut size, mut told) = (head.clone(), 0, 0);
        for job in once_each(self.jobs) {
            let job = bounded(job, if told > TOLD_MAX { SHORT } else { REPORT_MAX });
            let length = job.encoded_len();
            told += length;
            if size > 0 && size + length > PAGE {
                pages.push_back(std::mem::replace(&mut page, head.clone()));
                size = 0;
            }
            size += length;
            page.jobs.push(job);
        }
        page.complete = self.complete;
        page.places = self.read.into_iter().filter(|(_, whole)| *whole).map(|(folder, _)| folder).collect();
        pages.push_back(page);
        pages
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A start that had to be made again elsewhere may have left an empty folder behind: of two that have one job's name, the
/// one that says more counts.
fn once_each(mut all: Vec<JobReport>) -> Vec<JobReport> {
    let weight = |job: &JobReport| match Liveness::try_from(job.liveness).unwrap_or(Liveness::Unknown) {
        Liveness::Alive => 4,
        Liveness::Exited => 3,
        Liveness::Unknown if job.pid != 0 => 2,
        Liveness::Gone => 1,
        Liveness::Unknown => 0,
    };
    let id = |job: &JobReport| job.spec.as_ref().map(|spec| spec.job_id.clone()).unwrap_or_default();
    all.sort_by_cached_key(|job| (id(job), std::cmp::Reverse(weight(job))));
    all.dedup_by_key(|job| id(job));
    all
}

/// Shortens what no frame could carry, and says that it did.
fn bounded(mut job: JobReport, most: usize) -> JobReport {
    if job.encoded_len() <= most {
        return job;
    }
    job.abridged = true;
    cut(&mut job.detail, 1024);
    job.managers.truncate(64);
    job.managers.iter_mut().for_each(|id| cut(id, 64));
    cut(&mut job.boot_id, 64);
    if let Some(exit) = &mut job.exit {
        cut(&mut exit.detail, 1024);
        exit.screen = None;
    }
    if let Some(spec) = &mut job.spec {
        spec.env.clear();
        sessd_proto::bounds::shorten(&mut spec.command, 4096);
        cut(&mut spec.cwd, 4096);
        for text in [&mut spec.name, &mut spec.session_id, &mut spec.host, &mut spec.manager_id] {
            cut(text, 256);
        }
    }
    if job.encoded_len() > REPORT_MAX
        && let Some(spec) = &mut job.spec
    {
        let JobSpec { tags, .. } = spec;
        tags.clear();
    }
    job
}

fn cut(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque as Queue;

    fn report(n: usize, bytes: usize) -> JobReport {
        let spec =
            JobSpec { job_id: format!("{n:03}"), command: vec!["x".repeat(bytes)], ..JobSpec::default() };
        JobReport { spec: Some(spec), liveness: Liveness::Alive as i32, ..JobReport::default() }
    }

    fn listing(jobs: Vec<JobReport>) -> Listing {
        let mut listing = Listing::new(1, &Arc::new(Places::here(None)), String::new());
        listing.steps.clear();
        listing.read = vec![("/f".into(), true)];
        listing.jobs = jobs;
        listing
    }

    #[test]
    fn an_inventory_of_any_size_travels_in_frames_that_may_be() {
        let jobs: Vec<_> =
            (0..60).map(|n| report(n, if n % 20 == 0 { 3 << 20 } else { n * 3_000 })).collect();
        let pages = listing(jobs).pages();
        let (last, before) = (pages.len() - 1, pages.iter().take(pages.len() - 1));
        assert!(
            before.clone().all(|page| !page.complete && page.places.is_empty()),
            "a page is not all there is"
        );
        assert!(pages[last].complete && pages[last].places == ["/f"]);
        let all: Vec<&JobReport> = pages.iter().flat_map(|page| &page.jobs).collect();
        assert_eq!(all.len(), 60);
        for (n, job) in all.iter().enumerate() {
            let spec = job.spec.as_ref().unwrap();
            assert_eq!(spec.job_id, format!("{n:03}"));
            assert_eq!(job.abridged, n % 20 == 0);
            assert_eq!(spec.command[0].len() == n * 3_000, !job.abridged);
        }
        for page in &pages {
            assert!(
                page.encoded_len() < sessd_proto::limits::FRAME_BODY_MAX - 1024,
                "{}",
                page.encoded_len()
            );
        }
    }

    #[test]
    fn what_stands_still_is_not_known_and_holds_up_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let jobs = root.path().join("sessd-agent/jobs").join(machine());
        for n in [10, 11] {
            let folder = JobFolder::of(&jobs, &format!("00000000-0000-0000-0000-0000000000{n}")).unwrap();
            folder.make().unwrap();
        }
        let places = Arc::new(Places::here(None).and(&[shown(&jobs)]));
        // The first that is looked at stands still: a job, then the folder of all jobs, and each once more from before.
        for (stands_still, before) in [("10", false), ("10", true), ("jobs", false), ("jobs", true)] {
            let path = if stands_still == "jobs" {
                jobs.clone()
            } else {
                jobs.join(format!("00000000-0000-0000-0000-0000000000{stands_still}"))
            };
            let mut listing = Listing::new(1, &places, String::new());
            let mut queue: Queue<(u64, Box<dyn FnOnce() -> ListingResult + Send>)> = Queue::new();
            let mut next = 0;
            while !listing.is_done() {
                let stuck = |at: &Path| before && at == path;
                listing.go_on(stuck, |task| {
                    next += 1;
                    queue.push_back((next, task));
                    Some(next)
                });
                let Some((id, task)) = queue.pop_front() else { continue };
                if listing.under_way.iter().any(|(begun, _, at)| *begun == id && *at == path) {
                    assert!(!before, "it is not looked at a second time");
                    assert_eq!(listing.give_up(id).as_ref(), Some(&path));
                    assert!(!listing.told(id, &mut Some(task())), "it came too late");
                } else {
                    assert!(listing.told(id, &mut Some(task())));
                }
            }
            let page = listing.pages().pop_back().unwrap();
            let of_place = stands_still == "jobs";
            assert_eq!(page.complete, !of_place, "{page:#?}");
            assert_eq!(page.places.contains(&shown(&jobs)), !of_place);
            let told: Vec<_> = page
                .jobs
                .iter()
                .filter(|job| job.folder == shown(&jobs))
                .map(|job| job.detail.as_str())
                .collect();
            assert_eq!(told.len(), if of_place { 0 } else { 2 }, "{told:?}");
            assert_eq!(told.contains(&NO_ANSWER), !of_place);
        }
    }

    #[test]
    fn of_two_folders_of_one_job_the_one_that_says_more_counts() {
        let alive = report(1, 0);
        let empty = JobReport { liveness: Liveness::Unknown as i32, ..report(1, 0) };
        for both in [vec![alive.clone(), empty.clone()], vec![empty, alive.clone()]] {
            assert_eq!(once_each(both), std::slice::from_ref(&alive));
        }
    }
}
