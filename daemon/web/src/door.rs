//! Connections, before anything is asked on them. Whoever has an account on this machine can make as many as they like, let in or
//! not: there is a bound for all of them, those that were not let in make room first, and none may be silent for long.

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

/// The most connections at a time: a page has one for each pane, and a few more.
const MOST: usize = 1024;
/// Files that are open for other things than connections.
const OTHER_FILES: usize = 64;
/// How long until a request is whole, and how long a connection may stand between two.
pub(crate) const SILENT_FOR: Duration = Duration::from_secs(20);
/// How long one that is sent away may take to go.
const GOES_WITHIN: Duration = Duration::from_secs(1);
/// How long nobody is taken where the system has no room for one more.
const NO_ROOM: Duration = Duration::from_millis(50);

/// How many connections this process can have, which may open so many files: each has one of its own, and one to the manager.
pub(crate) fn room(files: u64) -> usize {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    (files.saturating_sub(OTHER_FILES) / 2).clamp(1, MOST)
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Caller {
    was_let_in: AtomicBool,
    leave: Notify,
    /// Its place is free when nobody holds it: neither the connection nor the WebSocket it became.
    _place: OwnedSemaphorePermit,
}

impl Caller {
    /// It showed that it may come in.
    pub(crate) fn lets_in(&self) {
        self.was_let_in.store(true, Ordering::Relaxed);
    }
}

/// Serves until the process ends; `most` connections at a time.
pub(crate) async fn serve(listener: TcpListener, router: Router, most: usize, silent_for: Duration) {
    let places = Arc::new(Semaphore::new(most));
    // In the order in which they came.
    let mut callers: Vec<Weak<Caller>> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(NO_ROOM).await;
            continue;
        };
        let free = Arc::clone(&places).try_acquire_owned().ok();
        let place = match free {
            Some(place) => Some(place),
            None => {
                callers.retain(|caller| caller.strong_count() > 0);
                let guests = callers.iter().filter_map(Weak::upgrade);
                match guests.into_iter().find(|caller| !caller.was_let_in.swap(true, Ordering::Relaxed)) {
                    Some(guest) => {
                        guest.leave.notify_one();
                        drop(guest);
                        let freed = Arc::clone(&places).acquire_owned();
                        tokio::time::timeout(GOES_WITHIN, freed).await.ok().and_then(Result::ok)
                    }
                    None => None,
                }
            }
        };
        // All places are taken by those who were let in: whoever asks is told nothing.
        let Some(place) = place else { continue };
        let caller =
            Arc::new(Caller { was_let_in: AtomicBool::new(false), leave: Notify::new(), _place: place });
        if callers.len() >= 2 * most {
            callers.retain(|caller| caller.strong_count() > 0);
        }
        callers.push(Arc::downgrade(&caller));
        tokio::spawn(one(stream, router.clone(), caller, silent_for));
    }
}

async fn one(stream: TcpStream, router: Router, caller: Arc<Caller>, silent_for: Duration) {
    let _ = stream.set_nodelay(true);
    let known = Arc::clone(&caller);
    let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&known));
        router.clone().oneshot(request.map(axum::body::Body::new) as Request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(silent_for)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::select! {
        // What became of it was said on it.
        _ = connection => {}
        () = caller.leave.notified() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Extension;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn begin(most: usize, silent_for: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let come_in = async |Extension(caller): Extension<Arc<Caller>>| {
            caller.lets_in();
            "in"
        };
        let router = Router::new().route("/", get(async || "hello")).route("/in", get(come_in));
        tokio::spawn(serve(listener, router, most, silent_for));
        address
    }

    /// A connection, and what is answered on it.
    async fn ask(address: SocketAddr, path: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        (stream, String::from_utf8_lossy(&buffer[..read]).into_owned())
    }

    async fn has_ended(stream: &mut TcpStream) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    #[tokio::test]
    async fn whoever_was_not_let_in_makes_room_and_nobody_else_does() {
        let address = begin(3, Duration::from_secs(60)).await;
        let (mut inside, said) = ask(address, "/in").await;
        assert!(said.ends_with("in"), "{said}");
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            idle.push(stream);
        }
        for _ in 0..5 {
            let (_, said) = ask(address, "/").await;
            assert!(said.ends_with("hello"), "{said}");
        }
        assert!(has_ended(&mut idle[0]).await);
        inside.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut buffer = [0; 1024];
        assert!(inside.read(&mut buffer).await.unwrap() > 0, "who was let in stays");
        // All places are theirs: the next one is not taken, and they stay.
        let (_second, said) = ask(address, "/in").await;
        assert!(said.ends_with("in"), "{said}");
        let (_third, said) = ask(address, "/in").await;
        assert!(said.ends_with("in"), "{said}");
        assert_eq!(ask(address, "/").await.1, "");
        inside.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(inside.read(&mut buffer).await.unwrap() > 0);
    }

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for() {
        let address = begin(8, Duration::from_millis(50)).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET / HT").await.unwrap();
        assert!(has_ended(&mut silent).await);
    }

    #[test]
    fn there_is_room_for_as_many_as_there_are_files_for() {
        for (files, room_for) in [(0, 1), (64, 1), (256, 96), (1024, 480), (20_000, MOST), (u64::MAX, MOST)] {
            assert_eq!(room(files), room_for, "{files} files");
        }
    }
}
