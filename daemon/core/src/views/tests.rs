use super::*;

fn view(id: u128, terminal: bool) -> View {
    View {
        id: Uuid::from_u128(id),
        kind: "cli".into(),
        read_only: false,
        take: false,
        lossless: false,
        size: Some(if terminal { (80, 24) } else { (200, 100) }),
        resume: None,
        credit: 1 << 20,
        scrollback_lines: 0,
        paced: false,
        differences: None,
        from: String::new(),
        passive: !terminal,
        uncounted: !terminal,
        owns: false,
        no_output: !terminal,
        standing: None,
        terminal: String::new(),
        traits: None,
        no_images: false,
    }
}

/// It is asked what it wants, not guessed from whether it types: a script that types is no terminal.
#[test]
fn who_is_no_terminal_takes_neither_the_lead_nor_the_size_nor_the_jobs_questions() {
    let (person, script) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut views = Views::default();
    views.join(view(1, true), "j", 0);
    views.join(view(2, false), "j", 0);
    for _ in 0..2 {
        assert_eq!(
            (views.leaders.leader(), views.leaders.size(SizePolicy::Latest)),
            (Some(person), Some((80, 24)))
        );
        let presence = views.presence();
        assert_eq!((presence.views, presence.interactive), (1, true));
        assert!(!views.leaders.typed(script), "typing does not make it lead");
    }
    assert_eq!(views.docs(SizePolicy::Latest).len(), 1, "nobody sees it in a list");
    views.leave(person);
    // Alone it is nobody's terminal: the holder answers the job's questions, and the size stays what it is.
    assert_eq!((views.leaders.leader(), views.leaders.size(SizePolicy::Latest)), (None, None));
    assert_eq!((views.presence().views, views.presence().interactive), (0, false));
}

/// To whom something was sent, in order.
#[derive(Default)]
struct Sent(Vec<u128>);

impl Connections for Sent {
    fn append_to_view(&mut self, view: Uuid, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.0.last() != Some(&view.as_u128()) {
            self.0.push(view.as_u128());
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        bytes.len()
    }

    fn close_view(&mut self, _: Uuid) {}

    fn when_drained(&mut self, _: Uuid) {}
}

#[test]
fn who_typed_last_is_sent_a_keys_echo_before_all_others() {
    let mut views = Views::default();
    (1..=5).for_each(|id| views.join(view(id, true), "j", 0));
    let mut ring = Ring::new(1 << 16, 0);
    let screen = Terminal::new(Size { cols: 80, rows: 24 }, 0);
    let sent_to = |views: &mut Views, ring: &Ring, now| {
        let mut sent = Sent::default();
        views.pump(ring, Some(&screen), Size { cols: 80, rows: 24 }, now, &mut sent);
        sent.0
    };
    assert_eq!(sent_to(&mut views, &ring, 0), [5, 1, 2, 3, 4], "a screen; the one that came last leads");
    ring.append(b"output");
    assert_eq!(sent_to(&mut views, &ring, 1), [5, 1, 2, 3, 4]);
    for (typist, rest, now) in [(3, [1, 2, 4, 5], 10), (1, [2, 3, 4, 5], 20)] {
        views.typed(Uuid::from_u128(typist), now);
        ring.append(b"x");
        assert_eq!(sent_to(&mut views, &ring, now + 1), [typist]);
        assert_eq!(sent_to(&mut views, &ring, now + 2), [], "nobody has waited long enough");
        assert_eq!(sent_to(&mut views, &ring, now + 3), rest, "a moment later");
    }
    // A page of output is no echo, and the last words go to all.
    ring.append(&[b'x'; 2000]);
    assert_eq!(sent_to(&mut views, &ring, 30), [1, 2, 3, 4, 5]);
    ring.append(b"bye");
    views.is_last();
    assert_eq!(sent_to(&mut views, &ring, 31), [1, 2, 3, 4, 5]);
    // Who cannot lead is no reason for an order.
    views.join(View { read_only: true, ..view(6, true) }, "j", 0);
    assert_eq!(sent_to(&mut views, &ring, 40), [6], "the others have it");
}
