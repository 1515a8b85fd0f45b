//! What `sessd events` prints: every change of state, told by the place that makes it. A subscriber that does not read
//! skips events and is told how many; nobody waits for it.

use crate::event_command::Waiting;
use crate::wire::OutQueue;
use sessd_base::clock;
use sessd_core::Record;
use sessd_proto::Frame;
use sessd_proto::docs::event::{About, What};
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{ActivityDoc, EndDoc, Event, LinkState, Reap, SessionDoc, ViewDoc};
use sessd_proto::messages as m;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Events that are held for who asks for them later, and the bytes of them all.
const PAST_MAX: usize = 5_000;
const PAST_BYTES: usize = 2 << 20;

/// Bytes that may wait for one subscriber.
const WAITING_MAX: usize = 256 * 1024;

#[derive(Debug)]
struct Subscriber {
    out: OutQueue,
    skipped: u64,
    /// It hears of every change of a session's document.
    documents: bool,
}

impl Subscriber {
    fn put(&mut self, json: &str) {
        if self.out.len() > WAITING_MAX {
            self.skipped += 1;
            return;
        }
        self.catch_up();
        self.out.put(0, &Frame::Event(m::Event { json: json.to_owned() }));
    }

    fn catch_up(&mut self) {
        if self.skipped > 0 && self.out.len() <= WAITING_MAX {
            let count = std::mem::take(&mut self.skipped);
            self.out.put(0, &Frame::Event(m::Event { json: now(What::Skipped { count }).json() }));
        }
    }
}

/// What was told, for who asks for it later: the newest, by number and bytes.
#[derive(Debug, Default)]
struct Past {
    told: VecDeque<(i64, String)>,
    bytes: usize,
    /// How many are not held any more.
    gone: u64,
}

impl Past {
    fn put(&mut self, at_ms: i64, json: String) {
        self.bytes += json.len();
        self.told.push_back((at_ms, json));
        while self.told.len() > PAST_MAX || self.bytes > PAST_BYTES {
            let Some((_, json)) = self.told.pop_front() else { return };
            self.bytes -= json.len();
            self.gone += 1;
        }
    }
}

/// Who wants to hear, and what was told.
#[derive(Debug, Default)]
pub struct Events {
    subscribers: RefCell<Vec<Subscriber>>,
    past: RefCell<Past>,
    command: RefCell<Option<Waiting>>,
}

impl Events {
    /// One more hears, from now on until its connection ends, and first of what was since `since_ms`, as far as that is held.
    /// `documents`: and of every change of a session's document, of which nothing is held.
    pub fn subscribe(&self, out: &OutQueue, since_ms: Option<i64>, documents: bool) {
        if self.subscribers.borrow().iter().any(|subscriber| subscriber.out.is(out)) {
            return;
        }
        let mut subscriber = Subscriber { out: out.clone(), skipped: 0, documents };
        if let Some(since_ms) = since_ms {
            let past = self.past.borrow();
            if past.gone > 0 && past.told.front().is_some_and(|(at, _)| since_ms < *at) {
                subscriber.skipped = past.gone;
            }
            past.told.iter().filter(|(at, _)| *at >= since_ms).for_each(|(_, json)| subscriber.put(json));
        }
        self.subscribers.borrow_mut().push(subscriber);
    }

    /// What is told from now on also waits here, for a command of the user's.
    pub(super) fn also_for(&self, waiting: Waiting) {
        *self.command.borrow_mut() = Some(waiting);
    }

    /// Now and then: those who have caught up hear what they missed, and those who left are forgotten.
    pub fn tick(&self) {
        let mut all = self.subscribers.borrow_mut();
        all.retain(|subscriber| !subscriber.out.is_closed());
        all.iter_mut().for_each(Subscriber::catch_up);
    }

    fn tell(&self, what: impl FnOnce() -> What) {
        let event = now(what());
        let json = event.json();
        let mut all = self.subscribers.borrow_mut();
        all.retain(|subscriber| !subscriber.out.is_closed());
        all.iter_mut().for_each(|subscriber| subscriber.put(&json));
        if let Some(waiting) = &*self.command.borrow() {
            waiting.put(&event.what, &json);
        }
        self.past.borrow_mut().put(clock::wall_ms(), json);
    }

    /// Something happened to a whole session: [`What::Created`], [`What::Deleted`], …
    pub fn session(&self, what: fn(About) -> What, record: &Record) {
        self.tell(|| what(about(record)));
    }

    /// Something of a session is another, for who wants all of it.
    pub fn document(&self, session: impl FnOnce() -> SessionDoc) {
        let mut all = self.subscribers.borrow_mut();
        if !all.iter().any(|subscriber| subscriber.documents && !subscriber.out.is_closed()) {
            return;
        }
        let json = now(What::Session { session: Box::new(session()) }).json();
        all.iter_mut().filter(|subscriber| subscriber.documents).for_each(|subscriber| subscriber.put(&json));
    }

    /// A session's record was one thing and is another.
    pub fn changed(&self, was: &Record, is: &Record) {
        if was.state != is.state {
            self.tell(|| What::State {
                about: about(is),
                was: was.state.into(),
                end: is.ended().map(EndDoc::from),
            });
        }
        if was.name != is.name {
            self.tell(|| What::Name { about: about(is), was: was.name.clone() });
        }
        if was.tags != is.tags {
            self.tell(|| What::Tags { about: about(is), tags: is.tags.clone() });
        }
        if is.delete_requested && !was.delete_requested {
            self.session(What::Deleting, is);
        }
    }

    /// A session's views were these and are those.
    pub fn views(&self, record: &Record, were: &[ViewDoc], are: &[ViewDoc]) {
        let missing = |one: &ViewDoc, list: &[ViewDoc]| !list.iter().any(|v| v.id == one.id);
        for view in were.iter().filter(|v| missing(v, are)) {
            self.tell(|| What::ViewLeft { about: about(record), view: view.clone() });
        }
        for view in are.iter().filter(|v| missing(v, were)) {
            self.tell(|| What::ViewAttached { about: about(record), view: view.clone() });
        }
    }

    /// A session was about to be ended for idleness then, and is now; `None`: it was not, or is not.
    pub fn reaping(&self, record: &Record, was_ms: Option<u64>, is_ms: Option<u64>) {
        // The time itself is told anew with every status, by a clock that is not ours: that it stands is the news.
        if was_ms.is_some() != is_ms.is_some() {
            self.tell(|| What::Reap {
                about: about(record),
                reap_at: is_ms.map(|ms| rfc3339(i64::try_from(ms).unwrap_or(i64::MAX))),
                reap: Reap::of(record.reap_unattended).into(),
            });
        }
    }

    /// A job was doing this and is doing that; `None`: it is not known.
    pub fn activity(&self, record: &Record, was: Option<&m::ViewDoing>, is: Option<&m::ViewDoing>) {
        let same = |a: &m::ViewDoing, b: &m::ViewDoing| {
            (&a.state, &a.source, &a.note) == (&b.state, &b.source, &b.note)
        };
        if was.zip(is).is_some_and(|(was, is)| same(was, is)) {
            return;
        }
        self.tell(|| What::Activity {
            about: about(record),
            activity: is.map(ActivityDoc::from),
            was: was.map(|was| was.state.clone()),
        });
    }

    /// A job says something to people.
    pub fn notice(&self, record: &Record, notice: &m::Notice) {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.tell(|| What::Notice {
            about: about(record),
            kind: notice.kind.clone(),
            title: said(&notice.title),
            body: said(&notice.body),
            seconds_ago: notice.age_ms / 1000,
        });
    }

    /// The manager is about to stop: sessions run on.
    pub fn manager_stops(&self) {
        self.tell(|| What::Manager { state: "stopping".to_owned(), pid: std::process::id() });
    }

    /// A host's link was one thing and is another.
    pub fn link(&self, host: &str, was: LinkState, is: LinkState, why: Option<&str>) {
        if was != is {
            self.tell(|| What::Link {
                host: host.to_owned(),
                link: is.into(),
                was: was.into(),
                detail: why.map(str::to_owned),
            });
        }
    }
}

fn now(what: What) -> Event {
    Event { at: rfc3339(clock::wall_ms()), what }
}

fn about(record: &Record) -> About {
    About {
        id: record.id.to_string(),
        name: record.name.clone(),
        host: record.host.clone(),
        state: record.state.into(),
        job_id: record.job_id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_subscriber_that_does_not_read_skips_and_is_told_how_many() {
        let (events, out) = (Events::default(), OutQueue::new());
        events.subscribe(&out, None, false);
        let mut heard = 0;
        while out.len() <= WAITING_MAX {
            events.link("box", LinkState::Up, LinkState::Down, Some("pulled"));
            heard += 1;
        }
        for _ in 0..7 {
            events.link("box", LinkState::Up, LinkState::Down, None);
        }
        let full = out.len();
        assert!(heard > 100 && full < WAITING_MAX + 1000);
        out.with(Vec::clear);
        events.tick();
        let mut bytes = Vec::new();
        out.with(|waiting| bytes = std::mem::take(waiting));
        let mut decoder = sessd_proto::Decoder::new();
        decoder.push(&bytes);
        let frame = decoder.next_frame().unwrap().unwrap();
        let Ok(Frame::Event(event)) = frame.parse() else { panic!("an event") };
        assert!(
            event.json.contains(r#""event":"skipped""#) && event.json.contains(r#""count":7"#),
            "{}",
            event.json
        );
    }

    #[test]
    fn only_who_asked_for_documents_hears_of_every_change_of_one() {
        let (events, few, all) = (Events::default(), OutQueue::new(), OutQueue::new());
        let document = || -> SessionDoc {
            serde_json::from_value(json!({
                "id": "i", "name": null, "host": "box", "state": "running", "end": null, "tags": {}, "command": [], "cwd": null,
                "foreground": "vim", "title": null, "size": null, "views": [], "created_at": "", "last_active_at": null,
                "idle_seconds": null, "idle_timeout_seconds": null, "reap_at": null, "link": "up", "job_id": "", "agent_version": null
            }))
            .unwrap()
        };
        events.subscribe(&few, None, false);
        events.document(|| panic!("nobody wants one"));
        events.subscribe(&all, None, true);
        events.document(document);
        assert!(few.is_empty() && !all.is_empty());
        assert_eq!(events.past.borrow().told.len(), 0, "none is held for later");
    }

    #[test]
    fn the_warning_before_an_end_for_idleness_is_told_once_and_taken_back() {
        let (events, out) = (Events::default(), OutQueue::new());
        events.subscribe(&out, None, false);
        let spec = sessd_proto::messages::JobSpec {
            job_id: sessd_proto::Uuid::from_u128(1).to_string(),
            session_id: sessd_proto::Uuid::from_u128(2).to_string(),
            ..Default::default()
        };
        let record = sessd_core::adopt::record(&spec, "box", String::new(), Some("dev".into()), 9).unwrap();
        let mut was = None;
        for is in [None, Some(2_000), Some(2_001), None, None] {
            events.reaping(&record, was, is);
            was = is;
        }
        let mut bytes = Vec::new();
        out.with(|waiting| bytes = std::mem::take(waiting));
        let mut decoder = sessd_proto::Decoder::new();
        decoder.push(&bytes);
        let mut told = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            let Ok(Frame::Event(event)) = frame.parse() else { panic!("an event") };
            let json: Value = serde_json::from_str(&event.json).unwrap();
            told.push((json["event"].clone(), json["name"].clone(), json["reap_at"].clone()));
        }
        let one = |at: Value| (json!("reap"), json!("dev"), at);
        assert_eq!(told, [one(json!("1970-01-01T00:00:02.000Z")), one(Value::Null)]);
    }
}
