//! Rates: differences of counters between two events.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use crate::event::{BucketCounts, LiveEvent};

/// What happened between two events, a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// The time of the second event, in seconds since 1970.
    pub(crate) at: f64,
    pub(crate) leader: Option<bool>,
    pub(crate) requests: f64,
    /// The share of requests with a status of 500 to 599.
    pub(crate) errors: f64,
    /// Median and 99th percentile of the time of a request, in seconds.
    pub(crate) latency: (f64, f64),
    pub(crate) hosts: Vec<Rate>,
    /// Requests to the canary backends, and to what they are a canary of.
    pub(crate) canary: Vec<Rate>,
    pub(crate) queries: f64,
    pub(crate) query_latency: (f64, f64),
    /// Replies and failed health checks.
    pub(crate) upstreams: Vec<Rate>,
    pub(crate) rcodes: Vec<(String, f64)>,
    pub(crate) plugins: Vec<(String, f64)>,
    /// Name and type, with the estimated share of queries.
    pub(crate) names: Vec<(String, f64)>,
    /// The share of cache lookups that found a record.
    pub(crate) cache_hits: f64,
    pub(crate) cache_entries: f64,
    /// CPU time in cores.
    pub(crate) cpu: f64,
    /// Bytes.
    pub(crate) memory: f64,
}

/// The rate of one row.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    pub(crate) labels: Vec<String>,
    pub(crate) all: f64,
    pub(crate) failed: f64,
    /// Since the start of the process.
    pub(crate) total: f64,
    /// Median and 99th percentile in seconds.
    pub(crate) latency: (f64, f64),
}

impl Figures {
    /// The figures of the time between two events. A process that has started again in between has counters from zero.
    pub(crate) fn between(before: &LiveEvent, now: &LiveEvent) -> Self {
        let none = LiveEvent { at: now.at - 1.0, ..LiveEvent::default() };
        let restarted = now.http.total < before.http.total || now.dns.total < before.dns.total;
        let before = if restarted || now.at <= before.at { &none } else { before };
        let time = now.at - before.at;
        let requests = now.http.total - before.http.total;
        let failed = value(&now.http.status, "5") - value(&before.http.status, "5");
        let hits = now.dns.cache_hits - before.dns.cache_hits;
        let lookups = hits + now.dns.cache_misses - before.dns.cache_misses;
        Self {
            at: now.at,
            leader: now.leader,
            requests: requests / time,
            errors: if requests > 0.0 { failed / requests } else { 0.0 },
            latency: quantiles(&before.http.duration, &now.http.duration),
            hosts: rates(&before.http.hosts, &now.http.hosts, time, |(labels, all, failed, duration)| {
                RowParts { labels, all: *all, failed: *failed, duration: Some(duration) }
            }),
            canary: rates(&before.http.canary, &now.http.canary, time, |(labels, all, failed)| RowParts {
                labels,
                all: *all,
                failed: *failed,
                duration: None,
            }),
            queries: (now.dns.total - before.dns.total) / time,
            query_latency: quantiles(&before.dns.duration, &now.dns.duration),
            upstreams: rates(
                &before.dns.upstreams,
                &now.dns.upstreams,
                time,
                |(to, replies, failed, duration)| RowParts {
                    labels: std::slice::from_ref(to),
                    all: *replies,
                    failed: *failed,
                    duration: Some(duration),
                },
            ),
            rcodes: sums(&before.dns.rcode, &now.dns.rcode, time),
            plugins: sums(&before.dns.plugin, &now.dns.plugin, time),
            names: now
                .dns
                .names
                .iter()
                .map(|(name, kind, share)| (format!("{name} {kind}"), *share))
                .collect(),
            cache_hits: hits / lookups,
            cache_entries: now.dns.cache_entries,
            cpu: (now.process.cpu - before.process.cpu) / time,
            memory: now.process.memory,
        }
    }
}

fn value(sums: &BTreeMap<String, f64>, key: &str) -> f64 {
    sums.get(key).copied().unwrap_or_default()
}

/// The rates, highest first.
fn sums(before: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>, time: f64) -> Vec<(String, f64)> {
    let mut rates: Vec<_> =
        now.iter().map(|(key, sum)| (key.clone(), (sum - value(before, key)) / time)).collect();
    rates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    rates
}

/// The rates of rows with these labels, counts and times, highest first; equal ones by what was counted since the start.
fn rates<'e, R>(
    before: &'e [R],
    now: &'e [R],
    time: f64,
    parts: impl Fn(&'e R) -> RowParts<'e>,
) -> Vec<Rate> {
    let earlier: HashMap<&[String], RowParts<'e>> =
        before.iter().map(&parts).map(|row| (row.labels, row)).collect();
    let mut rates: Vec<_> = now
        .iter()
        .map(|row| {
            let RowParts { labels, all, failed, duration } = parts(row);
            let before = earlier.get(labels);
            let (all_before, failed_before) = before.map_or((0.0, 0.0), |row| (row.all, row.failed));
            let none = BucketCounts::default();
            let duration_before = before.and_then(|row| row.duration).unwrap_or(&none);
            Rate {
                labels: labels.to_vec(),
                all: (all - all_before) / time,
                failed: (failed - failed_before) / time,
                total: all,
                latency: quantiles(duration_before, duration.unwrap_or(&none)),
            }
        })
        .collect();
    let order = |rate: &Rate| (rate.all, rate.total);
    rates.sort_by(|one, other| order(other).partial_cmp(&order(one)).unwrap_or(Ordering::Equal));
    rates
}

/// A row of an event.
struct RowParts<'e> {
    labels: &'e [String],
    all: f64,
    failed: f64,
    duration: Option<&'e BucketCounts>,
}

fn quantiles(before: &BucketCounts, now: &BucketCounts) -> (f64, f64) {
    (quantile(before, now, 0.5), quantile(before, now, 0.99))
}

/// The value below which a share of the values between two events lies, linear within a bucket as Prometheus' `histogram_quantile`.
fn quantile(before: &BucketCounts, now: &BucketCounts, share: f64) -> f64 {
    let count = now.count - before.count;
    if count <= 0.0 {
        return f64::NAN;
    }
    let (mut below, mut low) = (0.0, 0.0);
    for (index, (bound, total)) in now.buckets.iter().enumerate() {
        let here = total - before.buckets.get(index).map_or(0.0, |(_, total)| *total);
        if here >= share * count {
            let inside = here - below;
            return if inside > 0.0 {
                low + (bound - low) * (share * count - below) / inside
            } else {
                *bound
            };
        }
        (below, low) = (here, *bound);
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> LiveEvent {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn rates_are_differences_a_second() {
        let before = event(
            r#"{"at":10,"http":{"total":100,"status":{"2":90,"5":10},"hosts":[[["a","n/a"],100,10,{}]],
                "duration":{"count":10,"buckets":[[0.1,10],[1,10]]}},
                "dns":{"total":5,"rcode":{"NOERROR":5},"cacheHits":1,"cacheMisses":1},"process":{"cpu":1,"memory":3}}"#,
        );
        let now = event(
            r#"{"at":12,"http":{"total":120,"status":{"2":105,"5":15},"hosts":[[["a","n/a"],110,10,{}],[["b","n/b"],20,5,{}]],
                "duration":{"count":30,"buckets":[[0.1,20],[1,30]]}},
                "dns":{"total":45,"rcode":{"NOERROR":25,"NXDOMAIN":20},"cacheHits":4,"cacheMisses":2},"process":{"cpu":1.5,"memory":4}}"#,
        );
        let figures = Figures::between(&before, &now);
        assert_eq!(
            (figures.requests, figures.errors, figures.queries, figures.cpu),
            (10.0, 0.25, 20.0, 0.25)
        );
        assert_eq!(figures.latency.0, 0.1);
        assert!((figures.latency.1 - 0.982).abs() < 1e-9, "{:?}", figures.latency);
        assert_eq!(figures.hosts[0].labels, ["b", "n/b"]);
        assert_eq!((figures.hosts[0].all, figures.hosts[0].failed), (10.0, 2.5));
        assert_eq!(figures.hosts[1].all, 5.0);
        assert_eq!(figures.rcodes[0], ("NOERROR".to_owned(), 10.0));
        assert_eq!((figures.cache_hits, figures.memory), (0.75, 4.0));
        assert!(figures.query_latency.0.is_nan());
    }

    #[test]
    fn a_restarted_process_counts_from_zero() {
        let figures = Figures::between(
            &event(r#"{"at":10,"http":{"total":100}}"#),
            &event(r#"{"at":12,"http":{"total":7}}"#),
        );
        assert_eq!(figures.requests, 7.0);
    }
}
