//! The certificate authorities of a Secret, and the verification of a client's chain against them.

use std::sync::Arc;

use cluster::Secret;
use rustls::DistinguishedName;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
    anchor_from_trusted_cert,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::refusal::{CertificateError, is_self_signed};

/// The longest `ca.crt` and the longest `ca.crl`, in bytes. A Secret of the API server is shorter than 1 MiB.
const MAX_TEXT: usize = 1 << 20;
/// The most certificates of a `ca.crt`. Their names are sent in every handshake.
const MAX_CERTIFICATES: usize = 500;
/// The most lists of a `ca.crl`.
const MAX_LISTS: usize = 100;
/// The most bytes of names that a handshake can carry (RFC 8446 §4.2.4).
const MAX_NAMES: usize = (1 << 16) - 1;

/// `ca.crt` and `ca.crl` of a Secret. Made once for each version of it.
pub struct ClientAuthority {
    secret: Arc<Secret>,
    /// The self-signed certificates.
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// The others, which complete the chains of clients.
    intermediates: Vec<CertificateDer<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    names: Arc<[DistinguishedName]>,
    fingerprint: [u8; 32],
}

impl ClientAuthority {
    /// Reads a Secret.
    ///
    /// # Errors
    /// Why no client could be verified with it.
    pub(crate) fn read(secret: &Arc<Secret>) -> Result<Self, String> {
        let name = &secret.key;
        let Some(text) = secret.entry("ca.crt").filter(|text| !text.is_empty()) else {
            return Err(format!("Secret {name} has no ca.crt"));
        };
        let error = |entry: &str, what: &dyn std::fmt::Display| format!("{entry} of Secret {name} {what}");
        if text.len() > MAX_TEXT {
            return Err(error("ca.crt", &"is longer than 1 MiB"));
        }
        let certificates: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(text).collect();
        let certificates =
            certificates.map_err(|cause| error("ca.crt", &format_args!("is not PEM: {cause}")))?;
        if certificates.len() > MAX_CERTIFICATES {
            return Err(error("ca.crt", &format_args!("has more than {MAX_CERTIFICATES} certificates")));
        }
        let (mut anchors, mut roots, mut intermediates, mut names) =
            <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
        let mut digest = Sha256::new();
        for certificate in certificates {
            let invalid = |cause: &dyn std::fmt::Display| {
                error("ca.crt", &format_args!("has an invalid certificate: {cause}"))
            };
            let is_root = {
                let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|cause| invalid(&cause))?;
                parsed.subject().as_raw() == parsed.issuer().as_raw()
            };
            digest.update((certificate.len() as u64).to_be_bytes());
            digest.update(&certificate);
            let anchor = anchor_from_trusted_cert(&certificate).map_err(|cause| invalid(&cause))?;
            names.push(DistinguishedName::in_sequence(&anchor.subject));
            match is_root {
                true => {
                    anchors.push(anchor.to_owned());
                    roots.push(certificate);
                }
                false => intermediates.push(certificate),
            }
        }
        if anchors.is_empty() {
            return Err(error(
                "ca.crt",
                &"has no self-signed certificate, so that no chain of a client could end there",
            ));
        }
        if names.iter().map(|name| name.as_ref().len() + 2).sum::<usize>() > MAX_NAMES {
            return Err(error("ca.crt", &"has names that are too long for a handshake"));
        }
        let lists = lists(secret).map_err(|cause| error("ca.crl", &cause))?;
        let (secret, names, fingerprint) = (secret.clone(), names.into(), digest.finalize().into());
        Ok(Self { secret, roots, anchors, intermediates, lists, names, fingerprint })
    }

    /// The subjects of its certificates, which a handshake names to the client.
    pub fn names(&self) -> &Arc<[DistinguishedName]> {
        &self.names
    }

    /// SHA-256 of its certificates.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Verifies a chain, with at most `depth` certificates between that of the client and a self-signed one. `chain` has at least one
    /// certificate.
    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        depth: usize,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let Some((leaf, sent)) = chain.split_first() else {
            return Err(CertificateError::Invalid("no certificate"));
        };
        let WebPkiSupportedAlgorithms { all, .. } =
            aws_lc_rs::default_provider().signature_verification_algorithms;
        let lists: Vec<_> = self.lists.iter().collect();
        // As nginx's `ssl_crl`: every certificate needs a current list of its issuer.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let has_depth = |path: &VerifiedPath<'_>| match path.intermediate_certificates().count() <= depth {
            true => Ok(()),
            false => Err(Error::MaximumPathDepthExceeded),
        };
        let usage = KeyUsage::client_auth();
        let certificates: Vec<_> = sent.iter().chain(&self.intermediates).cloned().collect();
        let verified = EndEntityCert::try_from(leaf).and_then(|end| {
            end.verify_for_usage(all, &self.anchors, &certificates, now, usage, revocation, Some(&has_depth))
                .map(drop)
        });
        match verified {
            Ok(()) => Ok(()),
            // OpenSSL accepts a self-signed certificate that is listed itself, also if it may issue others.
            Err(Error::CaUsedAsEndEntity) if self.lists.is_empty() && self.roots.contains(leaf) => {
                usable(leaf, now)
            }
            // One that is not listed has no known issuer: webpki does not look for the issuer of a certificate that may issue others.
            Err(Error::CaUsedAsEndEntity) if is_self_signed(leaf) && !self.roots.contains(leaf) => {
                usable(leaf, now)?;
                Err(CertificateError::of(&Error::UnknownIssuer, &chain[..1]))
            }
            Err(error) => Err(CertificateError::of(&error, chain)),
        }
    }
}

/// The revocation lists of `ca.crl`.
fn lists(secret: &Secret) -> Result<Vec<CertRevocationList<'static>>, String> {
    let Some(text) = secret.entry("ca.crl").filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    if text.len() > MAX_TEXT {
        return Err("is longer than 1 MiB".into());
    }
    let ders: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    let ders = ders.map_err(|error| format!("is not PEM: {error}"))?;
    if ders.is_empty() || ders.len() > MAX_LISTS {
        return Err(format!("has {} revocation lists, and from 1 to {MAX_LISTS} are supported", ders.len()));
    }
    let read = |der: &CertificateRevocationListDer<'_>| {
        let list = OwnedCertRevocationList::from_der(der);
        list.map(CertRevocationList::Owned).map_err(|error| match error {
            Error::UnsupportedCrlVersion => {
                "has a revocation list of version 1 (RFC 5280 requires version 2)".to_owned()
            }
            error => format!("has an invalid revocation list: {error}"),
        })
    };
    ders.iter().map(read).collect()
}

/// Checks the times and the purpose of a self-signed certificate.
fn usable(leaf: &[u8], now: UnixTime) -> Result<(), CertificateError> {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
        return Err(CertificateError::Invalid("not a certificate"));
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < leaf.validity().not_before.timestamp() {
        return Err(CertificateError::NOT_YET_VALID);
    }
    if now > leaf.validity().not_after.timestamp() {
        return Err(CertificateError::EXPIRED);
    }
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.any || usage.value.client_auth => Ok(()),
        _ => Err(CertificateError::PURPOSE),
    }
}

/// Compared by the Secret.
impl PartialEq for ClientAuthority {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl std::fmt::Debug for ClientAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { secret, anchors, intermediates, lists, fingerprint, .. } = self;
        let counts = (anchors.len(), intermediates.len(), lists.len());
        write!(f, "ClientAuthority({}, {counts:?}, {})", secret.key, hex::encode(fingerprint))
    }
}
