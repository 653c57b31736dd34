//! Self-signed certificates: the default one, served when no Secret matches the name (subject and validity are those of ingress-nginx's own), and that
//! of the admission webhook.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::tls::{TlsError, provider};

/// Common name of the subject.
pub const COMMON_NAME: &str = "Kubernetes Ingress Controller Fake Certificate";
/// Organisation of the subject.
pub const ORGANIZATION: &str = "Acme Co";
/// The only subject alternative name.
pub const ALTERNATIVE_NAME: &str = "ingress.local";

const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Creates a self-signed certificate, valid for 365 days from `now`. The key is on P-256, where ingress-nginx uses RSA: every
/// client that supports TLS 1.2 accepts it, and signing is ten times faster.
///
/// # Errors
/// When the key or the certificate cannot be created.
pub fn self_signed(now: SystemTime) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = KeyPair::generate().map_err(TlsError::SelfSigned)?;
    let mut params = CertificateParams::new([ALTERNATIVE_NAME.to_owned()]).map_err(TlsError::SelfSigned)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    params.not_before = now.into();
    params.not_after = (now + LIFETIME).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).map_err(TlsError::SelfSigned)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let certified = CertifiedKey::from_der(vec![certificate.into()], key, provider())?;
    Ok(Arc::new(certified))
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct IssuedPem {
    /// The certificate, which is its own authority.
    pub certificate: String,
    /// The private key, in PKCS #8.
    pub key: String,
}

/// Creates a self-signed certificate for these host names, valid from an hour before `now` (clocks differ) for `lifetime`.
///
/// # Errors
/// When a name is invalid, or the key or the certificate cannot be created.
pub fn self_signed_for(
    names: Vec<String>,
    now: SystemTime,
    lifetime: Duration,
) -> Result<IssuedPem, TlsError> {
    let key = KeyPair::generate().map_err(TlsError::SelfSigned)?;
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).map_err(TlsError::SelfSigned)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // A common name has 64 characters at most (RFC 5280); verifiers read the alternative names.
    params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + lifetime).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).map_err(TlsError::SelfSigned)?;
    Ok(IssuedPem { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Loads a certificate chain and its key, both PEM.
///
/// # Errors
/// What is wrong with them, for a message.
pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate: no PEM certificate found".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, provider()).map_err(|error| error.to_string())?;
    Ok(certified)
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;

    #[test]
    fn subject_and_validity_are_those_of_ingress_nginx() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let made = self_signed(now).unwrap();
        let (_, certificate) = X509Certificate::from_der(&made.cert[0]).unwrap();
        assert_eq!(
            certificate.subject().to_string(),
            "O=Acme Co, CN=Kubernetes Ingress Controller Fake Certificate"
        );
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, vec![GeneralName::DNSName("ingress.local")]);
        let validity = certificate.validity();
        assert_eq!(validity.not_before.timestamp(), 1_790_000_000);
        assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 365 * 86_400);
        assert_eq!(certificate.issuer(), certificate.subject());
    }

    #[test]
    fn a_certificate_for_names_is_loaded_with_its_key_only() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let issue = || self_signed_for(vec!["a.b.svc".into(), "a.b".into()], now, LIFETIME).unwrap();
        let (one, other) = (issue(), issue());
        let loaded = from_pem(one.certificate.as_bytes(), one.key.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&loaded.cert[0]).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("a.b.svc"), GeneralName::DNSName("a.b")]);
        assert!(from_pem(one.certificate.as_bytes(), other.key.as_bytes()).is_err());
        assert!(from_pem(b"", one.key.as_bytes()).is_err());
    }
}
