//! DNS over QUIC (RFC 9250): each query to an upstream is a stream of one connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, Message};
use hickory_net::quic::QuicClientStream;
use hickory_net::xfer::DnsRequestSender;

use super::shared_connection::SharedConnection;

/// The connection to an upstream.
pub(super) struct QuicUpstream {
    pub config: Arc<rustls::ClientConfig>,
    pub name: Arc<str>,
    pub source: Option<IpAddr>,
    pub shared: SharedConnection<QuicClientStream>,
}

impl QuicUpstream {
    pub(super) async fn exchange(
        &self,
        to: SocketAddr,
        message: &[u8],
        limit: Duration,
    ) -> io::Result<Vec<u8>> {
        self.shared.exchange(limit, || self.dial(to), |stream| send(stream, message)).await
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<QuicClientStream> {
        let mut builder = QuicClientStream::builder().crypto_config((*self.config).clone());
        if let Some(source) = self.source {
            builder = builder.bind_addr(SocketAddr::new(source, 0));
        }
        builder.build(to, self.name.clone()).await.map_err(io::Error::other)
    }
}

async fn send(mut stream: QuicClientStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let query = Message::from_vec(message).map_err(|error| bad(error.to_string()))?;
    // The library sets the ID to 0 (RFC 9250 §4.2.1). It is restored in the reply.
    let mut replies = stream.send_message(DnsRequest::new(query, DnsRequestOptions::default()));
    let reply = replies.next().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
    let mut reply = reply.into_buffer();
    if reply.len() < 12 {
        return Err(bad("the stream holds no DNS message".to_owned()));
    }
    reply[..2].copy_from_slice(&message[..2]);
    Ok(reply)
}
