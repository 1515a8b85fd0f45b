use super::*;
use crate::backoff::MAX_MS;

type Machine = Dialling<&'static str>;

fn host() -> Machine {
    Dialling::new(7, 0)
}

fn effects(machine: &mut Machine) -> Vec<Effect<&'static str>> {
    std::iter::from_fn(|| machine.poll()).collect()
}

fn after(machine: &mut Machine, now: u64, event: Event<&'static str>) -> Vec<Effect<&'static str>> {
    machine.handle(now, event);
    effects(machine)
}

fn failed(why: Why) -> Event<&'static str> {
    Event::Failed { why, by_environment: !matches!(why, Why::Network), took_ms: 5 }
}

const UNASKED: Effect<&str> = Effect::Dial { from: 0, asked: false };

fn asked(from: Origin) -> Effect<&'static str> {
    Effect::Dial { from, asked: true }
}

/// Runs on to the next attempt and says when it was.
fn next_attempt(machine: &mut Machine) -> u64 {
    let at = machine.deadline().expect("it is tried again by itself");
    assert_eq!(after(machine, at, Event::Tick).len(), 1);
    assert_eq!(machine.stage(), Stage::Dialling);
    at
}

#[test]
fn ten_creates_at_once_dial_once_and_hear_the_same() {
    for (event, up) in [(Event::Up, true), (failed(Why::Network), false), (failed(Why::Person), false)] {
        let mut host = host();
        assert_eq!(after(&mut host, 0, Event::Want("0", 3)), [asked(3)]);
        assert_eq!(after(&mut host, 0, Event::Members(true)), []);
        let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        for name in names {
            assert_eq!(after(&mut host, 1, Event::Want(name, 3)), []);
        }
        let told = after(&mut host, 900, event);
        let expected: Vec<_> = ["0"].iter().chain(&names).map(|who| Effect::Tell(*who, up)).collect();
        assert_eq!(told, expected);
        assert_ne!(host.stage(), Stage::Dialling);
    }
}

#[test]
fn what_a_person_disconnects_stays_so_until_somebody_wants_it() {
    for stage in ["up", "dialling", "waiting", "parked"] {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        let effect = match stage {
            "up" => {
                after(&mut host, 1, Event::Up);
                vec![Effect::HangUp]
            }
            "waiting" => {
                after(&mut host, 1, failed(Why::Network));
                vec![]
            }
            "parked" => {
                after(&mut host, 1, failed(Why::Agent));
                vec![]
            }
            _ => {
                after(&mut host, 1, Event::Want("me", 0));
                vec![Effect::Abandon, Effect::Tell("me", false)]
            }
        };
        assert_eq!(after(&mut host, 2, Event::Disconnect), effect, "{stage}");
        assert_eq!((host.stage(), host.deadline()), (Stage::Disconnected, None), "{stage}");
        for event in [Event::Woke, Event::News, Event::Hasten, Event::Tick, Event::Members(true), Event::Lost]
        {
            assert_eq!(after(&mut host, 1_000_000, event), [], "{stage} {event:?}");
        }
        assert_eq!(after(&mut host, 2_000_000, Event::Person(0)), [asked(0)], "{stage}");
    }
    // With nobody there it is as if it had never been.
    let mut host = host();
    after(&mut host, 0, Event::Want("me", 0));
    after(&mut host, 1, Event::Up);
    assert_eq!(after(&mut host, 2, Event::Disconnect), [Effect::HangUp]);
    assert_eq!(host.stage(), Stage::Dormant);
}

#[test]
fn sessions_on_record_are_dialled_for_unasked_and_a_person_joins_that_attempt() {
    let mut host = host();
    assert_eq!(after(&mut host, 0, Event::Members(true)), [UNASKED]);
    assert_eq!(after(&mut host, 1, Event::Want("me", 0)), []);
    assert_eq!(after(&mut host, 2, failed(Why::Network)), [Effect::Tell("me", false)]);
    assert!(matches!(host.stage(), Stage::Waiting(_)));
}

#[test]
fn the_network_and_the_configuration_are_tried_again_ever_more_slowly() {
    for why in [Why::Refused, Why::Network, Why::Config] {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        let (mut now, mut gaps) = (0, Vec::new());
        for _ in 0..20 {
            after(&mut host, now + 5, failed(why));
            let at = next_attempt(&mut host);
            gaps.push(at - now);
            now = at;
        }
        assert!(gaps[0] <= 1_005 && gaps.iter().all(|gap| *gap <= MAX_MS + 5), "{gaps:?}");
        assert!(gaps[12..].iter().all(|gap| *gap >= MAX_MS / 2), "{gaps:?}");
    }
}

#[test]
fn a_person_a_wake_up_and_a_changed_file_do_not_wait_for_their_time() {
    for event in [Event::Person(0), Event::Woke, Event::News] {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 9_000, failed(Why::Network));
        let effects = after(&mut host, 9_001, event);
        assert!(matches!(effects[..], [Effect::Dial { from: 0, .. }]), "{effects:?}");
    }
}

#[test]
fn keys_that_are_typed_bring_an_attempt_nearer_but_to_no_more_than_one_a_second() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    let mut attempts = 0;
    for now in (0..10_000).step_by(10) {
        let effects = [after(&mut host, now, Event::Hasten), after(&mut host, now, Event::Tick)].concat();
        if !effects.is_empty() {
            attempts += 1;
        }
        if host.stage() == Stage::Dialling {
            after(&mut host, now, failed(Why::Network));
        }
    }
    assert!((9..=11).contains(&attempts), "{attempts}");
}

#[test]
fn what_a_person_has_to_give_is_asked_for_once_for_each_time_a_person_asks() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    assert_eq!(after(&mut host, 10, failed(Why::Person)), []);
    assert_eq!((host.stage(), host.deadline()), (Stage::Parked(false), None));
    for event in [Event::Tick, Event::Woke, Event::News, Event::Hasten, Event::Members(true)] {
        assert_eq!(after(&mut host, 1 << 40, event), [], "{event:?}");
    }
    assert_eq!(after(&mut host, 1 << 40, Event::Person(0)), [asked(0)]);
    after(&mut host, 1 << 40, failed(Why::Person));
    assert_eq!(after(&mut host, 1 << 40, Event::Want("me", 0)), [asked(0)]);
    assert_eq!(after(&mut host, 1 << 40, failed(Why::Person)), [Effect::Tell("me", false)]);
}

#[test]
fn while_somebody_looks_at_a_session_of_it_a_host_is_tried_every_ten_seconds_at_least() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    let mut now = 0;
    for watched in [true, false, true] {
        for _ in 0..12 {
            after(&mut host, now, Event::Watched(watched));
            after(
                &mut host,
                now,
                Event::Failed { why: Why::Network, by_environment: false, took_ms: 10_000 },
            );
            let Stage::Waiting(until) = host.stage() else { panic!("{:?}", host.stage()) };
            assert!(!watched || until - now <= WATCHED_MS, "{}", until - now);
            now = until;
            after(&mut host, now, Event::Tick);
        }
        let last = host.delay(Why::Network, 10_000);
        assert!(watched || last >= MAX_MS / 2, "nobody looks: {last}");
    }
}

#[test]
fn a_port_that_refuses_is_tried_four_times_a_second_while_somebody_looks_and_four_times_a_minute_else() {
    for (watched, least, most) in [(true, 230, 241), (false, 3, 4)] {
        for seed in 0..50 {
            let mut host: Machine = Dialling::new(seed, 0);
            after(&mut host, 0, Event::Watched(watched));
            after(&mut host, 0, Event::Members(true));
            let (mut now, mut attempts) = (0, 0);
            while now < 60_000 {
                attempts += 1;
                let refused = Event::Failed { why: Why::Refused, by_environment: false, took_ms: 1 };
                after(&mut host, now + 1, refused);
                now = next_attempt(&mut host);
            }
            assert!((least..=most).contains(&attempts), "{watched}: {attempts}");
        }
    }
}

#[test]
fn what_hangs_up_before_a_word_is_tried_often_while_somebody_looks_and_seldom_else() {
    let tries = |watched: bool, within: u64, took_ms: u64| {
        let mut host = host();
        after(&mut host, 0, Event::Watched(watched));
        after(&mut host, 0, Event::Members(true));
        let (mut now, mut tries) = (0, 0);
        while now < within {
            tries += 1;
            after(
                &mut host,
                now + took_ms,
                Event::Failed { why: Why::HungUp, by_environment: false, took_ms },
            );
            now = next_attempt(&mut host);
        }
        tries
    };
    assert!((19..=21).contains(&tries(true, 30_000, 5)));
    assert!((19..=24).contains(&tries(true, 30_000, 1_400)), "it takes its time");
    assert!((20 + 110..=20 + 120).contains(&tries(true, 630_000, 5)));
    assert!(tries(false, 60_000, 5) <= 4);
}

#[test]
fn a_login_that_is_hung_up_on_twice_is_a_persons_business() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    after(&mut host, 5, failed(Why::Shut));
    let at = next_attempt(&mut host);
    // The network is away meanwhile.
    after(&mut host, at, failed(Why::Refused));
    let at = next_attempt(&mut host);
    after(&mut host, at, failed(Why::Shut));
    assert_eq!((host.stage(), host.deadline()), (Stage::Parked(false), None));
    assert_eq!(after(&mut host, at + 1, Event::Person(0)), [asked(0)]);
    after(&mut host, at + 2, failed(Why::Shut));
    assert_eq!(host.stage(), Stage::Parked(false), "once for each time that a person asks");
    // One that came through was no such thing.
    after(&mut host, at + 3, Event::Person(0));
    after(&mut host, at + 4, Event::Up);
    after(&mut host, at + 5, Event::Lost);
    let at = next_attempt(&mut host);
    after(&mut host, at + 1, failed(Why::Shut));
    assert!(matches!(host.stage(), Stage::Waiting(_)));
}

#[test]
fn a_link_that_somebody_looks_at_is_dialled_again_at_once_when_it_breaks_and_not_over_and_over() {
    let mut host = host();
    after(&mut host, 0, Event::Watched(true));
    after(&mut host, 0, Event::Members(true));
    let mut now = 0;
    let cuts = |held, at_once, many| [(held, at_once)].repeat(many);
    let story = [
        cuts(10, true, CUTS as usize),
        cuts(10, false, 3),
        cuts(HELD_MS, true, 2),
        cuts(CUT_MS, true, 20),
        // It has two to spare by now, for the two times that it held for longer.
        cuts(CUT_MS / 2, true, 4),
        cuts(CUT_MS / 2, false, 1),
    ];
    for (n, (held, at_once)) in story.concat().into_iter().enumerate() {
        after(&mut host, now, Event::Up);
        now += held;
        let effects = after(&mut host, now, Event::Lost);
        assert_eq!(!effects.is_empty(), at_once, "cut {n}");
        if !at_once {
            now = next_attempt(&mut host);
        }
    }
    after(&mut host, now, Event::Up);
    after(&mut host, now, Event::Watched(false));
    assert_eq!(after(&mut host, now + HELD_MS, Event::Lost), [], "all laptops at the same moment");
    let soon = host.deadline().unwrap() - now - HELD_MS;
    assert!((500..=1_000).contains(&soon), "{soon}");
}

#[test]
fn a_network_that_changes_all_the_time_is_no_more_than_two_attempts_in_two_seconds() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    let mut attempts = 0;
    for now in (0..10_000).step_by(10) {
        let effects = [after(&mut host, now, Event::Woke), after(&mut host, now, Event::Tick)].concat();
        attempts += usize::from(!effects.is_empty());
        if host.stage() == Stage::Dialling {
            host.attempt.woke = false;
            after(&mut host, now, failed(Why::Network));
        }
    }
    assert!((8..=11).contains(&attempts), "{attempts}");
}

#[test]
fn a_second_link_that_carries_on_is_an_attempt_that_was_not_begun() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    after(&mut host, 5, Event::Up);
    assert_eq!(after(&mut host, 90, Event::Replaced(0)), []);
    assert_eq!(host.stage(), Stage::Dialling);
    assert_eq!(after(&mut host, 91, Event::Want("me", 0)), []);
    assert_eq!(after(&mut host, 99, Event::Up), [Effect::Tell("me", true)]);
}

#[test]
fn an_agent_that_was_away_is_no_reason_to_wait_for_a_person() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    after(&mut host, 10, failed(Why::Agent));
    assert_eq!((host.stage(), host.deadline()), (Stage::Parked(true), None));
    assert_eq!(after(&mut host, 5_000, Event::News), [UNASKED]);
    // One that answers and then is of no use again is not a reason to knock every time.
    let mut attempts = 0;
    after(&mut host, 5_010, failed(Why::Agent));
    for now in (6_000..126_000).step_by(1_000) {
        if after(&mut host, now, Event::News) == [UNASKED] {
            attempts += 1;
            after(&mut host, now + 5, failed(Why::Agent));
        }
    }
    assert!((3..=10).contains(&attempts), "{attempts}");
}

#[test]
fn who_asks_from_another_environment_is_not_told_what_was_the_fault_of_the_first() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    assert_eq!(after(&mut host, 1, Event::Want("cron", 0)), []);
    assert_eq!(after(&mut host, 1, Event::Want("login", 4)), []);
    assert_eq!(after(&mut host, 1, Event::Want("login too", 4)), []);
    assert_eq!(after(&mut host, 9, failed(Why::Agent)), [Effect::Tell("cron", false), asked(4)]);
    assert_eq!(
        after(&mut host, 20, Event::Up),
        [Effect::Tell("login", true), Effect::Tell("login too", true)]
    );
    // A silent network is the same for everybody.
    let mut host = self::host();
    after(&mut host, 0, Event::Members(true));
    after(&mut host, 1, Event::Want("login", 4));
    assert_eq!(after(&mut host, 9, failed(Why::Network)), [Effect::Tell("login", false)]);
}

#[test]
fn a_person_who_looks_from_another_environment_has_an_attempt_of_their_own() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    assert_eq!(after(&mut host, 1, Event::Person(4)), []);
    assert_eq!(after(&mut host, 2, failed(Why::Person)), [asked(4)]);
    assert_eq!(after(&mut host, 3, failed(Why::Person)), []);
    assert_eq!(host.stage(), Stage::Parked(false));
}

#[test]
fn what_worked_last_is_what_a_lost_link_is_dialled_again_with() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    after(&mut host, 1, failed(Why::Agent));
    after(&mut host, 2, Event::Person(4));
    after(&mut host, 3, Event::Up);
    after(&mut host, 50, Event::Lost);
    let at = host.deadline().unwrap();
    assert_eq!(after(&mut host, at, Event::Tick), [Effect::Dial { from: 4, asked: false }]);
    // Somebody without a key looks: that fails, and is no reason to wait for a person.
    after(&mut host, at + 1, failed(Why::Network));
    assert_eq!(after(&mut host, at + 2, Event::Want("cron", 5)), [asked(5)]);
    assert_eq!(after(&mut host, at + 3, failed(Why::Person)), [Effect::Tell("cron", false)]);
    let at = host.deadline().unwrap();
    assert_eq!(after(&mut host, at, Event::Tick), [Effect::Dial { from: 4, asked: false }]);
    after(&mut host, at + 1, failed(Why::Person));
    assert_eq!(host.stage(), Stage::Parked(false), "the one that worked is refused too");
}

#[test]
fn a_link_that_breaks_as_soon_as_it_is_up_is_dialled_ever_more_slowly_and_one_that_held_at_once() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    let (mut now, mut gaps) = (0, Vec::new());
    for held in [&[10; 13][..], &[HELD_MS - 1, HELD_MS, HELD_MS]].concat() {
        after(&mut host, now + 5, Event::Up);
        after(&mut host, now + 5 + held, Event::Lost);
        let lost = now + 5 + held;
        now = next_attempt(&mut host);
        gaps.push(now - lost);
    }
    let (soon, rest) = gaps.split_at(CUTS as usize + 1);
    assert!(soon.iter().all(|gap| *gap <= 1_000), "{gaps:?}");
    assert!(rest[2..7].iter().all(|gap| *gap >= MAX_MS / 2), "{gaps:?}");
    assert!(rest[7..].iter().all(|gap| *gap <= 1_000), "{gaps:?}");
}

#[test]
fn a_host_that_nobody_needs_any_more_is_let_go() {
    for why in [Why::Refused, Why::Network, Why::Config, Why::Agent, Why::Person] {
        let mut host = host();
        after(&mut host, 0, Event::Want("me", 0));
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 9, failed(why));
        assert_ne!(host.stage(), Stage::Dormant);
        assert_eq!(after(&mut host, 10, Event::Members(false)), []);
        assert_eq!((host.stage(), host.deadline()), (Stage::Dormant, None), "{why:?}");
    }
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    assert_eq!(after(&mut host, 5, Event::Members(false)), [Effect::Abandon]);
    assert_eq!(host.stage(), Stage::Dormant);
    // What the attempt came to all the same is heard by nobody.
    assert_eq!(after(&mut host, 6, Event::Up), []);
    assert_eq!(host.stage(), Stage::Dormant);
}

#[test]
fn a_link_is_kept_for_a_minute_after_the_last_who_needed_it() {
    let mut host = host();
    after(&mut host, 0, Event::Want("me", 0));
    assert_eq!(after(&mut host, 1_000, Event::Up), [Effect::Tell("me", true)]);
    assert_eq!(host.deadline(), Some(1_000 + UNUSED_MS));
    after(&mut host, 30_000, Event::Members(true));
    assert_eq!(host.deadline(), None);
    after(&mut host, 500_000, Event::Members(false));
    assert_eq!(after(&mut host, 530_000, Event::Want("you", 9)), [Effect::Tell("you", true)]);
    assert_eq!(after(&mut host, 530_000 + UNUSED_MS - 1, Event::Tick), []);
    assert_eq!(after(&mut host, 530_000 + UNUSED_MS, Event::Tick), [Effect::HangUp]);
    assert_eq!(host.stage(), Stage::Dormant);
}

#[test]
fn a_machine_that_slept_in_the_middle_of_an_attempt_dials_again_at_once() {
    let mut host = host();
    after(&mut host, 0, Event::Members(true));
    after(&mut host, 1, Event::Woke);
    assert_eq!(after(&mut host, 2, failed(Why::Network)), [UNASKED]);
    assert_eq!(after(&mut host, 3, failed(Why::Network)), []);
    assert!(matches!(host.stage(), Stage::Waiting(_)));
}

fn any_event() -> impl proptest::strategy::Strategy<Value = Event<&'static str>> {
    use proptest::prelude::*;
    let why = prop_oneof![
        Just(Why::Refused),
        Just(Why::Network),
        Just(Why::Config),
        Just(Why::Agent),
        Just(Why::Person)
    ];
    prop_oneof![
        any::<bool>().prop_map(Event::Members),
        (0u32..3).prop_map(|origin| Event::Want("who", origin)),
        (0u32..3).prop_map(Event::Person),
        Just(Event::Hasten),
        any::<bool>().prop_map(Event::Watched),
        Just(Event::Woke),
        Just(Event::News),
        Just(Event::Up),
        (why, any::<bool>(), 0u64..20_000).prop_map(|(why, by_environment, took_ms)| Event::Failed {
            why,
            by_environment,
            took_ms
        }),
        Just(Event::Lost),
        Just(Event::Replaced(0)),
        Just(Event::Tick),
    ]
}

proptest::proptest! {
    /// Whatever comes in which order: one attempt at a time, everybody who waits is told once and only of an attempt,
    /// and nobody waits while there is none.
    #[test]
    fn one_attempt_at_a_time_and_nobody_is_forgotten(
        events in proptest::collection::vec((any_event(), 0u64..90_000), 1..200),
    ) {
        let (mut host, mut now) = (host(), 0);
        let (mut on_its_way, mut waiting) = (false, 0i64);
        for (event, later) in events {
            now += later;
            if matches!(event, Event::Want(..)) {
                waiting += 1;
            }
            let ends = on_its_way && matches!(event, Event::Up | Event::Failed { .. });
            let parked = host.stage() == Stage::Parked(false);
            host.handle(now, event);
            on_its_way &= !ends;
            for effect in effects(&mut host) {
                match effect {
                    Effect::Dial { .. } => {
                        proptest::prop_assert!(!on_its_way, "two attempts at once");
                        proptest::prop_assert!(
                            !parked || matches!(event, Event::Want(..) | Event::Person(_)),
                            "without a person: {event:?}"
                        );
                        on_its_way = true;
                    }
                    Effect::Abandon => on_its_way = false,
                    Effect::Tell(..) => waiting -= 1,
                    Effect::HangUp => {}
                }
            }
            on_its_way |= matches!(event, Event::Replaced(_)) && host.stage() == Stage::Dialling;
            proptest::prop_assert_eq!(on_its_way, host.stage() == Stage::Dialling);
            proptest::prop_assert!(waiting == 0 || (waiting > 0 && on_its_way), "{} wait", waiting);
        }
    }
}
