//! What is wrong with an object, in words for a log line, a metric and an Event.

use cluster::Key;

/// Something in an Ingress that cannot be served as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoutingProblem {
    /// The Ingress.
    pub ingress: Key,
    /// Annotation or field, as in `nginx.ingress.kubernetes.io/canary-weight` or `spec.rules[0].http.paths[1]`.
    pub field: String,
    /// What is wrong there, with the value, and what was wanted.
    pub what: String,
    /// What happens instead.
    pub effect: Effect,
}

/// What happens to a part of an Ingress that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it is only told.
    Differs,
    /// The default of the annotation is used.
    DefaultUsed,
    /// This part is left out, everything else is served.
    LeftOut,
    /// The routes answer 503.
    Closed,
}

impl Effect {
    /// One word, for the label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Differs => "noted",
            Self::DefaultUsed => "default",
            Self::LeftOut => "left-out",
            Self::Closed => "denied",
        }
    }

    /// The end of a sentence that tells the problem; empty where nothing happens.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Differs => "",
            Self::DefaultUsed => "; its default is used",
            Self::LeftOut => "; it is left out",
            Self::Closed => "; the routes answer 503",
        }
    }
}

impl std::fmt::Display for RoutingProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ingress, field, what, effect } = self;
        write!(f, "Ingress {ingress}: {field}: {what}{}", effect.suffix())
    }
}

/// Why an annotation could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct BadValue {
    /// Name of the annotation, without the prefix.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it should have been.
    pub wanted: &'static str,
}

impl std::fmt::Display for BadValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} should be {}", self.value, self.wanted)
    }
}
