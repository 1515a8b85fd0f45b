//! The sessions and hosts as they are known, and the order in which they are shown. Pure.

use crate::Now;
use crate::draw::cut;
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use sessd_proto::docs::event::{About, What};
use sessd_proto::docs::names::{HANDLE, handle};
use sessd_proto::docs::text::clean;
use sessd_proto::docs::{LinkDoc, LinkState, SessionDoc, State, StatusDoc, words};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use unicode_width::UnicodeWidthStr as _;

/// Characters of a text of others that are shown at the most.
const TEXT_MAX: usize = 200;
/// What was active so lately is active now: what writes all the time keeps its place.
const JUST_NOW_MS: i64 = 2_000;

/// A document's time in milliseconds since the epoch.
pub(crate) fn milliseconds(time: &str) -> Option<i64> {
    let at = humantime::parse_rfc3339(time).ok()?;
    i64::try_from(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As the manager says it.
    pub(crate) doc: SessionDoc,
    /// When that was, by our wall clock.
    came_ms: i64,
    /// What a filter is compared with first.
    name: String,
    /// And what with then; made when there is a filter.
    rest: OnceCell<String>,
    /// When it was active last, as far as was known then.
    active_ms: i64,
}

impl Entry {
    fn new(doc: SessionDoc, now: Now) -> Self {
        let mut entry =
            Self { doc, came_ms: now.wall_ms, name: String::new(), rest: OnceCell::new(), active_ms: 0 };
        entry.look();
        entry
    }

    /// What follows from the document.
    fn look(&mut self) {
        let doc = &self.doc;
        self.name = self.label();
        self.rest = OnceCell::new();
        let said = doc.last_active_at.as_deref().and_then(milliseconds);
        // A program that runs and is silent is not idle, and not active either.
        let idle = doc.idle_seconds.filter(|seconds| *seconds > 0);
        let idle = idle.map(|s| self.came_ms - i64::try_from(s).unwrap_or(i64::MAX / 4) * 1000);
        let end = doc.end.as_ref().and_then(|end| milliseconds(&end.at));
        let made = milliseconds(&doc.created_at);
        self.active_ms = end.or(said.max(idle)).or(made).unwrap_or(0);
    }

    /// All that is known of it but its name, as one text.
    fn rest(&self) -> &str {
        self.rest.get_or_init(|| {
            let doc = &self.doc;
            let mut rest: Vec<String> = vec![doc.host.clone(), self.doing().into_owned()];
            let said = [&doc.foreground, &doc.title, &doc.cwd].into_iter().flatten();
            rest.extend(said.map(|text| clean(text, TEXT_MAX)));
            rest.extend(doc.tags.iter().map(|(key, value)| format!("{key}={value}")));
            rest.push(clean(&words::command(&doc.command), TEXT_MAX));
            rest.join(" ")
        })
    }

    /// What a person calls it.
    pub(crate) fn label(&self) -> String {
        match &self.doc.name {
            Some(name) => clean(name, TEXT_MAX),
            None => handle(&self.doc.id, HANDLE),
        }
    }

    /// It has not ended.
    pub(crate) fn is_live(&self) -> bool {
        self.doc.end.is_none()
    }

    /// In one or a few words, what it is doing or how it ended.
    pub(crate) fn doing(&self) -> Cow<'static, str> {
        let doc = &self.doc;
        if let Some(end) = &doc.end {
            return clean(&end.phrase(), TEXT_MAX).into();
        }
        if doc.delete_requested {
            return "delete pending".into();
        }
        match (doc.state.known(), &doc.activity) {
            (Some(State::Running), Some(activity)) => clean(&activity.state, 20).into(),
            (Some(State::Init), _) => "starting".into(),
            _ => clean(doc.state.as_str(), 20).into(),
        }
    }

    /// How long it has been idle, in seconds, if that is known and it is.
    pub(crate) fn idle(&self, now: Now) -> Option<u64> {
        if self.doc.state.known() != Some(State::Running) {
            return None;
        }
        let since = u64::try_from((now.wall_ms - self.came_ms).max(0)).unwrap_or(0) / 1000;
        self.doc.idle_seconds.filter(|idle| *idle > 0).map(|idle| idle + since)
    }

    /// It works now, as far as is known.
    fn is_working(&self) -> bool {
        let running = self.doc.state.known() == Some(State::Running);
        running && self.doc.activity.as_ref().is_some_and(|activity| activity.state == "working")
    }

    /// How long ago it was active last, in seconds.
    pub(crate) fn active(&self, now: Now) -> u64 {
        if self.is_working() {
            return 0;
        }
        u64::try_from((now.wall_ms - self.active_ms).max(0)).unwrap_or(0) / 1000
    }

    /// How long ago it was made, in seconds.
    pub(crate) fn age(&self, now: Now) -> Option<u64> {
        let made = milliseconds(&self.doc.created_at)?;
        u64::try_from((now.wall_ms - made).max(0)).ok().map(|ms| ms / 1000)
    }

    /// Its tags as words.
    pub(crate) fn tags(&self) -> String {
        let one = |(key, value): (&String, &String)| {
            if value.is_empty() { key.clone() } else { format!("{key}={value}") }
        };
        clean(&self.doc.tags.iter().map(one).collect::<Vec<_>>().join(" "), TEXT_MAX)
    }

    /// Whether somebody looks at it, in a word.
    pub(crate) fn open(&self) -> String {
        match self.doc.views.len() {
            0 => String::new(),
            1 => "(open)".to_owned(),
            n => format!("(open {n})"),
        }
    }
}

/// What is shown on one line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A host, above its sessions.
    Host(String),
    /// Above those that have ended; how many.
    Ended(usize),
    /// A session, by its id.
    Session(String),
}

impl Line {
    pub(crate) fn session(&self) -> Option<&str> {
        match self {
            Self::Session(id) => Some(id),
            _ => None,
        }
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) links: HashMap<String, LinkDoc>,
    /// Why a host was not reached when that was tried last: while it is tried again, that is still what is known.
    causes: HashMap<String, String>,
    /// When the manager began.
    pub(crate) since_ms: Option<i64>,
    /// In their order.
    pub(crate) lines: Vec<Line>,
}

/// What a change wants to have asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Nothing.
    None,
    /// A session of which no document is here.
    Session(String),
    /// The links: one stands elsewhere, and the rest of what is known of it did not come with that.
    Links,
    /// Everything: some was missed.
    All,
}

impl List {
    /// The whole list. True: some session came or went.
    pub(crate) fn set(&mut self, docs: Vec<SessionDoc>, now: Now) {
        self.entries = docs.into_iter().map(|doc| (doc.id.clone(), Entry::new(doc, now))).collect();
    }

    /// One session.
    pub(crate) fn put(&mut self, doc: SessionDoc, now: Now) {
        self.entries.insert(doc.id.clone(), Entry::new(doc, now));
    }

    /// The manager and its links.
    pub(crate) fn set_status(&mut self, status: StatusDoc) {
        self.since_ms = milliseconds(&status.since);
        self.links = status.links.into_iter().map(|link| (link.host.clone(), link)).collect();
        for link in self.links.values() {
            keep_cause(&mut self.causes, &link.host, link.link.known(), link.detail.as_deref());
        }
    }

    /// Where a host's link stands.
    pub(crate) fn link(&self, host: &str) -> Option<LinkState> {
        match self.links.get(host) {
            Some(link) => link.link.known(),
            None => self.entries.values().find(|e| e.doc.host == host).and_then(|e| e.doc.link.known()),
        }
    }

    fn of(&mut self, about: &About, change: impl FnOnce(&mut Entry)) -> Unknown {
        match self.entries.get_mut(&about.id) {
            Some(entry) => {
                change(entry);
                entry.look();
                Unknown::None
            }
            None => Unknown::Session(about.id.clone()),
        }
    }

    /// A change, as the manager tells it.
    pub(crate) fn hear(&mut self, what: What, now: Now) -> Unknown {
        match what {
            What::Session { session } => {
                self.put(*session, now);
                Unknown::None
            }
            What::Created(about) | What::Adopted(about) => Unknown::Session(about.id),
            What::Deleted(about) | What::Forgotten(about) => {
                self.entries.remove(&about.id);
                Unknown::None
            }
            What::Deleting(about) => self.of(&about, |entry| entry.doc.delete_requested = true),
            What::State { about, end, .. } => self.of(&about, |entry| {
                entry.doc.state = about.state.clone();
                entry.doc.end = end;
                entry.doc.host.clone_from(&about.host);
                if entry.doc.state.known() != Some(State::Running) {
                    (entry.doc.activity, entry.doc.foreground, entry.doc.idle_seconds) = (None, None, None);
                }
                if !entry.is_live() {
                    entry.doc.views.clear();
                }
            }),
            What::Name { about, .. } => self.of(&about, |entry| entry.doc.name.clone_from(&about.name)),
            What::Tags { about, tags } => self.of(&about, |entry| entry.doc.tags = tags),
            What::ViewAttached { about, view } => self.of(&about, |entry| {
                entry.doc.views.retain(|known| known.id != view.id);
                entry.doc.views.push(view);
            }),
            What::ViewLeft { about, view } => {
                self.of(&about, |entry| entry.doc.views.retain(|known| known.id != view.id))
            }
            What::Reap { about, reap_at, .. } => self.of(&about, |entry| entry.doc.reap_at = reap_at),
            What::Activity { about, activity, .. } => self.of(&about, |entry| entry.doc.activity = activity),
            What::Link { host, link, detail, .. } => {
                for entry in self.entries.values_mut().filter(|e| e.doc.host == host && e.is_live()) {
                    entry.doc.link = link.clone();
                }
                keep_cause(&mut self.causes, &host, link.known(), detail.as_deref());
                if let Some(known) = self.links.get_mut(&host) {
                    (known.link, known.detail) = (link, detail);
                }
                Unknown::Links
            }
            What::Skipped { .. } => Unknown::All,
            What::Notice { .. } | What::Manager { .. } | What::Unknown => Unknown::None,
        }
    }

    /// How many sessions have not ended, and on how many hosts.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let live: Vec<&str> =
            self.entries.values().filter(|e| e.is_live()).map(|e| e.doc.host.as_str()).collect();
        let mut hosts = live.clone();
        hosts.sort_unstable();
        hosts.dedup();
        (live.len(), hosts.len())
    }

    /// Puts everything in order: what fits the filter, hosts by their newest activity and sessions by theirs, then what has
    /// ended. Those of equal age stay as they were.
    pub(crate) fn arrange(&mut self, filter: &str, with_ended: bool, now: Now) {
        let place: HashMap<&str, usize> =
            self.lines.iter().enumerate().filter_map(|(at, line)| Some((line.session()?, at))).collect();
        let mut fits = Fits::new(filter);
        let mut rows: Vec<Row<'_>> = self
            .entries
            .iter()
            .filter_map(|(id, entry)| {
                let score = fits.score(entry)?;
                let age = now.wall_ms - entry.active_ms;
                let just_now = entry.is_live() && (age < JUST_NOW_MS || entry.is_working());
                let active = if just_now { i64::MAX } else { entry.active_ms };
                let place = place.get(id.as_str()).copied().unwrap_or(usize::MAX);
                Some(Row { id, entry, score, active, place })
            })
            .collect();
        rows.sort_by(|a, b| {
            b.rank().cmp(&a.rank()).then(a.place.cmp(&b.place)).then(a.entry.name.cmp(&b.entry.name))
        });
        let (live, ended): (Vec<Row<'_>>, Vec<Row<'_>>) =
            rows.into_iter().partition(|row| row.entry.is_live());
        // In the order in which their first one comes.
        let mut hosts: Vec<(&str, Vec<String>)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for row in live {
            let host = row.entry.doc.host.as_str();
            let at = *known.entry(host).or_insert_with(|| {
                hosts.push((host, Vec::new()));
                hosts.len() - 1
            });
            hosts[at].1.push(row.id.to_owned());
        }
        let mut lines = Vec::with_capacity(self.entries.len() + hosts.len() + 1);
        for (host, ids) in hosts {
            lines.push(Line::Host(host.to_owned()));
            lines.extend(ids.into_iter().map(Line::Session));
        }
        if !ended.is_empty() {
            lines.push(Line::Ended(ended.len()));
            if with_ended {
                lines.extend(ended.into_iter().map(|row| Line::Session(row.id.to_owned())));
            }
        }
        self.lines = lines;
    }

    /// The ids of the sessions shown, in their order.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(Line::session)
    }

    /// How a host is, in a few words for the line above its sessions: nothing for one that is well. Where there is no room for
    /// all, it is the cause that is cut: how old that is what is shown is seen.
    pub(crate) fn about_host(&self, host: &str, now: Now, room: usize) -> String {
        let Some(state) = self.link(host) else { return String::new() };
        let link = self.links.get(host);
        if state == LinkState::Local {
            return String::new();
        }
        if state == LinkState::Up {
            return match link.and_then(|link| link.rtt_ms) {
                Some(ms) if ms >= 1.0 => format!("{ms:.0} ms"),
                _ => String::new(),
            };
        }
        let now_known = link.and_then(|link| link.detail.as_deref());
        let before = self.causes.get(host).map(String::as_str).filter(|_| state == LinkState::Connecting);
        let stands = match state {
            LinkState::NeedsLogin => "wants a login",
            LinkState::Connecting if now_known.is_none() && before.is_some() => "connecting again",
            LinkState::Connecting => "connecting",
            LinkState::Stalled => "silent",
            _ => "out of reach",
        };
        let why = now_known.or(before).map(|why| cause(&clean(why, TEXT_MAX), host));
        let mut parts = vec![stands.to_owned()];
        let seconds = |from: i64, to: i64| u64::try_from((to - from).max(0)).unwrap_or(0) / 1000;
        // How old what is shown is.
        match (link.and_then(|link| link.heard_at.as_deref()).and_then(milliseconds), self.since_ms) {
            (Some(at), _) => parts.push(format!("known as of {}", words::ago(seconds(at, now.wall_ms)))),
            (None, Some(since)) => {
                let ago = words::rough(seconds(since, now.wall_ms));
                parts.push(format!("known as of more than {ago} ago"));
            }
            (None, None) => {}
        }
        let next = link.and_then(|link| link.next_try_at.as_deref()).and_then(milliseconds);
        if let Some(at) = next.filter(|at| *at > now.wall_ms) {
            parts.push(format!("next try in {}", words::rough(seconds(now.wall_ms, at).max(1))));
        }
        if let Some(why) = why.filter(|why| !why.is_empty()) {
            let others = parts.iter().map(|part| part.width() + 2).sum::<usize>();
            parts[0] += ": ";
            parts[0] += &cut(&why, room.saturating_sub(others).max(CAUSE_MIN));
        }
        parts.join(", ")
    }
}

/// Why a host is not reached is kept until it is.
fn keep_cause(causes: &mut HashMap<String, String>, host: &str, link: Option<LinkState>, why: Option<&str>) {
    if matches!(link, Some(LinkState::Up | LinkState::Local)) {
        causes.remove(host);
    } else if let Some(why) = why {
        causes.insert(host.to_owned(), why.to_owned());
    }
}

/// Columns of a cause that are kept, however little room there is.
const CAUSE_MIN: usize = 12;

/// A sentence about a host without the host, which stands before it, and without what stands in brackets.
fn cause(why: &str, host: &str) -> String {
    let rest = match why.strip_prefix(host) {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, cause)| cause),
        None => why,
    };
    let rest = rest.split(" (").next().unwrap_or_default();
    rest.trim_end_matches('.').trim().to_owned()
}

struct Row<'a> {
    id: &'a str,
    entry: &'a Entry,
    score: u32,
    active: i64,
    place: usize,
}

impl Row<'_> {
    fn rank(&self) -> (u32, i64) {
        (self.score, self.active)
    }
}

/// Compares with what was typed.
pub(crate) struct Fits {
    fuzzy: Pattern,
    exact: Pattern,
    matcher: Matcher,
    buffer: Vec<char>,
    all: bool,
}

/// A name that fits is before all else that does, and a name with its host is next.
const NAMED: u32 = 100_000;

impl Fits {
    pub(crate) fn new(filter: &str) -> Self {
        let exact = Pattern::new(filter, CaseMatching::Smart, Normalization::Smart, AtomKind::Substring);
        Self {
            fuzzy: Pattern::parse(filter, CaseMatching::Smart, Normalization::Smart),
            exact,
            matcher: Matcher::new(Config::DEFAULT),
            buffer: Vec::new(),
            all: filter.trim().is_empty(),
        }
    }

    /// How well a text fits, letter by letter; none: not at all.
    pub(crate) fn text(&mut self, text: &str) -> Option<u32> {
        if self.all {
            return Some(0);
        }
        self.fuzzy.score(Utf32Str::new(text, &mut self.buffer), &mut self.matcher)
    }

    /// Of a name, of a name with its host; of all the rest only what is in it as it was typed: letters in between would fit
    /// anything.
    fn score(&mut self, entry: &Entry) -> Option<u32> {
        if self.all {
            return Some(0);
        }
        if let Some(score) = self.text(&entry.name) {
            return Some(score + 2 * NAMED);
        }
        if let Some(score) = self.text(&format!("{} {}", entry.name, entry.doc.host)) {
            return Some(score + NAMED);
        }
        let all = format!("{} {}", entry.name, entry.rest());
        self.exact.score(Utf32Str::new(&all, &mut self.buffer), &mut self.matcher)
    }
}
