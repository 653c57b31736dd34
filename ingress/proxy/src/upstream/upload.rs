//! The body of a request on its way to an endpoint.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use hyper::body::Incoming;

use crate::forward;
use crate::upstream::error::CallError;

/// How much of a body is kept so that another endpoint can be asked with it.
const KEPT: usize = 64 * 1024;

/// What waits to be written: a head or a chunk's frame, data, and what ends a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    head: Bytes,
    data: Bytes,
    tail: &'static [u8],
    frame: Bytes,
}

impl Outbox {
    pub(crate) const SLICES: usize = 4;

    pub(crate) fn new(head: Bytes) -> Self {
        Self { head, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.wants_data()
    }

    /// Whether a piece of the body has room; the head may still be there.
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

/// A request's body, with its limit, and its beginning in case another endpoint has to be asked.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Option<Incoming>,
    chunked: bool,
    /// How much may still come; `u64::MAX` for no limit.
    limit: u64,
    /// What has been sent to an endpoint; `None` once it was too much to keep.
    kept: Option<Vec<Bytes>>,
    kept_bytes: usize,
    taken: u64,
    /// How many of the kept pieces this endpoint has got.
    replayed: usize,
    /// The end has been put into the outbox.
    over: bool,
    trailers: Option<HeaderMap>,
}

impl Upload {
    /// No body.
    pub(crate) fn none() -> Self {
        Self {
            body: None,
            chunked: false,
            limit: 0,
            kept: Some(Vec::new()),
            kept_bytes: 0,
            taken: 0,
            replayed: 0,
            over: true,
            trailers: None,
        }
    }

    /// A body of at most `limit` bytes, sent in chunks where its length is not known.
    pub(crate) fn new(body: Incoming, chunked: bool, limit: u64) -> Self {
        Self { body: Some(body), chunked, limit, over: false, ..Self::none() }
    }

    /// Bytes of the body that have come from the client.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Everything has been put into the outbox.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Starts from the beginning for another endpoint; `None` if the beginning is gone.
    pub(crate) fn again(mut self) -> Option<Self> {
        self.kept.as_ref()?;
        self.replayed = 0;
        // A body that never was stays over.
        self.over = self.body.is_none() && self.kept_bytes == 0 && !self.chunked;
        Some(self)
    }

    /// Puts the next piece into the outbox. Ready when there is one, or when there will be none.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
    ) -> Result<Poll<()>, CallError> {
        if self.over {
            return Ok(Poll::Ready(()));
        }
        if let Some(data) = self.kept.as_ref().and_then(|kept| kept.get(self.replayed)) {
            self.replayed += 1;
            let data = data.clone();
            self.put(data, outbox);
            return Ok(Poll::Ready(()));
        }
        loop {
            let Some(body) = &mut self.body else {
                self.end(outbox);
                return Ok(Poll::Ready(()));
            };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Err(_))) => return Err(CallError::Client),
                Poll::Ready(None) => {
                    self.body = None;
                    continue;
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.limit = self.limit.checked_sub(data.len() as u64).ok_or(CallError::TooLarge)?;
                    self.taken += data.len() as u64;
                    self.keep(&data);
                    self.put(data, outbox);
                    return Ok(Poll::Ready(()));
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    fn keep(&mut self, data: &Bytes) {
        self.kept_bytes += data.len();
        if self.kept_bytes > KEPT {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(data.clone());
            self.replayed = kept.len();
        }
    }

    fn put(&mut self, data: Bytes, outbox: &mut Outbox) {
        if self.chunked {
            outbox.frame = format!("{:x}\r\n", data.len()).into();
            outbox.tail = b"\r\n";
        }
        outbox.data = data;
    }

    fn end(&mut self, outbox: &mut Outbox) {
        self.over = true;
        if !self.chunked {
            return;
        }
        let Some(trailers) = &self.trailers else {
            outbox.frame = Bytes::from_static(b"0\r\n\r\n");
            return;
        };
        let mut last = b"0\r\n".to_vec();
        for (name, value) in trailers.iter().filter(|(name, _)| forward::passes(name.as_str().as_bytes())) {
            last.extend_from_slice(name.as_ref());
            last.extend_from_slice(b": ");
            last.extend_from_slice(value.as_bytes());
            last.extend_from_slice(b"\r\n");
        }
        last.extend_from_slice(b"\r\n");
        outbox.frame = last.into();
    }
}
