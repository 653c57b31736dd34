//! Clients that send or read slowly, with timeouts of two seconds.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http1::connect;
use super::http2::{answer, block};
use super::server::{EdgeServer, EdgeSetup};
use super::{EdgeTable, compare};
use crate::frames::{DATA, Frames, GOAWAY, HEADERS, PING};
use crate::message::read_response;
use crate::support::with_connections;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Far below the timeout, also on a busy machine.
const PAUSE: Duration = Duration::from_millis(250);

/// The flag of an answer to PING.
const ACK: u8 = 1;

/// How long a connection is watched.
const WATCHED: Duration = Duration::from_secs(30);

const SETUP: EdgeSetup = EdgeSetup {
    keys: &[("client-header-timeout", "2"), ("client-body-timeout", "2"), ("keep-alive", "2")],
    options: || with_connections(|connections| connections.client_send_timeout = TIMEOUT),
    http: HTTP,
    authenticates: false,
};

const HTTP: &str = "
    client_header_timeout 2s;
    client_body_timeout 2s;
    keepalive_timeout 2s;
    send_timeout 2s;
    map '' $pass_access_scheme { default $scheme; }
    map '' $pass_port { default $server_port; }
    map '' $best_http_host { default $http_host; }";

/// The addresses for HTTP/1, HTTP/2 and TLS.
type Addresses = [SocketAddr; 3];

/// What a client does, and how the connection ends.
type Case = (&'static str, fn(Addresses) -> String);

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const UPLOAD: &[u8] = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 12\r\n\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n";

const CASES: &[Case] = &[
    ("nothing is sent", |[http, ..]| ending(&mut connect(http))),
    ("a head stops half way", |[http, ..]| after(http, b"GET / HTTP/1.1\r\nHost: sh")),
    ("a head gets a byte every 250 ms", |[http, ..]| {
        let mut stream = sent(http, b"GET / HTTP/1.1\r\nX: ");
        let begun = Instant::now();
        drip(&mut stream, b"y", 40);
        ending_since(&mut stream, begun)
    }),
    ("an empty line every 250 ms", |[http, ..]| {
        let mut stream = connect(http);
        let begun = Instant::now();
        drip(&mut stream, b"\r\n", 40);
        ending_since(&mut stream, begun)
    }),
    ("a body stops half way", |[http, ..]| after(http, &[UPLOAD, b"hello"].concat())),
    ("a body gets a byte every 250 ms", |[http, ..]| {
        let mut stream = sent(http, UPLOAD);
        drip(&mut stream, b"y", 12);
        status(&mut stream)
    }),
    ("a body in chunks stops half way", |[http, ..]| after(http, &[CHUNKED, b"5\r\nhel"].concat())),
    ("a body gets a chunk every 250 ms", |[http, ..]| {
        let mut stream = sent(http, CHUNKED);
        drip(&mut stream, b"1\r\ny\r\n", 12);
        let _ = stream.write_all(b"0\r\n\r\n");
        status(&mut stream)
    }),
    ("nothing follows a response", |[http, ..]| {
        let mut stream = sent(http, HEAD);
        let first = status(&mut stream);
        format!("{first}, then {}", ending(&mut stream))
    }),
    ("a second head stops half way", |[http, ..]| {
        let mut stream = sent(http, HEAD);
        let first = status(&mut stream);
        stream.write_all(b"GET / HT").unwrap();
        format!("{first}, then {}", ending(&mut stream))
    }),
    ("HTTP/2: nothing is sent", |[_, http2, _]| ending(&mut connect(http2))),
    ("HTTP/2: the preface stops half way", |[_, http2, _]| after(http2, b"PRI * HTTP/2.0\r\n\r\nSM")),
    ("HTTP/2: nothing follows the preface", |[_, http2, _]| ending_of_frames(Frames::connect(http2, &[]))),
    ("HTTP/2: a frame stops half way", |[_, http2, _]| {
        let mut client = Frames::connect(http2, &[]);
        client.0.write_all(&[0, 0, 50, HEADERS, 5, 0, 0]).unwrap();
        ending_of_frames(client)
    }),
    ("HTTP/2: no CONTINUATION follows", |[_, http2, _]| {
        let mut client = Frames::connect(http2, &[]);
        client.send(HEADERS, 1, 1, &block(&[(":method", "GET")])).unwrap();
        ending_of_frames(client)
    }),
    ("HTTP/2: nothing follows a response", |[_, http2, _]| {
        let mut client = Frames::connect(http2, &[]);
        client.request(1).unwrap();
        let first = answer(&mut client).outcome;
        format!("{first}, then {}", ending_of_frames(client))
    }),
    ("HTTP/2: a body stops half way", |[_, http2, _]| {
        let mut client = upload(http2);
        client.send(DATA, 0, 1, b"hello").unwrap();
        answer(&mut client).outcome
    }),
    ("HTTP/2: a body gets a byte every 250 ms", |[_, http2, _]| {
        let mut client = upload(http2);
        for at in 1..=12 {
            let _ = client.send(DATA, u8::from(at == 12), 1, b"y");
            if at < 12 {
                std::thread::sleep(PAUSE);
            }
        }
        answer(&mut client).outcome
    }),
    ("TLS: nothing is sent", |[_, _, https]| ending(&mut connect(https))),
    ("TLS: the ClientHello stops half way", |[_, _, https]| after(https, &[0x16, 3, 1, 2, 0, 1, 0, 1])),
];

fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    stream
}

/// A POST of twelve bytes on stream 1.
fn upload(address: SocketAddr) -> Frames {
    let mut client = Frames::connect(address, &[]);
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "shop.example")];
    client.send(HEADERS, 4, 1, &block(&[&fields[..], &[("content-length", "12")]].concat())).unwrap();
    client
}

/// Sends a piece every 250 ms until the server answers or closes the connection.
fn drip(stream: &mut TcpStream, piece: &[u8], times: usize) {
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    for _ in 0..times {
        if stream.write_all(piece).is_err() {
            return;
        }
        match stream.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return,
        }
    }
}

/// The status of a response, which may end the connection.
fn status(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(WATCHED)).unwrap();
    let response = read_response(&mut std::io::BufReader::new(stream), false);
    response.map_or_else(|| "closed".to_owned(), |response| response.status.to_string())
}

fn after(address: SocketAddr, bytes: &[u8]) -> String {
    ending(&mut sent(address, bytes))
}

fn ending(stream: &mut TcpStream) -> String {
    ending_since(stream, Instant::now())
}

/// What the server sends before it closes the connection, and whether it has waited.
fn ending_since(stream: &mut TcpStream, begun: Instant) -> String {
    stream.set_read_timeout(Some(WATCHED)).unwrap();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    if matches!(end, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)) {
        return format!("open after {} s", WATCHED.as_secs());
    }
    let text = String::from_utf8_lossy(&bytes);
    let answer = match text.strip_prefix("HTTP/1.1 ") {
        Some(rest) => rest[..3].to_owned(),
        None => "no answer".to_owned(),
    };
    format!("{answer}, closed {}", when(begun))
}

fn when(begun: Instant) -> &'static str {
    if begun.elapsed() >= TIMEOUT * 9 / 10 { "after the timeout" } else { "at once" }
}

fn ending_of_frames(mut client: Frames) -> String {
    let begun = Instant::now();
    client.0.set_read_timeout(Some(WATCHED)).unwrap();
    let mut goaway = false;
    loop {
        match client.read_frame() {
            Ok((PING, 0, _, payload)) => {
                let _ = client.send(PING, ACK, 0, &payload);
            }
            Ok((kind, ..)) => goaway |= kind == GOAWAY,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return format!("open after {} s", WATCHED.as_secs());
            }
            Err(_) => break,
        }
    }
    format!("{}, closed {}", if goaway { "GOAWAY" } else { "no GOAWAY" }, when(begun))
}

fn run(server: &EdgeServer) -> Vec<(String, String)> {
    let addresses = [server.http, server.http2, server.https];
    // They read nothing, and the endpoint sees how long it is asked for more.
    let _unread = sent(server.http, b"GET /large?1 HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let mut unread = Frames::connect(server.http2, &[]);
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", "/large?2"), (":authority", "shop.example")];
    unread.send(HEADERS, 5, 1, &block(&fields)).unwrap();
    let mut answers: Vec<_> = std::thread::scope(|scope| {
        let cases: Vec<_> =
            CASES.iter().map(|(name, case)| (*name, scope.spawn(move || case(addresses)))).collect();
        cases.into_iter().map(|(name, case)| (name.to_owned(), case.join().unwrap())).collect()
    });
    server.wait_for_end_of(&["/large?1", "/large?2"]);
    for case in ["a response is not read", "HTTP/2: a response is not read"] {
        answers.push((case.to_owned(), "cut off after the timeout".to_owned()));
    }
    answers
}

const NOTES: &[(&str, &str)] = &[
    ("a body stops half way", "the client learns the reason"),
    ("a body in chunks stops half way", "the client learns the reason"),
    ("HTTP/2: a body stops half way", "the client learns the reason"),
];

#[test]
fn slow_clients_end_as_in_nginx() {
    compare(&EdgeTable { name: "slow-clients", setup: SETUP, reasons: &[], notes: NOTES }, run);
}
