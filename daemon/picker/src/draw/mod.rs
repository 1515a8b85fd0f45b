//! How it looks: the list, the screen of the session selected, and what is open over them. Pure.

mod over;

pub(crate) use over::help_scrolls;

use crate::Now;
use crate::dialog::Dialog;
use crate::edit::Edit;
use crate::list::{Entry, Line};
use crate::machine::Machine;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use sessd_proto::docs::text::clean;
use sessd_proto::docs::{LinkState, State, words};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns before a session's name: what is selected, and its number.
const MARGIN: u16 = 4;
/// A terminal of so many columns has the screen beside the list.
const BESIDE: u16 = 110;
/// Rows between title and last line that make room for a screen below the list.
const BELOW: u16 = 14;

/// Where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) title: Rect,
    pub(crate) header: Option<Rect>,
    pub(crate) list: Rect,
    pub(crate) preview: Option<Rect>,
    pub(crate) footer: Rect,
}

/// Where everything is in a terminal of this size, for a list of so many lines.
pub(crate) fn layout(area: Rect, lines: usize, peeking: bool) -> Layout {
    let row =
        |y: u16, height: u16| Rect::new(area.x, y, area.width, height.min(area.bottom().saturating_sub(y)));
    let title = row(area.y, 1);
    let footer = row(area.bottom().saturating_sub(1).max(area.y), 1);
    let has_header = area.height >= 16 && !peeking;
    let top = area.y + 1 + u16::from(has_header);
    let body = row(top, footer.y.saturating_sub(top));
    let mut layout =
        Layout { title, header: has_header.then(|| row(area.y + 1, 1)), list: body, preview: None, footer };
    if peeking {
        layout.list.height = 0;
        layout.preview = Some(body);
    } else if area.width >= BESIDE && body.height >= 6 {
        let width = (u32::from(area.width) * 47 / 100) as u16;
        layout.list.width = width;
        let x = area.x + width + 1;
        layout.preview =
            Some(Rect::new(x, area.y + 1, area.right() - x, body.height + u16::from(has_header)));
        layout.header = layout.header.map(|header| Rect { width, ..header });
    } else if body.height >= BELOW {
        let most = body.height * 55 / 100;
        let height = u16::try_from(lines.max(3)).unwrap_or(most).min(most);
        layout.list.height = height;
        layout.preview = Some(row(body.y + height, body.height - height));
    }
    layout
}

/// Styles, as far as there are colours.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn fg(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn dim(self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn failure(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn doing(self, entry: &Entry) -> Style {
        if !entry.is_live() {
            return self.dim();
        }
        match entry.doc.activity.as_ref().map(|activity| activity.state.as_str()) {
            Some("waiting") => self.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Some("working") => self.fg(Color::Green),
            Some("done") => self.fg(Color::Cyan),
            Some("secret") => self.fg(Color::Magenta),
            _ if entry.doc.state.known() == Some(State::Disconnected) => self.fg(Color::Red),
            _ => Style::new(),
        }
    }
}

/// Draws everything; the place of the cursor, where one types.
pub(crate) fn draw(machine: &Machine, now: Now, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let paint = Paint { colour: machine.look.colour };
    let layout = layout(machine.area, machine.list.lines.len(), machine.peeking);
    let mut cursor = title(machine, layout.title, paint, buffer);
    cursor = list(machine, now, &layout, paint, buffer).or(cursor);
    if let Some(area) = layout.preview {
        if layout.list.width < machine.area.width && !machine.peeking {
            for y in area.y..area.bottom() {
                text(buffer, area.x - 1, y, 1, "│", paint.dim());
            }
        }
        preview(machine, now, area, paint, buffer);
    }
    footer(machine, layout.footer, paint, buffer);
    cursor = over::dialog(machine, paint, buffer).or(cursor);
    cursor = over::question(machine, paint, buffer).or(cursor);
    if !machine.look.wide {
        plain(buffer);
    }
    cursor
}

/// What is not ASCII as something that is.
fn plain(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.is_ascii() {
            continue;
        }
        let instead = match symbol {
            "…" => ".",
            "─" => "-",
            "│" => "|",
            "·" => ",",
            "▸" => ">",
            "┌" | "┐" | "└" | "┘" => "+",
            _ => "?",
        };
        cell.set_symbol(instead);
    }
}

/// `text` in at most `max` columns; where it is cut an ellipsis says so.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.width() <= max {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if used + width + 1 > max {
            break;
        }
        used += width;
        out.push(c);
    }
    if max > 0 {
        out.push('…');
    }
    out
}

/// Writes a text that is cut at `max` columns; the column behind it.
fn text(buffer: &mut Buffer, x: u16, y: u16, max: u16, text: &str, style: Style) -> u16 {
    if !buffer.area.contains((x, y).into()) {
        return x;
    }
    let room = max.min(buffer.area.right() - x);
    buffer.set_stringn(x, y, cut(text, room.into()), room.into(), style).0
}

fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn title(machine: &Machine, area: Rect, paint: Paint, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let (live, hosts) = machine.list.counts();
    let mut x = text(buffer, area.x, area.y, area.width, "sessd", paint.bold());
    let counted = match (machine.loaded, hosts) {
        (false, _) => String::new(),
        (true, 0..=1) => format!("  {}", many(live, "session")),
        (true, _) => format!("  {} on {}", many(live, "session"), many(hosts, "host")),
    };
    x = text(buffer, x, area.y, area.right() - x, &counted, paint.dim());
    if !machine.filtering && machine.filter.is_empty() {
        return None;
    }
    x = text(buffer, x, area.y, area.right().saturating_sub(x), "  /", paint.bold());
    let at = x + u16::try_from(machine.filter.before().width()).unwrap_or(0);
    text(buffer, x, area.y, area.right().saturating_sub(x), &machine.filter.text(), paint.bold());
    machine.filtering.then(|| (at.min(area.right().saturating_sub(1)), area.y))
}

/// A column of the list.
struct Column {
    header: &'static str,
    /// Who matters less is cut and left out first.
    weight: u8,
    /// Never narrower than this, if what it says is not.
    min: u16,
    /// Never wider.
    max: u16,
}

const fn column(header: &'static str, weight: u8, min: u16, max: u16) -> Column {
    Column { header, weight, min, max }
}

const COLUMNS: [Column; 8] = [
    column("NAME", 9, 12, 32),
    column("STATE", 8, 7, 24),
    column("COMMAND", 5, 7, 18),
    column("TITLE", 4, 8, 60),
    column("ACTIVE", 6, 8, 10),
    column("VIEWS", 7, 6, 9),
    column("TAGS", 3, 6, 30),
    column("AGE", 2, 3, 5),
];

/// What stands in a session's columns.
fn cells(entry: &Entry, now: Now) -> [String; 8] {
    let doc = &entry.doc;
    let active = match (entry.idle(now), entry.active(now)) {
        (Some(idle), _) => format!("idle {}", words::rough(idle)),
        (None, 0..=4) if entry.is_live() => "now".to_owned(),
        (None, ago) => words::ago(ago),
    };
    let command = match (&doc.foreground, entry.is_live()) {
        (_, false) => format!("on {}", doc.host),
        (Some(foreground), true) => clean(foreground, 60),
        (None, true) => String::new(),
    };
    let title =
        doc.title.as_deref().filter(|_| entry.is_live()).map(|title| clean(title, 120)).unwrap_or_default();
    [
        entry.label(),
        entry.doing().into_owned(),
        command,
        title,
        active,
        entry.open(),
        entry.tags(),
        entry.age(now).map(words::rough).unwrap_or_default(),
    ]
}

/// The widths of the columns in so much room; 0: it is left out.
fn widths(rows: &[[String; 8]], room: u16, gap: u16) -> [u16; 8] {
    let mut natural = [0u16; 8];
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            natural[at] =
                natural[at].max(u16::try_from(cell.width()).unwrap_or(u16::MAX).min(COLUMNS[at].max));
        }
    }
    let mut order: Vec<usize> = (0..8).filter(|at| natural[*at] > 0).collect();
    order.sort_by_key(|at| std::cmp::Reverse(COLUMNS[*at].weight));
    for at in &order {
        natural[*at] = natural[*at].max(COLUMNS[*at].header.len() as u16).min(COLUMNS[*at].max);
    }
    let least = |at: usize| natural[at].min(COLUMNS[at].min);
    let taken = |order: &[usize]| {
        order.iter().map(|at| least(*at)).sum::<u16>() + gap * (order.len().saturating_sub(1)) as u16
    };
    while order.len() > 1 && taken(&order) > room {
        order.pop();
    }
    let mut widths = [0; 8];
    let mut left = room.saturating_sub(taken(&order));
    order.iter().for_each(|at| widths[*at] = least(*at));
    // What matters most has what it wants first.
    for at in order {
        let more = (natural[at] - widths[at]).min(left);
        widths[at] += more;
        left -= more;
    }
    widths
}

fn list(
    machine: &Machine,
    now: Now,
    layout: &Layout,
    paint: Paint,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    let area = layout.list;
    if area.height == 0 {
        return None;
    }
    let lines = &machine.list.lines;
    let seen: Vec<(u16, &Line)> = (area.y..area.bottom()).zip(lines.iter().skip(machine.top)).collect();
    if lines.is_empty() {
        let said = match (machine.loaded, machine.filter.is_empty()) {
            (false, _) => "…".to_owned(),
            (true, true) => "no session: n makes one".to_owned(),
            (true, false) => format!("nothing fits `{}`: Esc shows all", machine.filter.text()),
        };
        text(buffer, area.x + 2, area.y, area.width.saturating_sub(2), &said, paint.dim());
    }
    let entries = |line: &Line| machine.list.entries.get(line.session()?);
    let rows: Vec<[String; 8]> =
        seen.iter().filter_map(|(_, line)| entries(line)).map(|entry| cells(entry, now)).collect();
    let gap = if area.width < 60 { 1 } else { 2 };
    let widths = widths(&rows, area.width.saturating_sub(MARGIN), gap);
    if let Some(header) = layout.header {
        let mut x = header.x + MARGIN;
        for (column, width) in COLUMNS.iter().zip(widths).filter(|(_, width)| *width > 0) {
            text(buffer, x, header.y, width, column.header, paint.dim());
            x += width + gap;
        }
    }
    let numbers: Vec<&str> = machine.list.shown().take(9).collect();
    let mut rows = rows.into_iter();
    let mut cursor = None;
    for (y, line) in seen {
        match line {
            Line::Host(host) => {
                host_line(machine, host, now, Rect::new(area.x, y, area.width, 1), paint, buffer)
            }
            Line::Ended(count) => {
                let hint = if machine.with_ended { "" } else { ": e shows them" };
                let said = format!("ended ({count}){hint}");
                text(buffer, area.x, y, area.width, &said, paint.bold());
            }
            Line::Session(id) => {
                let (Some(entry), Some(row)) = (machine.list.entries.get(id), rows.next()) else { continue };
                let selected = machine.selected.as_deref() == Some(id.as_str());
                if selected {
                    text(buffer, area.x, y, 1, "▸", paint.bold());
                }
                if let Some(at) = numbers.iter().position(|one| one == id) {
                    let style = if selected { paint.bold() } else { paint.dim() };
                    text(buffer, area.x + 2, y, 1, &(at + 1).to_string(), style);
                }
                let x = area.x + MARGIN;
                let room = area.width.saturating_sub(MARGIN);
                if let Some((words, edit)) = in_place(machine, id) {
                    cursor = Some(field(buffer, Rect::new(x, y, room, 1), words, edit, paint));
                    continue;
                }
                session_line(machine, entry, &row, (x, y), &widths, gap, paint, buffer);
                if selected {
                    // One bar: what is dim or coloured would stand in it as patches.
                    buffer.set_style(
                        Rect::new(area.x + MARGIN - 1, y, area.width.saturating_sub(MARGIN - 1), 1),
                        Style::new()
                            .fg(Color::Reset)
                            .add_modifier(Modifier::REVERSED)
                            .remove_modifier(Modifier::DIM),
                    );
                }
            }
        }
    }
    cursor
}

/// What of the session is edited where it stands.
fn in_place<'a>(machine: &'a Machine, id: &str) -> Option<(&'static str, &'a Edit)> {
    match &machine.dialog {
        Some(Dialog::Rename(of, edit)) if of == id => Some(("name: ", edit)),
        Some(Dialog::Tags(of, edit)) if of == id => Some(("tags: ", edit)),
        _ => None,
    }
}

/// A line that one types into; the cursor's place.
fn field(buffer: &mut Buffer, area: Rect, words: &str, edit: &Edit, paint: Paint) -> (u16, u16) {
    if !buffer.area.contains((area.x, area.y).into()) {
        // There is no room for it.
        return (0, buffer.area.bottom().saturating_sub(1));
    }
    let x = text(buffer, area.x, area.y, area.width, words, paint.bold());
    let room = area.right().saturating_sub(x);
    buffer.set_style(Rect::new(x, area.y, room, 1), Style::new().add_modifier(Modifier::UNDERLINED));
    let before = u16::try_from(edit.before().width()).unwrap_or(u16::MAX);
    // The end where one types is seen.
    let skip = (before + 1).saturating_sub(room);
    let mut left = skip;
    let said: String = edit
        .text()
        .chars()
        .skip_while(|c| {
            let width = c.width().unwrap_or(0) as u16;
            let skips = left > 0;
            left = left.saturating_sub(width);
            skips
        })
        .collect();
    let style = Style::new().add_modifier(Modifier::UNDERLINED);
    buffer.set_stringn(x, area.y, said, room.into(), style);
    ((x + before - skip).min(area.right().saturating_sub(1)), area.y)
}

fn host_line(machine: &Machine, host: &str, now: Now, area: Rect, paint: Paint, buffer: &mut Buffer) {
    let x = text(buffer, area.x, area.y, area.width, &clean(host, 120), paint.bold());
    let room = usize::from(area.right().saturating_sub(x + 2));
    let about = machine.list.about_host(host, now, room);
    if about.is_empty() || area.right() <= x + 2 {
        return;
    }
    let style = match machine.list.link(host) {
        Some(LinkState::Up | LinkState::Local) => paint.dim(),
        Some(LinkState::NeedsLogin) => paint.fg(Color::Yellow),
        _ => paint.fg(Color::Red),
    };
    text(buffer, x + 2, area.y, area.right() - x - 2, &about, style);
}

#[allow(clippy::too_many_arguments)] // one line, and all that it is made of
fn session_line(
    machine: &Machine,
    entry: &Entry,
    row: &[String; 8],
    (mut x, y): (u16, u16),
    widths: &[u16; 8],
    gap: u16,
    paint: Paint,
    buffer: &mut Buffer,
) {
    let here = machine.here.as_deref() == Some(entry.doc.id.as_str());
    for (at, (cell, width)) in row.iter().zip(widths).enumerate().filter(|(_, (_, width))| **width > 0) {
        let style = match at {
            0 if !entry.is_live() => paint.dim(),
            0 => paint.bold(),
            1 => paint.doing(entry),
            5 => paint.fg(Color::Cyan),
            _ => paint.dim(),
        };
        let said: &str = if at == 5 && here { "(here)" } else { cell };
        text(buffer, x, y, *width, said, style);
        x += width + gap;
    }
}

fn preview(machine: &Machine, now: Now, area: Rect, paint: Paint, buffer: &mut Buffer) {
    let Some(entry) = machine.current() else { return };
    if area.height < 2 || area.width < 10 {
        return;
    }
    let doc = &entry.doc;
    let rule = "─".repeat(area.width.into());
    text(buffer, area.x, area.y, area.width, &rule, paint.dim());
    let mut head = format!(" {} on {}", entry.label(), clean(&doc.host, 100));
    let said = doc.title.as_deref().or(doc.foreground.as_deref()).map(|text| clean(text, 200));
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        head += &format!(" · {said}");
    }
    let size = machine.preview.size().map(|(cols, rows)| format!(" {cols}x{rows} ")).unwrap_or_default();
    let room = area.width.saturating_sub(size.len() as u16 + 3);
    text(buffer, area.x + 1, area.y, room, &format!("{head} "), paint.bold());
    text(
        buffer,
        area.right().saturating_sub(size.len() as u16 + 1),
        area.y,
        size.len() as u16,
        &size,
        paint.dim(),
    );
    let mut y = area.y + 1;
    if area.height >= 7 {
        text(buffer, area.x, y, area.width, &details(entry, now), paint.dim());
        y += 1;
    }
    let screen = Rect::new(area.x, y, area.width, area.bottom().saturating_sub(y));
    let ours = machine.preview.session.as_deref() == Some(doc.id.as_str());
    if machine.here.as_deref() == Some(doc.id.as_str()) {
        text(buffer, screen.x, screen.y, screen.width, "this terminal is inside that session", paint.dim());
    } else if ours && machine.preview.has_screen() {
        machine.preview.draw(screen, buffer, paint.colour);
    } else if ours {
        let away = entry.is_live() && !machine.list.link(&doc.host).is_some_and(LinkState::carries);
        let note = match machine.preview.note.as_str() {
            "" if away => "its screen is not known here, and is asked for when its host is back",
            "" => "…",
            note => note,
        };
        for (line, y) in wrapped(note, screen.width).iter().zip(screen.y..screen.bottom()) {
            text(buffer, screen.x, y, screen.width, line, paint.dim());
        }
    }
}

/// All of a session that its line may have had no room for.
fn details(entry: &Entry, now: Now) -> String {
    let doc = &entry.doc;
    let mut parts = vec![entry.doing().into_owned()];
    if let Some(note) = doc.activity.as_ref().and_then(|activity| activity.note.as_deref()) {
        parts.push(clean(note, 200));
    }
    if let Some(at) = doc.reap_at.as_deref().and_then(crate::list::milliseconds) {
        let left = u64::try_from((at - now.wall_ms).max(0)).unwrap_or(0) / 1000;
        parts.push(format!("ends for idleness in {}", words::rough(left)));
    }
    if let Some(idle) = entry.idle(now) {
        parts.push(format!("idle {}", words::rough(idle)));
    }
    if !doc.views.is_empty() {
        let kinds: Vec<String> = doc.views.iter().map(|view| clean(&view.kind, 12)).collect();
        parts.push(format!("open in {}", kinds.join(", ")));
    }
    if !doc.tags.is_empty() {
        parts.push(entry.tags());
    }
    if let Some(age) = entry.age(now) {
        parts.push(format!("made {}", words::ago(age)));
    }
    if let Some(cwd) = &doc.cwd {
        parts.push(clean(cwd, 200));
    }
    parts.push(clean(&words::command(&doc.command), 200));
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// A text in lines of at most `width` columns, broken at spaces.
fn wrapped(said: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let mut lines = vec![String::new()];
    for word in said.split(' ') {
        let line = lines.last().map_or(0, |line| line.width());
        if line > 0 && line + 1 + word.width() > width {
            lines.push(String::new());
        } else if line > 0
            && let Some(line) = lines.last_mut()
        {
            line.push(' ');
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    lines
}

/// What the keys do, the most wanted first.
const HINTS: [&str; 10] = [
    "n new",
    "? help",
    "/ filter",
    "d kill",
    "r rename",
    "t tags",
    "R restart",
    "p peek",
    "x kill all",
    "q leave",
];

fn footer(machine: &Machine, area: Rect, paint: Paint, buffer: &mut Buffer) {
    if let Some((said, failure)) = machine.said() {
        let lines = wrapped(&said, area.width);
        let rows = u16::try_from(lines.len()).unwrap_or(1).min(4).min(area.y);
        let top = (area.y + 1).saturating_sub(rows.max(1));
        for (line, y) in lines.iter().zip(top..=area.y) {
            blank(buffer, Rect::new(area.x, y, area.width, 1));
            text(buffer, area.x, y, area.width, line, if failure { paint.failure() } else { paint.bold() });
        }
        return;
    }
    // Before one goes, one knows how one comes back.
    let back =
        machine.look.way_back().map_or_else(|| "(no key back)".to_owned(), |key| format!("{key} back"));
    let opens = ["enter attach", back.as_str()];
    let hints: Vec<&str> = match &machine.dialog {
        Some(Dialog::Rename(..) | Dialog::Tags(..)) => vec!["enter takes it", "esc leaves it"],
        None if machine.filtering => {
            opens.into_iter().chain(["esc all again", "tab keys", "up down"]).collect()
        }
        None if machine.peeking => ["esc list"].into_iter().chain(opens).chain(["up down"]).collect(),
        // What is open says itself what its keys do.
        Some(_) => Vec::new(),
        None => opens.into_iter().chain(HINTS).collect(),
    };
    let mut x = area.x;
    for hint in hints {
        let width = hint.width() as u16;
        if x + width > area.right() {
            break;
        }
        let (key, what) = hint.split_once(' ').unwrap_or((hint, ""));
        let behind = text(buffer, x, area.y, width, key, paint.bold());
        text(buffer, behind + 1, area.y, width, what, paint.dim());
        x += width + 2;
    }
}

fn blank(buffer: &mut Buffer, area: Rect) {
    for y in area.y..area.bottom() {
        for x in area.x..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
            }
        }
    }
}
