//! What `sessd events` prints: every change of state, told by the place that makes it. A subscriber that does not read
//! skips events and is told how many; nobody waits for it.

use crate::clock;
use crate::manager::doc::{self, ViewDoc};
use crate::wire::OutQueue;
use serde_json::{Value, json};
use sessd_core::Record;
use sessd_proto::Frame;
use sessd_proto::messages::Event;
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
        self.out.put(0, &Frame::Event(Event { json: json.to_string() }));
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

/// An event as a line for people.
pub fn line(json: &str) -> String {
    let event: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let who = if event["name"].is_string() { text("name") } else { text("id").chars().take(13).collect() };
    let what = match event["event"].as_str().unwrap_or_default() {
        "state" => {
            let end = &event["end"];
            // How it ended by its reason: one that was reaped ended by a signal, too.
            let how = match (end["reason"].as_str(), end["code"].as_i64(), end["signal"].as_i64()) {
                (Some("exited"), Some(code), _) => format!(" (exited {code})"),
                (Some("signaled"), _, Some(signal)) => format!(" (killed by signal {signal})"),
                (reason, ..) => reason.map(|reason| format!(" ({reason})")).unwrap_or_default(),
            };
            format!("{who} is {}{how}", text("state"))
        }
        "name" => {
            format!("{who} is the new name of {}", event["was"].as_str().unwrap_or("an anonymous session"))
        }
        "tags" => format!("{who} has the tags {}", event["tags"]),
        "view-attached" => format!(
            "{who} is shown by {} ({})",
            event["view"]["id"].as_str().unwrap_or_default(),
            event["view"]["kind"].as_str().unwrap_or_default()
        ),
        "view-left" => {
            format!("{who} is no longer shown by {}", event["view"]["id"].as_str().unwrap_or_default())
        }
        "link" => {
            let why = event["detail"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("the link to {} is {}{why}", text("host"), text("link"))
        }
        "skipped" => format!("{} events were skipped", event["count"]),
        "created" => format!("{who} is created on {}", text("host")),
        "deleting" => format!("{who} is being deleted"),
        other => format!("{who} is {other}"),
    };
    format!("{} {what}", text("at"))
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
    fn every_event_is_one_line_for_people() {
        for (json, want) in [
            (
                r#"{"event":"state","at":"T","name":"dev","state":"done","end":{"reason":"exited","code":7,"signal":null}}"#,
                "T dev is done (exited 7)",
            ),
            (
                r#"{"event":"link","at":"T","host":"box","link":"down","detail":"pulled"}"#,
                "T the link to box is down (pulled)",
            ),
            (r#"{"event":"skipped","at":"T","count":3}"#, "T 3 events were skipped"),
            (
                r#"{"event":"deleted","at":"T","name":null,"id":"0193abcd-0000-7000-8000-000000000000"}"#,
                "T 0193abcd-0000 is deleted",
            ),
        ] {
            assert_eq!(line(json), want);
        }
    }
}
