//! Who we are, and whether the other end can speak with us.

use crate::messages::Hello;

/// The lowest protocol version this code can speak.
pub const PROTO_MIN: u32 = 1;
/// The highest protocol version this code can speak.
pub const PROTO_MAX: u32 = 1;

/// What an end can do beyond the version's minimum, one bit each. A bit is never given another meaning.
pub mod feature {
    /// Answers `ReadRange`.
    pub const RANGE_READ: u64 = 1;
    /// Knows `FLAG_WITHDRAWN` on input.
    pub const WITHDRAW: u64 = 2;
    /// Answers terminal queries itself while no view does.
    pub const ANSWERS: u64 = 4;
    /// Answers withdrawn input with `Withdrawn`.
    pub const WITHDRAWN: u64 = 8;
    /// Of the manager: says `Pong` at least every two seconds while it works at a request.
    pub const AT_WORK: u64 = 16;
    /// As a view: answers `Ping` once all that came before it has been written to its terminal.
    pub const PACED: u64 = 32;
    /// Of a holder: types what it is sent (`Send`), tells what the job is doing, and of its notices.
    pub const SCRIPTS: u64 = 1 << 10;
    /// Of a holder: knows channels, and what they are opened for.
    pub const CHANNELS: u64 = 1 << 16;
    /// As a view: knows `Drawing`.
    pub const DRAWN: u64 = 1 << 20;
}

/// Everything this code can do.
pub const FEATURES: u64 = feature::RANGE_READ
    | feature::WITHDRAW
    | feature::ANSWERS
    | feature::WITHDRAWN
    | feature::AT_WORK
    | feature::PACED
    | feature::SCRIPTS
    | feature::CHANNELS
    | feature::DRAWN;

/// Our own greeting. `build` is a hash that tells two builds of one version apart, or empty.
pub fn hello(version: &str, build: &str) -> Hello {
    Hello {
        proto_min: PROTO_MIN,
        proto_max: PROTO_MAX,
        features: FEATURES,
        version: version.to_owned(),
        build: build.to_owned(),
    }
}

/// The two ends share no protocol version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skew {
    /// The other end is older than anything we speak.
    #[error("the other end (sessd {0}) is older, and speaks no protocol that this one still knows")]
    TheyAreOlder(String),
    /// The other end is newer than anything we speak.
    #[error("this end is older, and speaks no protocol that the other one (sessd {0}) still knows")]
    TheyAreNewer(String),
}

/// The highest version both ends speak.
///
/// # Errors
/// [`Skew`], naming the older side, when there is none.
pub fn negotiate(theirs: &Hello) -> Result<u32, Skew> {
    let version = || theirs.version.chars().filter(|c| !c.is_control()).take(32).collect();
    if theirs.proto_max < PROTO_MIN {
        Err(Skew::TheyAreOlder(version()))
    } else if theirs.proto_min > PROTO_MAX {
        Err(Skew::TheyAreNewer(version()))
    } else {
        Ok(theirs.proto_max.min(PROTO_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_wins_and_skew_names_the_older_side() {
        let mut theirs = hello("9.9.9", "");
        assert_eq!(negotiate(&theirs), Ok(PROTO_MAX));
        (theirs.proto_min, theirs.proto_max) = (PROTO_MAX + 1, PROTO_MAX + 2);
        assert_eq!(negotiate(&theirs), Err(Skew::TheyAreNewer("9.9.9".into())));
        (theirs.proto_min, theirs.proto_max) = (0, 0);
        assert_eq!(negotiate(&theirs), Err(Skew::TheyAreOlder("9.9.9".into())));
    }
}
