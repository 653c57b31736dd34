//! One exchange with an upstream over each of the protocols it may speak.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use telemetry::metrics::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::{connect, timed_out};
use super::https::HttpsUpstream;
use super::pool::{PoolLimits, PooledConnection, UpstreamPool};
use super::quic::QuicUpstream;

/// The longest a connection may take to be made, and the shortest time one is given.
const DIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Replies over UDP with another ID that are overlooked: the network may bring one twice. More of them, and the query
/// goes over TCP, where nobody can forge what they cannot see (RFC 5452 §9).
const STRANGERS: u32 = 3;

/// The connections to one upstream.
pub(super) enum UpstreamTransport {
    /// Plain DNS; which of the two is used is decided query by query.
    Plain { udp: Dialer<UdpSocket>, tcp: Dialer<TcpStream> },
    /// DNS over TLS (RFC 7858).
    Tls { streams: Dialer<TlsStream<TcpStream>>, connector: TlsConnector, name: ServerName<'static> },
    /// DNS over HTTPS (RFC 8484).
    Https(HttpsUpstream),
    /// DNS over QUIC (RFC 9250).
    Quic(QuicUpstream),
}

/// UpstreamPool connections of one protocol, and what making a new one takes.
pub(super) struct Dialer<C> {
    idle: UpstreamPool<C>,
    source: Option<IpAddr>,
    /// The running mean of the time to connect, in nanoseconds.
    mean: AtomicU64,
    hits: Counter,
    misses: Counter,
}

impl<C> Dialer<C> {
    pub(super) fn new(limits: PoolLimits, source: Option<IpAddr>, hits: Counter, misses: Counter) -> Self {
        let mean = AtomicU64::new(DIAL.1.as_nanos() as u64 / 2);
        Self { idle: UpstreamPool::new(limits), source, mean, hits, misses }
    }

    fn take(&self) -> Option<PooledConnection<C>> {
        let kept = self.idle.take(Instant::now());
        if kept.is_some() { &self.hits } else { &self.misses }.inc();
        kept
    }

    fn give(&self, connection: PooledConnection<C>) {
        self.idle.give(connection, Instant::now());
    }

    /// Makes a connection within twice the time it usually takes.
    async fn make(&self, dial: impl Future<Output = io::Result<C>>) -> io::Result<PooledConnection<C>> {
        let mean = Duration::from_nanos(self.mean.load(Relaxed));
        let limit = if mean < DIAL.1 / 2 { (mean * 2).max(DIAL.0) } else { DIAL.1 };
        let start = Instant::now();
        let made = timeout(limit, dial).await.unwrap_or_else(|_| Err(timed_out("dial")));
        let (took, mean) = (start.elapsed().as_nanos() as i64, mean.as_nanos() as i64);
        self.mean.store((mean + (took - mean) / 4).max(0) as u64, Relaxed);
        made.map(PooledConnection::new)
    }
}

/// What a query asks of the exchange.
pub(super) struct UpstreamQuery<'a> {
    /// The query; its ID is ours and random.
    pub message: &'a [u8],
    /// Over TCP rather than UDP, where there is the choice.
    pub tcp: bool,
    /// The longest reply over UDP that we take.
    pub size: usize,
    /// How long a reply may take.
    pub read: Duration,
}

impl UpstreamTransport {
    /// Sends the query and waits for the reply to it.
    pub(super) async fn exchange(&self, to: SocketAddr, outgoing: &UpstreamQuery<'_>) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain { udp, tcp } => {
                if !outgoing.tcp
                    && let Some(reply) = udp.exchange(to, outgoing).await?
                {
                    return Ok(reply);
                }
                tcp.stream(outgoing, || connect(to, tcp.source)).await
            }
            // Boxed: every query that waits would else carry the room for the largest of their handshakes.
            Self::Tls { streams, connector, name } => {
                let dial =
                    || async { connector.connect(name.clone(), connect(to, streams.source).await?).await };
                Box::pin(streams.stream(outgoing, dial)).await
            }
            Self::Https(https) => Box::pin(https.exchange(to, outgoing.message, outgoing.read)).await,
            Self::Quic(quic) => Box::pin(quic.exchange(to, outgoing.message, outgoing.read)).await,
        }
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        match self {
            Self::Plain { udp, tcp } => {
                udp.idle.tidy(now);
                tcp.idle.tidy(now);
            }
            Self::Tls { streams, .. } => streams.idle.tidy(now),
            Self::Https(https) => https.shared.tidy(now),
            Self::Quic(quic) => quic.shared.tidy(now),
        }
    }
}

impl Dialer<UdpSocket> {
    /// A connected socket of its own for each query in flight: only the upstream can write to it, or who forges its
    /// address, and an unreachable port shows at once. Nothing when somebody seems to forge replies.
    async fn exchange(&self, to: SocketAddr, outgoing: &UpstreamQuery<'_>) -> io::Result<Option<Vec<u8>>> {
        let socket = match self.take() {
            Some(socket) => socket,
            None => {
                let any = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
                let socket = UdpSocket::bind((self.source.unwrap_or(any), 0)).await?;
                socket.connect(to).await?;
                PooledConnection::new(socket)
            }
        };
        socket.connection.send(outgoing.message).await?;
        let read = receive(&socket.connection, outgoing);
        let read = timeout(outgoing.read, read).await.map_err(|_| timed_out("read"))??;
        let Some(mut reply) = read else { return Ok(None) };
        self.give(socket);
        if reply.len() > outgoing.size {
            // What is left of it cannot be trusted: header and question, with TC (RFC 1035 §4.1.1).
            reply = truncated(outgoing.message, &reply);
        }
        Ok(Some(reply))
    }
}

/// The reply with the ID of the query, or its beginning: one byte more than fits, to see what does not. Others are
/// dropped, and after a few of them there is nothing: who tries all IDs needs 65,536 replies.
async fn receive(socket: &UdpSocket, outgoing: &UpstreamQuery<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut strangers = 0;
    while strangers <= STRANGERS {
        // There is no room yet for who waits: thousands may, and each would take the most that its client allows.
        socket.readable().await?;
        let mut reply = vec![0; outgoing.size + 1];
        match socket.try_recv(&mut reply) {
            Ok(length) if length >= 12 && reply[..2] == outgoing.message[..2] => {
                reply.truncate(length);
                return Ok(Some(reply));
            }
            Ok(_) => strangers += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialer<S> {
    /// One query at a time on a stream. A kept one may have been closed at the other end meanwhile, and then the
    /// query goes over a new one.
    async fn stream<F>(&self, outgoing: &UpstreamQuery<'_>, dial: impl Fn() -> F) -> io::Result<Vec<u8>>
    where
        F: Future<Output = io::Result<S>>,
    {
        if let Some(mut kept) = self.take() {
            match framed(&mut kept.connection, outgoing).await {
                Ok(reply) => {
                    self.give(kept);
                    return Ok(reply);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
                Err(_closed) => {}
            }
        }
        let mut made = self.make(dial()).await?;
        let reply = framed(&mut made.connection, outgoing).await?;
        self.give(made);
        Ok(reply)
    }
}

/// Writes and reads one message with its length before it (RFC 1035 §4.2.2).
async fn framed(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    outgoing: &UpstreamQuery<'_>,
) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut out = Vec::with_capacity(outgoing.message.len() + 2);
        out.extend_from_slice(&(outgoing.message.len() as u16).to_be_bytes());
        out.extend_from_slice(outgoing.message);
        stream.write_all(&out).await?;
        stream.flush().await?;
        loop {
            let length = stream.read_u16().await?;
            let mut reply = vec![0; usize::from(length)];
            stream.read_exact(&mut reply).await?;
            if reply.len() >= 12 && reply[..2] == outgoing.message[..2] {
                return Ok(reply);
            }
        }
    };
    timeout(outgoing.read, exchange).await.unwrap_or_else(|_| Err(timed_out("read")))
}

/// The connector for TLS upstreams.
pub(super) fn connector(config: &Arc<rustls::ClientConfig>) -> TlsConnector {
    TlsConnector::from(config.clone())
}

/// The header of a reply and the question of its query, with TC set and nothing else.
pub(super) fn truncated(query: &[u8], reply: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while let Some(&length) = query.get(end).filter(|length| **length > 0) {
        end += 1 + usize::from(length);
    }
    let mut message = query[..(end + 5).min(query.len())].to_vec();
    message[2..4].copy_from_slice(&reply[2..4]);
    message[2] |= 0x82;
    message[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    message
}
