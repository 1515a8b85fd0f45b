use super::*;
use crate::stream::StreamIds;
use sessd_proto::messages::{Hello, Inventory, JobName};
use std::cell::Cell;

/// A frame as a fake agent or holder sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Owned for Bytes {
    fn raw(&self) -> RawFrame<'_> {
        let header = sessd_proto::Header::parse(&self.0, usize::MAX).unwrap().unwrap();
        RawFrame::new(header, &self.0[sessd_proto::Header::BYTES..])
    }
}

#[derive(Default)]
struct Waits {
    of_stream: usize,
    of_link: usize,
    to_send: usize,
}

impl Load for Waits {
    fn of_stream(&self, _: StreamId) -> usize {
        self.of_stream
    }
    fn of_link(&self) -> usize {
        self.of_link
    }
    fn to_send(&self) -> usize {
        self.to_send
    }
}

/// A link, its clock, and an agent at the other end that says what it is told to say.
struct Peer {
    link: Link<Bytes>,
    now: Cell<Duration>,
    ids: StreamIds,
    waits: Waits,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Peer {
    fn new() -> Self {
        let mut link = Link::new(Duration::ZERO, "1.0");
        assert!(matches!(link.poll(), Some(Effect::Send(_))), "our greeting");
        Self { link, now: Cell::default(), ids: StreamIds::default(), waits: Waits::default() }
    }

    /// One that has greeted.
    fn greeted() -> Self {
        let mut peer = Self::new();
        assert_eq!(peer.says(0, &Frame::Hello(hello::hello("2.0", ""))), []);
        peer
    }

    fn does(&mut self, event: Event<'_, Bytes>) -> Vec<Effect<Bytes>> {
        self.link.handle(self.now.get(), event);
        std::iter::from_fn(|| self.link.poll()).collect()
    }

    fn says(&mut self, stream: u16, frame: &Frame<'_>) -> Vec<Effect<Bytes>> {
        self.link.handle(self.now.get(), Event::Frame(Bytes(frame.to_bytes(stream)), &self.waits));
        std::iter::from_fn(|| self.link.poll()).collect()
    }

    fn opens(&mut self) -> (StreamId, u16) {
        let id = self.ids.next();
        assert_eq!(self.does(Event::Open(id, "j".into())).len(), 1);
        let Some(Route::Agent(number)) = self.link.route(id) else { panic!("open") };
        (id, number)
    }

    /// Lets time pass, ticking where the link says so, and says what it did and when.
    fn waits(&mut self, until: u64) -> Vec<(u64, Effect<Bytes>)> {
        let mut all = Vec::new();
        while let Some(at) = self.link.deadline().filter(|at| *at <= ms(until)) {
            self.now.set(self.now.get().max(at));
            let effects = self.does(Event::Tick);
            assert!(!effects.is_empty(), "a deadline at which nothing is due: {at:?}");
            all.extend(effects.into_iter().map(|effect| (at.as_millis() as u64, effect)));
        }
        self.now.set(ms(until));
        all
    }
}

fn output(byte: u8) -> Frame<'static> {
    Frame::Output { offset: 0, bytes: Box::leak(Box::new([byte])) }
}

fn delivered(frame: &Frame<'_>, id: StreamId, number: u16) -> Effect<Bytes> {
    Effect::Deliver(id, Bytes(frame.to_bytes(number)))
}

fn ends(effects: &[Effect<Bytes>]) -> &LinkEnd {
    match effects.last() {
        Some(Effect::End(end)) => end,
        other => panic!("the link goes on: {other:?}"),
    }
}

#[test]
fn a_number_that_is_given_again_does_not_carry_what_was_for_the_stream_before() {
    let mut peer = Peer::greeted();
    let (first, number) = peer.opens();
    assert_eq!(peer.says(number, &output(1)), [delivered(&output(1), first, number)]);
    assert!(matches!(peer.does(Event::Close(first))[..], [Effect::Send(_)]));
    // On its way when the stream was closed.
    assert_eq!(peer.says(number, &output(2)), []);
    // All numbers go round before one is given again.
    let mut second = peer.opens();
    let mut turns = 0;
    while second.1 != number {
        peer.does(Event::Close(second.0));
        second = peer.opens();
        turns += 1;
    }
    assert_eq!(turns, usize::from(u16::MAX) - 1, "every other number was given meanwhile");
    assert_ne!(second.0, first);
    assert_eq!(peer.says(number, &output(3)), [delivered(&output(3), second.0, number)]);
}

#[test]
fn what_drains_out_of_a_link_that_was_hung_up_reaches_nobody() {
    let mut peer = Peer::greeted();
    let (id, number) = peer.opens();
    let effects = peer.does(Event::HangUp);
    assert_eq!(ends(&effects), &LinkEnd::Lost("it was hung up".into()));
    for frame in [output(1), Frame::Close(Close::default()), Frame::Pong(3)] {
        assert_eq!(peer.says(number, &frame), []);
        assert_eq!(peer.says(0, &frame), []);
    }
    assert_eq!((peer.link.route(id), peer.link.deadline()), (None, None));
    // A link that comes later gives the same number to another stream: the name is another.
    let mut later = Peer::greeted();
    later.ids = std::mem::take(&mut peer.ids);
    let (other, again) = later.opens();
    assert_eq!(again, number);
    assert_ne!(other, id);
}

#[test]
fn a_close_of_the_holder_is_its_streams_last_frame() {
    let mut peer = Peer::greeted();
    let (id, number) = peer.opens();
    let close = Frame::Close(closed(CloseReason::HolderUnreachable, "gone".into()));
    assert_eq!(peer.says(number, &close), [delivered(&close, id, number)]);
    assert_eq!(peer.link.route(id), None);
    assert_eq!(peer.says(number, &output(1)), []);
    assert_eq!(peer.does(Event::Close(id)), [], "nothing is left to close");
}

#[test]
fn a_link_without_a_free_number_says_so_and_goes_on() {
    let mut peer = Peer::greeted();
    for _ in 1..u16::MAX {
        peer.opens();
    }
    let (last, _) = peer.opens();
    let one_more = peer.ids.next();
    assert!(
        matches!(peer.does(Event::Open(one_more, "j".into()))[..], [Effect::Closed(id, _)] if id == one_more)
    );
    assert_eq!(peer.link.route(one_more), None);
    peer.does(Event::Close(last));
    peer.opens();
}

#[test]
fn silence_is_noticed_said_and_ended_in_time() {
    let mut peer = Peer::greeted();
    let all = peer.waits(60_000);
    let beats: Vec<u64> =
        all.iter().filter(|(_, e)| matches!(e, Effect::Send(_))).map(|(at, _)| *at).collect();
    assert_eq!(beats, [0, 5_000, 10_000, 15_000, 20_000]);
    let changes: Vec<u64> = all.iter().filter(|(_, e)| *e == Effect::Changed).map(|(at, _)| *at).collect();
    assert_eq!(changes, [7_000, 11_000], "quiet, then stalled");
    let (at, Effect::End(LinkEnd::Lost(_))) = all.last().unwrap() else { panic!("{all:?}") };
    assert_eq!(*at, GIVE_UP_MS - 1_000);
}

#[test]
fn whatever_is_heard_is_a_sign_of_life_and_is_told_to_whoever_was_told_of_the_silence() {
    for silent in [3_000, 8_000, 12_000, 20_000] {
        let mut peer = Peer::greeted();
        peer.waits(silent);
        let was_late = peer.link.quiet(peer.now.get()).is_some();
        let effects = peer.says(0, &Frame::Pong(0));
        assert_eq!(effects, if was_late { vec![Effect::Changed] } else { vec![] }, "{silent}");
        assert!(!peer.link.is_stalled(peer.now.get()));
        let over = peer.waits(silent + GIVE_UP_MS - 1_001);
        assert!(
            !over.iter().any(|(_, effect)| matches!(effect, Effect::End(_))),
            "counted from the last sign"
        );
    }
}

#[test]
fn a_link_that_is_doubted_answers_soon_or_is_over() {
    let mut peer = Peer::greeted();
    peer.waits(1_000);
    assert!(matches!(peer.does(Event::Doubt)[..], [Effect::Send(_)]), "it is asked at once");
    assert!(peer.link.is_stalled(peer.now.get()));
    let all = peer.waits(10_000);
    let (at, Effect::End(_)) = all.last().unwrap() else { panic!("{all:?}") };
    assert_eq!(*at, 5_000);

    let mut peer = Peer::greeted();
    peer.does(Event::Doubt);
    peer.waits(3_999);
    assert_eq!(peer.says(0, &Frame::Pong(0)), [Effect::Changed]);
    assert!(!peer.waits(20_000).iter().any(|(_, effect)| matches!(effect, Effect::End(_))));
}

#[test]
fn every_request_is_answered_once_or_told_that_it_will_not_be() {
    let answer = |id, more| {
        Frame::LinkReply(LinkReply { id, answer: Some(LinkAnswer::Inventory(Inventory::default())), more })
    };
    let ask = || Box::new(LinkAct::Forget(JobName::default()));
    let mut peer = Peer::greeted();
    for number in [1, 2, 3] {
        assert_eq!(peer.does(Event::Request(number, ask())).len(), 1);
    }
    assert_eq!(peer.says(0, &answer(2, true)), [], "more is to come");
    assert!(matches!(peer.says(0, &answer(2, false))[..], [Effect::Answer(2, _)]));
    assert_eq!(peer.says(0, &answer(2, false)), [], "said twice");
    assert_eq!(peer.says(0, &answer(9, false)), [], "never asked");
    let unsupported = Frame::Unsupported(Unsupported { kind: kind::LINK_REQUEST.into() });
    let refused = peer.says(0, &unsupported);
    assert!(matches!(refused[..], [Effect::Answer(1, _), Effect::Answer(3, _)]), "{refused:?}");
    peer.does(Event::Request(4, ask()));
    let effects = peer.does(Event::Ended(LinkEnd::Lost("gone".into())));
    assert!(matches!(effects[..], [Effect::Unanswered(4), Effect::End(_)]), "{effects:?}");
    assert_eq!(peer.does(Event::Request(5, ask())), [Effect::Unanswered(5)]);
}

#[test]
fn a_request_that_no_frame_has_room_for_is_refused_here() {
    let mut peer = Peer::greeted();
    let long = LinkAct::Forget(JobName { job_id: "j".repeat(2 << 20), ..JobName::default() });
    let effects = peer.does(Event::Request(1, Box::new(long)));
    assert!(matches!(effects[..], [Effect::Answer(1, LinkAnswer::Refused(_))]), "{effects:?}");
}

#[test]
fn what_no_agent_does_ends_the_link_with_a_sentence() {
    let cases: [(&str, Frame<'_>, LinkEnd); 4] = [
        (
            "no greeting",
            Frame::Ping(1),
            LinkEnd::Unusable("it does not speak our protocol: its first words are no greeting".into()),
        ),
        (
            "a greeting of another age",
            Frame::Hello(Hello { proto_min: 7, proto_max: 7, version: "9".into(), ..Hello::default() }),
            LinkEnd::Skew(
                "this end is older, and speaks no protocol that the other one (sessd 9) still knows".into(),
            ),
        ),
        (
            "closes with a sentence",
            Frame::Close(closed(CloseReason::Protocol, "no\x1b[2J".into())),
            LinkEnd::Unusable("it does not speak our protocol: its first words are no greeting".into()),
        ),
        (
            "output of nobody",
            output(1),
            LinkEnd::Unusable("it does not speak our protocol: its first words are no greeting".into()),
        ),
    ];
    for (what, frame, end) in cases {
        assert_eq!(ends(&Peer::new().says(0, &frame)), &end, "{what}");
    }
    let mut peer = Peer::greeted();
    let close = Frame::Close(closed(CloseReason::Protocol, "no\x1b]0;x\x07".into()));
    assert_eq!(ends(&peer.says(0, &close)), &LinkEnd::Unusable("no]0;x".into()), "cleaned");
    let mut peer = Peer::greeted();
    peer.waits.to_send = OUT_MAX + 1;
    assert_eq!(
        ends(&peer.says(0, &Frame::Ping(1))),
        &LinkEnd::Unusable("it asks and does not listen".into())
    );
}

#[test]
fn what_is_not_known_is_answered_or_ignored_by_its_number() {
    let mut peer = Peer::greeted();
    let effects = peer.says(0, &Frame::Unknown(0x7f));
    let unsupported = Frame::Unsupported(Unsupported { kind: 0x7f }).to_bytes(0);
    assert_eq!(effects, [Effect::Send(unsupported)]);
    assert_eq!(peer.says(0, &Frame::Unknown(0xff)), []);
}

#[test]
fn a_stream_that_sends_more_than_may_wait_is_ended_and_no_other() {
    for (of_stream, of_link) in [(QUEUED_MAX + 1, 0), (0, HELD_MAX + 1)] {
        let mut peer = Peer::greeted();
        let (greedy, number) = peer.opens();
        let (other, others) = peer.opens();
        peer.waits = Waits { of_stream, of_link, to_send: 0 };
        let effects = peer.says(number, &output(1));
        assert!(
            matches!(&effects[..], [Effect::Send(_), Effect::Closed(id, _)] if *id == greedy),
            "{effects:?}"
        );
        peer.waits = Waits::default();
        assert_eq!(peer.says(number, &output(2)), []);
        assert_eq!(peer.says(others, &output(3)), [delivered(&output(3), other, others)]);
    }
}

#[test]
fn a_connection_of_its_own_is_a_stream_like_any_other() {
    let mut peer = Peer::greeted();
    let id = peer.ids.next();
    assert!(matches!(peer.does(Event::Joined(id))[..], [Effect::SendOwn(to, _)] if to == id));
    assert_eq!(peer.link.route(id), Some(Route::Own));
    let frame = Bytes(output(1).to_bytes(0));
    let waits = Waits::default();
    assert_eq!(peer.does(Event::OwnFrame(id, frame.clone(), &waits)), [Effect::Deliver(id, frame.clone())]);
    // It is kept awake, and what comes over it is a sign of life.
    let beats = peer.waits(5_000);
    assert_eq!(beats.iter().filter(|(_, e)| matches!(e, Effect::Beat(to, _) if *to == id)).count(), 2);
    let ended = peer.does(Event::OwnEnded(id, "reset".into()));
    assert!(
        matches!(&ended[..], [Effect::Disconnect(_), Effect::Closed(to, close)] if *to == id && close.detail == "reset")
    );
    assert_eq!(peer.does(Event::OwnFrame(id, frame, &waits)), [], "what was on its way");
    assert_eq!(peer.does(Event::OwnEnded(id, "again".into())), []);
}

#[test]
fn a_host_that_refuses_the_way_past_its_agent_is_asked_once_and_one_that_allows_it_may_lose_a_socket() {
    let mut peer = Peer::greeted();
    assert!(peer.link.may_bypass());
    peer.does(Event::NotJoined);
    assert!(!peer.link.may_bypass());

    let mut peer = Peer::greeted();
    let id = peer.ids.next();
    peer.does(Event::Joined(id));
    for _ in 1..BYPASS_FAILURES {
        peer.does(Event::NotJoined);
        assert!(peer.link.may_bypass());
    }
    peer.does(Event::NotJoined);
    assert!(!peer.link.may_bypass());
    peer.does(Event::HangUp);
    assert!(!Peer::new().link.may_bypass() || peer.link.has_ended());
}

#[test]
fn the_round_trip_is_what_the_answer_to_a_heartbeat_took() {
    let mut peer = Peer::greeted();
    peer.waits(5_000);
    peer.now.set(ms(5_042));
    peer.says(0, &Frame::Pong(5_000_000));
    assert_eq!(peer.link.rtt(), Some(ms(42)));
    peer.says(0, &Frame::Pong(u64::MAX));
    assert_eq!(peer.link.rtt(), Some(Duration::ZERO), "a token that was never sent");
}

proptest::proptest! {
    /// Whatever an agent sends and we do, in whatever order: a frame reaches the stream that has its number now and no
    /// other, each request is answered or told once, and an end is the last thing that happens.
    #[test]
    fn whatever_comes_nothing_crosses_over(
        steps in proptest::collection::vec((0u8..10, 0u64..6, proptest::prelude::any::<u16>()), 1..300),
    ) {
        let mut peer = Peer::greeted();
        let (mut open, mut asked, mut ended) = (Vec::<(StreamId, u16)>::new(), BTreeSet::new(), false);
        let mut number = 0;
        for (what, n, any) in steps {
            peer.now.set(peer.now.get() + ms(u64::from(any) / 8));
            let picked = open.get(n as usize).copied();
            let effects = match (what, picked) {
                (0, _) => {
                    let id = peer.ids.next();
                    let effects = peer.does(Event::Open(id, "j".into()));
                    if let Some(Route::Agent(number)) = peer.link.route(id) {
                        open.push((id, number));
                    }
                    effects
                }
                (1, Some((id, _))) => {
                    open.retain(|(known, _)| *known != id);
                    peer.does(Event::Close(id))
                }
                (2, _) => {
                    number += 1;
                    asked.insert(number);
                    peer.does(Event::Request(number, Box::new(LinkAct::Forget(JobName::default()))))
                }
                (3, _) => peer.says(0, &Frame::LinkReply(LinkReply {
                    id: n,
                    answer: Some(LinkAnswer::Done(Default::default())),
                    ..LinkReply::default()
                })),
                (4, _) => peer.says(any % 8, &output(n as u8)),
                (5, Some((id, number))) => {
                    open.retain(|(known, _)| *known != id);
                    peer.says(number, &Frame::Close(Close::default()))
                }
                (6, _) if any % 50 == 0 => peer.does(Event::Ended(LinkEnd::Lost("x".into()))),
                (7, _) => peer.says(0, &Frame::Pong(n)),
                (8, _) if any % 20 == 0 => peer.does(Event::Doubt),
                _ => peer.does(Event::Tick),
            };
            for effect in effects {
                proptest::prop_assert!(!ended || matches!(effect, Effect::Unanswered(_)), "after the end: {effect:?}");
                match effect {
                    Effect::Deliver(id, frame) if frame.raw().kind != kind::CLOSE => {
                        proptest::prop_assert!(open.contains(&(id, frame.raw().stream)));
                    }
                    Effect::Answer(id, _) | Effect::Unanswered(id) => {
                        proptest::prop_assert!(asked.remove(&id), "{id} was told twice");
                    }
                    Effect::End(_) => {
                        ended = true;
                        open.clear();
                    }
                    _ => {}
                }
            }
            proptest::prop_assert!(!ended || asked.is_empty());
        }
    }
}

/// One whose round trip is known to be 10 ms, at 5 s, a heartbeat just answered.
fn with_round_trip() -> Peer {
    let mut peer = Peer::greeted();
    peer.waits(0);
    peer.now.set(ms(10));
    peer.says(0, &Frame::Pong(0));
    let sent = peer.waits(5_000);
    assert!(!sent.is_empty());
    peer.now.set(ms(5_010));
    peer.says(0, &Frame::Pong(5_000_000));
    peer
}

fn changes(effects: &[(u64, Effect<Bytes>)]) -> Vec<u64> {
    effects.iter().filter(|(_, effect)| *effect == Effect::Changed).map(|(at, _)| *at).collect()
}

#[test]
fn while_a_view_is_open_the_heartbeat_is_a_second_and_its_answer_is_late_after_a_quarter_of_one() {
    let mut peer = with_round_trip();
    peer.does(Event::Watched(true));
    assert!(!peer.link.is_late());
    let first = peer.waits(6_011);
    assert_eq!(first.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [6_010]);
    peer.now.set(ms(6_020));
    peer.says(0, &Frame::Pong(6_010_000));
    let silent = peer.waits(8_000);
    assert_eq!(changes(&silent), [7_260], "{silent:?}");
    assert!(peer.link.is_late() && !peer.link.is_stalled(ms(8_000)));
    // Whatever is heard ends it.
    assert_eq!(peer.says(0, &Frame::Pong(7_010_000)), [Effect::Changed]);
    assert!(!peer.link.is_late());
    // Nobody looks: the heartbeat is as slow as before, and nothing is late before it is stalled.
    peer.does(Event::Watched(false));
    let quiet = peer.waits(14_000);
    assert!(quiet.iter().filter(|(_, effect)| matches!(effect, Effect::Send(_))).count() <= 3, "{quiet:?}");
    assert!(!peer.link.is_late());
}

#[test]
fn what_was_typed_is_answered_within_a_quarter_of_a_second_or_late() {
    let mut peer = with_round_trip();
    peer.now.set(ms(6_000));
    peer.does(Event::Typed);
    peer.now.set(ms(6_100));
    peer.does(Event::Typed);
    let silent = peer.waits(6_400);
    assert!(matches!(silent[0], (6_125, Effect::Send(_))), "the agent is asked: {silent:?}");
    assert_eq!(changes(&silent), [6_250]);
    // A job that does not read its input: the agent answers all the same.
    let mut peer = with_round_trip();
    peer.now.set(ms(6_000));
    peer.does(Event::Typed);
    peer.waits(6_130);
    peer.says(0, &Frame::Pong(6_125_000));
    assert_eq!(changes(&peer.waits(9_000)), Vec::<u64>::new());
}

#[test]
fn a_frame_that_a_slow_line_takes_seconds_for_is_a_sign_of_life() {
    // 32 kB at 10 kB/s, behind which the answer to what is typed waits.
    let mut peer = Peer::greeted();
    let (id, number) = peer.opens();
    peer.does(Event::Watched(true));
    let first = peer.waits(10);
    peer.now.set(ms(50));
    assert!(!first.is_empty() || peer.link.deadline().is_some());
    peer.does(Event::Typed);
    let (mut told, mut at) = (0, 50);
    while at < 3_300 {
        at += 130;
        let done = peer.waits(at);
        assert!(!done.iter().any(|(_, e)| matches!(e, Effect::Changed | Effect::End(_))), "{at}: {done:?}");
        let effects = peer.does(Event::Part(number));
        told += effects.iter().filter(|e| **e == Effect::Arriving(id)).count();
        assert!(!peer.link.is_late() && !peer.link.is_stalled(ms(at)), "{at}");
    }
    assert!((9..=13).contains(&told), "{told}: now and then");
    // The line stands still: then it is late as ever.
    assert!(peer.waits(8_000).iter().any(|(_, e)| *e == Effect::Changed) && peer.link.is_late());
    assert_eq!(peer.does(Event::Close(id)).len(), 1);
    peer.does(Event::Part(number));
    assert_eq!(peer.does(Event::Part(number)), [], "of a stream that is over");
}
