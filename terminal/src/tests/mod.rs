//! Tables on the whole model.

use crate::*;

#[allow(dead_code, unreachable_pub)]
#[path = "../../testkit/generate.rs"]
mod generate;
mod hostile;
mod hub;
mod property;
mod queries;

fn term(bytes: &[u8]) -> Terminal {
    let mut t = Terminal::new(Size { cols: 20, rows: 5 }, 100);
    t.feed(bytes);
    t
}

const ALL: SnapshotOptions = SnapshotOptions { scrollback_lines: usize::MAX, erase_scrollback: true };

fn again(t: &Terminal) -> Terminal {
    let mut out = Vec::new();
    t.snapshot(ALL, &mut out);
    let mut r = Terminal::new(t.size(), 100);
    r.feed(&out);
    r
}

#[test]
fn text_wraps_and_scrolls() {
    let t = term(b"hello\r\nworld\r\n0123456789012345678901234\r\na\r\nb\r\nc");
    assert_eq!(t.scrollback_len(), 2);
    assert_eq!(t.text(10), "hello\nworld\n01234567890123456789\n01234\na\nb\nc\n");
    let r = again(&t);
    assert_eq!(r.text(10), t.text(10));
    assert_eq!(r.cursor(), t.cursor());
    assert_eq!(r.scrollback_len(), 2);
}

#[test]
fn an_editor_leaves_to_the_right_primary_screen() {
    let t = term(b"shell\x1b[31m\x1b[?1049h\x1b[2J\x1b[H~\r\n~");
    let mut r = again(&t);
    assert!(r.is_alternate());
    assert_eq!(r.text(0), "~\n~\n");
    r.feed(b"\x1b[?1049lx");
    assert_eq!(r.text(0), "shellx\n");
    assert_eq!(r.ansi(0), b"shell\x1b[0;31mx\x1b[m\n");
}
