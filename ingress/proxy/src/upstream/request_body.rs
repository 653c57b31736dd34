//! The body of a request on its way to an endpoint.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use hyper::body::Incoming;

use crate::io::buffers::BufferHold;
use crate::upstream::error::UpstreamError;
use crate::upstream::request_head;

/// How much of a body is kept for a retry at another endpoint.
const KEPT_BYTES: usize = 64 * 1024;
/// Kept pieces smaller than this are copied into a common buffer. Each piece is a slice of hyper's buffer of 8 KiB or more and
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

/// What is written next: the head, the size line of a chunk, data, and the end of a chunk.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    head: Bytes,
    data: Bytes,
    tail: &'static [u8],
    frame: Bytes,
}

impl SendBuffer {
    pub(crate) const SLICES: usize = 4;

    pub(crate) fn new(head: Bytes) -> Self {
        Self { head, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.wants_data()
    }

    /// Whether the next piece of the body can be put in; the head may still be unwritten.
    pub(crate) fn wants_data(&self) -> bool {
        self.frame.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; Self::SLICES]) -> usize {
        let parts = [&self.head[..], &self.frame, &self.data, self.tail];
        let mut count = 0;
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            slices[count] = IoSlice::new(part);
            count += 1;
        }
        count
    }

    pub(crate) fn advance(&mut self, mut length: usize) {
        for part in [&mut self.head, &mut self.frame, &mut self.data] {
            let taken = part.len().min(length);
            part.advance(taken);
            length -= taken;
        }
        self.tail = &self.tail[length.min(self.tail.len())..];
    }
}

/// A request's body, with its limit, and its beginning for a retry.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Option<Incoming>,
    chunked: bool,
    /// How many more bytes are allowed; `u64::MAX` for no limit.
    limit: u64,
    /// What has been sent to an endpoint; `None` if that is too much to keep, or if the request must not be retried.
    kept: Option<KeptBody>,
    /// How many bytes have been received.
    received: u64,
    /// Which of the kept pieces comes next; `None` once they have all been sent.
    replay: Option<usize>,
    /// The end has been put into the send buffer.
    over: bool,
    /// Why the body cannot be completed. Nothing more is sent then: an incomplete body must not look complete to an endpoint.
    fault: Option<BodyFault>,
    trailers: Option<HeaderMap>,
    /// The kept bytes, which count as buffered.
    hold: Option<BufferHold>,
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
        Self {
            body: None,
            chunked: false,
            limit: 0,
            kept: Some(KeptBody::default()),
            received: 0,
            replay: None,
            over: true,
            fault: None,
            trailers: None,
            hold: None,
        }
    }

    /// A body of at most `limit` bytes, sent in chunks where its length is not known.
    pub(crate) fn new(body: Incoming, chunked: bool, limit: u64, hold: Option<BufferHold>) -> Self {
        Self { body: Some(body), chunked, limit, over: false, hold, ..Self::none() }
    }

    /// How many bytes of the body have been received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether the whole body has been put into the send buffer.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Starts from the beginning for another endpoint; `None` if the beginning was not kept.
    pub(crate) fn restart(mut self) -> Option<Self> {
        let kept = self.kept.as_mut()?;
        kept.close_tail();
        self.replay = Some(0);
        // A request without a body has nothing to send again.
        self.over = self.body.is_none() && kept.bytes == 0 && !self.chunked;
        Some(self)
    }

    /// Puts the next piece into the send buffer. Ready when there is one, or when the body has ended. After an error every
    /// further call fails, too.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        send_buffer: &mut SendBuffer,
    ) -> Result<Poll<()>, UpstreamError> {
        if self.over {
            return Ok(Poll::Ready(()));
        }
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        if let Some(at) = self.replay {
            if let Some(data) = self.kept.as_ref().and_then(|kept| kept.pieces.get(at)) {
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
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Err(_))) => return Err(self.fail(BodyFault::Broken)),
                Poll::Ready(None) => {
                    self.body = None;
                    continue;
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    let length = data.len() as u64;
                    let Some(left) = self.limit.checked_sub(length) else {
                        return Err(self.fail(BodyFault::TooLarge));
                    };
                    self.limit = left;
                    self.received += length;
                    if let Some(hold) = &self.hold {
                        hold.take(data.len());
                    }
                    self.keep(&data);
                    self.put(data, send_buffer);
                    return Ok(Poll::Ready(()));
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    fn fail(&mut self, fault: BodyFault) -> UpstreamError {
        self.body = None;
        self.fault = Some(fault);
        fault.into()
    }

    fn keep(&mut self, data: &Bytes) {
        let Some(kept) = &mut self.kept else { return };
        kept.push(data);
        let is_held = self.hold.as_mut().is_none_or(|hold| hold.add(data.len()));
        if kept.bytes > KEPT_BYTES || !is_held {
            self.forget();
        }
    }

    /// Drops what is kept, and keeps nothing more: the request must not be retried.
    pub(crate) fn forget(&mut self) {
        if self.kept.take().is_some()
            && let Some(hold) = &mut self.hold
        {
            hold.clear();
        }
    }

    fn put(&mut self, data: Bytes, send_buffer: &mut SendBuffer) {
        if self.chunked {
            send_buffer.frame = format!("{:x}\r\n", data.len()).into();
            send_buffer.tail = b"\r\n";
        }
        send_buffer.data = data;
    }

    fn end(&mut self, send_buffer: &mut SendBuffer) {
        self.over = true;
        if !self.chunked {
            return;
        }
        let Some(trailers) = &self.trailers else {
            send_buffer.frame = Bytes::from_static(b"0\r\n\r\n");
            return;
        };
        let mut last = b"0\r\n".to_vec();
        for (name, value) in
            trailers.iter().filter(|(name, _)| request_head::passes(name.as_str().as_bytes()))
        {
            last.extend_from_slice(name.as_ref());
            last.extend_from_slice(b": ");
            last.extend_from_slice(value.as_bytes());
            last.extend_from_slice(b"\r\n");
        }
        last.extend_from_slice(b"\r\n");
        send_buffer.frame = last.into();
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A body that a client sends in chunks.
    async fn chunks(text: &'static [u8]) -> Incoming {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        client.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        client.write_all(text).await.unwrap();
        let (send, mut bodies) = mpsc::unbounded_channel();
        let take = move |request: Request<Incoming>| {
            send.send(request.into_body()).unwrap();
            std::future::pending::<Result<Response<String>, std::io::Error>>()
        };
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new();
            let _client = client;
            let _ = serving.serve_connection(TokioIo::new(server), service_fn(take)).await;
        });
        bodies.recv().await.unwrap()
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
        Ok([&send_buffer.frame[..], &send_buffer.data, send_buffer.tail].concat().into())
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
        assert_eq!(body.kept.as_ref().unwrap().pieces, ["abc"]);
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
        assert!(body.kept.is_none() && body.restart().is_none());
    }
}
