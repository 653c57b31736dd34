//! The byte stream of an HTTP/2 connection as h2 reads it. Counts frames, gathers writes, and records when the client is slow.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::connection_state::ConnectionState;
use crate::io::gathered_writes::GatheredWrites;
use crate::io::transport_stream::ClientStream;
use crate::wire::frame_budget::{Flood, FrameBudget};

/// The stream of a client's HTTP/2 connection. h2 has one handle to it, and the connection's task another one, by which it sends what
/// h2 has written.
#[derive(Clone)]
pub(super) struct Http2Stream(Rc<RefCell<Http2Transport>>);

/// The transport of a connection and what is between it and h2.
struct Http2Transport {
    stream: ClientStream,
    state: Rc<ConnectionState>,
    /// Input that was read already.
    input: BytesMut,
    /// `None` after a flood of frames: reading fails.
    frames: Option<Box<FrameBudget>>,
    output: GatheredWrites,
    /// How many bytes of the output the transport has taken.
    sent: u64,
    /// When something was received, in milliseconds of the clock.
    last_read: u64,
    /// The stream had nothing to read since its task is polled. h2 reads again after each request that it returns.
    has_no_input: bool,
}

impl Http2Stream {
    /// `input` was read already.
    pub(super) fn new(stream: ClientStream, input: BytesMut, state: Rc<ConnectionState>) -> Self {
        let frames = Some(Box::new(FrameBudget::new(state.clock.now())));
        let output = GatheredWrites::new(state.entry.buffers.clone());
        let (sent, last_read, has_no_input) = (0, state.clock.now(), false);
        let stream = Http2Transport { stream, state, input, frames, output, sent, last_read, has_no_input };
        Self(Rc::new(RefCell::new(stream)))
    }

    /// Begins a poll of the connection's task.
    pub(super) fn begin_poll(&self) {
        self.0.borrow_mut().has_no_input = false;
    }

    /// When something was received, in milliseconds of the clock.
    pub(super) fn last_read(&self) -> u64 {
        self.0.borrow().last_read
    }

    /// How many bytes the transport has taken.
    pub(super) fn sent(&self) -> u64 {
        self.0.borrow().sent
    }

    /// Sends what h2 has written. Pending while the client does not read.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }
}

impl Http2Transport {
    /// Counts frames; a flood ends the connection at the next read.
    fn count(&mut self, bytes: &[u8]) {
        let Some(frames) = &mut self.frames else { return };
        let entry = &self.state.entry;
        match frames.read(bytes, self.state.clock.now(), &entry.frames) {
            Ok(data) => entry.buffers.receive(data),
            Err(Flood) => {
                self.state.flooded.set(true);
                self.frames = None;
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.output.is_full() {
            ready!(self.poll_output(cx))?;
        }
        Poll::Ready(Ok(self.output.write(slices)))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        // A TLS stream accepts data that it cannot send yet, so a pending flush means that the client is blocked. A flush
        // with nothing to write is not progress.
        if result.is_pending() != self.state.write_blocked.get() {
            self.state.writes(result.is_pending());
        }
        result
    }

    /// Writes what was gathered.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.output.unsent();
        let result = self.output.poll_send(&mut self.stream, cx);
        if self.output.unsent() < before {
            self.sent += (before - self.output.unsent()) as u64;
            self.state.writes(false);
        }
        if result.is_pending() {
            self.state.writes(true);
        }
        result
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self.0.borrow_mut();
        if !this.input.is_empty() {
            let bytes = this.input.split_to(this.input.len().min(buffer.remaining()));
            this.count(&bytes);
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        if this.frames.is_none() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if this.has_no_input {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.has_no_input = read.is_pending();
        ready!(read)?;
        this.last_read = this.state.clock.now();
        this.count(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the connection's task sends what was written after it has polled h2.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.0.borrow_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
