//! What `sessd events` prints: every change of state, told by the place that makes it. A subscriber that does not read
//! skips events and is told how many; nobody waits for it.

use crate::clock;
use crate::manager::doc::{self, ViewDoc};
use crate::wire::OutQueue;
use serde_json::{Value, json};
use sessd_core::Record;
use sessd_proto::Frame;
use sessd_proto::messages::{self as m, Event};
use std::cell::RefCell;

/// Bytes that may wait for one subscriber.
const WAITING_MAX: usize = 256 * 1024;

#[derive(Debug)]
struct Subscriber {
    out: OutQueue,
    skipped: u64,
}

impl Subscriber {
    fn put(&mut self, json: &Value) {
        if self.out.len() > WAITING_MAX {
            self.skipped += 1;
            return;
        }
        self.catch_up();
        let json = sessd_core::text::json(&json.to_string()).into_owned();
        self.out.put(0, &Frame::Event(Event { json }));
    }

    fn catch_up(&mut self) {
        if self.skipped > 0 && self.out.len() <= WAITING_MAX {
            let count = std::mem::take(&mut self.skipped);
            let event = json!({"event": "skipped", "at": clock::rfc3339(clock::wall_ms()), "count": count});
            self.out.put(0, &Frame::Event(Event { json: event.to_string() }));
        }
    }
}

/// Who wants to hear.
#[derive(Debug, Default)]
pub struct Events(RefCell<Vec<Subscriber>>);

impl Events {
    /// One more hears, from now on until its connection ends.
    pub fn subscribe(&self, out: &OutQueue) {
        if self.0.borrow().iter().any(|subscriber| subscriber.out.is(out)) {
            return;
        }
        self.0.borrow_mut().push(Subscriber { out: out.clone(), skipped: 0 });
    }

    /// Now and then: those who have caught up hear what they missed, and those who left are forgotten.
    pub fn tick(&self) {
        let mut all = self.0.borrow_mut();
        all.retain(|subscriber| !subscriber.out.is_closed());
        all.iter_mut().for_each(Subscriber::catch_up);
    }

    fn tell(&self, event: &str, rest: impl FnOnce() -> Value) {
        let mut all = self.0.borrow_mut();
        all.retain(|subscriber| !subscriber.out.is_closed());
        if all.is_empty() {
            return;
        }
        let mut json = json!({"event": event, "at": clock::rfc3339(clock::wall_ms())});
        if let (Some(object), Value::Object(rest)) = (json.as_object_mut(), rest()) {
            object.extend(rest);
        }
        all.iter_mut().for_each(|subscriber| subscriber.put(&json));
    }

    /// Something happened to a whole session: `created`, `adopted`, `deleted`, `forgotten`.
    pub fn session(&self, event: &str, record: &Record) {
        self.tell(event, || about(record));
    }

    /// A session's record was one thing and is another.
    pub fn changed(&self, was: &Record, is: &Record) {
        if was.state != is.state {
            self.tell("state", || {
                let mut json = about(is);
                json["was"] = was.state.word().into();
                json["end"] = json!(is.ended().map(doc::end_doc));
                json
            });
        }
        if was.name != is.name {
            self.tell("name", || with(about(is), "was", json!(was.name)));
        }
        if was.tags != is.tags {
            self.tell("tags", || with(about(is), "tags", json!(is.tags)));
        }
        if is.delete_requested && !was.delete_requested {
            self.tell("deleting", || about(is));
        }
    }

    /// A session's views were these and are those.
    pub fn views(&self, record: &Record, were: &[ViewDoc], are: &[ViewDoc]) {
        let missing = |one: &ViewDoc, list: &[ViewDoc]| !list.iter().any(|v| v.id == one.id);
        for view in were.iter().filter(|v| missing(v, are)) {
            self.tell("view-left", || with(about(record), "view", json!(view)));
        }
        for view in are.iter().filter(|v| missing(v, were)) {
            self.tell("view-attached", || with(about(record), "view", json!(view)));
        }
    }

    /// A session was about to be ended for idleness then, and is now; `None`: it was not, or is not.
    pub fn reaping(&self, record: &Record, was_ms: Option<u64>, is_ms: Option<u64>) {
        // The time itself is told anew with every status, by a clock that is not ours: that it stands is the news.
        if was_ms.is_some() != is_ms.is_some() {
            let at = is_ms.map(|ms| clock::rfc3339(i64::try_from(ms).unwrap_or(i64::MAX)));
            let rule = if record.reap_unattended { "unattended" } else { "idle" };
            self.tell("reap", || with(with(about(record), "reap_at", json!(at)), "reap", rule.into()));
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
        self.tell("activity", || {
            let json = with(about(record), "activity", json!(is.map(doc::ActivityDoc::from)));
            with(json, "was", json!(was.map(|was| was.state.as_str())))
        });
    }

    /// A job says something to people.
    pub fn notice(&self, record: &Record, notice: &m::Notice) {
        self.tell("notice", || {
            let json = with(about(record), "kind", notice.kind.as_str().into());
            let said = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
            let json = with(json, "title", said(&notice.title));
            let json = with(json, "body", said(&notice.body));
            with(json, "seconds_ago", (notice.age_ms / 1000).into())
        });
    }

    /// The manager begins, or stops: sessions run on either way.
    pub fn manager(&self, state: &str) {
        self.tell("manager", || json!({"state": state, "pid": std::process::id()}));
    }

    /// A host's link was one thing and is another.
    pub fn link(&self, host: &str, was: &str, is: &str, why: Option<&str>) {
        if was != is {
            self.tell("link", || json!({"host": host, "link": is, "was": was, "detail": why}));
        }
    }
}

fn with(mut json: Value, key: &str, value: Value) -> Value {
    json[key] = value;
    json
}

fn about(record: &Record) -> Value {
    json!({
        "id": record.id.to_string(),
        "name": record.name,
        "host": record.host,
        "state": record.state.word(),
        "job_id": record.job_id.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_that_does_not_read_skips_and_is_told_how_many() {
        let (events, out) = (Events::default(), OutQueue::new());
        events.subscribe(&out);
        let mut heard = 0;
        while out.len() <= WAITING_MAX {
            events.link("box", "up", "down", Some("pulled"));
            heard += 1;
        }
        for _ in 0..7 {
            events.link("box", "up", "down", None);
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
    fn the_warning_before_an_end_for_idleness_is_told_once_and_taken_back() {
        let (events, out) = (Events::default(), OutQueue::new());
        events.subscribe(&out);
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
