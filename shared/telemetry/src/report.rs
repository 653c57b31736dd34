//! What an operator has to see: objects and settings that do not work as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::{Family, Gauge, Registry};
use crate::page::{Answer, Asked};

/// One thing that is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `Ingress`, `Secret`, `manifest`: what kind of thing it is.
    pub kind: String,
    /// `namespace/name`, or `file:line`; empty for the kind as a whole.
    pub key: String,
    /// Which field, annotation or verb.
    pub field: String,
    /// What is wrong, with the value that is.
    pub what: String,
    /// What would be right; may be empty.
    pub wanted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.kind, &self.key].into_iter().filter(|part| !part.is_empty());
        let subject = parts.map(String::as_str).collect::<Vec<_>>().join(" ");
        write!(f, "{subject}: ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.what)?;
        if self.wanted.is_empty() { Ok(()) } else { write!(f, "; wanted {}", self.wanted) }
    }
}

/// The problems of the moment. Each is logged when it comes and when it goes, counted in
/// `portolan_config_problems{scope,kind}`, and listed on a page. Copies are the same reports.
#[derive(Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    current: Mutex<BTreeMap<&'static str, BTreeSet<Problem>>>,
    count: Family<Gauge, 2>,
}

impl Reports {
    /// No problems yet, counted in that registry.
    pub fn new(registry: &Registry) -> Self {
        let help = "Objects and settings that do not work as they are, at the moment.";
        let count = registry.gauges("portolan_config_problems", help, ["scope", "kind"]);
        Self(Arc::new(Inner { current: Mutex::default(), count }))
    }

    /// All that is wrong in a scope, such as a source or a projection. What was wrong there before and is not
    /// named any more is solved.
    pub fn replace(&self, scope: &'static str, problems: impl IntoIterator<Item = Problem>) {
        let problems = problems.into_iter().collect();
        self.change(scope, |known| *known = problems);
    }

    /// All that is wrong with one object of a scope.
    pub fn replace_object(
        &self,
        scope: &'static str,
        kind: &str,
        key: &str,
        problems: impl IntoIterator<Item = Problem>,
    ) {
        self.change(scope, |known| {
            known.retain(|problem| problem.kind != kind || problem.key != key);
            known.extend(problems);
        });
    }

    /// All problems with their scopes, in order.
    pub fn current(&self) -> Vec<(&'static str, Problem)> {
        let current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .iter()
            .flat_map(|(scope, known)| known.iter().map(|problem| (*scope, problem.clone())))
            .collect()
    }

    /// The page that lists them, one a line.
    pub fn page(&self) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
        let reports = self.clone();
        move |_| {
            let mut body = String::new();
            for (scope, problem) in reports.current() {
                // Writing into a String cannot fail.
                let _ = writeln!(body, "{scope}: {problem}");
            }
            Answer::ok(body)
        }
    }

    fn change(&self, scope: &'static str, change: impl FnOnce(&mut BTreeSet<Problem>)) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        let known = current.entry(scope).or_default();
        let before = known.clone();
        change(known);
        for problem in known.difference(&before) {
            tracing::warn!(target: "report", "{problem}");
        }
        for problem in before.difference(known) {
            tracing::info!(target: "report", "solved: {problem}");
        }
        let mut counts: BTreeMap<&str, u32> =
            before.iter().map(|problem| (problem.kind.as_str(), 0)).collect();
        known.iter().for_each(|problem| *counts.entry(&problem.kind).or_default() += 1);
        for (kind, count) in counts {
            self.0.count.with([scope, kind]).set(count.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, what: &str) -> Problem {
        let (kind, field, wanted) =
            ("Ingress".to_owned(), "spec.rules[0]".to_owned(), "a Service".to_owned());
        Problem { kind, key: key.to_owned(), field, what: what.to_owned(), wanted }
    }

    #[test]
    fn problems_are_counted_listed_and_solved() {
        let registry = Registry::new();
        let reports = Reports::new(&registry);
        let count = |scope: &str| {
            let name = format!("portolan_config_problems{{scope=\"{scope}\",kind=\"Ingress\"}} ");
            registry.text().lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned))
        };
        reports
            .replace("routes", [problem("default/a", "no such Service"), problem("default/b", "bad regex")]);
        reports.replace("sources", [problem("default/a", "cannot be decoded")]);
        assert_eq!((count("routes").as_deref(), count("sources").as_deref()), (Some("2"), Some("1")));
        reports.replace_object("routes", "Ingress", "default/a", []);
        let listed: Vec<_> =
            reports.current().iter().map(|(scope, problem)| format!("{scope}: {problem}")).collect();
        let wanted = [
            "routes: Ingress default/b: spec.rules[0]: bad regex; wanted a Service",
            "sources: Ingress default/a: spec.rules[0]: cannot be decoded; wanted a Service",
        ];
        assert_eq!(listed, wanted);
        reports.replace("routes", []);
        assert_eq!(count("routes").as_deref(), Some("0"));
    }
}
