//! One request on a connection to an endpoint that carries one request at a time: HTTP/1.1 (RFC 9112) or FastCGI.
//!
//! The task of the client's connection polls it; it has no task or channel of its own. Request and response bodies are
//! transferred at the same time, so an endpoint may answer before it has read the whole request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use ingress_wire::chunked::{ChunkEvent, ChunkedDecoder};
use ingress_wire::framing::MessageFraming;
use ingress_wire::response::ParsedResponse;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use crate::io::send_buffer::SendBuffer;
use crate::io::transport_stream::UpstreamStream;
use crate::io::{scratch, vectored};
use crate::upstream::connection::UpstreamConnection;
use crate::upstream::error::{TimeoutKind, UpstreamError};
use crate::upstream::fastcgi_reader::FastCgiReader;
use crate::upstream::limit::UpstreamSlot;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_traits::RequestTraits;
use crate::upstream::timer::{READ, UpstreamTimeouts, UpstreamTimer};
use crate::upstream::trailers;

/// How many interim responses (1xx) a request may have. Each counts as progress, so without a limit an endpoint that sends
/// nothing else would keep the request open for ever.
const MAX_INTERIM: u32 = 128;
/// How much of a response that is not sent to the client is read to keep its connection.
const MAX_DISCARDED: usize = 64 * 1024;
/// The longest head of a response in bytes that `proxy-buffer-size` can allow.
const MAX_HEAD: usize = 1 << 20;

/// The state of reading the response.
enum DownloadState {
    Head,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
    /// The whole body has been returned.
    Over,
}

/// A request that has a connection to an endpoint for itself, and its response.
pub(crate) struct StreamRequest {
    connection: Box<UpstreamConnection>,
    send_buffer: SendBuffer,
    pub(crate) body: RequestBody,
    download: DownloadState,
    /// The records of a FastCGI application; `None` for HTTP.
    fastcgi: Option<Box<FastCgiReader>>,
    /// Whether another request may follow on the connection.
    reusable: bool,
    traits: RequestTraits,
    /// How much is read at once.
    read: usize,
    /// Interim responses so far.
    interim: u32,
    /// Bytes of the request that have been written to the stream.
    sent: u64,
    /// TLS may keep some of them.
    is_unflushed: bool,
    timer: UpstreamTimer,
}

impl StreamRequest {
    /// A request with its encoded head. Nothing is sent before it is polled. Boxed, because it moves from the attempt to the response.
    pub(crate) fn new(
        connection: Box<UpstreamConnection>,
        head: Bytes,
        body: RequestBody,
        traits: RequestTraits,
        timer: UpstreamTimer,
    ) -> Box<Self> {
        Box::new(Self {
            connection,
            send_buffer: SendBuffer::new(head),
            body,
            download: DownloadState::Head,
            fastcgi: None,
            reusable: false,
            traits,
            read: READ,
            interim: 0,
            sent: 0,
            is_unflushed: false,
            timer,
        })
    }

    /// The same, for a FastCGI application. The connection ends with the response, as in nginx without `fastcgi_keep_conn`.
    pub(crate) fn with_fastcgi(mut self: Box<Self>) -> Box<Self> {
        self.fastcgi = Some(Box::default());
        self
    }

    /// What the application wrote to its error stream.
    pub(crate) fn application_errors(&self) -> Option<String> {
        self.fastcgi.as_ref()?.errors()
    }

    /// The endpoint's address as text.
    pub(crate) fn name(&self) -> &str {
        &self.connection.name
    }

    /// Its timeouts.
    pub(crate) fn timeouts(&self) -> UpstreamTimeouts {
        self.timer.timeouts()
    }

    /// Whether nothing has been sent, so that a retry cannot carry out the request twice.
    pub(crate) fn is_unsent(&self) -> bool {
        self.sent == 0
    }

    /// Reads the response's head into `response`. Skips interim responses (1xx), as nginx does.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ParsedResponse,
    ) -> Poll<Result<(), UpstreamError>> {
        let uploaded = self.poll_upload(cx);
        let RequestTraits { is_head, head_limit, .. } = self.traits;
        let head_limit = head_limit.min(MAX_HEAD);
        loop {
            if !self.connection.read_buffer.is_empty() {
                let is_whole = self.parse_head(response, is_head, head_limit)?;
                if is_whole && matches!(response.status(), 101 | 200..) {
                    self.begin(response);
                    return Poll::Ready(Ok(()));
                }
                if is_whole {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Poll::Ready(Err(UpstreamError::Invalid("too many interim responses")));
                    }
                    continue;
                }
            }
            match self.poll_fill(cx, READ) {
                // If sending the request failed, too, that error is the cause.
                Poll::Ready(Err(error)) => return Poll::Ready(Err(uploaded.err().unwrap_or(error))),
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(uploaded.err().unwrap_or(UpstreamError::Closed)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    let wait = uploaded?;
                    return self.timer.poll_timeout(cx, wait);
                }
            }
        }
    }

    /// Reads as much of the head as was received. Returns whether it is complete.
    fn parse_head(
        &mut self,
        response: &mut ParsedResponse,
        is_head: bool,
        limit: usize,
    ) -> Result<bool, UpstreamError> {
        let received = &mut self.connection.read_buffer;
        let Some(fastcgi) = &mut self.fastcgi else { return Ok(response.parse(received, is_head, limit)?) };
        fastcgi.read(received)?;
        let is_whole =
            !fastcgi.output.is_empty() && response.parse_cgi(&mut fastcgi.output, is_head, limit)?;
        if fastcgi.is_over && !is_whole {
            return Err(UpstreamError::Invalid("the application ended without a head"));
        }
        Ok(is_whole)
    }

    fn begin(&mut self, response: &ParsedResponse) {
        self.reusable = response.keeps_alive();
        self.download = match response.framing() {
            MessageFraming::None => DownloadState::Over,
            MessageFraming::Length(length) => DownloadState::Length(length),
            MessageFraming::Chunked => DownloadState::Chunked(Box::default()),
            MessageFraming::UntilClose => DownloadState::UntilClose,
        };
        self.timer.wait_for_client();
    }

    /// Sets the timeout for the client to take a piece of the response.
    pub(crate) fn wait_for_client(&mut self) {
        self.timer.wait_for_client();
    }

    /// How many bytes of the response's body are left, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.download {
            DownloadState::Over => Some(0),
            DownloadState::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Sends what can be sent of the request while the response is not read. An error is reported by the next
    /// [`Self::poll_frame`].
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) {
        if !self.is_uploaded() {
            let _ = self.poll_upload(cx);
        }
    }

    /// The next piece of the response's body. At most `most` bytes are read for it.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        // An endpoint that answers early may close its side; its response is still valid.
        let uploaded = if self.is_uploaded() { Ok(TimeoutKind::Read) } else { self.poll_upload(cx) };
        loop {
            match self.take() {
                Ok(Some(frame)) => {
                    self.timer.wait_for_client();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) if matches!(self.download, DownloadState::Over) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
            match self.poll_fill(cx, most) {
                Poll::Ready(Ok(0))
                    if matches!(self.download, DownloadState::UntilClose) && self.fastcgi.is_none() =>
                {
                    self.download = DownloadState::Over;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0)) => return self.fail(UpstreamError::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Pending => {
                    let wait = match uploaded {
                        Ok(wait) => wait,
                        Err(UpstreamError::Io(_) | UpstreamError::Closed) => TimeoutKind::Read,
                        Err(error) => return self.fail(error),
                    };
                    return match self.timer.poll_timeout::<()>(cx, wait) {
                        Poll::Ready(Err(error)) => self.fail(error),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.download = DownloadState::Over;
        self.reusable = false;
        Poll::Ready(Some(Err(error)))
    }

    /// The next piece of the body from the read buffer.
    fn take(&mut self) -> Result<Option<Frame<Bytes>>, UpstreamError> {
        let mut read_buffer = &mut self.connection.read_buffer;
        if let Some(fastcgi) = &mut self.fastcgi {
            fastcgi.read(read_buffer)?;
            read_buffer = &mut fastcgi.output;
            if fastcgi.is_over && read_buffer.is_empty() {
                return match self.download {
                    DownloadState::Length(_) => Err(UpstreamError::Closed),
                    _ => {
                        self.download = DownloadState::Over;
                        Ok(None)
                    }
                };
            }
        }
        if read_buffer.is_empty() {
            return Ok(None);
        }
        match &mut self.download {
            DownloadState::Head | DownloadState::Over => Ok(None),
            DownloadState::UntilClose => Ok(Some(Frame::data(read_buffer.split().freeze()))),
            DownloadState::Length(left) => {
                let length =
                    usize::try_from(*left).map_or(read_buffer.len(), |left| left.min(read_buffer.len()));
                *left -= length as u64;
                if *left == 0 {
                    self.download = DownloadState::Over;
                }
                Ok(Some(Frame::data(read_buffer.split_to(length).freeze())))
            }
            DownloadState::Chunked(chunked) => {
                let malformed = |_| UpstreamError::Invalid("malformed chunks");
                let (passed, piece) = chunked.advance(read_buffer).map_err(malformed)?;
                read_buffer.advance(passed);
                match piece {
                    ChunkEvent::More => Ok(None),
                    ChunkEvent::Data(length) => Ok(Some(Frame::data(read_buffer.split_to(length).freeze()))),
                    ChunkEvent::End => {
                        let lines = std::mem::take(&mut chunked.trailers);
                        self.download = DownloadState::Over;
                        if lines.is_empty() {
                            return Ok(None);
                        }
                        trailers::parse(&lines).map(|trailers| Some(Frame::trailers(trailers)))
                    }
                }
            }
        }
    }

    /// Whether the whole response has been returned.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.download, DownloadState::Over)
    }

    /// Ends the request without its response. Returns the request's body, and the connection if the rest of the response has been
    /// received and another request may follow.
    pub(crate) fn discard(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
    ) -> (RequestBody, Option<Box<UpstreamConnection>>) {
        let mut left = MAX_DISCARDED;
        while let Poll::Ready(Some(Ok(frame))) = self.poll_frame(cx, READ) {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
        let is_sent = self.body.is_over();
        let body = std::mem::replace(&mut self.body, RequestBody::none());
        (body, if is_sent { self.into_idle() } else { None })
    }

    /// The connection, if another request may follow on it.
    pub(crate) fn into_idle(mut self: Box<Self>) -> Option<Box<UpstreamConnection>> {
        let clean = self.is_over() && self.is_uploaded();
        if !self.reusable || !clean || !self.connection.read_buffer.is_empty() {
            return None;
        }
        // A small buffer is reused for the next response; one that has grown for a large body is released.
        if self.connection.read_buffer.capacity() > READ {
            self.connection.read_buffer = BytesMut::new();
        }
        self.connection.served += 1;
        Some(self.connection)
    }

    /// The stream after 101 with its slot, and the bytes that were received after the head.
    pub(crate) fn into_upgraded(self) -> (UpstreamStream, Option<UpstreamSlot>, Bytes) {
        let connection = *self.connection;
        (connection.stream, connection.slot, connection.read_buffer.freeze())
    }

    /// Whether the whole request has been sent.
    fn is_uploaded(&self) -> bool {
        self.body.is_over() && self.send_buffer.is_empty() && !self.is_unflushed
    }

    /// Sends as much of the request as the endpoint accepts. Returns which timeout applies while nothing more happens.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<TimeoutKind, UpstreamError> {
        loop {
            // The first piece of a body is sent together with the head.
            let pending =
                self.send_buffer.wants_data() && self.body.poll_fill(cx, &mut self.send_buffer)?.is_pending();
            if self.send_buffer.is_empty() {
                if self.is_unflushed {
                    match Pin::new(&mut self.connection.stream).poll_flush(cx) {
                        Poll::Pending => return Ok(TimeoutKind::Send),
                        Poll::Ready(flushed) => flushed.map_err(UpstreamError::Io)?,
                    }
                    self.is_unflushed = false;
                }
                return Ok(if pending { TimeoutKind::Body } else { TimeoutKind::Read });
            }
            let mut slices = [IoSlice::new(&[]); SendBuffer::SLICES];
            let count = self.send_buffer.slices(&mut slices);
            match vectored::poll_write(&mut self.connection.stream, cx, &slices[..count]) {
                Poll::Pending => return Ok(TimeoutKind::Send),
                Poll::Ready(Ok(0)) => return Err(UpstreamError::Closed),
                Poll::Ready(Ok(length)) => {
                    self.send_buffer.advance(length);
                    self.sent += length as u64;
                    self.is_unflushed = self.connection.stream.is_tls();
                    if self.traits.forgets_body {
                        self.body.forget();
                    }
                    self.timer.set_progress();
                }
                Poll::Ready(Err(error)) => return Err(UpstreamError::Io(error)),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<usize, UpstreamError>> {
        let read_buffer = &mut self.connection.read_buffer;
        if self.read.min(most) <= READ {
            let length =
                ready!(scratch::poll_read_some(&mut self.connection.stream, cx, most, |_, bytes| {
                    // A piece keeps its buffer in memory until the client has taken it, so a small piece gets a small buffer.
                    let is_new =
                        read_buffer.is_empty() && (most < READ || !read_buffer.try_reclaim(bytes.len()));
                    if is_new {
                        *read_buffer = BytesMut::with_capacity(bytes.len());
                    }
                    read_buffer.extend_from_slice(bytes);
                    bytes.len()
                }))
                .or_else(end_of_tls)?;
            if length == READ {
                self.read = (READ * 2).min(self.timer.read_max());
            }
            self.timer.set_progress();
            return Poll::Ready(Ok(length));
        }
        read_buffer.reserve(self.read);
        let room = read_buffer.capacity() - read_buffer.len();
        let read = poll_read_buf(Pin::new(&mut self.connection.stream), cx, read_buffer);
        let length = ready!(read).or_else(end_of_tls)?;
        if length == room {
            self.read = (self.read * 2).min(self.timer.read_max());
        } else if length < room / 2 {
            // Small pieces would each keep a large buffer in memory.
            self.read = READ;
        }
        self.timer.set_progress();
        Poll::Ready(Ok(length))
    }
}

/// The end of a TLS stream without `close_notify` is an end as any other, as in nginx.
fn end_of_tls(error: io::Error) -> Result<usize, UpstreamError> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(UpstreamError::Io(error)) }
}

#[cfg(test)]
mod tests;
