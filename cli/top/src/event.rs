//! `/live/events`: counters since the start of the process.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One event. What a newer or older process does not send is zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LiveEvent {
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// Whether the process is the leader; `None` without an election.
    pub(crate) leader: Option<bool>,
    pub(crate) http: HttpCounters,
    pub(crate) dns: DnsCounters,
    pub(crate) process: ProcessFigures,
}

/// Requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HttpCounters {
    pub(crate) total: f64,
    /// By the first digit of the status.
    pub(crate) status: BTreeMap<String, f64>,
    /// Host and Ingress; all requests, those with a status of 500 to 599, and how long they took.
    pub(crate) hosts: Vec<(Vec<String>, f64, f64, BucketCounts)>,
    /// Ingress and canary backend; all requests, and those with a status of 500 to 599.
    pub(crate) canary: Vec<(Vec<String>, f64, f64)>,
    pub(crate) duration: BucketCounts,
}

/// DNS queries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DnsCounters {
    pub(crate) total: f64,
    pub(crate) rcode: BTreeMap<String, f64>,
    pub(crate) plugin: BTreeMap<String, f64>,
    pub(crate) duration: BucketCounts,
    pub(crate) cache_hits: f64,
    pub(crate) cache_misses: f64,
    pub(crate) cache_entries: f64,
    /// Address; replies, failed health checks, and how long the replies took.
    pub(crate) upstreams: Vec<(String, f64, f64, BucketCounts)>,
    /// Name, type, and the estimated share of the queries of the last minutes.
    pub(crate) names: Vec<(String, String, f64)>,
}

/// The process: CPU time in seconds, resident memory in bytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessFigures {
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
}

/// Bounds in seconds with the number of values up to each.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BucketCounts {
    pub(crate) count: f64,
    pub(crate) buckets: Vec<(f64, f64)>,
}
