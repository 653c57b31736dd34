//! Which server a request goes to: `Host`, the absolute form, the name in the TLS handshake, `:authority`.

use super::http1::{Answer, ask, ask_over_tls, shown};
use super::http2::{Http2Request, ask as ask_http2};
use super::nginx::NO_FORWARDED_HEADERS;
use super::server::{EdgeServer, EdgeSetup};
use super::{EdgeTable, Reason, compare};
use crate::support::{TestOptions, options};

const SETUP: EdgeSetup = EdgeSetup {
    keys: &[],
    options: || TestOptions::from(options()),
    http: NO_FORWARDED_HEADERS,
    authenticates: false,
};

/// `Host` of a GET request of HTTP/1.1.
const HOSTS: &[&str] = &[
    "shop.example",
    "SHOP.Example",
    "shop.example.",
    "shop.example..",
    ".shop.example",
    "shop..example",
    "shop.example:80",
    "shop.example:8080",
    "SHOP.example.:443",
    "shop.example:0",
    "shop.example:99999",
    "shop.example:",
    "shop.example:abc",
    "shop.example:80:80",
    "shop.example: 80",
    "shop.example ",
    "",
    " ",
    "shop.example, other.example",
    "shop.example other.example",
    "shop.example\tx",
    "shop_example",
    "a.wild.example",
    "a_b.wild.example",
    "A-B.Wild.Example",
    "a.b.wild.example",
    "wild.example",
    ".wild.example",
    "-.wild.example",
    "*.wild.example",
    "127.0.0.1",
    "127.0.0.1:80",
    "[::1]",
    "[::1]:80",
    "[::1]:",
    "[::1",
    "::1",
    "[::ffff:127.0.0.1]",
    "[v1.x]",
    "[fe80::1%25eth0]",
    "user@shop.example",
    "shop.example@other.example",
    "shop.example/x",
    "shop.example?x",
    "shop.example#x",
    "shop.example\\x",
    "shop.example;x",
    "shop.example%00",
    "shop%2eexample",
    "xn--shp-sna.example",
    "sh\u{f6}p.example",
    "localhost",
    "unknown.example",
];

/// Heads of HTTP/1.
const HEADS: &[&str] = &[
    "GET / HTTP/1.1",
    "GET / HTTP/1.0",
    "GET / HTTP/1.0\nHost: shop.example",
    "GET / HTTP/1.1\nHost: shop.example\nHost: shop.example",
    "GET / HTTP/1.1\nHost: shop.example\nHost: other.example",
    "GET / HTTP/1.1\nHost: shop.example\nhost: shop.example",
    "GET / HTTP/1.1\nHost : shop.example",
    "GET / HTTP/1.1\n Host: shop.example",
    "GET / HTTP/1.1\nX: y\n Host: shop.example",
    "GET / HTTP/1.1\nHost:\n shop.example",
    "GET / HTTP/1.1\nH\u{f6}st: shop.example",
    "GET / HTTP/1.1\nHost: shop.example\0",
    "GET / HTTP/1.1\nHost: shop.example\nX-Forwarded-Host: other.example",
    "GET http://shop.example/ HTTP/1.1\nHost: shop.example",
    "GET http://SHOP.example/ HTTP/1.1\nHost: shop.example",
    "GET HTTP://shop.example/ HTTP/1.1\nHost: shop.example",
    "GET http://shop.example HTTP/1.1\nHost: shop.example",
    "GET http://shop.example?x HTTP/1.1\nHost: shop.example",
    "GET http://shop.example:80/ HTTP/1.1\nHost: shop.example:80",
    "GET http://shop.example:80/ HTTP/1.1\nHost: shop.example",
    "GET http://other.example/ HTTP/1.1\nHost: shop.example",
    "GET http://shop.example/ HTTP/1.1\nHost: other.example",
    "GET http://shop.example/ HTTP/1.1",
    "GET http://shop.example/ HTTP/1.0",
    "GET http://shop.example./ HTTP/1.1\nHost: shop.example",
    "GET http://user@shop.example/ HTTP/1.1\nHost: shop.example",
    "GET http:/// HTTP/1.1\nHost: shop.example",
    "GET http:/shop.example/ HTTP/1.1\nHost: shop.example",
    "GET https://shop.example/ HTTP/1.1\nHost: shop.example",
    "GET ftp://shop.example/ HTTP/1.1\nHost: shop.example",
    "GET http://[::1]/ HTTP/1.1\nHost: [::1]",
    "GET //other.example/ HTTP/1.1\nHost: shop.example",
    "GET other.example/ HTTP/1.1\nHost: shop.example",
    "OPTIONS * HTTP/1.1\nHost: shop.example",
    "CONNECT shop.example:80 HTTP/1.1\nHost: shop.example:80",
];

/// The server name of the handshake and `Host`.
const NAMES: &[(&str, &str)] = &[
    ("shop.example", "shop.example"),
    ("shop.example", "other.example"),
    ("SHOP.EXAMPLE", "shop.example"),
    ("shop.example", "unknown.example"),
    ("unknown.example", "shop.example"),
    ("a.wild.example", "shop.example"),
    ("shop.example", "a.wild.example"),
    ("shop.example", "shop.example:443"),
    ("shop.example", "shop.example."),
    ("127.0.0.1", "shop.example"),
    ("127.0.0.1", "127.0.0.1"),
];

/// Fields of HTTP/2 about the host.
const AUTHORITIES: &[&[(&str, &str)]] = &[
    &[(":authority", "shop.example")],
    &[(":authority", "SHOP.example")],
    &[(":authority", "shop.example:8080")],
    &[(":authority", "shop.example.")],
    &[(":authority", "shop..example")],
    &[(":authority", "a_b.wild.example")],
    &[(":authority", "[::1]")],
    &[(":authority", "[::1")],
    &[(":authority", "user@shop.example")],
    &[(":authority", "shop.example/x")],
    &[(":authority", "shop.example other.example")],
    &[(":authority", "")],
    &[],
    &[("host", "shop.example")],
    &[(":authority", ""), ("host", "shop.example")],
    &[(":authority", "shop.example"), ("host", "shop.example")],
    &[(":authority", "shop.example"), ("host", "SHOP.example")],
    &[(":authority", "shop.example"), ("host", "shop.example:80")],
    &[(":authority", "shop.example"), ("host", "other.example")],
    &[(":authority", "shop.example"), ("host", "")],
    &[(":authority", "shop.example"), (":authority", "shop.example")],
    &[(":authority", "shop.example"), (":authority", "other.example")],
    &[("host", "shop.example"), ("host", "shop.example")],
    &[("host", "shop.example"), ("host", "other.example")],
    &[("host", "unknown.example")],
];

const REASONS: &[Reason] = &[
    ("404", "400", "no valid host (RFC 3986 §3.2.2)"),
    (
        "400",
        "RST_STREAM PROTOCOL_ERROR",
        "malformed (RFC 9113 §8.1.1): the stream is reset without an answer",
    ),
];

const NOTES: &[(&str, &str)] = &[
    ("`Host: shop.example:abc`", NO_PORT),
    ("`Host: shop.example:80:80`", NO_PORT),
    ("`GET http://SHOP.example/ HTTP/1.1` `Host: shop.example`", TARGET),
    ("`GET http://shop.example?x HTTP/1.1` `Host: shop.example`", "a path would have to be inserted"),
    ("`GET http://shop.example:80/ HTTP/1.1` `Host: shop.example`", TWO_HOSTS),
    ("`GET http://other.example/ HTTP/1.1` `Host: shop.example`", TWO_HOSTS),
    ("`GET http://shop.example/ HTTP/1.1` `Host: other.example`", TWO_HOSTS),
    ("`GET http://shop.example./ HTTP/1.1` `Host: shop.example`", TWO_HOSTS),
    ("`GET http://shop.example/ HTTP/1.0`", TARGET),
    ("`GET ftp://shop.example/ HTTP/1.1` `Host: shop.example`", "only http and https"),
    ("HTTP/2 `:authority: [::1`", "no valid host: the stream is reset without an answer"),
    ("HTTP/2 `:authority: shop.example` `host: shop.example`", SAME_HOST),
    ("HTTP/2 `:authority: shop.example` `host: SHOP.example`", SAME_HOST),
];

const NO_PORT: &str = "no valid port";
const TARGET: &str = "the endpoint gets the host of the target (RFC 9112 §3.2.2)";
const TWO_HOSTS: &str = "two hosts: two servers may choose differently";
const SAME_HOST: &str = "both name one host (RFC 9113 §8.3.1)";

/// The status, or the Service and the `Host` that it gets.
fn outcome(answer: &Answer) -> String {
    let host = answer.head().into_iter().find_map(|line| line.strip_prefix("Host: "));
    match host {
        Some(host) => format!("{}, `{host}`", answer.service()),
        None if answer.seen.is_empty() => answer.outcome.clone(),
        None => format!("{}, no `Host`", answer.service()),
    }
}

/// One byte for each character.
fn bytes(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").chars().map(|char| char as u8).collect()
}

fn run(server: &EdgeServer) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    for host in HOSTS {
        let head = format!("GET / HTTP/1.1\nHost: {host}\n\n");
        answers.push((format!("`Host: {}`", host.escape_debug()), outcome(&ask(server.http, &bytes(&head)))));
    }
    for head in HEADS {
        let answer = ask(server.http, &bytes(&format!("{head}\n\n")));
        answers.push((shown(head), outcome(&answer)));
    }
    for (name, host) in NAMES {
        let head = format!("GET / HTTP/1.1\nHost: {host}\n\n");
        let answer = ask_over_tls(server.https, name, &bytes(&head));
        let name =
            if *name == "127.0.0.1" { "no server name".to_owned() } else { format!("server name `{name}`") };
        answers.push((format!("TLS, {name}, `Host: {host}`"), outcome(&answer)));
    }
    for fields in AUTHORITIES {
        let mut all = vec![(":method", "GET"), (":scheme", "http"), (":path", "/")];
        all.extend(*fields);
        // Pseudo-header fields come first.
        all.sort_by_key(|(name, _)| !name.starts_with(':'));
        let answer = ask_http2(server.http2, &Http2Request { fields: &all, data: &[], trailers: &[] });
        let shown: Vec<_> = fields.iter().map(|(name, value)| format!("`{name}: {value}`")).collect();
        let shown = if shown.is_empty() { "without".to_owned() } else { shown.join(" ") };
        answers.push((format!("HTTP/2 {shown}"), outcome(&answer)));
    }
    answers
}

#[test]
fn a_request_goes_to_the_host_that_nginx_finds() {
    compare(&EdgeTable { name: "hosts", setup: SETUP, reasons: REASONS, notes: NOTES }, run);
}
