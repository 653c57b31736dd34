//! Requests that two servers may interpret differently, as raw bytes.

use crate::support::{ScriptedEndpoint, TestClient, TestCluster};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

#[test]
fn smuggling_attempts_are_refused_with_an_error_page_and_a_close() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let host = "Host: shop.example\r\n";
    let cases = [
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET"
            ),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        ("GET / HTTP/1.1\nHost: shop.example\n\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: y\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET http://other.example/ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
        (format!("GET /\t HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/3.0\r\n{host}\r\n"), 505),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(9_000)), 414),
        (format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(9_000)), 400),
    ];
    for (request, status) in &cases {
        // As the first request, and after a valid one.
        for before in ["", "GET /good HTTP/1.1\r\nHost: shop.example\r\n\r\n"] {
            let mut client = world.client();
            client.raw(format!("{before}{request}").as_bytes());
            if !before.is_empty() {
                assert_eq!(client.response().status, 200, "the request before {request:?}");
            }
            let response = client.response();
            assert_eq!(response.status, *status, "{request:?}");
            assert!(response.body.contains("<hr><center>nginx</center>"), "{request:?}: {}", response.body);
            assert_eq!(response.header("connection"), Some("close"), "{request:?}");
            assert!(client.is_closed(), "{request:?}");
        }
    }
    let seen = script.all_seen();
    assert_eq!(seen.len(), cases.len());
    assert!(seen.iter().all(|request| request.head.starts_with("GET /good ")));
}

#[test]
fn malformed_chunks_are_refused() {
    let script = ScriptedEndpoint::new(|connection| {
        connection.request();
    });
    let world = TestCluster::serving(&[script.address]);
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "-5\r\nhello\r\n",
        "5\r\nhello\r\n0\n\n",
        "g\r\n",
    ] {
        let mut client = world.client();
        let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.raw(format!("{head}{chunks}").as_bytes());
        assert_eq!(client.response().status, 400, "{chunks:?}");
        assert!(client.is_closed(), "{chunks:?}");
    }
}

#[test]
fn a_request_is_read_the_same_however_its_bytes_arrive() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let text = "POST /x?y HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for step in [1, 3, 7, 40] {
        let mut client = world.client();
        for _ in 0..2 {
            for piece in text.as_bytes().chunks(step) {
                client.raw(piece);
            }
            assert_eq!(client.response().status, 200, "by {step}");
            let seen = script.seen();
            assert!(seen.head.starts_with("POST /x?y HTTP/1.1\n"));
            assert_eq!(seen.body, "hello");
        }
    }
}

#[test]
fn unusual_but_unambiguous_requests_are_forwarded() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let cases = [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: shop.example\r\n\r\n", "GET / HTTP/1.1"),
        ("GET http://shop.example/a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n", "GET /a?b HTTP/1.1"),
        (
            "GET /a\"b<c>`|{}^\u{e9}?\"<> HTTP/1.1\r\nHost: SHOP.example.\r\n\r\n",
            "GET /a\"b<c>`|{}^\u{e9}?\"<> HTTP/1.1",
        ),
        ("GET /a#b HTTP/1.1\r\nHost: shop.example\r\n\r\n", "GET /a HTTP/1.1"),
        ("PURGE / HTTP/1.1\r\nHost:shop.example\r\n\r\n", "PURGE / HTTP/1.1"),
    ];
    for (request, line) in cases {
        let mut client = TestClient::connect(world.http);
        client.raw(request.as_bytes());
        assert_eq!(client.response().status, 200, "{request:?}");
        let head = script.seen().head;
        assert_eq!(head.lines().next(), Some(line), "{request:?}");
    }
}
