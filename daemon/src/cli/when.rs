//! Times as people read them: by the clock on their wall, and how long ago. Documents have them exactly, in UTC.

use jiff::tz::TimeZone;
use sessd_proto::docs::words;
use std::cell::OnceCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a moment is told by: now, in milliseconds since the epoch, and where people are.
#[derive(Debug, Clone)]
pub struct Wall {
    now_ms: i64,
    /// Looked for when a time of day is to be said.
    zone: OnceCell<TimeZone>,
}

impl Wall {
    /// This machine's.
    pub fn here() -> Self {
        Self { now_ms: sessd_base::clock::wall_ms(), zone: OnceCell::new() }
    }

    /// A given one.
    #[cfg(test)]
    pub fn at(now_ms: i64, zone: TimeZone) -> Self {
        Self { now_ms, zone: zone.into() }
    }

    /// Seconds from a document's time to now; less than 0 when it is to come. `None`: it is no time.
    fn since(&self, time: &str) -> Option<i64> {
        Some((self.now_ms - milliseconds(time)?).div_euclid(1000))
    }

    /// `3m ago`, `in 2h`.
    pub fn relative(&self, time: &str) -> String {
        match self.since(time) {
            Some(seconds) if seconds >= 0 => words::ago(seconds.unsigned_abs()),
            Some(seconds) => format!("in {}", words::rough(seconds.unsigned_abs())),
            None => time.to_owned(),
        }
    }

    /// `2026-11-27 00:18:08`, here. What is no time stays as it is.
    pub fn local(&self, time: &str) -> String {
        let moment = milliseconds(time).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        moment.map_or_else(
            || time.to_owned(),
            |moment| {
                moment.to_zoned(self.zone.get_or_init(zone).clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
            },
        )
    }

    /// Both.
    pub fn full(&self, time: &str) -> String {
        match milliseconds(time) {
            Some(_) => format!("{} ({})", self.local(time), self.relative(time)),
            None => time.to_owned(),
        }
    }
}

/// Where people are. The system's own zone is read from its file: looking it up by name reads every folder of zones.
fn zone() -> TimeZone {
    let named = std::env::var_os("TZ").is_some_and(|name| !name.is_empty());
    let file = if named { None } else { std::fs::read("/etc/localtime").ok() };
    file.and_then(|file| TimeZone::tzif("Local", &file).ok()).unwrap_or_else(TimeZone::system)
}

/// A document's time in milliseconds since the epoch.
pub fn milliseconds(time: &str) -> Option<i64> {
    let at: SystemTime = humantime::parse_rfc3339(time).ok()?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_the_wall_and_by_its_age() {
        let wall = Wall::at(1_800_000_000_000, TimeZone::fixed(jiff::tz::offset(2)));
        let time = sessd_proto::docs::time::rfc3339;
        for (ms, relative, local) in [
            (1_800_000_000_000, "now", "2027-01-15 10:00:00"),
            (1_799_999_820_000, "3m ago", "2027-01-15 09:57:00"),
            (1_800_007_200_000, "in 2h", "2027-01-15 12:00:00"),
        ] {
            assert_eq!(
                (wall.relative(&time(ms)).as_str(), wall.local(&time(ms)).as_str()),
                (relative, local)
            );
        }
        assert_eq!((wall.local("T").as_str(), wall.full("T").as_str()), ("T", "T"));
        assert_eq!(wall.full(&time(1_799_999_820_000)), "2027-01-15 09:57:00 (3m ago)");
    }
}
