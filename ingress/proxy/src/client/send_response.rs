//! Sends a response on an HTTP/1 connection: reads a piece, writes it, and only then reads the next.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use crate::client::connection_state::ConnectionState;
use crate::client::response_body::ResponseBody;
use crate::client::response_head::BodyFraming;
use crate::io::buffers::{BufferUse, Buffered};
use crate::io::clock::WaitingFor;
use crate::io::send_buffer::SendBuffer;
use crate::wire::http1_stream::Http1Stream;

/// Why a response is incomplete. The connection must be closed: the client must not take it for complete.
#[derive(Debug)]
pub(super) enum SendError {
    /// The client does not read, or has closed the connection.
    Client(io::Error),
    /// The rest of the body does not come.
    Body,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => write!(f, "the client does not take it: {error}"),
            Self::Body => f.write_str("its body is incomplete"),
        }
    }
}

/// A response that is being sent.
pub(super) struct SendResponse {
    buffer: SendBuffer,
    pub(super) body: ResponseBody,
    framing: BodyFraming,
    /// The whole body is in the buffer or written.
    is_read: bool,
    /// The body cannot be completed: what is in the buffer is written, and no more.
    is_broken: bool,
    /// The bytes that wait for the client.
    buffered: Buffered,
}

impl SendResponse {
    pub(super) fn new(
        head: Bytes,
        mut body: ResponseBody,
        framing: BodyFraming,
        buffers: Rc<BufferUse>,
    ) -> Self {
        if framing == BodyFraming::None {
            body.end_upstream();
        }
        Self {
            buffer: SendBuffer::new(head),
            body,
            framing,
            is_read: framing == BodyFraming::None,
            is_broken: false,
            buffered: Buffered::new(buffers),
        }
    }

    /// Sends until the client has the whole response. Hot: a small response is one read and one write, without allocation.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Http1Stream,
        state: &ConnectionState,
    ) -> Poll<Result<(), SendError>> {
        loop {
            let mut is_waiting = false;
            if !self.is_read && !self.is_broken && self.buffer.wants_data() {
                is_waiting = self.poll_read(cx).is_pending();
            }
            if self.buffer.is_empty() {
                if is_waiting {
                    if stream.poll_flush(cx).map_err(SendError::Client)?.is_pending() {
                        return Poll::Pending;
                    }
                    let closed = || SendError::Client(io::ErrorKind::ConnectionReset.into());
                    return stream.poll_closed(cx).map(|()| Err(closed()));
                }
                if self.is_read || self.is_broken {
                    ready!(self.poll_flush(cx, stream)).map_err(SendError::Client)?;
                    return Poll::Ready(if self.is_broken { Err(SendError::Body) } else { Ok(()) });
                }
                continue;
            }
            match stream.poll_write(cx, &self.buffer) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(SendError::Client(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(written)) => {
                    let head = self.buffer.advance(written);
                    let guard = self.body.guard();
                    guard.sent_head += head as u64;
                    guard.sent += (written - head) as u64;
                    self.buffered.release_to(self.buffer.data_len());
                    if state.timer.waiting_for() == WaitingFor::Client {
                        state.wait_for_client();
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(SendError::Client(error))),
                Poll::Pending => {
                    self.buffered.hold(self.buffer.data_len());
                    self.body.poll_upload(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Puts the next piece of the body into the buffer, and the end of the body if it is known to follow.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_chunked = self.framing == BodyFraming::Chunked;
        match ready!(self.body.poll_piece(cx, self.buffered.allowance())) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.buffer.put_data(data, is_chunked);
                    if self.body.is_over() {
                        self.end_body(&[]);
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.end_body(&lines(&trailers));
                }
            },
            None => self.end_body(&[]),
            Some(Err(_)) => self.is_broken = true,
        }
        Poll::Ready(())
    }

    /// The connection to the endpoint is free for other requests before the client has read the rest.
    fn end_body(&mut self, trailers: &[u8]) {
        self.is_read = true;
        if self.framing == BodyFraming::Chunked {
            self.buffer.put_last_chunk(trailers);
        }
        self.body.end_upstream();
    }

    /// A TLS stream accepts data that it cannot send yet.
    fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &Http1Stream) -> Poll<io::Result<()>> {
        let flushed = stream.poll_flush(cx);
        if flushed.is_pending() {
            self.body.poll_upload(cx);
        }
        flushed
    }
}

/// Trailers as lines of the trailer section.
fn lines(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}
