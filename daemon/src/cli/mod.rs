//! The command line: flags, verbs, exit codes. What a verb does is in [`verbs`]; how it looks is in [`print`]; how the
//! manager is asked, and asked again when it died, is in [`ask`]; [`done`] shows a session that has ended.

pub mod ask;
pub mod done;
pub mod print;
pub mod service;
pub mod verbs;

use crate::error::Error;
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Shells that live on the host, not in your window.
#[derive(Debug, Parser)]
#[command(name = "sessd", version, propagate_version = true, disable_help_subcommand = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a session; everything after `--` is its command, default the login shell
    Create(CreateArgs),
    /// Show a session in this terminal
    Attach(AttachArgs),
    /// Send every view of a session away, or one; the job runs on
    Detach(DetachArgs),
    /// List sessions
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Everything known about one session
    Info(InfoArgs),
    /// Name or rename a session; add, change or remove (`KEY-`) tags
    Tag(TagArgs),
    /// End jobs and forget their records
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    /// A new job under the same session
    Restart(RestartArgs),
    /// A line for every change of state, until interrupted
    Events {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Hosts and their links
    Host(HostArgs),
    /// The manager itself; it starts when a verb needs it
    Daemon(DaemonArgs),
    /// Completion script for a shell
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// Flags of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The session's name; without one it is anonymous
    #[arg(long)]
    pub name: Option<String>,
    /// `local`, an alias of the ssh config, user@host, user@host:port or ssh://user@host:port
    #[arg(long, default_value = "local")]
    pub host: String,
    /// A tag, any number of times
    #[arg(long = "tag", value_name = "KEY[=VALUE]")]
    pub tags: Vec<String>,
    /// Where the job starts; default the home, on this machine the folder you are in
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// A variable of the job's environment, any number of times
    #[arg(long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// How long it may be idle (90s, 1h30m, 2d) before it is ended, or `never`
    #[arg(long, value_name = "DURATION|never")]
    pub idle_timeout: Option<String>,
    /// What counts as idle: `idle` nothing happens at all, `unattended` no view, whatever runs
    #[arg(long, value_name = "idle|unattended", default_value = "idle", value_parser = ["idle", "unattended"])]
    pub reap: String,
    /// Size of its terminal until a view is attached
    #[arg(long, value_name = "COLSxROWS")]
    pub size: Option<String>,
    /// Attach to it at once
    #[arg(long)]
    pub attach: bool,
    /// Print the session as JSON
    #[arg(long)]
    pub json: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Name, id or beginning of one; without it, the only one that is running
    pub session: Option<String>,
    /// Make it if there is none of that name
    #[arg(long, requires = "session")]
    pub create: bool,
    /// With --create: where
    #[arg(long, requires = "create")]
    pub host: Option<String>,
    /// Only watch
    #[arg(long)]
    pub read_only: bool,
    /// Send all other views away
    #[arg(long)]
    pub take: bool,
    /// Rather hold the job back than skip output
    #[arg(long)]
    pub lossless: bool,
    /// Let every key through
    #[arg(long)]
    pub no_detach_key: bool,
}

/// Flags of `detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Name, id or beginning of one
    pub session: String,
    /// Only this view (`sessd info` shows them)
    #[arg(long)]
    pub view: Option<String>,
}

/// Flags of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Anonymous ones too
    #[arg(long)]
    pub all: bool,
    /// Only on this host
    #[arg(long)]
    pub host: Option<String>,
    /// Only with this tag, any number of times
    #[arg(long = "tag", value_name = "KEY[=VALUE]")]
    pub tags: Vec<String>,
    /// init, running, disconnected or done
    #[arg(long)]
    pub state: Option<String>,
    /// Print an array of sessions as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Name, id or beginning of one
    pub session: String,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `tag`.
#[derive(Debug, Args)]
pub struct TagArgs {
    /// Name, id or beginning of one
    pub session: String,
    /// The new name
    #[arg(long)]
    pub name: Option<String>,
    /// KEY, KEY=VALUE, or KEY- to remove it
    #[arg(value_name = "KEY[=VALUE]|KEY-")]
    pub changes: Vec<String>,
}

/// Flags of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names, ids or beginnings
    #[arg(required_unless_present = "all")]
    pub sessions: Vec<String>,
    /// Every session there is, done ones too
    #[arg(long)]
    pub all: bool,
    /// Kill at once instead of asking first
    #[arg(long)]
    pub force: bool,
}

/// Flags of `restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Name, id or beginning of one
    pub session: String,
}

/// Flags of `host`.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// What to do
    #[command(subcommand)]
    pub act: HostVerb,
}

/// What to do with hosts.
#[derive(Debug, Subcommand)]
pub enum HostVerb {
    /// Every host that has a session or a link
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make records of sessions that are on a host and not known here, such as another machine's
    Adopt {
        /// The host
        host: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Flags of `daemon`.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Stay in the foreground
    #[arg(long)]
    pub foreground: bool,
    /// For whoever starts the manager: say on stdout when it answers
    #[arg(long, hide = true, requires = "foreground")]
    pub announce: bool,
    /// What to do with it
    #[command(subcommand)]
    pub act: Option<DaemonVerb>,
}

/// What to do with the manager.
#[derive(Debug, Subcommand)]
pub enum DaemonVerb {
    /// Show it
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End it; jobs run on
    Stop,
    /// End it and start it again; views and jobs go on
    Restart,
    /// Start it at login, as a user service
    Install,
    /// Take that back
    Uninstall,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    // A closed pipe ends a command that prints, as it ends any other; the manager wants an error instead.
    let arguments: Vec<_> = std::env::args_os().collect();
    let wants_json = arguments.iter().take_while(|a| *a != "--").any(|a| a == "--json");
    let result = match Cli::try_parse_from(&arguments) {
        Ok(cli) => verbs::run(cli.verb),
        Err(error) if !error.use_stderr() => {
            print::out(&error.render().to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(usage(&error)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", if wants_json { error.json() } else { error.line() });
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// One line of what clap says in several.
fn usage(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("no verb was given");
    }
    let first = text.lines().map(str::trim).take_while(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
    Error::usage(first.strip_prefix("error: ").unwrap_or(&first).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
