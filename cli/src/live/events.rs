//! Counters, once a second. The page computes rates from two of them.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use dns_chain::explain::type_name;
use dns_server::NameSamples;
use serde_json::{Value, json};
use telemetry::metrics::{MetricSample, Registry};

/// Hosts and canaries in an event: those with the most requests.
const MAX_ROWS: usize = 30;

/// Names in an event.
const MAX_NAMES: usize = 20;

/// The counters as one line of JSON. `names` is `None` without a DNS server.
pub fn json(metrics: &Registry, names: Option<&NameSamples>) -> String {
    let requests = metrics.read("nginx_ingress_controller_requests");
    let durations = metrics.read("nginx_ingress_controller_request_duration_seconds");
    let leader = metrics.read("nginx_ingress_controller_leader_election_status");
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let document = json!({
        "at": at,
        // Without an election there is no leader.
        "leader": leader.first().map(|sample| sample.value > 0.0),
        "http": {
            "total": total(&requests),
            "status": by(&requests, |sample| sample.label("status").chars().next().unwrap_or('?').to_string()),
            "hosts": hosts(&requests, &durations),
            "canary": rows(&requests, |sample| vec![ingress(sample), sample.label("canary").to_owned()]),
            "duration": histogram(durations.iter()),
        },
        "dns": {
            "total": total(&metrics.read("coredns_dns_requests_total")),
            "rcode": by(&metrics.read("coredns_dns_responses_total"), |sample| sample.label("rcode").to_owned()),
            "plugin": by(&metrics.read("coredns_dns_responses_total"), |sample| sample.label("plugin").to_owned()),
            "duration": histogram(metrics.read("coredns_dns_request_duration_seconds").iter()),
            "upstreams": upstreams(metrics),
            "names": names.map(shares).unwrap_or_default(),
            "cacheHits": total(&metrics.read("coredns_cache_hits_total")),
            "cacheMisses": total(&metrics.read("coredns_cache_misses_total")),
            "cacheEntries": total(&metrics.read("coredns_cache_entries")),
        },
        "process": {
            "cpu": process(metrics, "process_cpu_seconds_total"),
            "memory": process(metrics, "process_resident_memory_bytes"),
        },
    });
    document.to_string()
}

/// The names that clients ask for most: name, type and share.
fn shares(names: &NameSamples) -> Vec<Value> {
    let names = names.top(MAX_NAMES).into_iter();
    names.map(|found| json!([found.name.to_string(), type_name(found.qtype), found.share])).collect()
}

fn ingress(sample: &MetricSample) -> String {
    match sample.label("ingress") {
        "" => String::new(),
        name => format!("{}/{name}", sample.label("namespace")),
    }
}

fn total(samples: &[MetricSample]) -> f64 {
    samples.iter().fold(0.0, |sum, sample| sum + sample.value)
}

/// Metrics of the process are one collector.
fn process(metrics: &Registry, name: &str) -> f64 {
    total(&metrics.read(name))
}

/// The sums by a label.
fn by(samples: &[MetricSample], key: impl Fn(&MetricSample) -> String) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for sample in samples {
        *sums.entry(key(sample)).or_default() += sample.value;
    }
    sums
}

/// The sums by some labels, each with all requests and with those that failed (5xx): those with the most requests.
fn rows(samples: &[MetricSample], key: impl Fn(&MetricSample) -> Vec<String>) -> Vec<Value> {
    let mut sums: BTreeMap<Vec<String>, (f64, f64)> = BTreeMap::new();
    for sample in samples {
        let sum = sums.entry(key(sample)).or_default();
        sum.0 += sample.value;
        if sample.label("status").starts_with('5') {
            sum.1 += sample.value;
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by(|(_, one), (_, other)| other.0.total_cmp(&one.0));
    rows.truncate(MAX_ROWS);
    rows.into_iter().map(|(labels, (all, failed))| json!([labels, all, failed])).collect()
}

/// The rows of the hosts and Ingresses with the most requests, each with its latency.
fn hosts(requests: &[MetricSample], durations: &[MetricSample]) -> Vec<Value> {
    // There may be 100,000 series of durations, so they are read once.
    let mut series: HashMap<[&str; 3], Vec<&MetricSample>> = HashMap::new();
    for sample in durations {
        let key = ["host", "namespace", "ingress"].map(|label| sample.label(label));
        series.entry(key).or_default().push(sample);
    }
    let mut rows = rows(requests, |sample| vec![sample.label("host").to_owned(), ingress(sample)]);
    for row in rows.iter_mut().filter_map(Value::as_array_mut) {
        let [host, ingress] = [0, 1].map(|label| row[0][label].as_str().unwrap_or_default());
        let (namespace, name) = ingress.split_once('/').unwrap_or_default();
        let own = series.get(&[host, namespace, name]).into_iter().flatten().copied();
        let latency = histogram(own);
        row.push(latency);
    }
    rows
}

/// The upstreams of `forward`: address, replies, failed health checks, and how long the replies took.
fn upstreams(metrics: &Registry) -> Vec<Value> {
    let replies = metrics.read("coredns_proxy_request_duration_seconds");
    let failed =
        by(&metrics.read("coredns_proxy_healthcheck_failures_total"), |sample| sample.label("to").to_owned());
    let mut addresses: Vec<&str> =
        replies.iter().map(|sample| sample.label("to")).chain(failed.keys().map(String::as_str)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ROWS);
    let row = |to: &str| {
        let own = || replies.iter().filter(|sample| sample.label("to") == to);
        let count: u64 = own().map(|sample| sample.count).sum();
        json!([to, count, failed.get(to).copied().unwrap_or_default(), histogram(own())])
    };
    addresses.into_iter().map(row).collect()
}

/// Some series of a histogram together: bounds with cumulative counts.
fn histogram<'s>(samples: impl Iterator<Item = &'s MetricSample>) -> Value {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    let mut count = 0;
    for sample in samples {
        count += sample.count;
        if buckets.is_empty() {
            buckets = sample.buckets.iter().map(|(bound, _)| (*bound, 0)).collect();
        }
        buckets.iter_mut().zip(&sample.buckets).for_each(|(sum, (_, count))| sum.1 += count);
    }
    json!({ "count": count, "buckets": buckets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_status_host_and_canary() {
        let metrics = Registry::new();
        let labels = ["status", "namespace", "ingress", "canary", "host"];
        let requests = metrics.counters("nginx_ingress_controller_requests", "x", labels);
        requests.with(["200", "shop", "web", "", "a.example"]).add(7);
        requests.with(["503", "shop", "web", "", "a.example"]).add(2);
        requests.with(["200", "shop", "web", "shop-v2-80", "a.example"]).add(1);
        let durations = metrics.histograms(
            "nginx_ingress_controller_request_duration_seconds",
            "x",
            ["host", "namespace", "ingress"],
            &[0.1, 1.0],
        );
        durations.with(["a.example", "shop", "web"]).observe(0.05);
        durations.with(["b.example", "shop", "web"]).observe(5.0);
        let replies = metrics.histograms("coredns_proxy_request_duration_seconds", "x", ["to"], &[0.1]);
        replies.with(["10.0.0.1:53"]).observe(0.05);
        metrics
            .counters("coredns_proxy_healthcheck_failures_total", "x", ["to"])
            .with(["10.0.0.2:53"])
            .add(3);
        let event: Value = serde_json::from_str(&json(&metrics, None)).unwrap();
        assert_eq!(event["http"]["total"], 10.0);
        assert_eq!(event["http"]["status"], json!({ "2": 8.0, "5": 2.0 }));
        assert_eq!(
            event["http"]["hosts"],
            json!([[["a.example", "shop/web"], 10.0, 2.0, { "count": 1, "buckets": [[0.1, 1], [1.0, 1]] }]])
        );
        assert_eq!(event["http"]["canary"][1], json!([["shop/web", "shop-v2-80"], 1.0, 0.0]));
        assert_eq!(event["http"]["duration"]["buckets"], json!([[0.1, 1], [1.0, 1]]));
        assert_eq!(event["http"]["duration"]["count"], 2);
        assert_eq!(event["dns"]["total"], 0.0);
        assert_eq!(
            event["dns"]["upstreams"],
            json!([
                ["10.0.0.1:53", 1, 0.0, { "count": 1, "buckets": [[0.1, 1]] }],
                ["10.0.0.2:53", 0, 3.0, { "count": 0, "buckets": [] }],
            ])
        );
        assert_eq!(event["leader"], Value::Null);
        assert!(!json(&metrics, Some(&NameSamples::default())).contains('\n'), "an event is one line");
    }
}
