//! Spans in the format of OpenTelemetry's collector: messages of opentelemetry-proto, `trace/v1/trace.proto` and
//! `collector/trace/v1/trace_service.proto`, in protobuf's encoding. Only what a server's spans need is written.

use std::time::Duration;

/// The method of the collector that takes spans.
pub const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The longest text of a name or an attribute in bytes; the rest is cut off.
pub const MAX_TEXT: usize = 1024;

/// A span of a request that this process has served.
#[derive(Clone, Debug)]
pub struct ServerSpan<'a> {
    /// Not zero.
    pub trace_id: [u8; 16],
    /// Not zero.
    pub span_id: [u8; 8],
    /// The span of the client, if the request named one.
    pub parent: Option<[u8; 8]>,
    /// `tracestate` (W3C Trace Context, section 3.3); empty for none.
    pub state: &'a str,
    /// The name of the operation.
    pub name: &'a str,
    /// When it began, since the Unix epoch.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// Names and values, in order.
    pub attributes: &'a [(&'static str, AttributeValue<'a>)],
    /// The server has failed.
    pub is_error: bool,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Number(i64),
}

/// Bit 0 of `flags`: the trace is sampled (W3C Trace Context, section 3.2.2.5.1).
const FLAG_SAMPLED: u32 = 0x001;
/// Whether the parent is of another process is known.
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
/// The parent is of another process.
const FLAG_IS_REMOTE: u32 = 0x200;
const KIND_SERVER: u64 = 2;
const STATUS_ERROR: u64 = 2;

impl ServerSpan<'_> {
    /// The span as an element of `ScopeSpans.spans`.
    pub fn encode(&self) -> Vec<u8> {
        let mut span = Message(Vec::with_capacity(512));
        span.bytes(1, &self.trace_id);
        span.bytes(2, &self.span_id);
        span.text(3, self.state);
        span.bytes(4, self.parent.as_ref().map_or(&[][..], |parent| &parent[..]));
        span.text(5, self.name);
        span.number(6, KIND_SERVER);
        span.fixed64(7, nanoseconds(self.began));
        span.fixed64(8, nanoseconds(self.ended));
        for (name, value) in self.attributes {
            span.attribute(9, name, *value);
        }
        if self.is_error {
            let mut status = Message::default();
            status.number(3, STATUS_ERROR);
            span.bytes(15, &status.0);
        }
        let remote = self.parent.map_or(0, |_| FLAG_IS_REMOTE);
        span.fixed32(16, FLAG_SAMPLED | FLAG_HAS_IS_REMOTE | remote);
        let mut element = Message(Vec::with_capacity(span.0.len() + 6));
        element.bytes(2, &span.0);
        element.0
    }
}

/// The `ExportTraceServiceRequest` with encoded spans of one service.
pub fn export_request<S: AsRef<[u8]>>(service: &str, spans: &[S]) -> Vec<u8> {
    let mut resource = Message::default();
    for (name, value) in [
        ("service.name", service),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "portolan"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ] {
        resource.attribute(1, name, AttributeValue::Text(value));
    }
    let mut scope = Message::default();
    scope.text(1, "portolan");
    let mut scope_spans = Message::default();
    scope_spans.bytes(1, &scope.0);
    let spans_length: usize = spans.iter().map(|span| span.as_ref().len()).sum();
    let mut resource_spans = Message::default();
    resource_spans.bytes(1, &resource.0);
    resource_spans.header(2, scope_spans.0.len() + spans_length);
    resource_spans.0.extend_from_slice(&scope_spans.0);
    let mut request = Message(Vec::with_capacity(resource_spans.0.len() + spans_length + 12));
    request.header(1, resource_spans.0.len() + spans_length);
    request.0.extend_from_slice(&resource_spans.0);
    for span in spans {
        request.0.extend_from_slice(span.as_ref());
    }
    request.0
}

/// Nanoseconds since the Unix epoch, until the year 2554.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The beginning of a text that is short enough.
fn shortened(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// A message of protobuf while it is written. Fields with the default value are left out, as in proto3.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    /// Begins a field of bytes, which follow.
    fn header(&mut self, field: u32, length: usize) {
        self.tag(field, 2);
        self.varint(length as u64);
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.header(field, value.len());
            self.0.extend_from_slice(value);
        }
    }

    fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, shortened(value).as_bytes());
    }

    fn number(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A `KeyValue`, whose value is present even if it is empty.
    fn attribute(&mut self, field: u32, name: &str, value: AttributeValue<'_>) {
        let mut any = Message::default();
        match value {
            AttributeValue::Text(text) => {
                let text = shortened(text);
                any.header(1, text.len());
                any.0.extend_from_slice(text.as_bytes());
            }
            AttributeValue::Number(number) => any.number(3, number as u64),
        }
        let mut pair = Message::default();
        pair.text(1, name);
        pair.bytes(2, &any.0);
        self.bytes(field, &pair.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span<'a>(attributes: &'a [(&'static str, AttributeValue<'a>)]) -> ServerSpan<'a> {
        ServerSpan {
            trace_id: [0x11; 16],
            span_id: [0x22; 8],
            parent: Some([0x33; 8]),
            state: "a=b",
            name: "op",
            began: Duration::from_nanos(1),
            ended: Duration::from_nanos(0x0203),
            attributes,
            is_error: true,
        }
    }

    /// The bytes were written by hand from the definitions of the messages.
    #[test]
    fn a_span_has_the_bytes_of_its_message() {
        let attributes = [("k", AttributeValue::Text("v")), ("n", AttributeValue::Number(300))];
        let span = ServerSpan { is_error: false, parent: None, state: "", ..span(&attributes) };
        let body = [
            [&[0x0a, 16][..], &[0x11; 16], &[0x12, 8], &[0x22; 8]].concat(),
            b"\x2a\x02op\x30\x02".to_vec(),
            b"\x39\x01\0\0\0\0\0\0\0\x41\x03\x02\0\0\0\0\0\0".to_vec(),
            b"\x4a\x08\x0a\x01k\x12\x03\x0a\x01v".to_vec(),
            b"\x4a\x08\x0a\x01n\x12\x03\x18\xac\x02".to_vec(),
            b"\x85\x01\x01\x01\0\0".to_vec(),
        ]
        .concat();
        assert_eq!(span.encode(), [&[0x12, body.len() as u8][..], &body].concat());
    }

    #[test]
    fn parent_state_and_failure_are_fields_of_their_own() {
        let bytes = span(&[]).encode();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(has(b"\x1a\x03a=b") && has(b"\x22\x0833333333") && has(b"\x7a\x02\x18\x02"), "{bytes:?}");
        assert!(bytes.ends_with(b"\x85\x01\x01\x03\0\0"), "{bytes:?}");
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let long = format!("x{}", "é".repeat(MAX_TEXT));
        let attributes = [("k", AttributeValue::Text(&long))];
        let bytes = ServerSpan { name: &long, ..span(&attributes) }.encode();
        let text = String::from_utf8_lossy(&bytes);
        // One byte and 511 characters of two bytes.
        assert_eq!(text.matches('é').count(), 2 * 511);
        assert!(bytes.len() < 2 * MAX_TEXT + 200);
    }

    #[test]
    fn a_request_has_the_service_and_all_spans() {
        let request = export_request("shop", &[b"\x12\x01a", b"\x12\x01b"]);
        // The outer message is one field that has the rest; its length takes two bytes.
        let length = usize::from(request[1] & 0x7f) | usize::from(request[2]) << 7;
        assert_eq!((request[0], length), (0x0a, request.len() - 3));
        assert!(request.ends_with(b"\x0a\x0a\x0a\x08portolan\x12\x01a\x12\x01b"), "{request:?}");
        let name = b"\x0a\x0cservice.name\x12\x06\x0a\x04shop";
        assert!(request.windows(name.len()).any(|window| window == name), "{request:?}");
    }
}
