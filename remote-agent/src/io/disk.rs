//! Work on files, away from the thread that serves a terminal or a link: a disk may not answer for a second, or for a day.
//!
//! Tasks are done in order by one thread, which ends when there are none left. One that stands still for [`STUCK`] is left
//! to itself and another thread goes on behind it, up to [`Disk::new`]'s number of threads. When all of them stand still
//! nothing more is tried until one comes back; whoever waits is told by [`Disk::overdue`].

use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A task that takes longer is not waited for by those behind it.
pub const STUCK: Duration = Duration::from_secs(2);
/// Tasks that may wait at a time.
pub const QUEUE: usize = 1024;
/// Bytes of a thread's stack: paths and a directory's entries; the system's own default is eight times as much.
const STACK: usize = 256 << 10;

type Task<T> = Box<dyn FnOnce() -> T + Send>;

struct Shared<T> {
    queue: VecDeque<(u64, Instant, Task<T>)>,
    /// What each thread works on, and since when.
    running: Vec<(u64, Instant)>,
    threads: usize,
    done: Vec<(u64, T)>,
    /// Written to when something was done, so that a poll notices.
    wake: OwnedFd,
}

/// The queue, its threads, and what came of it.
pub struct Disk<T> {
    shared: Arc<Mutex<Shared<T>>>,
    most: usize,
    next: u64,
    woken: OwnedFd,
}

impl<T> std::fmt::Debug for Disk<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Nothing panics while it holds the lock.
fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + 'static> Disk<T> {
    /// With so many threads at the most.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(most: usize) -> io::Result<Self> {
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let shared =
            Shared { queue: VecDeque::new(), running: Vec::new(), threads: 0, done: Vec::new(), wake };
        Ok(Self { shared: Arc::new(Mutex::new(shared)), most, next: 0, woken })
    }

    /// To be watched for reading: something was done.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// Queues a task; what comes of it is told under the number. `None`: the queue is full, and the task is not done.
    pub fn put(&mut self, task: impl FnOnce() -> T + Send + 'static) -> Option<u64> {
        let mut shared = lock(&self.shared);
        if shared.queue.len() >= QUEUE {
            return None;
        }
        self.next += 1;
        shared.queue.push_back((self.next, Instant::now(), Box::new(task)));
        drop(shared);
        self.keep_going();
        Some(self.next)
    }

    /// Sees to it that a thread works that does not stand still, if there is work and room for one.
    pub fn keep_going(&mut self) {
        let mut shared = lock(&self.shared);
        let stuck = shared.running.iter().filter(|(_, since)| since.elapsed() >= STUCK).count();
        if shared.queue.is_empty() || shared.threads > stuck || shared.threads >= self.most {
            return;
        }
        let mine = self.shared.clone();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || work(&mine));
        match thread {
            Ok(_) => shared.threads += 1,
            Err(_) if shared.threads > 0 => {}
            // Not one thread can be had: what has to be done is done here, which is late and not never.
            Err(_) => {
                shared.threads += 1;
                drop(shared);
                work(&self.shared);
            }
        }
    }

    /// What was done since the last time.
    pub fn done(&mut self) -> Vec<(u64, T)> {
        let mut buffer = [0; 64];
        while matches!(rustix::io::read(&self.woken, &mut buffer), Ok(1..)) {}
        let done = std::mem::take(&mut lock(&self.shared).done);
        self.keep_going();
        done
    }

    /// Tasks that stand still, and those that cannot even be begun because every thread does. They may come back.
    pub fn overdue(&self) -> Vec<u64> {
        let shared = lock(&self.shared);
        let late = |since: &Instant| since.elapsed() >= STUCK;
        let mut overdue: Vec<u64> =
            shared.running.iter().filter(|(_, since)| late(since)).map(|(id, _)| *id).collect();
        if overdue.len() >= self.most {
            overdue.extend(shared.queue.iter().filter(|(_, since, _)| late(since)).map(|(id, ..)| *id));
        }
        overdue
    }

    /// Takes a task back that was not begun; one that was runs on.
    pub fn give_up(&mut self, id: u64) {
        lock(&self.shared).queue.retain(|(queued, ..)| *queued != id);
    }
}

fn work<T>(shared: &Mutex<Shared<T>>) {
    let mut held = lock(shared);
    while let Some((id, _, task)) = held.queue.pop_front() {
        held.running.push((id, Instant::now()));
        drop(held);
        let done = task();
        held = lock(shared);
        // Whether it stood still meanwhile, and so has another thread beside it.
        let was_stuck =
            held.running.iter().any(|(running, since)| *running == id && since.elapsed() >= STUCK);
        held.running.retain(|(running, _)| *running != id);
        held.done.push((id, done));
        // A full pipe is noticed as well.
        let _ = rustix::io::write(&held.wake, &[0]);
        if was_stuck && held.threads > 1 {
            break;
        }
    }
    held.threads -= 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn wait(disk: &mut Disk<u32>, n: usize) -> Vec<(u64, u32)> {
        let mut all = Vec::new();
        while all.len() < n {
            let watched = disk.watched();
            let mut fds = [rustix::event::PollFd::new(&watched, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
            all.extend(disk.done());
        }
        all
    }

    #[test]
    fn tasks_are_done_in_order_and_the_thread_ends() {
        let mut disk = Disk::new(2).unwrap();
        for n in 0..100_u32 {
            disk.put(move || n);
        }
        let done = wait(&mut disk, 100);
        assert!(
            done.iter().enumerate().all(|(at, (id, n))| *id == at as u64 + 1 && *n == at as u32),
            "{done:?}"
        );
        while lock(&disk.shared).threads > 0 {
            std::thread::yield_now();
        }
        disk.put(|| 7);
        assert_eq!(wait(&mut disk, 1)[0].1, 7);
    }

    #[test]
    fn what_stands_still_holds_nobody_up_until_every_thread_does() {
        let mut disk = Disk::new(2).unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let wait_for_ever = |n| {
            let gate = gate.clone();
            move || {
                let _ = gate.lock().unwrap().recv();
                n
            }
        };
        let first = disk.put(wait_for_ever(1)).unwrap();
        let behind = disk.put(|| 2).unwrap();
        while !disk.overdue().contains(&first) {
            std::thread::sleep(Duration::from_millis(20));
        }
        disk.keep_going();
        assert_eq!(wait(&mut disk, 1), [(behind, 2)]);
        // The second thread stands still as well: what is queued now cannot be begun, and says so.
        let second = disk.put(wait_for_ever(3)).unwrap();
        let never = disk.put(|| 4).unwrap();
        while !disk.overdue().contains(&never) {
            disk.keep_going();
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(disk.overdue(), [first, second, never]);
        disk.give_up(never);
        go.send(()).unwrap();
        go.send(()).unwrap();
        let mut done: Vec<u32> = wait(&mut disk, 2).into_iter().map(|(_, n)| n).collect();
        done.sort_unstable();
        assert_eq!(done, [1, 3], "and what came late is told all the same");
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut disk = Disk::new(1).unwrap();
        let (go, gate) = mpsc::channel::<()>();
        disk.put(move || u32::from(gate.recv().is_err()));
        while lock(&disk.shared).running.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..QUEUE {
            assert!(disk.put(|| 0).is_some());
        }
        assert_eq!(disk.put(|| 0), None);
        drop(go);
        assert_eq!(wait(&mut disk, QUEUE + 1).len(), QUEUE + 1);
    }
}
