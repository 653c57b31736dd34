//! TLS clients that do not verify certificates, as nginx's `proxy_pass` does by default (`proxy_ssl_verify off`).

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};

use crate::tls::{HTTP1, provider};

/// A client with HTTP/1.1 that accepts any certificate.
pub fn unverified() -> Arc<ClientConfig> {
    let mut config = unverified_with(rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Arc::new(config)
}

/// A client with these versions of TLS that accepts any certificate.
pub(crate) fn unverified_with(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    unverified_builder(versions).with_no_client_auth()
}

/// The same, before the certificate of the client is set.
pub(crate) fn unverified_builder(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(versions)
        .expect("the provider has suites for every version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
}

#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
