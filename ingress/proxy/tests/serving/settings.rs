//! Settings of routes and of the server: by annotations, and by the ConfigMap while the proxy runs.

use std::io::Read;
use std::time::Duration;

use ingress_routes::NextUpstream;
use rustls::ClientConnection;

use crate::support::{
    ScriptedEndpoint, TestClient, TestCluster, TestOptions, one_worker, unused_address, with_proxy,
};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const BAD: &str = "HTTP/1.1 502 Bad Gateway\nContent-Length: 4\n\nmine";
const GET: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";
const POST: &str = "POST / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";

/// One worker with another `proxy-next-upstream`.
fn next_upstream(words: &str) -> TestOptions {
    let words = NextUpstream::parse(words).unwrap();
    TestOptions::from(one_worker()).proxy(|proxy| proxy.next_upstream = words)
}

fn statuses<const N: usize>(world: &TestCluster, requests: [&str; N]) -> [u16; N] {
    requests.map(|request| world.ask(request).status)
}

#[test]
fn a_change_of_the_configmap_applies_to_the_next_request_of_an_open_connection() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    world.ingress("own", "own.example", &[("proxy-body-size", "9")]);
    world.service("own", &[script.address]);
    let mut client = world.client();
    let mut post = |host: &str, length: usize| {
        let body = "x".repeat(length);
        client.send(&format!("POST / HTTP/1.1\nHost: {host}\nContent-Length: {length}\n\n{body}"));
        client.response().status
    };
    assert_eq!(post("shop.example", 10), 200);
    world.configure(&[("proxy-body-size", "10")]);
    assert_eq!([post("shop.example", 10), post("shop.example", 11)], [200, 413]);
    assert_eq!([post("own.example", 9), post("own.example", 10)], [200, 413], "an annotation wins");
    world.configure(&[("proxy-body-size", "0")]);
    assert_eq!(post("shop.example", 2 << 20), 200);
    assert_eq!(post("own.example", 10), 413);
    assert_eq!(script.connections(), 1, "connections to endpoints are kept");
}

#[test]
fn the_settings_of_connections_follow_the_configmap() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let closes = |world: &TestCluster| world.ask(GET).header("connection") == Some("close");
    assert!(!closes(&world));
    world.configure(&[("keep-alive-requests", "1")]);
    assert!(closes(&world));
    world.configure(&[("keep-alive", "0")]);
    assert!(closes(&world));
    world.configure(&[]);
    assert!(!closes(&world));
    let big = |bytes: usize| format!("GET / HTTP/1.1\nHost: shop.example\nX: {}\n\n", "x".repeat(bytes));
    assert_eq!(statuses(&world, [&big(8000), &big(12_000)]), [200, 400]);
    world.configure(&[("large-client-header-buffers", "4 16k")]);
    assert_eq!(statuses(&world, [&big(12_000), &big(17_000)]), [200, 400]);
    world.configure(&[("large-client-header-buffers", "2 1k")]);
    assert_eq!(statuses(&world, [&big(1000), &big(1100)]), [200, 400]);
}

#[test]
fn without_kept_connections_each_request_has_its_own() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    assert_eq!(statuses(&world, [GET, GET]), [200, 200]);
    assert_eq!(script.connections(), 1);
    world.configure(&[("upstream-keepalive-connections", "0")]);
    assert_eq!(statuses(&world, [GET, GET, GET]), [200, 200, 200]);
    assert_eq!(script.connections(), 3, "the first one used the kept connection");
    world.configure(&[("upstream-keepalive-requests", "2")]);
    assert_eq!(statuses(&world, [GET, GET, GET]), [200, 200, 200]);
    assert_eq!(script.connections(), 5);
}

#[test]
fn the_access_log_can_be_switched_off_and_on() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    world.ask("GET /1 HTTP/1.1\nHost: shop.example\n\n");
    world.log(1);
    for key in ["disable-access-log", "disable-http-access-log"] {
        world.configure(&[(key, "true")]);
        world.ask("GET /2 HTTP/1.1\nHost: shop.example\n\n");
    }
    world.configure(&[]);
    world.ask("GET /3 HTTP/1.1\nHost: shop.example\n\n");
    let log = world.log(2);
    assert!(log.len() == 2 && log[0].contains("/1") && log[1].contains("/3"), "{log:?}");
}

/// What ALPN agrees on with a client that offers both protocols.
fn negotiated(world: &TestCluster) -> Vec<u8> {
    let config = net::testing::client(rustls::DEFAULT_VERSIONS, &[b"h2", b"http/1.1"]);
    let mut client = ClientConnection::new(config, "shop.example".try_into().unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(world.https).unwrap();
    client.complete_io(&mut stream).unwrap();
    client.alpn_protocol().unwrap().to_vec()
}

#[test]
fn http2_is_offered_to_new_connections_unless_switched_off() {
    let mut world = TestCluster::serving(&[]);
    let preface = |world: &TestCluster| {
        let mut client = TestClient::connect(world.http);
        client.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let mut first = [0; 4];
        client.stream.read_exact(&mut first).unwrap();
        first != *b"HTTP"
    };
    assert_eq!((negotiated(&world), preface(&world)), (b"h2".to_vec(), true));
    world.configure(&[("use-http2", "false")]);
    assert_eq!((negotiated(&world), preface(&world)), (b"http/1.1".to_vec(), false));
    world.configure(&[]);
    assert_eq!((negotiated(&world), preface(&world)), (b"h2".to_vec(), true));
}

#[test]
fn the_limit_of_connections_follows_the_configmap() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let mut open: Vec<_> = (0..4).map(|_| world.client()).collect();
    open.iter_mut().for_each(|client| {
        client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
        client.response();
        client.send("POST / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhel");
    });
    world.metrics("all requests are open", |text| text.contains("state=\"writing\"} 4"));
    world.configure(&[("max-worker-connections", "4")]);
    assert!(world.client().is_closed(), "all connections are in use");
    world.configure(&[("max-worker-connections", "8")]);
    assert_eq!(world.ask(GET).status, 200);
    for client in &mut open {
        client.raw(b"lo");
        assert_eq!(client.response().status, 200, "open connections are kept");
    }
}

#[test]
fn a_response_with_a_listed_status_is_replaced_by_another_endpoint() {
    for (words, get, post) in [
        ("error timeout", [200, 502, 200, 502], [200, 502]),
        ("http_502", [200; 4], [200, 502]),
        ("http_502 non_idempotent", [200; 4], [200; 2]),
        ("http_503", [200, 502, 200, 502], [200, 502]),
        ("off http_502", [200, 502, 200, 502], [200, 502]),
    ] {
        let (bad, good) = (ScriptedEndpoint::always(BAD), ScriptedEndpoint::always(OK));
        let world = TestCluster::serving_with(next_upstream(words), &[bad.address, good.address]);
        let sorted = |mut statuses: Vec<u16>| {
            statuses.sort_unstable();
            statuses
        };
        let found = sorted(statuses(&world, [GET; 4]).to_vec());
        assert_eq!(found, sorted(get.to_vec()), "{words}: GET");
        assert_eq!(sorted(statuses(&world, [POST; 2]).to_vec()), sorted(post.to_vec()), "{words}: POST");
        let body = |request: &crate::support::Response| request.body.clone();
        let bodies: Vec<_> = good.all_seen().iter().map(body).filter(|body| !body.is_empty()).collect();
        let count = post.iter().filter(|status| **status == 200).count();
        assert_eq!(bodies, vec!["hello"; count], "{words}: the body is sent again");
    }
}

#[test]
fn the_response_of_the_last_attempt_is_passed_on() {
    let bad = ScriptedEndpoint::always(BAD);
    let world = TestCluster::serving_with(next_upstream("http_502"), &[bad.address]);
    let response = world.ask(GET);
    assert_eq!((response.status, response.body.as_str()), (502, "mine"));
    assert!(world.log(1)[0].contains(" 502, 502, 502 "), "{:?}", world.log(1));
    assert_eq!(bad.all_seen().len(), 3);
    let once = next_upstream("http_502").proxy(|proxy| proxy.next_upstream_tries = 0);
    let world = TestCluster::serving_with(once, &[bad.address]);
    assert_eq!(world.ask(GET).body, "mine");
    assert_eq!(bad.all_seen().len(), 1, "one attempt at each endpoint");
}

#[test]
fn the_configmap_allows_retries_of_every_method() {
    let (bad, good) = (ScriptedEndpoint::always(BAD), ScriptedEndpoint::always(OK));
    let mut world = TestCluster::serving_with(one_worker(), &[bad.address, good.address]);
    world.ingress("shop", "shop.example", &[("proxy-next-upstream", "error timeout http_502")]);
    world.configure(&[("retry-non-idempotent", "true")]);
    assert_eq!(statuses(&world, [POST; 6]), [200; 6]);
}

#[test]
fn only_allowed_failures_are_retried() {
    let (gone, good) = (unused_address(), ScriptedEndpoint::always(OK));
    let world = TestCluster::serving_with(next_upstream("off"), &[gone, good.address]);
    let mut found = statuses(&world, [GET; 4]);
    found.sort_unstable();
    assert_eq!(found, [200, 200, 502, 502]);
    for (words, wanted) in [("error timeout", [200, 200, 502, 502]), ("invalid_header", [200; 4])] {
        let odd = ScriptedEndpoint::new(|connection| {
            while connection.request().is_some() && connection.send("nonsense\n\n").is_ok() {}
        });
        let world = TestCluster::serving_with(next_upstream(words), &[odd.address, good.address]);
        let mut found = statuses(&world, [GET; 4]);
        found.sort_unstable();
        assert_eq!(found, wanted, "{words}");
    }
}

#[test]
fn no_attempt_begins_after_the_time_for_all() {
    let slow = ScriptedEndpoint::new(|connection| {
        connection.request();
        // Returns when the proxy gives up.
        connection.head();
    });
    let times = with_proxy(|proxy| {
        proxy.read_timeout = Duration::from_millis(200);
        proxy.next_upstream_timeout = Duration::from_millis(100);
    });
    let world = TestCluster::serving_with(times, &[slow.address]);
    assert_eq!(world.ask(GET).status, 504);
    assert_eq!(slow.connections(), 1);
}

#[test]
fn timeouts_are_those_of_the_route() {
    let slow = ScriptedEndpoint::new(|connection| {
        connection.request();
        connection.head();
    });
    let mut world = TestCluster::serving(&[slow.address]);
    let own = [("proxy-read-timeout", "1"), ("proxy-next-upstream-tries", "1")];
    world.ingress("shop", "shop.example", &own);
    assert_eq!(world.ask(GET).status, 504);
    assert_eq!(slow.connections(), 1);
}

#[test]
fn a_longer_head_than_the_buffer_is_502() {
    let large = ScriptedEndpoint::new(|connection| {
        let filler = "x".repeat(6000);
        let response = format!("HTTP/1.1 200 OK\nX: {filler}\nContent-Length: 2\n\nok");
        while connection.request().is_some() && connection.send(&response).is_ok() {}
    });
    let mut world = TestCluster::serving(&[large.address]);
    assert_eq!(world.ask(GET).status, 502, "4k");
    world.configure(&[("proxy-buffer-size", "8k")]);
    assert_eq!(world.ask(GET).status, 200);
    world.ingress("shop", "shop.example", &[("proxy-buffer-size", "5k")]);
    assert_eq!(world.ask(GET).status, 502);
}

#[test]
fn requests_with_http_1_0_have_no_chunks() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.ingress("shop", "shop.example", &[("proxy-http-version", "1.0")]);
    assert_eq!(world.ask(POST).status, 200);
    let seen = script.seen();
    assert!(seen.head.starts_with("POST / HTTP/1.0\n"), "{}", seen.head);
    assert_eq!(seen.body, "hello");
    let chunks = "POST / HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n";
    assert_eq!(world.ask(chunks).status, 200);
    assert_eq!(script.seen().header("content-length"), Some("5"));
    let unbuffered = [("proxy-http-version", "1.0"), ("proxy-request-buffering", "off")];
    world.ingress("shop", "shop.example", &unbuffered);
    assert_eq!(world.ask(chunks).status, 411);
    assert!(script.has_no_request());
}

#[test]
fn an_unbuffered_body_is_not_sent_to_another_endpoint() {
    const PUT: &str = "PUT / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";
    for (buffering, wanted) in [("on", [200, 200]), ("off", [200, 502])] {
        let silent = ScriptedEndpoint::new(|connection| {
            connection.request();
        });
        let good = ScriptedEndpoint::always(OK);
        let mut world = TestCluster::serving_with(one_worker(), &[silent.address, good.address]);
        world.ingress("shop", "shop.example", &[("proxy-request-buffering", buffering)]);
        let mut found = statuses(&world, [PUT; 2]);
        found.sort_unstable();
        assert_eq!(found, wanted, "{buffering}");
        assert_eq!(statuses(&world, [GET; 2]), [200; 2], "{buffering}: requests without a body");
    }
}
