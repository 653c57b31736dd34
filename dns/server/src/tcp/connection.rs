//! One TCP connection: length-prefixed queries in, replies out as soon as they are ready (RFC 7766 §6.2.1.1, §7).

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dns_chain::run::{self, PendingQuery};
use dns_chain::{Answer, Request, Transport};
use dns_wire::Rejection;
use dns_wire::codes::rcode;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use net::Drain;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use crate::listener_state::{ListenerState, append_message, encode_message};
use crate::tcp_connections::{ConnectionSlot, TcpCloseReason};

/// How long the first query may take. This and the next two times are CoreDNS's defaults (core/dnsserver/server.go), which
/// `timeouts` changes.
const FIRST_QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a further query may take, counted from the last query or reply.
const NEXT_QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the client may take to read [`MAX_UNSENT`] bytes of replies, or all if there are fewer.
const READ_REPLIES_TIMEOUT: Duration = Duration::from_secs(5);

/// Queries of one connection that may wait at once. At the limit no more are read.
const MAX_IN_FLIGHT: usize = 128;
/// Bytes of replies that the kernel has not accepted. At the limit no more queries are answered.
const MAX_UNSENT: usize = 64 << 10;
/// Bytes read at once.
const READ_SIZE: usize = 4096;

/// Answers the queries of a connection until the client closes its side, a limit is reached or the server stops. Queries
/// that were received are answered first.
pub(super) async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    state: Arc<ListenerState>,
    slot: ConnectionSlot,
    drain: &Drain,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Request::new(Transport::Tcp, canonical(stream.local_addr()?));
    request.client = canonical(client);
    let now = Instant::now();
    let settings = *state.routes.load().settings();
    let mut connection = Connection {
        stream,
        slot,
        state,
        request,
        answer: Answer::default(),
        received: Vec::new(),
        unsent: Unsent::default(),
        waiting: FuturesUnordered::new(),
        waiting_bytes: 0,
        reading: true,
        active: now,
        query_due: now + settings.read.unwrap_or(FIRST_QUERY_TIMEOUT),
        idle_timeout: settings.idle.unwrap_or(NEXT_QUERY_TIMEOUT),
        write_timeout: settings.write.unwrap_or(READ_REPLIES_TIMEOUT),
        queries_left: settings.tcp_queries,
    };
    match connection.run(drain).await {
        Ok(()) => Ok(()),
        Err(Ended::Failed(error)) => Err(error),
        Err(Ended::Closed(reason)) => {
            connection.slot.count_closed(reason);
            if matches!(reason, TcpCloseReason::Unread | TcpCloseReason::Memory) {
                // Makes the close a reset, so that the kernel discards the replies that it has buffered.
                SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO))?;
            }
            Ok(())
        }
    }
}

struct Connection {
    stream: TcpStream,
    slot: ConnectionSlot,
    state: Arc<ListenerState>,
    /// The query that is being answered. Reused for the next one.
    request: Request,
    answer: Answer,
    /// Received and not yet answered. Holds no memory while it is empty.
    received: Vec<u8>,
    unsent: Unsent,
    waiting: FuturesUnordered<BoxFuture<'static, LateReply>>,
    /// Bytes of EDNS options that the waiting queries hold.
    waiting_bytes: usize,
    /// False once no more queries are read. Queries in flight are still answered.
    reading: bool,
    /// The last query or reply.
    active: Instant,
    query_due: Instant,
    /// How long a further query may take.
    idle_timeout: Duration,
    /// How long the client may take to read replies.
    write_timeout: Duration,
    /// Queries that the client may still send, if that is limited.
    queries_left: Option<u32>,
}

/// The reply to a query that had to wait.
struct LateReply {
    message: Option<Vec<u8>>,
    /// Bytes that the query added to [`Connection::waiting_bytes`].
    held: usize,
}

/// Why [`Connection::run`] ended before the client closed its side.
enum Ended {
    /// The client is gone.
    Failed(io::Error),
    /// The server closes the connection.
    Closed(TcpCloseReason),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Connection {
    async fn run(&mut self, drain: &Drain) -> Result<(), Ended> {
        let mut stopping = pin!(drain.stopping());
        let mut timer = pin!(sleep_until(self.query_due));
        loop {
            consume_budget().await;
            self.answer_received();
            self.send()?;
            self.count_buffered()?;
            if self.has_room() && message(&self.received).is_some() {
                continue;
            }
            let is_idle = self.waiting.is_empty() && self.unsent.is_empty();
            if is_idle {
                if !self.reading {
                    return Ok(());
                }
                self.slot.set_idle(self.active);
            } else {
                self.slot.set_in_use();
            }
            // A connection with waiting queries has no idle deadline: the plugins limit how long a query waits.
            let due = match self.unsent.due {
                Some(due) => Some((due, TcpCloseReason::Unread)),
                None => is_idle.then_some((self.query_due, TcpCloseReason::Idle)),
            };
            if let Some((due, _)) = due
                && due < timer.deadline()
            {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                () = &mut stopping, if self.reading => self.reading = false,
                () = self.slot.evicted(), if self.reading => self.reading = false,
                () = &mut timer => {
                    let now = Instant::now();
                    match due {
                        Some((due, reason)) if due <= now => return Err(Ended::Closed(reason)),
                        // The deadline has moved since the timer was set.
                        Some((due, _)) => timer.as_mut().reset(due),
                        None => timer.as_mut().reset(now + self.write_timeout),
                    }
                }
                ready = self.stream.readable(), if self.reading && self.has_room() => {
                    ready?;
                    self.receive()?;
                }
                ready = self.stream.writable(), if !self.unsent.is_empty() => ready?,
                Some(reply) = self.waiting.next(), if self.unsent.has_room() => self.queue_late_reply(reply),
            }
        }
    }

    /// Whether one more query may be answered now.
    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_IN_FLIGHT && self.unsent.has_room()
    }

    fn receive(&mut self) -> io::Result<()> {
        self.received.reserve(READ_SIZE);
        match self.stream.try_read_buf(&mut self.received) {
            Ok(0) => self.reading = false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Answers the complete messages that were received, as far as there is room for the replies.
    fn answer_received(&mut self) {
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while self.has_room()
            && self.queries_left != Some(0)
            && let Some(message) = message(rest)
        {
            rest = &rest[2 + message.len()..];
            self.answer(message);
            if let Some(left) = &mut self.queries_left {
                *left -= 1;
                // The connection is closed once the replies are sent.
                self.reading &= *left > 0;
            }
        }
        if self.queries_left == Some(0) {
            rest = &[];
        }
        if rest.len() == received.len() {
            self.received = received;
            return;
        }
        self.received = rest.to_vec();
        self.set_active();
    }

    /// Answers a message at once if that is possible.
    fn answer(&mut self, message: &[u8]) {
        self.request.size = message.len();
        self.request.received = std::time::Instant::now();
        match self.request.query.parse(message) {
            Ok(()) => self.answer_query(message),
            Err(Rejection::Drop) => {}
            Err(Rejection::Reply(code)) => self.reply_with_error(code),
        }
    }

    fn answer_query(&mut self, message: &[u8]) {
        let Self { request, answer, state, unsent, .. } = self;
        let routes = state.routes.load_full();
        if routes.is_bad_version(&request.query) {
            return self.reply_with_error(rcode::BADVERS);
        }
        if routes.keeps_messages() {
            request.message = message.to_vec();
        }
        let answered = catch_unwind(AssertUnwindSafe(|| {
            run::answer(&routes, request, answer, |encode| {
                unsent.push(encode);
            })
        }));
        match answered {
            Ok(Some(pending)) => self.answer_later(pending),
            Ok(None) => {}
            Err(_panic) => {
                self.state.panics.inc();
                self.request.restore_client_question();
                self.reply_with_error(rcode::SERVFAIL);
            }
        }
    }

    fn answer_later(&mut self, pending: PendingQuery) {
        let (mut request, state) = (self.request.clone(), self.state.clone());
        let held = request.query.options().len() + request.message.len();
        self.waiting_bytes += held;
        self.waiting.push(Box::pin(async move {
            let (mut answer, mut message) = (Answer::default(), None);
            let finish = pending.finish(&mut request, &mut answer, |encode| {
                message = encode_message(encode);
            });
            if AssertUnwindSafe(finish).catch_unwind().await.is_err() {
                state.panics.inc();
                request.restore_client_question();
                message = encode_message(|out| request.query.encode_error(rcode::SERVFAIL, out));
            }
            LateReply { message, held }
        }));
    }

    fn queue_late_reply(&mut self, reply: LateReply) {
        self.waiting_bytes -= reply.held;
        if let Some(message) = reply.message {
            self.unsent.push(|out| {
                out[..message.len()].copy_from_slice(&message);
                message.len()
            });
        }
        self.set_active();
    }

    fn reply_with_error(&mut self, code: u16) {
        let query = &self.request.query;
        self.unsent.push(|out| query.encode_error(code, out));
    }

    fn set_active(&mut self) {
        self.active = Instant::now();
        self.query_due = self.active + self.idle_timeout;
    }

    /// Writes as much of the replies as the kernel accepts now.
    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.try_write(self.unsent.bytes()) {
                Ok(sent) => self.unsent.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent.due.get_or_insert_with(|| Instant::now() + self.write_timeout);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn count_buffered(&mut self) -> Result<(), Ended> {
        let bytes = self.received.len() + self.unsent.buffer.len() + self.waiting_bytes;
        match self.slot.set_buffered(bytes) {
            true => Ok(()),
            false => Err(Ended::Closed(TcpCloseReason::Memory)),
        }
    }
}

/// The message at the start of the bytes, if it is complete.
fn message(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Replies with their length prefixes that the kernel has not accepted yet. Holds no memory while it is empty.
#[derive(Default)]
struct Unsent {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were sent.
    sent: usize,
    /// Bytes that were sent since the deadline was set.
    progress: usize,
    /// When the connection is closed unless the client reads more. Set while the kernel accepts nothing.
    due: Option<Instant>,
}

impl Unsent {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn has_room(&self) -> bool {
        self.bytes().len() < MAX_UNSENT
    }

    /// Appends the message that `write` encodes, if its length is not 0. Returns the length.
    fn push(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
        append_message(&mut self.buffer, write)
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        self.progress += sent;
        if self.is_empty() {
            *self = Self::default();
        } else if self.progress >= MAX_UNSENT {
            (self.progress, self.due) = (0, None);
        }
        if self.sent >= MAX_UNSENT {
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}
