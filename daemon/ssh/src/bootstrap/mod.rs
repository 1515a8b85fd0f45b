//! From a connection to the agent's first byte: find it, install it where it is missing, start it.
//!
//! ```text
//! exec 1   find and start      the right agent is there: its first byte follows the mark       (warm: the only one)
//!             missing          first folder that can be written and run from, and `uname -sm`
//! exec 2   upload              stdin -> temporary file, size, sha256, one trial run, rename    (refused: the next folder)
//!             and start        its first byte follows the mark
//! exec 3   find and start      as exec 1, where the host has no `head` that leaves the rest of stdin to the agent
//! ```
//!
//! The login shell is unknown and its start files may print anything, so every command is `exec /bin/sh -c '…'` in words
//! that bash, zsh, fish, tcsh, dash and nushell read alike (one line, single quotes only, no `'`, `\` or `!` inside),
//! and nothing counts before a random mark. The command carries the mark in two halves, so that a shell which echoes
//! what it runs does not fake it. One channel at a time: `MaxSessions 1` suffices.
//!
//! Shell variables start with `_`: one that the user has exported must not change on its way to the jobs.
//! What the host prints is never put into a command: folders are named by their number. In folders that others can
//! write to (`/tmp`, `/var/tmp`, `$XDG_RUNTIME_DIR`) ours must be a real folder, owned by us, mode 0700. A host whose
//! `/var/tmp` and `/tmp` will not do either names another folder in `SESSD_FALLBACK_DIR`, in the login's environment.

mod scripts;
mod search;
mod waiting;

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};

use super::{Connection, ExecReader, ExecStream, ExecWriter, Failure, Mends, clean};
use scripts::{Asked, Folders, Mark, TOOLS, probe_script, start_script, upload_script, wrapped};
use search::{PRINTED, Search};

/// Noise of start files that is skipped before the mark, in bytes.
const MAX_NOISE: usize = 16 << 20;
/// What is said of an agent that was put there and cannot be run.
const DOES_NOT_RUN: &str = "has an agent that does not run there";
/// What a restricted shell says of `exec`.
const RESTRICTED: &str = ": restricted";
/// The longest line that may follow the mark.
const MAX_ANSWER: usize = 8 << 10;
/// How long a host may take from exec to the mark: a loaded host with slow start files. ssh waits for them without end.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// The slowest link an upload is waited for, in bytes per second.
const SLOWEST_UPLOAD: u64 = 8 << 10;
/// How long the end of a finished command is waited for.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of the hash that make the file's name.
const HASH_IN_NAME: usize = 16;

/// One agent binary this program carries.
#[derive(Clone, Copy, Debug)]
pub struct AgentImage {
    /// The target it was built for, as rustc names it: `x86_64-unknown-linux-musl`.
    pub triple: &'static str,
    /// SHA-256 of `bytes` in lower-case hex, 64 characters; the first 16 make the file's name.
    pub hash: &'static str,
    /// The executable. It answers the verbs `serve` and `version` (exit code 0: it can run here).
    pub bytes: &'static [u8],
}

impl AgentImage {
    /// The `uname -sm` answers this image is for.
    fn platforms(&self) -> Vec<String> {
        let parts: Vec<&str> = self.triple.split('-').collect();
        let os = parts.get(2).map_or("", |os| match *os {
            "linux" => "Linux",
            "darwin" => "Darwin",
            "freebsd" => "FreeBSD",
            other => other,
        });
        let machines: &[&str] = match parts.first().copied().unwrap_or_default() {
            "x86_64" => &["x86_64", "amd64"],
            "aarch64" => &["aarch64", "arm64"],
            "i686" | "i586" => &["i686", "i586", "i386"],
            "armv7" => &["armv7l", "armv8l"],
            "riscv64gc" => &["riscv64"],
            "powerpc64le" => &["ppc64le"],
            "s390x" => &["s390x"],
            _ => &[],
        };
        machines.iter().map(|m| format!("{os} {m}")).collect()
    }

    /// What tells it apart in the name of its file.
    pub(super) fn name(&self) -> &str {
        &self.hash[..HASH_IN_NAME]
    }
}

/// What a host's entry in the configuration may change.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// `agent_dir`: the only folder to use, absolute or starting with `~/`.
    pub agent_dir: Option<String>,
}

/// A running agent, positioned at its first byte.
pub struct AgentChannel {
    /// Its stdout and stdin.
    pub stream: ExecStream,
    /// Whether it had to be uploaded first.
    pub uploaded: bool,
    /// The folder it was found in, as a person knows it. Where jobs lie is another thing.
    pub folder: String,
}

/// Starts the agent over `conn`, installing it where it is missing.
///
/// Bounded: 3 minutes for each start, as long and 8 kB/s for the upload, 16 MB of noise before the mark.
///
/// # Errors
/// `AgentInstall` with the cause and the one thing to do about it; whatever `exec` fails with; `Unreachable` when the
/// connection breaks on the way.
pub async fn start_agent(
    conn: &mut dyn Connection,
    images: &[AgentImage],
    options: &StartOptions,
) -> Result<AgentChannel, Failure> {
    check_images(images)?;
    let mut folders = Folders::new(options)?;
    let mut found = find_and_start(conn, images, &folders).await;
    if let Some(asked) = found.as_ref().err().and_then(asked_otherwise) {
        folders.asked = asked;
        found = find_and_start(conn, images, &folders).await;
    }
    let missing = match found? {
        StartOutcome::Started(stream, number) => {
            return Ok(AgentChannel { stream, uploaded: false, folder: folders.shown(number) });
        }
        StartOutcome::Missing(missing) => missing,
    };
    if let Some((stream, number)) = install(conn, images, &folders, missing).await? {
        return Ok(AgentChannel { stream, uploaded: true, folder: folders.shown(number) });
    }
    match find_and_start(conn, images, &folders).await? {
        StartOutcome::Started(stream, number) => {
            Ok(AgentChannel { stream, uploaded: true, folder: folders.shown(number) })
        }
        StartOutcome::Missing(_) => Err(Failure::AgentInstall {
            detail: "it was uploaded and is gone again".to_owned(),
            hint: folders.hint(),
            mends: Mends::Time,
        }),
    }
}

/// How else a login shell is asked that did not do as it was asked.
fn asked_otherwise(failure: &Failure) -> Option<Asked> {
    let Failure::AgentInstall { detail, .. } = failure else { return None };
    if detail.contains(RESTRICTED) {
        return Some(Asked::Named);
    }
    if detail.contains(PRINTED) {
        return Some(Asked::Plain);
    }
    detail.contains(waiting::WAITS).then_some(Asked::Answered)
}

/// Tries the images that may fit in the folders that may do, until one is in place: running, and where, if it is.
async fn install(
    conn: &mut dyn Connection,
    images: &[AgentImage],
    folders: &Folders,
    mut missing: Missing,
) -> Result<Option<(ExecStream, usize)>, Failure> {
    let fitting: Vec<&AgentImage> = images
        .iter()
        // A host without uname: whatever runs there is the right one.
        .filter(|i| missing.platform.is_empty() || i.platforms().contains(&missing.platform))
        .collect();
    if fitting.is_empty() {
        let carried: Vec<&str> = images.iter().map(|i| i.triple).collect();
        return Err(Failure::AgentInstall {
            detail: format!("there is no agent for {} in this sessd", missing.platform),
            hint: format!("it carries {}; build it with that target added", carried.join(", ")),
            mends: Mends::Person,
        });
    }
    let mut reasons: Vec<String> = Vec::new();
    let mut mends = Mends::Person;
    loop {
        // A folder that cannot be made or written may be on a disk that is full or away.
        if missing.refused.iter().any(|(_, why)| matches!(why, 'r' | 'w')) {
            mends = Mends::Time;
        }
        reasons.extend(missing.refused.iter().map(|(n, why)| {
            let place = if *why == 'p' && !missing.place.is_empty() {
                format!(" ({}: try `chmod go-w` there)", missing.place)
            } else {
                String::new()
            };
            format!("{} {}{place}", folders.shown(*n), refusal(*why))
        }));
        let Some(number) = missing.usable else {
            return Err(Failure::AgentInstall {
                detail: format!("no folder will do: {}", clean(&reasons.join(", "), 500)),
                hint: folders.hint(),
                mends,
            });
        };
        let mut last = String::new();
        for image in &fitting {
            match upload(conn, image, folders, number).await? {
                Ok(running) => return Ok(running.map(|stream| (stream, number))),
                Err(why) => last = why,
            }
        }
        if !last.contains(DOES_NOT_RUN) {
            mends = Mends::Time;
        }
        reasons.push(format!("{} {last}", folders.shown(number)));
        if number >= folders.list.len() {
            return Err(Failure::AgentInstall {
                detail: clean(&reasons.join(", "), 500),
                hint: folders.hint(),
                mends,
            });
        }
        missing = probe(conn, folders, number + 1).await?;
    }
}

fn refusal(why: char) -> &'static str {
    match why {
        'f' => "belongs to another user",
        'p' => "is not safe: it, or what it lies in, belongs to another user or can be written by others",
        'n' => "is on a file system mounted noexec",
        'r' => "cannot be made (read-only?)",
        'w' => "cannot be written (read-only or full?)",
        _ => "will not do",
    }
}

/// What a host without our agent said.
struct Missing {
    /// The first folder that will do.
    usable: Option<usize>,
    /// The ones before it, with the letter for why not.
    refused: Vec<(usize, char)>,
    /// `uname -sm`, cleaned; empty where there is none.
    platform: String,
    /// The folder that makes one unsafe, cleaned.
    place: String,
}

enum StartOutcome {
    Started(ExecStream, usize),
    Missing(Missing),
}

async fn find_and_start(
    conn: &mut dyn Connection,
    images: &[AgentImage],
    folders: &Folders,
) -> Result<StartOutcome, Failure> {
    let mark = Mark::new()?;
    let stream = conn.exec(&wrapped(&start_script(&mark, images, folders), folders)).await?;
    let (mut reader, mut writer) = stream.into_parts();
    let mut search = Search::new(conn);
    let answer = match folders.asked {
        Asked::Answered => waiting::goes_on(&mut search, &mut reader, &mut writer, &mark).await?,
        _ => waiting::answer(conn, folders, &mut search, &mut reader, &mark).await?,
    };
    if let Some(number) = answer.strip_prefix("START ") {
        let number = number.trim().parse().unwrap_or(0);
        reader.unread(search.rest());
        return Ok(StartOutcome::Started(ExecStream::from_parts(reader, writer), number));
    }
    let missing = parse_missing(&answer, folders)?;
    finish(reader).await;
    Ok(StartOutcome::Missing(missing))
}

/// The answer of a script that is given lines for its start files first, where they want some.
async fn goes_on_if(
    folders: &Folders,
    search: &mut Search,
    reader: &mut ExecReader,
    writer: &mut ExecWriter,
    mark: &Mark,
) -> Result<String, Failure> {
    match folders.asked {
        Asked::Answered => waiting::goes_on(search, reader, writer, mark).await,
        _ => search.answer(reader, mark, Instant::now() + START_TIMEOUT).await,
    }
}

/// Asks again, from a later folder on.
async fn probe(conn: &mut dyn Connection, folders: &Folders, first: usize) -> Result<Missing, Failure> {
    let mark = Mark::new()?;
    let (answered, prelude) = (scripts::answered(&mark, folders), folders.prelude());
    let script = format!("{answered}{TOOLS}{prelude}{}", probe_script(&mark, folders, first));
    let (mut reader, mut writer) = conn.exec(&wrapped(&script, folders)).await?.into_parts();
    let answer = goes_on_if(folders, &mut Search::new(conn), &mut reader, &mut writer, &mark).await?;
    let missing = parse_missing(&answer, folders)?;
    finish(reader).await;
    Ok(missing)
}

/// `MISSING 3 .1r2n Linux x86_64`.
fn parse_missing(answer: &str, folders: &Folders) -> Result<Missing, Failure> {
    let odd = || Failure::AgentInstall {
        detail: format!("the host answered '{}'", clean(answer, 80)),
        hint: "run `sessd doctor` on it".to_owned(),
        mends: Mends::Time,
    };
    let mut words = answer.strip_prefix("MISSING ").ok_or_else(odd)?.splitn(3, ' ');
    let usable: usize = words.next().and_then(|w| w.parse().ok()).ok_or_else(odd)?;
    let letters = words.next().and_then(|w| w.strip_prefix('.')).ok_or_else(odd)?.as_bytes();
    let refused = letters
        .as_chunks::<2>()
        .0
        .iter()
        .take(folders.list.len())
        .map(|[digit, why]| (usize::from(digit.wrapping_sub(b'0')), char::from(*why)))
        .collect();
    if usable > folders.list.len() {
        return Err(odd());
    }
    let rest = words.next().unwrap_or_default();
    let (platform, place) = rest.split_once(':').unwrap_or((rest, ""));
    let (platform, place) = (clean(platform, 64), clean(place, 200));
    Ok(Missing { usable: (usable > 0).then_some(usable), refused, platform, place })
}

/// Uploads one image into one folder, and has it run if the host can. The inner error is why this folder will not do.
async fn upload(
    conn: &mut dyn Connection,
    image: &AgentImage,
    folders: &Folders,
    number: usize,
) -> Result<Result<Option<ExecStream>, String>, Failure> {
    let mark = Mark::new()?;
    let stream = conn.exec(&wrapped(&upload_script(&mark, image, folders, number), folders)).await?;
    let (mut reader, mut writer) = stream.into_parts();
    let mut search = Search::new(conn);
    // Nothing is sent before the host is ready: a start file that reads stdin must not eat the agent.
    let mut answer = goes_on_if(folders, &mut search, &mut reader, &mut writer, &mark).await?;
    if let Some(how) = answer.strip_prefix("READY") {
        let goes_on = how == " head";
        let size = u64::try_from(image.bytes.len()).unwrap_or(u64::MAX);
        let deadline = Instant::now() + START_TIMEOUT + Duration::from_secs(size / SLOWEST_UPLOAD);
        let send = async {
            // A host that gives up early says why on the other pipe; the write's own error tells less.
            if writer.write_all(image.bytes).await.is_ok() {
                if goes_on {
                    writer.flush().await.ok()
                } else {
                    writer.shutdown().await.ok()
                };
            }
            std::future::pending::<()>().await;
        };
        answer = tokio::select! {
            answer = search.answer(&mut reader, &mark, deadline) => answer?,
            () = send => String::new(),
        };
    }
    if answer.starts_with("START ") {
        reader.unread(search.rest());
        return Ok(Ok(Some(ExecStream::from_parts(reader, writer))));
    }
    let said = reader.stderr_line(160);
    finish(reader).await;
    if answer == "DONE" {
        return Ok(Ok(None));
    }
    let why = match answer.strip_prefix("FAIL ").unwrap_or_default() {
        "empty" => {
            return Err(Failure::AgentInstall {
                detail: "what is sent to a command there does not reach it".to_owned(),
                hint: "look for a redirection such as `exec </dev/null` in the start files of its shell (.bashrc and the like)"
                    .to_owned(),
                mends: Mends::Person,
            });
        }
        "owner" => "belongs to another user".to_owned(),
        "write" | "size" if said.contains("No space") || said.contains("quota") => "is full".to_owned(),
        "write" => format!("cannot be written ({said})"),
        "size" => "got an incomplete upload".to_owned(),
        "hash" => "got a damaged upload (sha256 differs)".to_owned(),
        "run" => format!("{DOES_NOT_RUN} ({})", image.triple),
        _ => format!("refused the agent ({said})"),
    };
    Ok(Err(why))
}

/// Lets a command end, so that its channel is free before the next.
async fn finish(mut reader: ExecReader) {
    timeout(EXIT_TIMEOUT, reader.exit()).await.ok();
}

fn check_images(images: &[AgentImage]) -> Result<(), Failure> {
    if images.is_empty() {
        return Err(Failure::AgentInstall {
            detail: "this sessd carries no agent".to_owned(),
            hint: "build it with the agent's targets".to_owned(),
            mends: Mends::Person,
        });
    }
    let hex = |i: &AgentImage| {
        i.hash.len() >= HASH_IN_NAME && i.hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match images.iter().find(|i| !hex(i)) {
        Some(image) => {
            Err(Failure::Config { detail: format!("the agent for {} has no proper hash", image.triple) })
        }
        None => Ok(()),
    }
}

/// The probe's command from one folder on, for tests that look at its words.
#[cfg(test)]
pub(super) fn probe_for_test(first: usize) -> String {
    let folders = Folders::new(&StartOptions::default()).unwrap();
    // No folder after it: a test must not leave things in /tmp.
    let folders = Folders { list: folders.list.into_iter().take(first).collect(), ..folders };
    let script = format!("{}{}", folders.prelude(), probe_script(&Mark::new().unwrap(), &folders, first));
    wrapped(&script, &folders)
}

#[cfg(test)]
mod tests;
