//! What a host says is data. Every text in a frame of a host passes here, where the frame is read, before anything else
//! sees it: nothing in it acts on a person's terminal, and there is no more of it than people can use.
//!
//! What is only used on that host again (a socket's path, a screen, the variables of a job) stays as it came.

use sessd_proto::Frame;
use sessd_proto::docs::text::{clean, stripped};
use sessd_proto::messages as m;

/// Characters of a sentence.
const SENTENCE: usize = 300;
/// Characters of an id, a version or a machine's name.
const WORD: usize = 128;
/// Folders in which a user's jobs may lie.
const PLACES: usize = 256;
/// Warnings, or managers, of one job.
const ITEMS: usize = 16;

fn sentence(text: &mut String) {
    *text = clean(text, SENTENCE);
}

fn word(text: &mut String) {
    *text = clean(text, WORD);
}

/// Kept as it is but for what acts: it is compared, or used again.
fn data(text: &mut String, lines: bool) {
    *text = stripped(std::mem::take(text), lines);
}

fn sentences(texts: &mut Vec<String>) {
    texts.truncate(ITEMS);
    texts.iter_mut().for_each(sentence);
    texts.retain(|text| !text.is_empty());
}

/// The words of a job, which may be given to it again.
fn spec(spec: &mut m::JobSpec) {
    let m::JobSpec { job_id, session_id, name, tags, command, cwd, host, manager_id, .. } = spec;
    for text in [job_id, session_id, host, manager_id] {
        word(text);
    }
    data(name, false);
    *tags = std::mem::take(tags).into_iter().map(|(k, v)| (stripped(k, false), stripped(v, false))).collect();
    command.iter_mut().for_each(|text| data(text, true));
    data(cwd, false);
}

/// A job's last word.
fn exit(exit: &mut m::ExitRecord) {
    sentence(&mut exit.detail);
}

fn status(status: &mut m::JobStatus) {
    let m::JobStatus { title, cwd, foreground, agent_version, command, managers, warnings, activity, .. } =
        status;
    *title = clean(title, 256);
    *cwd = clean(cwd, 1024);
    *foreground = clean(foreground, 64);
    *agent_version = clean(agent_version, 32);
    command.iter_mut().for_each(|text| *text = clean(text, 256));
    managers.truncate(4 * ITEMS);
    managers.iter_mut().for_each(word);
    sentences(warnings);
    if let Some(activity) = activity {
        word(&mut activity.source);
        sentence(&mut activity.note);
    }
}

fn report(report: &mut m::JobReport) {
    let m::JobReport { spec: job, exit: end, detail, boot_id, managers, folder, .. } = report;
    job.iter_mut().for_each(spec);
    end.iter_mut().for_each(exit);
    sentence(detail);
    data(boot_id, false);
    data(folder, false);
    managers.truncate(4 * ITEMS);
    managers.iter_mut().for_each(word);
}

fn answer(answer: &mut m::LinkAnswer) {
    match answer {
        m::LinkAnswer::Spawned(spawned) => {
            sentences(&mut spawned.warnings);
            data(&mut spawned.folder, false);
        }
        m::LinkAnswer::Refused(refused) => sentence(&mut refused.detail),
        m::LinkAnswer::Inventory(inventory) => {
            let m::Inventory { boot_id, machine_id, agent_version, folder, jobs, places, .. } = inventory;
            for text in [boot_id, machine_id, folder] {
                data(text, false);
            }
            word(agent_version);
            places.truncate(PLACES);
            places.iter_mut().for_each(|place| data(place, false));
            jobs.iter_mut().for_each(report);
        }
        m::LinkAnswer::Done(_) | m::LinkAnswer::Screen(_) => {}
    }
}

/// A frame of a host as the manager may use it.
pub fn frame(mut frame: Frame<'_>) -> Frame<'_> {
    match &mut frame {
        Frame::Hello(hello) => {
            word(&mut hello.version);
            word(&mut hello.build);
        }
        Frame::Close(close) => sentence(&mut close.detail),
        Frame::LinkReply(reply) => reply.answer.iter_mut().for_each(answer),
        Frame::Status(told) => status(told),
        Frame::Exited(end) => exit(end),
        Frame::Sent(sent) => sentence(&mut sent.detail),
        Frame::Notice(notice) => {
            word(&mut notice.kind);
            sentence(&mut notice.title);
            sentence(&mut notice.body);
        }
        Frame::Forwarded(told) => {
            told.listeners.iter_mut().for_each(|is| sentence(&mut is.error));
            for m::JobPort { address, program, .. } in &mut told.ports {
                word(address);
                word(program);
            }
        }
        Frame::ChannelClose(close) => sentence(&mut close.detail),
        // What a host may not ask for by any word.
        Frame::ChannelOpen(open) => (open.host, open.path) = (String::new(), String::new()),
        Frame::ChannelSync(sync) => sync.manager_id = String::new(),
        // No words in these.
        Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::Unsupported(_)
        | Frame::Output { .. }
        | Frame::Snapshot { .. }
        | Frame::Range { .. }
        | Frame::Credit(_)
        | Frame::Input { .. }
        | Frame::InputAck { .. }
        | Frame::Withdrawn { .. }
        | Frame::Echoed { .. }
        | Frame::Unsubscribe(_)
        | Frame::ReadRange(_)
        | Frame::Resize(_)
        | Frame::Traits(_)
        | Frame::End(_)
        | Frame::ExitAck(_)
        | Frame::Subscribe(_)
        | Frame::ChannelOpened(_)
        | Frame::ChannelData { .. }
        | Frame::ChannelEnd { .. }
        | Frame::ChannelCredit { .. }
        | Frame::Unknown(_) => {}
        // Not said by a host; who takes one all the same must clean it here first.
        _ => return Frame::Unknown(sessd_proto::frame::IGNORABLE),
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sessd_proto::docs::text::is_hidden;

    #[test]
    fn what_a_holder_says_without_words_passes_as_it_came() {
        let view = sessd_proto::Uuid::from_u128(1);
        for said in [
            Frame::InputAck { view, seq: 3 },
            Frame::Withdrawn { view, from: 3, to: 9 },
            Frame::Echoed { view, seq: 3, offset: 9, echo: true, lines: false },
            Frame::Range { offset: 5, more: true, expired: false, bytes: b"x" },
        ] {
            assert_eq!(frame(said.clone()), said);
        }
    }

    fn hostile_spec(bad: &str) -> m::JobSpec {
        m::JobSpec {
            job_id: bad.into(),
            session_id: bad.into(),
            name: bad.into(),
            tags: [(bad.to_owned(), bad.to_owned())].into(),
            command: vec![bad.into(), bad.into()],
            cwd: bad.into(),
            host: bad.into(),
            manager_id: bad.into(),
            ..m::JobSpec::default()
        }
    }

    /// Every frame with words that a host may send, with `bad` for each.
    fn hostile(bad: &str) -> Vec<Frame<'static>> {
        let many = || vec![bad.to_owned(); 2];
        let end = || m::ExitRecord { detail: bad.into(), ..m::ExitRecord::default() };
        let reply =
            |answer| Frame::LinkReply(m::LinkReply { answer: Some(answer), ..m::LinkReply::default() });
        vec![
            Frame::Hello(m::Hello { version: bad.into(), build: bad.into(), ..m::Hello::default() }),
            Frame::Close(m::Close { detail: bad.into(), ..m::Close::default() }),
            Frame::Status(m::JobStatus {
                title: bad.into(),
                cwd: bad.into(),
                foreground: bad.into(),
                agent_version: bad.into(),
                command: many(),
                managers: many(),
                warnings: many(),
                ..m::JobStatus::default()
            }),
            Frame::Exited(end()),
            Frame::Forwarded(m::Forwarded {
                listeners: vec![m::Listening { error: bad.into(), ..m::Listening::default() }],
                ports: vec![m::JobPort { port: 1, address: bad.into(), program: bad.into() }],
            }),
            Frame::ChannelClose(m::ChannelClose { detail: bad.into(), ..m::ChannelClose::default() }),
            reply(m::LinkAnswer::Spawned(m::Spawned {
                warnings: many(),
                folder: bad.into(),
                ..m::Spawned::default()
            })),
            reply(m::LinkAnswer::Refused(m::Refused { detail: bad.into(), ..m::Refused::default() })),
            reply(m::LinkAnswer::Inventory(m::Inventory {
                boot_id: bad.into(),
                machine_id: bad.into(),
                agent_version: bad.into(),
                folder: bad.into(),
                jobs: vec![m::JobReport {
                    spec: Some(hostile_spec(bad)),
                    exit: Some(end()),
                    boot_id: bad.into(),
                    detail: bad.into(),
                    managers: many(),
                    folder: bad.into(),
                    ..m::JobReport::default()
                }],
                places: many(),
                ..m::Inventory::default()
            })),
        ]
    }

    fn words(frame: Frame<'_>) -> String {
        // A debug print escapes; the bytes on the wire do not.
        String::from_utf8_lossy(&frame.to_bytes(0)[8..]).chars().filter(|c| !c.is_ascii_control()).collect()
    }

    proptest! {
        #[test]
        fn no_word_of_a_host_acts(plain in "[a-z ]{0,20}", hidden in prop::collection::vec(any::<char>().prop_filter("hidden", |c| is_hidden(*c) && *c > '\u{7f}'), 1..6)) {
            let bad: String = plain.chars().chain(hidden.iter().copied()).chain(plain.chars()).collect();
            for one in hostile(&bad) {
                let before = words(one.clone());
                prop_assert!(before.contains(is_hidden), "the test says nothing: {before:?}");
                let after = frame(one);
                for c in &hidden {
                    prop_assert!(!words(after.clone()).contains(*c), "{after:?}");
                }
                prop_assert_eq!(frame(after.clone()), after, "once is enough");
            }
        }
    }

    #[test]
    fn a_host_names_nothing_that_is_to_be_reached_here() {
        let (host, path) = (String::from("10.0.0.1"), String::from("/run/x"));
        let open = m::ChannelOpen { channel: 1, host, path, listener: 2, ..m::ChannelOpen::default() };
        let kept = m::ChannelOpen { channel: 1, listener: 2, ..m::ChannelOpen::default() };
        assert_eq!(frame(Frame::ChannelOpen(open)), Frame::ChannelOpen(kept));
    }

    #[test]
    fn ordinary_words_pass_as_they_are() {
        let good = "sessd 0.1 é 日本 /home, \"x\"";
        for one in hostile(good) {
            assert_eq!(frame(one.clone()), one);
        }
        let script = m::JobSpec {
            command: vec!["sh".into(), "-c".into(), "a\n\tb  c".into()],
            cwd: "/a  b".into(),
            ..Default::default()
        };
        let mut same = script.clone();
        spec(&mut same);
        assert_eq!(same, script, "it is run again as it was");
    }

    #[test]
    fn a_host_says_no_more_than_people_can_use() {
        let mut many = m::Spawned { warnings: vec![String::new(); 500_000], ..m::Spawned::default() };
        many.warnings.push("x".repeat(1_000_000));
        many.warnings.swap(0, 500_000);
        let mut said = m::LinkAnswer::Spawned(many);
        answer(&mut said);
        let m::LinkAnswer::Spawned(m::Spawned { warnings, .. }) = said else { panic!("it stays what it is") };
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].chars().count(), SENTENCE);
    }
}
