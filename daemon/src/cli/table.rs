//! Tables: rows under a header, one line each, every column as wide as its widest cell; in a terminal, cut to its width.

use sessd_proto::docs::text::shown;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// What stands above it.
    pub header: &'static str,
    /// Who matters less is cut first, and left out first.
    pub weight: u8,
    /// It is not cut below this width; what is shorter is not cut at all.
    pub min: usize,
}

/// A column with its header, weight and smallest width.
pub const fn column(header: &'static str, weight: u8, min: usize) -> Column {
    Column { header, weight, min }
}

fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// `text` in at most `max` columns of a terminal; where it is cut an ellipsis says so.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if width(text) <= max {
        return text.into();
    }
    let Some(room) = max.checked_sub(1) else { return "".into() };
    let (mut used, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        end = at + c.len_utf8();
    }
    format!("{}…", &text[..end]).into()
}

/// The widths of the columns that stay, none for those that go. `natural`: what each would like; 0 for an empty one.
fn fit(columns: &[Column], natural: &[usize], room: Option<usize>) -> Vec<Option<usize>> {
    let least = |at: usize| natural[at].min(columns[at].min.max(1));
    let mut stay: Vec<usize> = (0..columns.len()).filter(|at| natural[*at] > 0).collect();
    let mut widths = vec![None; columns.len()];
    let Some(room) = room else {
        stay.iter().for_each(|at| widths[*at] = Some(natural[*at]));
        return widths;
    };
    let taken =
        |stay: &[usize]| stay.iter().map(|at| least(*at)).sum::<usize>() + GAP * stay.len().saturating_sub(1);
    stay.sort_by_key(|at| std::cmp::Reverse(columns[*at].weight));
    while stay.len() > 1 && taken(&stay) > room {
        stay.pop();
    }
    // What is left goes to all alike, until each has what it would like.
    let mut left = room.saturating_sub(taken(&stay));
    stay.iter().for_each(|at| widths[*at] = Some(least(*at).min(room)));
    while left > 0 {
        let before = left;
        for at in &stay {
            if let Some(width) = widths[*at].as_mut().filter(|width| **width < natural[*at] && left > 0) {
                *width += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    widths
}

/// The table. There may be many thousands of rows. `room`: the terminal's width, if the table is to fit into it.
pub fn table<const N: usize>(
    columns: [Column; N],
    rows: &[[Cow<'_, str>; N]],
    room: Option<usize>,
) -> String {
    let mut natural = [0; N];
    for row in rows {
        for (widest, cell) in natural.iter_mut().zip(row) {
            if !cell.is_empty() {
                *widest = width(&shown(cell)).max(*widest);
            }
        }
    }
    for (widest, column) in natural.iter_mut().zip(columns) {
        // A column in which nothing stands is left out, its header too.
        if *widest > 0 || rows.is_empty() {
            *widest = width(column.header).max(*widest);
        }
    }
    let widths = fit(&columns, &natural, room);
    let per_row = widths.iter().flatten().map(|w| w + GAP).sum::<usize>();
    let mut text = String::with_capacity(per_row * (rows.len() + 1));
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut missing = 0;
        for (cell, widest) in cells.zip(&widths) {
            let Some(widest) = *widest else { continue };
            let printed = shown(cell);
            let printed = cut(&printed, widest);
            if !printed.is_empty() {
                text.extend(std::iter::repeat_n(' ', missing));
                missing = 0;
                text.push_str(&printed);
            }
            missing += widest.saturating_sub(width(&printed)) + GAP;
        }
        text.push('\n');
    };
    line(&mut columns.iter().map(|column| column.header));
    for row in rows {
        line(&mut row.iter().map(AsRef::as_ref));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [Column; 3] = [column("ONE", 9, 4), column("TWO", 5, 4), column("THREE", 7, 4)];

    fn rows<const R: usize>(rows: [[&'static str; 3]; R]) -> Vec<[Cow<'static, str>; 3]> {
        rows.into_iter().map(|row| row.map(Cow::from)).collect()
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_a_row_is_a_line() {
        let rows = rows([["a", "", "x"], ["名前", "two\nlines\u{1b}\u{202e}", ""], ["", "", "end"]]);
        assert_eq!(
            table(COLUMNS, &rows, None),
            "ONE   TWO                     THREE\n\
             a                             x\n\
             名前  two\\nlines\\x1b\\u{202e}\n                              end\n"
        );
        assert_eq!(table([column("A", 1, 1), column("B", 1, 1)], &[], None), "A  B\n");
    }

    #[test]
    fn what_matters_least_is_cut_first_and_then_left_out() {
        let rows = rows([["name", "a long command line", "running"]]);
        for (room, want) in [
            (80, "ONE   TWO                  THREE\nname  a long command line  running\n"),
            (28, "ONE   TWO            THREE\nname  a long comma…  running\n"),
            (19, "ONE   TWO    THREE\nname  a lo…  runni…\n"),
            (16, "ONE   TWO   THR…\nname  a l…  run…\n"),
            (15, "ONE   THREE\nname  running\n"),
            (11, "ONE   THREE\nname  runn…\n"),
            (9, "ONE\nname\n"),
            (3, "ONE\nna…\n"),
        ] {
            let got = table(COLUMNS, &rows, Some(room));
            assert!(got.lines().all(|line| line.width() <= room), "{room}: {got}");
            assert_eq!(got.lines().count(), 2);
            assert_eq!(got, want, "{room}");
        }
    }

    #[test]
    fn a_column_in_which_nothing_stands_is_left_out() {
        assert_eq!(table(COLUMNS, &rows([["a", "", "x"]]), Some(80)), "ONE  THREE\na    x\n");
    }

    #[test]
    fn a_cut_is_seen() {
        for (text, max, want) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("名前だ", 4, "名…"), ("名", 1, "…"), ("ab", 0, "")]
        {
            assert_eq!(cut(text, max), want);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_room(cells in prop::collection::vec(any::<[String; 3]>(), 0..5), room in 1usize..60) {
            let rows: Vec<_> = cells.into_iter().map(|row| row.map(Cow::from)).collect();
            let text = table(COLUMNS, &rows, Some(room));
            prop_assert_eq!(text.lines().count(), rows.len() + 1);
            for line in text.lines() {
                prop_assert!(line.width() <= room, "{:?}", line);
                prop_assert!(!line.contains(sessd_proto::docs::text::is_hidden));
            }
        }
    }
}
