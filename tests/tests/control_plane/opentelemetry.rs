//! Spans of the ingress in a collector that is made of Google's gRPC library and OpenTelemetry's own messages.

use std::process::Command;

use serde_json::Value;
use tests::backend::Backend;
use tests::process::Process;
use tests::programs;
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, config_map, ingress, workload};

const URL: &str = "http://otel.test/cart?id=1";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The span in the `traceparent` that the endpoint gets, if it belongs to the trace of the client.
fn span_at_endpoint() -> Result<String, String> {
    let sent = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let echo = EDGE.get(URL, &[&sent])?.text();
    let value = echo.lines().find_map(|line| line.strip_prefix("traceparent: "));
    let span = value.and_then(|value| value.strip_prefix(&format!("00-{TRACE}-"))?.strip_suffix("-01"));
    span.map(str::to_owned).ok_or(echo)
}

pub(crate) fn spans_reach_a_collector_as_the_config_map_says(stage: &mut Stage) {
    prepare(stage, "otel");
    let _pod = Backend::start("a", "10.244.1.141:8080");
    let mut program = Command::new(programs::neighbours().expect("built before the first case"));
    program.args(["collector", "10.244.1.142:4317"]);
    let collector = Process::start("collector", program, stage.folder());
    let api = &stage.plane.api;
    api.apply(&workload("otel", "web", &["10.244.1.141"]));
    let web = ingress("otel", "shop", "otel.test", "/cart", "web");
    api.apply(&web);
    let portolan = stage.ingress("portolan", &["--configmap", "otel/controller", "--enable-metrics"]);
    EDGE.expect(SOON, &format!("{URL} = 200 a"));
    assert_eq!(
        span_at_endpoint().as_deref(),
        Ok(PARENT),
        "nothing is traced, and the client's context passes"
    );

    let keys = "otlp-collector-host: 10.244.1.142, otel-schedule-delay-millis: '10', otel-service-name: edge, \
                opentelemetry-operation-name: 'HTTP $request_method $service_name'";
    let traced = || match span_at_endpoint()? {
        span if span == PARENT => Err("not traced".to_owned()),
        span => Ok(span),
    };
    let untraced = || match span_at_endpoint()? {
        span if span == PARENT => Ok(()),
        span => Err(format!("traced: {span}")),
    };
    let collected = |span: &str| {
        let log = collector.log();
        let line =
            log.lines().find(|line| line.contains(span)).ok_or_else(|| format!("no {span} in {log}"))?;
        serde_json::from_str::<Value>(line).map_err(|error| format!("{line}: {error}"))
    };
    api.apply(&config_map("otel", &format!("{{enable-opentelemetry: 'true', {keys}}}")));
    let own = wait::until("a span of its own", SOON, traced);
    let span = wait::until("the span in the collector", SOON, || collected(&own));
    for (pointer, wanted) in [
        ("/service", "edge"),
        ("/name", "HTTP GET web"),
        ("/kind", "SPAN_KIND_SERVER"),
        ("/trace", TRACE),
        ("/parent", PARENT),
        ("/status", "STATUS_CODE_UNSET"),
        ("/attributes/http.target", "/cart?id=1"),
        ("/attributes/http.route", "/cart"),
        ("/attributes/ingress.namespace", "otel"),
        ("/attributes/net.peer.ip", "127.0.0.1"),
    ] {
        assert_eq!(span.pointer(pointer).and_then(Value::as_str), Some(wanted), "{pointer} of {span}");
    }
    assert_eq!(span.pointer("/attributes/http.status_code"), Some(&200.into()), "{span}");
    let counted = |result: &str| {
        let name = format!("portolan_ingress_spans_total{{result=\"{result}\"}} ");
        let metrics = portolan.metrics();
        metrics.lines().find_map(|line| line.strip_prefix(&*name)).unwrap_or("0").to_owned()
    };
    wait::until("the count of spans", SOON, || match counted("sent") {
        count if count == "0" => Err("none was counted".to_owned()),
        _ => Ok(()),
    });
    assert_eq!((counted("failed"), counted("dropped")), ("0".into(), "0".into()), "{}", portolan.log());

    api.apply(&config_map("otel", &format!("{{{keys}}}")));
    wait::until("no span", SOON, untraced);
    let annotations = "nginx.ingress.kubernetes.io/enable-opentelemetry: 'true', \
                       nginx.ingress.kubernetes.io/opentelemetry-operation-name: cart";
    api.apply(&annotated(&web, annotations));
    let own = wait::until("a span by annotation", SOON, traced);
    let span = wait::until("the span in the collector", SOON, || collected(&own));
    assert_eq!(span.pointer("/name").and_then(Value::as_str), Some("cart"), "{span}");
}
