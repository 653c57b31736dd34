//! DNS over QUIC to an upstream (RFC 9250): a stream for each query on one connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, Message};
use hickory_net::quic::QuicClientStream;
use hickory_net::xfer::DnsRequestSender;
use telemetry::metrics::Counter;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connect::timed_out;
use super::idle::Limits;

/// The longest a new connection may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A connection to the upstream, made when first needed.
pub(super) struct Quic {
    pub config: Arc<rustls::ClientConfig>,
    pub name: Arc<str>,
    pub source: Option<IpAddr>,
    pub limits: Limits,
    pub hits: Counter,
    pub misses: Counter,
    pub open: Mutex<Option<Open>>,
}

/// The connection and when it was made and last used.
pub(super) struct Open {
    stream: QuicClientStream,
    made: Instant,
    used: Instant,
}

impl Quic {
    pub(super) async fn exchange(&self, to: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
        let (stream, kept) = self.stream(to).await?;
        let mut reply = send(stream, message).await;
        if kept && reply.is_err() {
            // The other end may have closed it while it was idle.
            self.open.lock().await.take();
            reply = send(self.stream(to).await?.0, message).await;
        }
        if reply.is_err() {
            self.open.lock().await.take();
        }
        reply
    }

    pub(super) fn tidy(&self, now: Instant) {
        if let Ok(mut open) = self.open.try_lock() {
            open.take_if(|open| !self.is_fresh(open, now));
        }
    }

    fn is_fresh(&self, open: &Open, now: Instant) -> bool {
        let young = self.limits.max_age.is_none_or(|most| now.saturating_duration_since(open.made) < most);
        young && now.saturating_duration_since(open.used) < self.limits.expire
    }

    async fn stream(&self, to: SocketAddr) -> io::Result<(QuicClientStream, bool)> {
        let mut open = self.open.lock().await;
        let now = Instant::now();
        if let Some(kept) = open.as_mut().filter(|open| self.is_fresh(open, now)) {
            kept.used = now;
            self.hits.inc();
            return Ok((kept.stream.clone(), true));
        }
        self.misses.inc();
        let mut builder = QuicClientStream::builder().crypto_config((*self.config).clone());
        if let Some(source) = self.source {
            builder = builder.bind_addr(SocketAddr::new(source, 0));
        }
        let made = timeout(HANDSHAKE, builder.build(to, self.name.clone())).await;
        let stream = made.map_err(|_| timed_out("dial"))?.map_err(io::Error::other)?;
        *open = Some(Open { stream: stream.clone(), made: now, used: now });
        Ok((stream, false))
    }
}

async fn send(mut stream: QuicClientStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let query = Message::from_vec(message).map_err(io::Error::other)?;
    // The library sets the ID to 0 (RFC 9250 §4.2.1); ours is put back.
    let mut replies = stream.send_message(DnsRequest::new(query, DnsRequestOptions::default()));
    let reply = replies.next().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
    let mut reply = reply.into_buffer();
    if reply.len() < 12 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the stream holds no DNS message"));
    }
    reply[..2].copy_from_slice(&message[..2]);
    Ok(reply)
}
