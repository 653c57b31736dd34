//! Why a migration did not take place, or was undone.

use std::fmt;

/// The result of a migration that did not succeed.
#[derive(Debug, PartialEq)]
pub enum MigrateError {
    /// A precondition does not hold. Nothing was changed. One reason a line; none if they are printed already.
    Refused(Vec<String>),
    /// The API server or a check failed before anything was changed.
    Failed(String),
    /// A check failed after a change, and the change was undone.
    RolledBack(String),
    /// A change could not be undone: what failed, and what is left to do.
    NotRolledBack {
        /// Why the migration was stopped.
        reason: String,
        /// Why the rollback failed.
        error: String,
    },
}

impl MigrateError {
    /// A refusal with one reason.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(vec![reason.into()])
    }

    /// The exit code: 2 for a refusal, 1 after a failure without a change in effect, 3 if a change remains.
    pub fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 2,
            Self::Failed(_) | Self::RolledBack(_) => 1,
            Self::NotRolledBack { .. } => 3,
        }
    }
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reasons) if reasons.is_empty() => f.write_str("refused, nothing was changed"),
            Self::Refused(reasons) => {
                f.write_str("refused, nothing was changed:")?;
                reasons.iter().try_for_each(|reason| write!(f, "\n  - {}", reason.replace('\n', "\n    ")))
            }
            Self::Failed(reason) => write!(f, "failed, nothing was changed: {reason}"),
            Self::RolledBack(reason) => write!(f, "rolled back: {reason}"),
            Self::NotRolledBack { reason, error } => {
                write!(f, "{reason}; the rollback is NOT complete: {error}")
            }
        }
    }
}

impl std::error::Error for MigrateError {}
