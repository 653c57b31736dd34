//! Problems with the objects that configure routing, as text for log lines, pages and Events.

use cluster::{Key, Kind};

use crate::unsupported::Level;

/// A setting in an Ingress or in the ConfigMap that cannot be applied as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoutingProblem {
    /// What kind of object it is: an Ingress or a ConfigMap.
    pub kind: Kind,
    /// The object.
    pub key: Key,
    /// Annotation or field, as in `nginx.ingress.kubernetes.io/canary-weight` or `spec.rules[0].http.paths[1]`; empty
    /// if `what` contains it.
    pub field: String,
    /// The error, with the value and what was expected.
    pub what: String,
    /// The consequence.
    pub effect: Effect,
}

/// The consequence of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// The routes of the Ingress answer 503.
    Closed,
    /// Routes of other objects answer 503; the text of the problem describes which.
    ClosesOthers,
    /// This part is ignored; everything else is served.
    LeftOut,
    /// This part is ignored by ingress-nginx, too; everything else is served.
    Ignored,
    /// The Ingress has no routes, as with ingress-nginx.
    IngressLeftOut,
    /// The default of the annotation is used.
    DefaultUsed,
    /// Requests are served, but not as configured.
    Differs,
    /// Requests are served as configured.
    Cosmetic,
}

impl Effect {
    /// The end of the sentence that reports the problem; empty if the text of the problem describes the consequence.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Closed => "; the routes answer 503",
            Self::LeftOut => "; it is left out",
            Self::Ignored => "; it is ignored, as by ingress-nginx",
            Self::IngressLeftOut => "; the whole Ingress is left out, as by ingress-nginx",
            Self::DefaultUsed => "; its default is used",
            Self::ClosesOthers | Self::Differs | Self::Cosmetic => "",
        }
    }

    /// How much it changes for clients.
    pub const fn level(self) -> Level {
        match self {
            Self::Closed | Self::ClosesOthers => Level::Closed,
            Self::LeftOut | Self::Ignored | Self::IngressLeftOut | Self::DefaultUsed | Self::Differs => {
                Level::Differs
            }
            Self::Cosmetic => Level::Cosmetic,
        }
    }
}

impl RoutingProblem {
    /// A problem of an Ingress.
    pub fn of_ingress(key: &Key, field: impl Into<String>, what: impl Into<String>, effect: Effect) -> Self {
        Self { kind: Kind::Ingress, key: key.clone(), field: field.into(), what: what.into(), effect }
    }
}

impl std::fmt::Display for RoutingProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, key, field, what, effect } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "{kind} {key}: {field}{colon}{what}{}", effect.suffix())
    }
}

/// Why an annotation could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct BadValue {
    /// Name of the annotation, without the prefix.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What was expected.
    pub wanted: &'static str,
}

impl std::fmt::Display for BadValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} should be {}", self.value, self.wanted)
    }
}
