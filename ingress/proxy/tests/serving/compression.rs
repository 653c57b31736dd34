//! Compressed responses.

use std::io::{BufRead, Read};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{ScriptedEndpoint, TestClient, TestCluster, read_chunk, read_head};

const ON: [(&str, &str); 3] =
    [("use-gzip", "true"), ("enable-brotli", "true"), ("gzip-types", "text/plain text/event-stream")];

/// A text that is longer than any buffer of the proxy.
fn text() -> String {
    (0..40_000).map(|number| format!("line {number}\n")).collect()
}

/// An endpoint that sends the text with a Content-Length.
fn endpoint() -> ScriptedEndpoint {
    ScriptedEndpoint::new(|connection| {
        while let Some(request) = connection.request() {
            let text = text();
            let fields = format!("Content-Type: text/plain\nETag: \"a\"\nContent-Length: {}\n\n", text.len());
            let body = if request.head.starts_with("HEAD ") { "" } else { &text };
            let sent = connection.send(&format!("HTTP/1.1 200 OK\n{fields}"));
            if sent
                .and_then(|()| std::io::Write::write_all(connection.stream.get_mut(), body.as_bytes()))
                .is_err()
            {
                return;
            }
        }
    })
}

fn decoded(coding: &str, body: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        "br" => brotli_decompressor::Decompressor::new(body, 4096).read_to_string(&mut text),
        other => panic!("coding {other}"),
    }
    .expect("a whole body");
    text
}

/// Reads all chunks.
fn chunks(client: &mut TestClient) -> Vec<u8> {
    std::iter::from_fn(|| read_chunk(&mut client.stream).filter(|chunk| !chunk.is_empty()))
        .flatten()
        .collect()
}

#[test]
fn bodies_are_compressed_as_the_client_accepts_it() {
    let script = endpoint();
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&ON);
    let mut client = world.client();
    for (accepted, coding) in [("gzip", "gzip"), ("gzip, br", "br"), ("deflate", "")] {
        client.send(&format!("GET / HTTP/1.1\nHost: shop.example\nAccept-Encoding: {accepted}\n\n"));
        let head = read_head(&mut client.stream).unwrap();
        assert!(head.contains("\nVary: Accept-Encoding\n"), "{head}");
        if coding.is_empty() {
            let length = text().len();
            assert!(head.contains(&format!("\nContent-Length: {length}\n")), "{head}");
            let mut body = vec![0; length];
            client.stream.read_exact(&mut body).unwrap();
            assert!(!head.contains("Content-Encoding") && body == text().into_bytes());
            continue;
        }
        for field in ["Transfer-Encoding: chunked", "ETag: W/\"a\"", &format!("Content-Encoding: {coding}")] {
            assert!(head.contains(&format!("\n{field}\n")), "{head}");
        }
        assert!(!head.contains("Content-Length"), "{head}");
        let body = chunks(&mut client);
        assert!(body.len() < text().len() / 2 && decoded(coding, &body) == text(), "{coding}");
    }
    client.send("HEAD / HTTP/1.1\nHost: shop.example\nAccept-Encoding: gzip\n\n");
    let head = read_head(&mut client.stream).unwrap();
    assert!(
        head.contains("\nContent-Encoding: gzip\n") && !head.contains("Content-Length"),
        "as for GET: {head}"
    );
    assert_eq!(script.connections(), 1, "the connection to the endpoint is used again");
    world.configure(&[]);
    client.send("GET / HTTP/1.1\nHost: shop.example\nAccept-Encoding: gzip\n\n");
    let head = read_head(&mut client.stream).unwrap();
    assert!(!head.contains("Content-Encoding") && !head.contains("Vary"), "{head}");
}

#[test]
fn long_enough_pages_of_the_proxy_are_compressed_as_in_nginx() {
    let mut world = TestCluster::serving(&[endpoint().address]);
    world.ingress("closed", "closed.example", &[("allowlist-source-range", "nobody")]);
    let mut client = world.client();
    let mut ask = |world: &mut TestCluster, method: &str, host: &str, keys: &[(&str, &str)]| {
        world.configure(keys);
        client.send(&format!("{method} /x HTTP/1.1\nHost: {host}\nAccept-Encoding: gzip\n\n"));
        let head = read_head(&mut client.stream).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |it| it.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        client.stream.read_exact(&mut body).unwrap();
        (head, body)
    };
    let keys = [("use-gzip", "true"), ("gzip-min-length", "100")];
    let (head, body) = ask(&mut world, "GET", "unknown.example", &keys);
    assert!(head.starts_with("HTTP/1.1 404 ") && head.contains("\nContent-Encoding: gzip\n"), "{head}");
    assert!(head.contains("\nVary: Accept-Encoding\n"), "{head}");
    assert!(decoded("gzip", &body).contains("<h1>404 Not Found</h1>"));
    let (head, _) = ask(&mut world, "HEAD", "unknown.example", &keys);
    assert!(head.contains("\nContent-Encoding: gzip\n"), "as for GET: {head}");
    // The default length is longer than the page, and nginx compresses no 503.
    for (host, keys) in [("unknown.example", &keys[..1]), ("closed.example", &keys)] {
        let (head, body) = ask(&mut world, "GET", host, keys);
        assert!(!head.contains("Content-Encoding"), "{head}");
        assert!(String::from_utf8(body).unwrap().contains("<center>nginx</center>"), "{head}");
    }
}

#[test]
fn http2_streams_are_compressed_too() {
    let script = endpoint();
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&ON);
    world.runtime.block_on(async {
        let stream = TcpStream::connect(world.http).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for coding in ["gzip", "br"] {
            let request = Request::builder().uri("http://shop.example/").header("accept-encoding", coding);
            let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            assert_eq!(response.headers()["content-encoding"], coding);
            assert!(!response.headers().contains_key("content-length"), "{:?}", response.headers());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(decoded(coding, &body) == text());
        }
    });
}

#[test]
fn events_are_not_held_back_and_trailers_follow() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        let fields = "Content-Type: text/event-stream\nTransfer-Encoding: chunked";
        let _ = connection.send(&format!("HTTP/1.1 200 OK\n{fields}\n\n"));
        for event in ["one ", "two "] {
            let _ = connection.send(&format!("4\n{event}\n"));
            hold();
        }
        let _ = connection.send("0\nX-Sum: 8\n\n");
    });
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&ON);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\nHost: shop.example\nAccept-Encoding: gzip\n\n");
    read_head(&mut client.stream).unwrap();
    let mut decoder = flate2::Decompress::new_gzip(15);
    let mut seen = Vec::with_capacity(4096);
    for wanted in ["one ", "one two "] {
        while seen.len() < wanted.len() {
            let chunk = read_chunk(&mut client.stream).unwrap();
            decoder.decompress_vec(&chunk, &mut seen, flate2::FlushDecompress::Sync).unwrap();
        }
        assert_eq!(seen, wanted.as_bytes());
        go.send(()).unwrap();
    }
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n\r\n") {
        client.stream.read_until(b'\n', &mut rest).unwrap();
    }
    let rest = String::from_utf8_lossy(&rest).to_lowercase();
    assert!(rest.ends_with("\r\n0\r\nx-sum: 8\r\n\r\n"), "{rest}");
}

#[test]
fn an_incomplete_response_does_not_end_as_a_whole_one() {
    let script = ScriptedEndpoint::new(|connection| {
        connection.request();
        let _ = connection.send("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 9999\n\nstart");
    });
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&ON);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\nHost: shop.example\nAccept-Encoding: gzip\n\n");
    let head = read_head(&mut client.stream).unwrap();
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}
