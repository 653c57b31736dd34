//! The body of a request on its way to an endpoint.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use ingress_wire::fastcgi::request as fastcgi;

use crate::io::buffers::BufferHold;
use crate::io::send_buffer::SendBuffer;
use crate::upstream::body_copy::BodyCopy;
use crate::upstream::error::UpstreamError;
use crate::upstream::{request_head, trailers};
use crate::wire::http1_stream::{BodyPiece, BrokenBody, Http1Stream};
use crate::wire::http2_body::Http2Body;

/// How much of a body is kept for a retry at another endpoint, at least and at most (`client-body-buffer-size`).
const KEPT_BYTES: usize = 64 * 1024;
const MAX_KEPT: usize = 1 << 20;
/// Kept pieces smaller than this are copied into a common buffer. Each piece is a slice of h2's buffer of 8 KiB or more and
/// keeps all of it in memory: a body that arrives byte by byte would keep half a gigabyte.
const SMALL: usize = 2 * 1024;

/// The beginning of a body, kept for a retry at another endpoint.
#[derive(Debug, Default)]
struct KeptBody {
    pieces: Vec<Bytes>,
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

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).into());
        }
    }
}

/// Where a body comes from.
pub(crate) enum RequestBodySource {
    Http1(Rc<Http1Stream>),
    Http2(Http2Body),
}

impl RequestBodySource {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BrokenBody>>> {
        let piece = match self {
            Self::Http1(stream) => match ready!(stream.poll_body(cx)) {
                None => None,
                Some(Ok(BodyPiece::Data(data))) => Some(Ok(Piece::Data(data))),
                Some(Ok(BodyPiece::Trailers(lines))) => {
                    Some(trailers::parse(&lines).map(Piece::Trailers).map_err(|_| BrokenBody))
                }
                Some(Err(error)) => Some(Err(error)),
            },
            Self::Http2(body) => match ready!(body.poll_frame(cx)) {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                    Ok(data) => Piece::Data(data),
                    Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
                })),
            },
        };
        Poll::Ready(piece)
    }
}

/// A piece of a body.
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
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

/// What is wrong with a body.
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
            if let Some(data) = self.kept.pieces.get(at) {
                let data = data.clone();
                self.replay = Some(at + 1);
                self.put(data, send_buffer);
                return Ok(Poll::Ready(()));
            }
            self.replay = None;
        }
        loop {
            let Some(body) = &mut self.body else {
                self.end(send_buffer);
                return Ok(Poll::Ready(()));
            };
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
                Poll::Ready(Some(Ok(Piece::Trailers(trailers)))) => {
                    self.trailers = Some(Box::new(trailers));
                    continue;
                }
                Poll::Ready(Some(Ok(Piece::Data(data)))) => data,
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
            self.keep(&data, is_forgotten);
            self.put(data, send_buffer);
            return Ok(Poll::Ready(()));
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
        if self.kept.bytes > self.keeps || !is_held {
            *is_forgotten = true;
            self.forget();
        }
    }

    fn forget(&mut self) {
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
mod tests {
    use std::io::IoSlice;

    use bytes::BytesMut;
    use ingress_wire::request::ParsedRequest;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::io::transport_stream::ClientStream;
    use crate::wire::http1_stream::NextHead;

    /// A body that a client sends in chunks.
    async fn chunks(text: &'static [u8]) -> RequestBodySource {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stream, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        accepted.unwrap();
        let input = [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", text].concat();
        let stream = Http1Stream::new(ClientStream::Plain(stream.unwrap()), BytesMut::from(&input[..]));
        let mut request = ParsedRequest::default();
        let head = std::future::poll_fn(|cx| stream.poll_head(cx, &mut request)).await;
        assert!(matches!(head, Ok(NextHead::Complete)));
        RequestBodySource::Http1(Rc::new(stream))
    }

    /// What the next call puts into a send buffer.
    async fn fill(body: &mut RequestBody) -> Result<Bytes, UpstreamError> {
        let mut send_buffer = SendBuffer::default();
        std::future::poll_fn(|cx| match body.poll_fill(cx, &mut send_buffer) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await?;
        let mut slices = [IoSlice::new(&[]); SendBuffer::SLICES];
        let count = send_buffer.slices(&mut slices);
        Ok(slices[..count].iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[tokio::test]
    async fn a_malformed_or_too_large_body_fails_at_every_further_call() {
        let mut whole = RequestBody::new(chunks(b"4\r\nfour\r\n0\r\n\r\n").await, true, 10, None);
        assert_eq!(fill(&mut whole).await.unwrap(), "4\r\nfour\r\n");
        assert_eq!(fill(&mut whole).await.unwrap(), "0\r\n\r\n");
        let mut broken = RequestBody::new(chunks(b"4\r\nfour\r\nx\r\n").await, true, 10, None);
        assert_eq!(fill(&mut broken).await.unwrap(), "4\r\nfour\r\n");
        let mut large = RequestBody::new(
            chunks(b"4\r\nfour\r\n7\r\ntoo big\r\n1\r\nx\r\n0\r\n\r\n").await,
            true,
            10,
            None,
        );
        assert_eq!(fill(&mut large).await.unwrap(), "4\r\nfour\r\n");
        for _ in 0..3 {
            assert!(matches!(fill(&mut broken).await, Err(UpstreamError::Client)));
            assert!(matches!(fill(&mut large).await, Err(UpstreamError::TooLarge)));
        }
    }

    #[tokio::test]
    async fn small_pieces_are_kept_in_one_buffer_and_sent_again_in_order() {
        let mut body =
            RequestBody::new(chunks(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n").await, true, 10, None);
        while !body.is_over() {
            fill(&mut body).await.unwrap();
        }
        let mut body = body.restart().unwrap();
        assert_eq!(body.content.as_ref().unwrap().kept.pieces, ["abc"]);
        assert_eq!(fill(&mut body).await.unwrap(), "3\r\nabc\r\n");
        assert_eq!(fill(&mut body).await.unwrap(), "0\r\n\r\n");
    }

    #[test]
    fn kept_small_pieces_do_not_hold_the_buffers_they_were_read_into() {
        let (small, large) = (Bytes::from(vec![b's'; SMALL - 1]), Bytes::from(vec![b'l'; SMALL]));
        let mut kept = KeptBody::default();
        for piece in [&small, &small, &large, &small] {
            kept.push(piece);
        }
        kept.close_tail();
        let lengths: Vec<_> = kept.pieces.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [2 * small.len(), large.len(), small.len()]);
        assert!(small.is_unique() && !large.is_unique());
    }

    #[tokio::test]
    async fn the_body_of_a_request_that_must_not_be_retried_is_not_kept() {
        let mut body = RequestBody::new(chunks(b"1\r\na\r\n0\r\n\r\n").await, true, 10, None);
        body.forget();
        fill(&mut body).await.unwrap();
        assert!(body.content.as_ref().unwrap().kept.tail.is_empty() && body.restart().is_none());
    }
}
