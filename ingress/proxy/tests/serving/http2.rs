//! HTTP/2 with clients: by ALPN, and with prior knowledge.

use std::io::Read;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::message::Response;
use crate::support::{ScriptedEndpoint, TestCluster, with_connections, with_proxy};
use crate::tls::client_config;

const OK: &str = "HTTP/1.1 200 OK\nServer: x\nContent-Length: 5\n\nhello";

async fn handshake<S>(stream: S) -> http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, url: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(url).header("cookie", "a=1").header("cookie", "b=2");
    request.header("te", "trailers").body(Full::from(body)).unwrap()
}

#[test]
fn streams_are_forwarded_with_prior_knowledge() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        for (method, body) in [("GET", ""), ("POST", "hi")] {
            let response =
                sender.send_request(request(method, "http://shop.example/a?b", body)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers().get("server"), None);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        }
    });
    let head = script.seen().head;
    assert!(head.starts_with("GET /a?b HTTP/1.1\nHost: shop.example\n"), "{head}");
    assert!(head.contains("\ncookie: a=1; b=2\n") && head.contains("\nTE: trailers\n"), "{head}");
    let seen = script.seen();
    assert_eq!(seen.body, "hi");
    assert!(seen.head.contains("\nContent-Length: 2\n"), "{}", seen.head);
    assert!(world.log(2)[0].contains("\"GET /a?b HTTP/2.0\" 200 5 "), "{:?}", world.log(2));
}

#[test]
fn cookies_in_separate_fields_are_limited_by_their_bytes() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        for (count, size, status) in [(500, 20, StatusCode::OK), (500, 80, StatusCode::BAD_REQUEST)] {
            let mut request = Request::builder().uri("http://shop.example/");
            for at in 0..count {
                request = request.header("cookie", format!("{at:0size$}"));
            }
            let response = sender.send_request(request.body(Full::from("")).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{count} cookies of {size} bytes");
        }
    });
    let seen = script.seen().head;
    assert_eq!(seen.lines().filter(|line| line.starts_with("cookie: ")).count(), 1);
    assert_eq!(seen.matches("; ").count(), 499);
}

#[test]
fn alpn_chooses_http2_and_streams_run_side_by_side() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    world.runtime.block_on(async {
        let connector = tokio_rustls::TlsConnector::from(client_config(b"h2"));
        let stream = TcpStream::connect(world.https).await.unwrap();
        let stream = connector.connect("shop.example".try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let sender = handshake(stream).await;
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let mut sender = sender.clone();
                tokio::spawn(async move {
                    let response =
                        sender.send_request(request("GET", "https://shop.example/", "")).await.unwrap();
                    assert!(response.headers().contains_key("strict-transport-security"));
                    response.into_body().collect().await.unwrap().to_bytes()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "hello");
        }
    });
}

#[test]
fn trailers_reach_clients_of_http2() {
    let script = ScriptedEndpoint::always(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\ngrpc-status: 0\n\n",
    );
    let world = TestCluster::serving(&[script.address]);
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        let response = sender.send_request(request("GET", "http://shop.example/", "")).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "ok");
    });
}

#[test]
fn fields_that_http2_forbids_do_not_reach_its_clients() {
    let script = ScriptedEndpoint::always(
        "HTTP/1.1 200 OK\nUpgrade: h2c\nKeep-Alive: timeout=5\nProxy-Connection: x\nTE: gzip\nX-A: b\nContent-Length: 5\n\nhello",
    );
    let world = TestCluster::serving(&[script.address]);
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        let response = sender.send_request(request("GET", "http://shop.example/", "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-a"], "b");
        for name in ["upgrade", "keep-alive", "proxy-connection", "te"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert!(response.headers().contains_key("date"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    });
}

#[test]
fn a_stop_lets_open_streams_finish() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        hold();
        let _ = connection.send(OK);
    });
    let mut world = TestCluster::serving(&[script.address]);
    let proxy = world.proxy.take().unwrap();
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        let response = tokio::spawn(sender.send_request(request("GET", "http://shop.example/", "")));
        tokio::task::block_in_place(|| script.seen());
        let stopping = tokio::spawn(proxy.stop(std::time::Duration::ZERO));
        go.send(()).unwrap();
        assert_eq!(response.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes(), "hello");
        assert_eq!(stopping.await.unwrap(), net::DrainOutcome::Finished);
    });
}

#[test]
fn a_connection_with_open_streams_is_not_idle() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        hold();
        let _ = connection.send(OK);
    });
    // Long enough for a busy machine to send the request.
    let keep_alive = std::time::Duration::from_secs(1);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.keep_alive = keep_alive),
        &[script.address],
    );
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        let response = tokio::spawn(sender.send_request(request("GET", "http://shop.example/", "")));
        tokio::task::block_in_place(|| {
            script.seen();
            // Idle connections are closed in the meantime, one after another.
            for _ in 0..2 {
                let mut idle = world.client();
                idle.send("GET /healthz HTTP/1.1\nHost: x\n\n");
                idle.response();
                assert!(idle.is_closed());
            }
        });
        go.send(()).unwrap();
        assert_eq!(response.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes(), "hello");
        // Now it is idle.
        let closed = async {
            while !sender.is_closed() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::support::TEST_TIMEOUT, closed).await.unwrap();
    });
}

#[test]
fn a_client_that_does_not_read_a_stream_loses_only_that_stream() {
    let script = ScriptedEndpoint::new(|connection| {
        while let Some(head) = connection.request() {
            if head.head.starts_with("GET /small") {
                let _ = connection.send(OK);
                continue;
            }
            let _ = connection.send("HTTP/1.1 200 OK\nContent-Length: 100000000\n\n");
            let piece = "x".repeat(1 << 20);
            while connection.send(&piece).is_ok() {}
            connection.report(head);
            return;
        }
    });
    let client_send_timeout = std::time::Duration::from_millis(300);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.client_send_timeout = client_send_timeout),
        &[script.address],
    );
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        let large = sender.send_request(request("GET", "http://shop.example/large", "")).await.unwrap();
        tokio::task::block_in_place(|| script.seen());
        // The endpoint reports when the proxy has closed its side.
        let ended = tokio::task::block_in_place(|| script.seen());
        assert!(ended.head.starts_with("GET /large"), "{}", ended.head);
        assert!(large.into_body().collect().await.is_err(), "the stream was reset");
        let small = sender.send_request(request("GET", "http://shop.example/small", "")).await.unwrap();
        assert_eq!(small.into_body().collect().await.unwrap().to_bytes(), "hello");
    });
}

/// A client may read the response only after the endpoint has taken its whole body.
#[test]
fn an_upload_continues_while_the_client_does_not_read_the_response() {
    const SIZE: usize = 20_000_000;
    let script = ScriptedEndpoint::new(|connection| {
        let Some(head) = connection.head() else { return };
        // More than the client's windows take.
        let _ =
            connection.send(&format!("HTTP/1.1 200 OK\nContent-Length: 1000000\n\n{}", "x".repeat(300_000)));
        let mut body = connection.stream.by_ref().take(SIZE as u64);
        let length = std::io::copy(&mut body, &mut std::io::sink()).unwrap_or_default();
        connection.report(Response { body: length.to_string(), ..head });
    });
    let world = TestCluster::serving_with(with_proxy(|proxy| proxy.body_size = 0), &[script.address]);
    world.runtime.block_on(async {
        let stream = TokioIo::new(TcpStream::connect(world.http).await.unwrap());
        let mut client = http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) =
            client.initial_stream_window_size(65_535).handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let body = Full::<Bytes>::from(vec![b'x'; SIZE]);
        let request = Request::post("http://shop.example/").body(body).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let seen = tokio::task::block_in_place(|| script.seen());
        assert_eq!(seen.body, SIZE.to_string());
        drop(response);
    });
}

#[test]
fn heads_are_checked_as_strictly_as_those_of_http1() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let long = format!("http://shop.example/{}", "x".repeat(8200));
    let header = "x".repeat(8200);
    let rows = [
        ("GET", "http://shop.example/", &[][..], 200),
        ("GET", "http://shop.example/", &[("host", "shop.example")], 200),
        ("M-SEARCH", "http://shop.example/", &[], 200),
        ("get", "http://shop.example/", &[], 400),
        ("GET!", "http://shop.example/", &[], 400),
        ("TRACE", "http://shop.example/", &[], 405),
        ("GET", "http://user@shop.example/", &[], 400),
        ("GET", "http://shop..example/", &[], 400),
        ("GET", "http://shop.example/", &[("host", "other.example")], 400),
        ("GET", "http://shop.example/", &[("host", "shop.example"), ("host", "shop.example")], 400),
        ("GET", &long, &[], 414),
        ("GET", "http://shop.example/", &[("x-long", &header)], 400),
    ];
    world.runtime.block_on(async {
        let mut sender = handshake(TcpStream::connect(world.http).await.unwrap()).await;
        for (method, url, headers, status) in rows {
            let mut request = Request::builder().method(method).uri(url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let response = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{method} {} {headers:.40?}", &url[..url.len().min(40)]);
        }
    });
}
