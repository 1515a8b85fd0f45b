//! Events as lines for people.

use super::print;
use super::when::Wall;
use sessd_proto::docs::event::{About, What};
use sessd_proto::docs::names::{HANDLE, handle};
use sessd_proto::docs::{Event, Reap};
use std::collections::BTreeMap;

/// Tags as they are typed; `none` where there are none.
fn tags(tags: &BTreeMap<String, String>) -> String {
    if tags.is_empty() { "none".to_owned() } else { print::typed_tags(tags).join(" ") }
}

fn who(about: &About) -> String {
    about.name.clone().unwrap_or_else(|| handle(&about.id, HANDLE))
}

/// Why a link is what it is, without saying again which link.
fn why(host: &str, detail: &str) -> String {
    for (before, instead) in
        [(format!("the link to {host} was "), "it was "), (format!("{host} is "), "it is ")]
    {
        if let Some(rest) = detail.strip_prefix(&before) {
            return format!("{instead}{rest}");
        }
    }
    detail.to_owned()
}

/// An event as a line.
pub fn line(json: &str, wall: &Wall) -> String {
    let Ok(event) = serde_json::from_str::<Event>(json) else { return json.to_owned() };
    let what = match &event.what {
        What::State { about, end, .. } => {
            let how = end.as_ref().map(|end| format!(" ({})", end.phrase())).unwrap_or_default();
            format!("{} is {}{how}", who(about), about.state)
        }
        What::Name { about, was } => {
            format!("{} is the new name of {}", who(about), was.as_deref().unwrap_or("an anonymous session"))
        }
        What::Tags { about, tags: all } => format!("{} has the tags: {}", who(about), tags(all)),
        What::ViewAttached { about, view } => {
            format!("{} is shown by {} ({})", who(about), view.id, view.kind)
        }
        What::ViewLeft { about, view } => format!("{} is no longer shown by {}", who(about), view.id),
        What::Link { host, link, detail, .. } => {
            let why = detail.as_ref().map(|detail| format!(": {}", why(host, detail)));
            format!("the link to {host} is {link}{}", why.unwrap_or_default())
        }
        What::Reap { about, reap_at: Some(at), reap } => {
            let why = if *reap == Reap::Unattended { "has no view" } else { "is idle" };
            format!("{} {why} and ends {} (--idle-timeout never keeps it)", who(about), wall.relative(at))
        }
        What::Reap { about, reap_at: None, .. } => format!("{} is used again and stays", who(about)),
        What::Activity { about, activity: Some(doing), .. } => {
            let note = doing.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            format!("{} is {}{note}", who(about), doing.state)
        }
        What::Activity { about, activity: None, .. } => {
            format!("{}: what it is doing is not known", who(about))
        }
        What::Notice { about, kind, title, body, .. } => {
            let said: Vec<&str> = [title, body].into_iter().flatten().map(String::as_str).collect();
            let said = if said.is_empty() { kind.clone() } else { said.join(": ") };
            format!("{} says: {said}", who(about))
        }
        What::Manager { state, .. } => format!("the manager is {state}; sessions run on"),
        What::Skipped { count } => format!("{count} events were skipped"),
        What::Created(about) => format!("{} is created on {}", who(about), about.host),
        What::Adopted(about) => format!("{} is adopted", who(about)),
        What::Deleting(about) => format!("{} is being deleted", who(about)),
        What::Deleted(about) => format!("{} is deleted", who(about)),
        What::Forgotten(about) => format!("{} is forgotten", who(about)),
        What::Session { session } => {
            format!("{} is known better", session.name.as_ref().unwrap_or(&session.id))
        }
        What::Unknown => other(json),
    };
    format!("{} {what}", wall.local(&event.at))
}

/// One that a newer manager tells: what it is called, of whom.
fn other(json: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let about: About = serde_json::from_value(event.clone()).unwrap_or_default();
    format!("{} is {}", who(&about), event["event"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_one_line_for_people() {
        let wall = Wall::at(1_800_000_000_000, jiff::tz::TimeZone::UTC);
        for (json, want) in [
            (
                r#"{"event":"state","at":"2027-01-15T08:00:00.123Z","name":"dev","state":"done","end":{"reason":"exited","code":7,"signal":null}}"#,
                "2027-01-15 08:00:00 dev is done (exited 7)",
            ),
            (
                r#"{"event":"state","at":"T","name":"dev","state":"done","end":{"reason":"reaped","code":null,"signal":1}}"#,
                "T dev is done (ended for idleness)",
            ),
            (
                r#"{"event":"link","at":"T","host":"box","link":"down","detail":"pulled"}"#,
                "T the link to box is down: pulled",
            ),
            (
                r#"{"event":"link","at":"T","host":"wifi","link":"down","detail":"the link to wifi was lost (connection reset)"}"#,
                "T the link to wifi is down: it was lost (connection reset)",
            ),
            (
                r#"{"event":"link","at":"T","host":"wifi","link":"down","detail":"wifi is out of reach: no route"}"#,
                "T the link to wifi is down: it is out of reach: no route",
            ),
            (r#"{"event":"tags","at":"T","name":"c1","tags":{"a":"b","c":""}}"#, "T c1 has the tags: a=b c"),
            (r#"{"event":"tags","at":"T","name":"c1","tags":{}}"#, "T c1 has the tags: none"),
            (
                r#"{"event":"reap","at":"T","name":"una","reap":"unattended","reap_at":"2027-01-15T09:00:00Z"}"#,
                "T una has no view and ends in 1h (--idle-timeout never keeps it)",
            ),
            (r#"{"event":"reap","at":"T","name":"una","reap_at":null}"#, "T una is used again and stays"),
            (r#"{"event":"skipped","at":"T","count":3}"#, "T 3 events were skipped"),
            (
                r#"{"event":"deleted","at":"T","name":null,"id":"0193abcd-0000-7000-8000-00000012abef"}"#,
                "T 12abef is deleted",
            ),
            (
                r#"{"event":"activity","at":"T","name":"dev","activity":{"state":"waiting","source":"bell","since":"T","note":null}}"#,
                "T dev is waiting",
            ),
            (
                r#"{"event":"notice","at":"T","name":"dev","kind":"osc9","title":"a","body":null}"#,
                "T dev says: a",
            ),
            (r#"{"event":"adopted","at":"T","name":"dev","host":"box"}"#, "T dev is adopted"),
            (r#"{"event":"melted","at":"T","name":"dev","heat":[1]}"#, "T dev is melted"),
        ] {
            assert_eq!(line(json, &wall), want);
        }
    }
}
