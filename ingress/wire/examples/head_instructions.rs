//! Parses and writes heads again and again, to count instructions:
//!
//! ```text
//! cargo build --release -p ingress-wire --example head_instructions
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/head_instructions parse browser 20000
//! ```
//!
//! The difference between two numbers of rounds, divided by their difference, is the cost of a round. `copy` is what every other
//! task does as well: the head is copied into the read buffer.

use std::hint::black_box;

use bytes::BytesMut;
use ingress_wire::head::NameClass;
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::{HeadFinder, HeadLimits, RequestHead};
use ingress_wire::response::{MAX_RESPONSE_HEAD, ParsedResponse};

const BROWSER: &[u8] = b"GET /catalogue/lamps?page=2&sort=price HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cache-Control: max-age=0\r\n\
Connection: keep-alive\r\n\
Cookie: session=8f1c2f0e5a8d4f6f9f5b; theme=dark; consent=1; basket=lamp-17:2,lamp-22:1\r\n\
Referer: https://shop.example.com/catalogue/lamps?page=1&sort=price\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Upgrade-Insecure-Requests: 1\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\r\n";

const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: wrk/4.1.0\r\nAccept: */*\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 29 Nov 2026 10:00:00 GMT\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nConnection: keep-alive\r\nETag: \"5f3-1\"\r\n\
Cache-Control: public, max-age=60\r\nVary: Accept-Encoding\r\nSet-Cookie: a=b; Path=/; HttpOnly\r\n\r\n";

const OWN: KnownSet = KnownSet::of(&[
    KnownHeader::Host,
    KnownHeader::Connection,
    KnownHeader::KeepAlive,
    KnownHeader::Upgrade,
    KnownHeader::Te,
    KnownHeader::Expect,
    KnownHeader::XRealIp,
    KnownHeader::XRequestId,
    KnownHeader::XForwardedFor,
    KnownHeader::XForwardedHost,
    KnownHeader::XForwardedPort,
    KnownHeader::XForwardedProto,
    KnownHeader::XForwardedScheme,
    KnownHeader::XScheme,
]);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .expect("TASK (copy, parse, write, old, httparse) HEAD (browser, wrk, response) ROUNDS")
    };
    let (task, head, rounds) = (next(), next(), next());
    let text = match head.as_str() {
        "browser" => BROWSER,
        "wrk" => WRK,
        "response" => RESPONSE,
        _ => panic!("browser, wrk or response"),
    };
    let is_response = head == "response";
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let (mut input, mut output) = (BytesMut::with_capacity(16 * 1024), BytesMut::with_capacity(16 * 1024));
    let (mut request, mut response, mut writer) =
        (ParsedRequest::default(), ParsedResponse::default(), HeadWriter::default());
    for _ in 0..rounds {
        request.clear();
        response.clear();
        input.clear();
        input.extend_from_slice(black_box(text));
        match (task.as_str(), is_response) {
            ("copy", _) => {
                black_box(&input);
            }
            ("parse", false) => {
                black_box(request.parse(&mut input, &HeadLimits::default())).expect("a good head");
            }
            ("parse", true) => {
                black_box(response.parse(&mut input, false, MAX_RESPONSE_HEAD)).expect("a good head");
            }
            ("write", false) => {
                request.parse(&mut input, &HeadLimits::default()).expect("a good head");
                let head = request.head();
                writer.clear();
                writer.remove_set(OWN);
                writer.remove_other_names(NameClass::Plain);
                writer.remove_listed(head, request.connection(), KnownSet::EMPTY);
                writer.prepend(b"Host", &[request.authority().unwrap_or_default()]);
                for name in [&b"X-Real-IP"[..], b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Request-ID"] {
                    writer.prepend(name, &[b"192.0.2.111"]);
                }
                output.clear();
                writer.write_request(request.method_name(), request.target(), head, &mut output);
                black_box(&output);
            }
            ("write", true) => {
                response.parse(&mut input, false, MAX_RESPONSE_HEAD).expect("a good head");
                writer.clear();
                writer.remove_set(ingress_wire::response::HIDDEN);
                writer.prepend(b"Date", &[b"Sun, 29 Nov 2026 10:00:00 GMT"]);
                output.clear();
                writer.write_response(response.status(), response.reason(), response.head(), &mut output);
                black_box(&output);
            }
            ("old", false) => {
                let length = HeadFinder::default().find(&input).expect("a good head").expect("it is whole");
                black_box(RequestHead::check(input.split_to(length).freeze())).expect("a good head");
            }
            ("httparse", false) => {
                let mut fields = [httparse::EMPTY_HEADER; 32];
                let mut request = httparse::Request::new(&mut fields);
                black_box(request.parse(&input)).expect("a good head");
                black_box(&request);
            }
            ("httparse", true) => {
                let mut fields = [httparse::EMPTY_HEADER; 32];
                let mut response = httparse::Response::new(&mut fields);
                black_box(response.parse(&input)).expect("a good head");
                black_box(&response);
            }
            _ => panic!("no such task for this head"),
        }
    }
}
