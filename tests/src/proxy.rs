//! A link that can be made to misbehave: a TCP proxy with a switch.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::sshd::private_address;

/// What happens to the bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Flow,
    /// Nothing moves and nothing is closed, as when a network silently swallows packets.
    Frozen,
    /// Connections are reset, new ones at once.
    Cut,
}

/// A TCP proxy in front of a host.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
    connections: AtomicUsize,
    attempts: AtomicUsize,
    bytes: AtomicUsize,
    /// Pieces that came and may not go on.
    held: AtomicUsize,
    /// How long every byte takes each way.
    one_way: Duration,
    /// Bytes a second each way; 0: as many as come.
    rate: usize,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    open: Vec<TcpStream>,
    /// Connections of an older epoch are dead: a cut counts it up.
    epoch: u64,
    /// Connections of an epoch before this one are silent for ever.
    abandoned: u64,
    faults: Option<Faults>,
}

/// Faults by a seed: the same seed, the same faults at the same bytes.
#[derive(Debug, Clone)]
pub struct Faults {
    seed: u64,
    state: u64,
    /// Mean number of bytes between two cuts.
    every: u64,
    left: u64,
    cuts: usize,
}

impl Faults {
    /// `cuts` connection losses, about `every` bytes apart, and writes cut into small pieces. The seed is that of
    /// `SESSD_TEST_SEED` or a new one, and printed: a failed run can be run again.
    pub fn new(every: u64, cuts: usize) -> Faults {
        let seed =
            std::env::var("SESSD_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
                let mut bytes = [0; 8];
                let _ = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
                u64::from_le_bytes(bytes) >> 16
            });
        eprintln!("faults by SESSD_TEST_SEED={seed}");
        let mut faults = Faults { seed, state: seed | 1, every, left: 0, cuts };
        faults.left = every / 2 + faults.next(every);
        faults
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `bound`.
    pub fn next(&mut self, bound: u64) -> u64 {
        // xorshift64*: small, good enough, and the same everywhere.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    /// How many of the next `many` bytes go through, and whether the connection is lost behind them.
    fn pass(&mut self, many: usize) -> (usize, bool) {
        let piece = 1 + usize::try_from(self.next(1500)).unwrap_or(0);
        let take = many.min(piece);
        if self.cuts == 0 {
            return (take, false);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if take < left {
            self.left -= take as u64;
            return (take, false);
        }
        self.cuts -= 1;
        self.left = self.every / 2 + self.next(self.every);
        (left.min(take), true)
    }
}

impl Proxy {
    /// A proxy in front of `target`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn to(target: SocketAddr) -> Proxy {
        Proxy::far(target, Duration::ZERO)
    }

    /// A proxy in front of a `target` that is far away: every byte takes so long each way.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn far(target: SocketAddr, one_way: Duration) -> Proxy {
        Proxy::narrow(target, one_way, 0)
    }

    /// A proxy in front of a `target` that is far away on a narrow line: `rate` bytes a second each way, 0: no bound. What the
    /// line has not carried yet waits in front of it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn narrow(target: SocketAddr, one_way: Duration, rate: usize) -> Proxy {
        let listener = TcpListener::bind(SocketAddr::new(private_address(), 0)).expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode: Mode::Flow,
                open: Vec::new(),
                epoch: 0,
                abandoned: 0,
                faults: None,
            }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            one_way,
            rate,
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, target, &shared))
        };
        Proxy { addr, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets every connection, and each new one, until [`Proxy::resume`].
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.mode = Mode::Cut;
        state.drop_all();
        self.shared.changed.notify_all();
    }

    /// Resets the connections there are; new ones work at once.
    pub fn drop_connections(&self) {
        self.shared.lock().drop_all();
        self.shared.changed.notify_all();
    }

    /// Stops every byte without closing anything, until [`Proxy::resume`].
    pub fn freeze(&self) {
        self.shared.lock().mode = Mode::Frozen;
    }

    /// The connections there are stay open and carry nothing any more, as for a machine that woke up in another network;
    /// new ones work.
    pub fn abandon(&self) {
        let mut state = self.shared.lock();
        state.epoch += 1;
        state.abandoned = state.epoch;
    }

    /// Everything flows again.
    pub fn resume(&self) {
        self.shared.lock().mode = Mode::Flow;
        self.shared.changed.notify_all();
    }

    /// From now on connections are lost, and writes torn, as `faults` says.
    pub fn inject(&self, faults: Faults) {
        self.shared.lock().faults = Some(faults);
    }

    /// Cuts that are still to come.
    pub fn cuts_left(&self) -> usize {
        self.shared.lock().faults.as_ref().map_or(0, |faults| faults.cuts)
    }

    /// No more faults.
    pub fn heal(&self) {
        self.shared.lock().faults = None;
    }

    /// Connections that reached the host so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections that were tried so far, the refused ones too.
    pub fn attempts(&self) -> usize {
        self.shared.attempts.load(Ordering::Relaxed)
    }

    /// Bytes that went through, both ways.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Connections and pieces of them that came and wait to flow again.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the acceptor, which then sees that it shall stop.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits while frozen; true while a connection of this epoch may go on.
    fn may_flow(&self, epoch: u64) -> bool {
        let mut state = self.lock();
        self.held.fetch_add(1, Ordering::Relaxed);
        while ((state.mode == Mode::Frozen && state.epoch == epoch) || epoch < state.abandoned)
            && !self.stop.load(Ordering::Relaxed)
        {
            state =
                self.changed.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(|p| p.into_inner()).0;
        }
        self.held.fetch_sub(1, Ordering::Relaxed);
        state.epoch == epoch && !self.stop.load(Ordering::Relaxed)
    }
}

impl State {
    fn drop_all(&mut self) {
        self.epoch += 1;
        for stream in self.open.drain(..) {
            reset(&stream);
        }
    }
}

/// Ends a connection with a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(near) = stream else { continue };
        shared.attempts.fetch_add(1, Ordering::Relaxed);
        let epoch = {
            let state = shared.lock();
            if state.mode == Mode::Cut {
                reset(&near);
                continue;
            }
            state.epoch
        };
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(&near, target, &shared, epoch));
    }
}

fn serve(near: &TcpStream, target: SocketAddr, shared: &Arc<Shared>, epoch: u64) {
    if !shared.may_flow(epoch) {
        return;
    }
    let Ok(far) = TcpStream::connect_timeout(&target, Duration::from_secs(5)) else {
        reset(near);
        return;
    };
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    {
        let mut state = shared.lock();
        if state.epoch != epoch {
            reset(near);
            reset(&far);
            return;
        }
        for stream in [near, &far] {
            state.open.extend(stream.try_clone());
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| carry(near, &far, shared, epoch));
        carry(&far, near, shared, epoch);
    });
}

fn carry(from: &TcpStream, to: &TcpStream, shared: &Shared, epoch: u64) {
    if shared.one_way.is_zero() && shared.rate == 0 {
        return copy(from, from, to, shared, epoch);
    }
    thread::scope(|scope| {
        let (leaves, arrives) = mpsc::sync_channel(1024);
        scope.spawn(move || {
            let (mut from, mut buffer) = (from, [0; 32 * 1024]);
            let piece = if shared.rate == 0 { buffer.len() } else { buffer.len().min(shared.rate / 100) };
            let mut free = Instant::now();
            while let Ok(n @ 1..) = from.read(&mut buffer[..piece]) {
                if shared.rate > 0 {
                    free = free.max(Instant::now()) + Duration::from_secs_f64(n as f64 / shared.rate as f64);
                    thread::sleep(free.saturating_duration_since(Instant::now()));
                }
                if leaves.send((Instant::now() + shared.one_way, buffer[..n].to_vec())).is_err() {
                    return;
                }
            }
        });
        copy(Far { arrives, here: Vec::new() }, from, to, shared, epoch);
        // Whoever reads of it hears that it is over.
        let _ = from.shutdown(Shutdown::Read);
    });
}

/// Bytes from far away: what leaves later does not wait for what left before.
struct Far {
    arrives: mpsc::Receiver<(Instant, Vec<u8>)>,
    here: Vec<u8>,
}

impl Read for Far {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.here.is_empty() {
            let Ok((at, bytes)) = self.arrives.recv() else { return Ok(0) };
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.here = bytes;
        }
        let n = self.here.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.here[..n]);
        self.here.drain(..n);
        Ok(n)
    }
}

fn copy(mut source: impl Read, from: &TcpStream, mut to: &TcpStream, shared: &Shared, epoch: u64) {
    let mut buffer = [0; 32 * 1024];
    loop {
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            if !shared.may_flow(epoch) {
                return;
            }
            let (take, lost) = match &mut shared.lock().faults {
                Some(faults) => faults.pass(rest.len()),
                None => (rest.len(), false),
            };
            if to.write_all(&rest[..take]).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            shared.bytes.fetch_add(take, Ordering::Relaxed);
            rest = &rest[take..];
            if lost {
                shared.lock().drop_all();
                shared.changed.notify_all();
                return;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
