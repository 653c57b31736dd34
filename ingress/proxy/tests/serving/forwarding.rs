//! Requests to endpoints and responses back: heads, connections, pages.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingress_proxy::ProxyOptions;

use crate::support::{
    ScriptedEndpoint, TestCluster, name_server, one_worker, options, with_connections, with_proxy,
};

const OK: &str = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 5\n\nhello";
const GET: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

#[test]
fn requests_are_forwarded_on_kept_connections() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(one_worker(), &[script.address]);
    let mut client = world.client();
    for _ in 0..3 {
        client.send(GET);
        let response = client.response();
        assert_eq!((response.status, response.body.as_str()), (200, "hello"));
    }
    assert_eq!(world.ask(GET).status, 200);
    assert_eq!(script.connections(), 1);
}

#[test]
fn an_endpoint_gets_the_headers_of_ingress_nginx() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let port = world.http.port();
    world.ask(&format!(
        "GET /a%2fb/../c?d=<e> HTTP/1.1\nhost: shop.example:{port}\nX-Forwarded-For: 10.0.0.1\nX-Request-ID: mine\n\
         Proxy: evil\nunder_score: 1\nX-CamelCase: kept\nConnection: X-Hop\nX-Hop: 1\n\n"
    ));
    assert_eq!(
        script.seen().head,
        format!(
            "GET /a%2fb/../c?d=<e> HTTP/1.1\nHost: shop.example:{port}\nX-Request-ID: mine\nX-Real-IP: 127.0.0.1\n\
             X-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: shop.example:{port}\nX-Forwarded-Port: {port}\n\
             X-Forwarded-Proto: http\nX-Forwarded-Scheme: http\nX-Scheme: http\n\
             X-Original-Forwarded-For: 10.0.0.1\nX-CamelCase: kept\n\n"
        )
    );
    world.ask(GET);
    let head = script.seen().head;
    let id = head.lines().find_map(|line| line.strip_prefix("X-Request-ID: ")).unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[test]
fn a_rewritten_target_is_sent_instead_of_the_client_s() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    let annotations = [("rewrite-target", "/inner/$1"), ("use-regex", "true")];
    world.ingress_with("shop", "shop.example", "/outer/(.*)", 80, &annotations, None);
    world.ask("GET /outer/a%20b?c HTTP/1.1\nHost: shop.example\n\n");
    assert!(script.seen().head.starts_with("GET /inner/a%20b?c HTTP/1.1\n"));
}

#[test]
fn responses_are_forwarded_without_connection_specific_headers() {
    let script = ScriptedEndpoint::always(
        "HTTP/1.1 418 Teapot\nServer: apache\nDate: today\nConnection: X-Hop\nX-Hop: 1\nKeep-Alive: 5\n\
         X-Accel-Buffering: no\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 2\n\nno",
    );
    let world = TestCluster::serving(&[script.address]);
    let response = world.ask(GET);
    assert_eq!((response.status, response.body.as_str()), (418, "no"));
    assert!(
        response.head.starts_with("HTTP/1.1 418 Teapot\n"),
        "the endpoint's own reason phrase: {}",
        response.head
    );
    for name in ["server", "connection", "x-hop", "keep-alive", "x-accel-buffering"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert!(response.header("date").unwrap().ends_with(" GMT"), "the proxy's own");
    assert_eq!(response.head.matches("Set-Cookie: ").count(), 2);
}

#[test]
fn the_number_of_response_headers_is_not_limited() {
    let script = ScriptedEndpoint::new(|connection| {
        connection.request();
        let many: String = (0..1000).map(|number| format!("X-{number}: {number}\n")).collect();
        let _ = connection.send(&format!("HTTP/1.1 200 OK\n{many}Content-Length: 2\n\nok"));
    });
    let world = TestCluster::serving_with(with_proxy(|proxy| proxy.head_size = 64 << 10), &[script.address]);
    let response = world.ask(GET);
    assert_eq!((response.status, response.header("x-999")), (200, Some("999")));
}

#[test]
fn responses_without_a_body_keep_the_connection() {
    let world_of = |answer| {
        let script = ScriptedEndpoint::always(answer);
        TestCluster::serving(&[script.address])
    };
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", 200, Some("5")),
        ("GET", "HTTP/1.1 204 No Content\n\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\nETag: x\n\n", 304, None),
        ("GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200, Some("0")),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\nContent-Length: 0\n\n",
            200,
            Some("0"),
        ),
    ];
    for (method, answer, status, length) in cases {
        let world = world_of(answer);
        let mut client = world.client();
        for _ in 0..2 {
            client.send(&format!("{method} / HTTP/1.1\nHost: shop.example\n\n"));
            let response = client.response();
            assert_eq!(response.status, status, "{answer}");
            assert_eq!(response.header("content-length"), length, "{answer}");
            assert_eq!(response.header("link"), None, "{answer}");
        }
    }
}

#[test]
fn clients_of_http_1_0_get_no_chunks_and_a_close() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n");
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send("GET / HTTP/1.0\nHost: shop.example\n\n");
    let response = client.response();
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.body, "hello");
    assert!(client.is_closed());
}

#[test]
fn the_health_check_takes_precedence_over_a_catch_all_ingress() {
    let mut world = TestCluster::new();
    world.service("all", &[]);
    world.ingress("all", "", &[]);
    for (path, status) in [("/", 503), ("/healthz", 200), ("/healthz/more", 503)] {
        let response = world.ask(&format!("GET {path} HTTP/1.1\nHost: other.example\n\n"));
        assert_eq!(response.status, status, "{path}");
    }
}

#[test]
fn pages_of_the_proxy_are_those_of_nginx() {
    let mut world = TestCluster::new();
    world.shop(&[]);
    let cases = [
        (
            GET,
            503,
            "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>",
        ),
        ("GET / HTTP/1.1\nHost: other.example\n\n", 404, "<title>404 Not Found</title>"),
        ("GET /healthz HTTP/1.1\nHost: other.example\n\n", 200, ""),
        ("GET /healthz HTTP/1.1\nHost: shop.example\n\n", 503, "<title>503"),
        ("GET /%00 HTTP/1.1\nHost: shop.example\n\n", 400, "<title>400 Bad Request</title>"),
        ("GET /.. HTTP/1.1\nHost: shop.example\n\n", 400, "<title>400 Bad Request</title>"),
        ("TRACE / HTTP/1.1\nHost: shop.example\n\n", 405, "<title>405 Not Allowed</title>"),
    ];
    for (request, status, text) in cases {
        let response = world.ask(request);
        assert_eq!(response.status, status, "{request}");
        assert!(response.body.contains(text), "{request}: {}", response.body);
        assert!(response.header("date").is_some(), "{request}");
        let reason = match status {
            405 => "405 Not Allowed",
            503 => "503 Service Temporarily Unavailable",
            _ => continue,
        };
        assert!(response.head.starts_with(&format!("HTTP/1.1 {reason}\n")), "{request}: {}", response.head);
    }
    let head = world.ask("HEAD / HTTP/1.1\nHost: other.example\n\n");
    let get = world.ask("GET / HTTP/1.1\nHost: other.example\n\n");
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(get.header("content-type"), Some("text/html"));
}

#[test]
fn redirects_of_filters_are_answered_without_an_endpoint() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.ingress("shop", "shop.example", &[("permanent-redirect", "https://new.example/x")]);
    let response = world.ask(GET);
    assert_eq!((response.status, response.header("location")), (301, Some("https://new.example/x")));
    assert!(script.has_no_request());
}

#[test]
fn a_session_keeps_its_endpoint_by_a_cookie() {
    let scripts = [ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK)];
    let mut world = TestCluster::serving(&[scripts[0].address, scripts[1].address]);
    world.ingress("shop", "shop.example", &[("affinity", "cookie")]);
    let cookie = world.ask(GET).header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let first = scripts.iter().position(|script| !script.has_no_request()).unwrap();
    for _ in 0..4 {
        let response = world.ask(&format!("GET / HTTP/1.1\nHost: shop.example\nCookie: {cookie}\n\n"));
        assert_eq!(response.header("set-cookie"), None);
    }
    assert!(scripts[1 - first].has_no_request());
}

#[test]
fn a_connection_serves_as_many_requests_as_allowed() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.keep_alive_requests = 2),
        &[script.address],
    );
    let mut client = world.client();
    client.send(GET);
    assert_eq!(client.response().header("connection"), None);
    client.send(GET);
    assert_eq!(client.response().header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let script = ScriptedEndpoint::new(|connection| {
        while let Some(request) = connection.request() {
            let path = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = connection.send(&format!("HTTP/1.1 200 OK\nContent-Length: {}\n\n{path}", path.len()));
        }
    });
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    let all: String = (0..5).map(|at| format!("GET /{at} HTTP/1.1\nHost: shop.example\n\n")).collect();
    client.send(&all);
    for at in 0..5 {
        assert_eq!(client.response().body, format!("/{at}"));
    }
}

#[test]
fn connections_of_idle_and_slow_clients_are_closed() {
    let short = Duration::from_millis(200);
    let world = TestCluster::with(with_connections(|connections| {
        (connections.keep_alive, connections.client_header_timeout) = (short, short)
    }));
    let mut silent = world.client();
    let mut slow = world.client();
    slow.raw(b"GET / HT");
    let mut idle = world.client();
    idle.send("GET /healthz HTTP/1.1\nHost: x\n\n");
    assert_eq!(idle.response().status, 200);
    assert!(silent.is_closed() && slow.is_closed() && idle.is_closed());
}

#[test]
fn hosts_of_external_names_are_resolved() {
    let script = ScriptedEndpoint::always(OK);
    let port = script.address.port();
    let mut world = TestCluster::with(ProxyOptions {
        name_servers: vec![name_server(&[script.address.ip()])],
        ..one_worker()
    });
    world.external("away", "away.example.com", port);
    world.ingress_with("away", "away.example", "/", port, &[], None);
    let request = "GET / HTTP/1.1\nHost: away.example\n\n";
    assert_eq!(world.ask(request).status, 200);
    assert_eq!(world.ask(request).status, 200);
    assert_eq!(script.connections(), 1);
    // No test gets this port for a socket of its own: it is below the range of ephemeral ports.
    let name_servers = vec![([127, 0, 0, 1], 1).into()];
    let mut world = TestCluster::with(ProxyOptions { name_servers, ..one_worker() });
    world.external("away", "away.example.com", port);
    world.ingress_with("away", "away.example", "/", port, &[], None);
    assert_eq!(world.ask(request).status, 503);
}

#[test]
fn the_addresses_of_an_external_name_are_used_in_turn() {
    let scripts = ScriptedEndpoint::pair(OK);
    let addresses = scripts.each_ref().map(|script| script.address.ip());
    let mut world =
        TestCluster::with(ProxyOptions { name_servers: vec![name_server(&addresses)], ..one_worker() });
    let port = scripts[0].address.port();
    world.external("away", "away.example.com", port);
    world.ingress_with("away", "away.example", "/", port, &[], None);
    for _ in 0..6 {
        assert_eq!(world.ask("GET / HTTP/1.1\nHost: away.example\n\n").status, 200);
    }
    assert_eq!(scripts.map(|script| script.all_seen().len()), [3, 3]);
}

#[test]
fn external_names_that_resolve_to_loopback_addresses_are_refused() {
    let script = ScriptedEndpoint::always(OK);
    let options = ProxyOptions {
        name_servers: vec![name_server(&[script.address.ip()])],
        allow_local_external_names: false,
        ..options()
    };
    let mut world = TestCluster::with(options);
    world.external("away", "away.example.com", script.address.port());
    world.ingress_with("away", "away.example", "/", script.address.port(), &[], None);
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: away.example\n\n").status, 503);
    assert_eq!(script.connections(), 0);
}

#[test]
fn a_request_that_loops_through_an_external_name_gets_508() {
    let script = ScriptedEndpoint::always(OK);
    let port = script.address.port();
    let mut world = TestCluster::with(ProxyOptions {
        name_servers: vec![name_server(&[script.address.ip()])],
        ..options()
    });
    world.external("away", "away.example.com", port);
    world.ingress_with("away", "away.example", "/", port, &[], None);
    let passed = |ids: &str| format!("GET / HTTP/1.1\nHost: away.example\nCDN-Loop: {ids}\n\n");
    assert_eq!(world.ask(&passed("cdn.example, portolan")).status, 200);
    let head = script.seen().head;
    assert!(
        head.contains("\nCDN-Loop: cdn.example, portolan\n") && head.contains("\nCDN-Loop: portolan\n"),
        "{head}"
    );
    assert_eq!(world.ask(&passed(&["Portolan"; 7].join(","))).status, 200);
    assert_eq!(world.ask(&passed(&["portolan"; 8].join(", "))).status, 508);
    world.shop(&[script.address]);
    script.all_seen();
    world.ask("GET / HTTP/1.1\nHost: shop.example\n\n");
    assert!(!script.seen().head.contains("CDN-Loop"), "only ExternalName endpoints get the header");
}

#[test]
fn header_fields_are_limited_by_their_bytes_not_by_their_number() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let fields: String = (0..500).map(|at| format!("X-Field-{at}: {at}\n")).collect();
    let mut client = world.client();
    for _ in 0..2 {
        client.send(&format!("POST / HTTP/1.1\nHost: shop.example\n{fields}Content-Length: 5\n\nhello"));
        assert_eq!(client.response().status, 200);
        let seen = script.seen();
        assert_eq!(seen.head.matches("\nX-Field-").count(), 500);
        assert_eq!(seen.body, "hello");
    }
    let large: String = (0..5).map(|at| format!("X-{at}: {}\n", "x".repeat(7_000))).collect();
    assert_eq!(world.ask(&format!("GET / HTTP/1.1\nHost: shop.example\n{large}\n")).status, 400);
}

#[test]
fn responses_have_no_server_header() {
    // [server-tokens is off by default: ingress-nginx removes `Server`, also that of endpoints]
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nServer: apache\nContent-Length: 2\n\nok");
    let world = TestCluster::serving(&[script.address]);
    for (host, status) in [("shop.example", 200), ("other.example", 404)] {
        let response = world.ask(&format!("GET / HTTP/1.1\nHost: {host}\n\n"));
        assert_eq!((response.status, response.header("server")), (status, None));
    }
}

#[test]
fn interim_responses_without_end_are_a_bad_gateway() {
    for (interim, status) in [(128, 200), (129, 502), (100_000, 502)] {
        let text = format!("{}{OK}", "HTTP/1.1 100 Continue\n\n".repeat(interim));
        let script = ScriptedEndpoint::new(move |connection| {
            connection.request();
            let _ = connection.send(&text);
        });
        let world = TestCluster::serving(&[script.address]);
        let response = world.ask("GET / HTTP/1.1\nHost: shop.example\n\n");
        assert_eq!(response.status, status, "{interim}");
    }
}

#[test]
fn headers_of_the_configmap_have_time_and_identifier_of_the_request() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = TestCluster::serving(&[script.address]);
    let data = [("X-Request-Start", "t=${msec}"), ("X-Correlation-ID", "$req_id")];
    let data = data.map(|(name, value)| (name.into(), value.to_owned())).into();
    let key = cluster::Key::new("ingress", "headers");
    world.apply(cluster::Object::ConfigMap(Arc::new(cluster::ConfigMap { key, data })));
    world.configure(&[("proxy-set-headers", "ingress/headers")]);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let before = now();
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 200);
    let seen = script.seen();
    assert_eq!(seen.header("x-correlation-id"), seen.header("x-request-id"));
    assert_eq!(seen.header("x-correlation-id").map(str::len), Some(32));
    let start = seen.header("x-request-start").unwrap();
    let start: f64 = start.strip_prefix("t=").unwrap().parse().unwrap();
    assert!((before - 0.2..now() + 0.2).contains(&start), "{before} {start}");
}
