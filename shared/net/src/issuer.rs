//! The issuer of a certificate: where it can be fetched (RFC 5280 §4.2.2.1), and whether a certificate is the one.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ocsp::{access_location, is_signed_by};

/// The longest chain in certificates.
pub const MAX_CHAIN: usize = 6;

/// The URL of the certificate of the issuer that follows in a chain; `None` if the chain is complete (its last certificate is self-issued)
/// or names no URL.
pub fn next_issuer(chain: &[impl AsRef<[u8]>]) -> Option<String> {
    let last = chain.last().filter(|_| chain.len() < MAX_CHAIN)?.as_ref();
    let (_, last) = X509Certificate::from_der(last).ok()?;
    if last.subject().as_raw() == last.issuer().as_raw() {
        return None;
    }
    access_location(&last, "1.3.6.1.5.5.7.48.2")
}

/// The certificate in a response of such a URL, in DER or PEM, if it has issued `subject`.
pub fn read_issuer(response: &[u8], subject: &[u8]) -> Option<CertificateDer<'static>> {
    let der = match CertificateDer::from_pem_slice(response) {
        Ok(certificate) => certificate,
        Err(_) => CertificateDer::from(response.to_vec()),
    };
    let (rest, issuer) = X509Certificate::from_der(&der).ok()?;
    let (_, parsed) = X509Certificate::from_der(subject).ok()?;
    let names_match = issuer.subject().as_raw() == parsed.issuer().as_raw();
    let is_issuer = rest.is_empty() && issuer.is_ca() && names_match && is_signed_by(subject, &issuer);
    is_issuer.then(|| der.clone())
}

/// Whether a certificate is its own issuer: a root, which clients have and servers do not send.
pub fn is_root(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.subject().as_raw() == certificate.issuer().as_raw())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::ocsp::testing::issuer_extension;

    fn params(name: &str, issuer_url: Option<&str>) -> CertificateParams {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.custom_extensions.extend(issuer_url.map(issuer_extension));
        params
    }

    #[test]
    fn a_chain_is_continued_with_the_certificate_that_has_signed() {
        let mut root = params("root", None);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let mut between = params("between", Some("http://ca.example/root.crt"));
        between.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let between_certificate = between.signed_by(&key, &root).unwrap();
        let issuer = Issuer::from_params(&between, &key);
        let leaf = params("leaf", Some("http://ca.example/between.crt"));
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();

        assert_eq!(next_issuer(&[leaf.der()]).as_deref(), Some("http://ca.example/between.crt"));
        let chain = [leaf.der(), between_certificate.der()];
        assert_eq!(next_issuer(&chain).as_deref(), Some("http://ca.example/root.crt"));
        assert_eq!(next_issuer(&[leaf.der(), between_certificate.der(), root.der()]), None);
        for response in [between_certificate.der().to_vec(), between_certificate.pem().into_bytes()] {
            assert_eq!(read_issuer(&response, leaf.der()).as_ref(), Some(between_certificate.der()));
        }
        assert_eq!(read_issuer(root.der(), leaf.der()), None, "another authority");
        assert_eq!(read_issuer(leaf.der(), leaf.der()), None);
        assert_eq!(read_issuer(b"<html>", leaf.der()), None);
        assert!(is_root(root.der()) && !is_root(leaf.der()));
    }
}
