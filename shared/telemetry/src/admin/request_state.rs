//! Whether a connection is idle, or at which point its request is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// The state of one connection.
pub(super) struct RequestState {
    current: Mutex<CurrentRequest>,
    sent: Notify,
}

struct CurrentRequest {
    /// When the connection was accepted or its last request began.
    since: Instant,
    phase: Phase,
    /// The permit of a large response, held until it has been sent.
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request, or a part of one. The last response has been sent.
    Idle,
    /// The response is being made.
    Making,
    /// hyper has the response and takes its body.
    Sending,
    /// hyper has taken the whole body. Its next complete flush means that the response has been sent.
    Taken,
}

impl RequestState {
    /// The state of a new connection.
    pub(super) fn new() -> Self {
        let current = CurrentRequest { since: Instant::now(), phase: Phase::Idle, permit: None };
        Self { current: Mutex::new(current), sent: Notify::new() }
    }

    /// Begins a request once the previous response has been sent. hyper reads a pipelined request earlier, and the responses of
    /// a client that reads none of them would pile up.
    pub(super) async fn begin(&self) {
        while !self.is_idle() {
            self.sent.notified().await;
        }
        *self.current() = CurrentRequest { since: Instant::now(), phase: Phase::Making, permit: None };
    }

    /// Makes the body of a complete response. It is being sent from now on.
    pub(super) fn send(self: &Arc<Self>, body: Bytes, permit: Option<OwnedSemaphorePermit>) -> SentBody {
        let mut current = self.current();
        (current.phase, current.permit) = (Phase::Sending, permit);
        drop(current);
        SentBody { body: ResponseBody::Whole(Full::new(body)), state: self.clone() }
    }

    /// Makes the body of a response that sends an event at each tick until the client disconnects. A client that reads nothing for the
    /// timeout of responses is disconnected, too.
    pub(super) fn send_events(
        self: &Arc<Self>,
        events: EventStream,
        permit: OwnedSemaphorePermit,
    ) -> SentBody {
        let mut current = self.current();
        (current.phase, current.permit) = (Phase::Sending, Some(permit));
        drop(current);
        SentBody { body: ResponseBody::Events(events), state: self.clone() }
    }

    /// An event was taken: the response goes on.
    fn touch(&self) {
        self.current().since = Instant::now();
    }

    /// Whether no response is being made or sent.
    pub(super) fn is_idle(&self) -> bool {
        self.current().phase == Phase::Idle
    }

    /// When the connection was accepted or its last request began.
    pub(super) fn since(&self) -> Instant {
        self.current().since
    }

    /// Records that everything that hyper has taken was written to the stream.
    fn flushed(&self) {
        let mut current = self.current();
        if current.phase == Phase::Taken {
            (current.phase, current.permit) = (Phase::Idle, None);
            drop(current);
            self.sent.notify_one();
        }
    }

    fn current(&self) -> MutexGuard<'_, CurrentRequest> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a response, which records when hyper has taken all of it.
pub(super) struct SentBody {
    body: ResponseBody,
    state: Arc<RequestState>,
}

enum ResponseBody {
    Whole(Full<Bytes>),
    Events(EventStream),
}

/// Server-sent events (WHATWG HTML §9.2), one at each tick.
pub(super) struct EventStream {
    ticks: Interval,
    make: EventSource,
}

/// Makes the data of each event: one line of text.
pub type EventSource = Box<dyn FnMut() -> String + Send>;

impl EventStream {
    /// Sends what `make` returns, at once and then at each period.
    pub(super) fn new(period: Duration, make: EventSource) -> Self {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, make }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match &mut this.body {
            ResponseBody::Whole(body) => Pin::new(body).poll_frame(cx),
            ResponseBody::Events(events) => events.ticks.poll_tick(cx).map(|_| {
                this.state.touch();
                Some(Ok(Frame::data(format!("data: {}\n\n", (events.make)()).into())))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            ResponseBody::Whole(body) => body.is_end_stream(),
            ResponseBody::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            ResponseBody::Whole(body) => body.size_hint(),
            ResponseBody::Events(_) => SizeHint::default(),
        }
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        self.state.current().phase = Phase::Taken;
    }
}

/// The stream of a connection, which records when a response has been written to it.
pub(super) struct ResponseStream<S> {
    stream: S,
    state: Arc<RequestState>,
}

impl<S> ResponseStream<S> {
    pub(super) fn new(stream: S, state: Arc<RequestState>) -> Self {
        Self { stream, state }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ResponseStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ResponseStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// hyper flushes the stream only when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.state.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
