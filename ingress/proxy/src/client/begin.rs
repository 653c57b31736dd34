//! HTTP on a byte stream: HTTP/1 or HTTP/2.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use ingress_routes::ConnectionSettings;

use crate::client::connection::{ClientConnection, Http1};
use crate::client::connection_state::ConnectionState;
use crate::client::http2_stream::Http2Stream;
use crate::client::request::RequestHandler;
use crate::client::{http1, http2};
use crate::io::boxed::boxed;
use crate::io::scratch;
use crate::io::transport_stream::ClientStream;
use crate::wire::http1_stream::Http1Stream;

/// What a client that speaks HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The rest of a connection's task: serves requests until the connection ends.
pub(crate) type ServeRequests = Pin<Box<dyn Future<Output = ()>>>;

/// Begins a connection: finds out its protocol. `h2` is what ALPN agreed on; without TLS the first bytes decide. `None` if the connection
/// has ended before that.
pub(crate) async fn begin<H: RequestHandler>(
    mut client: ClientConnection,
    mut stream: ClientStream,
    h2: Option<bool>,
    handler: H,
) -> Option<ServeRequests> {
    let worker = client.worker.clone();
    let ConnectionSettings { client_header_timeout, client_send_timeout, http2, .. } =
        worker.settings().connections;
    let reading = worker.connections.reading.clone();
    let state = ConnectionState::new(
        client.entry.clone(),
        worker.clock.clone(),
        client_header_timeout,
        client_send_timeout,
        reading,
    );
    let mut input = BytesMut::new();
    let h2 = match h2 {
        Some(h2) => h2,
        None if !http2 => false,
        None => {
            let first = std::future::poll_fn(|cx| match poll_is_h2(&mut stream, &mut input, cx) {
                Poll::Ready(h2) => Poll::Ready(Some(h2)),
                Poll::Pending => {
                    if worker.is_stopping() {
                        state.stop();
                    }
                    if state.timer.poll_expired(cx) { Poll::Ready(None) } else { Poll::Pending }
                }
            });
            first.await?
        }
    };
    if h2 {
        let client = Rc::new(client);
        let stream = Http2Stream::new(stream, input, state.clone());
        return Some(boxed(|| async move { http2::serve(client, stream, &state, handler).await }));
    }
    let stream = Rc::new(Http1Stream::with_limits(stream, input, worker.head_limits()));
    client.http1 = Some(Http1 { stream, state });
    Some(boxed(|| http1::serve(Rc::new(client), handler)))
}

/// Whether the client starts with HTTP/2's preface. What is read is added to `input`.
fn poll_is_h2(stream: &mut ClientStream, input: &mut BytesMut, cx: &mut Context<'_>) -> Poll<bool> {
    loop {
        let seen = input.len().min(PREFACE.len());
        if input[..seen] != PREFACE[..seen] {
            return Poll::Ready(false);
        }
        if seen == PREFACE.len() {
            return Poll::Ready(true);
        }
        let read = scratch::poll_read(stream, cx, |_, bytes| {
            input.extend_from_slice(bytes);
            bytes.len()
        });
        // The end of the stream is left to HTTP/1.
        if !matches!(ready!(read), Ok(length) if length > 0) {
            return Poll::Ready(false);
        }
    }
}
