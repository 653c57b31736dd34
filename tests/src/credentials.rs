//! Credentials of the control plane: certificate authority, keys of service account tokens, kubeconfigs.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;

/// A certificate authority with a key in memory.
pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as in a TLS Secret.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// `tls.crt` (PEM).
    pub certificate: String,
    /// `tls.key` (PEM).
    pub key: String,
    /// The certificate as DER.
    pub der: CertificateDer<'static>,
}

impl CertificateAuthority {
    /// Creates an authority with a new key.
    pub fn new(name: &str) -> CertificateAuthority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("the parameters are complete");
        CertificateAuthority { issuer }
    }

    /// Issues a server certificate for DNS names and IP addresses.
    pub fn issue(&self, names: &[&str]) -> IssuedCertificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("tests use valid host names");
        params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// Issues a client certificate. Its common name is the user name for the API server.
    pub fn issue_client_certificate(&self, user: &str) -> IssuedCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> IssuedCertificate {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are complete");
        IssuedCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    /// The CA certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// The CA certificate as DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.as_ref().der().clone()
    }
}

/// Creates a key pair for signing service account tokens: private and public key as PEM.
pub fn token_keys() -> (String, String) {
    let key = key();
    (key.serialize_pem(), key.public_key_pem())
}

/// A kubeconfig for one user of one server; `authority` is the path of the CA certificate.
pub fn kubeconfig(server: &str, authority: &str, token: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {{ cluster: test, user: test }}
clusters:
- name: test
  cluster: {{ server: "{server}", certificate-authority: "{authority}" }}
users:
- name: test
  user: {{ token: "{token}" }}
"#
    )
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system provides random numbers")
}
