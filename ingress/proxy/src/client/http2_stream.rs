//! The byte stream of an HTTP/2 connection as hyper reads it. Counts frames, and records when the client is slow.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::connection_state::ConnectionState;
use crate::io::transport_stream::ClientStream;
use crate::io::vectored;
use crate::wire::frame_budget::{Flood, FrameBudget};

/// The stream of a client's HTTP/2 connection.
pub(super) struct Http2Stream {
    stream: ClientStream,
    state: Rc<ConnectionState>,
    /// Input that was read already.
    input: BytesMut,
    /// `None` after a flood of frames: reading fails.
    frames: Option<Box<FrameBudget>>,
}

impl Http2Stream {
    /// `input` was read already.
    pub(super) fn new(stream: ClientStream, input: BytesMut, state: Rc<ConnectionState>) -> Self {
        let frames = Some(Box::new(FrameBudget::new(state.clock.now())));
        Self { stream, state, input, frames }
    }

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
}

impl hyper::rt::Read for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.input.is_empty() {
            let bytes = this.input.split_to(this.input.len().min(cursor.remaining()));
            this.count(&bytes);
            cursor.put_slice(bytes.chunk());
            return Poll::Ready(Ok(()));
        }
        if this.frames.is_none() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        // SAFETY: `ReadBuf::uninit` does not de-initialise, and the cursor advances only over bytes that it reports as filled.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        this.count(buffer.filled());
        // SAFETY: the stream has initialised the first `length` bytes.
        unsafe { cursor.advance(length) };
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Http2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.state.writes(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = vectored::poll_write(&mut self.stream, cx, slices);
        self.state.writes(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        // A TLS stream accepts data that it cannot send yet, so a pending flush means that the client is blocked. A flush
        // with nothing to write is not progress.
        if result.is_pending() != self.state.write_blocked.get() {
            self.state.writes(result.is_pending());
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
