//! A client connection with or without TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tests::credentials::{CertificateAuthority, IssuedCertificate};

use crate::http::message::HOST;

/// TLS settings of a benchmark: the certificate of all servers, and the client configuration.
pub(crate) struct LoadTls {
    pub(crate) certificate: IssuedCertificate,
    client: Arc<ClientConfig>,
}

impl LoadTls {
    /// Issues a P-256 certificate for the host, the most common kind today.
    ///
    /// Clients offer only TLS 1.3 with AES-128-GCM and X25519, and resume no sessions, so that every server does the same
    /// work: otherwise some would select a post-quantum key exchange.
    pub(crate) fn new() -> Result<Self, String> {
        let failed = |error: rustls::Error| format!("TLS of the load: {error}");
        let authority = CertificateAuthority::new("bench");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).map_err(failed)?;
        let mut provider = default_provider();
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![kx_group::X25519];
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Ok(Self { certificate: authority.issue(&[HOST]), client: Arc::new(client) })
    }
}

/// A blocking stream to a server.
pub(crate) enum LoadStream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl LoadStream {
    /// Connects and, with TLS, completes the handshake.
    pub(crate) fn open(server: SocketAddr, tls: Option<&LoadTls>) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let host = HOST.try_into().map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(tls.client.clone(), host).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// The underlying socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl AsRawFd for LoadStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }
}

impl Read for LoadStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for LoadStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
