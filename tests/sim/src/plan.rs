//! What people, networks, disks and clocks do in one run: a list that a seed gives, and that can be cut down, written into a
//! file and read again.

use crate::rng::Rng;
use std::fmt;
use std::str::FromStr;

/// How long things happen, in milliseconds; then everything is mended and has to come right.
pub const RUN_MS: u64 = 600_000;

macro_rules! deeds {
    ($($(#[$doc:meta])* $deed:ident = $word:literal, $weight:literal;)*) => {
        /// What somebody or something does. `a`, `b` and `c` are said at each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Deed {
            $($(#[$doc])* $deed,)*
        }

        /// Each with its word, and how often it is done.
        const DEEDS: &[(Deed, &str, u64)] = &[$((Deed::$deed, $word, $weight),)*];
    };
}

deeds! {
    /// At manager `a` a session on host `b` is made; with `c` it may be idle for so many ms.
    Create = "create", 12;
    /// A view comes to session `a` of manager `b`; with `c` it must miss nothing.
    Attach = "attach", 14;
    /// View `a` types `b` keys.
    Type = "type", 40;
    /// View `a` leaves on purpose.
    Leave = "leave", 3;
    /// The connection of view `a` breaks, and it comes again.
    Drop = "drop", 6;
    /// View `a` reads nothing for `b` ms.
    Slow = "slow", 5;
    /// View `a` says what no view does.
    Garbage = "garbage", 2;
    /// Session `a` of manager `b` is deleted, by force if `c`.
    Delete = "delete", 3;
    /// Session `a` of manager `b` is restarted, `c` + 1 times at once.
    Restart = "restart", 5;
    /// Session `a` of manager `b` gets name or tag `c`.
    Tag = "tag", 5;
    /// Something is typed into session `a` of manager `b` by no view: twice under one id if `c` is odd, and once the job has nothing
    /// to do if it is more than 1.
    Send = "send", 8;
    /// Manager `a` adopts what is on host `b`.
    Adopt = "adopt", 5;
    /// The program of job `a` writes `b` bytes.
    Write = "write", 30;
    /// The program of job `a` exits with `b`.
    Exit = "exit", 4;
    /// The connection of manager `a` to host `b` breaks.
    Cut = "cut", 8;
    /// Nothing passes between manager `a` and host `b` for `c` ms.
    Stall = "stall", 8;
    /// Host `a` is out of reach for `b` ms.
    Away = "away", 3;
    /// Host `a` wants a person for `b` ms: it lets nobody in by what there is, or has another key than it had.
    Login = "login", 2;
    /// At manager `a` a person asks for host `b`.
    Connect = "connect", 3;
    /// Host `a` boots, which takes `b` ms.
    Reboot = "reboot", 1;
    /// The agent on host `a` answers nothing for `b` ms.
    Stuck = "stuck", 3;
    /// The disk of host `a` does not answer for `b` ms.
    Disk = "disk", 3;
    /// Manager `a` is killed, and another version of it started after `b` ms.
    Kill = "kill", 4;
    /// Manager `a`'s machine sleeps for `b` ms.
    Sleep = "sleep", 2;
    /// The wall clock of manager `a` is set by `b` - 5 000 000 ms.
    Clock = "clock", 2;
    /// The wall clock of host `a` is set by `b` - 5 000 000 ms.
    HostClock = "host-clock", 2;
    /// Of what manager `a` writes, after `b` more writes: fails (`c` 0), it dies before one (1), it dies after one (2).
    Store = "store", 5;
}

/// One deed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the meaning of a, b and c is said at each deed
pub struct Step {
    pub at_ms: u64,
    pub deed: Deed,
    pub a: u64,
    pub b: u64,
    pub c: u64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = DEEDS.iter().find(|(deed, ..)| *deed == self.deed).map_or("", |(_, word, _)| word);
        write!(f, "{} {word} {} {} {}", self.at_ms, self.a, self.b, self.c)
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let parts: Vec<_> = line.split_whitespace().collect();
        let [at, word, a, b, c] = parts[..] else { return Err(format!("not a step: {line}")) };
        let deed = DEEDS.iter().find(|(_, known, _)| *known == word).map(|(deed, ..)| *deed);
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: {line}"));
        Ok(Self {
            at_ms: number(at)?,
            deed: deed.ok_or_else(|| format!("no such deed: {line}"))?,
            a: number(a)?,
            b: number(b)?,
            c: number(c)?,
        })
    }
}

/// One run: how large the world is, its weather, and what is done in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of latencies and whatever else nobody does.
    pub weather: u64,
    /// Managers.
    pub managers: usize,
    /// Hosts.
    pub hosts: usize,
    /// In order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// What a seed gives.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let managers = 1 + usize::from(rng.chance(60));
        let hosts = rng.within(1, 4) as usize;
        // Most runs are small; one of fifty has hundreds of sessions.
        let crowd = rng.chance(2);
        let steps = if crowd { 600 } else { rng.within(20, 160) };
        let weigh =
            |deed: Deed, weight: u64| if crowd && deed == Deed::Create { 20 * weight } else { weight };
        let total: u64 = DEEDS.iter().map(|(deed, _, weight)| weigh(*deed, *weight)).sum();
        let mut at_ms: Vec<u64> = (0..steps).map(|_| rng.below(RUN_MS)).collect();
        // Things that go wrong go wrong together.
        for n in 1..at_ms.len() {
            if rng.chance(40) {
                at_ms[n] = (at_ms[n - 1] + rng.below(60)).min(RUN_MS - 1);
            }
        }
        at_ms.sort_unstable();
        let mut all = vec![Step { at_ms: 0, deed: Deed::Create, a: 0, b: 0, c: 0 }];
        for at_ms in at_ms {
            let mut pick = rng.below(total);
            let mut deed = Deed::Create;
            for (known, _, weight) in DEEDS {
                let weight = weigh(*known, *weight);
                if pick < weight {
                    deed = *known;
                    break;
                }
                pick -= weight;
            }
            let (a, b, c) = arguments(deed, &mut rng);
            all.push(Step { at_ms, deed, a, b, c });
        }
        Self { weather: rng.next_u64(), managers, hosts, steps: all }
    }
}

fn arguments(deed: Deed, rng: &mut Rng) -> (u64, u64, u64) {
    let any = rng.below(1 << 16);
    let a_while = |rng: &mut Rng| match rng.below(3) {
        0 => rng.within(10, 1_000),
        1 => rng.within(1_000, 20_000),
        _ => rng.within(20_000, 90_000),
    };
    match deed {
        Deed::Type => (any, rng.within(1, 12), 0),
        Deed::Write => (any, if rng.chance(5) { 200_000 } else { rng.within(1, 2_000) }, 0),
        Deed::Exit => (any, rng.below(4), 0),
        Deed::Clock | Deed::HostClock => (any, rng.below(10_000_000), 0),
        Deed::Store => (any, rng.below(4), rng.below(3)),
        Deed::Delete => (any, rng.below(1 << 16), rng.below(2)),
        Deed::Restart => (any, rng.below(1 << 16), rng.below(2)),
        Deed::Create => {
            (any, rng.below(1 << 16), if rng.chance(25) { rng.within(30_000, 300_000) } else { 0 })
        }
        Deed::Attach => (any, rng.below(1 << 16), u64::from(rng.chance(15))),
        Deed::Tag => (any, rng.below(1 << 16), rng.below(12)),
        Deed::Send => (any, rng.below(1 << 16), rng.below(4)),
        Deed::Stall => (any, rng.below(1 << 16), a_while(rng)),
        Deed::Slow
        | Deed::Away
        | Deed::Login
        | Deed::Reboot
        | Deed::Stuck
        | Deed::Disk
        | Deed::Kill
        | Deed::Sleep => (any, a_while(rng), 0),
        _ => (any, rng.below(1 << 16), 0),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "weather {} managers {} hosts {}", self.weather, self.managers, self.hosts)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let first: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
        let ["weather", weather, "managers", managers, "hosts", hosts] = first[..] else {
            return Err("a plan begins with its weather, managers and hosts".into());
        };
        Ok(Self {
            weather: weather.parse().map_err(|_| "no weather")?,
            managers: managers.parse().map_err(|_| "no managers")?,
            hosts: hosts.parse().map_err(|_| "no hosts")?,
            steps: lines.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}
