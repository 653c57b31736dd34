//! The spans of a query, in Zipkin's format (zipkin.io, api/zipkin2-api.yaml, version 2).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The most spans of a query. Further plugins have none.
pub(super) const MAX_SPANS: usize = 128;

/// The name of the span of a query, as in CoreDNS.
const ROOT: &str = "servedns";

/// This server, as spans describe it.
pub(super) struct TraceEndpoint {
    pub service: String,
    /// The address that it is bound to, if it is to one.
    pub bound: Option<SocketAddr>,
}

/// The tags of the span of a query.
pub(super) struct SpanTags {
    pub name: String,
    pub qtype: String,
    pub rcode: String,
    pub proto: &'static str,
    pub remote: IpAddr,
    pub error: Option<String>,
}

/// The spans of a query that is traced.
pub(super) struct QuerySpans {
    trace: u64,
    began: Instant,
    /// The same time since the Unix epoch.
    began_at: Duration,
    plugins: Mutex<PluginSpans>,
}

#[derive(Default)]
struct PluginSpans {
    spans: Vec<PluginSpan>,
    /// The spans that have not ended, as indices, the innermost one last.
    open: Vec<usize>,
    /// Whether the reply was sent. A refresh in the background is no part of the query.
    is_ended: bool,
}

struct PluginSpan {
    id: u64,
    parent: u64,
    name: &'static str,
    began: Instant,
    ended: Option<Instant>,
}

/// A span that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanIndex(usize);

impl QuerySpans {
    /// Begins the span of a query. Its number is that of the trace, as in Zipkin's libraries.
    pub(super) fn begin() -> Self {
        let began_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { trace: fastrand::u64(1..), began: Instant::now(), began_at, plugins: Mutex::default() }
    }

    pub(super) fn trace_id(&self) -> String {
        format!("{:016x}", self.trace)
    }

    /// Begins the span of a plugin, within those that have not ended.
    pub(super) fn enter(&self, name: &'static str) -> Option<SpanIndex> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let at = plugins.spans.len();
        if plugins.is_ended || at >= MAX_SPANS {
            return None;
        }
        let parent = plugins.open.last().map_or(self.trace, |open| plugins.spans[*open].id);
        let (id, began) = (fastrand::u64(1..), Instant::now());
        plugins.spans.push(PluginSpan { id, parent, name, began, ended: None });
        plugins.open.push(at);
        Some(SpanIndex(at))
    }

    /// Ends a span, and those within it.
    pub(super) fn exit(&self, span: SpanIndex) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let PluginSpans { spans, open, .. } = &mut *plugins;
        let Some(from) = open.iter().position(|at| *at == span.0) else { return };
        for at in open.drain(from..) {
            spans[at].ended = Some(now);
        }
    }

    /// Ends the innermost span of a plugin of this name.
    pub(super) fn exit_named(&self, name: &'static str) {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let open = plugins.open.iter().rev().find(|at| plugins.spans[**at].name == name).copied();
        drop(plugins);
        if let Some(at) = open {
            self.exit(SpanIndex(at));
        }
    }

    /// Ends all spans and returns them as JSON objects, that of the query first.
    pub(super) fn end(&self, endpoint: &TraceEndpoint, tags: &SpanTags) -> Vec<String> {
        let now = Instant::now();
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut plugins.is_ended, true) {
            return Vec::new();
        }
        plugins.open.clear();
        let local = endpoint.json();
        let mut root = self.json((self.trace, ROOT), (self.began, now), &local);
        root["kind"] = "SERVER".into();
        root["tags"] = json!({
            "coredns.io/name": tags.name,
            "coredns.io/type": tags.qtype,
            "coredns.io/rcode": tags.rcode,
            "coredns.io/proto": tags.proto,
            "coredns.io/remote": tags.remote.to_string(),
        });
        if let Some(why) = &tags.error {
            root["tags"]["error"] = why.as_str().into();
        }
        let below = plugins.spans.iter().map(|span| {
            let mut json = self.json((span.id, span.name), (span.began, span.ended.unwrap_or(now)), &local);
            json["parentId"] = format!("{:016x}", span.parent).into();
            json.to_string()
        });
        std::iter::once(root.to_string()).chain(below).collect()
    }

    fn json(&self, (id, name): (u64, &str), (began, ended): (Instant, Instant), local: &Value) -> Value {
        let at = self.began_at + began.saturating_duration_since(self.began);
        // Zipkin takes 0 for a missing time.
        let lasted = ended.saturating_duration_since(began).as_micros().max(1);
        json!({
            "traceId": self.trace_id(),
            "id": format!("{id:016x}"),
            "name": name,
            "timestamp": at.as_micros() as u64,
            "duration": lasted as u64,
            "localEndpoint": local,
        })
    }
}

impl TraceEndpoint {
    fn json(&self) -> Value {
        let mut json = json!({ "serviceName": self.service });
        if let Some(bound) = self.bound {
            let family = if bound.is_ipv4() { "ipv4" } else { "ipv6" };
            json[family] = bound.ip().to_string().into();
            json["port"] = bound.port().into();
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> SpanTags {
        let (name, qtype, rcode) = ("a.test.".into(), "A".into(), "NOERROR".into());
        SpanTags { name, qtype, rcode, proto: "udp", remote: [10, 0, 0, 1].into(), error: None }
    }

    fn ended(spans: &QuerySpans) -> Vec<Value> {
        let endpoint = TraceEndpoint { service: "dns".into(), bound: Some(([10, 0, 0, 2], 53).into()) };
        let json = spans.end(&endpoint, &tags());
        json.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    #[test]
    fn spans_are_within_those_that_have_not_ended() {
        let spans = QuerySpans::begin();
        let cache = spans.enter("cache").unwrap();
        spans.enter("kubernetes").unwrap();
        spans.exit_named("kubernetes");
        spans.enter("forward").unwrap();
        spans.exit(cache);
        spans.enter("log").unwrap();
        let found = ended(&spans);
        let names: Vec<&str> = found.iter().map(|span| span["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["servedns", "cache", "kubernetes", "forward", "log"]);
        let parents: Vec<usize> = found[1..]
            .iter()
            .map(|span| found.iter().position(|other| other["id"] == span["parentId"]).unwrap())
            .collect();
        assert_eq!(parents, [0, 1, 1, 0]);
        assert!(
            found.iter().all(|span| span["traceId"] == found[0]["id"] && span["duration"].as_u64() > Some(0))
        );
        assert_eq!(
            found[0]["localEndpoint"],
            json!({ "serviceName": "dns", "ipv4": "10.0.0.2", "port": 53 })
        );
        assert!(found[0].get("parentId").is_none() && found[1].get("kind").is_none());
        // What comes later is no part of the query.
        assert_eq!(spans.enter("cache"), None);
        assert!(ended(&spans).is_empty());
    }

    #[test]
    fn the_spans_of_a_query_are_limited() {
        let spans = QuerySpans::begin();
        let begun = (0..1000).filter_map(|_| spans.enter("loop")).count();
        assert_eq!((begun, ended(&spans).len()), (MAX_SPANS, MAX_SPANS + 1));
    }
}
