//! A moment, as documents say it.

use std::time::{Duration, UNIX_EPOCH};

/// The last moment that the form has room for: the end of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// A time in milliseconds since the epoch as RFC 3339 in UTC, the contract's form, to the millisecond.
pub fn rfc3339(ms: i64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(ms.clamp(0, LAST_MS) as u64);
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn every_number_is_a_time() {
        assert_eq!(rfc3339(i64::MIN), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1), "1970-01-01T00:00:00.001Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
