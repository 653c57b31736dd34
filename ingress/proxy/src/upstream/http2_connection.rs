//! An HTTP/2 connection to an endpoint, which carries many requests at a time (RFC 9113 §5.1.2).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use ingress_routes::{KeepAlive, PoolKey};
use ingress_wire::response::MAX_RESPONSE_HEAD;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use crate::io::clock::Clock;
use crate::io::transport_stream::UpstreamStream;
use crate::upstream::connection::ConnectionKey;
use crate::upstream::limit::UpstreamSlot;

/// How many requests a connection carries at most; fewer where the endpoint allows fewer (SETTINGS_MAX_CONCURRENT_STREAMS).
pub(crate) const MAX_STREAMS: usize = 128;
/// How much of a response an endpoint may send that its request has not read: the flow-control window of a stream.
pub(super) const STREAM_WINDOW: usize = 32 * 1024;
/// How many bytes of a request's body wait to be written to the connection.
pub(super) const SEND_BUFFER: usize = 32 * 1024;

/// A connection that new requests may use. It is closed when it has left the pool and its last request has ended.
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    status: Rc<ConnectionStatus>,
    task: AbortHandle,
    pub(crate) key: ConnectionKey,
    /// The endpoints that it was opened for, see [`UpstreamConnection`](crate::upstream::connection::UpstreamConnection).
    pub(crate) pool: Option<PoolKey>,
    /// The address as text, for the log.
    pub(crate) name: Rc<str>,
    opened: u64,
    idle_since: Cell<u64>,
    streams: Cell<usize>,
    served: Cell<u32>,
}

/// The state that the task of a connection and its requests share.
struct ConnectionStatus {
    /// The connection has ended, or the endpoint takes no further requests on it.
    is_closed: Cell<bool>,
    /// When something was received, in milliseconds of the clock.
    last_read: Cell<u64>,
    clock: Rc<Clock>,
    slot: RefCell<Option<UpstreamSlot>>,
}

impl Http2Connection {
    /// Begins HTTP/2 on a new connection. A task of this thread drives it until it ends.
    pub(crate) async fn open(
        stream: UpstreamStream,
        slot: UpstreamSlot,
        key: ConnectionKey,
        pool: Option<PoolKey>,
        name: Rc<str>,
        clock: &Rc<Clock>,
    ) -> Result<Rc<Self>, h2::Error> {
        let now = clock.now();
        let status = Rc::new(ConnectionStatus {
            is_closed: Cell::new(false),
            last_read: Cell::new(now),
            clock: clock.clone(),
            slot: RefCell::new(Some(slot)),
        });
        let stream = ObservedStream { stream, status: status.clone() };
        let (sender, connection) = client::Builder::new()
            .enable_push(false)
            .max_header_list_size(MAX_RESPONSE_HEAD as u32)
            .initial_window_size(STREAM_WINDOW as u32)
            // The streams are limited one by one, so that one that is not read does not stop the others.
            .initial_connection_window_size((STREAM_WINDOW * MAX_STREAMS) as u32)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(stream)
            .await?;
        let ended = status.clone();
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection to an endpoint ended early");
            }
            ended.is_closed.set(true);
            ended.slot.take();
        });
        let (streams, served) = Default::default();
        let idle_since = Cell::new(now);
        let task = task.abort_handle();
        Ok(Rc::new(Self { sender, status, task, key, pool, name, opened: now, idle_since, streams, served }))
    }

    /// Whether another request may use it.
    pub(super) fn has_room(&self, now: u64, rules: &KeepAlive) -> bool {
        self.is_fresh(now, rules)
            && self.streams.get() < MAX_STREAMS.min(self.sender.current_max_send_streams())
            && self.served.get() < rules.requests
    }

    /// Whether it may be kept: it is open, and neither too old nor idle for too long.
    pub(super) fn is_fresh(&self, now: u64, rules: &KeepAlive) -> bool {
        let is_within =
            |since: u64, time: Duration| u128::from(now.saturating_sub(since)) <= time.as_millis();
        let is_open = !self.status.is_closed.get() && {
            let cx = &mut Context::from_waker(Waker::noop());
            !matches!(self.sender.clone().poll_ready(cx), Poll::Ready(Err(_)))
        };
        is_open
            && is_within(self.opened, rules.time)
            && (self.streams.get() > 0
                || rules.connections > 0 && is_within(self.idle_since.get(), rules.timeout))
    }

    /// Since when it has been idle; `None` while it has requests.
    pub(super) fn idle_since(&self) -> Option<u64> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// Closes it at once, with its requests.
    pub(super) fn close(&self) {
        self.status.is_closed.set(true);
        self.status.slot.take();
        self.task.abort();
    }

    /// A place for a request.
    pub(super) fn stream(self: &Rc<Self>) -> StreamSlot {
        let is_reused = self.served.get() > 0;
        self.streams.set(self.streams.get() + 1);
        self.served.set(self.served.get().saturating_add(1));
        StreamSlot { connection: self.clone(), is_reused, opened: self.status.clock.now() }
    }
}

/// A place for one request on a connection.
pub(crate) struct StreamSlot {
    connection: Rc<Http2Connection>,
    /// The connection has had another request.
    pub(crate) is_reused: bool,
    opened: u64,
}

impl StreamSlot {
    /// The endpoint's address as text.
    pub(crate) fn name(&self) -> &Rc<str> {
        &self.connection.name
    }

    /// The scheme of `:scheme`, which is that of the connection.
    pub(super) fn scheme(&self) -> &'static str {
        if self.connection.key.tls.is_some() { "https" } else { "http" }
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }

    /// No further request may use the connection.
    pub(super) fn retire_connection(&self) {
        self.connection.status.is_closed.set(true);
    }

    /// The request has timed out. If nothing was received since it began, the endpoint may have disappeared, and further requests
    /// would time out as well.
    pub(super) fn timed_out(&self) {
        if self.connection.status.last_read.get() <= self.opened {
            self.retire_connection();
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        connection.idle_since.set(connection.status.clock.now());
        // A request waits for a connection to another endpoint.
        let is_wanted = connection.status.slot.borrow().as_ref().is_some_and(UpstreamSlot::is_wanted);
        if connection.streams.get() == 0 && is_wanted {
            connection.close();
        }
    }
}

/// The stream of a connection. Records when something was received.
struct ObservedStream {
    stream: UpstreamStream,
    status: Rc<ConnectionStatus>,
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.status.last_read.set(self.status.clock.now());
        Poll::Ready(read)
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
