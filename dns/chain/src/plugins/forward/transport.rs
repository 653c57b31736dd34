//! One exchange with an upstream, over each of the supported protocols.

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

use super::connect::{connect, connect_udp, operation_failed, operation_timed_out};
use super::https::HttpsUpstream;
use super::pool::{PoolLimits, PooledConnection, UpstreamPool};
use super::quic::QuicUpstream;
use crate::limits::{ChainLimits, LimitReached, ReplyBytes, SocketPermit, UNCOUNTED};

/// The shortest and the longest time that a connection is given to be established.
const DIAL_TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Replies over UDP with a wrong ID that are ignored per query: the network may deliver a reply twice. After more of them
/// the query is sent over TCP, whose sequence numbers an off-path attacker cannot guess (RFC 5452 §9).
const MAX_WRONG_IDS: u32 = 3;

/// The connections to one upstream.
pub(super) enum UpstreamTransport {
    /// Plain DNS. The query decides which of the two is used.
    Plain { udp: Dialer<UdpSocket>, tcp: Dialer<TcpStream> },
    /// DNS over TLS (RFC 7858).
    Tls { streams: Dialer<TlsStream<TcpStream>>, connector: TlsConnector, name: ServerName<'static> },
    /// DNS over HTTPS (RFC 8484).
    Https(HttpsUpstream),
    /// DNS over QUIC (RFC 9250).
    Quic(QuicUpstream),
}

/// Idle connections of one protocol, and what is needed to make new ones.
pub(super) struct Dialer<C> {
    pool: UpstreamPool<C>,
    source: Option<IpAddr>,
    limits: ChainLimits,
    /// The running mean of the time to connect, in nanoseconds.
    mean: AtomicU64,
    hits: Counter,
    misses: Counter,
}

impl<C> Dialer<C> {
    pub(super) fn new(
        pool: PoolLimits,
        source: Option<IpAddr>,
        limits: ChainLimits,
        [hits, misses]: [Counter; 2],
    ) -> Self {
        let mean = AtomicU64::new(DIAL_TIMEOUT.1.as_nanos() as u64 / 2);
        Self { pool: UpstreamPool::new(pool), source, limits, mean, hits, misses }
    }

    fn take(&self) -> Option<PooledConnection<C>> {
        let kept = self.pool.take(Instant::now());
        if kept.is_some() { &self.hits } else { &self.misses }.inc();
        kept
    }

    fn put(&self, connection: PooledConnection<C>) {
        if !self.limits.sockets.are_scarce() {
            self.pool.put(connection, Instant::now());
        }
    }

    /// A permit for one more socket. A health check needs none: there is one at a time, and it must not fail because of a
    /// limit of this process.
    fn permit(&self, query: &UpstreamQuery<'_>) -> io::Result<Option<SocketPermit>> {
        if query.health_check { Ok(None) } else { self.limits.sockets.open().map(Some) }
    }

    /// Establishes a connection within twice the usual time.
    async fn establish(
        &self,
        to: SocketAddr,
        permit: Option<SocketPermit>,
        dial: impl Future<Output = io::Result<C>>,
    ) -> io::Result<PooledConnection<C>> {
        let mean = Duration::from_nanos(self.mean.load(Relaxed));
        let limit = if mean < DIAL_TIMEOUT.1 / 2 { (mean * 2).max(DIAL_TIMEOUT.0) } else { DIAL_TIMEOUT.1 };
        let start = Instant::now();
        let made = timeout(limit, dial).await.unwrap_or_else(|_| Err(operation_timed_out("dial tcp", to)));
        let (took, mean) = (start.elapsed().as_nanos() as i64, mean.as_nanos() as i64);
        self.mean.store((mean + (took - mean) / 4).max(0) as u64, Relaxed);
        made.map(|connection| PooledConnection::new(connection, permit))
    }
}

/// A query as it is sent to an upstream.
pub(super) struct UpstreamQuery<'a> {
    /// The message. Its ID is our own and random.
    pub message: &'a [u8],
    /// Whether it is sent over TCP rather than UDP, if the upstream uses plain DNS.
    pub tcp: bool,
    /// The longest reply over UDP that is accepted.
    pub size: usize,
    /// How long a reply may take.
    pub read: Duration,
    /// Whether it only checks that the upstream answers.
    pub health_check: bool,
}

impl UpstreamTransport {
    /// Sends the query and waits for the reply to it.
    pub(super) async fn exchange(&self, to: SocketAddr, query: &UpstreamQuery<'_>) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain { udp, tcp } => {
                if !query.tcp
                    && let Some(reply) = udp.exchange(to, query).await?
                {
                    return Ok(reply);
                }
                tcp.stream(to, query, || connect(to, tcp.source)).await
            }
            // Boxed: otherwise each waiting query would reserve the memory of the largest of these handshakes.
            Self::Tls { streams, connector, name } => {
                let dial =
                    || async { connector.connect(name.clone(), connect(to, streams.source).await?).await };
                Box::pin(streams.stream(to, query, dial)).await
            }
            Self::Https(https) => Box::pin(https.exchange(to, query.message, query.read)).await,
            Self::Quic(quic) => Box::pin(quic.exchange(to, query.message, query.read)).await,
        }
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn close_expired(&self) {
        let now = Instant::now();
        match self {
            Self::Plain { udp, tcp } => {
                udp.pool.close_expired(now);
                tcp.pool.close_expired(now);
            }
            Self::Tls { streams, .. } => streams.pool.close_expired(now),
            Self::Https(https) => https.shared.close_expired(now),
            Self::Quic(quic) => quic.shared.close_expired(now),
        }
    }
}

impl Dialer<UdpSocket> {
    /// Uses a connected socket of its own for each query in flight: only the upstream, or an attacker who forges its
    /// address, can write to it, and an unreachable port is reported at once. Returns `None` if replies seem to be forged.
    async fn exchange(&self, to: SocketAddr, query: &UpstreamQuery<'_>) -> io::Result<Option<Vec<u8>>> {
        let socket = match self.take() {
            Some(socket) => socket,
            None => {
                let permit = self.permit(query)?;
                PooledConnection::new(connect_udp(to, self.source).await?, permit)
            }
        };
        let sent = socket.connection.send(query.message).await;
        sent.map_err(|error| operation_failed("write udp", to, "write", error))?;
        let read = timeout(query.read, receive(&socket.connection, query)).await;
        let read = read.map_err(|_| operation_timed_out("read udp", to))?;
        let read = read.map_err(|error| operation_failed("read udp", to, "read", error))?;
        let Some(mut reply) = read else { return Ok(None) };
        self.put(socket);
        if reply.len() > query.size {
            // The reply is incomplete: only header and question are passed on, with TC (RFC 1035 §4.1.1).
            reply = truncated(query.message, &reply);
        }
        Ok(Some(reply))
    }
}

/// Receives the reply with the ID of the query, up to one byte more than accepted, which shows that it is too long. Replies
/// with a wrong ID are dropped; after more than [`MAX_WRONG_IDS`] of them returns `None`, before an attacker can try many IDs.
async fn receive(socket: &UdpSocket, query: &UpstreamQuery<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut wrong_ids = 0;
    while wrong_ids <= MAX_WRONG_IDS {
        // The buffer is allocated only now: thousands of queries may wait, each for a reply of up to 64 KiB.
        net::datagram::readable(socket).await?;
        let mut reply = vec![0; query.size + 1];
        match socket.try_recv(&mut reply) {
            Ok(length) if length >= 12 && reply[..2] == query.message[..2] => {
                reply.truncate(length);
                return Ok(Some(reply));
            }
            Ok(_) => wrong_ids += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialer<S> {
    /// Sends one query at a time on a stream. If the upstream has closed an idle stream, the query is sent over a new one.
    async fn stream<F>(
        &self,
        to: SocketAddr,
        query: &UpstreamQuery<'_>,
        dial: impl Fn() -> F,
    ) -> io::Result<Vec<u8>>
    where
        F: Future<Output = io::Result<S>>,
    {
        if let Some(mut kept) = self.take() {
            match exchange_framed(&mut kept.connection, to, query, self.limits.partial_replies.begin()).await
            {
                Ok(reply) => {
                    self.put(kept);
                    return Ok(reply);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut || LimitReached::caused(&error) => {
                    return Err(error);
                }
                Err(_closed) => {}
            }
        }
        let mut made = self.establish(to, self.permit(query)?, dial()).await?;
        let partial = self.limits.partial_replies.begin();
        let reply = exchange_framed(&mut made.connection, to, query, partial).await?;
        self.put(made);
        Ok(reply)
    }
}

/// Writes the query and reads the reply, each preceded by its length (RFC 1035 §4.2.2).
async fn exchange_framed(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    to: SocketAddr,
    query: &UpstreamQuery<'_>,
    mut partial: ReplyBytes,
) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut out = Vec::with_capacity(query.message.len() + 2);
        out.extend_from_slice(&(query.message.len() as u16).to_be_bytes());
        out.extend_from_slice(query.message);
        stream.write_all(&out).await?;
        stream.flush().await?;
        loop {
            let length = usize::from(stream.read_u16().await?);
            let mut reply = Vec::new();
            read_message(stream, length, &mut reply, &mut partial).await?;
            if reply.len() >= 12 && reply[..2] == query.message[..2] {
                return Ok(reply);
            }
        }
    };
    match timeout(query.read, exchange).await {
        Ok(exchanged) => exchanged.map_err(|error| operation_failed("read tcp", to, "read", error)),
        Err(_elapsed) => Err(operation_timed_out("read tcp", to)),
    }
}

/// Reads `length` bytes. The buffer grows as they arrive, within the limit on the bytes of all replies.
async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    length: usize,
    into: &mut Vec<u8>,
    partial: &mut ReplyBytes,
) -> io::Result<()> {
    partial.reserve(into, length.min(UNCOUNTED))?;
    let mut rest = stream.take(length as u64);
    while into.len() < length {
        partial.reserve(into, 1)?;
        if rest.read_buf(into).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;
    use tokio::io::duplex;

    use super::super::connect::failure_text;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_reply_that_is_announced_and_not_sent_takes_no_memory() {
        let limits = ChainLimits::with(&Registry::new(), 1, 1);
        let mut partial = limits.partial_replies.begin();
        let (mut ours, mut theirs) = duplex(64);
        theirs.write_all(&[7; 50]).await.unwrap();
        let mut reply = Vec::new();
        let read = read_message(&mut ours, 65_535, &mut reply, &mut partial);
        assert!(timeout(Duration::from_secs(2), read).await.is_err(), "it waits for more");
        assert_eq!((reply.len(), reply.capacity()), (50, UNCOUNTED));

        drop(theirs);
        let error = read_message(&mut ours, 65_535, &mut reply, &mut partial).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn failures_have_the_texts_of_go() {
        let free = |tcp: bool| match tcp {
            true => std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
            false => std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
        };
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(1));
        for (to, tcp, read, text) in [
            (free(false), false, long, "read udp TO: read: connection refused"),
            (silent.local_addr().unwrap(), false, short, "read udp TO: i/o timeout"),
            (free(true), true, long, "dial tcp TO: connect: connection refused"),
        ] {
            let limits = ChainLimits::with(&Registry::new(), 1, 1);
            let pool = PoolLimits { expire: long, max_age: None, max_idle: 1 };
            let transport = UpstreamTransport::Plain {
                udp: Dialer::new(pool, None, limits.clone(), Default::default()),
                tcp: Dialer::new(pool, None, limits, Default::default()),
            };
            let query = UpstreamQuery { message: &[7; 20], tcp, size: 512, read, health_check: true };
            let error = transport.exchange(to, &query).await.unwrap_err();
            assert_eq!(failure_text("elsewhere", &error), text.replace("TO", &to.to_string()));
        }
        let reset = io::ErrorKind::UnexpectedEof.into();
        assert_eq!(failure_text("10.0.0.1:53", &reset), "10.0.0.1:53: EOF");
    }
}
