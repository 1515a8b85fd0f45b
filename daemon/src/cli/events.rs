//! Events as lines for people.

use super::when::Wall;
use serde_json::Value;
use sessd_core::names::{HANDLE, handle};
use sessd_core::words;

/// Tags as they are typed; `none` where there are none.
fn tags(tags: &Value) -> String {
    let one = |(key, value): (&String, &Value)| match value.as_str() {
        Some(value) if !value.is_empty() => format!("{key}={value}"),
        _ => key.clone(),
    };
    let words: Vec<String> = tags.as_object().into_iter().flatten().map(one).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
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
    let event: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let who = if event["name"].is_string() { text("name") } else { handle(&text("id"), HANDLE) };
    let view = |key: &str| event["view"][key].as_str().unwrap_or_default().to_owned();
    let what = match event["event"].as_str().unwrap_or_default() {
        "state" => {
            let end = &event["end"];
            let number = |key: &str| end[key].as_i64().and_then(|n| i32::try_from(n).ok());
            let how =
                end["reason"].as_str().map(|reason| words::end(reason, number("code"), number("signal")));
            let how = how.map(|how| format!(" ({how})")).unwrap_or_default();
            format!("{who} is {}{how}", text("state"))
        }
        "name" => {
            format!("{who} is the new name of {}", event["was"].as_str().unwrap_or("an anonymous session"))
        }
        "tags" => format!("{who} has the tags: {}", tags(&event["tags"])),
        "view-attached" => format!("{who} is shown by {} ({})", view("id"), view("kind")),
        "view-left" => format!("{who} is no longer shown by {}", view("id")),
        "link" => {
            let host = text("host");
            let why = event["detail"].as_str().map(|detail| format!(": {}", why(&host, detail)));
            format!("the link to {host} is {}{}", text("link"), why.unwrap_or_default())
        }
        "reap" => match event["reap_at"].as_str() {
            Some(at) => {
                let why = if event["reap"] == "unattended" { "has no view" } else { "is idle" };
                format!("{who} {why} and ends {} (--idle-timeout never keeps it)", wall.relative(at))
            }
            None => format!("{who} is used again and stays"),
        },
        "manager" => format!("the manager is {}; sessions run on", text("state")),
        "skipped" => format!("{} events were skipped", event["count"]),
        "created" => format!("{who} is created on {}", text("host")),
        "deleting" => format!("{who} is being deleted"),
        other => format!("{who} is {other}"),
    };
    format!("{} {what}", wall.local(&text("at")))
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
        ] {
            assert_eq!(line(json, &wall), want);
        }
    }
}
