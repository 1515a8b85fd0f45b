//! Waits until this machine's network changes, or it wakes from sleep: what the system tells at once. Which of it matters
//! says [`sessd_core::network`].

use std::time::Duration;

/// What changes at once is one change: an address goes, another comes, routes follow.
const SETTLES: Duration = Duration::from_millis(30);

#[cfg(target_os = "linux")]
pub use linux::Network;

#[cfg(target_os = "linux")]
mod linux {
    use super::SETTLES;
    use crate::unix::watch;
    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
        timerfd_create, timerfd_settime,
    };
    use sessd_core::network::{GROUPS, may_matter};
    use sessd_core::wake::has_slept;
    use std::os::fd::OwnedFd;
    use tokio::io::unix::AsyncFd;

    /// Longer than any message.
    const LONGEST: usize = 64 << 10;

    /// What is listened to. What the system does not give is not listened to.
    #[derive(Debug)]
    pub struct Network {
        routes: Option<AsyncFd<OwnedFd>>,
        /// A timer of the wall clock's, which the system ends when that clock jumps: when it was set, and after a sleep.
        clock: Option<AsyncFd<OwnedFd>>,
        slept: Timespec,
    }

    impl Network {
        /// Begins to listen.
        pub fn new() -> Self {
            let told = |what: &str, error: std::io::Error| tracing::info!(%error, "{what} is not told of");
            let routes = routes().and_then(watch);
            let clock = clock().and_then(watch);
            Self {
                routes: routes.map_err(|error| told("a change of the network", error)).ok(),
                clock: clock.map_err(|error| told("a sleep", error)).ok(),
                slept: slept(),
            }
        }

        /// Comes when the way to a host may be another than it was.
        pub async fn changed(&mut self) {
            loop {
                tokio::select! {
                    () = readable(self.routes.as_ref()) => {
                        if self.routes.as_ref().is_some_and(heard) {
                            tokio::time::sleep(SETTLES).await;
                            let _ = self.routes.as_ref().map(heard);
                            return tracing::info!("this machine's network changed");
                        }
                    }
                    () = readable(self.clock.as_ref()) => {
                        self.clock.take();
                        self.clock = clock().and_then(watch).ok();
                        let before = std::mem::replace(&mut self.slept, slept());
                        if has_slept(millis(before), millis(self.slept)) {
                            return tracing::info!("this machine slept");
                        }
                    }
                }
            }
        }
    }

    fn routes() -> std::io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(socket)
    }

    fn clock() -> std::io::Result<OwnedFd> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let never = Timespec { tv_sec: i64::from(u32::MAX), tv_nsec: 0 };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&timer, flags, &Itimerspec { it_interval: none, it_value: never })?;
        Ok(timer)
    }

    /// How long this machine has slept since it was started.
    fn slept() -> Timespec {
        let (with, without) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Monotonic));
        with - without
    }

    fn millis(time: Timespec) -> i64 {
        time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
    }

    async fn readable(what: Option<&AsyncFd<OwnedFd>>) {
        match what {
            Some(what) => {
                if let Ok(mut guard) = what.readable().await {
                    guard.clear_ready();
                    // Registered anew by the next look; what is there now is read.
                    return;
                }
                std::future::pending().await
            }
            None => std::future::pending().await,
        }
    }

    /// Reads what there is: does any of it matter?
    fn heard(socket: &AsyncFd<OwnedFd>) -> bool {
        let (mut buffer, mut matters) = (vec![0; LONGEST], false);
        loop {
            match recv(socket.get_ref(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok((read, _)) => matters |= may_matter(&buffer[..read.min(LONGEST)]),
                Err(Errno::INTR) => {}
                // More than it keeps for us.
                Err(Errno::NOBUFS) => matters = true,
                Err(_) => return matters,
            }
        }
    }
}

/// Nothing is told of here: the regular look at the clocks has to do.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Network;

#[cfg(not(target_os = "linux"))]
impl Network {
    /// Nothing to listen to.
    pub fn new() -> Self {
        Self
    }

    /// Never comes.
    pub async fn changed(&mut self) {
        let _ = SETTLES;
        std::future::pending().await
    }
}
