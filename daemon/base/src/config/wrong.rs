//! What is wrong with a configuration: its line, in words a person uses, and what was probably meant.

use sessd_proto::docs::Error;
use std::ops::Range;
use std::path::Path;

/// How alike two words must be for one to be a slip of the other; 1 is the same.
const ALIKE: f64 = 0.6;

/// What is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    line: Option<usize>,
    what: String,
    hint: String,
}

impl Wrong {
    /// A value that cannot be.
    pub(super) fn value(text: &str, span: Range<usize>, what: String, hint: &str) -> Self {
        Self { line: Some(line_of(text, span.start)), what, hint: hint.to_owned() }
    }

    /// What the parser found.
    pub(super) fn parsed(text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line_of(text, span.start));
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        if let (true, [unknown, known @ ..]) = (message.starts_with("unknown field"), names.as_slice()) {
            let alike = |name: &&&str| strsim::normalized_damerau_levenshtein(unknown, name);
            let meant =
                known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|name| alike(name) > ALIKE);
            let hint = meant.map_or_else(
                || format!("there are {}", known.join(", ")),
                |meant| format!("did you mean {meant}"),
            );
            return Self { line, what: format!("unknown setting {unknown}"), hint };
        }
        Self { line, what: message, hint: "mend that line, or move the file away".to_owned() }
    }

    /// As it is told.
    pub(super) fn into_error(self, file: &Path) -> Error {
        let line = self.line.map(|line| format!(", line {line}")).unwrap_or_default();
        Error::failed(format!("{}{line}: {}", file.display(), self.what), self.hint)
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}
