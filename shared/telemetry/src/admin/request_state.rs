//! Whether a connection is idle, or at which point its request is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

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
        SentBody { body: Full::new(body), state: self.clone() }
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
    body: Full<Bytes>,
    state: Arc<RequestState>,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
