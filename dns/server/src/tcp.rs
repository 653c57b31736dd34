//! DNS over TCP (RFC 1035 §4.2.2, RFC 7766): framing, time-outs, and many queries in flight on a connection.
//!
//! This was to be hickory-server's listener. Its handler gets no raw message to send back, only records in its own
//! types, whose encoder compresses and truncates otherwise than CoreDNS; and it answers the queries of a connection
//! one after the other, so that one that is forwarded holds up those behind it (RFC 7766 §6.2.1.1). hickory-net's
//! `TcpStream` under it drops the replies still owed when a client closes its side after asking, as `dig` does not and
//! scripts do. What is left is two bytes of length.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_chain::run;
use dns_chain::{Answer, Asked, Transport};
use dns_wire::codes::rcode;
use dns_wire::{Query, Refusal, Reply};
use futures_util::FutureExt;
use net::{BindError, Drain};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::shared::{ANY, Shared};

/// CoreDNS's time-outs: for the rest of a message, for a reply to be taken, for the next message.
const READ: Duration = Duration::from_secs(3);
const WRITE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);

/// Queries of one connection that are answered or wait to be written at a time; more are not read.
const IN_FLIGHT: usize = 128;

/// Room for the longest reply and its length.
const REPLY: usize = 2 + u16::MAX as usize;

/// Listeners of one address, bound and not yet accepting.
pub(crate) struct Tcp {
    listeners: Vec<std::net::TcpListener>,
}

impl Tcp {
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
    pub(crate) fn serve(self, shared: &Arc<Shared>, drain: &Drain) -> io::Result<()> {
        for listener in self.listeners {
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(accept(listener, shared.clone(), drain.clone()));
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, drain: Drain) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.stopping() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let (shared, drain, open) = (shared.clone(), drain.clone(), drain.open());
                tokio::spawn(async move {
                    // A client that breaks off is no event.
                    let _ = converse(stream, client, shared, drain).await;
                    drop(open);
                });
            }
            // Out of file descriptors, most likely: trying on at once would burn a processor.
            Err(_) => tokio::time::sleep(READ / 100).await,
        }
    }
}

/// Reads queries until the client is done, and stays until it has had its replies.
async fn converse(
    stream: TcpStream,
    client: SocketAddr,
    shared: Arc<Shared>,
    drain: Drain,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let server = canonical(stream.local_addr()?);
    let (read, write) = stream.into_split();
    let (replies, queue) = mpsc::channel(IN_FLIGHT);
    let writer = tokio::spawn(write_replies(write, queue));
    let connection = Connection { client: canonical(client), server, shared, replies };
    let asked = tokio::select! {
        asked = connection.read_queries(BufReader::new(read), &drain) => asked,
        () = drain.forced() => Ok(()),
    };
    // The writer ends when the last query in flight has its reply.
    drop(connection);
    tokio::select! {
        _ = writer => {}
        () = drain.forced() => {}
    }
    asked
}

struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    shared: Arc<Shared>,
    replies: mpsc::Sender<Vec<u8>>,
}

/// The place of a reply in the queue, taken before its query is answered.
type Place = mpsc::OwnedPermit<Vec<u8>>;

impl Connection {
    async fn read_queries(&self, mut read: BufReader<OwnedReadHalf>, drain: &Drain) -> io::Result<()> {
        let mut asked = Asked::new(Transport::Tcp, self.server);
        asked.client = self.client;
        let mut answer = Answer::default();
        let mut message = Vec::new();
        // Replies are written here and leave in buffers of their own size.
        let mut room = vec![0; REPLY];
        loop {
            let length = tokio::select! {
                length = timeout(IDLE, read.read_u16()) => length??,
                () = drain.stopping() => return Ok(()),
            };
            message.resize(usize::from(length), 0);
            timeout(READ, read.read_exact(&mut message)).await??;
            // A client that does not read gets no more answers until it does.
            let Ok(place) = self.replies.clone().reserve_owned().await else { return Ok(()) };
            asked.size = message.len();
            asked.received = Instant::now();
            match asked.query.parse(&message) {
                Ok(()) => self.answer(&asked, &mut answer, &mut room, place),
                Err(Refusal::Ignore) => {}
                Err(Refusal::Reply(code)) => {
                    send(place, framed(&mut room, |out| asked.query.refuse(code, out)))
                }
            }
        }
    }

    /// Answers at once where that can be, else on a task of its own.
    fn answer(&self, asked: &Asked, answer: &mut Answer, room: &mut [u8], place: Place) {
        let routes = self.shared.routes.load_full();
        let mut packet = None;
        let answered = std::panic::catch_unwind(AssertUnwindSafe(|| {
            run::answer(&routes, asked, answer, |reply| written(reply, &asked.query, room, &mut packet))
        }));
        let unfinished = match answered {
            Ok(None) => return send(place, packet),
            Ok(Some(unfinished)) => unfinished,
            Err(_) => {
                self.shared.panics.inc();
                return send(place, framed(room, |out| asked.query.refuse(rcode::SERVFAIL, out)));
            }
        };
        let (asked, shared) = (asked.clone(), self.shared.clone());
        self.shared.tasks.spawn(async move {
            let (mut answer, mut room, mut packet) = (Answer::default(), vec![0; REPLY], None);
            let write = |reply: &mut Reply| written(reply, &asked.query, &mut room, &mut packet);
            let finish = unfinished.finish(&asked, &mut answer, write);
            if AssertUnwindSafe(finish).catch_unwind().await.is_err() {
                shared.panics.inc();
                packet = framed(&mut room, |out| asked.query.refuse(rcode::SERVFAIL, out));
            }
            send(place, packet);
        });
    }
}

/// Makes a message of a reply. Returns its length.
fn written(reply: &mut Reply, query: &Query, room: &mut [u8], packet: &mut Option<Vec<u8>>) -> usize {
    *packet = framed(room, |out| reply.encode(query, usize::from(u16::MAX), out));
    packet.as_ref().map_or(0, |packet| packet.len() - 2)
}

/// A message with its length before it; nothing if there is none.
fn framed(room: &mut [u8], write: impl FnOnce(&mut [u8]) -> usize) -> Option<Vec<u8>> {
    let (head, body) = room.split_at_mut(2);
    let length = write(body);
    head.copy_from_slice(&(length as u16).to_be_bytes());
    (length > 0).then(|| room[..2 + length].to_vec())
}

fn send(place: Place, packet: Option<Vec<u8>>) {
    if let Some(packet) = packet {
        place.send(packet);
    }
}

/// Writes replies in the order in which they come (RFC 7766 §7), and then closes our side.
async fn write_replies(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(reply) = queue.recv().await {
        if !matches!(timeout(WRITE, write.write_all(&reply)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = write.shutdown().await;
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}
