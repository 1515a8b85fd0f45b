//! Keys and words of the job in any order.

use super::*;
use proptest::prelude::*;

/// What a person and a job may do to each other.
#[derive(Debug, Clone)]
enum Step {
    Type(String, u64),
    /// The program writes this by itself.
    Writes(&'static str),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = prop::sample::select(vec![
        "a",
        "b",
        "xyz",
        " ",
        "\x7f",
        "\x7f\x7f\x7f",
        "\r",
        "\x01",
        "\x1b[D",
        "\x1b[C",
        "\x1bOD",
        "ü",
        "漢",
        "\t",
        "ls -l",
        "\x15",
        "\x1b[A",
        "012345678901234567890123456789",
    ]);
    let step = prop_oneof![
        8 => (keys, prop::sample::select(vec![0_u64, 10, 60, 300])).prop_map(|(keys, ms)| Step::Type(keys.into(), ms)),
        1 => prop::sample::select(vec![
            "\r\nnews\r\n$ ", "\x1b[H", "\x1b[2J\x1b[H> ", "\x1b[?1049h\x1b[H", "\x1b[?1049l", "\x1b[31m", "\x1b[4h", "\x1b[4l",
            "\x1b[2;4r", "\x1b[r", "漢", "\x1b[3;30Hright\x1b[3;1H", "\x1b7", "\x1b8", "\x1b[",
        ]).prop_map(Step::Writes),
        2 => (0_u64..700).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

/// A program that edits its line itself, more or less well.
fn editor(key: u8) -> Reaction {
    match key {
        b'\r' => writes("\r\n$ "),
        0x7f => writes("\x08 \x08"),
        0x01 => writes("\r"),
        0x15 => writes("\r\x1b[K$ "),
        b'\t' => writes("completed "),
        0..0x20 => writes(""),
        key => writes([key]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is typed and written, what a person sees in the end is what is there.
    #[test]
    fn after_the_last_word_the_screen_is_the_jobs(steps in steps(), one_way in 1_u64..250, lines: bool) {
        let mut world = match lines {
            false => World::new(one_way, "$ ", RAW, editor),
            true => World::new(one_way, "$ ", LINES, asks()),
        };
        for step in steps {
            match step {
                Step::Type(keys, ms) => {
                    world.type_at_once(keys.as_bytes());
                    world.pass(ms);
                }
                Step::Writes(text) => {
                    world.acts.push((world.now, None, text.into()));
                    world.pass(1);
                }
                Step::Pass(ms) => world.pass(ms),
            }
        }
        world.pass(2 * one_way + 700);
        prop_assert_eq!(world.predictor.overlay(&Model(&world.screen)), None);
        prop_assert!(world.predictor.rows.is_empty() && world.predictor.pending.is_empty());
    }

    /// No cell ever shows a key that was written while the terminal did not echo. Every key is a character of its own.
    #[test]
    fn no_key_is_ever_seen_that_the_terminal_did_not_show(
        keys in prop::collection::vec((0_u8..8, 0_u64..400), 1..60),
        one_way in 1_u64..300,
    ) {
        let mut world = World::new(one_way, "$ ", LINES, asks());
        types_of_its_own(&mut world, &keys);
        let hidden = String::from_utf8_lossy(&world.hidden);
        let leaked: Vec<&char> = world.seen.iter().filter(|c| hidden.contains(**c)).collect();
        prop_assert!(leaked.is_empty(), "{leaked:?}");
    }
}
