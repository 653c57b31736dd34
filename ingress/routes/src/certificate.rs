//! A certificate with its key, read from a Secret.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use cluster::Secret;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::asn1_rs::Oid;
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(aws_lc_rs::default_provider);

/// A certificate chain with its key, ready to be served. Made once for each version of a Secret.
pub(crate) struct LoadedCertificate {
    pub(crate) secret: Arc<Secret>,
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names of the certificate, or its common name where it has none. In lower case.
    names: Vec<String>,
    pub(crate) info: CertificateInfo,
}

/// Fields of a certificate that metrics show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// `notBefore` in Unix seconds.
    pub valid_from: i64,
    /// `notAfter` in Unix seconds. Expired certificates are served.
    pub expires: i64,
    /// `serialNumber`, in decimal.
    pub serial_number: String,
    /// The issuer's first `organizationName`; empty where it has none.
    pub issuer_organization: String,
    /// The issuer's `commonName`.
    pub issuer_common_name: String,
    /// The issuer's own `serialNumber`, which few issuers have.
    pub issuer_serial_number: String,
    /// `RSA`, `ECDSA` or `Ed25519`; empty for others.
    pub public_key_algorithm: &'static str,
}

impl CertificateInfo {
    /// Reads a certificate in DER; `None` if it is not one.
    pub fn of(der: &[u8]) -> Option<Self> {
        read(der).ok().map(|(_, info)| info)
    }
}

impl LoadedCertificate {
    pub(crate) fn new(secret: &Arc<Secret>) -> Result<Self, String> {
        let name = &secret.key;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&secret.certificate).collect();
        let chain = chain.map_err(|error| format!("tls.crt of Secret {name} is not PEM: {error}"))?;
        let first = chain.first().ok_or_else(|| format!("Secret {name} has no certificate in tls.crt"))?;
        let (names, info) =
            read(first).map_err(|error| format!("tls.crt of Secret {name} is no certificate: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(&secret.private_key)
            .map_err(|error| format!("tls.key of Secret {name} is no private key in PEM: {error}"))?;
        let key = PROVIDER.key_provider.load_private_key(key);
        let key = key.map_err(|error| format!("tls.key of Secret {name} cannot be used: {error}"))?;
        let key = CertifiedKey::new(chain, key);
        // Version 1 certificates cannot be compared with the key. They are served.
        if matches!(key.keys_match(), Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch))) {
            return Err(format!("tls.key of Secret {name} does not belong to its tls.crt"));
        }
        Ok(Self { secret: secret.clone(), key: Arc::new(key), names, info })
    }

    /// Whether the certificate covers a host.
    pub(crate) fn covers(&self, host: &str) -> bool {
        covers(&self.names, host)
    }

    /// Why clients reject the certificate at a time since the Unix epoch. It is served nevertheless, as by nginx.
    pub(crate) fn invalid_at(&self, now: Duration) -> Option<String> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let CertificateInfo { valid_from, expires, .. } = self.info;
        let reason = if now > expires {
            format!("expired at {}", date(expires))
        } else if now < valid_from {
            format!("is not valid before {}", date(valid_from))
        } else {
            return None;
        };
        let secret = &self.secret.key;
        Some(format!("the certificate of Secret {secret} {reason}; it is served, and clients reject it"))
    }

    pub(crate) fn names(&self) -> String {
        self.names.join(", ")
    }
}

/// Whether names of a certificate cover a host: by its name, or by a wildcard for its first label (RFC 6125 §6.4.3).
/// A wildcard host needs the same wildcard.
pub(crate) fn covers(names: &[String], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let parent = host.split_once('.').filter(|(label, _)| !label.is_empty() && *label != "*");
    names.iter().any(|name| {
        let wildcard = name.strip_prefix("*.");
        *name == host || parent.is_some_and(|(_, parent)| wildcard == Some(parent))
    })
}

/// The DNS names of a certificate, or its common name where it has none. In lower case. Empty if it cannot be read.
pub(crate) fn names_of(der: &[u8]) -> Vec<String> {
    X509Certificate::from_der(der).map(|(_, certificate)| names(&certificate)).unwrap_or_default()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        names.extend(extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        }));
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    names
}

fn read(der: &[u8]) -> Result<(Vec<String>, CertificateInfo), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let names = names(&certificate);
    let issuer = |oid| {
        let first = certificate.issuer().iter_by_oid(oid).next();
        first.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
    };
    let info = CertificateInfo {
        valid_from: certificate.validity().not_before.timestamp(),
        expires: certificate.validity().not_after.timestamp(),
        serial_number: certificate.serial.to_string(),
        issuer_organization: issuer(&oid_registry::OID_X509_ORGANIZATION_NAME),
        issuer_common_name: issuer(&oid_registry::OID_X509_COMMON_NAME),
        issuer_serial_number: issuer(&oid_registry::OID_X509_SERIALNUMBER),
        public_key_algorithm: algorithm(&certificate.public_key().algorithm.algorithm),
    };
    Ok((names, info))
}

/// A time in Unix seconds, in the format of HTTP.
fn date(seconds: i64) -> String {
    httpdate::fmt_http_date(
        UNIX_EPOCH + Duration::from_secs(seconds.clamp(0, 253_402_300_799).unsigned_abs()),
    )
}

/// The name that Go's `x509.PublicKeyAlgorithm` prints.
fn algorithm(oid: &Oid<'_>) -> &'static str {
    let known = [
        (oid_registry::OID_PKCS1_RSAENCRYPTION, "RSA"),
        (oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY, "ECDSA"),
        (oid_registry::OID_SIG_ED25519, "Ed25519"),
    ];
    known.iter().find(|(known, _)| known == oid).map_or("", |(_, name)| *name)
}

/// Certificates of equal Secrets are equal.
impl PartialEq for LoadedCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

/// Never prints the key.
impl std::fmt::Debug for LoadedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedCertificate")
            .field("secret", &self.secret.key)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
