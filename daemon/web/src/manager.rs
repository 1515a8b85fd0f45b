//! Asking the manager. It is asked on threads, by the blocking client that every verb uses: requests are rare, and so the page
//! is answered as the command line is.

use sessd_base::asking::Asking;
use sessd_base::paths::Paths;
use sessd_client::connect::Client;
use sessd_proto::Frame;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::messages::Act;
use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// Questions that are asked at a time; the others wait.
const AT_A_TIME: usize = 16;
/// How many managers are asked. One that dies over every request is not to be started for ever.
const ATTEMPTS: usize = 4;

/// The manager of these paths.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    paths: Arc<Paths>,
    turns: Arc<Semaphore>,
}

impl Manager {
    pub(crate) fn new(paths: &Paths) -> Self {
        Self { paths: Arc::new(paths.clone()), turns: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Does what may wait on a thread.
    ///
    /// # Errors
    /// What `work` says.
    pub(crate) async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Paths) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lost = || Error::failed("the web view is ending", "start it again");
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| lost())?;
        let paths = Arc::clone(&self.paths);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&paths)
        });
        done.await.map_err(|_| lost())?
    }

    /// Asks for `act`; the answer is a JSON document. It may be asked again: ids are chosen by whoever asks.
    ///
    /// # Errors
    /// What the manager answers, or that there is none that does.
    pub(crate) async fn ask(&self, act: Act) -> Result<String> {
        self.on_a_thread(move |paths| {
            for attempt in 0..ATTEMPTS {
                // Whoever only asks how the manager is starts none.
                let mut client = match &act {
                    Act::DaemonStatus(_) => Client::connect_running(paths)?.ok_or_else(|| {
                        Error::failed("no manager runs", "it starts when somebody wants it")
                    })?,
                    _ => Client::connect(paths)?,
                };
                let _ = client.send(&Frame::Environment(Asking::here(paths, dials(&act)).of_person(false)));
                match client.request(act.clone()) {
                    // The first manager did it before it died.
                    Err(error)
                        if attempt > 0
                            && error.kind == Kind::NoSuchSession
                            && matches!(act, Act::Delete(_)) =>
                    {
                        return Ok("null".to_owned());
                    }
                    Ok(Some(answer)) => return Ok(answer),
                    Err(error) => return Err(error),
                    Ok(None) => {}
                }
            }
            Err(Error::failed("the manager ends before it answers", "try again"))
        })
        .await
    }

    /// A connection that was greeted, and what counts of our environment said on it. `answers`: whoever
    /// speaks on it is a person, who can be asked. `start`: a manager that does not run is started; else there is none.
    ///
    /// # Errors
    /// Why there is no manager.
    pub(crate) async fn connect(&self, start: bool, answers: bool) -> Result<Option<UnixStream>> {
        let connected = self
            .on_a_thread(move |paths| {
                let client =
                    if start { Some(Client::connect(paths)?) } else { Client::connect_running(paths)? };
                let Some(mut client) = client else { return Ok(None) };
                client.send(&Frame::Environment(Asking::here(paths, true).of_person(answers)))?;
                client.for_a_loop().map_err(|e| cannot(&e))?;
                Ok(Some(client.stream))
            })
            .await?;
        connected.map(|stream| UnixStream::from_std(stream).map_err(|e| cannot(&e))).transpose()
    }
}

fn cannot(error: &io::Error) -> Error {
    Error::failed(format!("the manager cannot be heard ({error})"), "try again")
}

/// Whether a host may have to be dialled for it.
fn dials(act: &Act) -> bool {
    matches!(act, Act::Create(_) | Act::Restart(_) | Act::Adopt(_) | Act::Delete(_) | Act::Type(_))
}
