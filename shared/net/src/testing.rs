//! Test support for TLS: certificates, and a client that accepts any certificate.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::tls_client::{unverified_builder, unverified_with};

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
    certificate_of(&[name])
}

/// Creates a self-signed certificate for several names.
pub fn certificate_of(names: &[&str]) -> TestCertificate {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("tests name well-formed hosts");
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

/// A certificate authority.
pub struct TestAuthority(CertifiedIssuer<'static, KeyPair>);

/// A client's certificate with its key.
pub struct ClientCredentials {
    /// The certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl TestAuthority {
    /// A self-signed authority with a common name.
    pub fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("key generation does not fail");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are valid"))
    }

    /// `ca.crt`.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a client with a common name.
    pub fn client(&self, name: &str) -> ClientCredentials {
        let key = KeyPair::generate().expect("key generation does not fail");
        let certificate = named(name).signed_by(&key, &self.0).expect("the parameters are valid");
        ClientCredentials {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The same as [`client`], with a certificate.
pub fn client_as(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
    client: &ClientCredentials,
) -> Arc<ClientConfig> {
    let builder = unverified_builder(versions);
    let config = builder.with_client_auth_cert(client.chain.clone(), client.key.clone_key());
    let mut config = config.expect("the key belongs to the certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}
