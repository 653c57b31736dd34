//! The body of a response on its way to the client, and the end of the request when it is over.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, Version, response};
use http_body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use crate::client::connection_state::Link;
use crate::observe::access_log::Record;
use crate::state::worker::Worker;
use crate::upstream::error::CallError;
use crate::upstream::request::Call;

/// A request that is being worked on. When it is dropped it is over, however that came: it is logged and counted.
pub(crate) struct Open {
    record: Option<Box<Record>>,
    worker: Rc<Worker>,
    link: Option<Rc<Link>>,
    /// How many of the connection's requests are being worked on.
    count: Rc<Cell<u32>>,
}

impl Open {
    pub(crate) fn new(
        record: Record,
        worker: Rc<Worker>,
        link: Option<Rc<Link>>,
        count: Rc<Cell<u32>>,
    ) -> Self {
        if count.replace(count.get() + 1) == 0 {
            worker.connections.writing.inc();
        }
        Self { record: Some(Box::new(record)), worker, link, count }
    }
}

impl Deref for Open {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.record.as_ref().expect("only dropping takes it")
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut Record {
        self.record.as_mut().expect("only dropping takes it")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        if self.count.replace(self.count.get() - 1) == 1 {
            self.worker.connections.writing.dec();
        }
        if let Some(link) = &self.link {
            record.body_bytes = link.body_bytes();
            link.end(self.worker.options.keep_alive);
        }
        self.worker.finish(*record);
    }
}

/// Where a body comes from.
enum Content {
    Nothing,
    Page(Bytes),
    Endpoint(Box<Call>),
}

/// The body of a response.
pub(crate) struct Reply {
    content: Content,
    /// None after a change of protocol: the request is over when the streams are.
    open: Option<Open>,
    /// Why the body breaks off, until what came before is on its way.
    broken: Option<CallError>,
    /// The body is sent in chunks (RFC 9112 §7.1).
    chunked: bool,
}

impl Reply {
    /// No body.
    pub(crate) fn nothing(open: Open) -> Self {
        Self::of(Content::Nothing, Some(open))
    }

    /// No body, and something else than a request follows.
    pub(crate) fn switched() -> Self {
        Self::of(Content::Nothing, None)
    }

    /// A page that the proxy made.
    pub(crate) fn page(page: Bytes, open: Open) -> Self {
        Self::of(Content::Page(page), Some(open))
    }

    /// What the endpoint sends.
    pub(crate) fn endpoint(call: Box<Call>, open: Open) -> Self {
        Self::of(Content::Endpoint(call), Some(open))
    }

    fn of(content: Content, open: Option<Open>) -> Self {
        Self { content, open, broken: None, chunked: false }
    }

    /// The response of this head and body. What hyper adds to the head is counted here: it knows best, but tells nobody.
    pub(crate) fn under(mut self, parts: response::Parts) -> Response<Self> {
        let length = self.size_hint().exact();
        let Some(open) = self.open.as_mut().filter(|open| open.link.is_some()) else {
            return Response::from_parts(parts, self);
        };
        let bodiless = matches!(parts.status.as_u16(), 101 | 204 | 304);
        let version = open.exchange.as_ref().map_or(Version::HTTP_11, |exchange| exchange.request.version);
        let head = open.exchange.as_ref().is_some_and(|exchange| exchange.request.method == Method::HEAD);
        self.chunked = length.is_none() && version == Version::HTTP_11;
        let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        let reason = reason.map_or_else(|| parts.status.canonical_reason().map_or(0, str::len), <[u8]>::len);
        let mut bytes =
            "HTTP/1.1 200 \r\n\r\n".len() + reason + "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len();
        for (name, value) in &parts.headers {
            bytes += name.as_str().len() + value.len() + ": \r\n".len();
        }
        if self.chunked && !bodiless {
            bytes += "Transfer-Encoding: chunked\r\n".len();
        } else if let Some(length) = length
            && !(bodiless || head || parts.headers.contains_key(CONTENT_LENGTH))
        {
            bytes += "Content-Length: \r\n".len() + length.checked_ilog10().unwrap_or_default() as usize + 1;
        }
        open.sent_head = bytes as u64;
        Response::from_parts(parts, self)
    }

    /// Lets go of the call; its connection is kept if another request may follow on it.
    fn hang_up(&mut self) {
        let Content::Endpoint(call) = std::mem::replace(&mut self.content, Content::Nothing) else { return };
        let Some(open) = &mut self.open else { return };
        if let Some(one) = open.tries.last_mut() {
            one.ended = Some(one.started.elapsed());
        }
        if open.link.is_none() {
            open.body_bytes = call.upload.taken();
        }
        if let Some(connection) = call.into_idle() {
            open.worker.idle.put(connection, open.worker.clock.now());
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        match &mut this.content {
            Content::Nothing => Poll::Ready(None),
            Content::Page(page) => {
                let page = std::mem::take(page);
                this.content = Content::Nothing;
                if let Some(open) = &mut this.open {
                    open.sent += page.len() as u64;
                }
                Poll::Ready(Some(Ok(Frame::data(page))))
            }
            Content::Endpoint(call) => {
                if let Some(error) = this.broken.take() {
                    return Poll::Ready(Some(Err(error)));
                }
                let frame = std::task::ready!(call.poll_frame(cx));
                if let Some(Ok(frame)) = &frame
                    && let (Some(data), Some(open)) = (frame.data_ref(), &mut this.open)
                {
                    let length = data.len() as u64;
                    open.sent += length;
                    if this.chunked {
                        open.sent += u64::from(length.checked_ilog2().unwrap_or_default() / 4 + 1) + 4;
                    }
                    if let Some(one) = open.tries.last_mut() {
                        one.received += length;
                    }
                }
                if frame.is_none()
                    && this.chunked
                    && let Some(open) = &mut this.open
                {
                    open.sent += "0\r\n\r\n".len() as u64;
                }
                if let Some(Err(error)) = frame {
                    tracing::debug!(%error, "a response broke off");
                    // hyper throws away what it has not written when a body fails. It writes while it waits for one.
                    this.broken = Some(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Nothing => true,
            Content::Page(page) => page.is_empty(),
            Content::Endpoint(call) => call.is_over() && self.broken.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Page(page) => SizeHint::with_exact(page.len() as u64),
            Content::Endpoint(call) => call.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.hang_up();
    }
}
