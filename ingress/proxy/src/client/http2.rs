//! HTTP/2 connections: h2's server, a task for each stream, idle time and shutdown.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use telemetry::causes;

use crate::client::closing::CLOSING_TIMEOUT;
use crate::client::connection::ClientConnection;
use crate::client::connection_state::ConnectionState;
use crate::client::http2_stream::Http2Stream;
use crate::client::request::RequestHandler;

mod liveness;
mod server_connection;
mod stream_task;

use server_connection::ServerConnection;

/// How long after GOAWAY a client may begin requests, because it may not have read it yet.
const GOAWAY_GRACE: Duration = Duration::from_secs(1);

/// The progress of a graceful shutdown (RFC 9113 §6.8).
///
/// h2's first GOAWAY allows every stream. h2 refuses new streams only after the client has acknowledged a PING, so a
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
    let most_late = worker.settings().connections.http2_max_concurrent_streams;
    let mut connection = ServerConnection::new(&client, &stream);
    let (mut goaway, mut seen, mut sent_before) = (Goaway::NotSent, 0, 0);
    state.rest(worker.settings().connections.keep_alive);
    std::future::poll_fn(|cx| {
        let _scope = worker.clock.poll_scope();
        stream.begin_poll();
        if poll_requests(&mut connection, cx, &client, handler).is_ready() {
            if state.is_flooded() {
                worker.limits.flood.inc();
                tracing::debug!(client = %client.peer_ip, "a flood of frames");
            }
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(error)) = stream.poll_send(cx) {
            tracing::debug!(client = %client.peer_ip, error = causes(&error), "a connection ended early");
            return Poll::Ready(());
        }
        if worker.is_forced() || connection.poll_gone(cx) {
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
                    connection.close();
                    state.set_deadline(GOAWAY_GRACE);
                    cx.waker().wake_by_ref();
                }
            }
            Goaway::Sent if expired => {
                goaway = Goaway::LastCall;
                sent_before = stream.sent();
                client.entry.set_last_call();
                state.set_deadline(CLOSING_TIMEOUT);
                state.timer.poll_expired(cx);
            }
            Goaway::LastCall if expired => {
                // Small responses end before they are written. A client that begins late requests does not get more time for them.
                let sent = stream.sent();
                let is_reading = state.write_blocked.get() && sent > sent_before;
                let is_waiting = client.entry.late_requests() == 0 && is_reading;
                sent_before = sent;
                if client.entry.open_timely_requests() == 0 && !is_waiting {
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
        if client.entry.late_requests() > most_late {
            worker.limits.goaway.inc();
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Starts a task for each request that has arrived. Ready once the connection has ended.
fn poll_requests<H: RequestHandler>(
    connection: &mut ServerConnection,
    cx: &mut Context<'_>,
    client: &Rc<ClientConnection>,
    handler: H,
) -> Poll<()> {
    while let Some(accepted) = std::task::ready!(connection.poll_accept(cx)) {
        match accepted {
            Ok((request, respond)) => stream_task::spawn(client, handler, request, respond),
            Err(error) => {
                tracing::debug!(client = %client.peer_ip, error = causes(&error), "a connection ended early");
                // h2 has limits of its own, such as on CONTINUATION frames and on requests that are reset at once.
                if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                    client.worker.limits.flood.inc();
                }
                return Poll::Ready(());
            }
        }
    }
    Poll::Ready(())
}
