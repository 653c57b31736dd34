//! The client's byte stream as hyper reads it: only complete and checked heads are passed to hyper, and no part of the next
//! request before the current one has ended.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use ingress_wire::chunked::{ChunkEvent, ChunkedDecoder};
use ingress_wire::request_head::{HeadError, HeadFinder, MAX_LINE, RequestFraming, RequestHead};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::connection_state::ConnectionState;
use crate::io::{scratch, vectored};
use crate::wire::frame_budget::{Flood, FrameBudget};

/// hyper can discard an unread body after a response if the body is at most this long and arrived together with the head.
const DISCARDED_BODY: usize = 4 * 1024;

/// How much of a body is read at once. hyper buffers up to two such pieces while the endpoint reads nothing.
const BODY_READ: usize = 32 * 1024;

/// The position in the input.
enum ReadState {
    Head(HeadFinder),
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// HTTP/2: all input passes unless it is a flood of frames that carry nothing.
    Raw(Box<FrameBudget>),
    /// A head was refused: hyper reads the end of the stream.
    Refused,
    /// A body was malformed, or there was a flood of frames: reading fails.
    Broken,
}

/// The stream of a client's HTTP/1 connection.
pub(crate) struct ClientStream<S> {
    stream: S,
    state: Rc<ConnectionState>,
    at: ReadState,
    /// Input that has not been checked yet.
    read_buffer: BytesMut,
    /// Checked input that hyper has not read yet.
    checked: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    pub(crate) fn new(stream: S, state: Rc<ConnectionState>) -> Self {
        let at = ReadState::Head(HeadFinder::default());
        Self { stream, state, at, read_buffer: BytesMut::new(), checked: Bytes::new() }
    }

    /// Whether the client starts with HTTP/2's preface (RFC 9113 §3.4).
    pub(crate) fn poll_is_h2(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        loop {
            let seen = self.read_buffer.len().min(PREFACE.len());
            if self.read_buffer[..seen] != PREFACE[..seen] {
                return Poll::Ready(Ok(false));
            }
            if seen == PREFACE.len() {
                self.pass_all();
                return Poll::Ready(Ok(true));
            }
            if std::task::ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(false));
            }
        }
    }

    /// Waits for the first byte of a request; false at the end of the stream.
    pub(super) fn poll_first_byte(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.read_buffer.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let length = std::task::ready!(self.poll_fill(cx))?;
        if length > 0 {
            self.state.begin_head();
        }
        Poll::Ready(Ok(length > 0))
    }

    /// The stream without any buffer, if it is between two requests. `ahead` is input that hyper has read and not used.
    pub(super) fn into_idle(mut self, ahead: &[u8]) -> Option<Self> {
        let between = matches!(self.at, ReadState::Head(_)) && self.state.heads.borrow().is_empty();
        if !between || !ahead.is_empty() || !self.checked.is_empty() || !self.read_buffer.is_empty() {
            return None;
        }
        // Both are empty, but may keep the buffer of the last head in memory.
        self.checked = Bytes::new();
        self.read_buffer = BytesMut::new();
        Some(self)
    }

    /// Passes all further input to hyper: the client speaks HTTP/2.
    pub(crate) fn pass_all(&mut self) {
        self.at = ReadState::Raw(Box::new(FrameBudget::new(self.state.clock.now())));
    }

    /// Whether the client has not sent its whole body.
    pub(crate) fn is_mid_body(&self) -> bool {
        matches!(self.at, ReadState::Length(_) | ReadState::Chunked(_) | ReadState::Broken)
    }

    /// The stream and what was read from it beyond the last request.
    pub(crate) fn into_parts(self) -> (S, Bytes, Bytes) {
        (self.stream, self.checked, self.read_buffer.freeze())
    }

    /// Reads once into the read buffer and returns the number of bytes. No buffer is held while the stream is pending.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read_buffer = &mut self.read_buffer;
        scratch::poll_read(&mut self.stream, cx, |_, bytes| {
            read_buffer.extend_from_slice(bytes);
            bytes.len()
        })
    }

    /// Checks input and moves it from `read_buffer` to `checked`; true if there was any.
    fn check(&mut self) -> bool {
        if self.read_buffer.is_empty() {
            return false;
        }
        match &mut self.at {
            ReadState::Head(_) => self.check_head(),
            ReadState::Chunked(_) => self.check_chunks(),
            ReadState::Length(left) => {
                let length = usize::try_from(*left)
                    .map_or(self.read_buffer.len(), |left| left.min(self.read_buffer.len()));
                self.checked = self.read_buffer.split_to(length).freeze();
                self.count_body(length);
                true
            }
            ReadState::Raw(_) => {
                let bytes = self.read_buffer.split().freeze();
                self.count_frames(&bytes);
                self.checked = bytes;
                true
            }
            ReadState::Refused | ReadState::Broken => {
                self.read_buffer.clear();
                false
            }
        }
    }

    /// Counts HTTP/2 frames; a flood ends the connection at the next read.
    fn count_frames(&mut self, bytes: &[u8]) {
        let ReadState::Raw(frames) = &mut self.at else { return };
        let entry = &self.state.entry;
        match frames.read(bytes, self.state.clock.now(), &entry.frames) {
            Ok(data) => entry.buffers.receive(data),
            Err(Flood) => {
                self.state.flooded.set(true);
                self.at = ReadState::Broken;
            }
        }
    }

    fn check_head(&mut self) -> bool {
        let ReadState::Head(finder) = &mut self.at else { return false };
        // Empty lines before a request are skipped (RFC 9112 §2.2), as nginx does.
        while self.read_buffer.starts_with(b"\r\n") {
            self.read_buffer.advance(2);
        }
        let found = match finder.find(&self.read_buffer) {
            Ok(Some(length)) => {
                let bytes = self.read_buffer.split_to(length).freeze();
                RequestHead::check(bytes.clone()).map_err(|refusal| (refusal, bytes))
            }
            Ok(None) => {
                let begun = !self.read_buffer.is_empty();
                self.state.reads(begun);
                if begun {
                    // It may have come together with the request before.
                    self.state.begin_head();
                }
                return false;
            }
            Err(refusal) => Err((refusal, self.read_buffer.split().freeze())),
        };
        self.state.reads(false);
        match found {
            Ok(head) => {
                self.checked = head.for_hyper();
                self.at = match head.framing {
                    RequestFraming::Length(0) => ReadState::Head(HeadFinder::default()),
                    RequestFraming::Length(length) => ReadState::Length(length),
                    RequestFraming::Chunked => ReadState::Chunked(Box::default()),
                };
                self.state.body_due.set(match head.framing {
                    RequestFraming::Length(length) => {
                        length > self.read_buffer.len().min(DISCARDED_BODY) as u64
                    }
                    RequestFraming::Chunked => true,
                });
                self.state.heads.borrow_mut().push_back(head);
                true
            }
            Err((refusal, head)) => {
                *self.state.refused.borrow_mut() = first_line(&head);
                self.refuse(refusal);
                false
            }
        }
    }

    fn check_chunks(&mut self) -> bool {
        let ReadState::Chunked(chunked) = &mut self.at else { return false };
        let mut at = 0;
        let is_over = loop {
            match chunked.advance(&self.read_buffer[at..]) {
                Ok((passed, ChunkEvent::Data(length))) => at += passed + length,
                Ok((passed, ChunkEvent::More)) => {
                    at += passed;
                    break false;
                }
                Ok((passed, ChunkEvent::End)) => {
                    at += passed;
                    break true;
                }
                Err(_) => {
                    self.at = ReadState::Broken;
                    return false;
                }
            }
        };
        self.checked = self.read_buffer.split_to(at).freeze();
        self.state.body_bytes.set(self.state.body_bytes.get() + at as u64);
        if is_over {
            self.end_body();
        }
        true
    }

    fn count_body(&mut self, length: usize) {
        self.state.body_bytes.set(self.state.body_bytes.get() + length as u64);
        if let ReadState::Length(left) = &mut self.at {
            *left -= length as u64;
            if *left == 0 {
                self.end_body();
            }
        }
    }

    fn end_body(&mut self) {
        self.at = ReadState::Head(HeadFinder::default());
        self.state.body_due.set(false);
    }

    fn refuse(&mut self, refusal: HeadError) {
        self.at = ReadState::Refused;
        self.read_buffer.clear();
        self.state.refusal.set(Some(refusal));
    }

    /// Ends the input after a refused head, once the responses to earlier requests have been written.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let heads = !self.state.heads.borrow().is_empty();
        if heads || self.state.in_flight.get() || self.state.write_blocked.get() {
            *self.state.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// The request line of a refused head, as far as it was received.
fn first_line(head: &[u8]) -> Bytes {
    let shown = &head[..head.len().min(MAX_LINE)];
    let line = shown.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    Bytes::copy_from_slice(line)
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Read for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.checked.is_empty() {
                let length = this.checked.len().min(cursor.remaining());
                cursor.put_slice(&this.checked[..length]);
                this.checked.advance(length);
                return Poll::Ready(Ok(()));
            }
            if this.check() {
                continue;
            }
            match &this.at {
                ReadState::Refused => return this.poll_end(cx),
                ReadState::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // Bodies of known length and HTTP/2 go straight into hyper's buffer.
                ReadState::Length(_) | ReadState::Raw(_) => return this.poll_read_through(cx, cursor),
                ReadState::Head(_) | ReadState::Chunked(_) => {
                    let first = this.read_buffer.is_empty();
                    if std::task::ready!(this.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    if first && matches!(this.at, ReadState::Head(_)) {
                        this.state.begin_head();
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    fn poll_read_through(
        &mut self,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `ReadBuf::uninit` does not de-initialise, and the cursor advances only over bytes that it reports as filled.
        let spare = unsafe { cursor.as_mut() };
        let limit = match self.at {
            ReadState::Length(left) => {
                usize::try_from(left).map_or(spare.len(), |left| left.min(spare.len())).min(BODY_READ)
            }
            _ => spare.len(),
        };
        let mut buffer = ReadBuf::uninit(&mut spare[..limit]);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        self.count_frames(buffer.filled());
        // SAFETY: the stream has initialised the first `length` bytes.
        unsafe { cursor.advance(length) };
        self.count_body(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for ClientStream<S> {
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

    /// Keeps the stream open after a refused head: the error page is written after hyper has ended.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.refusal.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
