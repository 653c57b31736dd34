//! One HTTP request to one address, and its response as a line of text that can be compared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The common name of the certificate that ingress-nginx and Portolan make at their start.
const DEFAULT_CERTIFICATE: &str = "Fake Certificate";

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpRequest {
    /// True over TLS.
    pub(crate) tls: bool,
    /// The host, in the `Host` header and in SNI.
    pub(crate) host: String,
    /// The path.
    pub(crate) path: String,
}

impl HttpRequest {
    /// Sends the request. Returns status, `Location` and, over TLS, the certificate, as one line.
    ///
    /// # Errors
    /// Why there was no response.
    pub(crate) async fn send(&self, address: SocketAddr) -> Result<String, String> {
        match timeout(TIMEOUT, self.response(address)).await {
            Ok(response) => response,
            Err(_) => Err(format!("no response within {} s", TIMEOUT.as_secs())),
        }
    }

    async fn response(&self, address: SocketAddr) -> Result<String, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
        if !self.tls {
            return self.exchange(stream).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(client_config()).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS handshake: {error}"))?;
        let certificate =
            stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(describe);
        let response = self.exchange(stream).await?;
        Ok(format!("{response}, {}", certificate.unwrap_or_default()))
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<String, String> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let request = Request::get(&self.path)
            .header("host", &self.host)
            .header("user-agent", "portolan-migrate")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        Ok(location.map_or_else(|| status.to_string(), |location| format!("{status} {location}")))
    }
}

impl std::fmt::Display for HttpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.host, self.path)
    }
}

/// Subject and serial number, by which a certificate is recognised.
fn describe(certificate: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) if parsed.subject().to_string().contains(DEFAULT_CERTIFICATE) => {
            "default certificate".to_owned()
        }
        Ok((_, parsed)) => {
            format!("certificate {} serial {}", parsed.subject(), parsed.raw_serial_as_string())
        }
        Err(error) => format!("unreadable certificate: {error}"),
    }
}

fn client_config() -> Arc<ClientConfig> {
    let config =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
    Arc::new(config.with_no_client_auth())
}

/// Accepts every certificate: it is compared with the one that was served before, not trusted. Nothing secret is sent.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
