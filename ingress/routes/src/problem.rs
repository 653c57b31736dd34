//! What is wrong with an object, in words for a log line, a metric and an Event.

use cluster::Key;

/// Something in an Ingress that cannot be served as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IngressProblem {
    /// The Ingress.
    pub ingress: Key,
    /// Annotation or field, as in `nginx.ingress.kubernetes.io/canary-weight` or `spec.rules[0].http.paths[1]`.
    pub place: String,
    /// What is wrong there, with the value, and what was wanted.
    pub what: String,
    /// What happens instead.
    pub outcome: Outcome,
}

/// What happens to a part of an Ingress that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing: it is only told.
    Noted,
    /// The default of the annotation is used.
    Default,
    /// This part is left out, everything else is served.
    LeftOut,
    /// The routes answer 503.
    Denied,
}

impl Outcome {
    /// One word, for the label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Default => "default",
            Self::LeftOut => "left-out",
            Self::Denied => "denied",
        }
    }

    /// The end of a sentence that tells the problem; empty where nothing happens.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Noted => "",
            Self::Default => "; its default is used",
            Self::LeftOut => "; it is left out",
            Self::Denied => "; the routes answer 503",
        }
    }
}

impl std::fmt::Display for IngressProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ingress, place, what, outcome } = self;
        write!(f, "Ingress {ingress}: {place}: {what}{}", outcome.effect())
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
