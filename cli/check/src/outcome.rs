//! What becomes of an object or a setting.

use ingress_routes::{Effect, Level};
use serde::Serialize;

/// What becomes of an object or a setting, in the order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It works as with CoreDNS or ingress-nginx.
    AsBefore,
    /// Another controller serves it, or none; it is left alone.
    NotOurs,
    /// A mistake: it has no effect, and had none with ingress-nginx.
    Ignored,
    /// It cannot be known, because something could not be read.
    Unknown,
    /// It is served, but not in the same way.
    Differs,
    /// It is refused: it has no effect, or the program does not start with it.
    Refused,
    /// It is closed: requests get 503.
    Closed,
}

impl Outcome {
    /// All of them, in the order of severity.
    pub const ALL: [Self; 7] = [
        Self::AsBefore,
        Self::NotOurs,
        Self::Ignored,
        Self::Unknown,
        Self::Differs,
        Self::Refused,
        Self::Closed,
    ];

    /// The words of a report: `3 as before`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AsBefore => "as before",
            Self::NotOurs => "not ours",
            Self::Ignored => "ignored as before",
            Self::Unknown => "unknown",
            Self::Differs => "differs",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }

    /// The outcome of a setting that is not served as it is written.
    pub const fn of_level(level: Level) -> Self {
        match level {
            Level::Closed => Self::Closed,
            Level::Differs => Self::Differs,
            Level::Cosmetic => Self::AsBefore,
        }
    }

    /// The outcome of a setting with this consequence.
    pub const fn of_effect(effect: Effect) -> Self {
        match effect {
            Effect::Ignored | Effect::IngressLeftOut => Self::Ignored,
            effect => Self::of_level(effect.level()),
        }
    }

    /// The exit code of `portolan check`: 0 nothing changes, 1 something differs or is unknown, 2 something is closed or refused.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::AsBefore | Self::NotOurs | Self::Ignored => 0,
            Self::Unknown | Self::Differs => 1,
            Self::Refused | Self::Closed => 2,
        }
    }
}
