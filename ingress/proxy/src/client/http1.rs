//! HTTP/1 connections: one task reads a request, has it handled, writes the response, and waits for the next request.

use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use ingress_routes::RequestId;
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadError;
use tokio::io::AsyncWrite;

use crate::client::closing::{CLOSING_TIMEOUT, linger, write_last};
use crate::client::connection::ClientConnection;
use crate::client::connection_state::ConnectionState;
use crate::client::pages;
use crate::client::request::{ClientRequest, ClientResponse, RequestHandler};
use crate::client::response_head::{AfterResponse, Http1Head, WrittenHead};
use crate::client::send_response::SendResponse;
use crate::io::boxed::boxed;
use crate::io::clock::WaitingFor;
use crate::io::relay::relay;
use crate::observe::access_log::AccessRecord;
use crate::state::worker::Worker;
use crate::upstream::request_body::RequestBodySource;
use crate::wire::http1_stream::{Http1Stream, NextHead};

/// Serves a connection until it ends, a timeout expires, or the proxy closes all connections.
pub(super) async fn serve<H: RequestHandler>(client: Rc<ClientConnection>, handler: H) {
    let Some(http1) = &client.http1 else { return };
    let (worker, state) = (&client.worker, &*http1.state);
    let connection = Connection { client: &client, worker, stream: &http1.stream, state, handler };
    let mut serving = std::pin::pin!(connection.serve());
    let expired = std::future::poll_fn(|cx| {
        let _scope = worker.clock.poll_scope();
        // An idle connection is not closed at once, because a request may be on its way.
        if worker.is_stopping() {
            state.stop();
        }
        if serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        let expired = state.timer.poll_expired(cx) && state.timer.waiting_for() != WaitingFor::Upstream;
        if expired || worker.is_forced() { Poll::Ready(expired) } else { Poll::Pending }
    })
    .await;
    if expired && state.timer.waiting_for() == WaitingFor::Request {
        connection.log_incomplete_head(StatusCode::REQUEST_TIMEOUT);
    }
}

/// An HTTP/1 connection that is being served.
struct Connection<'a, H> {
    client: &'a Rc<ClientConnection>,
    worker: &'a Rc<Worker>,
    stream: &'a Rc<Http1Stream>,
    state: &'a ConnectionState,
    handler: H,
}

/// What happens between two requests.
enum NextRequest {
    Head(Box<ParsedRequest>),
    Refused(HeadError, Bytes),
    /// The connection has been idle for a while, and needs no buffers.
    Idle,
    End,
}

/// What happens after a response.
enum AfterRequest {
    NextRequest,
    Close,
    Switched(Box<SendResponse>),
    /// The response is incomplete, or the client has gone.
    End,
}

impl<H: RequestHandler> Connection<'_, H> {
    /// Serves the connection. While it is idle, it has no buffers, and no room for the state of requests.
    async fn serve(&self) {
        self.state.release_buffers_when_idle();
        while self.first_byte().await {
            let is_idle = boxed(|| self.requests()).await;
            if !is_idle {
                return;
            }
        }
    }

    /// Waits for the first byte of a request; false at the end of the connection.
    async fn first_byte(&self) -> bool {
        let first = std::future::poll_fn(|cx| self.stream.poll_first_byte(cx)).await;
        if self.stream.has_begun() {
            self.state.begin_head();
        }
        first.unwrap_or(false)
    }

    /// Serves requests; true if the connection has become idle, false if it has ended.
    async fn requests(&self) -> bool {
        loop {
            let head = match self.next_head().await {
                NextRequest::Head(head) => head,
                NextRequest::Refused(refusal, line) => {
                    boxed(|| self.refuse(refusal, line)).await;
                    return false;
                }
                NextRequest::Idle => return true,
                NextRequest::End => return false,
            };
            match self.respond(head).await {
                AfterRequest::NextRequest => {
                    let idle = self.worker.settings().connections.keep_alive;
                    self.state.end(idle);
                }
                AfterRequest::Close => {
                    self.close().await;
                    return false;
                }
                AfterRequest::Switched(response) => {
                    boxed(|| self.switch(response)).await;
                    return false;
                }
                AfterRequest::End => return false,
            }
        }
    }

    /// Waits for the next head.
    async fn next_head(&self) -> NextRequest {
        let (stream, state) = (self.stream, self.state);
        let mut head = self.worker.memory.request();
        let next = std::future::poll_fn(|cx| {
            let next = stream.poll_head(cx, &mut head);
            if next.is_pending() {
                if stream.has_begun() {
                    state.begin_head();
                }
                state.reads(stream.is_mid_head());
                if state.timer.poll_expired(cx) && state.wait_without_buffers() {
                    stream.release_buffer();
                    return Poll::Ready(None);
                }
                return Poll::Pending;
            }
            state.reads(false);
            next.map(Some)
        })
        .await;
        let next = match next {
            Some(Ok(NextHead::Complete)) => return NextRequest::Head(head),
            Some(Ok(NextHead::Refused(refusal, line))) => NextRequest::Refused(refusal, line),
            Some(Ok(NextHead::End) | Err(_)) => {
                self.log_incomplete_head(StatusCode::BAD_REQUEST);
                NextRequest::End
            }
            None => NextRequest::Idle,
        };
        self.worker.memory.recycle_request(head);
        next
    }

    /// Has a request handled and sends the response. Hot.
    async fn respond(&self, head: Box<ParsedRequest>) -> AfterRequest {
        let Self { client, stream, state, handler, .. } = self;
        state.begin();
        let request = ClientRequest { head: Ok(head), body: RequestBodySource::Http1((*stream).clone()) };
        // Set by the closure below, which would copy it as a result.
        let mut response = None;
        {
            let mut handling = std::pin::pin!(handler.handle(client, request));
            std::future::poll_fn(|cx| match handling.as_mut().poll(cx) {
                Poll::Ready(handled) => {
                    response = Some(handled);
                    Poll::Ready(())
                }
                Poll::Pending if client.waits_for_others.get() => Poll::Pending,
                Poll::Pending => stream.poll_closed(cx),
            })
            .await;
        }
        let Some(ClientResponse { head: WrittenHead::Http1(head), body }) = response else {
            return AfterRequest::End;
        };
        let Http1Head { bytes, framing, after } = head;
        if bytes.is_empty() {
            return AfterRequest::End;
        }
        state.wait_for_client();
        let mut sending = SendResponse::new(bytes, body, framing, client.entry.buffers.clone());
        let sent = std::future::poll_fn(|cx| sending.poll(cx, stream, state)).await;
        state.begin();
        if let Err(error) = sent {
            tracing::debug!(client = %client.peer_ip, %error, "a response was not sent to its end");
            return AfterRequest::End;
        }
        match after {
            AfterResponse::Upgrade => AfterRequest::Switched(Box::new(sending)),
            // The rest of the body was received with its beginning, unless the response has `Connection: close`.
            _ if after == AfterResponse::Close || !stream.discard_body() => AfterRequest::Close,
            _ => AfterRequest::NextRequest,
        }
    }

    /// Responds to a refused head with an error page and closes the connection.
    async fn refuse(&self, refusal: HeadError, line: Bytes) {
        self.state.begin();
        let (status, page) = pages::refusal(refusal, SystemTime::now());
        let body =
            page.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |end| page.len() - end - 4);
        let (head, body) = ((page.len() - body) as u64, body as u64);
        self.worker.finish(&mut self.refused(line, status, (head, body)), self.client.logged());
        let _ = tokio::time::timeout(CLOSING_TIMEOUT, write_last(&mut &**self.stream, &page)).await;
    }

    /// Logs a head of which only a part was received, as nginx does: with 408 after the timeout, with 400 if the client has closed the
    /// connection. No response is sent.
    fn log_incomplete_head(&self, status: StatusCode) {
        if let Some(line) = self.stream.incomplete_head() {
            self.worker.finish(&mut self.refused(line, status, (0, 0)), self.client.logged());
        }
    }

    /// The access log record of a request with a refused or incomplete head.
    fn refused(&self, line: Bytes, status: StatusCode, (sent_head, sent): (u64, u64)) -> AccessRecord {
        self.client.requests.set(self.client.requests.get() + 1);
        AccessRecord {
            head_bytes: line.len() as u64,
            request_id: RequestId::of(None, || self.worker.random()),
            status: status.as_u16(),
            sent_head,
            sent,
            refused_line: line,
            ..AccessRecord::new(self.worker.clock.instant(), self.client.peer_ip.clone())
        }
    }

    /// Closes the connection after its last response. What the client still sends is read before: else it could lose the response.
    async fn close(&self) {
        let has_more = !self.stream.discard_body() || self.stream.has_input();
        if !has_more && !self.stream.is_tls() {
            return;
        }
        // A client that takes nothing more is not waited for.
        std::future::poll_fn(|cx| {
            let _ = std::pin::Pin::new(&mut &**self.stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
        if has_more {
            boxed(|| linger_on(self.stream)).await;
        }
    }

    /// Copies bytes between client and endpoint after 101, until both have ended or the proxy closes all connections.
    async fn switch(&self, mut response: Box<SendResponse>) {
        let worker = self.worker;
        let Some(request) = response.body.take_switched() else { return };
        let early = self.stream.take_input();
        let timeouts = request.timeouts();
        let idle = timeouts.read.max(timeouts.send);
        let (mut endpoint, _slot, reply) = request.into_upgraded();
        let time = (&*worker.clock, &self.state.timer, idle);
        let is_cut = || worker.is_forced();
        let transferred = relay((&mut &**self.stream, early), (&mut endpoint, reply), time, is_cut).await;
        let guard = response.body.guard();
        guard.sent = transferred.to_client;
        if let Some(one) = guard.attempts.last_mut() {
            one.received = transferred.to_client;
            one.ended = Some(one.started.elapsed());
        }
    }
}

async fn linger_on(stream: &Http1Stream) {
    linger(&mut &*stream).await;
}
