//! Forwarding over TLS, HTTPS and QUIC.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use dns_wire::codes::rtype;
use dns_wire::{Query, Reply};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use support::{TestClient, TestService, address, answers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// A certificate for `dns.example`, and the file that makes it trusted.
struct Identity {
    key: Arc<CertifiedKey>,
    _folder: tempfile::TempDir,
    ca: String,
}

impl Identity {
    /// A certificate that is no authority.
    fn new() -> Self {
        Self::made_as(rcgen::IsCa::NoCa)
    }

    /// A certificate as `openssl req -x509` makes it: an authority that only signs itself.
    fn authority() -> Self {
        Self::made_as(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained))
    }

    fn made_as(is_ca: rcgen::IsCa) -> Self {
        let mut params = rcgen::CertificateParams::new(["dns.example".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let key = CertifiedKey::from_der(vec![cert.der().clone()], key, net::tls::provider()).unwrap();
        Self { key: Arc::new(key), ca: ca.display().to_string(), _folder: folder }
    }

    fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let key = self.key.clone();
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        let options = net::tls::TlsOptions { alpn, sessions: None, ..net::tls::TlsOptions::default() };
        // The handshake fails unless the client sends this server name.
        let by_name = move |name: Option<&str>| (name == Some("dns.example")).then(|| key.clone());
        TlsAcceptor::from(net::tls::server_config(options, net::tls::by_name(by_name)).unwrap())
    }
}

fn answer_message(message: &[u8]) -> Vec<u8> {
    let mut query = Query::default();
    query.parse(message).unwrap();
    let mut reply: Reply = address(&query, [192, 0, 2, 1], 60);
    let mut out = vec![0; 512];
    let length = reply.encode(&query, 512, &mut out);
    out.truncate(length);
    out
}

async fn start_tls_upstream(identity: &Identity) -> SocketAddr {
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), identity.acceptor(&[]));
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut message = vec![0; usize::from(length)];
                    stream.read_exact(&mut message).await.unwrap();
                    let reply = answer_message(&message);
                    stream.write_u16(reply.len() as u16).await.unwrap();
                    stream.write_all(&reply).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    at
}

/// How an upstream's first connection behaves after its first query.
#[derive(Clone, Copy, Debug)]
enum FirstConnection {
    Answers,
    /// Stays open and sends no reply.
    Silent,
    /// Is closed when this many queries are in flight.
    ClosedAfter(usize),
}

/// Counts the connections and queries of an upstream.
#[derive(Default)]
struct UpstreamState {
    connections: AtomicUsize,
    queries: AtomicUsize,
    close: Notify,
}

impl UpstreamState {
    /// Counts a query and returns when it may be answered.
    async fn wait_to_answer(&self, behavior: FirstConnection, connection: usize) {
        let query = self.queries.fetch_add(1, SeqCst);
        match behavior {
            _ if connection > 0 || query == 0 => return,
            FirstConnection::Answers => return,
            FirstConnection::ClosedAfter(in_flight) if query == in_flight => self.close.notify_one(),
            FirstConnection::Silent | FirstConnection::ClosedAfter(_) => {}
        }
        std::future::pending().await
    }
}

async fn start_https_upstream(
    identity: &Identity,
    behavior: FirstConnection,
) -> (SocketAddr, Arc<UpstreamState>) {
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), identity.acceptor(&[b"h2"]));
    let (at, state) = (listener.local_addr().unwrap(), Arc::new(UpstreamState::default()));
    let answering = state.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let (state, number) = (answering.clone(), answering.connections.fetch_add(1, SeqCst));
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let state = state.clone();
                async move {
                    state.wait_to_answer(behavior, number).await;
                    let reply = answer_message(&message(request).await);
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(reply))))
                }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let serving = serving.serve_connection(TokioIo::new(stream), service);
            let state = answering.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = serving => {}
                    () = state.close.notified() => {}
                }
            });
        }
    });
    (at, state)
}

/// The query in a request (RFC 8484 §4.1).
async fn message(request: http::Request<hyper::body::Incoming>) -> Vec<u8> {
    assert_eq!(request.uri().path(), "/dns-query");
    let message = match request.uri().query() {
        Some(query) => base64url(query.strip_prefix("dns=").unwrap()),
        None => {
            assert_eq!(request.headers()["content-type"], "application/dns-message");
            request.into_body().collect().await.unwrap().to_bytes().to_vec()
        }
    };
    assert_eq!(message[..2], [0, 0], "the ID is 0");
    message
}

async fn start_quic_upstream(
    identity: &Identity,
    behavior: FirstConnection,
) -> (SocketAddr, Arc<UpstreamState>) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, state) = (socket.local_addr().unwrap(), Arc::new(UpstreamState::default()));
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from((*identity.key).clone()));
    let mut server = hickory_net::quic::QuicServer::with_socket(socket, resolver).unwrap();
    let answering = state.clone();
    tokio::spawn(async move {
        while let Ok(Some((mut streams, _))) = server.next().await {
            let (state, number) = (answering.clone(), answering.connections.fetch_add(1, SeqCst));
            tokio::spawn(async move {
                while let Some(Ok(mut stream)) = streams.next().await {
                    let message = stream.receive_bytes().await.unwrap();
                    state.wait_to_answer(behavior, number).await;
                    stream.send_bytes(Bytes::from(answer_message(&message))).await.unwrap();
                    stream.finish().await.unwrap();
                }
            });
        }
    });
    (at, state)
}

/// Decodes base64url (RFC 4648 §5).
fn base64url(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = text
        .bytes()
        .map(|byte| digits.iter().position(|digit| *digit == byte).unwrap() as u8)
        .flat_map(|value| (0..6).rev().map(move |bit| value >> bit & 1))
        .collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_forwarded_over_tls_https_and_quic() {
    for identity in [Identity::new(), Identity::authority()] {
        are_forwarded(&identity).await;
    }
}

async fn are_forwarded(identity: &Identity) {
    let tls = start_tls_upstream(identity).await;
    let (https, _) = start_https_upstream(identity, FirstConnection::Answers).await;
    let (quic, _) = start_quic_upstream(identity, FirstConnection::Answers).await;
    for (to, lines) in [
        (format!("tls://127.0.0.1%dns.example:{}", tls.port()), ""),
        (format!("tls://{tls}"), "tls_servername dns.example"),
        (format!("https://{https}"), "tls_servername dns.example"),
        (format!("https://{https}"), "tls_servername dns.example\ndoh_method GET"),
        (format!("quic://127.0.0.1%dns.example:{}", quic.port()), ""),
    ] {
        let corefile = format!(".:0 {{\nforward . {to} {{\ntls {}\n{lines}\n}}\n}}", identity.ca);
        let service = TestService::start(&corefile).await;
        let client = TestClient::udp(service.address);
        for round in 0..3 {
            let (query, reply) = client.query("WWW.example.org.", rtype::A);
            assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{to}, {lines:?}, round {round}");
        }
        let text = service.metrics.text();
        let count = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name) && !line.contains(" 0"));
            line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
        };
        let counted =
            [count("coredns_proxy_conn_cache_misses_total"), count("coredns_proxy_conn_cache_hits_total")];
        assert_eq!(counted, ["1", "2"], "{to}: one connection for all");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_upstream_connection_is_replaced() {
    let identity = Identity::new();
    let (https, by_https) = start_https_upstream(&identity, FirstConnection::Silent).await;
    let (quic, by_quic) = start_quic_upstream(&identity, FirstConnection::Silent).await;
    for (to, state) in [(format!("https://{https}"), by_https), (format!("quic://{quic}"), by_quic)] {
        let options = "tls_servername dns.example\nread_timeout 300ms\nmax_fails 0\nmax_connect_attempts 2";
        let corefile = format!(".:0 {{\nforward . {to} {{\ntls {}\n{options}\n}}\n}}", identity.ca);
        let service = TestService::start(&corefile).await;
        for round in 0..3 {
            let (query, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
            assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{to}, round {round}");
        }
        assert_eq!(state.connections.load(SeqCst), 2, "{to}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_lose_their_connection_share_the_next_one() {
    const IN_FLIGHT: usize = 40;
    let identity = Identity::new();
    let (https, state) = start_https_upstream(&identity, FirstConnection::ClosedAfter(IN_FLIGHT)).await;
    let options = format!("tls {}\ntls_servername dns.example\nread_timeout 10s", identity.ca);
    let service =
        TestService::start(&format!(".:0 {{\nforward . https://{https} {{\n{options}\n}}\n}}")).await;
    let client = TestClient::udp(service.address);
    client.query("www.example.org.", rtype::A);
    let queries: Vec<_> = (0..IN_FLIGHT)
        .map(|_| tokio::task::spawn_blocking(move || client.query("www.example.org.", rtype::A)))
        .collect();
    for query in queries {
        let (query, reply) = query.await.unwrap();
        assert_eq!(answers(&reply, &query), "A 192.0.2.1");
    }
    assert_eq!(state.connections.load(SeqCst), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_certificate_for_another_name_is_rejected() {
    let identity = Identity::new();
    let at = start_tls_upstream(&identity).await;
    let corefile = format!(
        ".:0 {{\nforward . tls://{at} {{\ntls {}\ntls_servername other.example\nmax_fails 0\nmax_connect_attempts 1\n}}\n}}",
        identity.ca
    );
    let service = TestService::start(&corefile).await;
    let (_, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
    assert_eq!(reply.rcode, dns_wire::codes::rcode::SERVFAIL);
    service.stop().await;
}
