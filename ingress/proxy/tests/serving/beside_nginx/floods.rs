//! Clients that send a great deal of what costs the server work. Other clients are served meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::http1::{ask, connect};
use super::http2::block;
use super::nginx::NO_FORWARDED_HEADERS;
use super::server::{EdgeServer, EdgeSetup};
use super::{EdgeTable, compare};
use crate::frames::{
    DATA, END_STREAM_AND_HEADERS, Frames, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::support::{TestOptions, options};

const SETUP: EdgeSetup = EdgeSetup {
    keys: &[],
    options: || TestOptions::from(options()),
    http: NO_FORWARDED_HEADERS,
    authenticates: false,
};

const PRIORITY: u8 = 2;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xfa;

/// How many frames a flood has, in pieces of `PIECE` frames.
const FRAMES: usize = 1_000_000;
const PIECE: usize = 1_000;

const FIELDS: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "shop.example")];

/// A connection with a request whose head is complete and whose body is not.
fn with_open_stream(client: &mut Frames) {
    client.send(HEADERS, 4, 1, &block(&FIELDS)).unwrap();
}

/// A connection with a request whose head is not complete.
fn with_open_head(client: &mut Frames) {
    client.send(HEADERS, 0, 1, &block(&FIELDS)).unwrap();
}

/// What precedes a flood, and the frame of each number.
type Flood = (&'static str, fn(&mut Frames), fn(u32) -> Vec<u8>);

const FLOODS: &[Flood] = &[
    ("PING", |_| (), |_| Frames::frame(PING, 0, 0, &[0; 8])),
    ("SETTINGS without settings", |_| (), |_| Frames::frame(SETTINGS, 0, 0, &[])),
    ("PRIORITY", |_| (), |_| Frames::frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 1])),
    ("WINDOW_UPDATE of one byte", |_| (), |_| Frames::frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("frames of an unknown type", |_| (), |_| Frames::frame(UNKNOWN, 0, 0, &[])),
    ("empty DATA", with_open_stream, |_| Frames::frame(DATA, 0, 1, &[])),
    ("DATA with padding only", with_open_stream, |_| Frames::frame(DATA, 8, 1, &[3, 0, 0, 0])),
    ("empty CONTINUATION", with_open_head, |_| Frames::frame(CONTINUATION, 0, 1, &[])),
    ("CONTINUATION with a field each", with_open_head, |_| {
        Frames::frame(CONTINUATION, 0, 1, &block(&[("x", "y")]))
    }),
    (
        "requests that are reset at once (CVE-2023-44487)",
        |_| (),
        |at| {
            let mut frames = Frames::frame(HEADERS, END_STREAM_AND_HEADERS, 2 * at + 1, &block(&FIELDS));
            frames.extend(Frames::frame(RST_STREAM, 0, 2 * at + 1, &[0, 0, 0, 8]));
            frames
        },
    ),
    (
        "malformed requests",
        |_| (),
        |at| Frames::frame(HEADERS, END_STREAM_AND_HEADERS, 2 * at + 1, &block(&[(":method", "GET")])),
    ),
];

/// Whether the server ends the connection. Another client is served before the last half.
fn flood(server: &EdgeServer, (_, prepare, frame): &Flood) -> String {
    let mut client = Frames::connect(server.http2, &[]);
    prepare(&mut client);
    // The server responds to some frames, and blocks if nothing reads the responses.
    let mut reader = client.0.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        loop {
            match reader.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    });
    for piece in 0..FRAMES / PIECE {
        let numbers = piece * PIECE..(piece + 1) * PIECE;
        let frames: Vec<u8> = numbers.flat_map(|at| frame(at as u32)).collect();
        if client.0.write_all(&frames).is_err() {
            break;
        }
        if piece == 2 {
            served(server);
        }
    }
    served(server);
    if reading.join().unwrap() { "closed".to_owned() } else { "open after 1,000,000 frames".to_owned() }
}

/// Another client is served.
fn served(server: &EdgeServer) {
    assert_eq!(ask(server.http, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").outcome, "200");
}

/// More streams than a connection may have.
fn streams(server: &EdgeServer) -> String {
    let mut client = Frames::connect(server.http2, &[]);
    for at in 0..300 {
        client.send(HEADERS, 4, 2 * at + 1, &block(&FIELDS)).unwrap();
    }
    client.send(PING, 0, 0, &[7; 8]).unwrap();
    let mut refused = 0;
    loop {
        match client.read_frame() {
            Ok((RST_STREAM, ..)) => refused += 1,
            Ok((PING, ..)) => break,
            Ok(_) => {}
            Err(_) => return "closed".to_owned(),
        }
    }
    served(server);
    format!("{refused} are refused")
}

/// 10,000 requests at once: how many are answered.
fn pipeline(server: &EdgeServer) -> String {
    let stream = connect(server.http);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let requests = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n".repeat(10_000);
        let _ = writer.write_all(requests.as_bytes());
    });
    let mut reader = std::io::BufReader::new(stream);
    let mut answers = 0;
    while crate::message::read_response(&mut reader, false).is_some() {
        answers += 1;
        if answers == 100 {
            served(server);
        }
    }
    drop(reader);
    writing.join().unwrap();
    format!("{answers} are answered, closed")
}

/// Connections without a request: whether they stay, and others are served.
fn connections(server: &EdgeServer) -> String {
    let mut idle: Vec<TcpStream> = (0..300).map(|_| connect(server.http)).collect();
    served(server);
    let open = idle
        .iter_mut()
        .all(|stream| stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").is_ok());
    if open { "all are served".to_owned() } else { "some are closed".to_owned() }
}

/// A request of HTTP/1 with a great deal of something.
fn large(server: &EdgeServer, head: &str, body: &str) -> String {
    let answer = ask(server.http, format!("{head} HTTP/1.1\r\nHost: shop.example\r\n{body}").as_bytes());
    served(server);
    match answer.body().len() {
        0 => answer.outcome,
        length => format!("{}, {length} bytes at the endpoint", answer.outcome),
    }
}

/// How many connections were closed because of a flood of frames.
fn counted(text: &str) -> f64 {
    let series = "portolan_client_connections_closed_total{reason=\"h2_flood\"} ";
    text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap_or_default()
}

fn run(server: &EdgeServer) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    for flood_of in FLOODS {
        let before = server.cluster().map(|cluster| counted(&cluster.registry.text()));
        answers.push((format!("HTTP/2: 1,000,000 × {}", flood_of.0), flood(server, flood_of)));
        if let (Some(cluster), Some(before)) = (server.cluster(), before) {
            cluster.metrics(flood_of.0, |text| counted(text) > before);
        }
    }
    answers.push(("HTTP/2: 300 requests whose bodies do not end".to_owned(), streams(server)));
    answers.push(("10,000 requests at once".to_owned(), pipeline(server)));
    answers.push(("300 connections without a request".to_owned(), connections(server)));
    let chunked = |body: String| format!("Transfer-Encoding: chunked\r\n\r\n{body}");
    let long = "x".repeat(1 << 20);
    for (case, head, body) in [
        ("a target of 1 MiB", format!("GET /{long}"), "\r\n".to_owned()),
        ("a field of 1 MiB", "GET /".to_owned(), format!("X: {long}\r\n\r\n")),
        ("100,000 fields", "GET /".to_owned(), "X: y\r\n".repeat(100_000) + "\r\n"),
        ("1,000 fields of 6 bytes", "GET /".to_owned(), "X: y\r\n".repeat(1_000) + "\r\n"),
        (
            "100,000 chunks of a byte",
            "POST /".to_owned(),
            chunked("1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n"),
        ),
        (
            "a chunk extension of 1 MiB",
            "POST /".to_owned(),
            chunked(format!("5;{long}\r\nhello\r\n0\r\n\r\n")),
        ),
        (
            "1,000 chunks with extensions of 100 bytes",
            "POST /".to_owned(),
            chunked(format!("1;{}\r\nx\r\n", "e".repeat(100)).repeat(1_000) + "0\r\n\r\n"),
        ),
        (
            "a chunk size of 1 MiB of zeros",
            "POST /".to_owned(),
            chunked(format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(1 << 20))),
        ),
        (
            "a chunk size of 2⁶⁴",
            "POST /".to_owned(),
            chunked("10000000000000000\r\nhello\r\n0\r\n\r\n".to_owned()),
        ),
        (
            "trailers of 1 MiB",
            "POST /".to_owned(),
            chunked(format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(170_000))),
        ),
        ("a body of 2 MiB", "POST /".to_owned(), format!("Content-Length: {}\r\n\r\n{long}{long}", 2 << 20)),
    ] {
        answers.push((case.to_owned(), large(server, &head, &body)));
    }
    answers
}

const NOTES: &[(&str, &str)] = &[
    ("HTTP/2: 1,000,000 × PING", BUDGET),
    ("HTTP/2: 1,000,000 × SETTINGS without settings", BUDGET),
    ("HTTP/2: 1,000,000 × PRIORITY", BUDGET),
    ("HTTP/2: 1,000,000 × WINDOW_UPDATE of one byte", BUDGET),
    ("HTTP/2: 1,000,000 × frames of an unknown type", BUDGET),
    ("HTTP/2: 1,000,000 × empty DATA", "after 100 on a connection; the same counter"),
    ("HTTP/2: 1,000,000 × DATA with padding only", "the same"),
    ("HTTP/2: 1,000,000 × empty CONTINUATION", "after 10 in a head; the same counter"),
    ("HTTP/2: 1,000,000 × CONTINUATION with a field each", "the same"),
    (
        "HTTP/2: 1,000,000 × requests that are reset at once (CVE-2023-44487)",
        "after 20 that were reset before they began, or 10,000 in all; the same counter",
    ),
    ("HTTP/2: 1,000,000 × malformed requests", "after 1,024; the same counter"),
    (
        "HTTP/2: 300 requests whose bodies do not end",
        "`http2-max-concurrent-streams` (128); the connection and its other requests stay",
    ),
    ("10,000 requests at once", "`keep-alive-requests` (1,000)"),
    (
        "300 connections without a request",
        "`max-worker-connections` (16,384), then those that are idle longest end; `portolan_client_connections_closed_total{reason=\"drained\"}`",
    ),
    (
        "a target of 1 MiB",
        "a line of 8 KiB (`large-client-header-buffers`); the requests metric has the status",
    ),
    ("a field of 1 MiB", "the same"),
    ("100,000 fields", "32 KiB in all"),
    (
        "1,000 fields of 6 bytes",
        "the number is limited by their bytes; Debian's nginx refuses the 1,001st field",
    ),
    ("100,000 chunks of a byte", "`proxy-body-size`"),
    ("a chunk extension of 1 MiB", EXTENSIONS),
    ("1,000 chunks with extensions of 100 bytes", EXTENSIONS),
    ("a chunk size of 1 MiB of zeros", EXTENSIONS),
    ("trailers of 1 MiB", "16 KiB of trailers"),
    ("a body of 2 MiB", "`proxy-body-size` (1 MiB)"),
];

const BUDGET: &str =
    "10,000 at once and 100 a second; `portolan_client_connections_closed_total{reason=\"h2_flood\"}`";
const EXTENSIONS: &str = "4 KiB of extensions and zeros in all of a body";

#[test]
fn floods_end_and_other_clients_are_served() {
    compare(&EdgeTable { name: "floods", setup: SETUP, reasons: &[], notes: NOTES }, run);
}
