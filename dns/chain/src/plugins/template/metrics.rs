//! The metrics of `template`.

use std::sync::OnceLock;

use telemetry::metrics::{Counter, Family, Registry};

use crate::codes::{Class, Type};
use crate::query_metrics::TYPES;
use crate::request::Request;

/// The metrics of all templates of a server block.
pub(super) struct TemplateMetrics {
    matches: Family<Counter, 5>,
    template_failures: Family<Counter, 7>,
    record_failures: Family<Counter, 7>,
    /// Server and view by key of the server block.
    keys: Vec<[String; 2]>,
}

/// Why a record was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordFailure {
    /// The template cannot be executed.
    Template,
    /// Its text is no record.
    Record,
}

/// The counters of the queries in class IN that a template matches, by key and zone. Those of the common types are kept once they
/// exist, since finding a counter by its labels takes a lock.
pub(super) struct MatchCounters {
    zones: usize,
    cells: Box<[OnceLock<ByType>]>,
}

/// The counters of the common types.
type ByType = Box<[OnceLock<Counter>]>;

impl MatchCounters {
    pub(super) fn new(keys: usize, zones: usize) -> Self {
        Self { zones, cells: (0..keys * zones).map(|_| OnceLock::new()).collect() }
    }
}

impl TemplateMetrics {
    /// The metrics for these servers and views.
    pub(super) fn new(metrics: &Registry, keys: Vec<[String; 2]>) -> Self {
        let failures = ["server", "zone", "view", "class", "type", "section", "template"];
        Self {
            matches: metrics.counters(
                "coredns_template_matches_total",
                "Counter of template regex matches.",
                ["server", "zone", "view", "class", "type"],
            ),
            template_failures: metrics.counters(
                "coredns_template_template_failures_total",
                "Counter of go template failures.",
                failures,
            ),
            record_failures: metrics.counters(
                "coredns_template_rr_failures_total",
                "Counter of mis-templated RRs.",
                failures,
            ),
            keys,
        }
    }

    /// Counts a query that a template matches.
    pub(super) fn count_match(&self, request: &Request, zone: &str, class: Class, qtype: Type) {
        let [server, view] = &self.keys[self.key(request)];
        self.matches.with([server, zone, view, class.label(), qtype.label()]).inc();
    }

    /// The same for a query in class IN, by the counters of its template.
    // Hot: 0 allocations once the counter exists.
    pub(super) fn count_match_of(
        &self,
        counters: &MatchCounters,
        request: &Request,
        (index, zone): (usize, &str),
        qtype: Type,
    ) {
        let key = self.key(request);
        let Some(kind) = TYPES.iter().position(|known| *known == qtype.0) else {
            return self.count_match(request, zone, Class(request.query.qclass), qtype);
        };
        let [server, view] = &self.keys[key];
        let counters = counters.cells[key * counters.zones + index]
            .get_or_init(|| (0..TYPES.len()).map(|_| OnceLock::new()).collect());
        counters[kind].get_or_init(|| self.matches.with([server, zone, view, "IN", qtype.label()])).inc();
    }

    /// Counts a record that could not be made.
    pub(super) fn count_failure(
        &self,
        failure: RecordFailure,
        request: &Request,
        [zone, class, qtype, section, template]: [&str; 5],
    ) {
        let [server, view] = &self.keys[self.key(request)];
        let family = match failure {
            RecordFailure::Template => &self.template_failures,
            RecordFailure::Record => &self.record_failures,
        };
        family.with([server, zone, view, class, qtype, section, template]).inc();
    }

    fn key(&self, request: &Request) -> usize {
        request.key.min(self.keys.len() - 1)
    }
}
