//! What `sessd events` says: every change of state, one document each.

use super::end::EndDoc;
use super::session::{ActivityDoc, SessionDoc, ViewDoc};
use super::word::{LinkState, Reap, State, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was, RFC 3339.
    #[serde(default)]
    pub at: String,
    /// What has changed.
    #[serde(flatten)]
    pub what: What,
}

/// The session an event is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its id.
    pub id: String,
    /// Its name; null: anonymous.
    pub name: Option<String>,
    /// Its host.
    pub host: String,
    /// Where it stands.
    pub state: Word<State>,
    /// Its job.
    pub job_id: String,
}

/// What has changed, told apart by the document's `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A session was made.
    Created(About),
    /// A record was made of a job that another manager had made.
    Adopted(About),
    /// A session is to go.
    Deleting(About),
    /// A session is gone.
    Deleted(About),
    /// The record of an ended session went with its time.
    Forgotten(About),
    /// A session stands elsewhere.
    State {
        /// Which, and where it stands now.
        #[serde(flatten)]
        about: About,
        /// Where it stood.
        #[serde(default)]
        was: Word<State>,
        /// How it ended, once it has.
        #[serde(default)]
        end: Option<EndDoc>,
    },
    /// A session has another name.
    Name {
        /// Which, and its name now.
        #[serde(flatten)]
        about: About,
        /// The name before; null: it had none.
        #[serde(default)]
        was: Option<String>,
    },
    /// A session has other tags.
    Tags {
        /// Which.
        #[serde(flatten)]
        about: About,
        /// All it has now.
        #[serde(default)]
        tags: BTreeMap<String, String>,
    },
    /// Somebody looks at a session.
    ViewAttached {
        /// Which.
        #[serde(flatten)]
        about: About,
        /// Who.
        #[serde(default)]
        view: ViewDoc,
    },
    /// Somebody looks no more.
    ViewLeft {
        /// Which.
        #[serde(flatten)]
        about: About,
        /// Who.
        #[serde(default)]
        view: ViewDoc,
    },
    /// A session is about to be ended for idleness, or is not any more.
    Reap {
        /// Which.
        #[serde(flatten)]
        about: About,
        /// When it ends, RFC 3339; null: it stays.
        #[serde(default)]
        reap_at: Option<String>,
        /// By which rule.
        #[serde(default)]
        reap: Word<Reap>,
    },
    /// A job is doing something else.
    Activity {
        /// Of which session.
        #[serde(flatten)]
        about: About,
        /// What; null: that is not known.
        #[serde(default)]
        activity: Option<ActivityDoc>,
        /// What it was doing, in one word.
        #[serde(default)]
        was: Option<String>,
    },
    /// A session's document is another. Only for who asked for documents: it comes with much that is no change of state.
    Session {
        /// All that is known of it.
        session: Box<SessionDoc>,
    },
    /// A job says something to people.
    Notice {
        /// Of which session.
        #[serde(flatten)]
        about: About,
        /// How it is said.
        #[serde(default)]
        kind: String,
        /// In one line.
        #[serde(default)]
        title: Option<String>,
        /// The whole of it.
        #[serde(default)]
        body: Option<String>,
        /// How long ago it was.
        #[serde(default)]
        seconds_ago: u64,
    },
    /// The manager is about to stop; sessions run on either way.
    Manager {
        /// `stopping`.
        #[serde(default)]
        state: String,
        /// Its process.
        #[serde(default)]
        pid: u32,
    },
    /// The link to a host stands elsewhere.
    Link {
        /// The host.
        #[serde(default)]
        host: String,
        /// Where it stands now.
        #[serde(default)]
        link: Word<LinkState>,
        /// Where it stood.
        #[serde(default)]
        was: Word<LinkState>,
        /// Why, one sentence.
        #[serde(default)]
        detail: Option<String>,
    },
    /// Whoever listens did not read, and missed some.
    Skipped {
        /// How many.
        #[serde(default)]
        count: u64,
    },
    /// One of a newer version.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The document, on one line, in which nothing acts on the terminal it is printed to.
    pub fn json(&self) -> String {
        super::sorted_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::word::Reason;

    fn about() -> About {
        About {
            id: "i".into(),
            name: Some("dev".into()),
            host: "box".into(),
            state: State::Running.into(),
            job_id: "j".into(),
        }
    }

    /// Scripts read these: what is there stays as it is, byte by byte.
    #[test]
    fn every_event_is_written_as_ever_and_comes_back() {
        let view =
            ViewDoc { id: "v".into(), kind: "cli".into(), attached_at: "T".into(), ..ViewDoc::default() };
        let end = EndDoc {
            reason: Reason::Exited.into(),
            code: Some(7),
            signal: None,
            at: "T".into(),
            detail: None,
        };
        let tags = BTreeMap::from([("a".to_owned(), "b\u{202e}".to_owned())]);
        let same = r#""host":"box","id":"i","job_id":"j","name":"dev""#;
        for (what, want) in [
            (What::Created(about()), format!(r#"{{"at":"T","event":"created",{same},"state":"running"}}"#)),
            (What::Adopted(about()), format!(r#"{{"at":"T","event":"adopted",{same},"state":"running"}}"#)),
            (What::Deleting(about()), format!(r#"{{"at":"T","event":"deleting",{same},"state":"running"}}"#)),
            (What::Deleted(about()), format!(r#"{{"at":"T","event":"deleted",{same},"state":"running"}}"#)),
            (
                What::Forgotten(about()),
                format!(r#"{{"at":"T","event":"forgotten",{same},"state":"running"}}"#),
            ),
            (
                What::State { about: about(), was: State::Init.into(), end: None },
                format!(r#"{{"at":"T","end":null,"event":"state",{same},"state":"running","was":"init"}}"#),
            ),
            (
                What::State { about: about(), was: State::Init.into(), end: Some(end) },
                format!(
                    r#"{{"at":"T","end":{{"at":"T","code":7,"detail":null,"reason":"exited","signal":null}},"event":"state",{same},"state":"running","was":"init"}}"#
                ),
            ),
            (
                What::Name { about: about(), was: None },
                format!(r#"{{"at":"T","event":"name",{same},"state":"running","was":null}}"#),
            ),
            (
                What::Tags { about: about(), tags },
                format!(r#"{{"at":"T","event":"tags",{same},"state":"running","tags":{{"a":"b\u202e"}}}}"#),
            ),
            (
                What::ViewAttached { about: about(), view: view.clone() },
                format!(
                    r#"{{"at":"T","event":"view-attached",{same},"state":"running","view":{{"attached_at":"T","from":null,"id":"v","kind":"cli","leads":false,"read_only":false,"size":null,"sizes":false}}}}"#
                ),
            ),
            (
                What::ViewLeft { about: about(), view },
                format!(
                    r#"{{"at":"T","event":"view-left",{same},"state":"running","view":{{"attached_at":"T","from":null,"id":"v","kind":"cli","leads":false,"read_only":false,"size":null,"sizes":false}}}}"#
                ),
            ),
            (
                What::Reap { about: about(), reap_at: Some("R".into()), reap: Reap::Idle.into() },
                format!(
                    r#"{{"at":"T","event":"reap",{same},"reap":"idle","reap_at":"R","state":"running"}}"#
                ),
            ),
            (
                What::Activity {
                    about: about(),
                    activity: Some(ActivityDoc {
                        state: "waiting".into(),
                        source: "bell".into(),
                        since: "T".into(),
                        note: None,
                    }),
                    was: Some("working".into()),
                },
                format!(
                    r#"{{"activity":{{"note":null,"since":"T","source":"bell","state":"waiting"}},"at":"T","event":"activity",{same},"state":"running","was":"working"}}"#
                ),
            ),
            (
                What::Notice {
                    about: about(),
                    kind: "bell".into(),
                    title: None,
                    body: Some("b".into()),
                    seconds_ago: 3,
                },
                r#"{"at":"T","body":"b","event":"notice","host":"box","id":"i","job_id":"j","kind":"bell","name":"dev","seconds_ago":3,"state":"running","title":null}"#
                    .to_owned(),
            ),
            (
                What::Manager { state: "stopping".into(), pid: 7 },
                r#"{"at":"T","event":"manager","pid":7,"state":"stopping"}"#.to_owned(),
            ),
            (
                What::Link {
                    host: "box".into(),
                    link: LinkState::Down.into(),
                    was: LinkState::Up.into(),
                    detail: Some("pulled".into()),
                },
                r#"{"at":"T","detail":"pulled","event":"link","host":"box","link":"down","was":"up"}"#
                    .to_owned(),
            ),
            (What::Skipped { count: 3 }, r#"{"at":"T","count":3,"event":"skipped"}"#.to_owned()),
        ] {
            let event = Event { at: "T".into(), what };
            assert_eq!(event.json(), want);
            assert_eq!(serde_json::from_str::<Event>(&want).unwrap(), event, "{want}");
        }
    }

    #[test]
    fn a_document_that_is_told_comes_back_whole() {
        let json = concat!(
            r#"{"id":"i","name":null,"host":"box","state":"running","end":null,"tags":{},"command":["sh"],"cwd":null,"#,
            r#""foreground":"vim","title":null,"size":null,"views":[],"created_at":"T","last_active_at":null,"#,
            r#""idle_seconds":null,"idle_timeout_seconds":null,"reap_at":null,"link":"up","job_id":"j","agent_version":null}"#
        );
        let session: Box<SessionDoc> = serde_json::from_str(json).unwrap();
        let event = Event { at: "T".into(), what: What::Session { session } };
        assert!(event.json().contains(r#""event":"session""#), "{}", event.json());
        assert_eq!(serde_json::from_str::<Event>(&event.json()).unwrap(), event);
    }

    #[test]
    fn an_event_of_another_version_is_read_as_far_as_it_is_known() {
        let read = |json| serde_json::from_str::<Event>(json).unwrap().what;
        assert_eq!(read(r#"{"event":"melted","at":"T","id":"i"}"#), What::Unknown);
        assert_eq!(read(r#"{"event":"skipped","at":"T","count":3,"more":[1]}"#), What::Skipped { count: 3 });
        let What::Reap { about, reap_at, reap } = read(r#"{"event":"reap","name":"una","reap_at":null}"#)
        else {
            panic!("a reap")
        };
        assert_eq!((about.name.as_deref(), reap_at, reap.known()), (Some("una"), None, None));
    }
}
