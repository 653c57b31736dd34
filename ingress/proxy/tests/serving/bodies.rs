//! Bodies: framing, streaming both ways, limits, and aborted transfers.

use std::io::{BufRead, Read, Write};
use std::time::Duration;

use cluster::{Event, Key, Kind};

use crate::frames::{DATA, Frames, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use crate::support::{
    Response, ScriptedEndpoint, TestCluster, TestOptions, read_body, read_chunk, read_head, with_connections,
    with_proxy,
};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// Options with `proxy-request-buffering: "off"`.
fn unbuffered() -> TestOptions {
    with_proxy(|proxy| proxy.request_buffering = false)
}

#[test]
fn bodies_arrive_with_the_framing_of_the_client() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(unbuffered(), &[script.address]);
    let mut client = world.client();
    let chunks = "Transfer-Encoding: chunked\n\n5\nhello\n6;x=y\n world\n0\n\n";
    let cases = [
        ("PUT", "Content-Length: 5\n\nhello", "Content-Length: 5", "hello"),
        ("POST", chunks, "Transfer-Encoding: chunked", "hello world"),
        ("POST", "Content-Length: 0\n\n", "Content-Length: 0", ""),
    ];
    for (method, rest, header, body) in cases {
        client.send(&format!("{method} / HTTP/1.1\nHost: shop.example\n{rest}"));
        assert_eq!(client.response().status, 200, "{rest}");
        let seen = script.seen();
        assert!(seen.head.contains(&format!("\n{header}\n")), "{}", seen.head);
        assert_eq!(seen.body, body);
    }
    client.send("DELETE / HTTP/1.1\nHost: shop.example\n\n");
    assert_eq!(client.response().status, 200);
    let head = script.seen().head;
    assert!(!head.contains("Content-Length") && !head.contains("Transfer-Encoding"), "{head}");
}

#[test]
fn a_body_is_received_before_an_endpoint_gets_the_request() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send("POST /a HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n5\nhello\n");
    // Another request arrives while the body is not complete.
    assert_eq!(world.ask("GET /b HTTP/1.1\nHost: shop.example\n\n").status, 200);
    assert!(script.seen().head.starts_with("GET /b "));
    assert!(script.has_no_request());
    client.send("6\n world\n0\n\n");
    assert_eq!(client.response().status, 200);
    let seen = script.seen();
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("11"), None));
    assert_eq!(seen.body, "hello world");
}

#[test]
fn a_request_whose_route_is_removed_meanwhile_is_completed() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    let post = "POST / HTTP/1.1\nHost: shop.example\nExpect: 100-continue\nContent-Length: 10\n\n";
    client.send(post);
    // The route has been selected.
    assert_eq!(client.response().status, 100);
    world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", "shop"))], 9);
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 404);
    client.raw(b"firstlater");
    assert_eq!(client.response().status, 200);
    assert_eq!(script.seen().body, "firstlater");
}

#[test]
fn of_a_large_chunked_body_only_the_beginning_is_received_first() {
    let script = ScriptedEndpoint::new(|connection| {
        let head = connection.head().unwrap();
        let first = read_chunk(&mut connection.stream).unwrap().len();
        connection.report(Response { body: first.to_string(), ..head });
        while read_chunk(&mut connection.stream).is_some_and(|chunk| !chunk.is_empty()) {}
        let _ = connection.send(OK);
    });
    let world = TestCluster::serving_with(with_proxy(|proxy| proxy.body_size = 0), &[script.address]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n");
    let chunk = format!("{:x}\n{}\n", 1 << 19, "x".repeat(1 << 19));
    (0..3).for_each(|_| client.send(&chunk));
    assert_eq!(script.seen().header("transfer-encoding"), Some("chunked"));
    client.send("0\n\n");
    assert_eq!(client.response().body, "ok");
}

#[test]
fn trailers_are_forwarded_both_ways_except_those_that_would_forge_headers() {
    let script = ScriptedEndpoint::new(|connection| {
        let head = connection.head().unwrap();
        while read_chunk_with_trailers(&mut connection.stream).is_some_and(|line| !line.is_empty()) {}
        let mut trailer = String::new();
        connection.stream.read_line(&mut trailer).unwrap();
        connection.report(Response { body: trailer, ..head });
        let _ = connection
            .send("HTTP/1.1 200 OK\nTrailer: X-Sum\nTransfer-Encoding: chunked\n\n2\nok\n0\nX-Sum: 2\n\n");
    });
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send(
        "POST / HTTP/1.1\nHost: shop.example\nTE: trailers\nTransfer-Encoding: chunked\n\n2\nab\n0\n\
         X-Real-IP: 192.0.2.66\nhost: evil.example\nX_Under: 1\nTransfer-Encoding: chunked\nContent-Length: 9\n\
         X-In: 1\nX-Forwarded-For: 192.0.2.66\n\n",
    );
    let head = read_head(&mut client.stream).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut rest = String::new();
    while !rest.ends_with("\r\n\r\n") {
        client.stream.read_line(&mut rest).unwrap();
    }
    assert_eq!(rest.to_lowercase(), "2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n");
    let seen = script.seen();
    assert_eq!(seen.body.to_lowercase(), "x-in: 1\r\n");
    assert!(seen.head.contains("\nTE: trailers\n"), "{}", seen.head);
}

/// A chunk's data; empty for the last chunk, whose trailers are not read.
fn read_chunk_with_trailers(stream: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim(), 16).ok()?;
    if length == 0 {
        return Some(String::new());
    }
    let mut data = vec![0; length + 2];
    stream.read_exact(&mut data).ok()?;
    String::from_utf8(data).ok()
}

#[test]
fn a_response_streams_while_the_endpoint_still_writes() {
    let (script, go) = ScriptedEndpoint::in_two_chunks();
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    read_head(&mut client.stream).unwrap();
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"first");
    go.send(()).unwrap();
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"last");
}

#[test]
fn an_upload_streams_while_the_client_still_writes() {
    let script = ScriptedEndpoint::new(|connection| {
        let head = connection.head().unwrap();
        while let Some(chunk) = read_chunk(&mut connection.stream).filter(|chunk| !chunk.is_empty()) {
            connection.report(Response { body: String::from_utf8(chunk).unwrap(), ..head.clone() });
        }
        let _ = connection.send(OK);
    });
    let world = TestCluster::serving_with(unbuffered(), &[script.address]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n5\nfirst\n");
    assert_eq!(script.seen().body, "first");
    client.send("4\nlast\n0\n\n");
    assert_eq!(script.seen().body, "last");
    assert_eq!(client.response().body, "ok");
}

#[test]
fn large_bodies_are_forwarded_unchanged() {
    let script = ScriptedEndpoint::new(|connection| {
        while let Some(head) = connection.head() {
            let body = read_body(&mut connection.stream, &head).unwrap();
            let _ = connection.send(&format!("HTTP/1.1 200 OK\nContent-Length: {}\n\n", body.len()));
            let _ = connection.send(&body);
        }
    });
    let world = TestCluster::serving_with(with_proxy(|proxy| proxy.body_size = 0), &[script.address]);
    let mut client = world.client();
    for size in [1, 65_536, 3_000_000] {
        let body: String = (0..size).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        let mut writer = client.stream.get_ref().try_clone().unwrap();
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            write!(writer, "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {size}\r\n\r\n")
                .unwrap();
            writer.write_all(sent.as_bytes()).unwrap();
        });
        let response = client.response();
        sending.join().unwrap();
        assert!(response.body == body, "{size} bytes");
    }
}

#[test]
fn a_large_upload_waits_for_its_endpoint_without_being_buffered() {
    const SIZE: u64 = 100_000_000;
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        let head = connection.head().unwrap();
        hold();
        let length = std::io::copy(&mut connection.stream.by_ref().take(SIZE), &mut std::io::sink()).unwrap();
        connection.report(Response { body: length.to_string(), ..head });
        let _ = connection.send(OK);
    });
    let world = TestCluster::serving_with(with_proxy(|proxy| proxy.body_size = 0), &[script.address]);
    let mut client = world.client();
    client.send(&format!("PUT / HTTP/1.1\nHost: shop.example\nContent-Length: {SIZE}\n\n"));
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut left = SIZE;
    // Until nothing more is accepted: the buffers of both connections are full.
    writer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while let Ok(length) = writer.write(&piece) {
        left -= length as u64;
    }
    assert!(left > SIZE / 2, "{left} of {SIZE} bytes were left");
    go.send(()).unwrap();
    writer.set_write_timeout(None).unwrap();
    while left > 0 {
        left -= writer.write(&piece[..piece.len().min(left as usize)]).unwrap() as u64;
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(script.seen().body, SIZE.to_string());
}

#[test]
fn an_endpoint_may_answer_before_it_has_read_everything() {
    let script = ScriptedEndpoint::new(|connection| {
        connection.head();
        let _ = connection.send("HTTP/1.1 403 Forbidden\nContent-Length: 2\nConnection: close\n\nno");
    });
    let world = TestCluster::serving_with(unbuffered(), &[script.address]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\nHost: shop.example\nContent-Length: 100000\n\nstart");
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (403, "no"));
}

#[test]
fn a_response_before_the_whole_request_has_connection_close() {
    let early = ScriptedEndpoint::new(|connection| {
        connection.head();
        let _ = connection.send(OK);
        // Until the proxy has closed.
        connection.head();
    });
    let mut world = TestCluster::serving_with(unbuffered(), &[early.address]);
    world.service("away", &[]);
    world.ingress("away", "away.example", &[("permanent-redirect", "https://shop.example/")]);
    let post = |host: &str, rest: &str| format!("POST / HTTP/1.1\nHost: {host}\n{rest}");
    for (host, status) in [("away.example", 301), ("none.example", 404), ("shop.example", 200)] {
        for rest in ["Content-Length: 100000\n\nstart", "Transfer-Encoding: chunked\n\n5\nstart\n"] {
            let mut client = world.client();
            client.send(&post(host, rest));
            let response = client.response();
            assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{host}");
            assert!(client.is_closed(), "{host} {rest}");
        }
    }
    let mut client = world.client();
    for _ in 0..3 {
        client.send(&post("away.example", "Content-Length: 5\n\nwhole"));
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (301, None));
    }
}

#[test]
fn a_client_that_expects_continue_gets_it() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    let expect = "POST / HTTP/1.1\nHost: shop.example\nExpect: 100-continue\n";
    client.send(&format!("{expect}Content-Length: 5\n\n"));
    assert_eq!(client.response().status, 100);
    client.raw(b"hello");
    assert_eq!(client.response().status, 200);
    let seen = script.seen();
    assert_eq!(seen.body, "hello");
    assert!(!seen.head.contains("Expect"), "{}", seen.head);
    client.send(&format!("{expect}Content-Length: 5000000\n\n"));
    assert_eq!(client.response().status, 413, "no 100 for a body that is too large");
}

#[test]
fn bodies_that_are_too_large_are_refused() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(with_proxy(|proxy| proxy.body_size = 10), &[script.address]);
    for (rest, status) in [
        ("Content-Length: 10\n\n0123456789", 200),
        ("Content-Length: 11\n\n01234567890", 413),
        ("Transfer-Encoding: chunked\n\n5\nhello\n5\nhello\n0\n\n", 200),
        ("Transfer-Encoding: chunked\n\n5\nhello\n6\n world\n0\n\n", 413),
    ] {
        let response = world.ask(&format!("POST / HTTP/1.1\nHost: shop.example\n{rest}"));
        assert_eq!(response.status, status, "{rest}");
        if status == 413 {
            assert!(
                response.body.contains("<title>413 Request Entity Too Large</title>"),
                "{}",
                response.body
            );
        }
    }
}

#[test]
fn a_client_that_sends_all_of_a_body_that_is_too_large_can_read_the_response() {
    const SIZE: usize = 16 << 20;
    let script = ScriptedEndpoint::new(|connection| {
        let _ = std::io::copy(&mut connection.stream, &mut std::io::sink());
    });
    let world = TestCluster::serving(&[script.address]);
    for framing in
        [format!("Content-Length: {SIZE}\n\n"), format!("Transfer-Encoding: chunked\n\n{SIZE:x}\n")]
    {
        let mut client = world.client();
        client.send(&format!("POST / HTTP/1.1\nHost: shop.example\n{framing}"));
        // Like Python's urllib: reads nothing before everything is sent.
        client.raw(&vec![b'x'; SIZE]);
        assert_eq!(client.response().status, 413, "{framing}");
    }
}

#[test]
fn an_http2_client_that_sends_all_of_a_body_that_is_too_large_can_read_the_answer() {
    const SIZE: usize = 3 << 20;
    let script = ScriptedEndpoint::new(|connection| {
        let _ = std::io::copy(&mut connection.stream, &mut std::io::sink());
    });
    let world = TestCluster::serving(&[script.address]);
    for announced in [true, false] {
        let mut client = Frames::connect(world.http, &[]);
        // POST, http, `/`, and literals of `:authority` and `content-length` (RFC 7541, appendix A).
        let mut head = vec![0x83, 0x86, 0x84, 0x01, 12];
        head.extend(b"shop.example");
        if announced {
            head.extend([0x0f, 13, 7]);
            head.extend(SIZE.to_string().bytes());
        }
        client.send(HEADERS, 0x4, 1, &head).unwrap();
        let (mut left, mut window, mut stream_window) = (SIZE, 65_535, 65_535);
        // It reads only when it must not send more.
        let (mut status, mut body, mut reset) = (None, Vec::new(), None);
        let mut ended = false;
        while !ended {
            let length = left.min(window).min(stream_window).min(16_384);
            if length > 0 && reset.is_none() {
                left -= length;
                (window, stream_window) = (window - length, stream_window - length);
                client.send(DATA, u8::from(left == 0), 1, &vec![b'x'; length]).unwrap();
                continue;
            }
            let (kind, flags, stream, payload) = client.read_frame().unwrap();
            let number = || u32::from_be_bytes(payload[..4].try_into().unwrap());
            match (kind, stream) {
                (WINDOW_UPDATE, 0) => window += number() as usize,
                (WINDOW_UPDATE, _) => stream_window += number() as usize,
                // The proxy's `SETTINGS_INITIAL_WINDOW_SIZE`.
                (SETTINGS, _) if flags == 0 => {
                    client.send(SETTINGS, 1, 0, &[]).unwrap();
                    for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                        stream_window +=
                            u32::from_be_bytes(setting[2..].try_into().unwrap()) as usize - 65_535;
                    }
                }
                (HEADERS, 1) => (status, ended) = (Some(payload), flags & 1 != 0),
                (DATA, 1) => {
                    body.extend(payload);
                    ended = flags & 1 != 0;
                }
                (RST_STREAM, 1) => reset = Some(number()),
                _ => {}
            }
        }
        assert!(status.is_some(), "{announced}");
        if left > 0 && reset.is_none() {
            // What a client does with a response that is complete before its request.
            client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).unwrap();
        }
        assert!(String::from_utf8_lossy(&body).contains("413 Request Entity Too Large"), "{announced}");
        // NO_ERROR (RFC 9113 §8.1): with another code a client discards the response.
        assert!(matches!(reset, None | Some(0)), "{reset:?}");
        // The connection remains usable.
        client.send(PING, 0, 0, &[0; 8]).unwrap();
        while client.read_frame().unwrap().0 != PING {}
    }
}

#[test]
fn a_body_of_http2_that_the_client_resets_does_not_look_complete() {
    let script = ScriptedEndpoint::new(|connection| {
        let head = connection.head().unwrap();
        connection.report(head.clone());
        let mut body = String::new();
        // Returns when the proxy closes.
        let _ = connection.stream.read_to_string(&mut body);
        connection.report(Response { body, ..head });
    });
    let world = TestCluster::serving_with(unbuffered(), &[script.address]);
    // NO_ERROR and CANCEL.
    for code in [0_u32, 8] {
        let mut client = Frames::connect(world.http, &[]);
        let mut head = vec![0x83, 0x86, 0x84, 0x01, 12];
        head.extend(b"shop.example");
        client.send(HEADERS, 0x4, 1, &head).unwrap();
        client.send(DATA, 0, 1, b"half").unwrap();
        assert!(script.seen().head.contains("\nTransfer-Encoding: chunked\n"));
        client.send(RST_STREAM, 0, 1, &code.to_be_bytes()).unwrap();
        let body = script.seen().body;
        assert!(matches!(&*body, "" | "4\r\nhalf\r\n"), "code {code}: {body:?}");
    }
}

#[test]
fn a_request_ends_when_its_client_disconnects() {
    let script = ScriptedEndpoint::new(|connection| {
        let request = connection.request().unwrap();
        let mut rest = Vec::new();
        // Returns when the proxy closes.
        let _ = connection.stream.read_to_end(&mut rest);
        connection.report(request);
    });
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send("GET /gone HTTP/1.1\nHost: shop.example\n\n");
    script.seen();
    drop(client);
    script.seen();
    let log = world.log(1);
    assert!(log[0].contains("\"GET /gone HTTP/1.1\" 499 0 "), "{log:?}");
    // As nginx, whose upstream state has no status then.
    assert_eq!(log[0].rsplit(' ').nth(1), Some("-"), "$upstream_status: {log:?}");
}

#[test]
fn an_incomplete_response_is_incomplete_for_the_client_too() {
    let broken = ScriptedEndpoint::new(|connection| {
        connection.request();
        let _ = connection.send("HTTP/1.1 200 OK\nContent-Length: 100\n\nhalf");
    });
    let world = TestCluster::serving(&[broken.address]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    read_head(&mut client.stream).unwrap();
    let mut body = Vec::new();
    let _ = client.stream.read_to_end(&mut body);
    assert_eq!(body, b"half");
}

#[test]
fn the_connection_of_a_client_that_stops_sending_or_reading_is_closed() {
    let short = Duration::from_millis(200);
    let times = with_connections(|connections| {
        (connections.client_body_timeout, connections.client_send_timeout) = (short, short)
    });
    let script = ScriptedEndpoint::new(|connection| {
        let Some(head) = connection.head() else { return };
        if head.head.starts_with("POST") {
            let _ = read_body(&mut connection.stream, &head);
            return;
        }
        let _ = connection.send("HTTP/1.1 200 OK\nContent-Length: 100000000\n\n");
        let piece = "x".repeat(1 << 20);
        while connection.send(&piece).is_ok() {}
        connection.report(head);
    });
    let world = TestCluster::serving_with(times, &[script.address]);
    let mut uploading = world.client();
    uploading.send("POST / HTTP/1.1\nHost: shop.example\nContent-Length: 10\n\nhalf");
    assert_eq!(uploading.response().status, 408);
    let mut downloading = world.client();
    downloading.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    // The endpoint reports when the proxy has closed its side.
    script.seen();
}
