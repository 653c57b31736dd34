//! Tests of the family `opentelemetry`.

use super::*;
use crate::exchange::tests::get;
use crate::testing::{TestCluster, edited_request, key_value};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const INGRESSES: &str = "
metadata: {name: x, namespace: shop}
spec: {rules: [{host: plain.example, paths: [[/a, Prefix, web]]}]}
---
metadata: {name: y, annotations: {enable-opentelemetry: 'true', opentelemetry-trust-incoming-span: 'false', opentelemetry-operation-name: $request_method $service_name}}
spec: {rules: [{host: on.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: z, annotations: {enable-opentelemetry: 'false', opentelemetry-trust-incoming-span: 'true'}}
spec: {rules: [{host: off.example, paths: [[/, Prefix, web]]}]}
";

/// What a request has of a trace: the name of its span and the fields of the endpoint, with `T` for the trace of the client and `N` for a
/// new one.
fn traced(cluster: &TestCluster, url: &str, fields: &[(&str, &str)]) -> Option<String> {
    let mut exchange = get(url, fields);
    let table = cluster.table.load();
    let route = table.find(exchange.host(), exchange.path()).route().clone();
    let rule = route.plan.tracing.as_ref()?;
    rule.begin(&mut exchange, &mut || 7);
    let name = rule.span_name(&exchange).into_owned();
    let fields = edited_request(cluster, &mut exchange).join(", ");
    let new = format!("{:032x}", 7);
    let fields = fields.replace(TRACE, "T").replace(&new, "N").replace("0000000000000007", "S");
    Some(format!("{name}: {fields}"))
}

#[test]
fn annotations_and_keys_decide_which_requests_have_a_span() {
    let mut cluster = TestCluster::configured(INGRESSES);
    let parent = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")];
    assert_eq!(traced(&cluster, "plain.example/a/b", &parent), None);
    assert_eq!(traced(&cluster, "off.example/", &parent), None);
    assert_eq!(traced(&cluster, "on.example/", &parent).as_deref(), Some("GET web: traceparent: 00-N-S-01"));
    let on = ("enable-opentelemetry", "true");
    let host = ("otlp-collector-host", "otel.test");
    for (data, url, wanted) in [
        (&[on, host][..], "plain.example/a/b", Some("/a: traceparent: 00-T-S-01, tracestate: a=1,b=2")),
        (&[on, host], "off.example/", None),
        (&[on, host], "on.example/", Some("GET web: traceparent: 00-N-S-01")),
        (&[on, host], "other.example/", Some("/: traceparent: 00-T-S-01, tracestate: a=1,b=2")),
        (
            &[on, host, ("opentelemetry-trust-incoming-span", "false")],
            "plain.example/a",
            Some("/a: traceparent: 00-N-S-01"),
        ),
        (
            &[on, host, ("opentelemetry-operation-name", "HTTP $request_method $service_name $uri")],
            "plain.example/a",
            Some("HTTP GET web /a: traceparent: 00-T-S-01, tracestate: a=1,b=2"),
        ),
        (
            &[on, host, ("otel-sampler", "AlwaysOff")],
            "plain.example/a",
            Some("/a: traceparent: 00-T-S-01, tracestate: a=1,b=2"),
        ),
        (
            &[on, host, ("otel-sampler", "AlwaysOff"), ("otel-sampler-parent-based", "false")],
            "plain.example/a",
            Some("/a: traceparent: 00-T-S-00, tracestate: a=1,b=2"),
        ),
        (&[on, host, ("otel-sampler", "AlwaysOff")], "on.example/", Some("GET web: traceparent: 00-N-S-00")),
        (
            &[on, host, ("otel-sampler", "TraceIdRatioBased"), ("otel-sampler-ratio", "0")],
            "on.example/",
            Some("GET web: traceparent: 00-N-S-00"),
        ),
    ] {
        cluster.configure(data);
        assert_eq!(traced(&cluster, url, &parent).as_deref(), wanted, "{url} {data:?}");
    }
}

#[test]
fn a_parent_that_is_invalid_or_not_the_only_one_begins_a_trace() {
    let mut cluster = TestCluster::configured(INGRESSES);
    cluster.configure(&[("enable-opentelemetry", "true"), ("otlp-collector-host", "otel.test")]);
    for parent in [
        &[("traceparent", "00-x"), ("tracestate", "a=1")][..],
        &[("traceparent", PARENT), ("traceparent", PARENT)],
    ] {
        let wanted = "/a: traceparent: 00-N-S-01";
        assert_eq!(traced(&cluster, "plain.example/a", parent).as_deref(), Some(wanted), "{parent:?}");
    }
}

#[test]
fn variables_have_the_context() {
    use crate::variables::RequestVariable;
    let mut exchange = get("a.example/", &[("traceparent", PARENT), ("tracestate", "a=1")]);
    let names = ["trace_id", "span_id", "context_traceparent", "context_tracestate"];
    let values = |exchange: &Exchange| {
        names.map(|name| {
            let variable = RequestVariable::parse(&format!("opentelemetry_{name}")).expect(name);
            variable.find(exchange).map(Cow::into_owned)
        })
    };
    assert_eq!(values(&exchange), [const { None }; 4]);
    let parent = incoming(&exchange);
    exchange.values.set(TraceContext::begin(parent, Sampler::ratio(1.0, true), &mut || 7));
    let header = format!("00-{TRACE}-0000000000000007-01");
    assert_eq!(
        values(&exchange),
        [TRACE, "0000000000000007", &header, "a=1"].map(|value| Some(value.to_owned()))
    );
}

#[test]
fn a_span_without_a_collector_is_reported() {
    let mut cluster = TestCluster::configured(INGRESSES);
    let mut reported = |data: &[(&str, &str)]| {
        cluster.configure(data);
        cluster.problems().into_iter().filter(|problem| problem.contains("otlp-collector-host")).count()
    };
    assert_eq!(reported(&[]), 1);
    assert_eq!(reported(&[("enable-opentelemetry", "true")]), 2);
    assert_eq!(reported(&[("enable-opentelemetry", "true"), ("otlp-collector-host", "otel.test")]), 0);
}

fn export(data: &[(&str, &str)]) -> (TraceExportSettings, Vec<String>) {
    let (settings, problems): (Arc<TraceExportSettings>, _) = key_value(read_keys, data);
    (TraceExportSettings::clone(&settings), problems)
}

#[test]
fn keys_become_settings_of_the_export() {
    assert_eq!(export(&[]), (TraceExportSettings::default(), vec![]));
    let (settings, problems) = export(&[
        ("otlp-collector-host", "otel-collector.otel.svc"),
        ("otlp-collector-port", "14317"),
        ("otel-service-name", "edge"),
        ("otel-schedule-delay-millis", "20"),
        ("otel-max-export-batch-size", "64"),
        ("otel-max-queuesize", "32"),
    ]);
    let wanted = TraceExportSettings {
        host: Some("otel-collector.otel.svc".into()),
        port: 14317,
        service: "edge".into(),
        queue: 32,
        batch: 32,
        delay: Duration::from_millis(20),
    };
    assert_eq!((settings, problems), (wanted, vec![]));
    for (host, kept) in
        [("[2001:db8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("10.0.0.1", "10.0.0.1")]
    {
        assert_eq!(export(&[("otlp-collector-host", host)]).0.host.as_deref(), Some(kept));
    }
}

#[test]
fn an_invalid_value_is_reported_and_keeps_the_default() {
    for (key, value) in [
        ("enable-opentelemetry", "on"),
        ("opentelemetry-trust-incoming-span", "on"),
        ("opentelemetry-operation-name", "$none"),
        ("otlp-collector-host", "http://otel.test"),
        ("otlp-collector-host", "otel.test:4317"),
        ("otlp-collector-port", "0"),
        ("otlp-collector-port", "http"),
        ("otel-sampler", "remote"),
        ("otel-sampler-ratio", "1.5"),
        ("otel-sampler-ratio", "NaN"),
        ("otel-sampler-parent-based", "on"),
        ("otel-schedule-delay-millis", "-1"),
        ("otel-max-export-batch-size", "0"),
        ("otel-max-queuesize", "100001"),
    ] {
        let (settings, problems) = export(&[(key, value)]);
        assert_eq!(settings, TraceExportSettings::default(), "{key}: {value}");
        let (keys, _): (TracingKeys, _) = key_value(read_keys, &[(key, value)]);
        assert_eq!(keys, TracingKeys::default(), "{key}: {value}");
        assert!(problems.len() == 1 && problems[0].contains(value), "{key}: {value}: {problems:?}");
    }
}

#[test]
fn an_annotation_wins_over_the_key_of_its_name() {
    let mut cluster = TestCluster::configured(
        "
metadata: {name: x, annotations: {opentelemetry-trust-incoming-span: 'true'}}
spec: {rules: [{host: trusting.example, paths: [[/, Prefix, web]]}]}
",
    );
    let keys = ["enable-opentelemetry: true", "opentelemetry-trust-incoming-span: false"];
    cluster.configure(&keys.map(|key| key.split_once(": ").expect("a key and its value")));
    let parent = [("traceparent", PARENT)];
    assert_eq!(traced(&cluster, "trusting.example/", &parent).as_deref(), Some("/: traceparent: 00-T-S-01"));
}
