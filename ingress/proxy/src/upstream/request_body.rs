//! The body of a request on its way to an endpoint.
//!
//! With `proxy-request-buffering` a body of up to 1 MiB is received before the endpoint gets the request, so that a client that sends
//! slowly does not occupy an endpoint, and a chunked body gets a Content-Length.

mod source;

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use ingress_wire::fastcgi::request as fastcgi;
use smallvec::SmallVec;

pub(crate) use self::source::RequestBodySource;
use self::source::SourcePiece;
use crate::io::buffers::BufferHold;
use crate::io::send_buffer::SendBuffer;
use crate::upstream::body_copy::BodyCopy;
use crate::upstream::error::UpstreamError;
use crate::upstream::request_head;
use crate::wire::http1_stream::BrokenBody;

/// How much of a body is kept for a retry at another endpoint, at least and at most (`client-body-buffer-size`).
const KEPT_BYTES: usize = 64 * 1024;
const MAX_KEPT: usize = 1 << 20;
/// How much of a body is received before its request is sent (`proxy-request-buffering`), if the memory for buffers allows it.
pub(crate) const RECEIVED_FIRST: usize = 1 << 20;
/// Kept pieces smaller than this are copied into a common buffer. Each piece is a slice of h2's buffer of 8 KiB or more and
/// keeps all of it in memory: a body that arrives byte by byte would keep half a gigabyte.
const SMALL: usize = 2 * 1024;

/// The beginning of a body, kept for a retry at another endpoint.
#[derive(Debug, Default)]
struct KeptBody {
    pieces: SmallVec<[Bytes; 1]>,
    /// The last pieces, if they were small.
    tail: Vec<u8>,
    bytes: usize,
}

impl KeptBody {
    fn push(&mut self, data: &Bytes) {
        self.bytes += data.len();
        if data.len() < SMALL {
            return self.tail.extend_from_slice(data);
        }
        self.close_tail();
        self.pieces.push(data.clone());
    }

    /// A body that was received at once. It shares its buffer with the head.
    fn push_whole(&mut self, data: Bytes) {
        self.bytes = data.len();
        self.pieces.push(data);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).into());
        }
    }
}

/// How an endpoint gets a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEncoding {
    /// As it is: its length, or the protocol, says where it ends.
    Plain,
    Chunked,
    /// As records, with an empty one at its end.
    FastCgi,
}

/// A request's body, with its limit, and its beginning for a retry.
pub(crate) struct RequestBody {
    /// `None` if there is no body, as the head says: nothing is sent after it. Boxed, because most requests have none.
    content: Option<Box<BodyContent>>,
    /// The request must not be retried, or too much was sent to keep it.
    is_forgotten: bool,
}

/// A body that a client sends.
struct BodyContent {
    body: Option<RequestBodySource>,
    encoding: BodyEncoding,
    /// How many more bytes are allowed; `u64::MAX` for no limit.
    limit: u64,
    /// What has been sent to an endpoint; nothing once the body is forgotten.
    kept: KeptBody,
    /// How much is kept.
    keeps: usize,
    /// How many bytes have been received.
    received: u64,
    /// Which of the kept pieces comes next; `None` once they have all been sent.
    replay: Option<usize>,
    /// The end has been put into the send buffer.
    over: bool,
    /// Why the body cannot be completed. Nothing more is sent then: an incomplete body must not look complete to an endpoint.
    fault: Option<BodyFault>,
    trailers: Option<Box<HeaderMap>>,
    /// The kept bytes, which count as buffered.
    hold: Option<BufferHold>,
    /// The copy for `mirror-target`, until it is complete.
    copy: Option<Box<BodyCopy>>,
}

/// The reason why a body cannot be sent.
#[derive(Clone, Copy, Debug)]
enum BodyFault {
    TooLarge,
    Broken,
}

impl From<BodyFault> for UpstreamError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::TooLarge,
            BodyFault::Broken => Self::Client,
        }
    }
}

impl RequestBody {
    /// No body.
    pub(crate) fn none() -> Self {
        Self { content: None, is_forgotten: false }
    }

    /// A body of at most `limit` bytes, sent in chunks where its length is not known.
    pub(crate) fn new(body: RequestBodySource, chunked: bool, limit: u64, hold: Option<BufferHold>) -> Self {
        let content = BodyContent {
            body: Some(body),
            encoding: if chunked { BodyEncoding::Chunked } else { BodyEncoding::Plain },
            limit,
            kept: KeptBody::default(),
            keeps: KEPT_BYTES,
            received: 0,
            replay: None,
            over: false,
            fault: None,
            trailers: None,
            hold,
            copy: None,
        };
        Self { content: Some(Box::new(content)), is_forgotten: false }
    }

    /// Keeps so many bytes for a retry, within limits.
    pub(crate) fn keeping(mut self, bytes: u64) -> Self {
        if let Some(content) = &mut self.content {
            content.keeps = usize::try_from(bytes).unwrap_or(MAX_KEPT).clamp(KEPT_BYTES, MAX_KEPT);
        }
        self
    }

    /// The same body, of which a copy is made.
    pub(crate) fn copied(mut self, copy: BodyCopy) -> Self {
        if let Some(content) = &mut self.content {
            content.copy = Some(Box::new(copy));
        }
        self
    }

    /// The same body, sent in another way.
    pub(crate) fn encoded(mut self, encoding: BodyEncoding) -> Self {
        if let Some(content) = &mut self.content {
            content.encoding = encoding;
        }
        self
    }

    /// The client's trailers, once the body is over, as far as they are forwarded.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        let trailers = self.content.as_ref()?.trailers.as_ref()?;
        let mut passed = HeaderMap::with_capacity(trailers.len());
        for (name, value) in &**trailers {
            if request_head::passes(name.as_str().as_bytes()) {
                passed.append(name, value.clone());
            }
        }
        (!passed.is_empty()).then_some(passed)
    }

    /// Whether [`Self::restart`] is possible.
    pub(crate) fn is_kept(&self) -> bool {
        !self.is_forgotten
    }

    /// How many bytes of the body have been received.
    pub(crate) fn received(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.received)
    }

    /// Whether the whole body has been put into the send buffer.
    pub(crate) fn is_over(&self) -> bool {
        self.content.as_ref().is_none_or(|content| content.over)
    }

    /// Receives [`RECEIVED_FIRST`] bytes before anything is sent. Ready with the length if that is the whole body, with `None` if
    /// the rest has to be sent as it arrives.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<u64>, UpstreamError>> {
        match &mut self.content {
            None => Poll::Ready(Ok(None)),
            Some(content) => content.poll_receive(cx, &mut self.is_forgotten),
        }
    }

    /// Starts from the beginning for another endpoint; `None` if the beginning was not kept.
    pub(crate) fn restart(mut self) -> Option<Self> {
        if self.is_forgotten {
            return None;
        }
        if let Some(content) = &mut self.content {
            content.kept.close_tail();
            content.replay = Some(0);
            content.over = false;
        }
        Some(self)
    }

    /// Puts the next piece into the send buffer. Ready when there is one, or when the body has ended. After an error every
    /// further call fails, too.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        send_buffer: &mut SendBuffer,
    ) -> Result<Poll<()>, UpstreamError> {
        let Some(content) = &mut self.content else { return Ok(Poll::Ready(())) };
        content.poll_fill(cx, send_buffer, &mut self.is_forgotten)
    }

    /// Drops what is kept, and keeps nothing more: the request must not be retried.
    pub(crate) fn forget(&mut self) {
        if !std::mem::replace(&mut self.is_forgotten, true)
            && let Some(content) = &mut self.content
        {
            content.forget();
        }
    }
}

impl BodyContent {
    /// Puts a piece into the send buffer.
    fn put(&self, data: Bytes, send_buffer: &mut SendBuffer) {
        match self.encoding {
            BodyEncoding::Plain => send_buffer.put_data(data, false),
            BodyEncoding::Chunked => send_buffer.put_data(data, true),
            BodyEncoding::FastCgi => {
                let mut records = Vec::with_capacity(data.len() + 16);
                fastcgi::body(&data, &mut records);
                send_buffer.put_data(records.into(), false);
            }
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        send_buffer: &mut SendBuffer,
        is_forgotten: &mut bool,
    ) -> Result<Poll<()>, UpstreamError> {
        if self.over {
            return Ok(Poll::Ready(()));
        }
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        if let Some(at) = self.replay {
            if let Some(piece) = self.kept.pieces.get_mut(at) {
                let data = if *is_forgotten { std::mem::take(piece) } else { piece.clone() };
                self.replay = Some(at + 1);
                self.put(data, send_buffer);
                return Ok(Poll::Ready(()));
            }
            self.replay = None;
            if *is_forgotten {
                self.forget();
            }
        }
        match self.poll_piece(cx)? {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => self.end(send_buffer),
            Poll::Ready(Some(data)) => {
                self.keep(&data, is_forgotten);
                self.put(data, send_buffer);
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        is_forgotten: &mut bool,
    ) -> Poll<Result<Option<u64>, UpstreamError>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(fault.into()));
        }
        let mut piece = ready!(self.poll_piece(cx)?);
        let whole = loop {
            // Trailers need chunks.
            let Some(data) = piece else { break self.trailers.is_none().then_some(self.received) };
            let next = self.poll_piece(cx)?;
            let is_whole = matches!(next, Poll::Ready(None)) && self.kept.bytes == 0;
            if is_whole {
                self.kept.push_whole(data.clone());
            } else {
                self.kept.push(&data);
            }
            let is_held = self.hold.as_mut().is_none_or(|hold| hold.add_received(data.len()));
            // What does not count as buffered is dropped when it is sent.
            *is_forgotten |= !is_held;
            let is_full = !is_held || self.kept.bytes >= RECEIVED_FIRST;
            piece = match next {
                Poll::Ready(Some(data)) if is_full => {
                    self.kept.push(&data);
                    *is_forgotten = true;
                    break None;
                }
                Poll::Pending if is_full => break None,
                next => ready!(next),
            };
        };
        self.kept.close_tail();
        self.replay = Some(0);
        Poll::Ready(Ok(whole))
    }

    /// The next piece of the client, which is not empty; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<Bytes>>, UpstreamError> {
        loop {
            let Some(body) = &mut self.body else { return Ok(Poll::Ready(None)) };
            let data = match body.poll_piece(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Err(BrokenBody))) => return Err(self.fail(BodyFault::Broken)),
                Poll::Ready(None) => {
                    self.body = None;
                    if let Some(copy) = self.copy.take() {
                        copy.complete();
                    }
                    continue;
                }
                Poll::Ready(Some(Ok(SourcePiece::Trailers(trailers)))) => {
                    self.trailers = Some(Box::new(trailers));
                    continue;
                }
                Poll::Ready(Some(Ok(SourcePiece::Data(data)))) => data,
            };
            if data.is_empty() {
                continue;
            }
            let length = data.len() as u64;
            let Some(left) = self.limit.checked_sub(length) else {
                return Err(self.fail(BodyFault::TooLarge));
            };
            self.limit = left;
            self.received += length;
            if let Some(hold) = &self.hold {
                hold.take(data.len());
            }
            if let Some(copy) = self.copy.take() {
                self.copy = copy.push(&data).map(Box::new);
            }
            return Ok(Poll::Ready(Some(data)));
        }
    }

    fn fail(&mut self, fault: BodyFault) -> UpstreamError {
        self.body = None;
        self.copy = None;
        self.fault = Some(fault);
        fault.into()
    }

    fn keep(&mut self, data: &Bytes, is_forgotten: &mut bool) {
        if *is_forgotten {
            return;
        }
        self.kept.push(data);
        let is_held = self.hold.as_mut().is_none_or(|hold| hold.add(data.len()));
        if !is_held || self.kept.bytes > self.keeps {
            *is_forgotten = true;
            self.forget();
        }
    }

    /// Drops what is kept; what has still to be sent, once it is.
    fn forget(&mut self) {
        if self.replay.is_some() {
            return;
        }
        self.kept = KeptBody::default();
        if let Some(hold) = &mut self.hold {
            hold.clear();
        }
    }

    fn end(&mut self, send_buffer: &mut SendBuffer) {
        self.over = true;
        match self.encoding {
            BodyEncoding::Plain => return,
            BodyEncoding::Chunked => {}
            BodyEncoding::FastCgi => {
                let mut record = Vec::new();
                fastcgi::end(&mut record);
                return send_buffer.put_data(record.into(), false);
            }
        }
        let mut lines = Vec::new();
        let trailers = self.trailers.iter().flat_map(|trailers| trailers.iter());
        for (name, value) in trailers.filter(|(name, _)| request_head::passes(name.as_str().as_bytes())) {
            lines.extend_from_slice(name.as_ref());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        send_buffer.put_last_chunk(&lines);
    }
}

#[cfg(test)]
mod tests;
