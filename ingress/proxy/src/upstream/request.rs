//! One request on one connection to an endpoint, HTTP/1.1 (RFC 9112).
//!
//! It is polled by the task of the client's connection: no task, channel or wake-up of its own. Request and response
//! bodies flow at the same time, so an endpoint may answer before it has read everything.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use ingress_routes::PoolKey;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::client::connection_state::Link;
use crate::io::clock::{Clock, Timer};
use crate::io::vectored;
use crate::upstream::error::{CallError, Wait};
use crate::upstream::request_body::{Outbox, Upload};
use crate::upstream::response_head::{self, Framing, Head};
use crate::wire::chunked::{Chunked, Piece};

/// How much is read at once, at first and at most.
const READ: usize = 16 * 1024;
const READ_MOST: usize = 256 * 1024;
/// At most for a stream of HTTP/2, where the time that a client has runs for each piece: nothing tells how much of it is
/// on its way. A frame is no larger either.
const READ_MOST_OF_STREAM: usize = READ;
/// How many interim responses one request may have. Each counts as progress, so without a limit an endpoint that
/// sends nothing else would keep a request, and its worker, busy for ever.
const MAX_INTERIM: u32 = 128;

/// A connection to an endpoint, between two requests or during one.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    /// The pool that it was opened for: it is kept while its address is one of the pool's. None for an ExternalName,
    /// whose addresses come and go with its name server's answers.
    pub(crate) pool: Option<PoolKey>,
    /// The address as text, for the log.
    pub(crate) name: Rc<str>,
    /// The clock's time when it was opened and when it became idle.
    pub(crate) opened: u64,
    pub(crate) idle_since: u64,
    pub(crate) served: u32,
    inbox: BytesMut,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        address: SocketAddr,
        pool: Option<PoolKey>,
        name: Rc<str>,
        now: u64,
    ) -> Self {
        Self { stream, address, pool, name, opened: now, idle_since: now, served: 0, inbox: BytesMut::new() }
    }

    /// Whether nothing has come while it was idle, neither bytes nor an end. No system call unless something has.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// How long a call waits for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) send: Duration,
    pub(crate) read: Duration,
    pub(crate) body: Duration,
}

/// The timer of a call: that of the client's connection, or one of its own for a stream of HTTP/2.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) clock: Rc<Clock>,
    pub(crate) timer: Rc<Timer>,
    pub(crate) link: Option<Rc<Link>>,
    pub(crate) times: Times,
    /// For a stream of HTTP/2.
    pub(crate) stream: bool,
}

impl Patience {
    fn most(&self) -> usize {
        if self.stream { READ_MOST_OF_STREAM } else { READ_MOST }
    }
}

/// The response's body so far.
enum Download {
    Head,
    Length(u64),
    Chunked(Box<Chunked>),
    UntilClose,
    /// All of it has been handed on.
    Over,
}

/// A request on its way.
pub(crate) struct Call {
    connection: Connection,
    outbox: Outbox,
    pub(crate) upload: Upload,
    download: Download,
    reusable: bool,
    is_head: bool,
    read: usize,
    /// Interim responses so far.
    interim: u32,
    /// Bytes of the request that the system has taken.
    pub(crate) sent: u64,
    patience: Patience,
    wait: Wait,
    progress: bool,
}

impl Call {
    /// A request whose head is encoded. Nothing is sent before it is polled.
    pub(crate) fn new(
        connection: Connection,
        head: Bytes,
        upload: Upload,
        is_head: bool,
        patience: Patience,
    ) -> Self {
        Self {
            connection,
            outbox: Outbox::new(head),
            upload,
            download: Download::Head,
            reusable: false,
            is_head,
            read: READ,
            interim: 0,
            sent: 0,
            patience,
            wait: Wait::Send,
            progress: true,
        }
    }

    /// The endpoint's address as text.
    pub(crate) fn name(&self) -> &str {
        &self.connection.name
    }

    /// Whether the endpoint has got nothing of the request, so that asking another one cannot do it twice.
    pub(crate) fn is_unsent(&self) -> bool {
        self.sent == 0
    }

    /// The response's head, or what prevented it. Interim responses (1xx) are passed over, as nginx does.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        headers: &mut HeaderMap,
    ) -> Poll<Result<Head, CallError>> {
        let uploaded = self.poll_upload(cx);
        loop {
            if !self.connection.inbox.is_empty()
                && let Some(head) = response_head::parse(&mut self.connection.inbox, self.is_head, headers)?
            {
                if head.status == StatusCode::SWITCHING_PROTOCOLS || !head.status.is_informational() {
                    return Poll::Ready(Ok(self.begin(head)));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Poll::Ready(Err(CallError::Invalid("too many interim responses")));
                }
                headers.clear();
                continue;
            }
            match self.poll_fill(cx) {
                // An endpoint that has answered and closed need not have taken the request.
                Poll::Ready(Err(error)) => return Poll::Ready(Err(uploaded.err().unwrap_or(error))),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(uploaded.err().unwrap_or(CallError::Closed))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    let wait = uploaded?;
                    return self.poll_patience(cx, wait);
                }
            }
        }
    }

    fn begin(&mut self, head: Head) -> Head {
        self.reusable = head.keep_alive;
        self.download = match head.framing {
            Framing::None => Download::Over,
            Framing::Length(length) => Download::Length(length),
            Framing::Chunked => Download::Chunked(Box::default()),
            Framing::UntilClose => Download::UntilClose,
        };
        self.wait_for_client();
        head
    }

    /// How much of the response's body is left, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.download {
            Download::Over => Some(0),
            Download::Length(left) => Some(left),
            _ => None,
        }
    }

    /// The next piece of the response's body.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        // An endpoint that answers early may close its side; what it has answered still counts.
        let uploaded = if self.upload.is_over() && self.outbox.is_empty() {
            Ok(Wait::Read)
        } else {
            self.poll_upload(cx)
        };
        loop {
            match self.take() {
                Ok(Some(frame)) => {
                    self.wait_for_client();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) if matches!(self.download, Download::Over) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) if matches!(self.download, Download::UntilClose) => {
                    self.download = Download::Over;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0)) => return self.fail(CallError::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Pending => {
                    let wait = match uploaded {
                        Ok(wait) => wait,
                        Err(CallError::Io(_) | CallError::Closed) => Wait::Read,
                        Err(error) => return self.fail(error),
                    };
                    return match self.poll_patience::<()>(cx, wait) {
                        Poll::Ready(Err(error)) => self.fail(error),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }

    fn fail(&mut self, error: CallError) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        self.download = Download::Over;
        self.reusable = false;
        Poll::Ready(Some(Err(error)))
    }

    /// A piece of the body out of what has been read.
    fn take(&mut self) -> Result<Option<Frame<Bytes>>, CallError> {
        let inbox = &mut self.connection.inbox;
        if inbox.is_empty() {
            return Ok(None);
        }
        match &mut self.download {
            Download::Head | Download::Over => Ok(None),
            Download::UntilClose => Ok(Some(Frame::data(inbox.split().freeze()))),
            Download::Length(left) => {
                let length = usize::try_from(*left).map_or(inbox.len(), |left| left.min(inbox.len()));
                *left -= length as u64;
                if *left == 0 {
                    self.download = Download::Over;
                }
                Ok(Some(Frame::data(inbox.split_to(length).freeze())))
            }
            Download::Chunked(chunked) => {
                let malformed = |_| CallError::Invalid("malformed chunks");
                let (passed, piece) = chunked.advance(inbox).map_err(malformed)?;
                inbox.advance(passed);
                match piece {
                    Piece::More => Ok(None),
                    Piece::Data(length) => Ok(Some(Frame::data(inbox.split_to(length).freeze()))),
                    Piece::End => {
                        let trailers = std::mem::take(&mut chunked.trailers);
                        self.download = Download::Over;
                        if trailers.is_empty() {
                            return Ok(None);
                        }
                        response_head::trailers(&trailers).map(|trailers| Some(Frame::trailers(trailers)))
                    }
                }
            }
        }
    }

    /// Whether the response has been handed on whole.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.download, Download::Over)
    }

    /// The connection, if another request may follow on it.
    pub(crate) fn into_idle(mut self) -> Option<Connection> {
        let clean = self.is_over() && self.upload.is_over() && self.outbox.is_empty();
        if !self.reusable || !clean || !self.connection.inbox.is_empty() {
            return None;
        }
        // A small buffer is used again for the next response; one that a large body has made grow is not kept.
        if self.connection.inbox.capacity() > READ {
            self.connection.inbox = BytesMut::new();
        }
        self.connection.served += 1;
        Some(self.connection)
    }

    /// The stream after 101, and what came after the head.
    pub(crate) fn into_upgraded(self) -> (TcpStream, Bytes) {
        (self.connection.stream, self.connection.inbox.freeze())
    }

    /// Sends what can be sent; says whom to wait for if nothing comes.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<Wait, CallError> {
        loop {
            // The first piece of a body leaves together with the head.
            let pending =
                self.outbox.wants_data() && self.upload.poll_fill(cx, &mut self.outbox)?.is_pending();
            if self.outbox.is_empty() {
                return Ok(if pending { Wait::Body } else { Wait::Read });
            }
            let mut slices = [IoSlice::new(&[]); Outbox::SLICES];
            let count = self.outbox.slices(&mut slices);
            match vectored::poll_write(&mut self.connection.stream, cx, &slices[..count]) {
                Poll::Pending => return Ok(Wait::Send),
                Poll::Ready(Ok(0)) => return Err(CallError::Closed),
                Poll::Ready(Ok(length)) => {
                    self.outbox.advance(length);
                    self.sent += length as u64;
                    self.progress = true;
                }
                Poll::Ready(Err(error)) => return Err(CallError::Io(error)),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, CallError>> {
        let inbox = &mut self.connection.inbox;
        inbox.reserve(self.read);
        let spare = inbox.spare_capacity_mut();
        let room = spare.len();
        let mut buffer = ReadBuf::uninit(spare);
        ready!(Pin::new(&mut self.connection.stream).poll_read(cx, &mut buffer)).map_err(CallError::Io)?;
        let length = buffer.filled().len();
        // SAFETY: the stream has initialised the first `length` bytes of the spare capacity.
        unsafe { inbox.set_len(inbox.len() + length) };
        if length == room {
            self.read = (self.read * 2).min(self.patience.most());
        }
        self.progress = true;
        Poll::Ready(Ok(length))
    }

    fn wait_for_client(&mut self) {
        self.wait = Wait::Client;
        if let Some(link) = &self.patience.link {
            link.wait_for_client();
        }
    }

    fn poll_patience<T>(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<Result<T, CallError>> {
        let Patience { clock, timer, link, times, .. } = &self.patience;
        if self.progress || self.wait != wait {
            self.progress = false;
            if self.wait == Wait::Client
                && let Some(link) = link
            {
                link.wait_for_upstream();
            }
            self.wait = wait;
            clock.arm(
                timer,
                match wait {
                    Wait::Send => times.send,
                    Wait::Read | Wait::Client => times.read,
                    Wait::Body => times.body,
                },
            );
        }
        if timer.poll_expired(cx) { Poll::Ready(Err(CallError::Timeout(wait))) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests;
