//! Copies of requests for `mirror-target`.

use crate::support::{ScriptedEndpoint, TestCluster, one_worker, unused_address};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// A cluster whose requests are copied to a server.
fn mirrored(endpoint: &ScriptedEndpoint, target: &str, annotations: &[(&str, &str)]) -> TestCluster {
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    let annotations = [&[("mirror-target", target)], annotations].concat();
    world.ingress("shop", "shop.example", &annotations);
    world
}

fn counted(outcome: &str, count: usize) -> impl Fn(&str) -> bool {
    let line = format!("portolan_mirror_requests_total{{outcome=\"{outcome}\"}} {count}");
    move |text: &str| text.contains(&line)
}

#[test]
fn a_copy_has_the_method_the_target_the_fields_and_the_body_of_its_request() {
    let endpoint = ScriptedEndpoint::always(OK);
    let shadow = ScriptedEndpoint::always("HTTP/1.1 500 No\nContent-Length: 4\n\nnope");
    let world = mirrored(&endpoint, &format!("http://{}$request_uri", shadow.address), &[]);
    for request in [
        "POST /a?b=c HTTP/1.1\nHost: shop.example\nX-User: ann\nContent-Length: 5\n\nhello",
        "POST /a?b=c HTTP/1.1\nHost: shop.example\nX-User: ann\nTransfer-Encoding: chunked\n\n2\nhe\n3\nllo\n0\n\n",
    ] {
        let response = world.ask(request);
        assert_eq!((response.status, response.body.as_str()), (200, "ok"));
        let copy = shadow.seen();
        assert!(copy.head.starts_with("POST /a?b=c HTTP/1.1\nhost: 127.0.0.1\n"), "{}", copy.head);
        assert_eq!((copy.header("x-user"), copy.body.as_str()), (Some("ann"), "hello"));
        assert_eq!((copy.header("content-length"), copy.header("transfer-encoding")), (Some("5"), None));
        assert_eq!(endpoint.seen().body, "hello");
    }
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 200);
    let copy = shadow.seen();
    assert!(
        copy.head.starts_with("GET / HTTP/1.1\n") && copy.header("content-length").is_none(),
        "{}",
        copy.head
    );
    world.metrics("three copies", counted("sent", 3));
}

#[test]
fn without_mirror_request_body_the_copy_has_none() {
    let (endpoint, shadow) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let target = format!("http://{}/copy", shadow.address);
    let world = mirrored(&endpoint, &target, &[("mirror-request-body", "off"), ("mirror-host", "$host:1")]);
    let request = "PUT /x?q HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";
    assert_eq!(world.ask(request).status, 200);
    let copy = shadow.seen();
    assert!(copy.head.starts_with("PUT /copy?q HTTP/1.1\nhost: shop.example:1\n"), "{}", copy.head);
    assert_eq!((copy.header("content-length"), copy.body.as_str()), (None, ""));
}

#[test]
fn a_dead_mirror_costs_the_client_nothing() {
    let endpoint = ScriptedEndpoint::always(OK);
    let world = mirrored(&endpoint, &format!("http://{}/", unused_address()), &[]);
    for _ in 0..3 {
        let request = "POST / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";
        assert_eq!(world.ask(request).status, 200);
    }
    world.metrics("three copies without a server", counted("failed", 3));
    assert_eq!(world.log(3).iter().filter(|line| line.contains(" 200 ")).count(), 3);
}

#[test]
fn a_silent_mirror_keeps_no_more_than_256_copies() {
    let endpoint = ScriptedEndpoint::always(OK);
    // It accepts connections and answers nothing.
    let (shadow, _go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        hold();
    });
    let world = mirrored(&endpoint, &format!("http://{}/", shadow.address), &[]);
    let mut client = world.client();
    for _ in 0..260 {
        client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
        assert_eq!(client.response().status, 200);
    }
    world.metrics("four requests without a copy", counted("dropped", 4));
}

#[test]
fn a_body_that_is_too_long_or_incomplete_is_not_copied() {
    let (endpoint, shadow) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let target = format!("http://{}/", shadow.address);
    let world = mirrored(&endpoint, &target, &[("proxy-body-size", "0")]);
    let long = "x".repeat((1 << 20) + 1);
    let known = format!("POST / HTTP/1.1\nHost: shop.example\nContent-Length: {}\n\n{long}", long.len());
    let chunked = format!(
        "POST / HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n{:x}\n{long}\n0\n\n",
        long.len()
    );
    for (request, dropped) in [(&known, 1), (&chunked, 2)] {
        assert_eq!(world.ask(request).status, 200);
        assert_eq!(endpoint.seen().body.len(), long.len());
        world.metrics("a copy that is too long", counted("dropped", dropped));
    }
    let mut client = world.client();
    client.send("POST / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhe");
    drop(client);
    world.metrics("a copy that is incomplete", counted("dropped", 3));
    assert!(shadow.has_no_request());
}

#[test]
fn requests_that_are_answered_before_an_endpoint_is_asked_are_not_copied() {
    let (endpoint, shadow) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let target = format!("http://{}/", shadow.address);
    let mut world = mirrored(&endpoint, &target, &[("denylist-source-range", "127.0.0.0/8")]);
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 403);
    world.ingress("shop", "shop.example", &[("mirror-target", &target)]);
    world.endpoints("shop", &[]);
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 503);
    world.endpoints("shop", &[endpoint.address]);
    assert_eq!(world.ask("GET /last HTTP/1.1\nHost: shop.example\n\n").status, 200);
    assert!(shadow.seen().head.starts_with("GET / HTTP/1.1\n"));
    world.metrics("one copy", counted("sent", 1));
    assert!(shadow.has_no_request());
}
