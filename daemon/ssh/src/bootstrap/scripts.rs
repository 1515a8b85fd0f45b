//! The commands that a host is given, in words that every login shell reads alike.

use super::{AgentImage, StartOptions};
use crate::{Failure, clean};

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

/// The folders of one start, as shell words.
pub(super) struct Folders {
    /// `(shell word, as a person knows it)`.
    pub(super) list: Vec<(String, String)>,
    /// How many of them, from the front, are in places only the user writes to.
    pub(super) private: usize,
    /// It is the one that the configuration names.
    pub(super) given: bool,
    /// How the login shell is asked.
    pub(super) asked: Asked,
}

/// How a login shell is asked to run a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    /// To become `/bin/sh`.
    #[default]
    Exec,
    /// To run it, where `exec` means another thing than it should.
    Plain,
    /// By its name: a restricted one (rbash, rksh) runs what it finds in its PATH, and nothing by a path or `exec`.
    Named,
    /// As the first, and a line is written to its input before: its start files wait for one.
    Answered,
}

impl Folders {
    pub(super) fn new(options: &StartOptions) -> Result<Self, Failure> {
        let Some(folder) = &options.agent_dir else {
            let list =
                FOLDERS.iter().map(|(word, shown)| ((*word).to_owned(), (*shown).to_owned())).collect();
            return Ok(Self { list, private: FIRST_SHARED - 1, given: false, asked: Asked::Exec });
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
        Ok(Self { list: vec![(word, folder.clone())], private: 1, given: true, asked: Asked::Exec })
    }

    pub(super) fn shown(&self, number: usize) -> String {
        self.list.get(number.wrapping_sub(1)).map_or_else(|| "?".to_owned(), |(_, shown)| shown.clone())
    }

    pub(super) fn hint(&self) -> String {
        if self.list.len() == 1 {
            "set agent_dir for this host to a folder that can be written and run from".to_owned()
        } else {
            "set agent_dir for this host, in the configuration, to a folder that can be written and run from"
                .to_owned()
        }
    }

    /// Shell functions: `cand` sets `$_d` to folder `$_i`; `own` says whether `$_d` is safe to run from.
    pub(super) fn prelude(&self) -> String {
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

    /// Where the program was found says nothing about where jobs belong; only the configuration does.
    fn jobs(&self) -> &'static str {
        if self.given { "SESSD_AGENT_DIR=\"$_d\"; export SESSD_AGENT_DIR" } else { "unset SESSD_AGENT_DIR" }
    }

    /// All numbers from `first`, as words of a `for`.
    pub(super) fn numbers(&self, first: usize) -> String {
        (first..=self.list.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
    }
}

/// A login may have a PATH without the few tools that are needed here. The jobs get the one it has.
pub(super) const TOOLS: &str = "_q=$PATH; PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; ";

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
pub(super) struct Mark(pub(super) String);

impl Mark {
    pub(super) fn new() -> Result<Self, Failure> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|e| Failure::Config { detail: format!("no random numbers: {e}") })?;
        Ok(Self(data_encoding::HEXLOWER.encode(&bytes)))
    }

    /// As it stands in a command: in two halves.
    pub(super) fn halves(&self) -> String {
        let (a, b) = self.0.split_at(16);
        format!("{a}\"\"{b}")
    }

    /// A part of it, for names of temporary files.
    pub(super) fn short(&self) -> &str {
        &self.0[..8]
    }
}

/// `exec sh -c '…'`. The scripts are ours and hold nothing a shell's single quotes would not keep.
pub(super) fn wrapped(script: &str, folders: &Folders) -> String {
    debug_assert!(!script.contains(['\'', '\\', '!', '\n']), "{script}");
    // By its path: a login without any PATH has one.
    let start = match folders.asked {
        Asked::Exec | Asked::Answered => "exec /bin/sh",
        Asked::Plain => "/bin/sh",
        Asked::Named => "sh",
    };
    format!("{start} -c '{script}'")
}

/// Whether a command of ours comes to run when its input has an end at once.
pub(super) fn hello_script(mark: &Mark) -> String {
    format!("echo \"{} HELLO\"", mark.halves())
}

/// What is written for start files that wait for a line.
pub(super) const ANSWERS: &[u8] = b"\n\n\n";
/// What ends it: see [`answered`].
pub(super) const GO: &[u8] = b"go\n";

/// Before a script whose input begins with [`ANSWERS`]: what the start files left of them is read, up to [`GO`], which is
/// written once this has said that it reads. Nothing but the script's own input is left.
pub(super) fn answered(mark: &Mark, folders: &Folders) -> String {
    match folders.asked {
        Asked::Answered => {
            format!(
                "echo \"{} READS\"; while read -r _l; do test \"$_l\" = go && break; done; ",
                mark.halves()
            )
        }
        _ => String::new(),
    }
}

/// Shell text that reports the first folder from `first` on that can be written and run from.
pub(super) fn probe_script(mark: &Mark, folders: &Folders, first: usize) -> String {
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
pub(super) fn start_script(mark: &Mark, images: &[AgentImage], folders: &Folders) -> String {
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
        "{answered}{TOOLS}{prelude}{choose}for _i in {numbers}; do _d=; cand; _b=\"$_d/bin/sessd-agent-$_h\"; \
         if test -n \"$_d\" && test -n \"$_h\" && test -x \"$_b\" && own && mine; then {jobs}; \
         echo \"{mark} START $_i\"; PATH=$_q; exec \"$_b\" serve; fi; done; {probe}",
        answered = answered(mark, folders),
        prelude = folders.prelude(),
        numbers = folders.numbers(1),
        mark = mark.halves(),
        jobs = folders.jobs(),
        probe = probe_script(mark, folders, 1),
    )
}

/// Takes the image from stdin; nothing has the agent's name before it is whole, checked and has run once. On a host
/// without any tool for SHA-256 the agent's own `hash` answers, or, if it has none, size and trial run must do.
///
/// Where `head` can take so many bytes and no more, stdin goes on to the agent, which starts at once (`READY head`, `START`):
/// one login less where each command is one. Else the end of stdin is the end of the image (`READY`, `DONE`).
pub(super) fn upload_script(mark: &Mark, image: &AgentImage, folders: &Folders, number: usize) -> String {
    format!(
        "{answered}{TOOLS}{prelude}_o=$(umask); umask 077; _i={number}; _d=; cand; _t=\"$_d/bin/.up-{short}\"; _b=\"$_d/bin/sessd-agent-{name}\"; \
         fail() {{ rm -f \"$_t\"; echo \"{mark} FAIL $1\"; exit 1; }}; has() {{ command -v $1 >/dev/null 2>&1; }}; \
         mkdir -p \"$_d/bin\"; own || fail owner; find \"$_d/bin\" -name \".up-*\" -mtime +0 -exec rm -f {{}} + 2>/dev/null; \
         _y=; if has head && test \"$(echo xy | head -c 1 2>/dev/null)\" = x; then _y=\" head\"; fi; echo \"{mark} READY$_y\"; \
         ( ulimit -S -f unlimited 2>/dev/null; if test -n \"$_y\"; then exec head -c {size}; else exec cat; fi ) > \"$_t\" || fail write; \
         test -s \"$_t\" || fail empty; test \"$(wc -c < \"$_t\")\" -eq {size} || fail size; chmod 700 \"$_t\" || fail chmod; _g=; \
         if has sha256sum; then _g=$(sha256sum < \"$_t\"); elif has shasum; then _g=$(shasum -a 256 < \"$_t\"); \
         elif has openssl; then _g=$(openssl dgst -sha256 -r < \"$_t\"); elif has sha256; then _g=$(sha256 -q < \"$_t\"); \
         else _g=$(\"$_t\" hash 2>/dev/null </dev/null); test -n \"$_g\" || _g={hash}; fi; case $_g in {hash}*) ;; *) fail hash;; esac; \
         \"$_t\" version >/dev/null 2>&1 </dev/null || fail run; mv -f \"$_t\" \"$_b\" || fail move; \
         if test -n \"$_y\"; then {jobs}; umask $_o; echo \"{mark} START $_i\"; PATH=$_q; exec \"$_b\" serve; fi; echo \"{mark} DONE\"",
        answered = answered(mark, folders),
        prelude = folders.prelude(),
        short = mark.short(),
        mark = mark.halves(),
        size = image.bytes.len(),
        hash = image.hash,
        name = image.name(),
        jobs = folders.jobs(),
    )
}
