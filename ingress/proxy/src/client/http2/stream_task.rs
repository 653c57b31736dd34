//! One request on an HTTP/2 connection: a task that has it handled and sends the response.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Request, Response, response};

use crate::client::connection::ClientConnection;
use crate::client::request::{ClientRequest, ClientResponse, RequestHandler};
use crate::client::response_body::ResponseBody;
use crate::client::response_head::WrittenHead;
use crate::io::boxed::boxed;
use crate::io::buffers::ChargedBytes;
use crate::io::clock::{Timer, WaitingFor};
use crate::upstream::request_body::RequestBodySource;
use crate::wire::http2_body::Http2Body;

/// The task of a stream, with a timer of its own.
struct StreamTask<F> {
    client: Rc<ClientConnection>,
    timer: Rc<Timer>,
    future: Pin<Box<F>>,
}

/// Starts the task of a stream on this thread.
pub(super) fn spawn<H: RequestHandler>(
    client: &Rc<ClientConnection>,
    handler: H,
    request: Request<RecvStream>,
    respond: SendResponse<ChargedBytes>,
) {
    let client = client.clone();
    let timer = client.worker.clock.timer();
    timer.set_waiting_for(WaitingFor::Upstream);
    let request = client_request(&client, request);
    let of_future = client.clone();
    // Boxed first: the task would otherwise reserve memory for the future twice.
    let future = boxed(|| serve(of_future, handler, request, respond));
    tokio::task::spawn_local(StreamTask { client, timer, future });
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { client, timer, future } = &mut *self;
        let _scope = client.worker.clock.poll_scope();
        client.stream_timer.replace(Some(timer.clone()));
        let polled = future.as_mut().poll(cx);
        client.stream_timer.replace(None);
        // A client that reads its other streams but not this one must not keep the endpoint busy for ever.
        let stalled = timer.waiting_for() == WaitingFor::Client && timer.poll_expired(cx);
        if polled.is_ready() || stalled { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<F> Drop for StreamTask<F> {
    fn drop(&mut self) {
        self.client.worker.report_panic();
    }
}

/// The request with a head of the same kind as that of HTTP/1.
fn client_request(client: &ClientConnection, request: Request<RecvStream>) -> ClientRequest {
    let (parts, body) = request.into_parts();
    let (worker, has_body) = (&client.worker, !body.is_end_stream());
    let mut head = worker.memory.request();
    let buffer = &mut *worker.send_buffer.borrow_mut();
    let assigned = head.assign_h2(&parts, has_body, buffer, &worker.head_limits());
    let head = assigned.map(|()| head).map_err(|refusal| {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        (refusal, format!("{} {target} HTTP/2.0", parts.method).into())
    });
    ClientRequest { head, body: RequestBodySource::Http2(Http2Body::new(body)) }
}

/// Has the request handled and sends the response. If it ends before the response has, h2 resets the stream.
async fn serve<H: RequestHandler>(
    client: Rc<ClientConnection>,
    handler: H,
    request: ClientRequest,
    mut respond: SendResponse<ChargedBytes>,
) {
    let mut handled = pin!(handler.handle(&client, request));
    let response = std::future::poll_fn(|cx| match handled.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        // The client cancels a request by resetting its stream.
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    });
    let Some(ClientResponse { head, body }) = response.await else { return };
    let WrittenHead::Http2(head) = head else { unreachable!("the client speaks HTTP/2") };
    let head = with_length(*head, &body);
    match respond.send_response(Response::from_parts(head, ()), body.is_over()) {
        Ok(_) if body.is_over() => {}
        Ok(stream) => {
            let mut sending = SendBody { stream, body, piece: None, fits: true };
            let mut sent = std::future::poll_fn(|cx| sending.poll(cx)).await;
            if sent.is_ok() && sending.has_to_wait(&client) {
                sent = sending.written(&client).await;
            }
            if let Err(error) = sent {
                tracing::debug!(client = %client.peer_ip, %error, "a stream ended early");
            }
        }
        Err(error) => {
            tracing::debug!(client = %client.peer_ip, %error, "a response could not be sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Adds the length of a body if it is known and not in the head.
fn with_length(mut head: response::Parts, body: &ResponseBody) -> response::Parts {
    if !body.is_over()
        && let Some(length) = body.length()
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    head
}

/// A body that is being sent.
struct SendBody {
    stream: SendStream<ChargedBytes>,
    body: ResponseBody,
    /// A piece that waits for the client's windows, and whether it is the last one.
    piece: Option<(ChargedBytes, bool)>,
    /// The client's windows had room for the last piece, and so for all before it.
    fits: bool,
}

/// How many bytes may wait on a connection for a response that they are part of to end before they are written: a response of usual size
/// then ends without being polled again.
const WRITTEN_LATER: usize = 32 * 1024;

impl SendBody {
    /// Sends until the client's windows or `STREAM_BUFFER` are full, or until h2 has the whole body.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            if self.piece.is_some() && self.poll_capacity(cx)?.is_pending() {
                // The client may read on only after its own body has been taken.
                self.body.poll_upload(cx);
                return Poll::Pending;
            }
            if let Some((data, is_last)) = self.piece.take() {
                if data.has_remaining() {
                    self.fits = data.remaining() <= self.stream.capacity();
                }
                self.stream.send_data(data, is_last)?;
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            // The next piece comes before its capacity: a reservation would take the connection's window from other streams for as
            // long as the endpoint sends nothing.
            match ready!(self.body.poll_charged(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if data.has_remaining() {
                            self.stream.reserve_capacity(data.remaining());
                        }
                        self.piece = Some((data, self.body.is_over()));
                    }
                    Err(frame) => {
                        self.stream.reserve_capacity(0);
                        self.stream.send_trailers(frame.into_trailers().unwrap_or_default())?;
                        return Poll::Ready(Ok(()));
                    }
                },
                Some(Err(error)) => {
                    self.stream.send_reset(error.reset_reason());
                    return Poll::Ready(Ok(()));
                }
                None => {
                    self.stream.send_data(Bytes::new().into(), true)?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Whether the request lasts until h2 has written the rest of the body. Without that, a connection that closes after its last request
    /// would cut the body off, and a client could leave it unread for ever.
    fn has_to_wait(&self, client: &ClientConnection) -> bool {
        let is_unwritten = self.body.charge().is_some_and(|charge| charge.bytes() > 0);
        is_unwritten && (!self.fits || client.entry.buffers.bytes() > WRITTEN_LATER)
    }

    /// Waits until h2 has written the body, as long as the client takes some of it within each `client_send_timeout`.
    async fn written(&mut self, client: &ClientConnection) -> Result<(), h2::Error> {
        self.body.end_upstream();
        let Some(charge) = self.body.charge().cloned() else { return Ok(()) };
        let (clock, timer) = (&client.worker.clock, client.timer());
        let timeout = client.worker.settings().connections.client_send_timeout;
        let mut left = charge.bytes();
        clock.wait_for_client(&timer, timeout);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            if timer.poll_expired(cx) {
                if charge.bytes() == left {
                    // Both sides of the stream may have ended, so dropping it would not reset it.
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Reason::CANCEL.into()));
                }
                left = charge.bytes();
                clock.wait_for_client(&timer, timeout);
                timer.poll_expired(cx);
            }
            charge.poll_written(cx).map(Ok)
        })
        .await
    }

    /// Waits until a part of the piece can be sent. h2 buffers the rest.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let is_empty = self.piece.as_ref().is_none_or(|(data, _)| !data.has_remaining());
        while !is_empty && self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(capacity) => capacity?,
                // The stream has ended.
                None => return Poll::Ready(Err(Reason::CANCEL.into())),
            };
        }
        Poll::Ready(Ok(()))
    }
}
