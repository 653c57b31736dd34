//! HTTP/1 connections: hyper's server, responses to refused heads, and switched protocols.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use ingress_wire::request_head::MAX_HEAD;
use telemetry::causes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::client::closing::{CLOSING_TIMEOUT, linger, write_last};
use crate::client::connection::{ClientConnection, Upgrade};
use crate::client::connection_state::ConnectionState;
use crate::client::pages;
use crate::client::stream::ClientStream;
use crate::io::boxed::boxed;
use crate::io::buffers::ChargedBytes;
use crate::io::clock::WaitingFor;
use crate::io::splice::splice;
use crate::observe::access_log::{AccessRecord, RequestId};

/// Serves a connection until it ends. An idle connection waits without hyper's buffers.
pub(super) async fn serve<S, H, B>(
    client: Rc<ClientConnection>,
    mut io: ClientStream<S>,
    state: &Rc<ConnectionState>,
    handler: H,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = ChargedBytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    state.release_buffers_when_idle();
    while first_byte(&client, &mut io, state).await {
        match boxed(|| requests(&client, io, state, handler.clone())).await {
            Some(idle) => io = idle,
            None => return,
        }
    }
}

/// Waits for the first byte of a request; false if the connection ends before it.
async fn first_byte<S>(client: &ClientConnection, io: &mut ClientStream<S>, state: &ConnectionState) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let worker = &client.worker;
    std::future::poll_fn(|cx| match io.poll_first_byte(cx) {
        Poll::Ready(result) => Poll::Ready(result.unwrap_or(false)),
        Poll::Pending => {
            if worker.is_stopping() {
                state.stop();
            }
            let expired = state.timer.poll_expired(cx);
            if expired || worker.is_forced() { Poll::Ready(false) } else { Poll::Pending }
        }
    })
    .await
}

/// Why hyper no longer serves a connection.
enum Served {
    /// hyper has ended.
    Ended(hyper::Result<()>),
    /// The connection is idle and needs no buffers.
    Idle,
    /// A timeout has expired, or the proxy closes all connections.
    Cut,
}

/// Serves requests. Returns the stream if the connection has become idle.
async fn requests<S, H, B>(
    client: &Rc<ClientConnection>,
    io: ClientStream<S>,
    state: &Rc<ConnectionState>,
    handler: H,
) -> Option<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = ChargedBytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let worker = &client.worker;
    // A client that closes its sending side counts as gone, as with nginx: there are no half-closed connections.
    let mut connection = http1::Builder::new()
        .half_close(false)
        .title_case_headers(true)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(io, handler);
    let served = std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Served::Ended(result));
        }
        // Not hyper's graceful shutdown: it closes an idle connection at once, although a request may be on its way.
        if worker.is_stopping() {
            state.stop();
        }
        if worker.is_forced() {
            return Poll::Ready(Served::Cut);
        }
        if !state.timer.poll_expired(cx) || state.timer.waiting_for() == WaitingFor::Upstream {
            return Poll::Pending;
        }
        Poll::Ready(if state.wait_without_buffers() { Served::Idle } else { Served::Cut })
    });
    let served = served.await;
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    match served {
        Served::Ended(result) => end(client, io, read_buf, result, state).await,
        Served::Idle => return io.into_idle(&read_buf),
        Served::Cut => {}
    }
    None
}

/// Completes a connection after hyper has ended: responds to a refused head, or serves the protocol that the connection has
/// switched to.
async fn end<S>(
    client: &ClientConnection,
    io: ClientStream<S>,
    read_buf: Bytes,
    result: hyper::Result<()>,
    state: &ConnectionState,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(error) = &result {
        tracing::debug!(client = %client.peer_ip, error = causes(error), "a connection ended early");
    }
    let upgrade = client.upgrade.borrow_mut().take();
    if let Some(upgrade) = upgrade {
        return boxed(|| switched(client, io, read_buf, upgrade)).await;
    }
    let mid_body = io.is_mid_body();
    let (mut stream, ..) = io.into_parts();
    if let Some(refusal) = state.refusal() {
        let (status, page) = pages::refusal(refusal, SystemTime::now());
        let body =
            page.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |end| page.len() - end - 4);
        let (head, body) = ((page.len() - body) as u64, body as u64);
        client.worker.finish(refused(client, state.refused(), status, (head, body)));
        let _ = tokio::time::timeout(CLOSING_TIMEOUT, write_last(&mut stream, &page)).await;
    } else if mid_body && result.is_ok() {
        let worker = &client.worker;
        let closing = async {
            tokio::select! {
                () = linger(&mut stream) => {}
                () = worker.drain.forced() => {}
            }
        };
        // On the heap, because few connections need it.
        Box::pin(closing).await;
    }
}

/// The access log record of a request with a refused head.
fn refused(
    client: &ClientConnection,
    line: Bytes,
    status: http::StatusCode,
    (sent_head, sent): (u64, u64),
) -> AccessRecord {
    let random = || client.worker.random();
    AccessRecord {
        started: Instant::now(),
        client: client.peer_ip.clone(),
        head_bytes: line.len() as u64,
        line,
        body_bytes: 0,
        exchange: None,
        route: None,
        canary: None,
        attempts: Default::default(),
        request_id: RequestId::of(&http::HeaderMap::new(), random),
        status: status.as_u16(),
        sent_head,
        sent,
        silent: false,
    }
}

/// Copies bytes between client and endpoint after 101, until both have ended or the proxy closes all connections.
async fn switched<S>(client: &ClientConnection, io: ClientStream<S>, read: Bytes, upgrade: Upgrade)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let worker = &client.worker;
    let Upgrade { request, mut guard } = upgrade;
    let (mut client, checked, read_buffer) = io.into_parts();
    let (mut endpoint, _slot, reply) = request.into_upgraded();
    let early = [read, checked, read_buffer].concat().into();
    let timer = worker.clock.timer();
    let idle = worker.options.proxy_read_timeout.max(worker.options.proxy_send_timeout);
    let time = (&*worker.clock, &timer, idle);
    let is_cut = || worker.is_forced();
    let transferred = splice((&mut client, early), (&mut endpoint, reply), time, is_cut).await;
    guard.sent = transferred.to_client;
    if let Some(one) = guard.attempts.last_mut() {
        one.received = transferred.to_client;
        one.ended = Some(one.started.elapsed());
    }
}
