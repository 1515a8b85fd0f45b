//! Who types sees it first. Twenty terminals that are woken by one key leave no processor to the one in which somebody waits for it,
//! so a key's echo goes to everybody else a moment later, which nobody who only looks on can tell.

use super::{Connections, Needs, ViewPosition, Views};
use sessd_proto::Uuid;
use sessd_terminal::{Cursor, Ring, Size, Terminal};

/// How much later, in milliseconds.
const LATER_MS: u64 = 2;
/// What comes so long after a key is no echo of it, in milliseconds.
const ECHO_MS: u64 = 1_000;
/// Nor are more bytes than so many.
const ECHO_BYTES: u64 = 1024;

/// Whether those who do not type wait for now.
#[derive(Debug, Default)]
pub(super) struct Onlookers {
    typed_at: Option<u64>,
    /// Since when output is kept from them.
    since: Option<u64>,
    /// When they have all of it.
    due: Option<u64>,
}

impl Onlookers {
    /// Somebody typed.
    pub(super) fn typed(&mut self, now_ms: u64) {
        self.typed_at = Some(now_ms);
    }

    /// Nothing more is to be kept from anybody.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// A round of sending begins.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.due = self.since.map(|since| since + LATER_MS).filter(|due| *due > now_ms);
        if self.due.is_none() {
            if self.since.take().is_some() {
                // They have waited: whatever there is goes to them in this round.
                return;
            }
            let awaited = self.typed_at.is_some_and(|at| now_ms < at + ECHO_MS);
            self.due = awaited.then_some(now_ms + LATER_MS);
        }
    }

    /// Until when one who is `lag` bytes behind waits in this round; none: it waits for nothing.
    pub(super) fn waits(&mut self, lag: u64, now_ms: u64) -> Option<u64> {
        let due = self.due.filter(|_| (1..=ECHO_BYTES).contains(&lag))?;
        self.since.get_or_insert(now_ms);
        Some(due)
    }
}

impl Views {
    /// A view was typed in. True if it leads, or has the size, only now.
    pub fn typed(&mut self, id: Uuid, now_ms: u64) -> bool {
        self.onlookers.typed(now_ms);
        self.leaders.typed(id)
    }

    /// All that is there goes to everybody now: nothing follows it.
    pub fn is_last(&mut self) {
        self.onlookers.over();
    }

    /// Sends every view what it is due of `ring`, and what it was not told for want of room: the leader first, whose echo is not to
    /// wait for what everybody else is sent. `screen`: the model, if it stands at the head.
    pub fn pump(
        &mut self,
        ring: &Ring,
        screen: Option<&Terminal>,
        size: Size,
        now_ms: u64,
        out: &mut impl Connections,
    ) -> Needs {
        let mut needs = Needs::default();
        let leader = self.leaders.leader();
        let first = self.members.iter().position(|member| Some(member.view.id) == leader);
        let rest = (0..self.members.len()).filter(|at| Some(*at) != first);
        self.onlookers.begin(now_ms);
        for at in first.into_iter().chain(rest) {
            let member = &mut self.members[at];
            if member.view.no_output {
                continue;
            }
            match member.place {
                ViewPosition::Nothing => member.follow(Cursor::needing_snapshot()),
                // One past our head has seen more than we have: the same bytes will reach us, and it trims them.
                ViewPosition::Has(at) if at >= ring.oldest() && at <= ring.head() => {
                    member.follow(Cursor::at(at))
                }
                ViewPosition::Has(_) | ViewPosition::Fetching(_) | ViewPosition::Follows(_) => {}
            }
            member.tell_acknowledged(out);
            if let ViewPosition::Follows(cursor) = &member.place
                && first.is_some_and(|first| at != first)
                && let Some(due) = self.onlookers.waits(cursor.lag(ring), now_ms)
            {
                needs.again_at(due);
                continue;
            }
            if member.is_drawn(size) {
                member.draw(ring, screen, size, now_ms, &mut needs, out);
            } else {
                member.leave_drawn();
                member.pump(ring, screen, now_ms, &mut needs, out);
            }
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_waits_for_a_moment_and_nothing_else_does() {
        // What happened, when, and how far behind the onlooker is; until when it waits.
        let mut them = Onlookers::default();
        let mut round = |now, typed: bool, lag| {
            if typed {
                them.typed(now);
            }
            them.begin(now);
            them.waits(lag, now)
        };
        assert_eq!(round(10, false, 5), None, "nobody typed");
        assert_eq!(round(20, true, 0), None, "there is nothing");
        assert_eq!(round(21, false, 1), Some(23));
        assert_eq!(round(22, true, 3), Some(23), "no later for the next key");
        assert_eq!(round(24, false, 3), None, "it has waited");
        assert_eq!(round(25, false, 1), Some(27));
        assert_eq!(round(26, false, ECHO_BYTES + 1), None, "a page is no echo");
        assert_eq!(round(40, false, 1), None, "it is long due");
        assert_eq!(round(2_000, false, 1), None, "nobody has typed for long");
    }
}
