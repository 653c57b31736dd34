//! The metrics: a contract with dashboards and alerts.

use std::collections::BTreeSet;

use cluster::{Event, Key, Kind};
use ingress_proxy::{ConfigurationMetrics, Controller, MetricsOptions, ProxyOptions};

use crate::support::{ScriptedEndpoint, TestClient, TestCluster, TestOptions, options};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const GET: &str = "GET /a HTTP/1.1\nHost: shop.example\n\n";

/// Help, type and the labels of every family of ingress-nginx, without values.
fn shape(text: &str) -> String {
    let labels = |line: &str| {
        let (name, rest) = line.split_once('{').unwrap_or((line.split(' ').next().unwrap_or_default(), ""));
        let names: Vec<_> = rest.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0)).collect();
        format!("{name}{{{}}}", names.join(","))
    };
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    // Portolan's own metrics are not part of the contract.
    for line in text.lines().filter(|line| !line.contains("portolan_")) {
        let line = if line.starts_with('#') { line.to_owned() } else { labels(line) };
        if seen.insert(line.clone()) {
            lines.push(line + "\n");
        }
    }
    lines.concat()
}

/// The expected text is that of ingress-nginx 1.15; a line that changes here breaks dashboards.
#[test]
fn names_labels_and_help_are_those_of_ingress_nginx() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    let made = net::testing::certificate("shop.example");
    world.secret("cert", &made.certificate, &made.key);
    world.ingress_with("shop", "shop.example", "/", 80, &[], Some("cert"));
    ConfigurationMetrics::new(&world.registry, &Controller::default());
    assert_eq!(world.ask("GET /a HTTP/1.1\nHost: shop.example\n\n").status, 308);
    world.log(1);
    let shape = shape(&world.registry.text());
    if std::env::var_os("GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serving/metrics.txt"), &shape).unwrap();
    }
    assert_eq!(shape, include_str!("metrics.txt"), "GOLDEN=1 rewrites the file");
}

#[test]
fn requests_are_counted_with_the_names_of_ingress_nginx() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello");
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    let mut sent = 0;
    for _ in 0..3 {
        client.send("GET /a HTTP/1.1\nHost: shop.example\n\n");
        let response = client.response();
        sent += response.head.replace('\n', "\r\n").len() + response.body.len();
    }
    client.send("BREW /a HTTP/1.1\nHost: shop.example\n\n");
    client.response();
    world.log(4);
    let text = world.registry.text();
    let labels = |method| {
        format!(
            "controller_class=\"k8s.io/ingress-nginx\",controller_namespace=\"\",controller_pod=\"\",status=\"200\",\
             method=\"{method}\",path=\"/\",namespace=\"default\",ingress=\"shop\",service=\"shop\",canary=\"\",\
             host=\"shop.example\""
        )
    };
    for line in [
        format!("nginx_ingress_controller_requests{{{}}} 3", labels("GET")),
        format!("nginx_ingress_controller_requests{{{}}} 1", labels("_")),
        format!("nginx_ingress_controller_request_duration_seconds_count{{{}}} 3", labels("GET")),
        format!("nginx_ingress_controller_response_duration_seconds_count{{{}}} 3", labels("GET")),
        format!("nginx_ingress_controller_header_duration_seconds_count{{{}}} 3", labels("GET")),
        format!("nginx_ingress_controller_connect_duration_seconds_count{{{}}} 3", labels("GET")),
        format!("nginx_ingress_controller_request_size_count{{{}}} 3", labels("GET")),
        format!("nginx_ingress_controller_response_size_sum{{{}}} {sent}", labels("GET")),
        format!("nginx_ingress_controller_bytes_sent_sum{{{}}} {sent}", labels("GET")),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let own = "controller_class=\"k8s.io/ingress-nginx\",controller_namespace=\"\",controller_pod=\"\"";
    for line in [
        format!("nginx_ingress_controller_nginx_process_requests_total{{{own}}} 4"),
        format!("nginx_ingress_controller_nginx_process_connections_total{{{own},state=\"accepted\"}} 1"),
        format!("nginx_ingress_controller_nginx_process_connections{{{own},state=\"active\"}} 1"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[test]
fn sent_bytes_include_the_head_and_chunk_framing() {
    for (answer, request, body) in [
        (
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
            GET,
            "5\r\nhello\r\n0\r\n\r\n".len(),
        ),
        ("HTTP/1.1 404 Not Here\nContent-Length: 5\n\nhello", GET, 5),
        ("HTTP/1.1 204 No Content\n\n", GET, 0),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", "HEAD /a HTTP/1.1\nHost: shop.example\n\n", 0),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "TRACE /a HTTP/1.1\nHost: shop.example\n\n", 150),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "GET /\0 HTTP/1.1\nHost: shop.example\n\n", 150),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "GET /%00 HTTP/1.1\nHost: shop.example\n\n", 150),
    ] {
        let script = ScriptedEndpoint::always(answer);
        let world = TestCluster::serving(&[script.address]);
        let response = world.ask(request);
        let status = response.status;
        let line = world.log(1).remove(0);
        assert!(line.contains(&format!("\" {status} {body} \"")), "{answer:?} {request:?}: {line}");
        let sent = response.head.replace('\n', "\r\n").len() + body;
        let text = world.registry.text();
        let sum = text.lines().find(|line| line.starts_with("nginx_ingress_controller_bytes_sent_sum"));
        let sum = sum.and_then(|line| line.rsplit_once(' ')).map(|(_, sum)| sum.to_owned());
        // A request with a refused head has no rule.
        let wanted = (!matches!(status, 400 | 405)).then(|| sent.to_string());
        assert_eq!(sum, wanted, "{answer:?} {request:?}: {}", response.head);
    }
}

/// The number of request series of an Ingress.
fn series(text: &str, ingress: &str) -> usize {
    let label = format!("ingress=\"{ingress}\"");
    let requests = |line: &&str| line.starts_with("nginx_ingress_controller_") && line.contains("status=");
    text.lines().filter(requests).filter(|line| line.contains(&label)).count()
}

#[test]
fn the_series_of_a_removed_ingress_are_removed() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        while let Some(request) = connection.request() {
            if request.head.starts_with("GET /slow") {
                hold();
            }
            let _ = connection.send(OK);
        }
    });
    let mut world = TestCluster::serving_with(ProxyOptions { workers: 2, ..options() }, &[script.address]);
    world.ingress_with("other", "other.example", "/", 80, &[], None);
    let mut slow = world.client();
    slow.send("GET /slow HTTP/1.1\nHost: shop.example\n\n");
    // Enough connections for each worker to count some.
    for _ in 0..32 {
        assert_eq!(world.ask(GET).status, 200);
        assert_eq!(world.ask("GET /a HTTP/1.1\nHost: other.example\n\n").status, 503);
    }
    let text =
        world.metrics("both are counted", |text| series(text, "shop") > 0 && series(text, "other") > 0);
    let others = series(&text, "other");
    // A route that is rebuilt, here because of an annotation, keeps its series.
    world.ingress("other", "other.example", &[("app-root", "/x")]);
    world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", "shop"))], 9);
    world.metrics("the series of the removed Ingress are removed", |text| series(text, "shop") == 0);
    go.send(()).unwrap();
    assert_eq!(slow.response().status, 200, "an open request is answered");
    world.service("third", &[]);
    world.ingress("third", "third.example", &[]);
    let text = world.metrics("series of a late request are removed, too", |text| {
        series(text, "shop") == 0 && text.contains("ingress=\"third\"")
    });
    assert_eq!(series(&text, "other"), others);
}

#[test]
fn flags_choose_what_is_counted() {
    let defaults = MetricsOptions::default;
    let cases = [
        (
            MetricsOptions { per_host: false, ..defaults() },
            "ingress=\"shop\",service=\"shop\",canary=\"\"} 1",
        ),
        (MetricsOptions { per_host: false, ..defaults() }, "ingress=\"\",service=\"\",canary=\"\"} 2"),
        (MetricsOptions { per_undefined_host: true, ..defaults() }, "host=\"a.example\"} 1"),
        (MetricsOptions { per_undefined_host: true, ..defaults() }, "host=\"b.example\"} 1"),
        (MetricsOptions { status_classes: true, ..defaults() }, "status=\"2xx\""),
        (MetricsOptions { time_buckets: vec![7.5], ..defaults() }, "le=\"7.5\"} 1"),
        (MetricsOptions { length_buckets: vec![77.0], ..defaults() }, "le=\"77\"} 1"),
        (MetricsOptions { size_buckets: vec![777.0], ..defaults() }, "le=\"777\"} 1"),
    ];
    for (metrics, line) in cases {
        let script = ScriptedEndpoint::always(OK);
        let world = TestCluster::serving_with(
            ProxyOptions { metrics: metrics.clone(), ..options() },
            &[script.address],
        );
        for host in ["shop.example", "a.example", "b.example"] {
            world.ask(&format!("GET / HTTP/1.1\nHost: {host}\n\n"));
        }
        world.log(3);
        let text = world.registry.text();
        assert!(text.contains(line), "{metrics:?}: {line}: {text}");
    }
    let exclude = vec!["requests".to_owned(), "nginx_ingress_controller_bytes_sent".to_owned()];
    let world = TestCluster::serving_with(
        ProxyOptions { metrics: MetricsOptions { exclude, ..defaults() }, ..options() },
        &[],
    );
    world.ask(GET);
    world.log(1);
    let text = world.registry.text();
    assert!(!text.contains("controller_requests{") && !text.contains("bytes_sent"), "{text}");
    assert!(text.contains("nginx_ingress_controller_request_size_count{"), "{text}");
}

#[test]
fn the_number_of_unknown_hosts_in_labels_is_bounded() {
    let metrics = MetricsOptions { per_undefined_host: true, ..MetricsOptions::default() };
    let world = TestCluster::with(
        TestOptions::from(ProxyOptions { metrics, ..options() })
            .connections(|connections| connections.keep_alive_requests = 2000),
    );
    let mut client = world.client();
    for host in 0..1100 {
        client.send(&format!("GET / HTTP/1.1\nHost: h{host}.example\n\n"));
        assert_eq!(client.response().status, 404);
    }
    world.log(1100);
    let text = world.registry.text();
    let hosts = text.lines().filter(|line| line.starts_with("nginx_ingress_controller_requests{"));
    assert_eq!(hosts.count(), 1001);
    assert!(text.contains("host=\"_\"} 100\n"), "{text}");
}

#[test]
fn connections_are_reading_writing_or_waiting() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        hold();
        let _ = connection.send(OK);
    });
    let world = TestCluster::serving(&[script.address]);
    let states = |what: &str, wanted: [u32; 4]| {
        let lines = ["active", "reading", "writing", "waiting"].iter().zip(wanted);
        let lines: Vec<_> = lines.map(|(state, count)| format!("state=\"{state}\"}} {count}\n")).collect();
        world.metrics(what, |text| lines.iter().all(|line| text.contains(line)));
    };
    let mut busy = world.client();
    let mut half = world.client();
    let idle = world.client();
    busy.send(GET);
    half.send("GET / HTTP/1.1\n");
    states("one reading, one writing, one waiting", [3, 1, 1, 1]);
    go.send(()).unwrap();
    assert_eq!(busy.response().status, 200);
    states("the connection waits after its response", [3, 1, 0, 2]);
    drop((idle, half));
    states("closed connections are not counted", [1, 0, 0, 1]);
    let mut other = TestClient::connect(world.http);
    other.send(GET);
    states("a new request is counted as writing", [2, 0, 1, 1]);
    go.send(()).unwrap();
    other.response();
}

#[test]
fn ingresses_without_a_backend_are_orphans() {
    let mut world = TestCluster::new();
    world.ingress("shop", "shop.example", &[]);
    let seen = |world: &TestCluster| {
        let text = world.registry.text();
        let line = |what: &str| {
            let labels = format!("namespace=\"default\",ingress=\"shop\",type=\"{what}\"}} ");
            let line = text.lines().find(|line| line.contains("orphan_ingress{") && line.contains(&labels));
            line.map(|line| line.ends_with(" 1"))
        };
        [line("no-service"), line("no-endpoint")]
    };
    assert_eq!(seen(&world), [Some(true), Some(false)]);
    world.service("shop", &[]);
    assert_eq!(seen(&world), [Some(false), Some(true)]);
    world.endpoints("shop", &["10.0.0.1:80".parse().unwrap()]);
    assert_eq!(seen(&world), [Some(false), Some(false)]);
    world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", "shop"))], 9);
    assert_eq!(seen(&world), [None, None]);
}
