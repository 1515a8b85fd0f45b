//! What each verb does: a request to the manager, and its answer printed.

use crate::cli::{
    AttachArgs, Cli, CreateArgs, DaemonArgs, DaemonVerb, DeleteArgs, DetachArgs, HostArgs, HostVerb,
    InfoArgs, ListArgs, RestartArgs, TagArgs, Verb, ask, done, print, service,
};
use crate::config::{Config, duration_or_never};
use crate::error::{Error, Kind, Result};
use crate::manager::adopt::AdoptDoc;
use crate::manager::dial::LOCAL;
use crate::manager::doc::{InfoDoc, SessionDoc, StatusDoc};
use crate::manager::events;
use crate::manager::session::describe_end;
use crate::paths::Paths;
use crate::server;
use crate::view::attach::{self, Outcome, Request};
use crate::view::client::Client;
use crate::view::terminal;
use clap::CommandFactory;
use serde::de::DeserializeOwned;
use sessd_proto::Uuid;
use sessd_proto::messages::{self as m, Act};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Carries a verb out. The code is what the program ends with.
///
/// # Errors
/// What a person is told, in one line.
pub fn run(verb: Verb) -> Result<u8> {
    if let Verb::Completion { shell } = verb {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "sessd", &mut script);
        print::out(&String::from_utf8_lossy(&script));
        return Ok(0);
    }
    let paths = Paths::from_environment()?;
    match verb {
        Verb::Create(args) => create(&paths, args),
        Verb::Attach(args) => attach(&paths, args),
        Verb::Detach(args) => detach(&paths, args),
        Verb::List(args) => list(&paths, args),
        Verb::Info(args) => info(&paths, args),
        Verb::Tag(args) => tag(&paths, args),
        Verb::Delete(args) => delete(&paths, args),
        Verb::Restart(args) => restart(&paths, args),
        Verb::Events { json } => ask::events(&paths, |event| {
            print::line(&if json { event.to_owned() } else { events::line(event) })
        })
        .map(|()| 0),
        Verb::Host(args) => host(&paths, args),
        Verb::Daemon(args) => daemon(paths, args),
        Verb::Completion { .. } => Ok(0),
    }
}

pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| {
        Error::new(
            Kind::VersionSkew,
            format!("the manager's answer is of another version ({e})"),
            "`sessd daemon restart` starts this one",
        )
    })
}

fn ask(paths: &Paths, act: Act) -> Result<String> {
    ask::ask(paths, &act)
}

fn pairs(items: &[String], what: &str, value_needed: bool) -> Result<HashMap<String, String>> {
    items
        .iter()
        .map(|item| match item.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            None if !value_needed && !item.is_empty() => Ok((item.clone(), String::new())),
            _ => Err(Error::usage(format!("`{item}` is not {what}"))),
        })
        .collect()
}

fn size(text: &str) -> Result<(u32, u32)> {
    let wrong = || {
        Error::usage(format!(
            "`{text}` is not a size such as 120x40, at most {0}x{0}",
            sessd_proto::limits::SIDE_MAX
        ))
    };
    let (cols, rows) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let side =
        |text: &str| text.parse().ok().filter(|n| (1..=u32::from(sessd_proto::limits::SIDE_MAX)).contains(n));
    Ok((side(cols).ok_or_else(wrong)?, side(rows).ok_or_else(wrong)?))
}

/// The caller's environment and folder belong to a session on the caller's own machine, as with any other program.
fn environment_for(host: &str) -> HashMap<String, String> {
    if host == LOCAL {
        std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect()
    } else {
        HashMap::new()
    }
}

fn create_message(args: &CreateArgs) -> Result<m::Create> {
    let (cols, rows) = match &args.size {
        Some(text) => size(text)?,
        None => terminal::size().map_or((0, 0), |(cols, rows)| (cols.into(), rows.into())),
    };
    let here = || std::env::current_dir().ok().and_then(|d| d.into_os_string().into_string().ok());
    let cwd = match (&args.cwd, args.host == LOCAL) {
        (None, true) => here().unwrap_or_default(),
        // A relative folder is relative to where the caller is; on another host, to the home there.
        (Some(dir), true) if !dir.starts_with(['/', '~']) => here().map_or_else(
            || dir.clone(),
            |here| std::path::Path::new(&here).join(dir).to_string_lossy().into_owned(),
        ),
        (Some(dir), _) => dir.clone(),
        (None, false) => String::new(),
    };
    let idle_timeout = match &args.idle_timeout {
        None => None,
        Some(text) => Some(m::IdleTimeout { ms: duration_or_never(text)?.map(|d| d.as_millis() as u64) }),
    };
    if args.name.as_deref() == Some("") {
        return Err(Error::usage("`` cannot be a session's name"));
    }
    if args.host.is_empty() {
        return Err(Error::usage("the host is empty"));
    }
    if args.command.first().is_some_and(String::is_empty) {
        return Err(Error::usage("the command is empty"));
    }
    Ok(m::Create {
        name: args.name.clone().unwrap_or_default(),
        host: args.host.clone(),
        tags: pairs(&args.tags, "a tag such as KEY or KEY=VALUE", false)?,
        cwd,
        env: pairs(&args.env, "a variable such as KEY=VALUE", true)?,
        idle_timeout,
        reap_unattended: args.reap == "unattended",
        cols,
        rows,
        command: args.command.clone(),
        environment: environment_for(&args.host),
        // Chosen here, so that the next manager can be asked for the same session when this one dies over it.
        session_id: Uuid::now_v7().to_string(),
        job_id: Uuid::now_v7().to_string(),
    })
}

fn create(paths: &Paths, args: CreateArgs) -> Result<u8> {
    let json = ask(paths, Act::Create(create_message(&args)?))?;
    let InfoDoc { session, more } = read(&json)?;
    if args.json {
        print::line(&json);
    } else if !args.attach {
        print::line(session.name.as_deref().unwrap_or(&session.id));
    }
    for note in &more.notes {
        eprintln!("sessd: {note}");
    }
    if !args.attach {
        return Ok(0);
    }
    view(paths, request(session.id))
}

fn request(session: String) -> Request {
    Request { session, read_only: false, take: false, lossless: false, no_detach_key: false }
}

fn attach(paths: &Paths, args: AttachArgs) -> Result<u8> {
    let session = match args.session {
        Some(session) => session,
        None => the_only_one(paths)?,
    };
    if args.create {
        let create = CreateArgs {
            name: Some(session.clone()),
            host: args.host.unwrap_or_else(|| LOCAL.to_owned()),
            tags: Vec::new(),
            cwd: None,
            env: Vec::new(),
            idle_timeout: None,
            reap: "idle".to_owned(),
            size: None,
            attach: true,
            json: false,
            command: Vec::new(),
        };
        match ask(paths, Act::Create(create_message(&create)?)) {
            Ok(_) => {}
            // It is there already, which is just as well.
            Err(error) if error.kind == Kind::NameTaken => {}
            Err(error) => return Err(error),
        }
    }
    let shown: SessionDoc = read(&ask(paths, Act::Info(m::Select { session, ..m::Select::default() }))?)?;
    let session = shown.id.clone();
    if shown.end.is_some() {
        let restart = done::show(paths, &shown)?;
        if !restart {
            return Ok(done::exit_code(&shown));
        }
        ask(paths, Act::Restart(again(session.clone())))?;
    }
    view(
        paths,
        Request {
            session,
            read_only: args.read_only,
            take: args.take,
            lossless: args.lossless,
            no_detach_key: args.no_detach_key,
        },
    )
}

/// A restart that can be asked for twice.
fn again(session: String) -> m::Select {
    m::Select { session, job_id: Uuid::now_v7().to_string() }
}

fn the_only_one(paths: &Paths) -> Result<String> {
    let list = m::List { all: true, state: "running".into(), ..m::List::default() };
    let running: Vec<SessionDoc> = read(&ask(paths, Act::List(list))?)?;
    match running.as_slice() {
        [] => Err(Error::new(
            Kind::NoSuchSession,
            "no session is running",
            "`sessd create --attach` starts one",
        )),
        [one] => Ok(one.id.clone()),
        more => {
            let names: Vec<&str> = more.iter().take(8).map(|s| s.name.as_deref().unwrap_or(&s.id)).collect();
            Err(Error::usage(format!("{} sessions are running ({}): name one", more.len(), names.join(", "))))
        }
    }
}

fn view(paths: &Paths, request: Request) -> Result<u8> {
    let config = Config::load(paths)?;
    match attach::run(paths, &config, request)? {
        Outcome::Detached(label) => {
            eprintln!("[detached from {label}]");
            Ok(0)
        }
        Outcome::Ended(label, end) => {
            eprintln!("[{label}: {}]", describe_end(&end));
            Ok(end.exit_code() as u8)
        }
        Outcome::Signal(signal) => Ok((128 + signal) as u8),
    }
}

fn detach(paths: &Paths, args: DetachArgs) -> Result<u8> {
    ask(
        paths,
        Act::DetachViews(m::DetachViews { session: args.session, view: args.view.unwrap_or_default() }),
    )?;
    Ok(0)
}

fn list(paths: &Paths, args: ListArgs) -> Result<u8> {
    let list = m::List {
        all: args.all,
        host: args.host.unwrap_or_default(),
        tags: args.tags,
        state: args.state.unwrap_or_default(),
    };
    let json = ask(paths, Act::List(list))?;
    if args.json {
        print::line(&json);
    } else {
        print::out(&print::table(&read::<Vec<SessionDoc>>(&json)?));
    }
    Ok(0)
}

fn info(paths: &Paths, args: InfoArgs) -> Result<u8> {
    let json = ask(paths, Act::Info(m::Select { session: args.session, ..m::Select::default() }))?;
    if args.json {
        print::line(&json);
    } else {
        print::out(&print::info(&read::<InfoDoc>(&json)?));
    }
    Ok(0)
}

fn tag(paths: &Paths, args: TagArgs) -> Result<u8> {
    if args.name.is_none() && args.changes.is_empty() {
        return Err(Error::usage("nothing to change was given"));
    }
    let (remove, set): (Vec<String>, Vec<String>) =
        args.changes.into_iter().partition(|c| c.ends_with('-') && !c.contains('='));
    let remove = remove.into_iter().map(|key| key.trim_end_matches('-').to_owned()).collect();
    let set = pairs(&set, "a tag such as KEY, KEY=VALUE or KEY-", false)?;
    // By its id: asked again when the manager died, it may have its new name already.
    let session: SessionDoc =
        read(&ask(paths, Act::Info(m::Select { session: args.session, ..m::Select::default() }))?)?;
    ask(paths, Act::Tag(m::Tag { session: session.id, name: args.name, set, remove }))?;
    Ok(0)
}

fn delete(paths: &Paths, args: DeleteArgs) -> Result<u8> {
    ask(paths, Act::Delete(m::Delete { sessions: args.sessions, all: args.all, force: args.force }))?;
    Ok(0)
}

fn restart(paths: &Paths, args: RestartArgs) -> Result<u8> {
    ask(paths, Act::Restart(again(args.session)))?;
    Ok(0)
}

fn host(paths: &Paths, args: HostArgs) -> Result<u8> {
    match args.act {
        HostVerb::List { json } => {
            let list = m::List { all: true, ..m::List::default() };
            let sessions: Vec<SessionDoc> = read(&ask(paths, Act::List(list))?)?;
            let status: StatusDoc = read(&ask(paths, Act::DaemonStatus(m::Empty {}))?)?;
            let hosts = done::hosts(&sessions, &status);
            if json {
                print::line(&serde_json::Value::from(hosts).to_string());
            } else {
                print::out(&print::hosts(&hosts));
            }
        }
        HostVerb::Adopt { host, json } => {
            let answer = ask(paths, Act::Adopt(m::HostName { host }))?;
            let adopted: AdoptDoc = read(&answer)?;
            if json {
                print::line(&answer);
                return Ok(0);
            }
            for session in &adopted.adopted {
                print::line(&print::adopted(session));
            }
            if adopted.adopted.is_empty() {
                print::line(&format!("nothing new on {}", adopted.host));
            }
            for note in &adopted.notes {
                eprintln!("sessd: {note}");
            }
        }
    }
    Ok(0)
}

fn daemon(paths: Paths, args: DaemonArgs) -> Result<u8> {
    match args.act {
        None if args.foreground => server::run(paths, args.announce).map(|()| 0).or_else(|error| {
            // Whoever started us has it from our stdout.
            if args.announce { Ok(error.kind.exit_code()) } else { Err(error) }
        }),
        None => {
            // An answer, and not only a connection: a manager that is being killed still has its socket for a moment.
            ask(&paths, Act::DaemonStatus(m::Empty {}))?;
            Ok(0)
        }
        Some(DaemonVerb::Status { json }) => {
            let Some(mut client) = Client::connect_running(&paths)? else {
                return Err(Error::failed(
                    "the manager does not run",
                    "it starts by itself when a verb needs it",
                ));
            };
            let answer = client.ask(Act::DaemonStatus(m::Empty {}))?;
            if json {
                print::line(&answer);
            } else {
                print::out(&print::status(&read::<StatusDoc>(&answer)?));
            }
            Ok(0)
        }
        Some(DaemonVerb::Stop) => {
            stop(&paths, false)?;
            Ok(0)
        }
        Some(DaemonVerb::Restart) => {
            stop(&paths, true)?;
            Client::connect(&paths)?;
            Ok(0)
        }
        Some(DaemonVerb::Install) => service::install(&paths).map(|()| 0),
        Some(DaemonVerb::Uninstall) => service::uninstall(&paths).map(|()| 0),
    }
}

/// Stops the manager and waits until it is gone. None running is as good.
fn stop(paths: &Paths, restart: bool) -> Result<()> {
    let Some(mut client) = Client::connect_running(paths)? else { return Ok(()) };
    match client.ask(Act::DaemonStop(m::Stop { restart })) {
        // One that does not understand us understands a signal: it stops as if it had been asked.
        Err(error) if error.kind == Kind::VersionSkew => {
            let peer = rustix::net::sockopt::socket_peercred(&client.stream).map_err(|_| error.clone())?;
            rustix::process::kill_process(peer.pid, rustix::process::Signal::TERM).map_err(|_| error)?;
        }
        answer => drop(answer?),
    }
    client.wait_closed(Duration::from_secs(10))?;
    let until = Instant::now() + Duration::from_secs(10);
    // A view may be quicker than we are to start the next one, which is what a restart wants.
    while !restart && Instant::now() < until {
        if std::fs::File::open(&paths.lock).is_ok_and(|lock| lock.try_lock().is_ok()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if restart {
        Ok(())
    } else {
        Err(Error::failed("the manager does not end", format!("see {}", paths.log.display())))
    }
}
