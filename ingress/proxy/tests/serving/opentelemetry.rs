//! Spans of requests, and the context of their trace for endpoints.

use std::time::Duration;

use crate::collector::Collector;
use crate::support::{ScriptedEndpoint, TestCluster, one_worker, unused_address};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A cluster that sends the spans of all requests to a collector, with further keys.
fn traced(endpoint: &ScriptedEndpoint, collector: &Collector, keys: &[(&str, &str)]) -> TestCluster {
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    configure(&mut world, collector, keys);
    world
}

fn configure(world: &mut TestCluster, collector: &Collector, keys: &[(&str, &str)]) {
    let of_collector = collector.keys();
    let of_collector = of_collector.iter().map(|(key, value)| (*key, value.as_str()));
    // The first of two with the same name counts.
    let all = [("enable-opentelemetry", "true")].into_iter().chain(keys.iter().copied()).chain(of_collector);
    let all: Vec<_> = all.collect();
    world.configure(&all);
}

fn counted(result: &str, count: usize) -> impl Fn(&str) -> bool {
    let line = format!("portolan_ingress_spans_total{{result=\"{result}\"}} {count}");
    move |text: &str| text.contains(&line)
}

#[test]
fn a_span_has_the_attributes_of_nginx_s_module_and_the_trace_of_the_client() {
    let (endpoint, collector) = (ScriptedEndpoint::always(OK), Collector::start());
    let keys = [
        ("otel-service-name", "edge"),
        ("opentelemetry-operation-name", "HTTP $request_method $service_name"),
    ];
    let world = traced(&endpoint, &collector, &keys);
    let request = format!(
        "GET /a?b=c HTTP/1.1\nHost: Shop.example:80\nUser-Agent: test\ntraceparent: 00-{TRACE}-{SPAN}-01\ntracestate: a=1\nTraceState: b=2\n\n"
    );
    assert_eq!(world.ask(&request).status, 200);
    let span = collector.span();
    let sent = endpoint.seen();
    assert_eq!(sent.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", span.span)));
    assert_eq!((sent.header("tracestate"), sent.head.matches("racestate").count()), (Some("a=1,b=2"), 1));
    assert_eq!((span.trace.as_str(), span.parent.as_str(), span.state.as_str()), (TRACE, SPAN, "a=1,b=2"));
    assert_eq!(
        (span.service.as_str(), span.name.as_str(), span.kind, span.status),
        ("edge", "HTTP GET shop", 2, 0)
    );
    let port = world.http.port().to_string();
    let mut attributes = span.attributes.clone();
    assert!(attributes.remove("net.peer.port").is_some_and(|port| port.parse::<u16>().is_ok()));
    let found: Vec<_> = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        found,
        [
            ("http.flavor", "1.1"),
            ("http.host", "Shop.example:80"),
            ("http.method", "GET"),
            ("http.route", "/"),
            ("http.scheme", "http"),
            ("http.server_name", "shop.example"),
            ("http.status_code", "200"),
            ("http.target", "/a?b=c"),
            ("http.user_agent", "test"),
            ("ingress.name", "shop"),
            ("ingress.namespace", "default"),
            ("ingress.service_name", "shop"),
            ("net.host.name", "shop.example"),
            ("net.host.port", &port),
            ("net.peer.ip", "127.0.0.1"),
        ]
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(span.began <= span.ended && span.ended <= now && now - span.began < 60_000_000_000, "{span:?}");
    world.metrics("one span", counted("sent", 1));
}

#[test]
fn annotations_and_the_configmap_decide_live_which_requests_have_spans() {
    let (endpoint, collector) = (ScriptedEndpoint::always(OK), Collector::start());
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let request = format!("GET / HTTP/1.1\nHost: shop.example\ntraceparent: {parent}\n\n");
    let mut client = world.client();
    let mut traceparent = || {
        client.send(&request);
        assert_eq!(client.response().status, 200);
        endpoint.seen().header("traceparent").unwrap().to_owned()
    };
    assert_eq!(traceparent(), parent, "the endpoint gets what the client has sent");
    configure(&mut world, &collector, &[]);
    assert!(traceparent().starts_with(&format!("00-{TRACE}-")));
    assert_eq!(collector.span().parent, SPAN);
    configure(&mut world, &collector, &[("opentelemetry-trust-incoming-span", "false")]);
    let own = traceparent();
    let span = collector.span();
    assert_eq!((own, span.parent.as_str()), (format!("00-{}-{}-01", span.trace, span.span), ""));
    assert_ne!(span.trace, TRACE);
    configure(
        &mut world,
        &collector,
        &[("otel-sampler", "AlwaysOff"), ("otel-sampler-parent-based", "false")],
    );
    let unrecorded = traceparent();
    assert!(unrecorded.starts_with(&format!("00-{TRACE}-")) && unrecorded.ends_with("-00"), "{unrecorded}");
    world.ingress("shop", "shop.example", &[("enable-opentelemetry", "false")]);
    configure(&mut world, &collector, &[]);
    assert_eq!(traceparent(), parent);
    world.configure(&[]);
    let keys = collector.keys();
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    world.configure(&keys);
    world.ingress(
        "shop",
        "shop.example",
        &[("enable-opentelemetry", "true"), ("opentelemetry-operation-name", "shop")],
    );
    assert!(traceparent().starts_with(&format!("00-{TRACE}-")));
    assert_eq!((collector.span().name.as_str(), collector.others()), ("shop", vec![]));
    let other = Collector::start();
    configure(&mut world, &other, &[]);
    traceparent();
    assert_eq!(
        (other.span().name.as_str(), collector.others()),
        ("shop", vec![]),
        "the new collector gets it"
    );
}

#[test]
fn errors_redirects_and_log_lines_have_the_span_and_other_hosts_one_as_well() {
    let (endpoint, collector) =
        (ScriptedEndpoint::always("HTTP/1.1 503 No\nContent-Length: 0\n\n"), Collector::start());
    let format = "$status $opentelemetry_trace_id $opentelemetry_span_id $opentelemetry_context_traceparent $opentelemetry_context_tracestate";
    let mut world = traced(
        &endpoint,
        &collector,
        &[("log-format-upstream", format), ("enable-access-log-for-default-backend", "true")],
    );
    world.ingress("moved", "moved.example", &[("permanent-redirect", "https://other.example/")]);
    for (at, (host, status, is_error)) in
        [("shop.example", 503, true), ("moved.example", 301, false), ("none.example", 404, false)]
            .into_iter()
            .enumerate()
    {
        let response = world.ask(&format!("GET / HTTP/1.1\nHost: {host}\n\n"));
        assert_eq!(response.status, status, "{host}");
        let span = collector.span();
        let found = (span.attributes["http.status_code"].as_str(), span.status == 2);
        assert_eq!(found, (&*status.to_string(), is_error), "{host}: {span:?}");
        let lines = world.log(at + 1);
        let line = lines.iter().find(|line| line.contains(&span.span)).unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(
            *line,
            format!("{status} {} {} 00-{}-{}-01 -", span.trace, span.span, span.trace, span.span)
        );
    }
}

#[test]
fn authentication_servers_and_mirrors_get_the_context() {
    let (endpoint, collector) = (ScriptedEndpoint::always(OK), Collector::start());
    let (auth, shadow) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let mut world = traced(&endpoint, &collector, &[]);
    let (auth_url, target) = (format!("http://{}/auth", auth.address), format!("http://{}/", shadow.address));
    world.external("auth", "127.0.0.1", auth.address.port());
    world.ingress("shop", "shop.example", &[("auth-url", &auth_url), ("mirror-target", &target)]);
    assert_eq!(
        world
            .ask(&format!("GET / HTTP/1.1\nHost: shop.example\ntraceparent: 00-{TRACE}-{SPAN}-01\n\n"))
            .status,
        200
    );
    let span = collector.span();
    let wanted = format!("00-{TRACE}-{}-01", span.span);
    for server in [&endpoint, &auth, &shadow] {
        assert_eq!(server.seen().header("traceparent"), Some(wanted.as_str()));
    }
}

#[test]
fn spans_are_sent_in_batches_and_the_last_ones_when_the_proxy_stops() {
    let (endpoint, collector) = (ScriptedEndpoint::always(OK), Collector::start());
    let keys = [("otel-schedule-delay-millis", "600000"), ("otel-max-export-batch-size", "4")];
    let world = traced(&endpoint, &collector, &keys);
    for _ in 0..6 {
        assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 200);
    }
    // The first is sent when it is full. The rest waits for others until the proxy stops.
    assert_eq!(collector.batch().len(), 4);
    world.stop(Duration::ZERO);
    assert_eq!(collector.others().len(), 2);
}

#[test]
fn spans_that_came_while_a_batch_was_sent_wait_for_a_full_one() {
    let (open, opened) = std::sync::mpsc::channel();
    let (endpoint, collector) = (ScriptedEndpoint::always(OK), Collector::start_after(opened));
    let keys = [("otel-schedule-delay-millis", "600000"), ("otel-max-export-batch-size", "2")];
    let world = traced(&endpoint, &collector, &keys);
    let ask = || assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 200);
    // The collector has not taken the first two when the third ends.
    (0..3).for_each(|_| ask());
    world.log(3);
    open.send(()).unwrap();
    assert_eq!(collector.batch().len(), 2);
    world.metrics("the first batch was taken", counted("sent", 2));
    ask();
    assert_eq!(collector.batch().len(), 2);
}

#[test]
fn a_collector_that_is_dead_or_refuses_costs_spans_only() {
    let (endpoint, refusing) = (ScriptedEndpoint::always(OK), Collector::answering("14"));
    let mut world = traced(&endpoint, &refusing, &[]);
    let ask =
        |world: &TestCluster| assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 200);
    ask(&world);
    refusing.span();
    world.metrics("one was refused", counted("failed", 1));
    let dead = unused_address().port().to_string();
    configure(&mut world, &refusing, &[("otlp-collector-port", &dead)]);
    ask(&world);
    world.metrics("one has no collector", counted("failed", 2));
    let alive = Collector::start();
    configure(&mut world, &alive, &[]);
    ask(&world);
    alive.span();
    world.metrics("one was sent", counted("sent", 1));
}

#[test]
fn no_more_spans_wait_than_the_queue_takes_and_the_rest_are_counted() {
    let (endpoint, collector) = (ScriptedEndpoint::always(OK), Collector::start());
    let keys = [
        ("otel-schedule-delay-millis", "600000"),
        ("otel-max-queuesize", "3"),
        ("otel-max-export-batch-size", "3"),
    ];
    // A batch as large as the queue is sent when it is full, so the sender is kept busy by a collector that does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let world = traced(&endpoint, &collector, &[&keys[..], &[("otlp-collector-port", &port)]].concat());
    for _ in 0..10 {
        assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 200);
    }
    let text = world.metrics("spans are dropped", |text| !counted("dropped", 0)(text));
    // Three are being sent, three wait.
    assert!((4..=7).any(|count| counted("dropped", count)(&text)), "{text}");
}
