//! Makes OCSP responses, for tests.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rcgen::SigningKey;

use super::BASIC_RESPONSE;
use super::der::{
    BIT_STRING, DerReader, ENUMERATED, GENERALIZED_TIME, OCTET_STRING, OID, SEQUENCE, context, value,
};

/// ecdsa-with-SHA256.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The content of a test response.
pub struct TestResponse<'a> {
    /// The tag and content of `certStatus`: `[0x80, 0]` for good.
    pub status: &'a [u8],
    /// `thisUpdate` and `nextUpdate`, as in `20260101000000Z`.
    pub validity: (&'a str, &'a str),
    /// Certificates of the responder in DER.
    pub certificates: &'a [&'a [u8]],
}

/// Good, from 2020 to 2099, signed by the issuer itself.
impl Default for TestResponse<'_> {
    fn default() -> Self {
        Self { status: &[0x80, 0], validity: ("20200101000000Z", "20990101000000Z"), certificates: &[] }
    }
}

/// The response to a request, signed with a key of ECDSA P-256. `None` if the request is malformed.
pub fn respond(request: &[u8], response: &TestResponse<'_>, key: &impl SigningKey) -> Option<Vec<u8>> {
    let mut tbs = DerReader(DerReader(DerReader(request).take(SEQUENCE)?).take(SEQUENCE)?);
    let list = tbs.take(SEQUENCE)?;
    let id = DerReader(DerReader(list).take(SEQUENCE)?).next()?.whole;
    let time = |text: &str| value(GENERALIZED_TIME, &[text.as_bytes()]);
    let (from, until) = response.validity;
    let single = value(SEQUENCE, &[id, response.status, &time(from), &value(context(0), &[&time(until)])]);
    let key_hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, key.der_bytes());
    let responder = value(context(2), &[&value(OCTET_STRING, &[key_hash.as_ref()])]);
    let data = value(SEQUENCE, &[&responder, &time(from), &value(SEQUENCE, &[&single])]);
    sign(&data, response.certificates, key)
}

/// The response with this `ResponseData` and these certificates, signed with a key of ECDSA P-256. `None` if signing fails.
pub fn sign(data: &[u8], certificates: &[&[u8]], key: &impl SigningKey) -> Option<Vec<u8>> {
    let signature = key.sign(data).ok()?;
    let algorithm = value(SEQUENCE, &[&value(OID, &[ECDSA_SHA256])]);
    let signature = value(BIT_STRING, &[&[0], &signature]);
    let certificates = match certificates {
        [] => Vec::new(),
        certificates => value(context(0), &[&value(SEQUENCE, certificates)]),
    };
    let basic = value(SEQUENCE, &[data, &algorithm, &signature, &certificates]);
    let bytes = value(SEQUENCE, &[&value(OID, &[BASIC_RESPONSE]), &value(OCTET_STRING, &[&basic])]);
    Some(value(SEQUENCE, &[&value(ENUMERATED, &[&[0]]), &value(context(0), &[&bytes])]))
}

/// The response of a responder that does not answer (RFC 6960 §4.2.1).
pub fn refuse(status: u8) -> Vec<u8> {
    value(SEQUENCE, &[&value(ENUMERATED, &[&[status]])])
}

/// The extension Authority Information Access with the URL of a responder.
pub fn responder_extension(url: &str) -> rcgen::CustomExtension {
    access_extension(0x01, url)
}

/// The extension Authority Information Access with the URL of the issuer's certificate.
pub fn issuer_extension(url: &str) -> rcgen::CustomExtension {
    access_extension(0x02, url)
}

/// The last byte of the OID `id-ad` chooses the method.
fn access_extension(method: u8, url: &str) -> rcgen::CustomExtension {
    let method = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, method];
    let description = value(SEQUENCE, &[&value(OID, &[&method]), &value(0x86, &[url.as_bytes()])]);
    let access = value(SEQUENCE, &[&description]);
    rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access)
}
