//! What becomes of one key of a values file.

use std::fmt;

use super::path::ValuePath;

/// What becomes of a key, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyOutcome {
    /// It has an effect in the original and cannot have it here. It is left out.
    Refused,
    /// It is kept. What it protects or opens is not implemented, so the requests or connections that it concerns are refused.
    Closed,
    /// It is kept, and its effect differs or is missing.
    Differs,
    /// Neither chart has it. It is left out.
    Unknown,
    /// It is accepted without effect, and nothing is lost.
    NoEffect,
    /// It means the same.
    Honoured,
}

impl KeyOutcome {
    /// All outcomes, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Refused, Self::Closed, Self::Differs, Self::Unknown, Self::NoEffect, Self::Honoured];

    /// The word in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Differs => "different",
            Self::Unknown => "unknown",
            Self::NoEffect => "without effect",
            Self::Honoured => "honoured",
        }
    }
}

/// A key with its outcome.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its place in Portolan's values.
    pub path: ValuePath,
    /// Its line in the given file, counted from 1; `None` where it is not known, in maps and lists that are written on one line.
    pub line: Option<usize>,
    /// What becomes of it.
    pub outcome: KeyOutcome,
    /// Why; empty if it is honoured.
    pub reason: String,
    /// The value that is left out of the new file because of it.
    pub(super) removed: Option<ValuePath>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<15}{}", self.outcome.name(), self.path)?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}
