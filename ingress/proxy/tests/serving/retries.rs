//! Endpoints that fail, and retries at others.

use std::time::Duration;

use crate::support::{ScriptedEndpoint, TestCluster, TestOptions, one_worker, unused_address, with_proxy};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

fn request(method: &str) -> String {
    match method {
        "GET" | "DELETE" => format!("{method} / HTTP/1.1\nHost: shop.example\n\n"),
        _ => format!("{method} / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello"),
    }
}

#[test]
fn an_endpoint_that_refuses_connections_is_skipped() {
    let script = ScriptedEndpoint::always(OK);
    let gone = unused_address();
    let world = TestCluster::serving(&[gone, script.address]);
    for method in ["GET", "GET", "POST", "POST", "PATCH", "PATCH"] {
        assert_eq!(world.ask(&request(method)).status, 200, "{method}");
    }
    let log = world.log(6);
    let both = format!(" {gone}, {} 0, 2 ", script.address);
    let retried: Vec<_> = log.iter().filter(|line| line.contains(&both)).collect();
    assert!(!retried.is_empty() && retried.iter().all(|line| line.contains(" 502, 200 ")), "{log:?}");
}

#[test]
fn an_endpoint_that_closes_without_a_response_is_skipped_for_idempotent_requests() {
    let silent = ScriptedEndpoint::new(|connection| {
        connection.request();
    });
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(one_worker(), &[silent.address, script.address]);
    let mut statuses = Vec::new();
    for method in
        ["GET", "GET", "PUT", "PUT", "DELETE", "DELETE", "POST", "POST", "PATCH", "PATCH", "LOCK", "LOCK"]
    {
        statuses.push((method, world.ask(&request(method)).status));
    }
    for (method, status) in &statuses {
        let once = matches!(*method, "POST" | "PATCH" | "LOCK");
        assert!(*status == 200 || once && *status == 502, "{statuses:?}");
    }
    assert_eq!(
        statuses.iter().filter(|(_, status)| *status == 502).count(),
        3,
        "every other non-idempotent request: {statuses:?}"
    );
    let bodies: Vec<_> = script.all_seen().into_iter().map(|request| request.body).collect();
    assert_eq!(
        bodies.iter().filter(|body| *body == "hello").count(),
        5,
        "two PUTs and half of the other requests: {bodies:?}"
    );
}

#[test]
fn without_another_endpoint_the_same_one_is_tried_three_times() {
    let gone = unused_address();
    let world = TestCluster::serving(&[gone]);
    let response = world.ask(&request("GET"));
    assert_eq!(response.status, 502);
    assert!(response.body.contains("<title>502 Bad Gateway</title>"));
    let log = world.log(1);
    assert!(log[0].contains(&format!(" {gone}, {gone}, {gone} 0, 0, 0 ")), "{log:?}");
    assert!(log[0].contains(" 502, 502, 502 "), "{log:?}");
}

#[test]
fn without_a_limit_each_endpoint_is_tried_once() {
    let (one, other) = (unused_address(), unused_address());
    let options = with_proxy(|proxy| proxy.next_upstream_tries = 0);
    let world = TestCluster::serving_with(options, &[one, other]);
    assert_eq!(world.ask(&request("GET")).status, 502);
    let log = world.log(1).remove(0);
    assert!(log.contains(" 502, 502 ") && !log.contains("502, 502, 502"), "{log}");
}

#[test]
fn a_kept_connection_that_the_endpoint_closes_on_use_costs_no_attempt() {
    let fickle = ScriptedEndpoint::new(|connection| {
        connection.request();
        let _ = connection.send(OK);
        // Closes when the connection is reused.
        connection.request();
    });
    let options = TestOptions::from(one_worker()).proxy(|proxy| proxy.next_upstream_tries = 1);
    let world = TestCluster::serving_with(options, &[fickle.address]);
    for _ in 0..3 {
        assert_eq!(world.ask(&request("GET")).status, 200);
    }
    assert_eq!(fickle.connections(), 3);
    assert!(world.log(3)[1].contains(" 502, 200 "), "{:?}", world.log(3));
    assert_eq!(world.ask(&request("POST")).status, 502, "the endpoint may have carried it out");
}

#[test]
fn an_endpoint_that_is_a_listener_of_the_proxy_is_refused() {
    let mut world = TestCluster::new();
    for own in [world.http, world.https] {
        world.shop(&[own]);
        assert_eq!(world.ask(&request("GET")).status, 503, "{own}");
    }
    let log = world.log(2);
    assert!(log.iter().all(|line| line.contains(" 503, 503, 503 ")), "the request looped: {log:?}");
    assert_eq!(log.len(), 2);
}

#[test]
fn a_request_with_an_invalid_response_is_not_retried() {
    for answer in [
        "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\nTransfer-Encoding: chunked\n\nok",
        "nonsense\n\n",
    ] {
        let bad = ScriptedEndpoint::always(answer);
        let world = TestCluster::serving(&[bad.address]);
        assert_eq!(world.ask(&request("GET")).status, 502, "{answer}");
        bad.seen();
        assert!(bad.has_no_request(), "{answer}");
    }
}

#[test]
fn an_endpoint_that_is_too_slow_is_504() {
    let slow = ScriptedEndpoint::new(|connection| {
        connection.request();
        // Returns when the proxy gives up.
        connection.head();
    });
    let world = TestCluster::serving_with(
        with_proxy(|proxy| {
            proxy.read_timeout = Duration::from_millis(150);
            proxy.next_upstream_tries = 2;
        }),
        &[slow.address],
    );
    let response = world.ask(&request("GET"));
    assert_eq!(response.status, 504);
    assert!(response.body.contains("<title>504 Gateway Time-out</title>"));
    assert!(world.log(1)[0].contains(" 504, 504 "), "{:?}", world.log(1));
    assert_eq!(world.ask(&request("POST")).status, 504);
    assert_eq!(slow.connections(), 3, "two tries for GET, one for POST");
}

#[test]
fn an_endpoint_that_is_too_slow_after_a_response_of_another_is_504() {
    let busy = ScriptedEndpoint::always("HTTP/1.1 503 Service Unavailable\nContent-Length: 0\n\n");
    let slow = ScriptedEndpoint::new(|connection| {
        connection.request();
        connection.head();
    });
    let options =
        TestOptions::from(one_worker()).proxy(|proxy| proxy.read_timeout = Duration::from_millis(150));
    let mut world = TestCluster::serving_with(options, &[busy.address, slow.address]);
    let retry = [("proxy-next-upstream", "http_503"), ("proxy-next-upstream-tries", "2")];
    world.ingress("shop", "shop.example", &retry);
    let statuses = [(); 2].map(|()| world.ask(&request("GET")).status);
    assert!(statuses.contains(&504), "{statuses:?}");
}

#[test]
fn a_kept_connection_that_the_endpoint_has_closed_is_not_used() {
    let once = ScriptedEndpoint::new(|connection| {
        let request = connection.request().unwrap();
        let _ = connection.send(OK);
        let _ = connection.stream.get_ref().shutdown(std::net::Shutdown::Both);
        connection.report(request);
    });
    let world = TestCluster::serving_with(one_worker(), &[once.address]);
    for _ in 0..4 {
        assert_eq!(world.ask(&request("POST")).status, 200);
        // Reported with the request, and again after the endpoint has closed: the proxy's socket has the end of stream by then.
        once.seen();
        once.seen();
    }
    assert_eq!(once.connections(), 4);
}
