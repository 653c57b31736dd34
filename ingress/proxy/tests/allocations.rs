//! How often the proxy allocates for a request on a kept HTTP/1 connection.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;
#[allow(dead_code, unreachable_pub)]
#[path = "serving/message.rs"]
mod message;
#[allow(dead_code, unreachable_pub)]
#[path = "serving/scripted_endpoint.rs"]
mod scripted_endpoint;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "serving/support.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use counting_allocator::{allocations_of_process, exclude_thread};
use support::{TestCluster, TestOptions, one_worker};

const HEAD: &str = "Host: shop.example\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n\
                    Accept-Encoding: gzip\r\nCookie: a=1; b=2\r\nReferer: http://shop.example/\r\n";
const RESPONSE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"x\"\r\nCache-Control: no-store\r\n";

/// A request, the endpoint's response, and how often the proxy allocates for them.
struct Case {
    name: &'static str,
    /// The start line, without the version.
    start: &'static str,
    /// Further lines of the request's head, and its body.
    rest: &'static str,
    /// Further lines of the response's head, and its body.
    response: &'static str,
    annotations: &'static [(&'static str, &'static str)],
    keys: &'static [(&'static str, &'static str)],
    lines_of_log: usize,
    /// Allocations a request.
    bound: usize,
}

const GET: Case = Case {
    name: "GET",
    start: "GET /index.html?a=b",
    rest: "\r\n",
    response: "Content-Length: 5\r\n\r\nhello",
    annotations: &[],
    keys: &[],
    lines_of_log: 1,
    // For the state of the request to the endpoint.
    bound: 1,
};

const CASES: &[Case] = &[
    GET,
    Case {
        name: "GET with a format of the log",
        keys: &[("log-format-upstream", FORMAT)],
        lines_of_log: 3,
        ..GET
    },
    // The password is found without a check, and what is left of the credentials is on the stack.
    Case {
        name: "GET with a password",
        rest: "Authorization: Basic YW5uOmJhcg==\r\n\r\n",
        annotations: &[("auth-type", "basic"), ("auth-secret", "users")],
        ..GET
    },
    Case { name: "HEAD", start: "HEAD /index.html", response: "Content-Length: 5\r\n\r\n", ..GET },
    // The body is kept so that it can be sent again.
    Case { name: "POST", start: "POST /form", rest: "Content-Length: 5\r\n\r\nhello", bound: 3, ..GET },
    // The chunks are written anew.
    Case {
        name: "chunked response",
        bound: 2,
        response: "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ..GET
    },
    // What sets a value of its own writes it: the target after the rewrite, the origin.
    Case { name: "twenty annotations", annotations: ANNOTATIONS, bound: 6, ..GET },
];

/// Annotations of every phase.
const ANNOTATIONS: &[(&str, &str)] = &[
    ("upstream-vhost", "inner.example"),
    ("x-forwarded-prefix", "/shop"),
    ("connection-proxy-header", "keep-alive"),
    ("enable-cors", "true"),
    ("cors-allow-origin", "https://*.shop.example, https://other.example"),
    ("cors-max-age", "600"),
    ("ssl-redirect", "false"),
    ("rewrite-target", "/inner/$1"),
    ("use-regex", "true"),
    ("proxy-body-size", "8m"),
    ("proxy-read-timeout", "30"),
    ("proxy-next-upstream", "error timeout http_502"),
    ("proxy-next-upstream-tries", "2"),
    ("allowlist-source-range", "127.0.0.0/8, ::1"),
    ("denylist-source-range", "192.0.2.0/24"),
    ("limit-rps", "100000"),
    ("limit-connections", "1000"),
    ("proxy-cookie-path", "/ /shop"),
    ("proxy-redirect-from", "http://inner.example/"),
    ("proxy-redirect-to", "http://shop.example/"),
    ("load-balance", "round_robin"),
];

/// How many requests are counted.
const COUNTED: usize = 2000;

/// Reads until the end of a message.
fn read_to(stream: &mut TcpStream, end: &[u8]) {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        let read = stream.read(&mut buffer[length..]).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&buffer[..length]));
        length += read;
    }
}

/// The last bytes of a message that follow its head, or the end of its head.
fn end_of(rest: &'static str) -> &'static [u8] {
    let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if body.is_empty() { b"\r\n\r\n" } else { body.as_bytes() }
}

#[test]
fn a_request_on_a_kept_connection_allocates_little() {
    exclude_thread();
    for case in CASES {
        check(case);
    }
}

fn check(case: &Case) {
    let &Case { name, start, rest, response, annotations, keys, lines_of_log, bound } = case;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = std::thread::spawn(move || {
        exclude_thread();
        let (mut stream, _) = listener.accept().unwrap();
        let response = format!("{RESPONSE}{response}");
        for _ in 0..COUNTED + 100 {
            read_to(&mut stream, end_of(rest));
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    let options =
        TestOptions::from(one_worker()).connections(|connections| connections.keep_alive_requests = u32::MAX);
    let mut world = TestCluster::serving_with(options, &[address]);
    world.configure(keys);
    world.users("users", "ann:$2b$05$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6\n");
    // The pattern is that of `rewrite-target`.
    let is_pattern = annotations.iter().any(|(name, _)| *name == "rewrite-target");
    let path = if is_pattern { "/(.*)" } else { "/" };
    world.ingress_with("shop", "shop.example", path, 80, annotations, None);
    let mut client = TcpStream::connect(world.http).unwrap();
    client.set_nodelay(true).unwrap();
    let request = format!("{start} HTTP/1.1\r\n{HEAD}Origin: https://a.shop.example\r\n{rest}");
    let mut ask = || {
        client.write_all(request.as_bytes()).unwrap();
        read_to(&mut client, end_of(response));
    };
    (0..100).for_each(|_| ask());
    let (before, started) = (allocations_of_process(), Instant::now());
    (0..COUNTED).for_each(|_| ask());
    let count = allocations_of_process() - before;
    // The time as text, lines of the log that are written.
    let others = COUNTED / 10 + started.elapsed().as_secs() as usize * OTHERS_A_SECOND;
    eprintln!("{count} allocations for {COUNTED} requests: {name}");
    // A line for each request: if a format were not used, this would time out. It also shows that the requests were served.
    let log = world.log((COUNTED + 100) * lines_of_log);
    assert!(log.iter().any(|line| line.contains(" 200 ")) || lines_of_log > 1, "{name}: {:?}", log.first());
    assert!(count < bound * COUNTED + others, "{count} for {COUNTED} requests: {name}");
    endpoint.join().unwrap();
}

/// A format of log lines that is compiled: variables of every kind but those of responses, which are kept for each request.
const FORMAT: &str = r#"{"a":"$remote_addr","u":"$remote_user","t":"$time_iso8601","r":"$request","uri":"$uri","q":"$args",
    "s":$status,"b":$body_bytes_sent,"h":"$http_user_agent","c":"$cookie_a","x":"$proxy_add_x_forwarded_for","n":"$namespace",
    "up":"$upstream_addr $upstream_status $upstream_header_time","tls":"$ssl_protocol","id":"$req_id"}"#;

/// Allocations that follow the time.
const OTHERS_A_SECOND: usize = 20;
