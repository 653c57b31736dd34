//! TLS on accepted connections.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use ingress_routes::CertificateInfo;
use ingress_wire::request_head::HeadError;
use net::TlsError;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::client::closing::{CLOSING_TIMEOUT, write_last};
use crate::client::pages;
use crate::options::ProxyOptions;
use crate::state::worker::Worker;
use crate::views::ProxyViews;

/// The configuration of every HTTPS listener: certificates by name from the current view.
#[derive(Clone)]
pub(crate) struct TlsConfig {
    with_http2: Arc<ServerConfig>,
    /// For `use-http2: false`. It has the same certificates and sessions.
    http1_only: Arc<ServerConfig>,
    /// The self-signed certificate, which is served if no Secret has one for a name.
    pub(crate) self_signed: Option<CertificateInfo>,
}

impl TlsConfig {
    /// The configuration for a new connection.
    pub(crate) fn current(&self, worker: &Worker) -> Arc<ServerConfig> {
        if worker.settings().http2 { self.with_http2.clone() } else { self.http1_only.clone() }
    }
}

/// Makes the configuration of HTTPS listeners.
pub(crate) fn server_config(options: &ProxyOptions, views: &ProxyViews) -> Result<TlsConfig, TlsError> {
    let own = net::certificate::self_signed(std::time::SystemTime::now())?;
    let tls = net::tls::TlsOptions {
        alpn: vec![net::tls::H2.to_vec(), net::tls::HTTP1.to_vec()],
        session_cache: options.ssl_session_cache,
    };
    let self_signed = own.cert.first().and_then(|certificate| CertificateInfo::of(certificate));
    let certs = views.certs.clone();
    let with_http2 = net::tls::server_config(&tls, move |name| {
        Some(certs.load().find(name).cloned().unwrap_or_else(|| own.clone()))
    })?;
    let mut http1_only = ServerConfig::clone(&with_http2);
    http1_only.alpn_protocols = vec![net::tls::HTTP1.to_vec()];
    Ok(TlsConfig { with_http2, http1_only: Arc::new(http1_only), self_signed })
}

/// Completes the handshake within `client-header-timeout`, or within a few seconds once the proxy stops. `None` after a
/// timeout.
pub(crate) async fn handshake(
    worker: &Worker,
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Option<io::Result<TlsStream<TcpStream>>> {
    let handshake = accept(stream, config);
    let (mut handshake, mut is_shortened) = (std::pin::pin!(handshake), false);
    let timer = worker.clock.timer();
    worker.clock.arm(&timer, worker.settings().client_header_timeout);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if worker.is_stopping() && !std::mem::replace(&mut is_shortened, true) {
            worker.clock.arm(&timer, CLOSING_TIMEOUT);
        }
        if timer.poll_expired(cx) || worker.is_forced() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn accept(mut stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    // A plain HTTP request begins with the letter of a method, a TLS handshake with record type 22.
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        let (_, page) = pages::refusal(HeadError::PlainHttp, SystemTime::now());
        write_last(&mut stream, &page).await;
        return Err(io::ErrorKind::InvalidData.into());
    }
    TlsAcceptor::from(config).accept(stream).await
}
