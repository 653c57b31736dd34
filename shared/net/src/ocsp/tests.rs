use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use super::testing::{TestResponse, refuse, respond, responder_extension};
use super::*;

/// Its key is kept beside it, for responses.
type Authority = (CertifiedIssuer<'static, &'static KeyPair>, &'static KeyPair);

struct TestChain {
    authority: Authority,
    certificates: Vec<Vec<u8>>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> Authority {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key: &KeyPair = Box::leak(Box::new(KeyPair::generate().unwrap()));
    (CertifiedIssuer::self_signed(params, key).unwrap(), key)
}

/// A chain whose first certificate names a responder.
fn chain(url: &str) -> TestChain {
    let authority = authority("ca");
    let mut leaf = params("leaf");
    leaf.custom_extensions.push(responder_extension(url));
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &authority.0).unwrap();
    let certificates = vec![leaf.der().to_vec(), authority.0.der().to_vec()];
    TestChain { authority, certificates }
}

fn now() -> SystemTime {
    // 2026-01-01.
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

#[test]
fn a_good_response_of_the_issuer_may_be_stapled() {
    let chain = chain("http://ocsp.example/a");
    let subject = OcspSubject::new(&chain.certificates).unwrap();
    assert_eq!(subject.responder, "http://ocsp.example/a");
    let validity = ("20251231230000Z", "20260107000000Z");
    let response = TestResponse { validity, ..TestResponse::default() };
    let response = respond(&subject.request(), &response, chain.authority.1).unwrap();
    let staple = subject.check(&response, now()).unwrap();
    assert_eq!(staple.response, response);
    assert_eq!(staple.from, now() - Duration::from_secs(3600));
    assert_eq!(staple.until, now() + Duration::from_secs(6 * 86_400));
    for cut in 0..response.len() {
        assert!(subject.check(&response[..cut], now()).is_err(), "{cut} bytes");
    }
}

#[test]
fn other_responses_are_refused_with_the_reason() {
    let chain = chain("http://ocsp.example");
    let subject = OcspSubject::new(&chain.certificates).unwrap();
    let request = subject.request();
    let own = chain.authority.1;
    let good = TestResponse::default;
    let other = authority("other");
    let revoked = [&[0xa1, 17, 0x18, 15][..], b"20250101000000Z"].concat();
    let rows = [
        (TestResponse { status: &revoked, ..good() }, own, OcspError::Revoked),
        (TestResponse { status: &[0x82, 0], ..good() }, own, OcspError::Unknown),
        (
            TestResponse { validity: ("20250101000000Z", "20251231000000Z"), ..good() },
            own,
            OcspError::NotCurrent,
        ),
        (
            TestResponse { validity: ("20260102000000Z", "20260105000000Z"), ..good() },
            own,
            OcspError::NotCurrent,
        ),
        (good(), other.1, OcspError::Signature),
    ];
    for (response, key, error) in rows {
        let response = respond(&request, &response, key).unwrap();
        assert_eq!(subject.check(&response, now()), Err(error));
    }
    assert_eq!(subject.check(&refuse(6), now()), Err(OcspError::Status(6)));
    assert_eq!(subject.check(b"<html>", now()), Err(OcspError::Malformed));
    let of_other = OcspSubject::new(&self::chain("http://o.example").certificates).unwrap();
    let response = respond(&of_other.request(), &good(), own).unwrap();
    assert_eq!(subject.check(&response, now()), Err(OcspError::OtherCertificate));
}

#[test]
fn a_responder_needs_a_certificate_of_the_issuer_for_ocsp() {
    let chain = chain("http://ocsp.example");
    let subject = OcspSubject::new(&chain.certificates).unwrap();
    let check = |usage: Vec<ExtendedKeyUsagePurpose>, issuer: &Authority| {
        let (mut delegate, key) = (params("responder"), KeyPair::generate().unwrap());
        delegate.extended_key_usages = usage;
        let delegate = delegate.signed_by(&key, &issuer.0).unwrap();
        let response = TestResponse { certificates: &[delegate.der()], ..TestResponse::default() };
        subject.check(&respond(&subject.request(), &response, &key).unwrap(), now()).map(drop)
    };
    assert_eq!(check(vec![ExtendedKeyUsagePurpose::OcspSigning], &chain.authority), Ok(()));
    assert_eq!(check(vec![ExtendedKeyUsagePurpose::ServerAuth], &chain.authority), Err(OcspError::Signature));
    let other = authority("ca");
    assert_eq!(check(vec![ExtendedKeyUsagePurpose::OcspSigning], &other), Err(OcspError::Signature));
}

#[test]
fn a_chain_without_responder_or_issuer_has_no_subject() {
    let with = chain("http://ocsp.example");
    let error = |certificates: &[Vec<u8>]| OcspSubject::new(certificates).unwrap_err();
    assert_eq!(error(&[]), OcspError::Certificate);
    assert_eq!(error(&[b"no certificate".to_vec()]), OcspError::Certificate);
    assert_eq!(error(&with.certificates[..1]), OcspError::NoIssuer);
    assert_eq!(error(&[with.certificates[0].clone(), authority("x").0.der().to_vec()]), OcspError::NoIssuer);
    assert_eq!(error(&[with.certificates[1].clone()]), OcspError::NoResponder);
    assert_eq!(error(&chain("https://ocsp.example").certificates), OcspError::NoResponder);
}

#[test]
fn times_are_read_in_utc() {
    for (text, seconds) in [
        ("19700101000000Z", Some(0)),
        ("20000229120000Z", Some(951_825_600)),
        ("20260101000000Z", Some(1_767_225_600)),
        ("20260101000000", None),
        ("2026010100000Z", None),
        ("20261301000000Z", None),
        ("2026010100000xZ", None),
    ] {
        let wanted = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(time(text.as_bytes()), wanted, "{text}");
    }
}
