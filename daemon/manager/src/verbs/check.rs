//! The way to a host, walked step by step for a person: what works, what does not, and the one thing to do about it.

use crate::desk::Step;
use crate::dial;
use crate::host::Host;
use crate::manager::Manager;
use sessd_base::asking::Asking;
use sessd_base::clock;
use sessd_base::config::TransportName;
use sessd_proto::Uuid;
use sessd_proto::docs::host::{Destination, LOCAL, spelled};
use sessd_proto::docs::{CheckDoc, Error, Reason, Result, StepDoc};
use sessd_proto::messages as m;
use sessd_ssh::HostConfig;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long the job of a check may take to have run.
const JOB: Duration = Duration::from_secs(20);
/// A clock that is further off than this makes times that are hard to read, in milliseconds.
const CLOCK_MS: i64 = 60_000;

/// What was found out so far.
struct Walk(CheckDoc);

impl Walk {
    fn works(&mut self, step: &str, detail: impl Into<String>) {
        self.say(step, Some(true), detail.into(), None);
    }

    /// It works, and this is worth knowing.
    fn notes(&mut self, step: &str, detail: impl Into<String>, hint: Option<&str>) {
        self.say(step, None, detail.into(), hint.map(str::to_owned));
    }

    fn fails(mut self, step: &str, error: &Error) -> CheckDoc {
        self.say(
            step,
            Some(false),
            error.message.clone(),
            Some(error.hint.clone()).filter(|hint| !hint.is_empty()),
        );
        self.0.ok = false;
        self.0.kind = Some(error.kind.word().to_owned());
        self.0
    }

    fn say(&mut self, step: &str, ok: Option<bool>, detail: String, hint: Option<String>) {
        self.0.steps.push(StepDoc { step: step.to_owned(), ok, detail, hint });
    }
}

impl Manager {
    /// Walks the way to a host: the ssh config, the login, the agent, the clock, and with `all` a job that runs there and
    /// is forgotten. What does not work is in the answer.
    ///
    /// # Errors
    /// When this can be no host.
    pub async fn check(
        self: &Rc<Self>,
        host: &str,
        all: bool,
        asking: Option<&Rc<Asking>>,
    ) -> Result<CheckDoc> {
        let name = spelled(host)?;
        let mut walk = Walk(CheckDoc { host: name.clone(), ok: true, steps: Vec::new(), kind: None });
        self.config.look(&self.paths).await;
        if name != LOCAL
            && let Err(error) = self.check_config(&name, asking, &mut walk).await
        {
            return Ok(walk.fails("config", &error));
        }
        let host = self.host(&name);
        let began = Instant::now();
        let was_up = host.status().is_up();
        if let Err(error) = host.want(asking).await {
            let step = match host.step() {
                Step::Config => "config",
                Step::Login => "login",
                Step::Agent => "agent",
            };
            return Ok(walk.fails(step, &error));
        }
        if name != LOCAL {
            let how = if was_up {
                "there was a link".to_owned()
            } else {
                format!("logged in, {}", ms(began.elapsed()))
            };
            let trip = host.doc().rtt_ms.map(|ms| format!(", round trip {ms:.1} ms")).unwrap_or_default();
            walk.works("login", how + &trip);
        }
        if let Err(error) = check_agent(&host, asking, &mut walk).await {
            return Ok(walk.fails("agent", &error));
        }
        if all && let Err(error) = self.check_job(&name, asking, &mut walk).await {
            return Ok(walk.fails("job", &error));
        }
        Ok(walk.0)
    }

    async fn check_config(&self, name: &str, asking: Option<&Rc<Asking>>, walk: &mut Walk) -> Result<()> {
        let config = self.config.now();
        let destination = Destination::parse(name)?;
        let from = dial::environment(&config, asking.map(Rc::as_ref), &[]).await;
        let resolved = HostConfig::resolve(&destination, &from).await?;
        let transport = config.host_as(name, Some(&resolved.user), Some(resolved.port)).transport;
        let mut what = format!("{}@{} port {}", resolved.user, resolved.hostname, resolved.port);
        for hop in &resolved.jumps {
            what.push_str(&format!(", through {}", hop.name()));
        }
        if resolved.proxy_command.is_some() {
            what.push_str(", through a ProxyCommand");
        }
        if transport == TransportName::Openssh {
            what.push_str(", by the system's ssh");
        }
        walk.works("config", what);
        for hop in resolved.jumps.iter().chain([&resolved]) {
            for sentence in hop.policy.not_honoured(transport == TransportName::Openssh) {
                walk.notes("config", format!("{}: {sentence}", hop.name()), None);
            }
        }
        Ok(())
    }

    /// A job that does nothing goes the way of every job: the shell, the folder, the holder, the scope it is in.
    async fn check_job(
        self: &Rc<Self>,
        name: &str,
        asking: Option<&Rc<Asking>>,
        walk: &mut Walk,
    ) -> Result<()> {
        let began = Instant::now();
        let id = Uuid::now_v7().to_string();
        let create = m::Create {
            host: name.to_owned(),
            command: vec!["true".to_owned()],
            session_id: id.clone(),
            run_for_ms: Some(JOB.as_millis() as u64),
            // Should this manager not live to forget it.
            owned: true,
            ..m::Create::default()
        };
        let made = self.create(create, asking, std::future::pending()).await?;
        let mut notes = made.more.notes;
        let end = loop {
            let now = self.info(&id).await?;
            notes.extend(now.more.notes);
            match now.session.end {
                Some(end) => break end,
                None if began.elapsed() > JOB => {
                    let which = m::Delete { sessions: vec![id], force: true, ..m::Delete::default() };
                    self.delete(which, asking).await?;
                    return Err(Error::failed(
                        format!("a job began and its end was not heard of for {}", ms(JOB)),
                        "look at the agent's log there, in ~/.local/state/sessd-agent",
                    ));
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let took = began.elapsed();
        self.delete(m::Delete { sessions: vec![id], force: true, ..m::Delete::default() }, asking).await?;
        if end.reason != Reason::Exited || end.code != Some(0) {
            return Err(Error::failed(
                format!("`true` did not run there as it should: {}", end.phrase()),
                "run it by hand in a shell of that login",
            ));
        }
        walk.works("job", format!("a shell there ran one, {}", ms(took)));
        notes.sort();
        notes.dedup();
        notes.into_iter().for_each(|note| walk.notes("job", note, None));
        Ok(())
    }
}

async fn check_agent(host: &Host, asking: Option<&Rc<Asking>>, walk: &mut Walk) -> Result<()> {
    let seen = host.probe(asking).await?;
    let there = seen.inventory();
    walk.works("agent", format!("version {}, jobs in {}", there.agent_version, there.folder));
    if there.agent_version != env!("CARGO_PKG_VERSION") {
        walk.notes("agent", format!("this end is version {}", env!("CARGO_PKG_VERSION")), None);
    }
    if !there.complete {
        walk.notes(
            "agent",
            "a folder of jobs there could not be read: jobs in it are not known",
            Some("look at ~/.local/state/sessd-agent there"),
        );
    }
    let off = i64::try_from(there.now_ms).unwrap_or(i64::MAX).saturating_sub(clock::wall_ms());
    if off.abs() > CLOCK_MS {
        let way = if off > 0 { "ahead of" } else { "behind" };
        let off = ms(Duration::from_millis(off.unsigned_abs()));
        walk.notes("clock", format!("its clock is {off} {way} this one's"), Some("set it there, or run ntp"));
    } else {
        walk.works("clock", "as here");
    }
    Ok(())
}

fn ms(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{} ms", time.as_millis()),
        seconds @ 10..7200 => format!("{seconds} s"),
        seconds => format!("{} h", seconds / 3600),
    }
}
