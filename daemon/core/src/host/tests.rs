use super::beside::{IN_A_ROW, OVERDUE_MS};
use super::*;
use crate::dialling::{HELD_MS, UNUSED_MS};
use sessd_proto::messages::Refused;

type Machine = Host<&'static str, &'static str, &'static str>;
type Did = Effect<&'static str, &'static str, &'static str>;
type What = Event<&'static str, &'static str, &'static str>;

/// A host and the story of what it did, in words short enough for a table.
struct Story {
    host: Machine,
    now: u64,
}

fn on(machine: &str) -> LinkAnswer {
    LinkAnswer::Inventory(Inventory { machine_id: machine.into(), complete: true, ..Inventory::default() })
}

fn said(effect: &Did) -> String {
    let machine = |seen: &Seen| seen.inventory().machine_id.clone();
    match effect {
        Effect::Dial { from, beside: false, .. } => format!("dial from {from}"),
        Effect::Dial { number, beside: true, .. } => format!("dial {number} beside"),
        Effect::Abandon(_) => "abandon".into(),
        Effect::HangUp(link) => format!("hang up {link}"),
        Effect::Doubt(link) => format!("doubt {link}"),
        Effect::Ask(link) => format!("ask {link}"),
        Effect::Tell(who, Ok(())) => format!("{who}: up"),
        Effect::Tell(who, Err(_)) => format!("{who}: not up"),
        Effect::Probed(who, Some(seen)) => format!("{who}: sees {}", machine(seen)),
        Effect::Probed(who, None) => format!("{who}: lost"),
        Effect::Seen(seen) => format!("seen {}", machine(seen)),
        Effect::Up(member, link, seen) => format!("{member} up on {link} of {}", machine(seen)),
        Effect::News(member, seen) => format!("{member} looked at {}", machine(seen)),
        Effect::Publish => "publish".into(),
        Effect::Sweep(link, _) => format!("sweep {link}"),
        Effect::Watch(from) => format!("watch {from}"),
        Effect::Unwatch => "unwatch".into(),
    }
}

impl Story {
    fn new() -> Self {
        Self { host: Machine::new(7, 0), now: 0 }
    }

    /// What it does then, but for what is told everybody.
    fn then(&mut self, event: What) -> Vec<String> {
        self.host.handle(self.now, event);
        let all = std::iter::from_fn(|| self.host.poll()).map(|effect| said(&effect));
        all.filter(|said| said != "unwatch" && said != "publish").collect()
    }

    /// A host with one member, whose link 1 is up.
    fn up() -> Self {
        let mut story = Self::new();
        assert_eq!(story.then(Event::Enlisted(1)), ["dial from 0"]);
        assert_eq!(story.then(Event::Dialled(1)), ["ask 1"]);
        let up = ["seen m", "1 up on 1 of m", "sweep 1"];
        assert_eq!(story.then(Event::Answered(1, Some(on("m")))), up);
        assert_eq!(story.host.phase(), Phase::Up(1));
        story
    }

    /// Lets time pass up to the next deadline.
    fn next(&mut self) -> Vec<String> {
        let at = self.host.deadline().expect("something is due");
        assert!(at >= self.now);
        self.now = at;
        self.then(Event::Tick)
    }

    /// The link of that number ends and the next comes as far as its byte stream.
    fn relinks(&mut self, was: u64) {
        let end = LinkEnd::Lost("cut".into());
        assert_eq!(self.then(Event::Ended(was, end)), [format!("hang up {was}")]);
        assert_eq!(self.next(), ["dial from 0"]);
        assert_eq!(self.then(Event::Dialled(was + 1)), [format!("ask {}", was + 1)]);
    }
}

#[test]
fn whoever_comes_in_the_middle_of_the_greeting_hears_that_the_link_is_up() {
    let mut story = Story::new();
    story.then(Event::Enlisted(1));
    story.then(Event::Dialled(1));
    assert_eq!(story.then(Event::Enlisted(2)), Vec::<String>::new());
    assert_eq!(
        story.then(Event::Answered(1, Some(on("m")))),
        ["seen m", "1 up on 1 of m", "2 up on 1 of m", "sweep 1"]
    );
    assert_eq!(story.then(Event::Enlisted(3)), ["3 up on 1 of m"], "at once");
}

#[test]
fn a_create_in_the_middle_of_an_adoption_hears_of_the_link_and_of_the_look() {
    let mut story = Story::up();
    assert_eq!(story.then(Event::Want("adopt", 0)), ["adopt: up"]);
    assert_eq!(story.then(Event::Probe("adopt")), ["ask 1"]);
    // The inventory takes its time; a session is made meanwhile.
    assert_eq!(story.then(Event::Enlisted(2)), ["2 up on 1 of m"]);
    assert_eq!(story.then(Event::Want("create", 0)), ["create: up"]);
    assert_eq!(
        story.then(Event::Answered(1, Some(on("m")))),
        ["seen m", "adopt: sees m", "1 looked at m", "2 looked at m"]
    );
}

#[test]
fn a_link_that_is_late_in_the_middle_of_a_look_is_told_of_and_so_is_that_it_is_back() {
    let mut story = Story::up();
    story.then(Event::Probe("adopt"));
    for stalled in [true, false, true] {
        story.host.handle(1, Event::Changed(1, stalled));
        assert!(matches!(story.host.poll(), Some(Effect::Publish)));
    }
    assert_eq!(
        story.then(Event::Want("somebody", 0)),
        ["doubt 1", "somebody: up"],
        "who waits for a silent link"
    );
    assert_eq!(story.then(Event::Changed(9, true)), Vec::<String>::new(), "another link's");
}

#[test]
fn a_doubt_in_the_middle_of_a_look_has_a_look_of_its_own() {
    let mut story = Story::up();
    story.then(Event::Probe("adopt"));
    story.now += 10;
    assert_eq!(story.then(Event::ProbeAgain), Vec::<String>::new());
    assert_eq!(story.then(Event::Answered(1, Some(on("m")))).len(), 3);
    assert_eq!(story.next(), ["ask 1"]);
}

#[test]
fn who_wants_a_look_while_one_is_on_its_way_gets_one_that_begins_later() {
    let mut story = Story::up();
    assert_eq!(story.then(Event::Probe("a")), ["ask 1"]);
    assert_eq!(story.then(Event::Probe("b")), Vec::<String>::new());
    assert_eq!(
        story.then(Event::Answered(1, Some(on("m")))),
        ["seen m", "a: sees m", "1 looked at m", "ask 1"]
    );
    assert_eq!(story.then(Event::Answered(1, Some(on("m")))), ["seen m", "b: sees m", "1 looked at m"]);
}

#[test]
fn looks_in_doubt_come_soon_and_then_ever_more_slowly() {
    let mut story = Story::up();
    let mut gaps = Vec::new();
    for _ in 0..10 {
        let asked = story.now;
        story.then(Event::ProbeAgain);
        story.then(Event::ProbeAgain);
        assert_eq!(story.next(), ["ask 1"]);
        gaps.push(story.now - asked);
        story.then(Event::Answered(1, Some(on("m"))));
    }
    assert_eq!(gaps[..4], [250, 500, 1_000, 2_000]);
    assert_eq!(gaps[9], PROBE_AGAIN_LAST_MS);
    story.now += 2 * PROBE_AGAIN_LAST_MS + 1;
    let asked = story.now;
    story.then(Event::ProbeAgain);
    story.next();
    assert_eq!(story.now - asked, PROBE_AGAIN_FIRST_MS, "a new doubt");
}

#[test]
fn an_agent_that_is_stuck_is_given_up_before_and_after_its_first_words() {
    // Before: it is as silent as a host that does not answer.
    let mut story = Story::new();
    story.then(Event::Want("me", 0));
    story.then(Event::Enlisted(1));
    story.then(Event::Dialled(1));
    assert_eq!(story.next(), ["hang up 1", "me: not up"]);
    assert_eq!(story.now, GREETING_MS);
    let Phase::Waiting(until) = story.host.phase() else { panic!("{:?}", story.host.phase()) };
    assert!(until - story.now >= 4_000, "knocking at once would be no use: {}", until - story.now);
    // After: whoever waits for what is there is told.
    let mut story = Story::up();
    story.now = 100_000;
    story.then(Event::Probe("adopt"));
    assert_eq!(story.next(), ["hang up 1", "adopt: lost"]);
    assert_eq!(story.now, 100_000 + GREETING_MS);
    assert_eq!(
        story.host.cause(),
        &Cause::Link(LinkEnd::Lost("the agent there runs and says nothing for 15 s".into()))
    );
}

#[test]
fn a_link_that_takes_no_questions_has_a_moment_to_say_why() {
    let mut story = Story::new();
    story.then(Event::Enlisted(1));
    story.then(Event::Dialled(1));
    assert_eq!(story.then(Event::Answered(1, None)), Vec::<String>::new());
    assert_eq!(story.then(Event::Ended(1, LinkEnd::Skew("old".into()))), ["hang up 1"]);
    assert_eq!(story.host.cause(), &Cause::Link(LinkEnd::Skew("old".into())));
    // And one that never says.
    let mut story = Story::new();
    story.then(Event::Enlisted(1));
    story.then(Event::Dialled(1));
    story.then(Event::Answered(1, None));
    assert_eq!(story.next(), ["hang up 1"]);
    assert_eq!(story.now, LAST_WORDS_MS);
}

#[test]
fn a_link_that_breaks_as_soon_as_it_is_up_is_dialled_ever_more_slowly() {
    let mut story = Story::up();
    let mut gaps = Vec::new();
    for link in 1..18 {
        story.now += 100;
        let lost = story.now;
        story.relinks(link);
        gaps.push(story.now - lost);
        story.then(Event::Answered(link + 1, Some(on("m"))));
    }
    assert!(gaps[0] <= 1_000 && gaps[10..].iter().all(|gap| *gap >= 30_000), "{gaps:?}");
    story.now += HELD_MS;
    let lost = story.now;
    story.relinks(18);
    assert!(story.now - lost < 1_000, "it held");
}

#[test]
fn a_link_of_the_past_says_nothing_about_the_one_that_is() {
    let mut story = Story::up();
    story.relinks(1);
    story.then(Event::Answered(2, Some(on("m"))));
    for late in [
        Event::Ended(1, LinkEnd::Lost("late".into())),
        Event::Answered(1, Some(on("other"))),
        Event::Answered(1, None),
        Event::Changed(1, true),
    ] {
        assert_eq!(story.then(late), Vec::<String>::new());
    }
    assert_eq!(story.host.phase(), Phase::Up(2));
}

#[test]
fn a_host_of_another_identity_is_taken_for_what_it_is() {
    // After a new connection: whoever lives there is told what is there now, and decides.
    let mut story = Story::up();
    story.relinks(1);
    assert_eq!(
        story.then(Event::Answered(2, Some(on("other")))),
        ["seen other", "1 up on 2 of other", "sweep 2"]
    );
    // In the middle of a link no machine turns into another.
    story.then(Event::Probe("me"));
    assert_eq!(story.then(Event::Answered(2, Some(on("m")))), ["hang up 2", "me: lost"]);
    // What an old agent does not say is no contradiction.
    story.next();
    story.then(Event::Dialled(3));
    story.then(Event::Answered(3, Some(on(""))));
    story.then(Event::Probe("me"));
    assert_eq!(story.then(Event::Answered(3, Some(on("m")))), ["seen m", "me: sees m", "1 looked at m"]);
}

#[test]
fn an_agent_that_says_no_or_something_else_is_no_link() {
    let refused =
        LinkAnswer::Refused(Refused { detail: "not now".into(), final_answer: false, exit_code: None });
    for (answer, cause) in [
        (refused, Cause::Refused("not now".to_owned())),
        (
            LinkAnswer::Done(Default::default()),
            Cause::Link(LinkEnd::Lost("the agent answers what was not asked".into())),
        ),
    ] {
        let mut story = Story::new();
        story.then(Event::Want("me", 0));
        story.then(Event::Dialled(1));
        assert_eq!(story.then(Event::Answered(1, Some(answer))), ["hang up 1", "me: not up"]);
        assert_eq!(story.host.cause(), &cause);
    }
}

#[test]
fn a_wake_up_doubts_the_link_that_is_and_hastens_the_one_that_is_not() {
    let mut story = Story::up();
    story.now = 2_000;
    assert_eq!(story.then(Event::Woke), ["doubt 1"]);
    let end = LinkEnd::Lost("nothing was heard from it".into());
    story.then(Event::Ended(1, end));
    assert_eq!(story.then(Event::Woke), ["dial from 0"]);
}

#[test]
fn what_nobody_needs_is_let_go_whatever_there_is_of_it() {
    let mut story = Story::new();
    story.then(Event::Enlisted(1));
    assert_eq!(story.then(Event::Dismissed(1)), ["abandon"]);
    assert_eq!(story.then(Event::Dialled(1)), ["hang up 1"], "it came all the same");
    let mut story = Story::new();
    story.then(Event::Enlisted(1));
    story.then(Event::Dialled(1));
    assert_eq!(story.then(Event::Dismissed(1)), ["hang up 1"]);
    let mut story = Story::up();
    story.then(Event::Dismissed(1));
    assert_eq!(story.next(), ["hang up 1"]);
    assert_eq!((story.now, story.host.phase()), (UNUSED_MS, Phase::Dormant));
}

#[test]
fn one_task_of_a_session_follows_another_without_the_link_being_let_go() {
    let mut story = Story::new();
    story.then(Event::Enlisted(1));
    assert_eq!(story.then(Event::Enlisted(2)), Vec::<String>::new());
    assert_eq!(story.then(Event::Dismissed(1)), Vec::<String>::new());
    assert_eq!(story.then(Event::Dismissed(1)), Vec::<String>::new());
    story.then(Event::Dialled(1));
    assert_eq!(story.then(Event::Answered(1, Some(on("m")))), ["seen m", "2 up on 1 of m", "sweep 1"]);
}

#[test]
fn what_may_mend_a_failure_is_watched_for_from_where_it_failed() {
    for (why, watched) in [
        (Why::Config, true),
        (Why::Agent, true),
        (Why::Network, false),
        (Why::Refused, false),
        (Why::Person, false),
    ] {
        let mut story = Story::new();
        story.then(Event::Enlisted(1));
        story.then(Event::Want("me", 4));
        let failed = Event::NotDialled { number: 1, why, by_environment: false, error: "no" };
        let expected: &[&str] = if watched { &["watch 0", "me: not up"] } else { &["me: not up"] };
        assert_eq!(story.then(failed), expected, "{why:?}");
        assert_eq!(story.host.cause(), &Cause::Attempt("no"));
    }
}

fn any_event() -> impl proptest::strategy::Strategy<Value = (u8, u64, u64)> {
    use proptest::prelude::*;
    (0u8..22, 0u64..5, prop_oneof![0u64..500, 0u64..40_000])
}

/// What the world has of a host: attempts on their way, and links with whether they are asked something.
#[derive(Default)]
struct World {
    attempts: BTreeSet<LinkNumber>,
    live: std::collections::BTreeMap<LinkNumber, bool>,
}

impl World {
    /// One of them, by chance.
    fn attempt(&self, n: u64) -> Option<LinkNumber> {
        self.attempts.iter().nth(n as usize % self.attempts.len().max(1)).copied()
    }

    fn link(&self, n: u64, asked: bool) -> Option<LinkNumber> {
        let some: Vec<_> = self.live.iter().filter(|(_, is)| !asked || **is).map(|(link, _)| *link).collect();
        some.get(n as usize % some.len().max(1)).copied()
    }
}

proptest::proptest! {
    /// Whatever comes in which order: one way at a time and one beside a link that is up; a member hears of each link that
    /// is up once, and of looks only after that; whoever waits is told once; nobody waits for a link or a probe that nobody
    /// works at; and ways that logged in beside another are so many in a row and then ten seconds apart.
    #[test]
    fn one_way_and_one_beside_it_at_a_time_and_everybody_is_told(
        events in proptest::collection::vec(any_event(), 1..300),
    ) {
        let mut host = Machine::new(3, 0);
        let mut now = 0;
        let mut world = World::default();
        let mut told = std::collections::BTreeMap::<Member, u64>::new();
        let mut members = BTreeSet::new();
        let (mut wants, mut probes) = (0i64, 0i64);
        let mut beside = BTreeSet::new();
        let mut spares = Vec::<u64>::new();
        for (what, n, later) in events {
            // Not past the next deadline, and never back.
            now = host.deadline().map_or(now + later, |at| at.clamp(now, now + later));
            let event = match what {
                0 | 1 => { members.insert(n); told.remove(&n); Event::Enlisted(n) }
                2 => { members.remove(&n); told.remove(&n); Event::Dismissed(n) }
                3 => { wants += 1; Event::Want("w", n as u32) }
                4 => Event::Person(n as u32),
                5 => { probes += 1; Event::Probe("l") }
                6 => Event::ProbeAgain,
                7 => Event::Woke,
                8 | 16 if let Some(number) = world.attempt(n) => {
                    world.attempts.remove(&number);
                    world.live.insert(number, false);
                    if beside.contains(&number) {
                        spares.push(now);
                        for (n, since) in spares.iter().rev().enumerate() {
                            let most = IN_A_ROW + 2 + 2 * (now - since) / SPARE_MS;
                            proptest::prop_assert!((n as u64) < most, "too many: {:?}", spares);
                        }
                    }
                    Event::Dialled(number)
                }
                9 if let Some(number) = world.attempt(n) => {
                    world.attempts.remove(&number);
                    let why = [Why::Refused, Why::Network, Why::Config, Why::Agent, Why::Person][n as usize];
                    Event::NotDialled { number, why, by_environment: n % 2 == 0, error: "no" }
                }
                10 | 11 | 17 if let Some(link) = world.link(n, true) => {
                    world.live.insert(link, false);
                    Event::Answered(link, Some(on("m")))
                }
                12 if let Some(link) = world.link(n, true) => {
                    world.live.insert(link, false);
                    Event::Answered(link, None)
                }
                13 if let Some(link) = world.link(n, false) => Event::Ended(link, LinkEnd::Lost("x".into())),
                14 => Event::Changed(n, n % 2 == 0),
                15 | 18 | 19 if let Some(link) = world.link(n, false) => Event::Late(link, what != 15),
                20 | 21 => Event::May([Beside::WhenLate, Beside::WhenLate, Beside::Always, Beside::Never][n as usize % 4]),
                _ => Event::Tick,
            };
            host.handle(now, event);
            while let Some(effect) = host.poll() {
                match effect {
                    Effect::Dial { number, beside: false, .. } => {
                        proptest::prop_assert!(world.attempts.is_empty() && world.live.is_empty(), "two ways at once");
                        world.attempts.insert(number);
                    }
                    Effect::Dial { number, beside: true, .. } => {
                        proptest::prop_assert!(world.attempts.is_empty(), "two attempts at once");
                        proptest::prop_assert!(world.live.len() == 1, "{:?} links", world.live);
                        world.attempts.insert(number);
                        beside.insert(number);
                    }
                    Effect::Abandon(number) => {
                        proptest::prop_assert!(world.attempts.remove(&number));
                    }
                    Effect::HangUp(link) => {
                        proptest::prop_assert!(world.live.remove(&link).is_some());
                        told.retain(|_, on| *on != link);
                        if world.live.is_empty() {
                            // What was on its way beside it is no spare any more.
                            beside.clear();
                        }
                    }
                    Effect::Ask(link) => {
                        proptest::prop_assert_eq!(world.live.insert(link, true), Some(false));
                    }
                    Effect::Up(member, link, _) => {
                        proptest::prop_assert!(world.live.contains_key(&link));
                        proptest::prop_assert!(members.contains(&member));
                        proptest::prop_assert!(told.insert(member, link).is_none(), "told twice");
                    }
                    Effect::News(member, _) => {
                        let on = told.get(&member);
                        proptest::prop_assert!(on.is_some_and(|on| world.live.contains_key(on)), "news of a link it was not told of");
                    }
                    Effect::Tell(..) => wants -= 1,
                    Effect::Probed(..) => probes -= 1,
                    _ => {}
                }
            }
            if let Phase::Up(link) = host.phase() {
                proptest::prop_assert!(world.live.contains_key(&link));
                proptest::prop_assert!(members.iter().all(|member| told.get(member) == Some(&link)), "somebody was not told");
            }
            let ways = world.attempts.len() + world.live.len();
            proptest::prop_assert!(ways <= 2, "{} ways", ways);
            proptest::prop_assert!(wants == 0 || ways > 0, "{} wait for nothing", wants);
            let asked = world.live.values().any(|asked| *asked);
            proptest::prop_assert!(probes == 0 || asked || host.deadline().is_some(), "{} look for nothing", probes);
            proptest::prop_assert!(members.is_empty() || ways > 0 || host.deadline().is_some()
                || matches!(host.phase(), Phase::Parked | Phase::Disconnected), "nobody works at it");
        }
    }
}

impl Story {
    /// A host whose link 1 is up and beside which another may be dialled; an answer on the first is late.
    fn late(may: Beside) -> Self {
        let mut story = Self::up();
        let dialled = story.then(Event::May(may));
        assert_eq!(dialled.len(), usize::from(may == Beside::Always), "{dialled:?}");
        story.now = 60_000;
        story
    }
}

#[test]
fn whichever_link_can_resume_first_carries_on_and_the_other_closes() {
    // The second.
    let mut story = Story::late(Beside::WhenLate);
    assert_eq!(story.then(Event::Late(1, true)), ["dial 2 beside"]);
    assert_eq!(story.then(Event::Dialled(2)), ["ask 2"]);
    assert_eq!(story.host.phase(), Phase::Up(1), "until it is known");
    assert_eq!(
        story.then(Event::Answered(2, Some(on("m")))),
        ["hang up 1", "seen m", "1 up on 2 of m", "sweep 2"]
    );
    assert_eq!(story.host.phase(), Phase::Up(2));
    assert_eq!(story.then(Event::Ended(1, LinkEnd::Lost("hung up".into()))), Vec::<String>::new());
    // The first, at each step of the second.
    for steps in 0..3 {
        let mut story = Story::late(Beside::WhenLate);
        story.then(Event::Late(1, true));
        let mut expected = vec!["abandon".to_owned()];
        if steps > 0 {
            story.then(Event::Dialled(2));
            expected = vec!["hang up 2".into()];
        }
        assert_eq!(story.then(Event::Late(1, false)), expected);
        assert_eq!(story.host.phase(), Phase::Up(1));
    }
    // The first broke meanwhile: what is on its way to the second is not begun again.
    let cut = || LinkEnd::Lost("cut".into());
    let mut story = Story::late(Beside::WhenLate);
    story.then(Event::Late(1, true));
    assert_eq!(story.then(Event::Ended(1, cut())), ["hang up 1"]);
    assert_eq!(story.host.phase(), Phase::Connecting);
    assert_eq!(story.then(Event::Dialled(2)), ["ask 2"]);
    assert_eq!(story.then(Event::Answered(2, Some(on("m")))), ["seen m", "1 up on 2 of m", "sweep 2"]);
    let mut story = Story::late(Beside::WhenLate);
    story.then(Event::Late(1, true));
    story.then(Event::Dialled(2));
    assert_eq!(story.then(Event::Ended(1, cut())), ["hang up 1"], "it was asked what it sees");
    assert_eq!(story.then(Event::Answered(2, Some(on("m")))), ["seen m", "1 up on 2 of m", "sweep 2"]);
}

#[test]
fn no_second_link_is_dialled_where_a_person_is_asked_or_nobody_lives_there() {
    let mut story = Story::late(Beside::Never);
    assert_eq!(story.then(Event::Late(1, true)), Vec::<String>::new());
    let mut story = Story::late(Beside::WhenLate);
    story.then(Event::Dismissed(1));
    assert_eq!(story.then(Event::Late(1, true)), Vec::<String>::new());
    // A second login that would ask is not tried again.
    let mut story = Story::late(Beside::WhenLate);
    story.then(Event::Late(1, true));
    let failed = Event::NotDialled { number: 2, why: Why::Person, by_environment: true, error: "no" };
    assert_eq!(story.then(failed), Vec::<String>::new());
    story.now += 1_000_000;
    assert_eq!(story.then(Event::Tick), Vec::<String>::new());
    assert_eq!(story.host.phase(), Phase::Up(1));
}

#[test]
fn wrong_guesses_cost_a_login_in_ten_seconds_and_then_fewer_and_what_reaches_nothing_is_tried_at_once() {
    let mut story = Story::late(Beside::WhenLate);
    let mut at = Vec::new();
    for number in 2..6 {
        story.then(Event::Late(1, false));
        // Late for a moment, every now and then.
        while story.then(Event::Late(1, true)).is_empty() {
            story.now += 250;
            story.then(Event::Late(1, false));
        }
        at.push(story.now);
        story.then(Event::Dialled(number));
    }
    let gaps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [SPARE_MS, 2 * SPARE_MS, 4 * SPARE_MS]);
    // A silence that goes on is no guess: it does not wait for what guesses came to.
    for number in 6..10 {
        story.then(Event::Late(1, false));
        assert_eq!(story.then(Event::Late(1, true)), Vec::<String>::new());
        let late = story.now;
        assert_eq!(story.next(), [format!("dial {number} beside")]);
        assert_eq!(story.now - late, OVERDUE_MS);
        story.then(Event::Dialled(number));
    }
    // There is no way to the host for a while.
    let mut story = Story::late(Beside::WhenLate);
    let began = story.now;
    story.then(Event::Late(1, true));
    for number in 2..10 {
        let failed = Event::NotDialled { number, why: Why::Refused, by_environment: false, error: "no" };
        assert_eq!(story.then(failed), Vec::<String>::new());
        assert_eq!(story.next(), [format!("dial {} beside", number + 1)]);
    }
    assert_eq!(story.now - began, 8 * 250);
}

#[test]
fn a_line_that_is_cut_again_and_again_is_healed_each_time_as_it_was_the_first() {
    for cuts in [2, 3, 5] {
        for silent in [true, false] {
            let mut story = Story::late(Beside::WhenLate);
            story.then(Event::Watched(true));
            for link in 1..=cuts {
                story.now += 700;
                let next = link + 1;
                if silent {
                    assert_eq!(
                        story.then(Event::Late(link, true)),
                        [format!("dial {next} beside")],
                        "cut {link}"
                    );
                    assert_eq!(story.then(Event::Dialled(next)), [format!("ask {next}")]);
                } else {
                    let cut = LinkEnd::Lost("cut".into());
                    let did = story.then(Event::Ended(link, cut));
                    assert_eq!(did, [format!("hang up {link}"), "dial from 0".into()], "cut {link}");
                    assert_eq!(story.then(Event::Dialled(next)), [format!("ask {next}")]);
                }
                story.then(Event::Answered(next, Some(on("m"))));
                assert_eq!(story.host.phase(), Phase::Up(next));
            }
        }
    }
}

#[test]
fn a_second_link_to_another_machine_of_that_name_is_none() {
    let mut story = Story::late(Beside::WhenLate);
    story.then(Event::Late(1, true));
    story.then(Event::Dialled(2));
    assert_eq!(story.then(Event::Answered(2, Some(on("other node")))), ["hang up 2"]);
    assert_eq!(story.host.phase(), Phase::Up(1));
}

#[test]
fn one_that_stands_by_is_asked_when_it_is_needed_and_followed_by_another() {
    let mut story = Story::late(Beside::Always);
    story.then(Event::Dialled(2));
    assert_eq!(story.then(Event::Answered(2, Some(on("m")))), Vec::<String>::new(), "it waits");
    story.now += SPARE_MS;
    assert_eq!(story.then(Event::Late(1, true)), ["ask 2"]);
    assert_eq!(story.then(Event::Late(1, false)), Vec::<String>::new(), "it stays");
    assert_eq!(story.then(Event::Answered(2, Some(on("m")))), Vec::<String>::new());
    assert_eq!(story.then(Event::Ended(1, LinkEnd::Lost("reset".into()))), ["hang up 1", "ask 2"]);
    assert_eq!(
        story.then(Event::Answered(2, Some(on("m")))),
        ["seen m", "1 up on 2 of m", "sweep 2", "dial 3 beside"]
    );
}

#[test]
fn a_network_that_changed_dials_anew_what_was_on_its_way_over_the_old_one() {
    let mut story = Story::late(Beside::WhenLate);
    story.then(Event::Late(1, true));
    story.now += 500;
    assert_eq!(story.then(Event::Woke), ["doubt 1"], "it has only begun");
    story.now += 1_000;
    assert_eq!(story.then(Event::Woke), ["doubt 1", "abandon", "dial 3 beside"]);
}
