//! One request on an HTTP/2 connection to an endpoint, as gRPC uses it.
//!
//! The task of the client's request polls it. Dropping it before its end resets the stream (CANCEL), so that an endpoint notices a
//! client that has gone.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use http_body::Frame;
use ingress_wire::framing::MessageFraming;
use ingress_wire::response::{MAX_RESPONSE_HEAD, ParsedResponse};

use crate::io::buffers::{BufferUse, Buffered};
use crate::io::send_buffer::SendBuffer;
use crate::upstream::error::{TimeoutKind, UpstreamError};
use crate::upstream::http2_connection::{SEND_BUFFER, STREAM_WINDOW, StreamSlot};
use crate::upstream::http2_head;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_traits::RequestTraits;
use crate::upstream::timer::UpstreamTimer;
use crate::upstream::trailers;

/// A request to an endpoint as a stream of a connection, and its response.
pub(crate) struct Http2Request {
    /// First, so that the streams are dropped before their place is free.
    stream: RequestProgress,
    /// A piece of the body that has not been sent.
    piece: Bytes,
    /// The end of the body has been sent.
    is_uploaded: bool,
    /// A piece of the response that has not been returned.
    unread: Bytes,
    left: Option<u64>,
    is_over: bool,
    /// No part of the request has been processed, although it was sent: the endpoint says so.
    is_refused: bool,
    traits: RequestTraits,
    pub(super) body: RequestBody,
    timer: UpstreamTimer,
    /// The bytes that are buffered on the connection for this request.
    buffered: Buffered,
    slot: StreamSlot,
}

/// How far a request is.
enum RequestProgress {
    /// The head has not been sent.
    Unsent(SendRequest<Bytes>, Box<Request<()>>),
    /// The response has not begun.
    Sent(ResponseFuture, SendStream<Bytes>),
    Response(RecvStream, SendStream<Bytes>),
    /// It failed.
    Ended,
}

impl Http2Request {
    /// A request with its head as HTTP/1 text. Nothing is sent before it is polled. What is buffered for it counts for the client's
    /// connection.
    pub(crate) fn new(
        slot: StreamSlot,
        head: &Bytes,
        body: RequestBody,
        traits: RequestTraits,
        timer: UpstreamTimer,
        buffers: Rc<BufferUse>,
    ) -> Self {
        let stream = match http2_head::request(head, slot.scheme()) {
            Some(request) => RequestProgress::Unsent(slot.sender(), Box::new(request)),
            None => RequestProgress::Ended,
        };
        Self {
            stream,
            piece: Bytes::new(),
            is_uploaded: false,
            unread: Bytes::new(),
            left: None,
            is_over: false,
            is_refused: false,
            traits,
            body,
            timer,
            buffered: Buffered::new(buffers),
            slot,
        }
    }

    /// The endpoint's address as text.
    pub(super) fn name(&self) -> &str {
        self.slot.name()
    }

    /// Whether the endpoint has processed no part of it.
    pub(super) fn is_unsent(&self) -> bool {
        self.is_refused || matches!(self.stream, RequestProgress::Unsent(..))
    }

    /// See [`UpstreamRequest::poll_head`](crate::upstream::request::UpstreamRequest::poll_head).
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ParsedResponse,
    ) -> Poll<Result<(), UpstreamError>> {
        let uploaded = self.poll_upload(cx);
        if let RequestProgress::Sent(answer, _) = &mut self.stream
            && let Poll::Ready(answer) = std::pin::Pin::new(answer).poll(cx)
        {
            return Poll::Ready(match answer {
                Ok(answer) => self.begin(answer, response),
                Err(error) => Err(uploaded
                    .err()
                    .filter(UpstreamError::is_of_client)
                    .unwrap_or_else(|| self.error(error))),
            });
        }
        let wait = uploaded?;
        let waited = self.timer.poll_timeout(cx, wait);
        if waited.is_ready() && wait != TimeoutKind::Body {
            self.slot.timed_out();
        }
        waited
    }

    fn begin(
        &mut self,
        answer: http::Response<RecvStream>,
        response: &mut ParsedResponse,
    ) -> Result<(), UpstreamError> {
        let RequestProgress::Sent(_, upload) = std::mem::replace(&mut self.stream, RequestProgress::Ended)
        else {
            return Err(UpstreamError::Closed);
        };
        let (parts, download) = answer.into_parts();
        let has_body = !download.is_end_stream();
        let mut buffer = BytesMut::new();
        response.assign_h2(parts.status, &parts.headers, has_body, MAX_RESPONSE_HEAD, &mut buffer)?;
        self.is_over = !has_body;
        self.left = match response.framing() {
            MessageFraming::None => Some(0),
            MessageFraming::Length(length) => Some(length),
            MessageFraming::Chunked | MessageFraming::UntilClose => None,
        };
        self.stream = RequestProgress::Response(download, upload);
        // Until now the endpoint could refuse the stream, and another one get it.
        if self.traits.forgets_body {
            self.body.forget();
        }
        self.timer.wait_for_client();
        Ok(())
    }

    /// From now on the client has to take what was read.
    pub(super) fn wait_for_client(&mut self) {
        self.timer.wait_for_client();
    }

    /// How many bytes of the response's body are left, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        if self.is_over { Some(0) } else { self.left }
    }

    /// Whether the whole response has been returned.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// See [`UpstreamRequest::poll_send`](crate::upstream::request::UpstreamRequest::poll_send). The client takes nothing, so what the
    /// endpoint may still send counts as buffered.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) {
        let uploading = if self.is_uploaded { 0 } else { SEND_BUFFER };
        let downloading = if self.is_over { 0 } else { STREAM_WINDOW };
        self.buffered.hold(uploading + downloading);
        let _ = self.poll_upload(cx);
    }

    /// See [`UpstreamRequest::poll_frame`](crate::upstream::request::UpstreamRequest::poll_frame).
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        // An endpoint may answer before it has read the request, and refuse the rest of it: its response is still valid.
        let uploaded = match self.poll_upload(cx) {
            Err(error) if error.is_of_client() => return self.fail(error),
            uploaded => uploaded.unwrap_or(TimeoutKind::Read),
        };
        self.buffered.release_to(if uploaded == TimeoutKind::Send { SEND_BUFFER } else { 0 });
        match self.poll_download(cx, most) {
            Poll::Ready(Ok(Some(frame))) => {
                self.timer.wait_for_client();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Ok(None)) => {
                self.is_over = true;
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => self.fail(error),
            Poll::Pending => match self.timer.poll_timeout::<()>(cx, uploaded) {
                Poll::Ready(Err(error)) => {
                    self.slot.timed_out();
                    self.fail(error)
                }
                _ => Poll::Pending,
            },
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.is_over = true;
        self.stream = RequestProgress::Ended;
        Poll::Ready(Some(Err(error)))
    }

    fn poll_download(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<Option<Frame<Bytes>>, UpstreamError>> {
        let RequestProgress::Response(download, _) = &mut self.stream else { return Poll::Ready(Ok(None)) };
        while self.unread.is_empty() {
            match ready!(download.poll_data(cx)) {
                Some(Ok(data)) => self.unread = data,
                Some(Err(error)) => return Poll::Ready(Err(self.error(error))),
                None => {
                    let trailers = ready!(download.poll_trailers(cx));
                    self.is_over = true;
                    return Poll::Ready(match trailers {
                        Ok(trailers) => Ok(trailers.map(|map| Frame::trailers(trailers::passed(map)))),
                        Err(error) => Err(self.error(error)),
                    });
                }
            }
            self.timer.set_progress();
        }
        let piece = self.unread.split_to(self.unread.len().min(most.max(1)));
        // Fails only for more than was received.
        let _ = download.flow_control().release_capacity(piece.len());
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        self.is_over = self.unread.is_empty() && download.is_end_stream();
        Poll::Ready(Ok(Some(Frame::data(piece))))
    }

    /// Sends as much of the request as the endpoint accepts. Returns which timeout applies while nothing more happens.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<TimeoutKind, UpstreamError> {
        if matches!(self.stream, RequestProgress::Unsent(..)) && !self.send_head(cx)? {
            return Ok(TimeoutKind::Send);
        }
        while !self.is_uploaded {
            if self.piece.is_empty() && !self.body.is_over() {
                let mut buffer = SendBuffer::default();
                if self.body.poll_fill(cx, &mut buffer)?.is_pending() {
                    return Ok(TimeoutKind::Body);
                }
                self.piece = buffer.take_data();
            }
            let upload = match &mut self.stream {
                RequestProgress::Sent(_, upload) | RequestProgress::Response(_, upload) => upload,
                RequestProgress::Unsent(..) => return Ok(TimeoutKind::Send),
                // A head that cannot be sent over HTTP/2 is the client's.
                RequestProgress::Ended => return Err(UpstreamError::Client),
            };
            if self.piece.is_empty() {
                if !self.body.is_over() {
                    continue;
                }
                self.is_uploaded = true;
                let sent = match self.body.trailers() {
                    Some(trailers) => upload.send_trailers(trailers),
                    None => upload.send_data(Bytes::new(), true),
                };
                self.timer.set_progress();
                sent.map_err(|error| self.error(error))?;
                break;
            }
            upload.reserve_capacity(self.piece.len().min(SEND_BUFFER));
            if upload.capacity() == 0 {
                match upload.poll_capacity(cx) {
                    Poll::Pending => return Ok(TimeoutKind::Send),
                    Poll::Ready(None) => return Err(UpstreamError::Closed),
                    Poll::Ready(Some(Err(error))) => return Err(self.error(error)),
                    Poll::Ready(Some(Ok(_))) => {}
                }
            }
            let part = self.piece.split_to(self.piece.len().min(upload.capacity()));
            if !part.is_empty() {
                let sent = upload.send_data(part, false);
                self.timer.set_progress();
                sent.map_err(|error| self.error(error))?;
            }
        }
        Ok(TimeoutKind::Read)
    }

    /// Sends the head; false while the endpoint allows no further stream.
    fn send_head(&mut self, cx: &mut Context<'_>) -> Result<bool, UpstreamError> {
        let RequestProgress::Unsent(sender, _) = &mut self.stream else { return Ok(true) };
        match sender.poll_ready(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(self.error(error)),
            Poll::Ready(Ok(())) => {}
        }
        let RequestProgress::Unsent(mut sender, head) =
            std::mem::replace(&mut self.stream, RequestProgress::Ended)
        else {
            return Ok(true);
        };
        self.is_uploaded = self.body.is_over();
        let (answer, upload) = match sender.send_request(*head, self.is_uploaded) {
            Ok(sent) => sent,
            Err(error) => return Err(self.error(error)),
        };
        self.stream = RequestProgress::Sent(answer, upload);
        self.timer.set_progress();
        Ok(true)
    }

    /// What an error of h2 means for the request and for the connection.
    fn error(&mut self, error: h2::Error) -> UpstreamError {
        if error.is_reset() {
            // RFC 9113 §8.7: the request has not been processed.
            self.is_refused |= error.reason() == Some(Reason::REFUSED_STREAM);
            return UpstreamError::Reset(error);
        }
        self.slot.retire_connection();
        if error.is_go_away() && error.is_remote() {
            // Only streams that the endpoint has not processed get it (RFC 9113 §6.8), unless it reports an error.
            self.is_refused |= error.reason() == Some(Reason::NO_ERROR);
            return UpstreamError::Closed;
        }
        match error.is_io() {
            true => error.into_io().map_or(UpstreamError::Closed, UpstreamError::Io),
            false => UpstreamError::Reset(error),
        }
    }
}
