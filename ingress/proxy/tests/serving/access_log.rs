//! The access log.

use crate::support::{ScriptedEndpoint, TestCluster, TestOptions, one_worker, options};

#[test]
fn the_access_log_is_that_of_ingress_nginx() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello");
    let world = TestCluster::serving(&[script.address]);
    let request = "POST /a?b HTTP/1.1\nHost: shop.example\nReferer: \"r\"\nUser-Agent: curl\nX-Request-ID: id\n\
                   Authorization: Basic Zm9vOmJhcg==\nContent-Length: 2\n\nhi";
    world.ask(request);
    let line = world.log(1).remove(0);
    let length = request.replace('\n', "\r\n").len();
    // Times differ from run to run.
    let mut parts: Vec<&str> = line.split(' ').collect();
    let (day, zone) = (parts[3], parts[4]);
    assert!(day.starts_with('[') && day.len() == 21 && zone.len() == 6 && zone.ends_with(']'), "{line}");
    for at in [3, 4, 13, 18] {
        let time = parts[at];
        assert!(
            at < 5 || time.parse::<f64>().unwrap() < 10.0 && time.split('.').next_back().unwrap().len() == 3,
            "{line}"
        );
        parts[at] = "T";
    }
    assert_eq!(
        parts.join(" "),
        format!(
            "127.0.0.1 - foo T T \"POST /a?b HTTP/1.1\" 200 5 \"\\x22r\\x22\" \"curl\" {length} T \
             [default-shop-80] [] {} 5 T 200 id",
            script.address
        )
    );
}

#[test]
fn requests_without_a_route_are_logged_with_the_default_backend() {
    let world = TestCluster::new();
    world.ask("GET /healthz HTTP/1.1\nHost: other.example\n\n");
    world.ask("GET /x HTTP/1.1\nHost: other.example\nX-Request-ID: id\n\n");
    let line = world.log(1).remove(0);
    assert!(line.contains("\"GET /x HTTP/1.1\" 404 "), "the health check is not logged: {line}");
    assert!(line.ends_with(" [upstream-default-backend] [] - - - - id"), "{line}");
}

#[test]
fn requests_that_no_ingress_covers_are_not_logged_by_default() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let options = TestOptions::from(one_worker()).server(|server| server.log_default_backend = false);
    let world = TestCluster::serving_with(options, &[script.address]);
    world.ask("GET /unknown-host HTTP/1.1\nHost: other.example\n\n");
    world.ask("nonsense\n\n");
    world.ask("GET /known-host HTTP/1.1\nHost: shop.example\n\n");
    let log = world.log(2);
    assert!(log[0].contains("\"nonsense\" 400 ") && log[1].contains("/known-host"), "{log:?}");
}

#[test]
fn a_tls_handshake_on_the_plain_port_is_answered_and_logged() {
    let world = TestCluster::new();
    let mut client = world.client();
    client.raw(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03");
    assert_eq!(client.response().status, 400);
    let log = world.log(1);
    assert!(log[0].contains("\"\\x16\\x03\\x01\\x00\\xA5\\x01") && log[0].contains("\" 400 150 "), "{log:?}");
}

#[test]
fn the_built_in_page_replaces_a_default_backend_without_endpoints() {
    // [controller.go getDefaultUpstream: the endpoint of the built-in page where the Service has none]
    let fallback = cluster::Key::new("default", "fallback");
    let mut with_fallback = TestOptions::from(options());
    with_fallback.routes.default_backend_service = Some(fallback);
    let mut world = TestCluster::with(with_fallback);
    let ask = |world: &TestCluster| world.ask("GET / HTTP/1.1\nHost: other.example\n\n").status;
    assert_eq!(ask(&world), 404, "no such Service");
    world.service("fallback", &[]);
    assert_eq!(ask(&world), 404, "a Service without endpoints");
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    world.endpoints("fallback", &[script.address]);
    assert_eq!(ask(&world), 200);
}

#[test]
fn a_refused_head_leaves_its_first_line_in_the_access_log() {
    let world = TestCluster::new();
    let rows = [
        (
            "GET /a HTTP/1.1\nHost: shop.example\nContent-Length: 1\nContent-Length: 1\n\nx",
            "\"GET /a HTTP/1.1\" 400 150 ",
        ),
        ("GET /\u{1}b HTTP/1.1\nHost: shop.example\n\n", "\"GET /\\x01b HTTP/1.1\" 400 150 "),
    ];
    for (count, (request, logged)) in (1..).zip(rows) {
        world.ask(request);
        let line = world.log(count).pop().unwrap();
        assert!(line.contains(logged), "{request:?}: {line}");
    }
}
