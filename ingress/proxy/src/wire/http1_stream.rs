//! A client's HTTP/1 connection: heads and bodies of requests in, bytes of responses out.
//!
//! A request's body is read by the request itself while its response is written by the connection. Both run in the task of the
//! connection, so they share the stream without a lock or a channel.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use ingress_wire::chunked::{ChunkEvent, ChunkedDecoder};
use ingress_wire::framing::MessageFraming;
use ingress_wire::request::{ParsedRequest, refused_line};
use ingress_wire::request_head::{HeadError, HeadLimits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::readable::Readable;
use crate::io::send_buffer::SendBuffer;
use crate::io::transport_stream::ClientStream;
use crate::io::{scratch, vectored};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The first size of the buffer for heads, which is kept from request to request.
const HEAD_BUFFER: usize = 1024;

/// What comes instead of a body's next piece if the client has sent malformed chunks or has closed the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenBody;

/// What follows between two requests.
#[derive(Debug)]
pub(crate) enum NextHead {
    /// It has been parsed.
    Complete,
    /// Why the head is refused, and its first line as far as it was received.
    Refused(HeadError, Bytes),
    /// The client has closed the connection.
    End,
}

/// The next piece of a request's body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyPiece {
    Data(Bytes),
    /// The trailer section, if it is not empty. The body ends with it.
    Trailers(Vec<u8>),
}

/// The body of the current request.
enum BodyState {
    /// It has been read, or there is none.
    Over,
    Length(u64),
    Chunked(ChunkedDecoder),
    Broken,
}

/// The stream of a client's HTTP/1 connection.
pub(crate) struct Http1Stream(RefCell<Inner>);

struct Inner {
    stream: ClientStream,
    /// Input that was not returned yet.
    input: BytesMut,
    limits: HeadLimits,
    /// Bytes of the next head were received, or of empty lines before it.
    begun: bool,
    body: BodyState,
    /// How many bytes of the body have been read, with chunk framing.
    body_bytes: u64,
    /// The client waits for 100 (Continue) before it sends the body.
    awaits_continue: bool,
    /// The bytes of an interim response that are not written yet.
    interim: &'static [u8],
}

impl Http1Stream {
    /// A stream with the default limits of heads.
    #[cfg(test)]
    pub(crate) fn new(stream: ClientStream, input: BytesMut) -> Self {
        Self::with_limits(stream, input, HeadLimits::default())
    }

    /// `input` was read already.
    pub(crate) fn with_limits(stream: ClientStream, input: BytesMut, limits: HeadLimits) -> Self {
        Self(RefCell::new(Inner {
            stream,
            begun: !input.is_empty(),
            input,
            limits,
            body: BodyState::Over,
            body_bytes: 0,
            awaits_continue: false,
            interim: &[],
        }))
    }

    /// Whether the stream is TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.borrow().stream.is_tls()
    }

    /// Reads the next head into `request`, which must be the same until it is complete. The body of the request before must be over.
    pub(crate) fn poll_head(
        &self,
        cx: &mut Context<'_>,
        request: &mut ParsedRequest,
    ) -> Poll<io::Result<NextHead>> {
        let inner = &mut *self.0.borrow_mut();
        loop {
            if let Some(next) = inner.take_head(request) {
                return Poll::Ready(Ok(next));
            }
            // It may have come together with the request before.
            inner.begun |= !inner.input.is_empty();
            if ready!(inner.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(NextHead::End));
            }
            inner.begun = true;
        }
    }

    /// Waits for the first byte of a request; false at the end of the stream.
    pub(crate) fn poll_first_byte(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.input.is_empty() {
            inner.begun = ready!(inner.poll_fill(cx))? > 0;
        }
        Poll::Ready(Ok(inner.begun))
    }

    /// Whether the first byte of the next head was received, or of empty lines before it.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.borrow().begun
    }

    /// Whether a part of the next head was received.
    pub(crate) fn is_mid_head(&self) -> bool {
        !self.0.borrow().input.is_empty()
    }

    /// The request line of a head of which only a part was received, empty if the line is not complete either; `None` if nothing but
    /// line ends was received.
    pub(crate) fn incomplete_head(&self) -> Option<Bytes> {
        let inner = &*self.0.borrow();
        let input = inner.input.trim_ascii_start();
        let line = if input.contains(&b'\n') { refused_line(input, &inner.limits) } else { b"" };
        (!input.is_empty()).then(|| Bytes::copy_from_slice(line))
    }

    /// Releases the input buffer, which must be empty.
    pub(crate) fn release_buffer(&self) {
        let inner = &mut *self.0.borrow_mut();
        debug_assert!(inner.input.is_empty());
        inner.input = BytesMut::new();
    }

    /// The next piece of the current request's body; `None` at its end.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<BodyPiece, BrokenBody>>> {
        let inner = &mut *self.0.borrow_mut();
        if std::mem::take(&mut inner.awaits_continue) && !matches!(inner.body, BodyState::Over) {
            inner.interim = CONTINUE;
        }
        // If the client does not read it now, it is written before the response.
        if matches!(inner.poll_interim(cx), Poll::Ready(Err(_))) {
            inner.body = BodyState::Broken;
        }
        let piece = ready!(inner.poll_body(cx));
        if piece.is_err() {
            inner.body = BodyState::Broken;
        }
        Poll::Ready(piece.transpose())
    }

    /// Body bytes of the current request that have been read, with chunk framing.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.0.borrow().body_bytes
    }

    /// Whether the client has not sent its whole body.
    pub(crate) fn is_body_due(&self) -> bool {
        let inner = &*self.0.borrow();
        match &inner.body {
            BodyState::Over => false,
            BodyState::Length(left) => *left > inner.input.len() as u64,
            BodyState::Chunked(decoder) => decoded(&mut decoder.clone(), &inner.input).is_none(),
            BodyState::Broken => true,
        }
    }

    /// Discards the rest of the body as far as it was received. Returns whether that was all of it.
    pub(crate) fn discard_body(&self) -> bool {
        let inner = &mut *self.0.borrow_mut();
        let length = match &mut inner.body {
            BodyState::Over => return true,
            BodyState::Broken => return false,
            BodyState::Length(left) => usize::try_from(*left).ok().filter(|left| *left <= inner.input.len()),
            BodyState::Chunked(decoder) => decoded(decoder, &inner.input),
        };
        let discarded = length.unwrap_or(inner.input.len());
        inner.input.advance(discarded);
        inner.body_bytes += discarded as u64;
        inner.body = if length.is_some() { BodyState::Over } else { BodyState::Broken };
        length.is_some()
    }

    /// Ready when the client has closed the connection. Reads only after the body, and while nothing was read ahead: a client that
    /// sends requests ahead is not noticed to be gone before it gets a response.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.input.is_empty() || !matches!(inner.body, BodyState::Over) {
            return Poll::Pending;
        }
        match ready!(inner.poll_fill(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => {
                inner.begun = true;
                Poll::Pending
            }
        }
    }

    /// Whether input is left that belongs to no complete request.
    pub(crate) fn has_input(&self) -> bool {
        !self.0.borrow().input.is_empty()
    }

    /// Takes what was read beyond the current request.
    pub(crate) fn take_input(&self) -> Bytes {
        std::mem::take(&mut self.0.borrow_mut().input).freeze()
    }

    /// Writes once. Returns how many bytes were written.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buffer: &SendBuffer) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_interim(cx))?;
        let mut slices = [IoSlice::new(&[]); SendBuffer::SLICES];
        let count = buffer.slices(&mut slices);
        vectored::poll_write(&mut inner.stream, cx, &slices[..count])
    }

    /// Writes what a TLS stream has kept.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(cx)
    }
}

impl Inner {
    /// Reads once into the input buffer and returns the number of bytes. No buffer is held while the stream is pending.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let input = &mut self.input;
        scratch::poll_read(&mut self.stream, cx, |_, bytes| {
            if input.capacity() == 0 {
                input.reserve(HEAD_BUFFER.max(bytes.len()));
            }
            input.extend_from_slice(bytes);
            bytes.len()
        })
    }

    fn take_head(&mut self, request: &mut ParsedRequest) -> Option<NextHead> {
        match request.parse(&mut self.input, &self.limits) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(refusal) => {
                let line = Bytes::copy_from_slice(refused_line(&self.input, &self.limits));
                self.input.clear();
                return Some(NextHead::Refused(refusal, line));
            }
        }
        self.begun = false;
        self.body_bytes = 0;
        self.awaits_continue = request.expects_continue();
        self.body = match request.framing() {
            MessageFraming::None | MessageFraming::Length(0) | MessageFraming::UntilClose => BodyState::Over,
            MessageFraming::Length(length) => BodyState::Length(length),
            MessageFraming::Chunked => BodyState::Chunked(ChunkedDecoder::default()),
        };
        Some(NextHead::Complete)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<BodyPiece>, BrokenBody>> {
        loop {
            match &mut self.body {
                BodyState::Over => return Poll::Ready(Ok(None)),
                BodyState::Broken => return Poll::Ready(Err(BrokenBody)),
                BodyState::Length(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let data = if self.input.is_empty() {
                        let read = scratch::poll_read_some(&mut self.stream, cx, most, |_, bytes| {
                            Bytes::copy_from_slice(bytes)
                        });
                        ready!(read).map_err(|_| BrokenBody)?
                    } else {
                        self.input.split_to(most.min(self.input.len())).freeze()
                    };
                    if data.is_empty() {
                        return Poll::Ready(Err(BrokenBody));
                    }
                    self.body_bytes += data.len() as u64;
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.body = BodyState::Over;
                    }
                    return Poll::Ready(Ok(Some(BodyPiece::Data(data))));
                }
                BodyState::Chunked(decoder) => {
                    let (passed, event) = decoder.advance(&self.input).map_err(|_| BrokenBody)?;
                    self.input.advance(passed);
                    self.body_bytes += passed as u64;
                    match event {
                        ChunkEvent::Data(length) => {
                            self.body_bytes += length as u64;
                            let data = self.input.split_to(length).freeze();
                            return Poll::Ready(Ok(Some(BodyPiece::Data(data))));
                        }
                        ChunkEvent::End => {
                            let trailers = std::mem::take(&mut decoder.trailers);
                            self.body = BodyState::Over;
                            let piece = (!trailers.is_empty()).then_some(BodyPiece::Trailers(trailers));
                            return Poll::Ready(Ok(piece));
                        }
                        ChunkEvent::More => {}
                    }
                    if ready!(self.poll_fill(cx)).map_err(|_| BrokenBody)? == 0 {
                        return Poll::Ready(Err(BrokenBody));
                    }
                }
            }
        }
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, self.interim))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim = &self.interim[written..],
            }
            if self.interim.is_empty() {
                // The response flushes it if this cannot.
                let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// How many bytes of the input belong to a chunked body; `None` if it does not end in the input.
fn decoded(decoder: &mut ChunkedDecoder, input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (passed, event) = decoder.advance(&input[at..]).ok()?;
        at += passed;
        match event {
            ChunkEvent::Data(length) => at += length,
            ChunkEvent::End => return Some(at),
            ChunkEvent::More => return None,
        }
    }
}

/// The stream without its framing, for a protocol that the connection has switched to and for its end.
impl AsyncRead for &Http1Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl Readable for &Http1Stream {
    fn may_be_readable(&self) -> bool {
        self.0.borrow().stream.may_be_readable()
    }
}

impl AsyncWrite for &Http1Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_interim(cx))?;
        Pin::new(&mut inner.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Http1Stream::poll_flush(&self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
