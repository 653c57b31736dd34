//! The default certificate, served when no Secret matches the name. Subject and validity are those of ingress-nginx's own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
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
}
