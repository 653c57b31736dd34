//! DNS over HTTPS (RFC 8484): all queries to an upstream are streams of one HTTP/2 connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::connect::connect;
use super::shared_connection::SharedConnection;
use crate::limits::PartialReplies;

/// How a query is put into a request (RFC 8484 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DohMethod {
    /// In the `dns` parameter, so that HTTP caches can answer.
    Get,
    /// As the body.
    Post,
}

/// Sends requests on the connection.
pub(super) type Sender = http2::SendRequest<Full<Bytes>>;

/// The connection to an upstream.
pub(super) struct HttpsUpstream {
    pub connector: TlsConnector,
    pub name: ServerName<'static>,
    pub uri: String,
    pub verb: DohMethod,
    pub source: Option<IpAddr>,
    pub partial_replies: PartialReplies,
    pub shared: SharedConnection<Sender>,
}

impl HttpsUpstream {
    pub(super) async fn exchange(
        &self,
        to: SocketAddr,
        message: &[u8],
        limit: Duration,
    ) -> io::Result<Vec<u8>> {
        // The ID is 0 for HTTP caches (RFC 8484 §4.1). It is restored in the reply.
        let mut query = message.to_vec();
        query[..2].fill(0);
        let exchange = self.shared.exchange(limit, || self.dial(to), |sender| self.send(sender, &query));
        let mut reply = exchange.await?;
        reply[..2].copy_from_slice(&message[..2]);
        Ok(reply)
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<Sender> {
        let stream = self.connector.connect(self.name.clone(), connect(to, self.source).await?).await?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send(&self, mut sender: Sender, query: &[u8]) -> io::Result<Vec<u8>> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let response = sender.send_request(self.request(query)?).await.map_err(io::Error::other)?;
        if !response.status().is_success() {
            return Err(bad(format!("HTTP status {}", response.status())));
        }
        let (mut body, mut partial) = (response.into_body(), self.partial_replies.begin());
        let mut reply = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else { continue };
            if reply.len() + piece.len() > usize::from(u16::MAX) {
                return Err(bad("the body is longer than a DNS message".to_owned()));
            }
            partial.reserve(&mut reply, piece.len())?;
            reply.extend_from_slice(&piece);
        }
        if reply.len() < 12 { Err(bad("the body is no DNS message".to_owned())) } else { Ok(reply) }
    }

    fn request(&self, query: &[u8]) -> io::Result<Request<Full<Bytes>>> {
        const TYPE: &str = "application/dns-message";
        let request = Request::builder().header(header::ACCEPT, TYPE);
        let request = match self.verb {
            DohMethod::Post => request
                .method(Method::POST)
                .uri(&self.uri)
                .header(header::CONTENT_TYPE, TYPE)
                .body(Full::new(Bytes::copy_from_slice(query))),
            DohMethod::Get => request
                .uri(format!("{}?dns={}", self.uri, BASE64_URL_SAFE_NO_PAD.encode(query)))
                .body(Full::new(Bytes::new())),
        };
        request.map_err(io::Error::other)
    }
}
