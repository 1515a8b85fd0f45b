//! From a connection to the agent's first byte: find it, install it where it is missing, start it.
//!
//! ```text
//! exec 1   find and start      the right agent is there: its first byte follows the mark       (warm: the only one)
//!             missing          first folder that can be written and run from, and `uname -sm`
//! exec 2   upload              stdin -> temporary file, size, sha256, one trial run, rename    (refused: the next folder)
//! exec 3   find and start      as exec 1
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

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout, timeout_at},
};

use super::{Connection, ExecReader, ExecStream, Exit, Failure, clean};

/// Noise of start files that is skipped before the mark, in bytes.
const MAX_NOISE: usize = 256 << 10;
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
/// The folders that are tried, in order; the numbers the host answers with.
const FOLDERS: [(&str, &str); 5] = [
    ("${HOME:+$HOME/.local/state/sessd-agent}", "~/.local/state/sessd-agent"),
    ("${XDG_STATE_HOME:+$XDG_STATE_HOME/sessd-agent}", "$XDG_STATE_HOME/sessd-agent"),
    ("${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/sessd-agent}", "$XDG_RUNTIME_DIR/sessd-agent"),
    ("${SESSD_FALLBACK_DIR:-/var/tmp}/sessd-agent-$_u", "/var/tmp (or $SESSD_FALLBACK_DIR)"),
    ("${SESSD_FALLBACK_DIR:-/tmp}/sessd-agent-$_u", "/tmp (or $SESSD_FALLBACK_DIR)"),
];
/// The first of [`FOLDERS`] whose parent others may write to.
const FIRST_SHARED: usize = 3;

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
/// Bounded: 3 minutes for each start, as long and 8 kB/s for the upload, 256 kB of noise before the mark.
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
    let folders = Folders::new(options)?;
    let missing = match find_and_start(conn, images, &folders).await? {
        Found::Started(stream, number) => {
            return Ok(AgentChannel { stream, uploaded: false, folder: folders.shown(number) });
        }
        Found::Missing(missing) => missing,
    };
    install(conn, images, &folders, missing).await?;
    match find_and_start(conn, images, &folders).await? {
        Found::Started(stream, number) => {
            Ok(AgentChannel { stream, uploaded: true, folder: folders.shown(number) })
        }
        Found::Missing(_) => Err(Failure::AgentInstall {
            detail: "it was uploaded and is gone again".to_owned(),
            hint: folders.hint(),
        }),
    }
}

/// Tries the images that may fit in the folders that may do, until one is in place.
async fn install(
    conn: &mut dyn Connection,
    images: &[AgentImage],
    folders: &Folders,
    mut missing: Missing,
) -> Result<(), Failure> {
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
        });
    }
    let mut reasons: Vec<String> = Vec::new();
    loop {
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
            });
        };
        let mut last = String::new();
        for image in &fitting {
            match upload(conn, image, folders, number).await? {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
        }
        reasons.push(format!("{} {last}", folders.shown(number)));
        if number >= folders.list.len() {
            return Err(Failure::AgentInstall {
                detail: clean(&reasons.join(", "), 500),
                hint: folders.hint(),
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

/// The folders of one start, as shell words.
struct Folders {
    /// `(shell word, as a person knows it)`.
    list: Vec<(String, String)>,
    /// How many of them, from the front, are in places only the user writes to.
    private: usize,
    /// It is the one that the configuration names.
    given: bool,
}

impl Folders {
    fn new(options: &StartOptions) -> Result<Self, Failure> {
        let Some(folder) = &options.agent_dir else {
            let list =
                FOLDERS.iter().map(|(word, shown)| ((*word).to_owned(), (*shown).to_owned())).collect();
            return Ok(Self { list, private: FIRST_SHARED - 1, given: false });
        };
        let bad = |why: &str| Failure::Config { detail: format!("agent_dir '{}' {why}", clean(folder, 120)) };
        // It goes between double quotes within single quotes, for every login shell there is.
        if folder.chars().any(|c| c.is_control() || "'\"\\$`!".contains(c)) {
            return Err(bad("has a character that cannot be passed to every shell"));
        }
        let word = match folder.strip_prefix("~/") {
            Some(rest) => format!("$HOME/{rest}"),
            None if folder.starts_with('/') => folder.clone(),
            None => return Err(bad("must be absolute or start with ~/")),
        };
        Ok(Self { list: vec![(word, folder.clone())], private: 1, given: true })
    }

    fn shown(&self, number: usize) -> String {
        self.list.get(number.wrapping_sub(1)).map_or_else(|| "?".to_owned(), |(_, shown)| shown.clone())
    }

    fn hint(&self) -> String {
        if self.list.len() == 1 {
            "set agent_dir for this host to a folder that can be written and run from".to_owned()
        } else {
            "set agent_dir for this host, in the configuration, to a folder that can be written and run from"
                .to_owned()
        }
    }

    /// Shell functions: `cand` sets `$_d` to folder `$_i`; `own` says whether `$_d` is safe to run from.
    fn prelude(&self) -> String {
        let mut cases = String::new();
        for (index, (word, _)) in self.list.iter().enumerate() {
            cases.push_str(&format!("{}) _d=\"{word}\";; ", index + 1));
        }
        let own = if self.given { SAFE.to_owned() } else { String::new() };
        format!(
            "_u=; _w=; cand() {{ if test $_i -gt {private}; then test -n \"$_u\" || _u=$(id -u); fi; case $_i in {cases}esac; }}; \
             own() {{ test $_i -gt {private} || return 0; set -- $(ls -ldn \"$_d\" 2>/dev/null); \
             case $1 in drwx------*) test \"$3\" = \"$_u\";; *) return 1;; esac; }}; mine() {{ :; }}; {own}",
            private = self.private,
        )
    }

    /// All numbers from `first`, as words of a `for`.
    fn numbers(&self, first: usize) -> String {
        (first..=self.list.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
    }
}

/// A login may have a PATH without the few tools that are needed here. The jobs get the one it has.
const TOOLS: &str = "_q=$PATH; PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; ";

/// For a folder that the configuration names: nobody but the user and root may be able to put anything in its place, or in
/// that of what it lies in, as sshd wants it of a home (`StrictModes`). A folder that everybody may write to is fine above it
/// with the sticky bit, in which each can only move what is theirs. `safe` leaves in `$_w` where that fails.
const SAFE: &str = "_u=$(id -u); safe() { _p=$(cd -P \"$_d/bin\" 2>/dev/null && pwd -P) || return 1; set -- \"$_p\"; \
     while test -n \"$_p\"; do _p=${_p%/*}; set -- \"$@\" \"${_p:-/}\"; done; \
     _w=$(ls -ldn \"$@\" 2>/dev/null | { _c=; while read -r _m _n _o _g _l _x _y _z _f; do \
     case $_m in d????-??-*) ;; d????????[tT]*) case $_f in \"$1\"|\"$2\") _o=x;; esac;; *) _o=x;; esac; \
     test \"$_o\" = 0 || test \"$_o\" = \"$_u\" || { echo \"$_f\"; exit; }; _c=x$_c; done; test ${#_c} -eq $# && echo ok; }); test \"$_w\" = ok; }; own() { safe; }; \
     mine() { set -- $(ls -ldn \"$_b\" 2>/dev/null); \
     case $1 in -????-??-*) test \"$3\" = 0 || test \"$3\" = \"$_u\";; *) false;; esac; }; ";

/// A mark nobody can have printed before: random, new for every command.
struct Mark(String);

impl Mark {
    fn new() -> Result<Self, Failure> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|e| Failure::Config { detail: format!("no random numbers: {e}") })?;
        Ok(Self(data_encoding::HEXLOWER.encode(&bytes)))
    }

    /// As it stands in a command: in two halves.
    fn halves(&self) -> String {
        let (a, b) = self.0.split_at(16);
        format!("{a}\"\"{b}")
    }

    /// A part of it, for names of temporary files.
    fn short(&self) -> &str {
        &self.0[..8]
    }
}

/// `exec sh -c '…'`. The scripts are ours and hold nothing a shell's single quotes would not keep.
fn wrapped(script: &str) -> String {
    debug_assert!(!script.contains(['\'', '\\', '!', '\n']), "{script}");
    // By its path: a login without any PATH has one.
    format!("exec /bin/sh -c '{script}'")
}

/// Shell text that reports the first folder from `first` on that can be written and run from.
fn probe_script(mark: &Mark, folders: &Folders, first: usize) -> String {
    format!(
        "umask 077; _m=$(uname -sm 2>/dev/null); _s=; _k=0; \
         for _i in {numbers}; do _d=; cand; test -n \"$_d\" || continue; \
         if test $_i -gt {private}; then mkdir -m 700 \"$_d\" 2>/dev/null; own || {{ \
         if test -e \"$_d\"; then _s=$_s${{_i}}f; else _s=$_s${{_i}}r; fi; continue; }}; fi; \
         mkdir -p \"$_d/bin\" 2>/dev/null || {{ _s=$_s${{_i}}r; continue; }}; \
         own || {{ _s=$_s${{_i}}p; continue; }}; \
         _t=\"$_d/bin/.probe-{short}\"; \
         {{ echo : > \"$_t\" && test -s \"$_t\" && chmod 700 \"$_t\"; }} 2>/dev/null || {{ rm -f \"$_t\"; _s=$_s${{_i}}w; continue; }}; \
         if \"$_t\" 2>/dev/null </dev/null; then rm -f \"$_t\"; _k=$_i; break; fi; rm -f \"$_t\"; _s=$_s${{_i}}n; done; \
         echo \"{mark} MISSING $_k .$_s $_m:$_w\"",
        numbers = folders.numbers(first),
        private = folders.private,
        short = mark.short(),
        mark = mark.halves(),
    )
}

/// The whole of the warm path, with the probe as its other branch.
fn start_script(mark: &Mark, images: &[AgentImage], folders: &Folders) -> String {
    // With one image there is nothing to choose, and one process less to start.
    let choose = match images {
        [only] => format!("_h={}; ", only.name()),
        several => {
            let mut cases = String::new();
            for image in several {
                let patterns: Vec<String> = image.platforms().iter().map(|p| format!("\"{p}\"")).collect();
                if !patterns.is_empty() {
                    cases.push_str(&format!("{}) _h={};; ", patterns.join("|"), image.name()));
                }
            }
            let fallback = several.first().map_or("", AgentImage::name);
            format!("_h=; case \"$(uname -sm 2>/dev/null)\" in {cases}\"\") _h={fallback};; esac; ")
        }
    };
    format!(
        "{TOOLS}{prelude}{choose}for _i in {numbers}; do _d=; cand; _b=\"$_d/bin/sessd-agent-$_h\"; \
         if test -n \"$_d\" && test -n \"$_h\" && test -x \"$_b\" && own && mine; then {jobs}; \
         echo \"{mark} START $_i\"; PATH=$_q; exec \"$_b\" serve; fi; done; {probe}",
        prelude = folders.prelude(),
        numbers = folders.numbers(1),
        mark = mark.halves(),
        // Where the program was found says nothing about where jobs belong; only the configuration does.
        jobs = if folders.given {
            "SESSD_AGENT_DIR=\"$_d\"; export SESSD_AGENT_DIR"
        } else {
            "unset SESSD_AGENT_DIR"
        },
        probe = probe_script(mark, folders, 1),
    )
}

/// Takes the image from stdin; nothing has the agent's name before it is whole, checked and has run once. On a host
/// without any tool for SHA-256 the agent's own `hash` answers, or, if it has none, size and trial run must do.
fn upload_script(mark: &Mark, image: &AgentImage, folders: &Folders, number: usize) -> String {
    format!(
        "{TOOLS}{prelude}umask 077; _i={number}; _d=; cand; _t=\"$_d/bin/.up-{short}\"; \
         fail() {{ rm -f \"$_t\"; echo \"{mark} FAIL $1\"; exit 1; }}; \
         ulimit -S -f unlimited 2>/dev/null; mkdir -p \"$_d/bin\"; own || fail owner; find \"$_d/bin\" -name \".up-*\" -mtime +0 -exec rm -f {{}} + 2>/dev/null; \
         echo \"{mark} READY\"; cat > \"$_t\" || fail write; \
         test \"$(wc -c < \"$_t\")\" -eq {size} || fail size; chmod 700 \"$_t\" || fail chmod; \
         has() {{ command -v $1 >/dev/null 2>&1; }}; _g=; \
         if has sha256sum; then _g=$(sha256sum < \"$_t\"); elif has shasum; then _g=$(shasum -a 256 < \"$_t\"); \
         elif has openssl; then _g=$(openssl dgst -sha256 -r < \"$_t\"); elif has sha256; then _g=$(sha256 -q < \"$_t\"); \
         else _g=$(\"$_t\" hash 2>/dev/null </dev/null); test -n \"$_g\" || _g={hash}; fi; case $_g in {hash}*) ;; *) fail hash;; esac; \
         \"$_t\" version >/dev/null 2>&1 </dev/null || fail run; \
         mv -f \"$_t\" \"$_d/bin/sessd-agent-{name}\" || fail move; echo \"{mark} DONE\"",
        prelude = folders.prelude(),
        short = mark.short(),
        mark = mark.halves(),
        size = image.bytes.len(),
        hash = image.hash,
        name = image.name(),
    )
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

enum Found {
    Started(ExecStream, usize),
    Missing(Missing),
}

async fn find_and_start(
    conn: &mut dyn Connection,
    images: &[AgentImage],
    folders: &Folders,
) -> Result<Found, Failure> {
    let mark = Mark::new()?;
    let stream = conn.exec(&wrapped(&start_script(&mark, images, folders))).await?;
    let (mut reader, writer) = stream.into_parts();
    let mut search = Search::new(conn);
    let answer = search.answer(&mut reader, &mark, Instant::now() + START_TIMEOUT).await?;
    if let Some(number) = answer.strip_prefix("START ") {
        let number = number.trim().parse().unwrap_or(0);
        reader.unread(search.rest());
        return Ok(Found::Started(ExecStream::from_parts(reader, writer), number));
    }
    let missing = parse_missing(&answer, folders)?;
    finish(reader).await;
    Ok(Found::Missing(missing))
}

/// Asks again, from a later folder on.
async fn probe(conn: &mut dyn Connection, folders: &Folders, first: usize) -> Result<Missing, Failure> {
    let mark = Mark::new()?;
    let script = format!("{TOOLS}{}{}", folders.prelude(), probe_script(&mark, folders, first));
    let (mut reader, _writer) = conn.exec(&wrapped(&script)).await?.into_parts();
    let answer = Search::new(conn).answer(&mut reader, &mark, Instant::now() + START_TIMEOUT).await?;
    let missing = parse_missing(&answer, folders)?;
    finish(reader).await;
    Ok(missing)
}

/// `MISSING 3 .1r2n Linux x86_64`.
fn parse_missing(answer: &str, folders: &Folders) -> Result<Missing, Failure> {
    let odd = || Failure::AgentInstall {
        detail: format!("the host answered '{}'", clean(answer, 80)),
        hint: "run `sessd doctor` on it".to_owned(),
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

/// Uploads one image into one folder. The inner error is why this folder will not do.
async fn upload(
    conn: &mut dyn Connection,
    image: &AgentImage,
    folders: &Folders,
    number: usize,
) -> Result<Result<(), String>, Failure> {
    let mark = Mark::new()?;
    let stream = conn.exec(&wrapped(&upload_script(&mark, image, folders, number))).await?;
    let (mut reader, mut writer) = stream.into_parts();
    let mut search = Search::new(conn);
    // Nothing is sent before the host is ready: a start file that reads stdin must not eat the agent.
    let mut answer = search.answer(&mut reader, &mark, Instant::now() + START_TIMEOUT).await?;
    if answer == "READY" {
        let size = u64::try_from(image.bytes.len()).unwrap_or(u64::MAX);
        let deadline = Instant::now() + START_TIMEOUT + Duration::from_secs(size / SLOWEST_UPLOAD);
        let send = async {
            // A host that gives up early says why on the other pipe; the write's own error tells less.
            if writer.write_all(image.bytes).await.is_ok() {
                writer.shutdown().await.ok();
            }
            std::future::pending::<()>().await;
        };
        answer = tokio::select! {
            answer = search.answer(&mut reader, &mark, deadline) => answer?,
            () = send => String::new(),
        };
    }
    let said = reader.stderr_line(160);
    finish(reader).await;
    if answer == "DONE" {
        return Ok(Ok(()));
    }
    let why = match answer.strip_prefix("FAIL ").unwrap_or_default() {
        "owner" => "belongs to another user".to_owned(),
        "write" | "size" if said.contains("No space") || said.contains("quota") => "is full".to_owned(),
        "write" => format!("cannot be written ({said})"),
        "size" => "got an incomplete upload".to_owned(),
        "hash" => "got a damaged upload (sha256 differs)".to_owned(),
        "run" => format!("has an agent that does not run there ({})", image.triple),
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

/// Looks for marks in what a command prints, skipping everything else within bounds.
struct Search {
    host: String,
    seen: Vec<u8>,
}

impl Search {
    fn new(conn: &dyn Connection) -> Self {
        Self { host: conn.host(), seen: Vec::new() }
    }

    /// The rest of the line after the next mark.
    async fn answer(
        &mut self,
        reader: &mut ExecReader,
        mark: &Mark,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let needle = format!("{} ", mark.0);
        let mut from = 0;
        loop {
            let hit = self.seen[from..].windows(needle.len()).position(|w| w == needle.as_bytes());
            if let Some(at) = hit {
                let start = from + at + needle.len();
                if let Some(length) = self.seen[start..].iter().position(|b| *b == b'\n') {
                    let line =
                        String::from_utf8_lossy(&self.seen[start..start + length]).trim_end().to_owned();
                    self.seen.drain(..=start + length);
                    return Ok(line);
                }
                if self.seen.len() - start > MAX_ANSWER {
                    return Err(self.noise("it answered a line without an end", reader));
                }
                from += at;
            } else {
                from = self.seen.len().saturating_sub(needle.len());
            }
            if self.seen.len() > MAX_NOISE {
                return Err(self.noise("its start files print more than 256 kB", reader));
            }
            match timeout_at(deadline, reader.chunk()).await {
                Ok(Ok(Some(chunk))) => self.seen.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Err(self.ended(reader).await),
                Ok(Err(e)) if e.kind() == io::ErrorKind::Other => {
                    return Err(Failure::AgentInstall {
                        detail: clean(&e.to_string(), 120),
                        hint: "ask whoever runs the host to allow commands over ssh".to_owned(),
                    });
                }
                Ok(Err(e)) => {
                    return Err(Failure::Unreachable {
                        host: self.host.clone(),
                        detail: format!(
                            "the connection broke while the agent was started ({})",
                            clean(&e.to_string(), 80)
                        ),
                    });
                }
                Err(_) => {
                    let what = format!(
                        "the login shell did not run our command within {} s",
                        START_TIMEOUT.as_secs()
                    );
                    return Err(self.noise(&what, reader));
                }
            }
        }
    }

    /// What came after the last answer: the agent's first bytes.
    fn rest(self) -> Bytes {
        Bytes::from(self.seen)
    }

    fn said(&self, reader: &ExecReader) -> String {
        let stderr = reader.stderr_line(160);
        let tail = &self.seen[self.seen.len().saturating_sub(1024)..];
        let said = if stderr.is_empty() { clean(&String::from_utf8_lossy(tail), 160) } else { stderr };
        if said.is_empty() { String::new() } else { format!("; it says: {said}") }
    }

    fn noise(&self, what: &str, reader: &ExecReader) -> Failure {
        Failure::AgentInstall {
            detail: format!("{what}{}", self.said(reader)),
            hint: "look at what its shell's start files (.bashrc and the like) do when there is no terminal"
                .to_owned(),
        }
    }

    /// stdout ended without a mark: the shell's doing, or the connection's.
    async fn ended(&self, reader: &mut ExecReader) -> Failure {
        let how = match timeout(EXIT_TIMEOUT, reader.exit()).await {
            Ok(Exit::Code(code)) => format!("ended with code {code}"),
            Ok(Exit::Signal(signal)) => format!("was ended by SIG{signal}"),
            Ok(Exit::Unknown) => {
                return Failure::Unreachable {
                    host: self.host.clone(),
                    detail: format!("the connection ended while the agent was started{}", self.said(reader)),
                };
            }
            Err(_) => "closed its output".to_owned(),
        };
        self.noise(&format!("the login shell {how} before it ran our command"), reader)
    }
}

/// The probe's command from one folder on, for tests that look at its words.
#[cfg(test)]
pub(super) fn probe_for_test(first: usize) -> String {
    let folders = Folders::new(&StartOptions::default()).unwrap();
    // No folder after it: a test must not leave things in /tmp.
    let folders = Folders { list: folders.list.into_iter().take(first).collect(), ..folders };
    let script = format!("{}{}", folders.prelude(), probe_script(&Mark::new().unwrap(), &folders, first));
    wrapped(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: AgentImage = AgentImage {
        triple: "x86_64-unknown-linux-musl",
        hash: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        bytes: b"x",
    };

    #[test]
    fn commands_hold_nothing_a_shell_would_touch() {
        let other = AgentImage { triple: "aarch64-unknown-linux-musl", ..IMAGE };
        for options in [StartOptions::default(), StartOptions { agent_dir: Some("~/my agent".into()) }] {
            let folders = Folders::new(&options).unwrap();
            let mark = Mark::new().unwrap();
            for script in [
                start_script(&mark, &[IMAGE], &folders),
                start_script(&mark, &[IMAGE, other], &folders),
                probe_script(&mark, &folders, 1),
                upload_script(&mark, &IMAGE, &folders, 1),
            ] {
                assert!(!script.contains(['\'', '\\', '!', '\n']), "{script}");
                assert!(!script.contains(&mark.0), "the mark must not stand whole in a command");
                assert!(script.len() < 4000, "{}", script.len());
            }
        }
    }

    #[test]
    fn agent_dir_is_checked() {
        for (folder, ok) in [
            ("/opt/x", true),
            ("~/x y", true),
            ("x", false),
            ("/a'b", false),
            ("/$(id)", false),
            ("/a\nb", false),
            ("/a!b", false),
        ] {
            assert_eq!(
                Folders::new(&StartOptions { agent_dir: Some(folder.into()) }).is_ok(),
                ok,
                "{folder}"
            );
        }
    }

    #[test]
    fn answers_are_parsed_and_hostile_ones_refused() {
        let folders = Folders::new(&StartOptions::default()).unwrap();
        let m = parse_missing("MISSING 3 .1r2n Linux x86_64", &folders).unwrap();
        assert_eq!(
            (m.usable, m.refused, m.platform.as_str()),
            (Some(3), vec![(1, 'r'), (2, 'n')], "Linux x86_64")
        );
        let m = parse_missing("MISSING 0 . ", &folders).unwrap();
        assert_eq!((m.usable, m.refused.len(), m.platform.as_str()), (None, 0, ""));
        for answer in ["MISSING", "MISSING x .", "MISSING 9 . Linux", "HELLO", "MISSING 1 1r"] {
            assert!(parse_missing(answer, &folders).is_err(), "{answer}");
        }
        let m = parse_missing("MISSING 0 .1p Linux x86_64:/tmp/x y", &folders).unwrap();
        assert_eq!((m.platform.as_str(), m.place.as_str()), ("Linux x86_64", "/tmp/x y"));
        let m = parse_missing("MISSING 0 . \u{1b}]0;evil\u{7}", &folders).unwrap();
        assert_eq!(m.platform, "]0;evil");
    }

    #[test]
    fn images_know_their_platforms() {
        assert_eq!(IMAGE.platforms(), ["Linux x86_64", "Linux amd64"]);
        let mac = AgentImage { triple: "aarch64-apple-darwin", ..IMAGE };
        assert_eq!(mac.platforms(), ["Darwin aarch64", "Darwin arm64"]);
    }
}
