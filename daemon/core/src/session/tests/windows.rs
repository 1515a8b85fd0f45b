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
