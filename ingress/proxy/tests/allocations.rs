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

use counting_allocator::{allocations_of_process, exclude_thread};
use support::{TestCluster, TestOptions, one_worker};

const REQUEST: &[u8] =
    b"GET /index.html?a=b HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n\
                         Accept-Encoding: gzip\r\nCookie: a=1; b=2\r\nReferer: http://shop.example/\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nETag: \"x\"\r\n\
                          Cache-Control: no-store\r\n\r\nhello";

/// Reads until the end of a message.
fn read_to(stream: &mut TcpStream, end: &[u8]) {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        let read = stream.read(&mut buffer[length..]).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&buffer[..length]));
        length += read;
    }
}

#[test]
fn a_request_on_a_kept_connection_allocates_little() {
    const COUNTED: usize = 2000;
    exclude_thread();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        exclude_thread();
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..2 * (COUNTED + 100) {
            read_to(&mut stream, b"\r\n\r\n");
            stream.write_all(RESPONSE).unwrap();
        }
    });
    let options =
        TestOptions::from(one_worker()).connections(|connections| connections.keep_alive_requests = u32::MAX);
    let mut world = TestCluster::serving_with(options, &[address]);
    let mut client = TcpStream::connect(world.http).unwrap();
    client.set_nodelay(true).unwrap();
    let mut request = || {
        client.write_all(REQUEST).unwrap();
        read_to(&mut client, b"\r\n\r\nhello");
    };
    for format in [None, Some(FORMAT)] {
        let format = format.map(|format| ("log-format-upstream", format));
        world.configure(format.as_slice());
        (0..100).for_each(|_| request());
        let before = allocations_of_process();
        (0..COUNTED).for_each(|_| request());
        let count = allocations_of_process() - before;
        eprintln!("{count} allocations for {COUNTED} requests, {format:?}");
        // The compiled format writes four lines for each request: if it were not used, this would time out.
        world.log((COUNTED + 100) * if format.is_some() { 4 } else { 1 });
        // Some more are made now and then: the time as text, lines of the log that are written.
        assert!(count < ALLOCATIONS * COUNTED + OTHERS, "{count} for {COUNTED} requests, {format:?}");
    }
}

/// A format of log lines that is compiled: variables of every kind but those of responses, which are kept for each request.
const FORMAT: &str = r#"{"a":"$remote_addr","u":"$remote_user","t":"$time_iso8601","r":"$request","uri":"$uri","q":"$args",
    "s":$status,"b":$body_bytes_sent,"h":"$http_user_agent","c":"$cookie_a","x":"$proxy_add_x_forwarded_for","n":"$namespace",
    "up":"$upstream_addr $upstream_status $upstream_header_time","tls":"$ssl_protocol","id":"$req_id"}"#;

/// Those that are made now and then.
const OTHERS: usize = 60;

/// For the state of the request to the endpoint.
const ALLOCATIONS: usize = 1;
