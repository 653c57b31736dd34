//! A collector of spans: OTLP over gRPC, decoded by hand from the definitions of opentelemetry-proto.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpListener;

use crate::support::TEST_TIMEOUT;

/// A span as the collector has received it; numbers are hexadecimal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectedSpan {
    pub service: String,
    pub trace: String,
    pub span: String,
    pub parent: String,
    pub state: String,
    pub name: String,
    pub kind: u64,
    pub began: u64,
    pub ended: u64,
    /// Texts and numbers.
    pub attributes: BTreeMap<String, String>,
    /// The code of its status.
    pub status: u64,
}

/// A running collector.
pub struct Collector {
    pub address: SocketAddr,
    batches: mpsc::Receiver<Vec<CollectedSpan>>,
}

impl Collector {
    pub fn start() -> Self {
        Self::answering("0")
    }

    /// A collector that does not answer connections before `open` has a message.
    pub fn start_after(open: mpsc::Receiver<()>) -> Self {
        // An error: the test has ended.
        Self::start_with("0", move || open.recv().unwrap_or_default())
    }

    /// A collector that answers every call with this gRPC status.
    pub fn answering(status: &'static str) -> Self {
        Self::start_with(status, || ())
    }

    fn start_with(status: &'static str, wait: impl FnOnce() + Send + 'static) -> Self {
        let (sender, batches) = mpsc::channel();
        let (bound, address) = mpsc::channel();
        // Ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                wait();
                while let Ok((stream, _)) = listener.accept().await {
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            tokio::spawn(answer(request, respond, sender.clone(), status));
                        }
                    });
                }
            });
        });
        Self { address: address.recv().unwrap(), batches }
    }

    /// The keys of the ConfigMap that lead here, with a short delay.
    pub fn keys(&self) -> [(&'static str, String); 3] {
        [
            ("otlp-collector-host", self.address.ip().to_string()),
            ("otlp-collector-port", self.address.port().to_string()),
            ("otel-schedule-delay-millis", "10".to_owned()),
        ]
    }

    /// Waits for the spans of the next call.
    pub fn batch(&self) -> Vec<CollectedSpan> {
        self.batches.recv_timeout(TEST_TIMEOUT).expect("the proxy sends spans")
    }

    /// Waits for a span that comes alone.
    pub fn span(&self) -> CollectedSpan {
        let mut batch = self.batch();
        assert_eq!(batch.len(), 1, "{batch:?}");
        batch.remove(0)
    }

    /// The spans that have come and were not taken.
    pub fn others(&self) -> Vec<CollectedSpan> {
        self.batches.try_iter().flatten().collect()
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    sender: mpsc::Sender<Vec<CollectedSpan>>,
    status: &'static str,
) {
    let (head, mut body) = request.into_parts();
    assert_eq!(head.uri.path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(
        (&head.headers["content-type"], &head.headers["te"]),
        (&HeaderValue::from_static("application/grpc"), &HeaderValue::from_static("trailers"))
    );
    let mut received = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        received.extend_from_slice(&piece);
    }
    let (prefix, message) = received.split_at(5);
    assert_eq!(prefix, [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
    let _ = sender.send(spans(message));
    let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    stream.send_trailers(trailers).unwrap();
}

/// A field of a message.
enum Field<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

impl<'m> Field<'m> {
    fn number(&self) -> u64 {
        let Self::Number(number) = self else { panic!("a number was expected") };
        *number
    }

    fn bytes(&self) -> &'m [u8] {
        let Self::Bytes(bytes) = self else { panic!("bytes were expected") };
        bytes
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn digits(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The fields of a message in protobuf's encoding: numbers and values, in order.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(message.split_off(..8).unwrap().try_into().unwrap())),
            2 => {
                let length = varint(&mut message) as usize;
                Field::Bytes(message.split_off(..length).unwrap())
            }
            5 => {
                Field::Number(u32::from_le_bytes(message.split_off(..4).unwrap().try_into().unwrap()).into())
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = *message.split_off_first().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The values of a field that may be repeated.
fn all<'m>(message: &'m [u8], wanted: u64) -> impl Iterator<Item = Field<'m>> {
    fields(message).into_iter().filter(move |(number, _)| *number == wanted).map(|(_, value)| value)
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(message: &[u8]) -> Vec<CollectedSpan> {
    let mut found = Vec::new();
    for resource_spans in all(message, 1) {
        let resource = all(resource_spans.bytes(), 1).next().unwrap();
        let service = attributes(resource.bytes(), 1).remove("service.name").unwrap();
        for scope_spans in all(resource_spans.bytes(), 2) {
            found.extend(all(scope_spans.bytes(), 2).map(|field| span(field.bytes(), &service)));
        }
    }
    found
}

fn span(message: &[u8], service: &str) -> CollectedSpan {
    let mut span = CollectedSpan { service: service.to_owned(), ..CollectedSpan::default() };
    for (number, field) in fields(message) {
        match number {
            1 => span.trace = field.digits(),
            2 => span.span = field.digits(),
            3 => span.state = field.text(),
            4 => span.parent = field.digits(),
            5 => span.name = field.text(),
            6 => span.kind = field.number(),
            7 => span.began = field.number(),
            8 => span.ended = field.number(),
            9 | 16 => {}
            15 => span.status = all(field.bytes(), 3).next().unwrap().number(),
            other => panic!("field {other} of a span"),
        }
    }
    span.attributes = attributes(message, 9);
    span
}

/// The attributes in a field of a message.
fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let pair = |field: Field<'_>| {
        let name = all(field.bytes(), 1).next().unwrap().text();
        let any = all(field.bytes(), 2).next().unwrap();
        let value = match fields(any.bytes()).remove(0) {
            (1, text) => text.text(),
            (3, number) => number.number().to_string(),
            (other, _) => panic!("field {other} of a value"),
        };
        (name, value)
    };
    all(message, number).map(pair).collect()
}
