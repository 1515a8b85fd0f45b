//! `pipe`, `put` and `get`: a byte stream, or files, to and from a host. Each is a job of the agent's there, with pipes: it goes on
//! over a lost link and a manager that ends, byte for byte, and leaves no record.

use super::complete as tab;
use super::script::run::{Feed, Plan, carry};
use super::verbs::{ask, known, read};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use sessd_base::out::{self, Printed};
use sessd_base::paths::Paths;
use sessd_files::{Landing, Source, Tree};
use sessd_proto::docs::host::{Destination, LOCAL};
use sessd_proto::docs::words;
use sessd_proto::docs::{Error, HostDoc, Kind, Result};
use sessd_proto::messages::{self as m, Act};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What to do about a file that was not copied.
const MEND: &str = "what was not whole is not there: mend that, and copy it again";
/// How often it is shown how far a copy is.
const SHOWN: Duration = Duration::from_millis(200);

/// Flags of `pipe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ssh -o ProxyCommand='sessd pipe %h' box            to the sshd of box, over sessd's own link to it\n  \
    scp -o ProxyCommand='sessd pipe box' f box:\n  \
    GIT_SSH_COMMAND=\"ssh -o ProxyCommand='sessd pipe box git.internal:22'\" git fetch\n\n\
    The connection there lasts over a lost link: what was on its way arrives, once, when the link is back.")]
pub struct PipeArgs {
    /// `local`, an alias of the ssh config, user@host, user@host:port or ssh://user@host:port
    #[arg(add = ArgValueCandidates::new(tab::hosts))]
    pub host: String,
    /// A port as the host reaches it, or the path of a unix socket there; default its own sshd
    #[arg(value_name = "HOST2:PORT")]
    pub target: Option<String>,
}

/// Flags of `put`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd put box notes.txt                  into the home on box\n  \
    sessd put dev shot.png                   into the folder that the session dev is in\n  \
    sessd put box src docs /srv/app/         files and folders, with all that is in them\n  \
    pg_dump db | sessd put box - db.sql      stdin\n\n\
    A file has its name there once it is whole; what is cut off leaves nothing. Where it is, is printed.")]
pub struct PutArgs {
    /// A host, or a session: then what is relative begins in its folder
    #[arg(value_name = "HOST|SESSION", add = ArgValueCandidates::new(tab::hosts))]
    pub to: String,
    /// Files and folders, `-` for stdin; the last of several is where they go
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::AnyPath)]
    pub files: Vec<String>,
    /// Say nothing of how far it is
    #[arg(short, long)]
    pub quiet: bool,
}

/// Flags of `get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd get box notes.txt                  from the home on box, into this folder\n  \
    sessd get dev out/result.csv .           from the folder that the session dev is in\n  \
    sessd get box logs /tmp/                 a folder, with all that is in it\n  \
    sessd get box db.sql - | psql            to stdout")]
pub struct GetArgs {
    /// A host, or a session: then what is relative begins in its folder
    #[arg(value_name = "HOST|SESSION", add = ArgValueCandidates::new(tab::hosts))]
    pub from: String,
    /// Files and folders there; the last of several is where they go here, `-` for stdout
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// Say nothing of how far it is
    #[arg(short, long)]
    pub quiet: bool,
}

/// The host that is meant, and the folder there that things are relative to.
fn place(paths: &Paths, name: &str) -> Result<(String, String)> {
    let here = || std::env::current_dir().ok().and_then(|dir| dir.into_os_string().into_string().ok());
    if name == LOCAL {
        return Ok((LOCAL.to_owned(), here().unwrap_or_default()));
    }
    match known(paths, name) {
        Ok((_, doc)) => Ok((doc.session.host, doc.session.cwd.unwrap_or_default())),
        Err(error) if error.kind == Kind::NoSuchSession => {
            Destination::parse(name).map_err(|bad| Error::usage(bad.to_string()))?;
            Ok((name.to_owned(), String::new()))
        }
        Err(error) => Err(error),
    }
}

/// What the agent is told to connect to.
fn target(text: Option<&str>) -> Result<Vec<String>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text.starts_with('/') {
        return Ok(vec![text.to_owned()]);
    }
    let parts = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok().filter(|p| *p > 0)?)));
    let host = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').map(str::to_owned),
        None => Some(host.to_owned()).filter(|host| !host.is_empty() && !host.contains(':')),
    };
    let target = parts.and_then(|(name, port)| Some(vec![host(name)?, port.to_string()]));
    target.ok_or_else(|| Error::usage(format!("`{text}` is no HOST:PORT, and no path of a socket")))
}

/// `sessd pipe`.
///
/// # Errors
/// Who could not be reached, and why.
pub(super) fn pipe(paths: &Paths, args: &PipeArgs) -> Result<u8> {
    let target = target(args.target.as_deref())?;
    let shown = args.target.clone().unwrap_or_else(|| "its sshd".to_owned());
    let plan = Plan {
        host: args.host.clone(),
        cwd: String::new(),
        words: std::iter::once("connect".to_owned()).chain(target).collect(),
        feed: Box::new(io::stdin()),
        sink: Box::new(out::own),
        quiet: true,
        done: Box::new(|_| {}),
    };
    let failed = |why: &str, hint: &str| {
        Err(Error::new(Kind::Failed, format!("{} does not reach {shown}: {why}", args.host), hint))
    };
    match carry(paths, plan)? {
        71 => failed("nobody listens there", "check the port"),
        72 => failed("there is no such name or path", "check how the host calls it"),
        73 => failed("nothing answers", "check that the host can reach it"),
        74 => failed("permission denied", "check who may"),
        code @ (2 | 126 | 127) => {
            failed(&format!("its agent does not know how ({code})"), "`sessd daemon restart`")
        }
        code => Ok(code),
    }
}

/// Shows how far a copy is, on a terminal.
struct Progress {
    shown: bool,
    name: String,
    began: Instant,
    last: Option<Instant>,
}

/// A number of bytes, for people.
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

impl Progress {
    fn new(quiet: bool, name: String) -> Self {
        Self { shown: !quiet && out::is_seen(), name, began: Instant::now(), last: None }
    }

    fn show(&mut self, bytes: u64, total: u64) {
        if !self.shown || self.last.is_some_and(|last| last.elapsed() < SHOWN) {
            return;
        }
        self.last = Some(Instant::now());
        let rate = size((bytes as f64 / self.began.elapsed().as_secs_f64().max(0.001)) as u64);
        let of = if total > 0 {
            let part = bytes.min(total) as f64 * 100.0 / total as f64;
            format!("{part:3.0} % of {}", size(total))
        } else {
            size(bytes)
        };
        out::over(&format!("{}: {of}, {rate}/s", self.name));
    }

    fn end(&mut self) {
        if self.last.take().is_some() {
            out::over("");
        }
    }
}

/// Files that are sent.
struct Sending(Tree);

impl Feed for Sending {
    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.0.waits_for().map(File::as_fd)
    }

    fn read(&mut self, into: &mut Vec<u8>) -> bool {
        self.0.fill(into);
        !self.0.is_ended()
    }
}

/// Nothing at all.
struct Nothing;

impl Feed for Nothing {
    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn read(&mut self, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// What goes, and where to: of several the last.
fn split(files: &[String]) -> (&[String], Option<&str>) {
    match files {
        [one] => (std::slice::from_ref(one), None),
        [files @ .., dest] => (files, Some(dest.as_str())),
        [] => (&[], None),
    }
}

/// `sessd put`.
///
/// # Errors
/// What could not be copied, and why.
pub(super) fn put(paths: &Paths, args: &PutArgs, json: bool) -> Result<u8> {
    let (files, dest) = split(&args.files);
    let mut sources = Vec::new();
    for file in files {
        if file != "-" {
            sources.push(Source::Path(PathBuf::from(file)));
            continue;
        }
        let name = dest.map(Path::new).and_then(Path::file_name);
        let name =
            name.ok_or_else(|| Error::usage("stdin has no name: say which it gets there, such as `- NAME`"))?;
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = stdin.map_err(|e| {
            Error::failed(format!("stdin cannot be read ({e})"), "nothing was copied: name a file")
        })?;
        sources.push(Source::Open(File::from(stdin), name.to_owned()));
    }
    let swapped = |error| or_swapped(paths, "put", &args.to, &args.files, error);
    let tree = Tree::new(sources).map_err(|why| {
        swapped(Error::failed(
            why,
            "nothing was copied: look at how it is spelled and whether you may read or write it",
        ))
    })?;
    let total = tree.total();
    let (host, cwd) = place(paths, &args.to).map_err(swapped)?;
    let answer = Rc::new(RefCell::new(Vec::new()));
    let progress = Rc::new(RefCell::new(Progress::new(args.quiet || json, label(files))));
    let (said, shows) = (answer.clone(), progress.clone());
    let mut words = vec!["put".to_owned(), dest.unwrap_or(".").to_owned()];
    words.extend((files.len() > 1).then(|| "several".to_owned()));
    let plan = Plan {
        host: host.clone(),
        cwd,
        words,
        feed: Box::new(Sending(tree)),
        sink: Box::new(move |bytes| {
            said.borrow_mut().extend_from_slice(bytes);
            Ok(Printed::Yes)
        }),
        quiet: false,
        done: Box::new(move |written| shows.borrow_mut().show(written, total)),
    };
    let code = carry(paths, plan);
    progress.borrow_mut().end();
    let answer = String::from_utf8_lossy(&answer.borrow()).into_owned();
    match code.map_err(swapped)? {
        0 => {}
        // It was ended: by us, most of the time.
        code @ 128.. => return Ok(code),
        _ => return Err(refused(&host, answer.lines().next_back().unwrap_or_default())),
    }
    let landed: Vec<&str> = answer.lines().collect();
    if json {
        out::json(&json!({"host": host, "paths": landed}).to_string())?;
    } else {
        out::lines(&answer)?;
    }
    Ok(0)
}

/// What is said of a copy that failed: where a file stands in the place of the host and a host or session behind it, what was
/// meant.
fn or_swapped(paths: &Paths, verb: &str, first: &str, files: &[String], error: Error) -> Error {
    // Of `put` the files are here, and of `get` there.
    let is_file = |word: &str| verb == "put" && Path::new(word).symlink_metadata().is_ok();
    if verb == "put" && !is_file(first) {
        return error;
    }
    let hosts = ask(paths, Act::Hosts(m::Empty {})).and_then(|answer| read::<Vec<HostDoc>>(&answer));
    let mut hosts: BTreeSet<String> = hosts.unwrap_or_default().into_iter().map(|doc| doc.host).collect();
    hosts.extend(tab::configured(paths));
    let is_place = |word: &str| word == LOCAL || hosts.contains(word) || known(paths, word).is_ok();
    let place = files.iter().find(|word| !is_file(word) && is_place(word)).filter(|_| !is_place(first));
    let Some(place) = place else { return error };
    let others: Vec<&str> =
        std::iter::once(first).chain(files.iter().map(String::as_str).filter(|word| word != place)).collect();
    let others: Vec<_> = others.into_iter().map(words::quoted).collect();
    Error::new(
        Kind::Usage,
        format!("`{first}` stands where the host or session is to stand, and `{place}` is one"),
        format!("that comes first: `sessd {verb} {place} {}`", others.join(" ")),
    )
}

fn label(files: &[String]) -> String {
    match files {
        [one] => one.clone(),
        more => format!("{} files", more.len()),
    }
}

fn refused(host: &str, why: &str) -> Error {
    if why.starts_with("usage: sessd-agent") {
        return Error::new(
            Kind::VersionSkew,
            format!("the agent on {host} is older and copies nothing"),
            "`sessd daemon restart`, if this sessd was just upgraded",
        );
    }
    Error::failed(format!("on {host}: {why}"), MEND)
}

/// `sessd get`.
///
/// # Errors
/// What could not be copied, and why.
pub(super) fn get(paths: &Paths, args: &GetArgs, json: bool) -> Result<u8> {
    let swapped = |error| or_swapped(paths, "get", &args.from, &args.files, error);
    let (files, dest) = split(&args.files);
    let to_stdout = dest == Some("-");
    let names: Vec<OsString> = files
        .iter()
        .map(|file| Path::new(file).file_name().map_or_else(|| OsString::from("files"), ToOwned::to_owned))
        .collect();
    let mut landing = None;
    if !to_stdout {
        let dest = Path::new(dest.unwrap_or("."));
        let begun = Landing::new(dest, files.len() > 1, Some(names));
        landing = Some(begun.map_err(|why| {
            swapped(Error::failed(
                why,
                "nothing was copied: look at how it is spelled and whether you may read or write it",
            ))
        })?);
    }
    let (host, cwd) = place(paths, &args.from).map_err(swapped)?;
    let mut progress = Progress::new(args.quiet || json, label(files));
    let landing = Rc::new(RefCell::new(landing));
    let failed = Rc::new(Cell::new(false));
    let (lands, fails, from) = (landing.clone(), failed.clone(), host.clone());
    let mut stream = sessd_files::wire::Reader::default();
    let sink = move |bytes: &[u8]| {
        // What fails here is not said of the host.
        let mut here = true;
        let result = match &mut *lands.borrow_mut() {
            Some(landing) => {
                let result = landing.push(bytes);
                here = !landing.is_senders_failure();
                let (bytes, total) = landing.progress();
                progress.show(bytes, total);
                if result.is_err() || (total > 0 && bytes >= total) {
                    progress.end();
                }
                result.map(|()| Printed::Yes)
            }
            None => print(&mut stream, bytes, &mut here),
        };
        result.map_err(|why| {
            fails.set(true);
            if here { Error::failed(why, MEND) } else { refused(&from, &why) }
        })
    };
    let words = std::iter::once("get".to_owned()).chain(files.iter().cloned()).collect();
    let plan = Plan {
        host: host.clone(),
        cwd,
        words,
        feed: Box::new(Nothing),
        sink: Box::new(sink),
        quiet: false,
        done: Box::new(|_| {}),
    };
    let code = carry(paths, plan).map_err(|error| if failed.get() { error } else { swapped(error) })?;
    if code != 0 && !failed.get() && code >= 128 {
        return Ok(code);
    }
    if let Some(landing) = landing.borrow_mut().take() {
        let landed = landing.finish().map_err(|why| refused(&host, &why))?;
        let paths: Vec<String> = landed.paths.iter().map(|path| path.display().to_string()).collect();
        if json {
            out::json(&json!({"host": host, "paths": paths, "bytes": landed.bytes}).to_string())?;
        } else {
            out::lines(&paths.iter().map(|path| format!("{path}\n")).collect::<String>())?;
        }
    }
    Ok(code)
}

/// The bytes of files, one after the other.
fn print(
    stream: &mut sessd_files::wire::Reader,
    bytes: &[u8],
    here: &mut bool,
) -> std::result::Result<Printed, String> {
    use sessd_files::wire::Part;
    stream.push(bytes);
    loop {
        match stream.next_part() {
            Ok(None) => return Ok(Printed::Yes),
            Ok(Some(Part::Bytes(bytes))) => match out::own(bytes) {
                Ok(Printed::Yes) => {}
                Ok(Printed::NobodyReads) => return Ok(Printed::NobodyReads),
                Err(error) => return Err(error.message),
            },
            Ok(Some(Part::Failed(why))) => {
                *here = false;
                return Err(String::from_utf8_lossy(why).into_owned());
            }
            Ok(Some(_)) => {}
            Err(_) => return Err("what comes is no stream of files".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_pipe_leads_is_read_as_ssh_writes_it() {
        let words = |text| target(Some(text)).ok();
        let strings = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(target(None).unwrap(), Vec::<String>::new());
        assert_eq!(words("git.internal:22"), strings(&["git.internal", "22"]));
        assert_eq!(words("[::1]:22"), strings(&["::1", "22"]));
        assert_eq!(words("/run/x.sock"), strings(&["/run/x.sock"]));
        for wrong in ["", "host", "host:", ":22", "::1:22", "host:0", "host:99999", "[::1:22"] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_last_of_several_is_where_they_go() {
        let files: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(split(&files[..1]), (&files[..1], None));
        assert_eq!(split(&files), (&files[..2], Some("c")));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(size), ["0 B", "999 B", "1.0 kB", "1.2 MB"]);
    }
}
