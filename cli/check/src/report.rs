//! The result of a check: objects with the findings about their settings.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::outcome::Outcome;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One setting of an object: an annotation, a key, a flag, a line of a Corefile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedSetting {
    /// The setting as it is written: `nginx.ingress.kubernetes.io/app-root`, `--v`, `forward . /etc/resolv.conf`.
    pub setting: String,
    /// Its line, if the object is in a file.
    pub place: Option<Place>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// How it differs and who notices, or why it is closed or refused and what to use. Empty where it works as before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// An object, with what becomes of it and of its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedObject {
    /// `Ingress`, `ConfigMap`, `Deployment`, `DaemonSet`, `Corefile`, or `File` for one that cannot be read.
    pub kind: String,
    /// `namespace/name`, or the name of the file.
    pub name: String,
    /// Its first line, if it is in a file.
    pub place: Option<Place>,
    /// The most severe outcome of its settings.
    pub outcome: Outcome,
    /// Its settings, in the order of the file.
    pub settings: Vec<CheckedSetting>,
}

impl CheckedObject {
    /// An object whose outcome is the most severe of its settings.
    pub fn new(
        kind: impl Into<String>,
        name: impl Into<String>,
        place: Option<Place>,
        settings: Vec<CheckedSetting>,
    ) -> Self {
        let outcome = settings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::AsBefore);
        Self { kind: kind.into(), name: name.into(), place, outcome, settings }
    }
}

/// Settings in the order of the file.
pub(crate) fn by_line(mut settings: Vec<CheckedSetting>) -> Vec<CheckedSetting> {
    settings.sort_by_key(|setting| setting.place.as_ref().map(|place| place.line));
    settings
}

/// Numbers of objects or settings by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<Outcome, usize>);

impl Counts {
    /// Counts these outcomes.
    pub fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut counts = Self::default();
        outcomes.into_iter().for_each(|outcome| *counts.0.entry(outcome).or_default() += 1);
        counts
    }

    /// The number of all.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// The number with this outcome.
    pub fn get(&self, outcome: Outcome) -> usize {
        self.0.get(&outcome).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Counts {
    /// `3 as before, 6 differ, 8 closed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (outcome, &count)) in self.0.iter().enumerate() {
            let words = match (outcome, count) {
                (Outcome::Differs, 2..) => "differ",
                (outcome, _) => outcome.words(),
            };
            write!(f, "{}{count} {words}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A part of the report: all objects of a kind.
#[derive(Clone, Debug, Serialize)]
pub struct Total {
    /// The kind: `Ingress`.
    pub kind: String,
    /// The objects by outcome.
    pub objects: Counts,
    /// Their settings by outcome.
    pub settings: Counts,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One line for each input and how it was read; printed before everything else.
    pub notes: Vec<String>,
    /// The objects, by kind and name.
    pub objects: Vec<CheckedObject>,
}

/// The kinds in the order of a report.
const KINDS: [&str; 6] = ["Ingress", "ConfigMap", "Deployment", "DaemonSet", "Corefile", "File"];

impl Report {
    /// Sorts the objects by kind, then by name.
    pub fn sort(&mut self) {
        let order = |kind: &str| KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len());
        self.objects.sort_by(|a, b| {
            (order(&a.kind), &a.kind, &a.name, &a.place).cmp(&(order(&b.kind), &b.kind, &b.name, &b.place))
        });
    }

    /// The totals by kind, in the order of the objects.
    pub fn totals(&self) -> Vec<Total> {
        let groups = self.objects.chunk_by(|a, b| a.kind == b.kind);
        let total = |objects: &[CheckedObject]| Total {
            kind: objects[0].kind.clone(),
            objects: Counts::of(objects.iter().map(|object| object.outcome)),
            settings: Counts::of(objects.iter().flat_map(|object| &object.settings).map(|it| it.outcome)),
        };
        groups.map(total).collect()
    }

    /// The most severe outcome.
    pub fn outcome(&self) -> Outcome {
        self.objects.iter().map(|object| object.outcome).max().unwrap_or(Outcome::AsBefore)
    }

    /// The exit code of the command.
    pub fn exit_code(&self) -> u8 {
        self.objects.iter().map(|object| object.outcome.exit_code()).max().unwrap_or_default()
    }
}
