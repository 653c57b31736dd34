//! OCSP (RFC 6960): the request for the status of a certificate, and what its response says.

mod der;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use self::der::{
    BIT_STRING, DerReader, ENUMERATED, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, OID, SEQUENCE, context,
    value,
};
use crate::tls::provider;

const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const BASIC_RESPONSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// How long a response without `nextUpdate` may be used.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// How far the clock of a responder may be ahead.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A certificate whose status a responder knows.
#[derive(Debug)]
pub struct OcspSubject {
    /// The URL of the responder, from the extension Authority Information Access.
    pub responder: String,
    /// The certificate of the issuer.
    issuer: Vec<u8>,
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    /// The content of the INTEGER.
    serial: Vec<u8>,
}

/// A response that may be stapled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspStaple {
    /// The response in DER.
    pub response: Vec<u8>,
    /// `thisUpdate`.
    pub from: SystemTime,
    /// `nextUpdate`.
    pub until: SystemTime,
}

/// Why there is no response that may be stapled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspError {
    /// The certificate cannot be read.
    Certificate,
    /// The certificate names no responder with an http URL.
    NoResponder,
    /// The chain has no certificate of the issuer.
    NoIssuer,
    /// The responder answers with this error (RFC 6960 §4.2.1).
    Status(u8),
    /// The response cannot be read.
    Malformed,
    /// The response is about another certificate.
    OtherCertificate,
    /// The signature is not that of the issuer or of a responder that it has authorised.
    Signature,
    /// The certificate is revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
    /// The response is not valid at this time.
    NotCurrent,
}

impl std::fmt::Display for OcspError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate cannot be read",
            Self::NoResponder => "the certificate names no OCSP responder with an http URL",
            Self::NoIssuer => "the certificate of the issuer is missing in the chain",
            Self::Status(status) => return write!(f, "the responder answers with the error {status}"),
            Self::Malformed => "the response is malformed",
            Self::OtherCertificate => "the response is about another certificate",
            Self::Signature => "the signature of the response is not that of the issuer",
            Self::Revoked => "the certificate is revoked",
            Self::Unknown => "the responder does not know the certificate",
            Self::NotCurrent => "the response is not valid at this time",
        })
    }
}

impl std::error::Error for OcspError {}

impl OcspSubject {
    /// The first certificate of a chain, whose issuer is the second.
    ///
    /// # Errors
    /// When no responder can be asked about it.
    pub fn new(chain: &[impl AsRef<[u8]>]) -> Result<Self, OcspError> {
        let leaf = chain.first().ok_or(OcspError::Certificate)?.as_ref();
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| OcspError::Certificate)?;
        let responder = access_location(&leaf, "1.3.6.1.5.5.7.48.1").ok_or(OcspError::NoResponder)?;
        let issuer = chain.get(1).ok_or(OcspError::NoIssuer)?.as_ref();
        let (_, parsed) = X509Certificate::from_der(issuer).map_err(|_| OcspError::Certificate)?;
        if parsed.subject().as_raw() != leaf.issuer().as_raw() {
            return Err(OcspError::NoIssuer);
        }
        let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
        Ok(Self {
            responder,
            name_hash: sha1(leaf.issuer().as_raw()),
            key_hash: sha1(&parsed.public_key().subject_public_key.data),
            serial: leaf.raw_serial().to_vec(),
            issuer: issuer.to_vec(),
        })
    }

    /// The request in DER.
    pub fn request(&self) -> Vec<u8> {
        let algorithm = value(SEQUENCE, &[&value(OID, &[SHA1]), &value(NULL, &[])]);
        let id = value(
            SEQUENCE,
            &[
                &algorithm,
                &value(OCTET_STRING, &[&self.name_hash]),
                &value(OCTET_STRING, &[&self.key_hash]),
                &value(INTEGER, &[&self.serial]),
            ],
        );
        let list = value(SEQUENCE, &[&value(SEQUENCE, &[&id])]);
        value(SEQUENCE, &[&value(SEQUENCE, &[&list])])
    }

    /// What a response in DER says about the certificate.
    ///
    /// # Errors
    /// When it may not be stapled.
    pub fn check(&self, response: &[u8], now: SystemTime) -> Result<OcspStaple, OcspError> {
        let basic = basic_response(response)?;
        let parsed = BasicResponse::parse(basic).ok_or(OcspError::Malformed)?;
        let single = self.find(parsed.data).ok_or(OcspError::OtherCertificate)?;
        if !self.is_signed(&parsed, now) {
            return Err(OcspError::Signature);
        }
        match single.status {
            0x80 => {}
            0xa1 => return Err(OcspError::Revoked),
            _ => return Err(OcspError::Unknown),
        }
        let until = single.until.unwrap_or(single.from + DEFAULT_VALIDITY);
        if now + CLOCK_SKEW < single.from || now >= until {
            return Err(OcspError::NotCurrent);
        }
        Ok(OcspStaple { response: response.to_vec(), from: single.from, until })
    }

    /// The response about the certificate in `ResponseData`.
    fn find(&self, data: &[u8]) -> Option<SingleResponse> {
        let mut data = DerReader(DerReader(data).take(SEQUENCE)?);
        data.optional(context(0));
        data.next()?; // responderID
        data.take(GENERALIZED_TIME)?; // producedAt
        let mut responses = DerReader(data.take(SEQUENCE)?);
        while let Some(response) = responses.next() {
            let mut response = DerReader(response.of(SEQUENCE)?);
            let mut id = DerReader(response.take(SEQUENCE)?);
            let mut algorithm = DerReader(id.take(SEQUENCE)?);
            let is_sha1 = algorithm.take(OID)? == SHA1;
            let (name, key, serial) = (id.take(OCTET_STRING)?, id.take(OCTET_STRING)?, id.take(INTEGER)?);
            // A responder answers with the algorithm of the request; with another one, the serial number must do: the response is signed by
            // the issuer.
            let is_issuer = !is_sha1 || (name == self.name_hash && key == self.key_hash);
            if !is_issuer || serial != self.serial {
                continue;
            }
            let status = response.next()?.tag;
            let from = time(response.take(GENERALIZED_TIME)?)?;
            let until = match response.optional(context(0)) {
                Some(until) => Some(time(DerReader(until).take(GENERALIZED_TIME)?)?),
                None => None,
            };
            return Some(SingleResponse { status, from, until });
        }
        None
    }

    /// Whether the issuer has signed a response, or a responder whose certificate is in it and is signed by the issuer for this purpose.
    fn is_signed(&self, response: &BasicResponse<'_>, now: SystemTime) -> bool {
        let by = |certificate: &X509Certificate<'_>| {
            verifies(certificate, response.algorithm, response.data, response.signature)
        };
        let Ok((_, issuer)) = X509Certificate::from_der(&self.issuer) else { return false };
        if by(&issuer) {
            return true;
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_authorised = |delegate: &X509Certificate<'_>, der: &[u8]| {
            let validity = delegate.validity();
            let is_current = i64::try_from(now).is_ok_and(|now| {
                (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
            });
            let for_ocsp = delegate
                .extended_key_usage()
                .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.ocsp_signing));
            is_current
                && for_ocsp
                && delegate.issuer().as_raw() == issuer.subject().as_raw()
                && is_signed_by(der, &issuer)
        };
        let mut certificates = DerReader(response.certificates);
        std::iter::from_fn(|| certificates.next()).any(|value| {
            let delegate = X509Certificate::from_der(value.whole);
            delegate.is_ok_and(|(_, delegate)| is_authorised(&delegate, value.whole) && by(&delegate))
        })
    }
}

/// Whether the key of an issuer has signed a certificate in DER.
pub fn is_signed_by(certificate: &[u8], issuer: &X509Certificate<'_>) -> bool {
    // A certificate has the same outer form as a response: signed data, algorithm, signature.
    let parts = BasicResponse::parse(certificate);
    parts.is_some_and(|parts| verifies(issuer, parts.algorithm, parts.data, parts.signature))
}

/// A place that Authority Information Access names by the OID of a method, if it is an http URL.
pub fn access_location(certificate: &X509Certificate<'_>, method: &str) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { return None };
        access.accessdescs.iter().find_map(|description| match &description.access_location {
            GeneralName::URI(url)
                if url.starts_with("http://") && description.access_method.to_id_string() == method =>
            {
                Some((*url).to_owned())
            }
            _ => None,
        })
    })
}

struct SingleResponse {
    /// The tag of `certStatus`.
    status: u8,
    from: SystemTime,
    until: Option<SystemTime>,
}

/// The parts of a `BasicOCSPResponse`.
struct BasicResponse<'a> {
    /// `tbsResponseData`, which is signed.
    data: &'a [u8],
    /// The signature algorithm with its tag.
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: &'a [u8],
}

impl<'a> BasicResponse<'a> {
    fn parse(basic: &'a [u8]) -> Option<Self> {
        let mut basic = DerReader(DerReader(basic).take(SEQUENCE)?);
        let data = basic.next()?.whole;
        let algorithm = basic.next()?.whole;
        // The first byte says how many bits of the last one are unused: none.
        let signature = basic.take(BIT_STRING)?.strip_prefix(&[0])?;
        let certificates = match basic.optional(context(0)) {
            Some(certificates) => DerReader(certificates).take(SEQUENCE)?,
            None => &[],
        };
        Some(Self { data, algorithm, signature, certificates })
    }
}

fn basic_response(response: &[u8]) -> Result<&[u8], OcspError> {
    let mut outer = DerReader(DerReader(response).take(SEQUENCE).ok_or(OcspError::Malformed)?);
    match outer.take(ENUMERATED) {
        Some([0]) => {}
        Some([status]) => return Err(OcspError::Status(*status)),
        _ => return Err(OcspError::Malformed),
    }
    let mut read = || {
        let mut bytes = DerReader(DerReader(outer.take(context(0))?).take(SEQUENCE)?);
        (bytes.take(OID)? == BASIC_RESPONSE).then(|| bytes.take(OCTET_STRING)).flatten()
    };
    read().ok_or(OcspError::Malformed)
}

/// Whether the key of a certificate has signed a message.
fn verifies(signer: &X509Certificate<'_>, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = signer.public_key();
    let key_algorithm = DerReader(key.raw).take(SEQUENCE).and_then(|key| DerReader(key).take(SEQUENCE));
    let (Some(key_algorithm), Some(algorithm)) = (key_algorithm, DerReader(algorithm).take(SEQUENCE)) else {
        return false;
    };
    provider().signature_verification_algorithms.all.iter().any(|known| {
        known.signature_alg_id().as_ref() == algorithm
            && known.public_key_alg_id().as_ref() == key_algorithm
            && known.verify_signature(&key.subject_public_key.data, message, signature).is_ok()
    })
}

/// A GeneralizedTime as RFC 5280 §4.1.2.5.2 restricts it: `YYYYMMDDHHMMSSZ`.
fn time(text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since the epoch, with years that begin in March.
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests;
