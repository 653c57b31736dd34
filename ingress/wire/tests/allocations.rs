//! The path of a head through this crate does not allocate.

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;

use bytes::BytesMut;
use counting_allocator::allocations;
use ingress_wire::head::NameClass;
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadLimits;
use ingress_wire::response::{HIDDEN, MAX_RESPONSE_HEAD, ParsedResponse};

/// The fields that the proxy writes itself.
const OWN: KnownSet = KnownSet::of(&[KnownHeader::Host, KnownHeader::XForwardedFor, KnownHeader::XRealIp]);

/// What the connections of client and endpoint keep from one request to the next.
#[derive(Default)]
struct Kept {
    client: BytesMut,
    endpoint: BytesMut,
    request: ParsedRequest,
    response: ParsedResponse,
    writer: HeadWriter,
    output: BytesMut,
}

impl Kept {
    fn request(&mut self, text: &[u8]) {
        self.request.clear();
        self.output.clear();
        self.client.extend_from_slice(text);
        assert_eq!(self.request.parse(&mut self.client, &HeadLimits::default()), Ok(true));
        let head = self.request.head();
        let host = head.get(KnownHeader::Host).expect("it has one");
        assert!(head.has(KnownHeader::UserAgent) && self.request.keeps_alive());
        self.writer.clear();
        self.writer.remove_set(OWN);
        self.writer.remove_other_names(NameClass::Plain);
        self.writer.remove_listed(head, self.request.connection(), KnownSet::EMPTY);
        self.writer.prepend(b"Host", &[host]);
        self.writer.prepend(b"X-Real-IP", &[b"192.0.2.1"]);
        self.writer.append(
            b"X-Forwarded-For",
            &[head.get(KnownHeader::XForwardedFor).unwrap_or_default(), b"192.0.2.1"],
        );
        self.writer.write_request(self.request.method_name(), self.request.target(), head, &mut self.output);
    }

    fn response(&mut self, text: &[u8]) {
        self.response.clear();
        self.output.clear();
        self.endpoint.extend_from_slice(text);
        assert_eq!(self.response.parse(&mut self.endpoint, false, MAX_RESPONSE_HEAD), Ok(true));
        self.writer.clear();
        self.writer.remove_set(HIDDEN);
        self.writer.prepend(b"Date", &[b"Sun, 29 Nov 2026 10:00:00 GMT"]);
        let response = &self.response;
        self.writer.write_response(response.status(), response.reason(), response.head(), &mut self.output);
    }
}

#[test]
fn a_common_request_and_its_response_are_read_changed_and_written_without_an_allocation() {
    let mut kept = Kept::default();
    let mut request = b"GET /cart?item=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: x\r\n".to_vec();
    for at in 0..30 {
        request.extend_from_slice(format!("X-Field-{at}: a value of some length\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    let response =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: x\r\nContent-Length: 5\r\nVary: a\r\n\r\n";
    assert!(
        allocations(|| kept.request(&request)) > 0,
        "the counter counts: the buffers are made for the first request"
    );
    kept.response(response);
    for round in 0..3 {
        assert_eq!(allocations(|| kept.request(&request)), 0, "request {round}");
        assert_eq!(allocations(|| kept.response(response)), 0, "response {round}");
    }
}
