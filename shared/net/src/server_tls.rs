//! Server-side TLS with settings of its own for groups of names: ciphers, client certificates, scopes of session resumption.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ProducesTickets, ResolvesServerCert, StoresServerSessions};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, SupportedCipherSuite,
};

use crate::tls::{TlsError, provider};

/// Settings of TLS connections.
pub struct ServerTlsOptions {
    /// ALPN protocols in order of preference (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// IANA's numbers of the suites of TLS 1.2 in order of preference; `None` for all. Those of TLS 1.3 are always offered.
    pub ciphers: Option<Arc<[u16]>>,
    /// The order of the client decides which cipher is used.
    pub prefers_client_order: bool,
    /// Names of certificate authorities: the handshake asks for a client certificate.
    pub client_authorities: Option<Arc<[DistinguishedName]>>,
    /// Selects the certificate.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// Where sessions are kept; `None` for nowhere.
    pub sessions: Option<Arc<dyn StoresServerSessions>>,
    /// Makes session tickets, in place of `sessions`.
    pub tickets: Option<Arc<dyn ProducesTickets>>,
}

/// Creates a configuration for TLS 1.2 and 1.3.
///
/// # Errors
/// When rustls refuses the settings.
pub fn server_config(options: ServerTlsOptions) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = match &options.ciphers {
        None => provider().clone(),
        Some(ciphers) => Arc::new(with_ciphers(provider(), ciphers)),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match options.client_authorities {
        None => builder.with_no_client_auth(),
        Some(names) => builder.with_client_cert_verifier(Arc::new(AnyCertificate(names))),
    };
    let mut config = builder.with_cert_resolver(options.certificates);
    config.alpn_protocols = options.alpn;
    config.ignore_client_order = !options.prefers_client_order;
    config.send_tls13_tickets = if options.sessions.is_some() || options.tickets.is_some() { 2 } else { 0 };
    config.session_storage =
        options.sessions.unwrap_or_else(|| Arc::new(rustls::server::NoServerSessionStorage {}));
    if let Some(tickets) = options.tickets {
        config.ticketer = tickets;
    }
    Ok(Arc::new(config))
}

/// A provider with the suites of TLS 1.3, and these of TLS 1.2.
fn with_ciphers(provider: &CryptoProvider, ciphers: &[u16]) -> CryptoProvider {
    let suites = &provider.cipher_suites;
    let of_tls13 = suites.iter().filter(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
    let find = |number: &u16| suites.iter().find(|suite| u16::from(suite.suite()) == *number);
    let cipher_suites = of_tls13.chain(ciphers.iter().filter_map(find)).copied().collect();
    CryptoProvider { cipher_suites, ..provider.clone() }
}

/// Asks for a certificate and accepts any whose key the client has: the chain is verified after the handshake, so that the client gets a
/// response that tells what is wrong.
#[derive(Debug)]
struct AnyCertificate(Arc<[DistinguishedName]>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.0
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
