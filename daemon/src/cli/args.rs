//! The verbs and flags of the command line, and what `sessd help` says of them.

use super::complete as tab;
use super::copy::{GetArgs, PipeArgs, PutArgs};
use super::forward::{ForwardArgs, ForwardFlags};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use sessd_base::config::Predict;

/// Shells that live on the host, not in your window.
#[derive(Debug, Parser)]
#[command(
    name = "sessd",
    version,
    propagate_version = true,
    disable_help_subcommand = false,
    // A flag that is said twice, as by a script that adds it to whatever it is given, is said once; of two values the last counts.
    args_override_self = true,
    after_help = "Examples:\n  \
        sessd                               every session on every host: look, choose, make, name, end\n  \
        sessd attach dev --create           a shell named dev on this machine, now or as it was left\n  \
        sessd create -n train -H box -- ./train --lr 1e-3\n  \
        sessd list                          what runs, and what has ended and how\n\n\
        Ctrl-\\ leaves a session and the job runs on; where the keyboard has no \\ of its own, Ctrl-4 is the same key.\n\
        A SESSION is a name, an id, or the beginning or the end of an id, 4 characters or more."
)]
pub struct Cli {
    /// Print one JSON document instead of text, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a session; everything after `--` is its command, default the login shell
    #[command(visible_alias = "new")]
    Create(CreateArgs),
    /// Show a session in this terminal
    #[command(visible_alias = "a")]
    Attach(AttachArgs),
    /// Send every view of a session away, or one; the job runs on
    Detach(DetachArgs),
    /// List sessions
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Everything known about one session
    Info(InfoArgs),
    /// Name or rename a session; show, add, change or remove (`KEY-`) tags
    Tag(TagArgs),
    /// End jobs and forget their records
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    /// Who sizes a session: its views, or nobody
    Size(SizeArgs),
    /// A new job under the same session
    Restart(RestartArgs),
    /// Type text or keys into a session, without attaching to it
    Send(SendArgs),
    /// Run a command on a host as if it ran here: its input, its output, its exit code
    Run(RunArgs),
    /// Said inside a job, of itself: that it works, waits for somebody, or is done
    Report(ReportArgs),
    /// Print the lines that make Claude Code and Codex call `sessd report`
    Hooks(HooksArgs),
    /// Print a session's screen, without attaching to it
    Capture(CaptureArgs),
    /// Wait until a session's job has ended, is idle, works, waits, or shows a text
    Wait(WaitArgs),
    /// A line for every change of state, until interrupted
    Events(EventsArgs),
    /// The web view: sessions in a browser, on this machine or a phone
    Web(WebArgs),
    /// Ports that live with a session: -L, -R, -D as ssh has them, or every port that its job listens on
    Forward(ForwardArgs),
    /// A byte stream to a port of a host that outlives the link, for ssh's ProxyCommand
    Pipe(PipeArgs),
    /// Copy files to a host, whole or not at all
    Put(PutArgs),
    /// Copy files from a host, whole or not at all
    Get(GetArgs),
    /// Every session on every host, to look at and to choose from; `sessd` alone does the same
    Pick,
    /// Hosts and their links
    Host(HostArgs),
    /// Say what would not work, and the one thing to do about it: here, or on the way to a host
    Doctor(DoctorArgs),
    /// The manager itself; it starts when a verb needs it
    Daemon(DaemonArgs),
    /// Completion of verbs, sessions, hosts and tags for a shell
    #[command(after_help = "Examples:\n  \
        source <(sessd completion bash)                 in ~/.bashrc; zsh alike, in ~/.zshrc after compinit\n  \
        sessd completion fish > ~/.config/fish/completions/sessd.fish")]
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// The manual: prints the page of sessd or of a verb, or writes all pages into a folder
    Man(ManArgs),
}

/// Flags of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd man create | man -l -\n  \
    sessd man --dir ~/.local/share/man/man1       then `man sessd` and `man sessd-create`")]
pub struct ManArgs {
    /// A verb, such as `create` or `host adopt`; without one the page of sessd itself
    pub verb: Vec<String>,
    /// Write the pages of all verbs into this folder, and make it if it is not there
    #[arg(short, long, conflicts_with = "verb", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<std::path::PathBuf>,
}

/// Flags of `create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd create --name dev --attach              a shell on this machine, shown at once\n  \
    sessd create -n train -H box -t gpu -- ./train --lr 1e-3\n  \
    sessd create -n log -- sh -c 'journalctl -f | grep -i oom'\n\n\
    With --attach, Ctrl-\\ leaves and the job runs on; where the keyboard has no \\ of its own, Ctrl-4 is the same key.\n\
    A name is 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with -.")]
pub struct CreateArgs {
    /// The session's name; without one it is anonymous
    #[arg(short, long)]
    pub name: Option<String>,
    /// `local`, an alias of the ssh config, user@host, user@host:port or ssh://user@host:port
    #[arg(short = 'H', long, default_value = "local", add = ArgValueCandidates::new(tab::hosts))]
    pub host: String,
    /// A tag, any number of times
    #[arg(short, long = "tag", value_name = "KEY[=VALUE]", add = ArgValueCandidates::new(tab::tags))]
    pub tags: Vec<String>,
    /// Where the job starts; default the home, on this machine the folder you are in
    #[arg(short = 'C', long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub cwd: Option<String>,
    /// A variable of the job's environment, any number of times
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// How long it may be idle (90s, 1h30m, 2d) before it is ended, or `never`
    ///
    /// Idle is a session in which nothing happens and nothing runs: no view, no input, no output, no processor time, and nothing but a
    /// shell at its prompt. A command that runs is never idle, be it `sleep`: see --reap.
    #[arg(long, value_name = "DURATION|never")]
    pub idle_timeout: Option<String>,
    /// What counts as idle: `idle` nothing happens or runs but a shell's prompt, `unattended` no view, whatever runs
    #[arg(long, value_name = "idle|unattended", default_value = "idle", value_parser = ["idle", "unattended"])]
    pub reap: String,
    /// Size of its terminal until a view is attached
    #[arg(long, value_name = "COLSxROWS")]
    pub size: Option<String>,
    /// Who sizes it: the view typed in `latest`, the `largest` or `smallest` of its views, or `fixed`: as `--size` says
    #[arg(long, value_name = "POLICY", default_value = "latest", value_parser = ["latest", "largest", "smallest", "fixed"])]
    pub size_policy: String,
    /// What is forwarded for it.
    #[command(flatten)]
    pub forwards: ForwardFlags,
    /// Its programs have the ssh-agent of whoever is connected, as with ForwardAgent yes
    #[arg(short = 'A', long, help_heading = "Forwards")]
    pub forward_agent: bool,
    /// Attach to it at once
    #[arg(short, long)]
    pub attach: bool,
    /// Do not attach, which is the default
    #[arg(short, long, conflicts_with = "attach")]
    pub detached: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `attach`.
#[derive(Debug, Args)]
#[command(after_help = "Leaving:\n  \
    Ctrl-\\ leaves: the job runs on, and `sessd attach` shows it again as it was. Where the keyboard has no \\ of its own,\n  \
    Ctrl-4 is the same key. Pressed twice it goes to the job. `detach_key` in config.toml sets another, or none.\n\n\
    Examples:\n  \
    sessd attach dev\n  \
    sessd attach dev --create --host box          the shell named dev on box, made if there is none\n  \
    sessd attach dev --read-only")]
pub struct AttachArgs {
    /// Name, id, or the beginning or end of one; without it, the only one that is running, else the picker
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: Option<String>,
    /// Make it if there is none of that name
    #[arg(short, long, requires = "session")]
    pub create: bool,
    /// Where it is, or with --create is made
    #[arg(short = 'H', long, add = ArgValueCandidates::new(tab::hosts))]
    pub host: Option<String>,
    /// Only watch
    #[arg(short, long)]
    pub read_only: bool,
    /// Send all other views away
    #[arg(long)]
    pub take: bool,
    /// Rather hold the job back than skip output
    #[arg(long)]
    pub lossless: bool,
    /// Let every key through, Ctrl-\ too: only `sessd detach` elsewhere or closing the window leaves then
    #[arg(long)]
    pub no_detach_key: bool,
    /// Show what is typed before the job does: where the way is long enough to be felt, always, or never (default: `predict`
    /// in config.toml, else auto)
    #[arg(long, value_enum, value_name = "WHEN")]
    pub predict: Option<PredictWhen>,
}

/// When a view shows what is typed before the job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PredictWhen {
    /// Above a round trip of 30 ms, until it is below 20
    Auto,
    /// On any host
    Always,
    /// Never
    Never,
}

impl From<PredictWhen> for Predict {
    fn from(when: PredictWhen) -> Self {
        match when {
            PredictWhen::Auto => Self::Auto,
            PredictWhen::Always => Self::Always,
            PredictWhen::Never => Self::Never,
        }
    }
}

/// Flags of `detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::live_sessions))]
    pub session: String,
    /// Only this view (`sessd info` shows them)
    #[arg(long, add = ArgValueCandidates::new(tab::views))]
    pub view: Option<String>,
}

/// Which sessions are meant, by what they are.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only on this host
    #[arg(short = 'H', long, add = ArgValueCandidates::new(tab::hosts))]
    pub host: Option<String>,
    /// Only with this tag, any number of times
    #[arg(short, long = "tag", value_name = "KEY[=VALUE]", add = ArgValueCandidates::new(tab::tags))]
    pub tags: Vec<String>,
    /// init, running, disconnected or done
    #[arg(short, long, add = ArgValueCandidates::new(tab::states))]
    pub state: Option<String>,
}

/// Flags of `list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd list -H box -s running\n  \
    sessd list -q -t team=ml | xargs sessd delete\n\n\
    In a terminal the table is cut to its width; --long cuts nothing and has every column.")]
pub struct ListArgs {
    /// Anonymous ones too
    #[arg(short, long)]
    pub all: bool,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Only ids, one a line
    #[arg(short, long)]
    pub quiet: bool,
    /// Every column, nothing cut
    #[arg(short, long, conflicts_with = "quiet")]
    pub long: bool,
}

/// Flags of `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: String,
}

/// Flags of `tag`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd tag dev                    shows the tags\n  \
    sessd tag dev gpu team=ml old-   adds gpu, sets team, removes old\n  \
    sessd tag dev --name work        renames it\n\n\
    A key has no space and no =, and does not begin or end with -.")]
pub struct TagArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: String,
    /// The new name
    #[arg(short, long)]
    pub name: Option<String>,
    /// KEY, KEY=VALUE, or KEY- to remove it
    #[arg(value_name = "KEY[=VALUE]|KEY-", add = ArgValueCandidates::new(tab::tags))]
    pub changes: Vec<String>,
}

/// Flags of `size`.
#[derive(Debug, Args)]
#[command(after_help = "Policies:\n  \
    latest      the view typed in last, which is the default; a view that comes or watches changes nothing\n  \
    largest     the largest of the views that may type, in columns and in rows\n  \
    smallest    the smallest of them\n  \
    fixed       no view: it stays as it is\n  \
    COLSxROWS   no view: it has this size\n\n\
    Examples:\n  \
    sessd size dev 120x40\n  \
    sessd size dev latest")]
pub struct SizeArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: String,
    /// latest, largest, smallest, fixed, or a size
    #[arg(value_name = "POLICY|COLSxROWS")]
    pub size: String,
}

/// Flags of `delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd delete dev train\n  \
    sessd delete --done              forgets what has ended\n  \
    sessd delete --tag team=ml --host box")]
pub struct DeleteArgs {
    /// Names, ids, or beginnings or ends of ids
    #[arg(add = ArgValueCandidates::new(tab::sessions), required_unless_present_any = ["all", "done", "host", "tags", "state"])]
    pub sessions: Vec<String>,
    /// Every session there is, done ones too; asks first in a terminal
    #[arg(short, long, conflicts_with = "sessions")]
    pub all: bool,
    /// Only those that have ended
    #[arg(long, conflicts_with_all = ["sessions", "state"])]
    pub done: bool,
    /// Only those on this host
    #[arg(short = 'H', long, conflicts_with = "sessions", add = ArgValueCandidates::new(tab::hosts))]
    pub host: Option<String>,
    /// Only those with this tag, any number of times
    #[arg(short, long = "tag", value_name = "KEY[=VALUE]", conflicts_with = "sessions", add = ArgValueCandidates::new(tab::tags))]
    pub tags: Vec<String>,
    /// Only those that are init, running, disconnected or done
    #[arg(short, long, conflicts_with = "sessions", add = ArgValueCandidates::new(tab::states))]
    pub state: Option<String>,
    /// Kill the jobs at once instead of asking them to end first
    #[arg(short, long)]
    pub force: bool,
    /// Ask no question
    #[arg(short, long)]
    pub yes: bool,
}

/// Flags of `restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: String,
}

/// Flags of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd run -H box -- uname -a\n  \
    sessd run -H box --timeout 10m -- make -C src test && echo it works\n  \
    tar c src | sessd run -H box -- tar x -C /tmp\n\n\
    The job has pipes and no terminal. What it writes to stdout and stderr comes out of stdout, byte by byte. It goes on over a\n\
    lost link and a manager that ends. Without a name it leaves no record, and ends with this command.")]
pub struct RunArgs {
    /// `local`, an alias of the ssh config, user@host, user@host:port or ssh://user@host:port
    #[arg(short = 'H', long, default_value = "local", add = ArgValueCandidates::new(tab::hosts))]
    pub host: String,
    /// Its record stays under this name, and the job when this command is ended
    #[arg(short, long)]
    pub name: Option<String>,
    /// It is ended after so long, and this command exits with 124
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Where it starts; default the home, on this machine the folder you are in
    #[arg(short = 'C', long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub cwd: Option<String>,
    /// A variable of its environment, any number of times
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Its stdin is empty; this command reads none
    #[arg(long)]
    pub no_stdin: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", required = true)]
    pub command: Vec<String>,
}

impl CreateArgs {
    /// A session as a copy makes it: it is gone when nobody looks at it for long, whatever it does.
    pub fn of_ours(host: &str, cwd: Option<String>) -> Self {
        let args = RunArgs {
            host: host.to_owned(),
            name: None,
            timeout: None,
            cwd,
            env: Vec::new(),
            no_stdin: false,
            command: Vec::new(),
        };
        Self { reap: "unattended".to_owned(), ..Self::for_run(&args) }
    }

    /// A session as `run` makes it.
    pub fn for_run(args: &RunArgs) -> Self {
        Self {
            name: args.name.clone(),
            host: args.host.clone(),
            tags: Vec::new(),
            cwd: args.cwd.clone(),
            env: args.env.clone(),
            idle_timeout: None,
            reap: "idle".to_owned(),
            size: None,
            size_policy: "latest".to_owned(),
            forwards: ForwardFlags::default(),
            forward_agent: false,
            attach: false,
            detached: true,
            command: args.command.clone(),
        }
    }
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// working, waiting or done
    #[arg(value_parser = ["working", "waiting", "done"])]
    pub state: String,
    /// What to tell with it
    #[arg(short, long)]
    pub note: Option<String>,
}

/// Flags of `hooks`.
#[derive(Debug, Args)]
pub struct HooksArgs {
    /// Only those of this one: claude or codex
    #[arg(value_parser = ["claude", "codex"])]
    pub agent: Option<String>,
}

/// Flags of `send`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd send dev --enter 'make test'\n  \
    sessd send dev -k C-c                        a key by its name: C-c, M-x, Up, F5, Enter, BSpace, PPage\n  \
    printf 'a\\nb\\n' | sessd send dev -          stdin\n  \
    sessd send agent --when idle --enter 'now the tests'   kept on the host until its job is done or quiet\n\n\
    Text is typed as it is. Several lines are a paste to a program that asked to be told of one (bracketed paste);\n\
    --raw types them as they are, --paste pastes in any case.")]
pub struct SendArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::live_sessions))]
    pub session: String,
    /// What is typed; `-` is stdin
    pub text: Option<String>,
    /// Press Enter behind it
    #[arg(short, long)]
    pub enter: bool,
    /// Press a key behind the text, any number of times
    #[arg(short, long = "key", value_name = "KEY")]
    pub keys: Vec<String>,
    /// Not now, but when the job is idle (done or quiet) or waits for somebody, one after the other
    #[arg(short, long, value_name = "idle|waiting", value_parser = ["idle", "waiting"])]
    pub when: Option<String>,
    /// As a paste, whatever the text
    #[arg(short, long, conflicts_with = "raw")]
    pub paste: bool,
    /// As it is, whatever the text
    #[arg(short, long)]
    pub raw: bool,
    /// Drop what waits on the host for its time
    #[arg(long, conflicts_with_all = ["text", "enter", "keys", "when", "paste", "raw"])]
    pub cancel: bool,
}

/// Flags of `capture`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd capture dev                            the screen as text, a line for every row\n  \
    sessd capture dev --scrollback all -J        all there is, broken lines joined\n  \
    sessd capture dev --since 120000 --json      what was written since, and where it stands now\n\n\
    Rows are printed as `tmux capture-pane -p` prints them: blanks at their ends are cut, blank rows are not.")]
pub struct CaptureArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: String,
    /// That many lines of what left the screen before it, or all
    #[arg(short = 'S', long, value_name = "N|all")]
    pub scrollback: Option<String>,
    /// Not the screen, but the output from this byte on, as it was written; --format text, and a terminal that it is printed on,
    /// take out what acts on a terminal
    #[arg(long, value_name = "OFFSET", conflicts_with = "scrollback")]
    pub since: Option<u64>,
    /// text, ansi (with colours) or json (cells and cursor)
    #[arg(short, long, value_name = "text|ansi|json", value_parser = ["text", "ansi", "json"])]
    pub format: Option<String>,
    /// Join lines that the right margin broke
    #[arg(short = 'J', long)]
    pub join: bool,
}

/// Flags of `wait`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd wait build                                  until it ends; exits with the job's own code\n  \
    sessd wait dev --for '\\$ $' --regex --timeout 10s   until a prompt is on the screen\n  \
    sessd wait agent --for waiting                    until it waits for somebody\n\n\
    Exits with 0 when it is so, with the job's own code when the job ends, with 124 when the time is up.\n\
    A text is looked for on the screen and in what is written from now on; with --changed in that only.")]
pub struct WaitArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::sessions))]
    pub session: String,
    /// exit (the default), idle (done or quiet), working, waiting, or a text on its screen
    #[arg(short, long = "for", value_name = "exit|idle|working|waiting|TEXT")]
    pub until: Option<String>,
    /// The text is a regular expression; ^ and $ are the ends of a line
    #[arg(short = 'E', long, requires = "until")]
    pub regex: bool,
    /// What is so already does not count; alone: until it writes anything
    #[arg(short, long)]
    pub changed: bool,
    /// How long at the most
    #[arg(short, long, value_name = "DURATION")]
    pub timeout: Option<String>,
}

/// Flags of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Those since then too, as far as the manager that runs has them: 10m ago, or 2026-11-27T03:40:00Z
    #[arg(short, long, value_name = "DURATION|TIME")]
    pub since: Option<String>,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd doctor                                  this machine, and how the hosts are that have sessions\n  \
    sessd doctor box                              every step to a job on box; a job that does nothing is run there")]
pub struct DoctorArgs {
    /// The host; without one, this machine
    #[arg(add = ArgValueCandidates::new(tab::hosts))]
    pub host: Option<String>,
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
    #[command(visible_alias = "ls")]
    List,
    /// Log in on a host now, answering what it asks; its sessions go on over that link
    Connect {
        /// The host
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        host: String,
    },
    /// Log in on a host and look at it, step by step; `sessd doctor` runs a job there, too
    Check {
        /// The host
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        host: String,
    },
    /// End the link to a host until somebody wants it; its sessions run on
    Disconnect {
        /// The host
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        host: String,
    },
    /// Forget a host that no session lives on, and what ended there
    Forget {
        /// The host
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        host: String,
    },
    /// Make records of sessions that run on a host and are not known here, such as another machine's
    Adopt {
        /// The host
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        host: String,
        /// Those that have ended, too
        #[arg(short, long)]
        all: bool,
    },
    /// Its sessions are on a host of another name from now on, such as an alias that was renamed in the ssh config
    Rename {
        /// What the host was called
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        old: String,
        /// What it is called now
        #[arg(add = ArgValueCandidates::new(tab::hosts))]
        new: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum DaemonVerb {
    /// Start it if it does not run, and say that it does; so does `sessd daemon` alone
    Start,
    /// Show it
    Status,
    /// End it; jobs run on
    Stop,
    /// End it and start it again; views and jobs go on
    Restart,
    /// Start it at login, as a user service
    Install,
    /// Take that back
    Uninstall,
}

/// Flags of `web`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  \
    sessd web                                     prints the address, and opens it where there is a screen\n  \
    ssh -L 7377:127.0.0.1:7377 box sessd web --no-open      the sessions of another machine, in the browser here\n  \
    sessd web --listen 100.64.0.5:7377            for a phone in a private network\n\n\
    The address is good for one browser, once. It stays let in for 30 days; `sessd web tokens` shows and ends that.")]
pub struct WebArgs {
    /// Where it listens [default: 127.0.0.1:7377, any port where that one is taken]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<std::net::SocketAddr>,
    /// Only print the address
    #[arg(long)]
    pub no_open: bool,
    /// Browsers only look
    #[arg(long)]
    pub read_only: bool,
    /// Another name of this server, as where a proxy stands before it; any number of times
    #[arg(long = "allow-host", value_name = "NAME[:PORT]")]
    pub allow_host: Vec<String>,
    /// What else.
    #[command(subcommand)]
    pub verb: Option<WebVerb>,
}

/// What is done about the web view.
#[derive(Debug, Subcommand)]
pub enum WebVerb {
    /// The browsers that are let in; lets another in, or one no more
    Tokens(WebTokensArgs),
}

/// Flags of `web tokens`.
#[derive(Debug, Args)]
pub struct WebTokensArgs {
    /// Print a token for another browser, good once and for a day
    #[arg(long, conflicts_with_all = ["revoke", "revoke_all"])]
    pub new: bool,
    /// With --new: that browser only looks
    #[arg(long, requires = "new")]
    pub read_only: bool,
    /// The browser of that id is let in no more
    #[arg(long, value_name = "ID")]
    pub revoke: Option<String>,
    /// No browser is, and no address that was printed
    #[arg(long, conflicts_with = "revoke")]
    pub revoke_all: bool,
}
