//! Windows that change their size while somebody looks at them.

use super::*;

/// Both are in, and 40 lines were written to a session of 80x24.
fn rig() -> Rig {
    let mut rig = Rig::running();
    rig.attach(VIEW, (80, 24)).attach(OTHER_VIEW, (80, 24));
    rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" });
    writes(&mut rig, 0, 40);
    rig.took();
    rig
}

/// So many lines, each of three bytes.
fn writes(rig: &mut Rig, offset: u64, lines: usize) {
    rig.holder(Frame::Output { offset, bytes: "x\r\n".repeat(lines).as_bytes() }).works();
}

/// A view's window has another size, and the session takes it on.
fn becomes(rig: &mut Rig, view: Uuid, (cols, rows): (u32, u32)) {
    rig.later(1000).works();
    rig.view(view, Frame::Resize(m::Resize { cols, rows })).works();
    rig.holder(Frame::Resize(m::Resize { cols, rows })).works();
    rig.later(100).works();
}

/// The screen it was given last; before the session has its size, a window is drawn a part.
fn told(rig: &mut Rig, view: &str) -> String {
    rig.took().into_iter().rfind(|did| did.starts_with(view) && did.contains("SNAPSHOT")).unwrap_or_default()
}

/// kitty leaves its scrollback where it is when its window grows: it had those lines twice, there and on the screen.
#[test]
fn a_window_that_grows_is_told_which_rows_come_back_from_its_own_scrollback() {
    let mut rig = rig();
    becomes(&mut rig, VIEW, (80, 40));
    assert_eq!(told(&mut rig, "view 1"), "view 1 SNAPSHOT 120, 16 rows back");
    // Drawn once more for another reason, it has none to give back.
    rig.view(VIEW, Frame::Subscribe(Default::default())).works().later(100).works();
    assert_eq!(told(&mut rig, "view 1"), "view 1 SNAPSHOT 120");
    becomes(&mut rig, VIEW, (80, 30));
    assert_eq!(told(&mut rig, "view 1"), "view 1 SNAPSHOT 120");
    // They went there again by themselves, but for one that the cursor's line took the place of.
    becomes(&mut rig, VIEW, (80, 36));
    assert_eq!(told(&mut rig, "view 1"), "view 1 SNAPSHOT 120, 6 rows back");
}

/// What it was not shown is not in its scrollback: other lines would be taken from there.
#[test]
fn a_window_that_missed_output_gives_back_nothing() {
    let mut rig = rig();
    // The other one leads and has another size; this one is drawn while more is written.
    becomes(&mut rig, OTHER_VIEW, (100, 20));
    rig.view(OTHER_VIEW, Frame::Input { view: OTHER_VIEW, seq: 0, withdrawn: false, bytes: b"x" }).works();
    becomes(&mut rig, OTHER_VIEW, (100, 20));
    writes(&mut rig, 120, 10);
    rig.later(100).works().took();
    becomes(&mut rig, OTHER_VIEW, (80, 24));
    assert_eq!(told(&mut rig, "view 1"), "view 1 SNAPSHOT 150");
}

#[test]
fn who_sizes_a_session_is_written_and_then_the_job_is_told() {
    let mut rig = Rig::running();
    rig.attach(VIEW, (100, 30)).did_also(&["holder RESIZE 100x30"]);
    // Coming takes no size from whoever is there; typing does, before what is typed.
    rig.attach(OTHER_VIEW, (90, 24)).later(25).never("RESIZE").took();
    rig.view(OTHER_VIEW, Frame::Input { view: OTHER_VIEW, seq: 0, withdrawn: false, bytes: b"x" });
    rig.did(&["holder RESIZE 90x24", "holder INPUT x"]);
    rig.tell(Event::ViewGone { view: OTHER_VIEW, on_purpose: true })
        .later(25)
        .did_also(&["holder RESIZE 100x30"]);
    rig.attach(OTHER_VIEW, (90, 40)).took();
    rig.holds_writes = true;
    rig.tell(Event::SetSize(SizePolicy::Largest, None, Asker(1))).did(&["save running 10"]);
    rig.let_write(Ok(())).did(&["holder RESIZE 100x40", "reply 1 Done"]);
    rig.tell(Event::SetSize(SizePolicy::Smallest, Some((7, 7)), Asker(2))).let_write(Ok(()));
    rig.did_also(&["holder RESIZE 90x30", "reply 2 Done"]);
    rig.tell(Event::SetSize(SizePolicy::Fixed, Some((120, 50)), Asker(3))).let_write(full());
    rig.did(&["save running 10", "refuse 3 the disk is full"]);
    rig.tell(Event::SetSize(SizePolicy::Fixed, Some((120, 50)), Asker(4))).let_write(Ok(()));
    rig.did_also(&["holder RESIZE 120x50", "reply 4 Done"]);
    // No view changes it any more, and a job that begins has it from the first.
    rig.types(0, b"x").did(&["holder INPUT x"]);
    rig.view(VIEW, Frame::Resize(m::Resize { cols: 60, rows: 20 })).later(25).never("RESIZE");
    let mut next = rig.dies();
    next.link(alive()).did_also(&["holder RESIZE 120x50"]);
}
