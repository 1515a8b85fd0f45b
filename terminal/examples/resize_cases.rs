//! Prints cases of windows that change their size, as JSON: what a terminal is written and when its window changes, and the text
//! that it should have then, scrollback and screen as one and lines that were wrapped made whole. `cargo run --example resize_cases > sizes.json`
//!
//! After each change, or after some, it is written what a view is: a snapshot of the model.

use sessd_terminal::{Size, SnapshotOptions, Terminal};

enum Step {
    Lines(usize),
    /// The window changes.
    To(u16, u16),
    /// A view is drawn anew.
    Drawn,
}
use Step::{Drawn, Lines, To};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn main() {
    // Of a window of 20 columns, so that some lines are wrapped.
    let cases: &[(&str, &[Step])] = &[
        ("grows", &[Lines(30), To(20, 16), Drawn, Lines(5)]),
        ("grows-twice", &[Lines(30), To(20, 12), Drawn, To(20, 16), Drawn, Lines(30)]),
        ("grows-and-is-drawn-late", &[Lines(30), To(20, 10), To(20, 13), To(20, 16), Drawn, Lines(3)]),
        ("grows-and-writes-before-it-is-drawn", &[Lines(30), To(20, 16), Lines(4), Drawn, Lines(3)]),
        ("grows-and-shrinks", &[Lines(30), To(20, 16), Drawn, To(20, 8), Drawn, To(20, 14), Drawn, Lines(3)]),
        ("shrinks-and-grows", &[Lines(30), To(20, 4), Drawn, To(20, 8), Drawn, Lines(3)]),
        ("a-storm", &[Lines(30), To(20, 4), To(20, 12), To(20, 6), To(20, 16), Drawn, Lines(40)]),
        ("grows-beyond-what-there-is", &[Lines(12), To(20, 40), Drawn, Lines(3)]),
        ("wider", &[Lines(30), To(30, 8), Drawn, Lines(3)]),
        ("narrower", &[Lines(30), To(11, 8), Drawn, Lines(3)]),
        ("wider-and-higher", &[Lines(30), To(31, 14), Drawn, Lines(3)]),
        ("narrower-and-back", &[Lines(30), To(11, 8), Drawn, To(20, 8), Drawn, Lines(3)]),
        ("grows-where-nothing-scrolled", &[Lines(3), To(20, 16), Drawn, Lines(30)]),
    ];
    let mut all = Vec::new();
    for (name, steps) in cases {
        let mut model = Terminal::new(Size { cols: 20, rows: 8 }, 1000);
        let (mut said, mut written, mut returned) = (Vec::new(), vec![String::new()], 0);
        for step in *steps {
            match *step {
                Lines(count) => {
                    let mut bytes = Vec::new();
                    for _ in 0..count {
                        let n = written.len();
                        // Every fifth does not fit.
                        let line = format!("{n}.").repeat(if n % 5 == 0 { 9 } else { 1 });
                        bytes.extend_from_slice(format!("\r\n{line}").as_bytes());
                        written.push(line);
                    }
                    model.feed(&bytes);
                    said.push(format!("[\"write\",\"{}\"]", hex(&bytes)));
                }
                To(cols, rows) => {
                    model.resize(Size { cols, rows });
                    said.push(format!("[\"size\",{cols},{rows}]"));
                }
                Drawn => {
                    let (total, standing) = model.rows_returned();
                    let unscroll = standing.min(total - std::mem::replace(&mut returned, total));
                    let mut bytes = Vec::new();
                    model.snapshot(SnapshotOptions { unscroll, ..SnapshotOptions::default() }, &mut bytes);
                    said.push(format!("[\"write\",\"{}\"]", hex(&bytes)));
                }
            }
        }
        let text: Vec<String> = written.iter().map(|line| format!("{line:?}")).collect();
        all.push(format!(
            "{{\"name\":\"{name}\",\"steps\":[{}],\"text\":[{}]}}",
            said.join(","),
            text.join(",")
        ));
    }
    println!("[{}]", all.join(",\n"));
}
