//! The client's stream as hyper sees it: only whole heads that were checked, and never more than one message at a
//! time beyond what hyper asked for.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::connection_state::Link;
use crate::io::{scratch, vectored};
use crate::wire::chunked::{Chunked, Piece};
use crate::wire::request_head::{Finder, Framing, Head, MAX_LINE, Refusal};

/// What hyper reads at once of a body that nobody wants, if it has come with the head.
const TINY: usize = 4 * 1024;

/// Where the stream is within what the client sends.
enum At {
    Head(Finder),
    Length(u64),
    Chunked(Box<Chunked>),
    /// HTTP/2: everything passes.
    Raw,
    /// After a head that was refused. The stream acts as if the client had closed.
    Refused,
    /// After a body that was refused: reading fails.
    Broken,
}

/// The stream of a client's HTTP/1 connection.
pub(crate) struct ClientIo<S> {
    stream: S,
    link: Rc<Link>,
    at: At,
    /// Read and not checked yet.
    inbox: BytesMut,
    /// Checked and not handed over yet.
    cleared: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    pub(crate) fn new(stream: S, link: Rc<Link>) -> Self {
        let at = At::Head(Finder::default());
        Self { stream, link, at, inbox: BytesMut::new(), cleared: Bytes::new() }
    }

    /// Whether the client starts with HTTP/2's preface (RFC 9113 §3.4). Reads no more than it has to.
    pub(crate) fn poll_is_h2(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        loop {
            let seen = self.inbox.len().min(PREFACE.len());
            if self.inbox[..seen] != PREFACE[..seen] {
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

    /// Lets everything through: HTTP/2 has heads of another kind.
    pub(crate) fn pass_all(&mut self) {
        self.at = At::Raw;
    }

    /// Whether the client has more to send of a body that nobody wants.
    pub(crate) fn is_mid_body(&self) -> bool {
        matches!(self.at, At::Length(_) | At::Chunked(_) | At::Broken)
    }

    /// The stream and what was read from it beyond the last request.
    pub(crate) fn into_parts(self) -> (S, Bytes, Bytes) {
        (self.stream, self.cleared, self.inbox.freeze())
    }

    /// How much has come. What has not keeps no buffer waiting: most connections are idle.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let inbox = &mut self.inbox;
        scratch::poll_read(&mut self.stream, cx, |_, bytes| {
            inbox.extend_from_slice(bytes);
            bytes.len()
        })
    }

    /// Moves what can be handed over from `inbox` to `cleared`; true if there is something.
    fn clear(&mut self) -> bool {
        if self.inbox.is_empty() {
            return false;
        }
        match &mut self.at {
            At::Head(_) => self.clear_head(),
            At::Chunked(_) => self.clear_chunks(),
            At::Length(left) => {
                let length =
                    usize::try_from(*left).map_or(self.inbox.len(), |left| left.min(self.inbox.len()));
                self.cleared = self.inbox.split_to(length).freeze();
                self.took(length);
                true
            }
            At::Raw => {
                self.cleared = self.inbox.split().freeze();
                true
            }
            At::Refused | At::Broken => {
                self.inbox.clear();
                false
            }
        }
    }

    fn clear_head(&mut self) -> bool {
        let At::Head(finder) = &mut self.at else { return false };
        // Empty lines before a request are skipped (RFC 9112 §2.2), as nginx does.
        while self.inbox.starts_with(b"\r\n") {
            self.inbox.advance(2);
        }
        let found = match finder.find(&self.inbox) {
            Ok(Some(length)) => {
                let bytes = self.inbox.split_to(length).freeze();
                Head::check(bytes.clone()).map_err(|refusal| (refusal, bytes))
            }
            Ok(None) => {
                self.link.reads(!self.inbox.is_empty());
                return false;
            }
            Err(refusal) => Err((refusal, self.inbox.split().freeze())),
        };
        self.link.reads(false);
        match found {
            Ok(head) => {
                self.cleared = head.for_hyper();
                self.at = match head.framing {
                    Framing::Length(0) => At::Head(Finder::default()),
                    Framing::Length(length) => At::Length(length),
                    Framing::Chunked => At::Chunked(Box::default()),
                };
                self.link.body_due.set(match head.framing {
                    Framing::Length(length) => length > self.inbox.len().min(TINY) as u64,
                    Framing::Chunked => true,
                });
                self.link.heads.borrow_mut().push_back(head);
                true
            }
            Err((refusal, head)) => {
                *self.link.refused.borrow_mut() = first_line(&head);
                self.refuse(refusal);
                false
            }
        }
    }

    fn clear_chunks(&mut self) -> bool {
        let At::Chunked(chunked) = &mut self.at else { return false };
        let mut at = 0;
        let over = loop {
            match chunked.advance(&self.inbox[at..]) {
                Ok((passed, Piece::Data(length))) => at += passed + length,
                Ok((passed, Piece::More)) => {
                    at += passed;
                    break false;
                }
                Ok((passed, Piece::End)) => {
                    at += passed;
                    break true;
                }
                Err(_) => {
                    self.at = At::Broken;
                    return false;
                }
            }
        };
        self.cleared = self.inbox.split_to(at).freeze();
        self.link.body_bytes.set(self.link.body_bytes.get() + at as u64);
        if over {
            self.body_over();
        }
        true
    }

    fn took(&mut self, length: usize) {
        self.link.body_bytes.set(self.link.body_bytes.get() + length as u64);
        if let At::Length(left) = &mut self.at {
            *left -= length as u64;
            if *left == 0 {
                self.body_over();
            }
        }
    }

    fn body_over(&mut self) {
        self.at = At::Head(Finder::default());
        self.link.body_due.set(false);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.at = At::Refused;
        self.inbox.clear();
        self.link.refusal.set(Some(refusal));
    }

    /// The time for the head runs from its first byte, or from the start of the connection.
    fn head_begins(&self) {
        if !self.link.in_flight.get() {
            self.link.clock.arm(&self.link.timer, self.link.head_timeout);
        }
    }

    /// What follows something refused must wait for the response before it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let heads = !self.link.heads.borrow().is_empty();
        if heads || self.link.in_flight.get() || self.link.write_blocked.get() {
            *self.link.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// The request line of a head that was refused, or what there is of it.
fn first_line(head: &[u8]) -> Bytes {
    let shown = &head[..head.len().min(MAX_LINE)];
    let line = shown.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    Bytes::copy_from_slice(line)
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Read for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.cleared.is_empty() {
                let length = this.cleared.len().min(cursor.remaining());
                cursor.put_slice(&this.cleared[..length]);
                this.cleared.advance(length);
                return Poll::Ready(Ok(()));
            }
            if this.clear() {
                continue;
            }
            match &this.at {
                At::Refused => return this.poll_end(cx),
                At::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // Bodies of known length and HTTP/2 go straight into hyper's buffer.
                At::Length(_) | At::Raw => return this.poll_read_through(cx, cursor),
                At::Head(_) | At::Chunked(_) => {
                    let first = this.inbox.is_empty();
                    if std::task::ready!(this.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    if first && matches!(this.at, At::Head(_)) {
                        this.head_begins();
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    fn poll_read_through(
        &mut self,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `ReadBuf::uninit` does not de-initialise, and only bytes that it says are filled are advanced over.
        let spare = unsafe { cursor.as_mut() };
        let limit = match self.at {
            At::Length(left) => usize::try_from(left).map_or(spare.len(), |left| left.min(spare.len())),
            _ => spare.len(),
        };
        let mut buffer = ReadBuf::uninit(&mut spare[..limit]);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        // SAFETY: the stream has initialised the first `length` bytes.
        unsafe { cursor.advance(length) };
        self.took(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for ClientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.link.writes(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = vectored::poll_write(&mut self.stream, cx, slices);
        self.link.writes(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes what it cannot send yet. Whoever flushes in vain is blocked; to flush nothing is no progress.
        if result.is_pending() != self.link.write_blocked.get() {
            self.link.writes(result.is_pending());
        }
        result
    }

    /// Whoever has the last word (the page of a refusal, or someone who waits for the client to stop sending) shuts
    /// the stream down after that.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.refusal.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
