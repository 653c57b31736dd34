//! Problem reports: objects and settings that do not work as configured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::admin_message::{AdminRequest, AdminResponse};
use crate::metrics::{Counter, Family, Gauge, Registry};

/// One problem of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The kind of object: `Ingress`, `Secret`, `manifest`.
    pub kind: String,
    /// `namespace/name` or `file:line`; empty if the problem concerns the kind as a whole.
    pub key: String,
    /// The field, annotation or verb; may be empty.
    pub field: String,
    /// The problem, with the invalid value.
    pub what: String,
    /// The expected value; may be empty.
    pub wanted: String,
    /// The severity, if known. The last field, so that the problems of one object are adjacent in order.
    pub severity: Option<Severity>,
}

/// The effect of a problem on clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests are refused: a route answers 503.
    Closed,
    /// Requests are served, but not as configured.
    Differs,
    /// Clients see no difference; logs or performance differ.
    Cosmetic,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Differs => "differs",
            Self::Cosmetic => "cosmetic",
        }
    }
}

/// Maximum length in bytes of a problem's line and of each of its parts, which may contain text of an object.
const MAX_LINE: usize = 1024;

/// Maximum number of problems on the page.
const MAX_LINES: usize = 1000;

/// Maximum number of problems stored for a scope; the most severe ones are kept.
const MAX_PROBLEMS: usize = 10_000;

impl fmt::Display for Problem {
    /// One line of at most `MAX_LINE` bytes. Control characters are replaced, so that text of an object cannot look like another
    /// line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, field, what, wanted, severity } = self;
        let subject = if key.is_empty() { kind.clone() } else { format!("{kind} {key}") };
        let wanted = if wanted.is_empty() { String::new() } else { format!("; wanted {wanted}") };
        let parts = [&subject, field, what].into_iter().filter(|part| !part.is_empty());
        let mut line = parts.map(String::as_str).collect::<Vec<_>>().join(": ") + &wanted;
        cut(&mut line);
        line.chars().try_for_each(|ch| f.write_char(if ch.is_control() { ' ' } else { ch }))?;
        match severity {
            Some(severity) => write!(f, " ({})", severity.name()),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// Shortens all parts to [`MAX_LINE`], since they are stored as long as the problem exists.
    fn cut(mut self) -> Self {
        [&mut self.kind, &mut self.key, &mut self.field, &mut self.what, &mut self.wanted]
            .into_iter()
            .for_each(cut);
        self
    }
}

/// Takes the middle out of a long text: what an object has written may be long, and the reason comes after it.
fn cut(text: &mut String) {
    const KEPT: usize = (MAX_LINE - '…'.len_utf8()) / 2;
    if text.len() > MAX_LINE {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let start = (0..=KEPT).rev().find(is_boundary).unwrap_or_default();
        let end = (text.len() - KEPT..).find(is_boundary).unwrap_or(text.len());
        text.replace_range(start..end, "…");
        text.shrink_to_fit();
    }
}

/// The current problems. Each is logged when it appears and when it is solved, counted in
/// `portolan_config_problems{scope,kind,level}`, and listed on a page. A scope stores `MAX_PROBLEMS`; further problems are counted in
/// `portolan_config_problems_dropped_total{scope}` at each report. Clones share the reports.
#[derive(Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    current: Mutex<BTreeMap<&'static str, BTreeSet<Problem>>>,
    count: Family<Gauge, 3>,
    dropped: Family<Counter, 1>,
}

impl Reports {
    /// Creates reports without problems. Registers their metrics.
    pub fn new(registry: &Registry) -> Self {
        let help = "Current problems with objects and settings.";
        let count = registry.gauges("portolan_config_problems", help, ["scope", "kind", "level"]);
        let help = "Problems that were reported and not stored because there are too many of their scope.";
        let dropped = registry.counters("portolan_config_problems_dropped_total", help, ["scope"]);
        Self(Arc::new(Inner { current: Mutex::default(), count, dropped }))
    }

    /// Replaces all problems of a scope, such as a source or a projection. Earlier problems that are not in `problems` are solved.
    pub fn replace(&self, scope: &'static str, problems: impl IntoIterator<Item = Problem>) {
        self.change(scope, &Problem::default(), &|_| true, MostSevere::of(problems, MAX_PROBLEMS));
    }

    /// Replaces the problems of one object of a scope.
    pub fn replace_object(
        &self,
        scope: &'static str,
        kind: &str,
        key: &str,
        problems: impl IntoIterator<Item = Problem>,
    ) {
        let first = Problem { kind: kind.to_owned(), key: key.to_owned(), ..Problem::default() };
        let same = |known: &Problem| known.kind == kind && known.key == key;
        self.change(scope, &first, &same, MostSevere::of(problems, MAX_PROBLEMS));
    }

    /// Removes the problems of one object of a scope for which `is_removed` returns true.
    pub fn remove_object(
        &self,
        scope: &'static str,
        kind: &str,
        key: &str,
        is_removed: impl Fn(&Problem) -> bool,
    ) {
        let first = Problem { kind: kind.to_owned(), key: key.to_owned(), ..Problem::default() };
        let same = |known: &Problem| known.kind == kind && known.key == key && is_removed(known);
        self.change(scope, &first, &same, MostSevere::of(None, MAX_PROBLEMS));
    }

    /// All problems with their scopes, in order.
    pub fn current(&self) -> Vec<(&'static str, Problem)> {
        let current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .iter()
            .flat_map(|(scope, known)| known.iter().map(|problem| (*scope, problem.clone())))
            .collect()
    }

    /// The page `/problems`: one problem per line, at most a thousand, ordered by severity.
    pub fn page(&self) -> impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static {
        let reports = self.clone();
        move |_| AdminResponse::ok(reports.page_text())
    }

    fn page_text(&self) -> String {
        let mut problems = self.current();
        // A problem of unknown severity is listed with the most severe ones.
        problems.sort_by_key(|(_, problem)| problem.severity.unwrap_or(Severity::Closed));
        let mut text = String::new();
        for (scope, problem) in problems.iter().take(MAX_LINES) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{scope}: {problem}");
        }
        if let Some(more @ 1..) = problems.len().checked_sub(MAX_LINES) {
            let _ = writeln!(text, "… and {more} more");
        }
        text
    }

    /// The number of problems like this one. An unknown severity counts as the highest, as on the page.
    fn count(&self, scope: &'static str, problem: &Problem) -> Gauge {
        let level = problem.severity.unwrap_or(Severity::Closed);
        self.0.count.with([scope, &problem.kind, level.name()])
    }

    /// Replaces the problems that match by `after`. The matching problems must be adjacent in order and start at `first`.
    fn change(
        &self,
        scope: &'static str,
        first: &Problem,
        matches: &dyn Fn(&Problem) -> bool,
        after: MostSevere,
    ) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        let known = current.entry(scope).or_default();
        let before = || known.range(first..).take_while(|problem| matches(problem));
        let MostSevere { problems: after, dropped } =
            after.limited_to(|| MAX_PROBLEMS - (known.len() - before().count()));
        if dropped > 0 {
            self.0.dropped.with([scope]).add(dropped);
        }
        // Most calls change nothing.
        if before().eq(&after) {
            return;
        }
        let before: BTreeSet<_> = before().cloned().collect();
        let solved: Vec<_> = before.difference(&after).collect();
        let new: Vec<_> =
            after.difference(&before).filter(|problem| known.insert((*problem).clone())).collect();
        for problem in &solved {
            known.remove(problem);
            self.count(scope, problem).add(-1.0);
        }
        for problem in &new {
            self.count(scope, problem).add(1.0);
        }
        drop(current);
        let (cosmetic, severe): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|problem| problem.severity == Some(Severity::Cosmetic));
        log_some(&severe, |problem| tracing::warn!(target: "report", "{problem}"));
        log_some(&cosmetic, |problem| tracing::info!(target: "report", "{problem}"));
        log_some(&solved, |problem| tracing::info!(target: "report", "solved: {problem}"));
    }
}

/// The most severe problems of a report.
struct MostSevere {
    problems: BTreeSet<Problem>,
    /// How many others there were.
    dropped: u64,
}

impl MostSevere {
    fn of(problems: impl IntoIterator<Item = Problem>, limit: usize) -> Self {
        let mut ranked = BTreeSet::new();
        let mut dropped = 0;
        for problem in problems {
            ranked.insert((problem.severity.unwrap_or(Severity::Closed), problem.cut()));
            if ranked.len() > limit {
                ranked.pop_last();
                dropped += 1;
            }
        }
        Self { problems: ranked.into_iter().map(|(_, problem)| problem).collect(), dropped }
    }

    /// Keeps as many problems as there is room for. `room` is not called if there are none.
    fn limited_to(self, room: impl FnOnce() -> usize) -> Self {
        if self.problems.is_empty() {
            return self;
        }
        let room = room();
        if self.problems.len() <= room {
            return self;
        }
        let limited = Self::of(self.problems, room);
        Self { dropped: self.dropped + limited.dropped, ..limited }
    }
}

/// Logs at most [`MAX_LOGGED`] problems: a broken source can report thousands at once.
fn log_some(problems: &[&Problem], log: impl Fn(&dyn fmt::Display)) {
    let shown = problems.len().min(MAX_LOGGED);
    problems[..shown].iter().for_each(|problem| log(problem));
    if problems.len() > shown {
        log(&format_args!("and {} more, see /problems", problems.len() - shown));
    }
}

/// Maximum number of problems logged for one change: one for each Ingress of a large cluster.
const MAX_LOGGED: usize = 1000;

#[cfg(test)]
mod tests;
