//! How a job ended.

use super::time::rfc3339;
use super::word::{Reason, Word};
use super::words;
use crate::messages::{EndReason, ExitRecord};
use serde::{Deserialize, Serialize};

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndDoc {
    /// Why.
    pub reason: Word<Reason>,
    /// Exit code.
    pub code: Option<i32>,
    /// Signal number.
    pub signal: Option<i32>,
    /// RFC 3339.
    #[serde(default)]
    pub at: String,
    /// One sentence, or null.
    pub detail: Option<String>,
}

impl EndDoc {
    /// The exit code of a program that ends as the job did.
    pub fn exit_code(&self) -> u8 {
        exit_code(self.code, self.signal)
    }

    /// How it ended, in a few words.
    pub fn phrase(&self) -> String {
        words::end(&self.reason, self.code, self.signal)
    }
}

impl From<&ExitRecord> for EndDoc {
    fn from(exit: &ExitRecord) -> Self {
        Self {
            reason: Reason::from(EndReason::try_from(exit.reason).unwrap_or(EndReason::Unspecified)).into(),
            code: exit.code,
            signal: exit.signal,
            at: rfc3339(i64::try_from(exit.at_ms).unwrap_or(i64::MAX)),
            detail: (!exit.detail.is_empty()).then(|| exit.detail.clone()),
        }
    }
}

/// The exit code of a program that ends as a job did: its own, or 128 and the signal, or 1 where neither is known. Of a longer
/// code its lowest byte is what a shell sees.
pub fn exit_code(code: Option<i32>, signal: Option<i32>) -> u8 {
    code.or_else(|| signal.map(|n| 128 + n)).unwrap_or(1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_as_the_job_did() {
        for (code, signal, want) in [
            (Some(7), None, 7),
            (None, Some(9), 137),
            (None, None, 1),
            (Some(0), None, 0),
            (Some(259), None, 3),
        ] {
            assert_eq!(exit_code(code, signal), want);
        }
    }

    #[test]
    fn what_a_holder_wrote_is_read_as_the_document() {
        let exit = ExitRecord {
            reason: EndReason::Restarted as i32,
            signal: Some(1),
            at_ms: 1,
            ..Default::default()
        };
        let doc = EndDoc::from(&exit);
        assert_eq!((doc.reason.as_str(), doc.detail.as_deref(), doc.exit_code()), ("deleted", None, 129));
        assert_eq!(doc.at, "1970-01-01T00:00:00.001Z");
        // A reason of a newer holder is no reason to be anything but plain.
        assert_eq!(EndDoc::from(&ExitRecord { reason: 99, ..exit }).reason, Reason::Failed);
    }
}
