//! HTTP/2 connections: hyper's server, a task for each stream, idle time and shutdown.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use telemetry::causes;

use crate::client::closing::CLOSING_TIMEOUT;
use crate::client::connection::ClientConnection;
use crate::client::connection_state::ConnectionState;
use crate::client::http2_stream::Http2Stream;
use crate::client::request::{ClientRequest, ClientResponse, RequestHandler};
use crate::client::response_body::ResponseBody;
use crate::client::response_head::WrittenHead;
use crate::io::buffers::UPLOAD_WINDOW;
use crate::io::clock::WaitingFor;
use crate::upstream::request_body::RequestBodySource;

/// How many bytes of a response a stream buffers. A client may stall all its streams at once.
const STREAM_BUFFER: usize = 64 * 1024;

/// How long after GOAWAY a client may begin requests, because it may not have read it yet.
const GOAWAY_GRACE: Duration = Duration::from_secs(1);

/// The progress of a graceful shutdown (RFC 9113 §6.8).
///
/// hyper's first GOAWAY allows every stream. hyper refuses new streams only after the client has acknowledged a PING, so a
/// client that does not acknowledge it could open streams for ever. Requests that begin within [`GOAWAY_GRACE`] are answered,
/// however long they take. Later ones are late: they do not keep the connection open, and too many of them end it at once.
enum Goaway {
    NotSent,
    Sent,
    /// GOAWAY was sent more than [`GOAWAY_GRACE`] ago: requests that begin now are late.
    LastCall,
}

/// Serves a connection until it ends.
pub(super) async fn serve<H: RequestHandler>(
    client: Rc<ClientConnection>,
    stream: Http2Stream,
    state: &Rc<ConnectionState>,
    handler: H,
) {
    let worker = &client.worker;
    let settings = worker.settings().clone();
    let connection = http2::Builder::new(StreamExecutor(client.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.connections.http2_max_concurrent_streams)
        // h2 adds 32 bytes to each field; the handler counts as nginx does.
        .max_header_list_size(4 * worker.head_limits().head as u32)
        .max_send_buf_size(STREAM_BUFFER)
        .initial_stream_window_size(UPLOAD_WINDOW)
        .initial_connection_window_size(UPLOAD_WINDOW)
        // Detects a client that has disappeared, which would keep its streams for ever.
        .keep_alive_interval(settings.connections.client_send_timeout)
        .serve_connection(stream, StreamService { client: client.clone(), handler });
    let mut connection = std::pin::pin!(connection);
    let (mut goaway, mut seen) = (Goaway::NotSent, 0);
    state.rest(worker.settings().connections.keep_alive);
    std::future::poll_fn(|cx| {
        let _scope = worker.clock.poll_scope();
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if state.is_flooded() {
                worker.limits.flood.inc();
                tracing::debug!(client = %client.peer_ip, "a flood of frames");
            } else if let Err(error) = result {
                tracing::debug!(client = %client.peer_ip, error = causes(&error), "a connection ended early");
            }
            return Poll::Ready(());
        }
        if worker.is_forced() {
            return Poll::Ready(());
        }
        let requests = client.requests.get();
        let expired = state.timer.poll_expired(cx);
        match goaway {
            Goaway::NotSent => {
                let mut idle = expired;
                if idle && (client.entry.open_requests() > 0 || seen != requests) {
                    // There were requests since the timer was set. It starts again, so the connection may be idle for up to
                    // twice the time.
                    (idle, seen) = (false, requests);
                    state.rest(worker.settings().connections.keep_alive);
                    state.timer.poll_expired(cx);
                }
                if idle
                    || requests >= worker.settings().connections.keep_alive_requests
                    || worker.is_stopping()
                {
                    goaway = Goaway::Sent;
                    connection.as_mut().graceful_shutdown();
                    state.set_deadline(GOAWAY_GRACE);
                    cx.waker().wake_by_ref();
                }
            }
            Goaway::Sent if expired => {
                goaway = Goaway::LastCall;
                client.entry.set_last_call();
                state.set_deadline(CLOSING_TIMEOUT);
                state.timer.poll_expired(cx);
            }
            Goaway::LastCall if expired => {
                if client.entry.open_timely_requests() == 0 {
                    if client.entry.late_requests() > 0 {
                        worker.limits.goaway.inc();
                    }
                    return Poll::Ready(());
                }
                state.set_deadline(CLOSING_TIMEOUT);
                state.timer.poll_expired(cx);
            }
            Goaway::Sent | Goaway::LastCall => {}
        }
        if client.entry.late_requests() > settings.connections.http2_max_concurrent_streams {
            worker.limits.goaway.inc();
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Has the request of each stream handled.
struct StreamService<H> {
    client: Rc<ClientConnection>,
    handler: H,
}

impl<H: RequestHandler> Service<Request<Incoming>> for StreamService<H> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (client, handler) = (self.client.clone(), self.handler);
        let request = client_request(&client, request);
        Box::pin(async move {
            let ClientResponse { head, body } = handler.handle(&client, request).await;
            Ok(match head {
                WrittenHead::Http2(parts) => Response::from_parts(*parts, body),
                WrittenHead::Http1(_) => unreachable!("the client speaks HTTP/2"),
            })
        })
    }
}

/// The request with a head of the same kind as that of HTTP/1.
fn client_request(client: &ClientConnection, request: Request<Incoming>) -> ClientRequest {
    let (parts, body) = request.into_parts();
    let (worker, has_body) = (&client.worker, !body.is_end_stream());
    let mut head = worker.request();
    let buffer = &mut *worker.send_buffer.borrow_mut();
    let assigned = head.assign_h2(&parts, has_body, buffer, &worker.head_limits());
    let head = assigned.map(|()| head).map_err(|refusal| {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        (refusal, format!("{} {target} HTTP/2.0", parts.method).into())
    });
    ClientRequest { head, body: RequestBodySource::Http2(body) }
}

/// Runs each stream as a task of this thread, with a timer of its own.
#[derive(Clone)]
struct StreamExecutor(Rc<ClientConnection>);

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let client = self.0.clone();
        let timer = client.worker.clock.timer();
        timer.set_waiting_for(WaitingFor::Upstream);
        // Boxed first: the task would otherwise reserve memory for the future twice.
        let mut future = Box::pin(future);
        tokio::task::spawn_local(async move {
            let _report = PanicReport(&client);
            std::future::poll_fn(|cx| {
                let _scope = client.worker.clock.poll_scope();
                client.stream_timer.replace(Some(timer.clone()));
                let polled = future.as_mut().poll(cx);
                client.stream_timer.replace(None);
                // A client that reads its other streams but not this one must not keep the endpoint busy for ever.
                let stalled = timer.waiting_for() == WaitingFor::Client && timer.poll_expired(cx);
                if polled.is_ready() || stalled { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }
}

/// Reports a panic of a stream.
struct PanicReport<'a>(&'a ClientConnection);

impl Drop for PanicReport<'_> {
    fn drop(&mut self) {
        self.0.worker.report_panic();
    }
}
