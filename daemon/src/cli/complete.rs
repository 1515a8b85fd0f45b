//! What the shell's TAB offers: names of sessions, hosts, tags, states and views. Asked at every key, so it is quick or
//! silent: a manager that does not run is not started, and one that does not answer at once is not waited for.

use super::{Cli, ask};
use clap::CommandFactory;
use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::names::{HANDLE, handle};
use sessd_proto::docs::text::is_hidden;
use sessd_proto::docs::{Error, Result, SessionDoc, State, StatusDoc, Vocabulary};
use sessd_proto::messages::{Act, Empty, List};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable by which a shell's script asks for candidates.
const VARIABLE: &str = "SESSD_COMPLETE";
/// How long a manager may take to answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// How deep Include may nest, and how much of a configuration is looked at, in bytes.
const INCLUDES: usize = 8;
const CONFIG_MAX: u64 = 1 << 20;

/// Answers a shell that asks for candidates. `None`: this is no such question.
pub fn answer(arguments: &[std::ffi::OsString]) -> Option<Result<u8>> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty() && value != "0")?;
    let here = std::env::current_dir().ok();
    match CompleteEnv::with_factory(Cli::command).var(VARIABLE).try_complete(arguments, here.as_deref()) {
        Ok(true) => Some(Ok(0)),
        Ok(false) => None,
        // A word of it could not be printed: the shell goes on without.
        Err(error) => Some(Err(Error::failed(
            error.to_string().trim().to_owned(),
            "`sessd completion SHELL` prints the script for a shell",
        ))),
    }
}

/// The script that makes a shell ask.
///
/// # Errors
/// When it could not be printed.
pub fn script(shell: clap_complete::Shell) -> Result<()> {
    let failed = |why: String| {
        Error::failed(
            format!("there is no completion for {shell} ({why})"),
            "it is there for bash, zsh, fish, elvish and powershell",
        )
    };
    let shells = Shells::builtins();
    let name = shell.to_string();
    let writer = shells.completer(&name).ok_or_else(|| failed("unknown".into()))?;
    // By the name it was called by: what is in PATH may be replaced by a newer one. A path stays that path.
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let program = if called.components().count() > 1 {
        std::env::current_dir().map_or_else(|_| called.clone(), |here| here.join(&called))
    } else {
        PathBuf::from("sessd")
    };
    let mut text =
        b"# Completion of sessd: verbs, then what fits them, as in `sessd attach <TAB>`. It is asked of sessd itself.\n".to_vec();
    if name == "zsh" {
        // Where compinit reads it from a folder the first line must say for whom it is.
        text.splice(0..0, b"#compdef sessd\n".iter().copied());
    }
    writer
        .write_registration(VARIABLE, "sessd", "sessd", &program.to_string_lossy(), &mut text)
        .map_err(|e| failed(e.to_string()))?;
    out::own(&text).map(|_| ())
}

fn asked<T: serde::de::DeserializeOwned>(act: Act) -> Option<T> {
    let paths = Paths::from_environment().ok()?;
    serde_json::from_str(&ask::ask_running(&paths, &act, PATIENCE)?).ok()
}

fn all() -> Vec<SessionDoc> {
    asked(Act::List(List { all: true, ..List::default() })).unwrap_or_default()
}

/// One candidate; none for what a terminal or a shell would not take as it is.
fn candidate(value: &str, help: String) -> Option<CompletionCandidate> {
    let odd = |c: char| is_hidden(c) || c.is_whitespace();
    if value.is_empty() || value.contains(odd) {
        return None;
    }
    let help: String = help.chars().filter(|c| !is_hidden(*c)).collect();
    Some(CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into())))
}

fn session(doc: &SessionDoc) -> Option<CompletionCandidate> {
    let short = handle(&doc.id, HANDLE);
    let state = doc.end.as_ref().map_or(doc.state.as_str(), |_| State::Done.word());
    candidate(doc.name.as_deref().unwrap_or(&short), format!("{state} on {}", doc.host))
}

fn named_once(docs: impl Iterator<Item = SessionDoc>) -> Vec<CompletionCandidate> {
    let mut seen = BTreeSet::new();
    docs.filter(|doc| doc.name.as_ref().is_none_or(|name| seen.insert(name.clone())))
        .filter_map(|doc| session(&doc))
        .collect()
}

/// Names, or handles of what has none; what runs first.
pub fn sessions() -> Vec<CompletionCandidate> {
    let (live, done): (Vec<_>, Vec<_>) = all().into_iter().partition(|doc| doc.end.is_none());
    named_once(live.into_iter().chain(done.into_iter().filter(|doc| doc.name.is_some())))
}

/// The same without what has ended.
pub fn live_sessions() -> Vec<CompletionCandidate> {
    named_once(all().into_iter().filter(|doc| doc.end.is_none()))
}

/// Views, with what they show.
pub fn views() -> Vec<CompletionCandidate> {
    let docs = all();
    let views = docs.iter().flat_map(|doc| doc.views.iter().map(move |view| (doc, view)));
    views
        .filter_map(|(doc, view)| {
            candidate(&view.id, format!("shows {}", doc.name.as_deref().unwrap_or(&doc.id)))
        })
        .collect()
}

/// States.
pub fn states() -> Vec<CompletionCandidate> {
    State::WORDS.iter().map(|(_, word)| CompletionCandidate::new(*word)).collect()
}

/// Tags that some session has.
pub fn tags() -> Vec<CompletionCandidate> {
    let mut words = BTreeSet::new();
    for (key, value) in all().into_iter().flat_map(|doc| doc.tags) {
        words.insert(if value.is_empty() { key } else { format!("{key}={value}") });
    }
    words.iter().filter_map(|word| candidate(word, String::new())).collect()
}

/// Hosts: this machine, those of the ssh configuration, and those that have a session or a link.
pub fn hosts() -> Vec<CompletionCandidate> {
    let mut names = BTreeSet::from([LOCAL.to_owned()]);
    names.extend(all().into_iter().map(|doc| doc.host));
    let status: Option<StatusDoc> = asked(Act::DaemonStatus(Empty {}));
    names.extend(status.into_iter().flat_map(|status| status.links).map(|link| link.host));
    if let Ok(paths) = Paths::from_environment() {
        names.extend(configured(&paths));
    }
    names.iter().filter_map(|name| candidate(name, String::new())).collect()
}

/// The hosts that the ssh configuration names.
pub fn configured(paths: &Paths) -> BTreeSet<String> {
    let own = std::env::var_os("SESSD_SSH_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
    let configured = own.or_else(|| sessd_base::config::Config::load(paths).ok()?.ssh_config);
    let file = configured.unwrap_or_else(|| paths.home.join(".ssh/config"));
    let mut names = BTreeSet::new();
    aliases(&file, &paths.home, 0, &mut names);
    names
}

/// The aliases that `Host` lines name, wildcards left out.
fn aliases(file: &Path, home: &Path, depth: usize, names: &mut BTreeSet<String>) {
    let short = std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() <= CONFIG_MAX);
    if depth > INCLUDES || !short {
        return;
    }
    let text = std::fs::read(file).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let (hosts, includes) = host_line(line);
        names.extend(hosts);
        for include in includes {
            let path = match include.strip_prefix("~/") {
                Some(rest) => home.join(rest),
                None => home.join(".ssh").join(&include),
            };
            for file in matching(&path) {
                aliases(&file, home, depth + 1, names);
            }
        }
    }
}

/// What a line of an ssh configuration names: aliases, and files to be included.
fn host_line(line: &str) -> (Vec<String>, Vec<String>) {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let values = || {
        line[end..]
            .trim_start_matches(|c: char| c.is_whitespace() || c == '=')
            .split_whitespace()
            .map(|word| word.trim_matches('"').to_owned())
            .filter(|word| !word.is_empty())
    };
    match line[..end].to_ascii_lowercase().as_str() {
        "host" => (values().filter(|word| !word.contains(['*', '?', '!', '#'])).collect(), Vec::new()),
        "include" => (Vec::new(), values().collect()),
        _ => (Vec::new(), Vec::new()),
    }
}

/// The files a path with a `*` in its last part fits; without one, the path itself.
fn matching(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return vec![path.to_owned()];
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |entry: &std::fs::DirEntry| {
        sessd_base::named::matches_pattern(&name, &entry.file_name().to_string_lossy())
    };
    entries.filter(fits).map(|entry| entry.path()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssh_config_names_its_aliases() {
        let table: [(&str, &[&str], &[&str]); 7] = [
            ("Host box gpu*  web !no", &["box", "web"], &[]),
            ("  host=\"a\"", &["a"], &[]),
            ("HOST  me", &["me"], &[]),
            ("HostName 10.0.0.1", &[], &[]),
            ("# Host x", &[], &[]),
            ("Include conf.d/* ~/more", &[], &["conf.d/*", "~/more"]),
            ("", &[], &[]),
        ];
        for (line, hosts, includes) in table {
            let (got, files) = host_line(line);
            assert_eq!(
                (got, files),
                (
                    hosts.iter().map(|s| (*s).to_owned()).collect(),
                    includes.iter().map(|s| (*s).to_owned()).collect()
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn included_files_count_and_a_circle_ends() {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        std::fs::create_dir_all(ssh.join("conf.d")).unwrap();
        std::fs::write(ssh.join("config"), "Include conf.d/*.conf\nHost one\nInclude config\n").unwrap();
        std::fs::write(ssh.join("conf.d/a.conf"), "Host two\n").unwrap();
        std::fs::write(ssh.join("conf.d/b.txt"), "Host not-this\n").unwrap();
        let mut names = BTreeSet::new();
        aliases(&ssh.join("config"), home.path(), 0, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn what_a_shell_would_not_take_is_not_offered() {
        assert!(candidate("dev", "x".into()).is_some());
        for odd in ["", "a b", "a\u{1b}[31m", "a\u{202e}"] {
            assert!(candidate(odd, String::new()).is_none(), "{odd:?}");
        }
    }
}
