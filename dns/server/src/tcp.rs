//! DNS over TCP (RFC 1035 §4.2.2, RFC 7766): many queries in flight on a connection.
//!
//! Framing, queueing and time-out are hickory's: a connection is made of the streams that hickory-server's own TCP
//! listener is made of. Its `Server` around them takes replies only as records in its own types, and its encoder
//! compresses no more than 120 names of a message: it cuts the answer of a headless Service at about 1,400 addresses,
//! where CoreDNS and [`Reply::encode`] have room for 4,000. It also gives nothing to a client that closes its side
//! while its query is being forwarded; CoreDNS does.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dns_chain::run;
use dns_chain::{Answer, Request, Transport};
use dns_wire::codes::rcode;
use dns_wire::{Query, Rejection, Reply};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp::TcpStream as Messages;
use hickory_server::net::{BufDnsStreamHandle, DnsStreamHandle};
use hickory_server::proto::op::SerialMessage;
use hickory_server::server::TimeoutStream;
use net::{BindError, Drain};
use tokio::io::{AsyncRead, BufReader, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

use crate::listener_state::{ANY, ListenerState, MAX_MESSAGE, encode_message};

/// How long a client may take from one message to the next, reading replies included; CoreDNS's idle time-out.
const IDLE: Duration = Duration::from_secs(10);

/// How long is not accepted after that has failed.
const PAUSE: Duration = Duration::from_millis(30);

/// Queries of one connection that wait for somebody else; more are not read.
const IN_FLIGHT: usize = 128;

/// Listeners of one address, bound and not yet accepting.
pub(crate) struct TcpListeners {
    listeners: Vec<std::net::TcpListener>,
}

impl TcpListeners {
    /// Binds to an address; the unspecified IPv6 address stands for both families.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        if address.ip() == ANY {
            let ipv4 = SocketAddr::from(([0; 4], address.port()));
            listeners = net::listen::listen(ipv4, 1)?;
        }
        match net::listen::listen(address, 1) {
            Ok(more) => listeners.extend(more),
            // A system without IPv6.
            Err(_) if !listeners.is_empty() => {}
            Err(error) => return Err(error),
        }
        Ok(Self { listeners })
    }

    /// Begins to accept. Must be called within the runtime that is to do it.
    pub(crate) fn serve(self, shared: &Arc<ListenerState>, drain: &Drain) -> io::Result<()> {
        for listener in self.listeners {
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(accept(listener, shared.clone(), drain.clone()));
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, shared: Arc<ListenerState>, drain: Drain) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.stopping() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let (shared, drain, open) = (shared.clone(), drain.clone(), drain.track());
                tokio::spawn(async move {
                    tokio::select! {
                        // A client that breaks off is no event.
                        _ = converse(stream, client, shared, drain.clone()) => {}
                        () = drain.forced() => {}
                    }
                    drop(open);
                });
            }
            // Out of file descriptors, most likely: trying on at once would burn a processor.
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(target: "dns-server", "cannot accept connections: {error}");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        failing = false;
    }
}

/// Answers queries until the client is done or the server ends, and stays until what it has read is answered.
async fn converse(
    stream: TcpStream,
    client: SocketAddr,
    shared: Arc<ListenerState>,
    drain: Drain,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Request::new(Transport::Tcp, canonical(stream.local_addr()?));
    request.client = canonical(client);
    let (read, write) = stream.into_split();
    let stream = tokio::io::join(BufReader::new(UntilStop::new(read, drain)), write);
    let (messages, replies) = Messages::from_stream(AsyncIoTokioAsStd(stream), client);
    let mut messages = TimeoutStream::new(messages, IDLE);
    let mut connection = Connection { request, answer: Answer::default(), shared, replies };
    let mut waiting = FuturesUnordered::new();
    let mut reading = true;
    loop {
        tokio::select! {
            // Replies that are ready are written before the next query is read: a client that does not take them
            // gets no more.
            message = messages.next(), if reading && waiting.len() < IN_FLIGHT => match message {
                Some(Ok(message)) => waiting.extend(connection.answer(message.bytes())),
                Some(Err(_)) | None => reading = false,
            },
            Some(reply) = waiting.next() => connection.send(reply),
            else => return Ok(()),
        }
        if !reading {
            // There is nothing more to read, so this ends as soon as everything is written, or cannot be.
            messages.next().await;
        }
    }
}

struct Connection {
    /// Who asks where, and the query that is answered now.
    request: Request,
    answer: Answer,
    shared: Arc<ListenerState>,
    replies: BufDnsStreamHandle,
}

/// A query that is answered later: the message, if there is to be one.
type Waiting = BoxFuture<'static, Option<Vec<u8>>>;

impl Connection {
    /// Answers at once where that can be.
    fn answer(&mut self, message: &[u8]) -> Option<Waiting> {
        self.request.size = message.len();
        self.request.received = Instant::now();
        match self.request.query.parse(message) {
            Ok(()) => self.ask(),
            Err(Rejection::Drop) => None,
            Err(Rejection::Reply(code)) => {
                self.refuse(code);
                None
            }
        }
    }

    fn ask(&mut self) -> Option<Waiting> {
        let Self { request, answer, shared, .. } = self;
        let routes = shared.routes.load_full();
        let mut packet = None;
        let answered = std::panic::catch_unwind(AssertUnwindSafe(|| {
            run::answer(&routes, request, answer, |request, reply| {
                encoded(reply, &request.query, &mut packet)
            })
        }));
        let pending = match answered {
            Ok(Some(pending)) => pending,
            Ok(None) => {
                self.send(packet);
                return None;
            }
            Err(_) => {
                self.shared.panics.inc();
                self.refuse(rcode::SERVFAIL);
                return None;
            }
        };
        let (request, shared) = (request.clone(), shared.clone());
        Some(Box::pin(async move {
            let (mut answer, mut packet) = (Answer::default(), None);
            let write = |reply: &mut Reply| encoded(reply, &request.query, &mut packet);
            let finish = pending.finish(&request, &mut answer, write);
            if AssertUnwindSafe(finish).catch_unwind().await.is_err() {
                shared.panics.inc();
                packet = encode_message(MAX_MESSAGE, |out| request.query.encode_error(rcode::SERVFAIL, out));
            }
            packet
        }))
    }

    fn refuse(&self, code: u16) {
        let packet = encode_message(MAX_MESSAGE, |out| self.request.query.encode_error(code, out));
        self.send(packet);
    }

    /// Puts a message into the queue, where there is room for it: a new handle has always one place of its own.
    fn send(&self, packet: Option<Vec<u8>>) {
        if let Some(packet) = packet {
            // The queue lives as long as the connection.
            let _ = self.replies.clone().send(SerialMessage::new(packet, self.request.client));
        }
    }
}

/// Makes a message of a reply. Returns its length.
fn encoded(reply: &mut Reply, query: &Query, packet: &mut Option<Vec<u8>>) -> usize {
    *packet = encode_message(MAX_MESSAGE, |out| reply.encode(query, MAX_MESSAGE, out));
    packet.as_ref().map_or(0, Vec::len)
}

/// Reads until the word to stop; from then on it is as if the client had closed its side.
struct UntilStop {
    read: OwnedReadHalf,
    drain: Drain,
    stopping: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl UntilStop {
    fn new(read: OwnedReadHalf, drain: Drain) -> Self {
        let told = drain.clone();
        Self { read, drain, stopping: Box::pin(async move { told.stopping().await }) }
    }
}

impl AsyncRead for UntilStop {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.drain.is_stopping() || self.stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}
