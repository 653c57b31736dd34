//! The entry point of a fuzz target: any bytes as the response of a responder, and as a certificate.

use std::time::{Duration, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber};

use crate::issuer::{is_root, next_issuer, read_issuer};
use crate::ocsp::OcspSubject;
use crate::ocsp::testing::{responder_extension, sign};

/// How far the clock of a responder may be ahead.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A certificate with the serial number 1, its issuer, and the issuer's key.
struct FuzzChain {
    subject: OcspSubject,
    leaf: Vec<u8>,
    issuer: Vec<u8>,
    key: KeyPair,
}

thread_local! {
    static CHAIN: FuzzChain = FuzzChain::new();
}

/// Bytes as a response, as the `ResponseData` of a response with a valid signature, and as a certificate.
///
/// # Panics
/// When a response that is not valid now may be stapled, or when reading panics.
pub fn ocsp_response(data: &[u8]) {
    // 2026-01-01.
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    CHAIN.with(|chain| {
        let signed = sign(data, &[], &chain.key).expect("a signature");
        for response in [data, signed.as_slice()] {
            if let Ok(staple) = chain.subject.check(response, now) {
                assert!(staple.from <= now + CLOCK_SKEW && now < staple.until, "{staple:?}");
                assert_eq!(staple.response, response);
                staple.until.duration_since(UNIX_EPOCH).expect("after 1970");
            }
        }
        if let Ok(subject) = OcspSubject::new(&[data, &chain.issuer]) {
            assert!(subject.responder.starts_with("http://"), "{subject:?}");
            subject.request();
        }
        let _ = (next_issuer(&[data]), read_issuer(data, &chain.leaf), is_root(data));
    });
}

impl FuzzChain {
    fn new() -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.distinguished_name.push(DnType::CommonName, name);
            params.serial_number = Some(SerialNumber::from(1));
            params
        };
        let key = KeyPair::generate().expect("a key");
        let mut authority = params("ca");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, &key).expect("a certificate");
        let mut leaf = params("leaf");
        leaf.custom_extensions.push(responder_extension("http://ocsp.example/"));
        let leaf = leaf.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("a certificate");
        let (leaf, issuer) = (leaf.der().to_vec(), issuer.der().to_vec());
        let subject = OcspSubject::new(&[&leaf, &issuer]).expect("a chain with a responder");
        Self { subject, leaf, issuer, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_inputs_pass() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/ocsp_response");
        for file in std::fs::read_dir(folder).expect("a kept corpus") {
            ocsp_response(&std::fs::read(file.expect("a file").path()).expect("bytes"));
        }
    }

    /// The kept `ResponseData` is that of a good response, so that mutations of it reach all checks.
    #[test]
    fn the_kept_response_data_may_be_stapled() {
        let data = include_bytes!("../../../fuzz/corpus/ocsp_response/good");
        CHAIN.with(|chain| {
            let response = sign(data, &[], &chain.key).expect("a signature");
            let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
            assert_eq!(chain.subject.check(&response, now).map(|staple| staple.response), Ok(response));
        });
    }
}
