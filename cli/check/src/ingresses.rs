//! Ingresses: which are ours, and what becomes of each annotation and field.

use std::collections::HashMap;

use cluster::{Ingress, IngressClass, Key, Kind, Snapshot};
use ingress_routes::annotations::{FAMILIES, UNSUPPORTED};
use ingress_routes::{CLASS_ANNOTATION, RouteTable, RoutingProblem};

use crate::differences;
use crate::input::LineIndex;
use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, by_line};

/// Problems of a route table by object.
pub(crate) type Problems<'p> = HashMap<(Kind, Key), Vec<&'p RoutingProblem>>;

/// The inputs for judging an object.
pub(crate) struct Judge<'c> {
    pub(crate) table: &'c RouteTable,
    pub(crate) problems: &'c Problems<'c>,
    pub(crate) lines: &'c LineIndex,
    /// `--annotations-prefix`.
    pub(crate) prefix: &'c str,
    /// Whether an object that is named and not found does not exist; else it may only not have been read.
    pub(crate) is_whole: bool,
}

impl Judge<'_> {
    /// The findings about an Ingress that is ours.
    pub(crate) fn ingress(&self, ingress: &Ingress) -> CheckedObject {
        let key = &ingress.key;
        let mut problems = self.of(Kind::Ingress, key);
        let mut findings = Vec::new();
        for (name, value) in &ingress.annotations {
            let Some(short) = name.strip_prefix(self.prefix).and_then(|name| name.strip_prefix('/')) else {
                if name == CLASS_ANNOTATION {
                    findings.push(self.finding(key, name, Outcome::AsBefore, ""));
                }
                continue;
            };
            let about = |problem: &mut &RoutingProblem| {
                problem.field == *name || problem.field.is_empty() && first_word(&problem.what) == short
            };
            let mut reported: Vec<_> =
                problems.extract_if(.., about).map(|problem| self.of_problem(key, name, problem)).collect();
            if reported.is_empty() {
                let (outcome, reason) = unreported(short, value);
                reported.push(self.finding(key, name, outcome, reason));
            }
            findings.append(&mut reported);
        }
        let others = problems.iter().map(|problem| self.of_problem(key, &problem.field, problem));
        let findings = by_line(others.chain(findings).collect());
        CheckedObject::new("Ingress", key.to_string(), self.lines.object(Kind::Ingress, key), findings)
    }

    /// An Ingress that is not ours. In a folder, a class that is not among the manifests may be ours.
    pub(crate) fn foreign(&self, ingress: &Ingress, snapshot: &Snapshot) -> CheckedObject {
        let key = &ingress.key;
        let (outcome, reason) = match (&ingress.class, ingress.annotation(CLASS_ANNOTATION)) {
            (Some(class), _) => match snapshot.get::<IngressClass>(&Key::cluster(&**class)) {
                Some(found) => {
                    (Outcome::NotOurs, format!("IngressClass {class} is served by {}", found.controller))
                }
                None if self.is_whole => (Outcome::NotOurs, format!("IngressClass {class} does not exist")),
                None => (
                    Outcome::Unknown,
                    format!(
                        "IngressClass {class} is not among the manifests: add its manifest, or pass -- --ingress-class={class}"
                    ),
                ),
            },
            (None, Some(class)) => {
                (Outcome::NotOurs, format!("another controller serves the class {class:?}"))
            }
            (None, None) => (Outcome::NotOurs, "it has no class".to_owned()),
        };
        let finding = self.finding(key, "spec.ingressClassName", outcome, &reason);
        CheckedObject::new("Ingress", key.to_string(), self.lines.object(Kind::Ingress, key), vec![finding])
    }

    fn of(&self, kind: Kind, key: &Key) -> Vec<&RoutingProblem> {
        self.problems.get(&(kind, key.clone())).cloned().unwrap_or_default()
    }

    fn of_problem(&self, key: &Key, setting: &str, problem: &RoutingProblem) -> CheckedSetting {
        let reason = format!("{}{}", problem.what, problem.effect.suffix());
        if !self.is_whole && names_a_missing_object(&problem.what) {
            let reason = format!("{reason}, unless it exists in the cluster: it is not among the manifests");
            return self.finding(key, setting, Outcome::Unknown, &reason);
        }
        self.finding(key, setting, Outcome::of_effect(problem.effect), &reason)
    }

    fn finding(&self, key: &Key, setting: &str, outcome: Outcome, reason: &str) -> CheckedSetting {
        let place = self.lines.field(Kind::Ingress, key, setting);
        CheckedSetting { setting: setting.to_owned(), place, outcome, reason: reason.to_owned() }
    }
}

/// Whether a problem is that a named object was not found.
pub(crate) fn names_a_missing_object(what: &str) -> bool {
    let words = ["Secret ", "ConfigMap ", "Service "];
    words.iter().any(|word| what.contains(word)) && what.contains("does not exist")
}

fn first_word(text: &str) -> &str {
    text.split_once(' ').map_or(text, |(word, _)| word)
}

/// What becomes of an annotation that the table does not report.
fn unreported(name: &str, value: &str) -> (Outcome, &'static str) {
    let is_honoured = FAMILIES.iter().flat_map(|family| family.annotations).any(|known| known.name == name);
    if !is_honoured {
        // A neutral value: it asks for what is done anyway.
        let known = UNSUPPORTED.iter().any(|known| known.name == name);
        let reason =
            if known { "asks for what is done anyway" } else { "is obsolete, ingress-nginx ignores it too" };
        return (Outcome::AsBefore, reason);
    }
    match differences::of_ingress(name, value) {
        Some(text) => (Outcome::Differs, text),
        None => (Outcome::AsBefore, ""),
    }
}
