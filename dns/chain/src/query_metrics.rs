//! The `coredns_dns_*` metrics, counted for every query.

use std::sync::OnceLock;

use telemetry::metrics::{Counter, Family, Histogram, Registry, exponential};

use crate::codes::{Rcode, Type};
use crate::plugin::Answer;
use crate::request::{Request, Transport};

/// Types with a `type` label of their own, as CoreDNS has them; all others count as `other`.
pub(crate) const TYPES: [u16; 18] = [1, 28, 5, 48, 43, 15, 47, 50, 2, 12, 46, 6, 33, 16, 65, 64, 251, 252];
const ANY: u16 = 255;
const KINDS: usize = TYPES.len() + 2;
/// Response codes with a counter of their own. Higher ones, which an upstream may choose freely, share one.
const RCODES: usize = 24;
const FAMILIES: [&str; 2] = ["1", "2"];
const PROTOCOLS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// Histogram buckets for sizes in bytes (coredns, plugin/metrics/vars/vars.go).
const SIZES: &[f64] =
    &[0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3];

/// The metrics of one zone of one server. Each series appears on the page with its first query, as in CoreDNS.
pub struct QueryMetrics {
    /// Server, zone and view.
    labels: [String; 3],
    families: Families,
    duration: Histogram,
    requests: Box<[OnceLock<Counter>]>,
    /// By place of the answering plugin, after those of no plugin. The counters of a plugin exist from its first answer on.
    responses: Box<[OnceLock<ByRcode>]>,
    dnssec: OnceLock<Counter>,
    sizes: [[OnceLock<Histogram>; 2]; 2],
}

/// The counters of a plugin's answers; the last one is for all higher response codes.
type ByRcode = Box<[OnceLock<Counter>]>;

struct Families {
    requests: Family<Counter, 6>,
    responses: Family<Counter, 5>,
    dnssec: Family<Counter, 3>,
    request_size: Family<Histogram, 4>,
    response_size: Family<Histogram, 4>,
}

impl QueryMetrics {
    /// The metrics of a server, zone and view; the zone is `"dropped"` for queries outside all zones. `plugins` is the number of
    /// plugins that may answer.
    pub fn new(metrics: &Registry, [server, zone, view]: [&str; 3], plugins: usize) -> Self {
        let families = Families {
            requests: metrics.counters(
                "coredns_dns_requests_total",
                "Counter of DNS requests made per zone, protocol and family.",
                ["server", "zone", "view", "proto", "family", "type"],
            ),
            responses: metrics.counters(
                "coredns_dns_responses_total",
                "Counter of response status codes.",
                ["server", "zone", "view", "rcode", "plugin"],
            ),
            dnssec: metrics.counters(
                "coredns_dns_do_requests_total",
                "Counter of DNS requests with DO bit set per zone.",
                ["server", "zone", "view"],
            ),
            request_size: metrics.histograms(
                "coredns_dns_request_size_bytes",
                "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.",
                ["server", "zone", "view", "proto"],
                SIZES,
            ),
            response_size: metrics.histograms(
                "coredns_dns_response_size_bytes",
                "Size of the returned response in bytes.",
                ["server", "zone", "view", "proto"],
                SIZES,
            ),
        };
        let duration = metrics
            .histograms(
                "coredns_dns_request_duration_seconds",
                "Histogram of the time (in seconds) each request took per zone.",
                ["server", "zone", "view"],
                &exponential(0.00025, 2.0, 16),
            )
            .with([server, zone, view]);
        Self {
            labels: [server, zone, view].map(str::to_owned),
            families,
            duration,
            requests: cells(PROTOCOLS.len() * FAMILIES.len() * KINDS),
            responses: cells(plugins + 1),
            dnssec: OnceLock::new(),
            sizes: Default::default(),
        }
    }

    /// Counts a query whose reply has `size` bytes.
    // Hot: 0 allocations once each series exists.
    pub fn count(&self, request: &Request, answer: &Answer, size: usize) {
        let [server, zone, view] = self.labels.each_ref().map(String::as_str);
        let protocol = usize::from(request.transport == Transport::Tcp);
        let proto = PROTOCOLS[protocol].name();
        let family = usize::from(request.client.is_ipv6());
        let kind = kind(request.query.qtype);
        self.requests[(protocol * 2 + family) * KINDS + kind]
            .get_or_init(|| {
                let kind = kind_name(kind);
                self.families.requests.with([server, zone, view, proto, FAMILIES[family], &kind])
            })
            .inc();
        if request.dnssec_ok() {
            self.dnssec.get_or_init(|| self.families.dnssec.with([server, zone, view])).inc();
        }
        let [requests, responses] = &self.sizes[protocol];
        requests
            .get_or_init(|| self.families.request_size.with([server, zone, view, proto]))
            .observe(request.size as f64);
        responses
            .get_or_init(|| self.families.response_size.with([server, zone, view, proto]))
            .observe(size as f64);
        self.duration.observe(request.received.elapsed().as_secs_f64());
        self.count_response(answer);
    }

    fn count_response(&self, answer: &Answer) {
        let by = answer.by_place.map_or(0, |place| place + 1).min(self.responses.len() - 1);
        let ([server, zone, view], rcode) = (self.labels.each_ref().map(String::as_str), answer.reply.rcode);
        let new = || self.families.responses.with([server, zone, view, Rcode(rcode).label(), answer.by]);
        let by_rcode = self.responses[by].get_or_init(|| cells(RCODES + 1));
        by_rcode[usize::from(rcode).min(RCODES)].get_or_init(new).inc();
    }
}

fn cells<T>(count: usize) -> Box<[OnceLock<T>]> {
    (0..count).map(|_| OnceLock::new()).collect()
}

// Hot: a linear search in eighteen numbers, the most common ones first.
fn kind(qtype: u16) -> usize {
    match TYPES.iter().position(|known| *known == qtype) {
        Some(kind) => kind,
        None => TYPES.len() + usize::from(qtype != ANY),
    }
}

fn kind_name(kind: usize) -> String {
    match TYPES.get(kind) {
        Some(known) => Type(*known).to_string(),
        None if kind == TYPES.len() => "ANY".to_owned(),
        None => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use dns_wire::Query;

    use super::*;

    #[test]
    fn unknown_types_and_codes_share_a_label() {
        let registry = Registry::new();
        let metrics = QueryMetrics::new(&registry, ["dns://:53", ".", ""], 1);
        let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
        let mut answer = Answer { by: "forward", by_place: Some(0), ..Answer::default() };
        for number in 0..4096 {
            request.query = Query::new(1, &dns_wire::Name::ROOT, 10_000 + number);
            answer.reply.rcode = number;
            metrics.count(&request, &answer, 100);
        }
        let text = registry.text();
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("coredns_dns_requests_total{"), 1);
        // All codes that have a name, and one for the others.
        assert_eq!(series("coredns_dns_responses_total{"), 20 + 1, "{text}");
        assert!(text.contains("type=\"other\"} 4096"), "{text}");
    }
}
