//! What a script of events does is the same each time, and no event at any time brings a session into a state that none is in.

use super::*;
use proptest::prelude::*;

fn step(rig: &mut Rig, what: u8, n: u64) {
    if rig.session.is_over() {
        return;
    }
    match what {
        0 => {
            rig.link(alive());
        }
        1 => {
            rig.link(inventory(vec![]));
        }
        2 => {
            rig.link(inventory(vec![report(JOB, Liveness::Exited)]));
        }
        3 => {
            rig.lose_link();
        }
        4 if rig.stream.is_some() => {
            rig.status();
        }
        5 if rig.stream.is_some() => {
            rig.holder(Frame::Exited(exit(7, n)));
        }
        6 if rig.waiting.is_some() => {
            rig.let_write(if n.is_multiple_of(3) { full() } else { Ok(()) });
        }
        7 => {
            rig.delete(n, n.is_multiple_of(2));
        }
        8 => {
            rig.restart(n, Uuid::from_u128(0xb));
        }
        9 => {
            rig.attach(Uuid::from_u128(u128::from(n % 3 + 1)), (80, 24));
        }
        10 => {
            rig.tell(Event::ViewGone {
                view: Uuid::from_u128(u128::from(n % 3 + 1)),
                on_purpose: n.is_multiple_of(2),
            });
        }
        11 => {
            rig.tell(Event::Tag(m::Tag { name: Some("x".into()), ..m::Tag::default() }, Asker(n)));
        }
        12 => {
            rig.answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()));
        }
        13 => {
            rig.answer(AgentRequest::Forget, LinkAnswer::Done(Default::default()));
        }
        14 => {
            rig.tell(Event::Answered(
                [AgentRequest::Screen, AgentRequest::Spawn, AgentRequest::Forget][n as usize % 3],
                None,
            ));
        }
        15 => {
            rig.later(n * 37);
        }
        16 => {
            rig.tell(Event::WhenRunning(Asker(n)));
        }
        17 if rig.stream.is_some() => {
            rig.holder(Frame::Close(m::Close::default()));
            rig.stream = None;
        }
        18 => {
            rig.types(n, b"x");
        }
        19 => {
            rig.answer(AgentRequest::Spawn, LinkAnswer::Spawned(Default::default()));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_order_of_events_makes_a_state_that_none_is_in(
        begins: bool,
        steps in proptest::collection::vec((0u8..20, 0u64..100), 1..60),
    ) {
        let run = || {
            let mut rig = if begins { Rig::asked_for() } else { Rig::of(record(State::Disconnected), None) };
            rig.holds_writes = true;
            let mut replies = std::collections::HashMap::<u64, u32>::new();
            for (what, n) in &steps {
                step(&mut rig, *what, *n);
                assert_eq!(rig.session.contradiction(), None);
            }
            for did in &rig.did {
                let mut words = did.split(' ');
                if let (Some("reply" | "refuse" | "look-again"), Some(asker)) = (words.next(), words.next()) {
                    *replies.entry(asker.parse().unwrap_or(0)).or_default() += 1;
                }
            }
            (rig.did, replies.len())
        };
        let (did, _) = run();
        prop_assert_eq!(&did, &run().0, "the same events do the same");
        // The record goes at most once, and nothing is written after.
        let forgot = did.iter().position(|did| did == "deleted");
        if let Some(at) = forgot {
            prop_assert!(!did[at..].iter().any(|did| did.starts_with("save") || did == "forget"));
        }
        // A job is only ever asked for by a session that begins.
        if !begins {
            prop_assert!(!did.iter().any(|did| did.starts_with("ask Spawn")));
        }
    }
}
