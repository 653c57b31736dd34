//! A client's connection from the accept to its end: TLS, HTTP/1 or HTTP/2, a change of protocol, and the close.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use ingress_routes::Scheme;
use net::DrainToken;
use rustls::ServerConfig;
use telemetry::causes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::client::connection_state::{ConnectionState, Waiting};
use crate::client::pages;
use crate::client::stream::ClientStream;
use crate::exchange::client_connection::{ClientConnection, Upgrade};
use crate::exchange::response_body::ResponseBody;
use crate::exchange::serve::serve;
use crate::io::splice::splice;
use crate::observe::access_log::{AccessRecord, RequestId};
use crate::state::worker::Worker;
use crate::wire::request_head::{HeadError, MAX_HEAD};

/// How much of a response waits in a stream of HTTP/2: a client may stall as many streams as it may have.
const STREAM_BUFFER: usize = 64 * 1024;
/// How long the last words to a client may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How much of what nobody wants is read so that the client sees the answer before a reset.
const LINGER: usize = 1 << 20;

/// What accepted it.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The port that endpoints are told.
    pub(crate) port: u16,
}

/// Serves a connection until it ends.
pub(crate) async fn connection(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: Listener,
    _open: Open,
) {
    worker.connections.handled.inc();
    worker.connections.active.inc();
    // Responses leave at once, however small.
    let _ = stream.set_nodelay(true);
    let scheme = if listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let client = ClientConnection {
        worker: worker.clone(),
        peer,
        peer_ip: peer.ip().to_canonical().to_string().into(),
        scheme,
        port: listener.port,
        state: None,
        stream: None.into(),
        requests: Cell::default(),
        open_requests: Rc::default(),
        upgrade: None.into(),
    };
    match listener.tls {
        None => http(client, stream, None).await,
        Some(config) => match handshake(&worker, tls(stream, config)).await {
            Some(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(net::tls::H2);
                http(client, stream, Some(h2)).await;
            }
            Some(Err(error)) => {
                tracing::debug!(client = %client.peer_ip, error = causes(&error), "a TLS handshake failed");
            }
            None => tracing::debug!(client = %client.peer_ip, "a TLS handshake took too long"),
        },
    }
    worker.connections.active.dec();
}

/// A handshake that has the time of a head; after the word to stop, that of some last words.
async fn handshake<T>(worker: &Worker, handshake: impl Future<Output = T>) -> Option<T> {
    let (mut handshake, mut told) = (std::pin::pin!(handshake), false);
    let timer = worker.clock.timer();
    worker.clock.arm(&timer, worker.options.client_header_timeout);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if worker.is_stopping() && !std::mem::replace(&mut told, true) {
            worker.clock.arm(&timer, LAST_WORDS);
        }
        if timer.poll_expired(cx) || worker.is_forced() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn tls(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    // A request without TLS starts with the letter of a method, a handshake with record type 22.
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        let (_, page) = pages::refusal(HeadError::PlainHttp, SystemTime::now());
        say(&mut stream, &page).await;
        return Err(io::ErrorKind::InvalidData.into());
    }
    TlsAcceptor::from(config).accept(stream).await
}

/// HTTP over a stream. `h2` is what TLS agreed on; without TLS the first bytes tell.
async fn http<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    mut client: ClientConnection,
    stream: S,
    h2: Option<bool>,
) {
    let worker = client.worker.clone();
    let options = &worker.options;
    let reading = worker.connections.reading.clone();
    let state = ConnectionState::new(
        worker.clock.clone(),
        options.client_header_timeout,
        options.client_send_timeout,
        reading,
    );
    let mut io = ClientStream::new(stream, state.clone());
    let h2 = match h2 {
        Some(h2) => h2,
        None if !options.http2 => false,
        None => {
            let first = std::future::poll_fn(|cx| match io.poll_is_h2(cx) {
                Poll::Ready(result) => Poll::Ready(result.ok()),
                Poll::Pending => {
                    if worker.is_stopping() {
                        state.stop();
                    }
                    if state.timer.poll_expired(cx) { Poll::Ready(None) } else { Poll::Pending }
                }
            });
            let Some(h2) = first.await else { return };
            h2
        }
    };
    if h2 {
        io.pass_all();
        return http2(Rc::new(client), io, &state).await;
    }
    client.state = Some(state.clone());
    http1(Rc::new(client), io, &state).await;
}

/// The service that hyper calls.
struct Handler(Rc<ClientConnection>);

impl Service<Request<Incoming>> for Handler {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(serve(self.0.clone(), request))
    }
}

async fn http1<S>(client: Rc<ClientConnection>, io: ClientStream<S>, state: &Rc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let worker = &client.worker;
    // A client that closes its side while it waits has gone, as with nginx: no half-closed connections.
    let mut connection = http1::Builder::new()
        .half_close(false)
        .title_case_headers(true)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(io, Handler(client.clone()));
    let ended = std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Some(result));
        }
        // hyper's own graceful shutdown would close at once what is idle, with a request on its way perhaps.
        if worker.is_stopping() {
            state.stop();
        }
        let expired = state.timer.poll_expired(cx) && state.waiting() != Waiting::Upstream;
        if expired || worker.is_forced() { Poll::Ready(None) } else { Poll::Pending }
    });
    let Some(result) = ended.await else { return };
    if let Err(error) = &result {
        tracing::debug!(client = %client.peer_ip, error = causes(error), "a connection ended early");
    }
    let parts = connection.into_parts();
    let upgrade = client.upgrade.borrow_mut().take();
    if let Some(upgrade) = upgrade {
        return switched(&client, parts.io, parts.read_buf, upgrade).await;
    }
    let mid_body = parts.io.is_mid_body();
    let (mut stream, ..) = parts.io.into_parts();
    if let Some(refusal) = state.refusal() {
        let (status, page) = pages::refusal(refusal, SystemTime::now());
        let body =
            page.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |end| page.len() - end - 4);
        let (head, body) = ((page.len() - body) as u64, body as u64);
        worker.finish(refused(&client, state.refused(), status, (head, body)));
        let _ = tokio::time::timeout(LAST_WORDS, say(&mut stream, &page)).await;
    } else if mid_body && result.is_ok() {
        let _ = tokio::time::timeout(LAST_WORDS, linger(&mut stream)).await;
    }
}

/// A request that was refused before it was understood, as nginx logs it.
fn refused(
    client: &ClientConnection,
    line: bytes::Bytes,
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

/// Passes bytes between client and endpoint after 101, until both are done, or the last moment of a stop.
async fn switched<S>(client: &ClientConnection, io: ClientStream<S>, read: bytes::Bytes, upgrade: Upgrade)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let worker = &client.worker;
    let Upgrade { request, mut guard } = upgrade;
    let (mut client, cleared, read_buffer) = io.into_parts();
    let (mut endpoint, reply) = request.into_upgraded();
    let early = [read, cleared, read_buffer].concat().into();
    let timer = worker.clock.timer();
    let idle = worker.options.proxy_read_timeout.max(worker.options.proxy_send_timeout);
    let time = (&*worker.clock, &timer, idle);
    let is_cut = || worker.is_forced();
    let passed = splice((&mut client, early), (&mut endpoint, reply), time, is_cut).await;
    guard.sent = passed.to_client;
    if let Some(one) = guard.attempts.last_mut() {
        one.received = passed.to_client;
        one.ended = Some(one.started.elapsed());
    }
}

async fn http2<S>(client: Rc<ClientConnection>, io: ClientStream<S>, state: &Rc<ConnectionState>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let worker = &client.worker;
    let options = &worker.options;
    let connection = http2::Builder::new(StreamExecutor(client.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.http2_max_concurrent_streams)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(STREAM_BUFFER)
        // A peer that has gone without a word would keep its streams for ever.
        .keep_alive_interval(options.client_send_timeout)
        .serve_connection(io, Handler(client.clone()));
    let mut connection = std::pin::pin!(connection);
    let (mut told, mut seen) = (false, 0);
    state.rest(options.keep_alive);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if let Err(error) = result {
                tracing::debug!(client = %client.peer_ip, error = causes(&error), "a connection ended early");
            }
            return Poll::Ready(());
        }
        let requests = client.requests.get();
        let mut idle = state.timer.poll_expired(cx);
        if idle && (client.open_requests.get() > 0 || seen != requests) {
            // It was busy in between: it may be idle for up to twice the time, which nobody minds.
            (idle, seen) = (false, requests);
            state.rest(if told { LAST_WORDS } else { options.keep_alive });
            state.timer.poll_expired(cx);
        }
        if worker.is_forced() || idle && told {
            return Poll::Ready(());
        }
        if !told && (idle || requests >= options.keep_alive_requests || worker.is_stopping()) {
            (told, seen) = (true, requests);
            connection.as_mut().graceful_shutdown();
            state.rest(LAST_WORDS);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// Runs HTTP/2's streams on this thread.
#[derive(Clone)]
struct StreamExecutor(Rc<ClientConnection>);

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let client = self.0.clone();
        let Worker { clock, options, connections, .. } = &*client.worker;
        let reading = connections.reading.clone();
        let state = ConnectionState::of_stream(clock.clone(), options.client_send_timeout, reading);
        tokio::task::spawn_local(async move {
            let mut future = std::pin::pin!(future);
            std::future::poll_fn(|cx| {
                client.stream.replace(Some(state.clone()));
                let polled = future.as_mut().poll(cx);
                client.stream.replace(None);
                // A client that takes the others and not this one would keep its endpoint busy for ever.
                let stalled = state.waiting() == Waiting::Client && state.timer.poll_expired(cx);
                if polled.is_ready() || stalled { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }
}

/// Says the last words and waits until the client has had a chance to read them.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, words: &[u8]) {
    if stream.write_all(words).await.is_ok() {
        let _ = stream.shutdown().await;
        linger(stream).await;
    }
}

/// Reads what the client still sends: closing on unread bytes would reset the connection and take the answer with it.
async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut sink = [0; 4096];
    let mut left = LINGER;
    while let Ok(length) = stream.read(&mut sink).await {
        left = left.saturating_sub(length);
        if length == 0 || left == 0 {
            return;
        }
    }
}
