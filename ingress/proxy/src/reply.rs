//! The body of a response on its way to the client, and the end of the request when it is over.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::client::link::Link;
use crate::record::Record;
use crate::upstream::call::Call;
use crate::upstream::error::CallError;
use crate::worker::Worker;

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
            worker.connections.writing.up();
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
            self.worker.connections.writing.down();
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
        Self { content, open, broken: None }
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
                    if let Some(one) = open.tries.last_mut() {
                        one.received += length;
                    }
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
