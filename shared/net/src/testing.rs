//! Test support for TLS: certificates, and a client that accepts any certificate.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::tls_client::unverified_with;

/// A certificate with its key, as PEM (as in a Secret) and as DER (as in a handshake).
pub struct TestCertificate {
    /// `tls.crt`.
    pub certificate: String,
    /// `tls.key`.
    pub key: String,
    /// The certificate in DER.
    pub der: CertificateDer<'static>,
}

/// Creates a self-signed certificate for a name.
pub fn certificate(name: &str) -> TestCertificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("tests name well-formed hosts");
    TestCertificate {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        der: made.cert.der().clone(),
    }
}

/// A client that accepts any certificate, for tests that check which one the server presents. It resumes sessions.
pub fn client(versions: &[&'static SupportedProtocolVersion], alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = unverified_with(versions);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}
