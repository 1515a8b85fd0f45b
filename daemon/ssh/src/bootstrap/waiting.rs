//! Start files that wait for input.
//!
//! `ssh host command </dev/null` gets past a start file that reads a line: it reads the end of its input and goes on. Our
//! command needs its input, so it cannot be given an end; and a start file that takes its time says as little as one that
//! waits. So after a while a second command is given whose input has an end. Where that one comes to run at once while the
//! first still does not, the first waits for input, and is asked again with a few empty lines before its own.

use super::scripts::{ANSWERS, Folders, GO, Mark, hello_script, wrapped};
use super::{START_TIMEOUT, search::Search};
use crate::{Connection, ExecReader, ExecWriter, Failure, Mends};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

/// What is said of start files that wait for input.
pub(super) const WAITS: &str = "wait for input";
/// How long a login shell may be silent before it is looked whether it waits for input.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 1_500 } else { 5_000 });
/// The second command counts if it came to run in so much less time than the first had: start files are slow in the same way.
const QUICKER: u32 = 2;
/// What a shell has for going on once it was given lines.
const AFTER_LINES: Duration = Duration::from_secs(if cfg!(test) { 4 } else { 15 });

/// The first answer of a script, or that it does not come because the start files wait for input.
pub(super) async fn answer(
    conn: &mut dyn Connection,
    folders: &Folders,
    search: &mut Search,
    reader: &mut ExecReader,
    mark: &Mark,
) -> Result<String, Failure> {
    let began = Instant::now();
    let mut first = std::pin::pin!(search.answer(reader, mark, began + START_TIMEOUT));
    let mut patience = PATIENCE;
    loop {
        tokio::select! {
            answer = &mut first => return answer,
            () = sleep(patience) => {}
        }
        // A login of its own may ask the person again.
        if conn.asks_a_person() {
            return first.await;
        }
        let since = Instant::now();
        let second = tokio::select! {
            answer = &mut first => return answer,
            second = with_an_end(conn, folders) => second,
        };
        match second {
            // A host without room for a second one says nothing.
            Err(failure) if !matches!(failure, Failure::AgentInstall { .. }) => return first.await,
            // Nor does one that is as slow: it is asked again when the first has waited for longer.
            _ if since.elapsed() * QUICKER > began.elapsed() => patience *= 2,
            Ok(_) => return Err(waits(&conn.host())),
            Err(failure) => return Err(failure),
        }
    }
}

/// Runs a command that says hello, with an input that ends at once.
async fn with_an_end(conn: &mut dyn Connection, folders: &Folders) -> Result<String, Failure> {
    let mark = Mark::new()?;
    let (mut reader, mut writer) = conn.exec(&wrapped(&hello_script(&mark), folders)).await?.into_parts();
    // One that has ended already says so below.
    writer.shutdown().await.ok();
    let answer = Search::new(conn).answer(&mut reader, &mark, Instant::now() + START_TIMEOUT).await;
    super::finish(reader).await;
    answer
}

/// Writes lines for the start files, says where they end, and waits for the script's first answer.
pub(super) async fn goes_on(
    search: &mut Search,
    reader: &mut ExecReader,
    writer: &mut ExecWriter,
    mark: &Mark,
) -> Result<String, Failure> {
    // What cannot be written has ended, and says why when it is read.
    writer.write_all(ANSWERS).await.ok();
    writer.flush().await.ok();
    let answer = search.answer(reader, mark, Instant::now() + AFTER_LINES).await;
    if !matches!(&answer, Ok(answer) if answer == "READS") {
        return Err(match answer {
            Err(failure @ Failure::Unreachable { .. }) => failure,
            _ => waits(&search.host),
        });
    }
    writer.write_all(GO).await.ok();
    writer.flush().await.ok();
    search.answer(reader, mark, Instant::now() + START_TIMEOUT).await
}

fn waits(host: &str) -> Failure {
    Failure::AgentInstall {
        detail: format!(
            "the start files of the shell on {host} {WAITS} and read what is sent to the command"
        ),
        hint: "have them read only where there is a terminal: `[ -t 0 ] && read x`".to_owned(),
        mends: Mends::Person,
    }
}
