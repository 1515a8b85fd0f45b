//! What is open over the list: questions of ours and of hosts. Pure.

use super::{Paint, blank, field, many, text, wrapped};
use crate::dialog::{Dialog, Sure};
use crate::edit::Edit;
use crate::list::Entry;
use crate::machine::{Look, Machine};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use sessd_proto::docs::text::clean;

/// An empty box in the middle, of so much room within as there is; what is within.
fn frame(buffer: &mut Buffer, title: &str, width: u16, height: u16, paint: Paint) -> Rect {
    let whole = buffer.area;
    let (width, height) = ((width + 4).min(whole.width), (height + 2).min(whole.height));
    let area = Rect::new((whole.width - width) / 2, (whole.height - height) / 2, width, height);
    blank(buffer, area);
    let rule = "─".repeat(usize::from(width.saturating_sub(2)));
    text(buffer, area.x, area.y, width, &format!("┌{rule}┐"), paint.dim());
    for y in area.y + 1..area.bottom().saturating_sub(1) {
        text(buffer, area.x, y, 1, "│", paint.dim());
        text(buffer, area.right().saturating_sub(1), y, 1, "│", paint.dim());
    }
    text(buffer, area.x, area.bottom().saturating_sub(1), width, &format!("└{rule}┘"), paint.dim());
    text(buffer, area.x + 2, area.y, width.saturating_sub(4), &format!(" {title} "), paint.bold());
    Rect::new(area.x + 2, area.y + 1, width.saturating_sub(4), height.saturating_sub(2))
}

/// Width of the names of the keys in the help, with the gap behind.
const KEYS: u16 = 12;
/// Width of the help, where there is room.
const HELP_WIDTH: u16 = 66;

const HELP: [(&str, &str); 15] = [
    ("1-9", "attach to the one of that number"),
    ("up down j k", "choose; so do the wheel and a click, two clicks attach"),
    ("n", "a new session, with a name or without, on any host"),
    ("r  t", "rename it, tag it"),
    ("d  d3", "end it (asks), or the one of that number"),
    ("x", "end all that are shown (asks)"),
    ("R", "a new job in the same session"),
    ("/", "filter: letters of a name, words of anything else"),
    ("p space", "its screen, as large as there is room"),
    ("e", "with or without those that have ended"),
    ("?", "this"),
    ("q esc", "leave; sessions run on"),
    ("", ""),
    ("(open)", "somebody looks at it"),
    ("waiting", "its job wants somebody"),
];

/// The help in lines of so much room.
fn help(width: u16, look: Look) -> Vec<(&'static str, String)> {
    let attach = match look.way_back() {
        Some(key) => format!("attach; the detach key ({key}) comes back here"),
        None => "attach; no key comes back here, `sessd detach NAME` elsewhere does".to_owned(),
    };
    let all = std::iter::once(("enter", attach.as_str())).chain(HELP);
    let lines = all.flat_map(|(key, what)| {
        let what = wrapped(what, width.saturating_sub(KEYS)).into_iter().enumerate();
        what.map(move |(at, line)| (if at == 0 { key } else { "" }, line)).collect::<Vec<_>>()
    });
    lines.collect()
}

/// How far the help can be scrolled on a screen of that size.
pub(crate) fn help_scrolls(area: Rect, look: Look) -> u16 {
    let lines = help(HELP_WIDTH.min(area.width.saturating_sub(4)), look).len() as u16;
    lines.saturating_sub(area.height.saturating_sub(2))
}

/// What is open over the list; the place of the cursor.
pub(super) fn dialog(machine: &Machine, paint: Paint, buffer: &mut Buffer) -> Option<(u16, u16)> {
    match machine.dialog.as_ref()? {
        Dialog::Rename(..) | Dialog::Tags(..) => None,
        Dialog::Help(top) => {
            let lines = help(HELP_WIDTH.min(buffer.area.width.saturating_sub(4)), machine.look);
            let scrolls = help_scrolls(buffer.area, machine.look);
            let title = if scrolls > 0 { "keys: up down for more" } else { "keys" };
            let area = frame(buffer, title, HELP_WIDTH, lines.len() as u16, paint);
            let top = usize::from((*top).min(scrolls));
            for ((key, what), y) in lines[top..].iter().zip(area.y..area.bottom()) {
                text(buffer, area.x, y, KEYS - 1, key, paint.bold());
                text(buffer, area.x + KEYS, y, area.width.saturating_sub(KEYS), what, Style::new());
            }
            None
        }
        Dialog::New(new) => {
            let hosts = new.fitting.len().clamp(1, 10) as u16;
            let title =
                if machine.list.entries.is_empty() { "no session yet: make one" } else { "a new session" };
            let hint = "enter makes it  esc back  tab field  up down host";
            let hint = wrapped(hint, 56.min(buffer.area.width.saturating_sub(4)));
            let below = hint.len() as u16;
            let area = frame(buffer, title, 56, hosts + 3 + below, paint);
            let line = |at: u16| Rect::new(area.x, area.y + at, area.width, 1);
            let name = field(buffer, line(0), "name (or none): ", &new.name, paint);
            let host = field(buffer, line(1), "host:           ", &new.host, paint);
            let room = usize::from(area.height.saturating_sub(2 + below));
            let top = (new.chosen + 1).saturating_sub(room.max(1));
            for (at, (one, y)) in new
                .fitting
                .iter()
                .enumerate()
                .skip(top)
                .zip(area.y + 2..area.bottom().saturating_sub(below))
                .map(|((at, one), y)| (at, (one, y)))
            {
                let chosen = at == new.chosen;
                let style = if chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
                text(buffer, area.x, y, 2, if chosen { "▸" } else { "" }, paint.bold());
                text(buffer, area.x + 2, y, area.width.saturating_sub(2), &clean(one, 100), style);
            }
            if new.fitting.is_empty() {
                text(
                    buffer,
                    area.x + 2,
                    area.y + 2,
                    area.width.saturating_sub(2),
                    "no such host",
                    paint.dim(),
                );
            }
            for (line, y) in hint.iter().zip(area.bottom().saturating_sub(below)..) {
                text(buffer, area.x, y, area.width, line, paint.dim());
            }
            Some(if new.at_host { host } else { name })
        }
        Dialog::Confirm(confirm) => {
            let entry = |id: &str| machine.list.entries.get(id);
            let label = |id: &str| entry(id).map_or_else(|| id.to_owned(), Entry::label);
            let on = |id: &str| entry(id).map_or_else(String::new, |e| clean(&e.doc.host, 100));
            let (title, said) = match &confirm.what {
                Sure::Delete(id) if entry(id).is_some_and(|e| !e.is_live()) => {
                    ("forget", format!("Forget {}, which has ended?", label(id)))
                }
                Sure::Delete(id) => {
                    let what = entry(id).and_then(|e| e.doc.foreground.clone()).map(|f| clean(&f, 60));
                    let runs = what.map(|what| format!(", which runs {what}")).unwrap_or_default();
                    ("kill", format!("End {} on {}{runs}?", label(id), on(id)))
                }
                Sure::DeleteAll(ids) => {
                    let some: Vec<String> = ids.iter().take(6).map(|id| label(id)).collect();
                    let more = if ids.len() > 6 { ", …" } else { "" };
                    let which = if machine.filter.is_empty() { "all" } else { "the" };
                    (
                        "kill all",
                        format!("End {which} {}: {}{more}?", many(ids.len(), "session"), some.join(", ")),
                    )
                }
                Sure::Restart(id) => ("restart", format!("End the job of {} and begin it anew?", label(id))),
                Sure::Again(id) => {
                    let how = entry(id).map(|e| format!(" ({})", e.doing())).unwrap_or_default();
                    ("it has ended", format!("{} has ended{how}. Begin it anew?", label(id)))
                }
            };
            let hint = match (&confirm.what, confirm.numbered) {
                (_, true) => "y or enter: yes   any other key: no",
                (Sure::Delete(_), false) => "y: yes   1-9: that one instead   any other key: no",
                _ => "y: yes   any other key: no",
            };
            let width = buffer.area.width.saturating_sub(6).min(64);
            let (lines, hint) = (wrapped(&said, width), wrapped(hint, width));
            let below = hint.len() as u16;
            let area = frame(buffer, title, width, lines.len() as u16 + below, paint);
            // What to press is seen, however much it is about.
            let hints_at = area.bottom().saturating_sub(below).max(area.y);
            for (line, y) in lines.iter().zip(area.y..hints_at) {
                text(buffer, area.x, y, area.width, line, paint.bold());
            }
            for (line, y) in hint.iter().zip(hints_at..area.bottom()) {
                text(buffer, area.x, y, area.width, line, paint.dim());
            }
            None
        }
    }
}

/// What a host asks; the place of the cursor.
pub(super) fn question(machine: &Machine, paint: Paint, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let asked = machine.questions.front()?;
    let width = buffer.area.width.saturating_sub(6).min(72);
    let mut lines: Vec<String> = asked.question.text.lines().flat_map(|line| wrapped(line, width)).collect();
    let prompt = wrapped(&asked.question.prompt, width);
    lines.extend(prompt);
    let shown = Edit::new(&asked.shown());
    let hint = if asked.question.echo {
        "enter answers  esc declines"
    } else {
        "not shown; enter answers  esc declines"
    };
    let hint = wrapped(hint, width);
    let below = hint.len() as u16;
    let area =
        frame(buffer, &format!("{} asks", asked.question.host), width, lines.len() as u16 + 1 + below, paint);
    // The end is what is asked: where there is no room for all, the beginning goes.
    let room = usize::from(area.height.saturating_sub(1 + below));
    let from = lines.len().saturating_sub(room);
    for (line, y) in lines[from..].iter().zip(area.y..area.bottom()) {
        text(buffer, area.x, y, area.width, line, Style::new());
    }
    let at = Rect::new(area.x, area.bottom().saturating_sub(1 + below), area.width, 1);
    let cursor = field(buffer, at, "", &shown, paint);
    for (line, y) in hint.iter().zip(area.bottom().saturating_sub(below)..area.bottom()) {
        text(buffer, area.x, y, area.width, line, paint.dim());
    }
    Some(cursor)
}
