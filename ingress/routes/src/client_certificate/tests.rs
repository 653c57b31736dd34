use std::sync::Arc;
use std::time::Duration;

use cluster::{Key, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn root(name: &str) -> Issuer {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(name: &str, issuer: &Issuer) -> Issuer {
    CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

fn leaf_with(issuer: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = params("client");
    params.serial_number = Some(7_u64.into());
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn leaf(issuer: &Issuer) -> CertificateDer<'static> {
    leaf_with(issuer, |_| {})
}

/// A revocation list with the serial number 7 or an empty one.
fn list(issuer: &Issuer, revokes: bool, until: i32) -> String {
    let revoked = RevokedCertParams {
        serial_number: 7_u64.into(),
        revocation_time: date_time_ymd(2021, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2021, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: if revokes { vec![revoked] } else { Vec::new() },
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

fn secret(certificates: &[&Issuer], lists: &[String]) -> Arc<Secret> {
    let authorities = certificates.iter().map(|issuer| issuer.pem()).collect::<String>();
    let mut other = vec![("ca.crt".into(), authorities.into_bytes().into())];
    if !lists.is_empty() {
        other.insert(0, ("ca.crl".into(), lists.concat().into_bytes().into()));
    }
    let key = Key::new("default", "ca");
    Arc::new(Secret { key, certificate: Box::default(), private_key: Box::default(), other: other.into() })
}

fn rules(secret: &Arc<Secret>, verify: VerifyClient) -> ClientCertificateRules {
    ClientCertificateRules {
        authority: ClientAuthority::read(secret).unwrap(),
        verify,
        depth: 1,
        error_page: None,
        passes_certificate: false,
        subject: None,
    }
}

/// 2026-01-01.
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));

fn result(rules: &ClientCertificateRules, chain: &[CertificateDer<'static>]) -> String {
    rules.check(chain, NOW).verify
}

#[test]
fn chains_are_verified_as_openssl_verifies_them() {
    let (ca, other) = (root("CA"), root("Other"));
    let sub = intermediate("Sub", &ca);
    let low = intermediate("Low", &sub);
    let rules = rules(&secret(&[&ca], &[]), VerifyClient::OptionalNoCa);
    let der = |issuer: &Issuer| issuer.der().clone();
    let old = |params: &mut CertificateParams| params.not_after = date_time_ymd(2025, 1, 1);
    let new = |params: &mut CertificateParams| params.not_before = date_time_ymd(2027, 1, 1);
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let old_root = {
        let mut params = params("old");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        old(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    };
    let itself = params("self").self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    for (what, chain, wanted) in [
        ("none", vec![], "NONE"),
        ("signed", vec![leaf(&ca)], "SUCCESS"),
        ("signed, with the root", vec![leaf(&ca), der(&ca)], "SUCCESS"),
        ("through an intermediate", vec![leaf(&sub), der(&sub)], "SUCCESS"),
        ("through two", vec![leaf(&low), der(&low), der(&sub)], "FAILED:certificate chain too long"),
        ("without the intermediate", vec![leaf(&sub)], "FAILED:unable to verify the first certificate"),
        ("of another root", vec![leaf(&other)], "FAILED:unable to verify the first certificate"),
        (
            "with another root",
            vec![leaf(&other), der(&other)],
            "FAILED:self-signed certificate in certificate chain",
        ),
        (
            "with a foreign intermediate",
            vec![leaf(&other), der(&sub)],
            "FAILED:unable to get local issuer certificate",
        ),
        ("self-signed", vec![itself], "FAILED:self-signed certificate"),
        ("self-signed, may issue others", vec![der(&other)], "FAILED:self-signed certificate"),
        ("self-signed, with another", vec![der(&other), der(&sub)], "FAILED:self-signed certificate"),
        ("self-signed, expired", vec![old_root], "FAILED:certificate has expired"),
        ("expired", vec![leaf_with(&ca, old)], "FAILED:certificate has expired"),
        ("from the future", vec![leaf_with(&ca, new)], "FAILED:certificate is not yet valid"),
        ("of a server", vec![leaf_with(&ca, server)], "FAILED:unsuitable certificate purpose"),
        ("garbage", vec![vec![1, 2, 3].into()], "FAILED:certificate not supported"),
    ] {
        assert_eq!(result(&rules, &chain), wanted, "{what}");
    }
}

#[test]
fn certificates_of_the_secret_complete_chains_and_may_be_those_of_clients() {
    let (ca, client) = (root("CA"), root("client"));
    let sub = intermediate("Sub", &ca);
    let rules = rules(&secret(&[&sub, &ca, &client], &[]), VerifyClient::On);
    assert_eq!(result(&rules, &[leaf(&sub)]), "SUCCESS");
    assert_eq!(
        result(&rules, &[client.der().clone()]),
        "SUCCESS",
        "a listed certificate that may sign others"
    );
    assert_eq!(rules.authority.names().len(), 3);
    let error = |secret: &Arc<Secret>| ClientAuthority::read(secret).unwrap_err();
    assert!(error(&secret(&[&sub], &[])).contains("has no self-signed certificate"));
    let many = vec![&ca; 501];
    assert!(error(&secret(&many, &[])).contains("more than 500"));
    let lists = vec![list(&ca, false, 2030); 101];
    assert!(error(&secret(&[&ca], &lists)).contains("101 revocation lists"));
    let with = |text: &str| {
        let mut secret = (*secret(&[&ca], &[])).clone();
        secret.other = Box::new([("ca.crt".into(), text.as_bytes().into())]);
        Arc::new(secret)
    };
    for (text, wanted) in [
        ("", "has no ca.crt"),
        ("x", "has no self-signed certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "has an invalid certificate"),
        (&"x".repeat(MAX_SECRET + 1), "is longer than 1 MiB"),
    ] {
        assert!(error(&with(text)).contains(wanted), "{wanted}: {}", error(&with(text)));
    }
}

const MAX_SECRET: usize = 1 << 20;

#[test]
fn a_revocation_list_must_be_current_and_there_must_be_one_for_every_issuer() {
    let ca = root("CA");
    let sub = intermediate("Sub", &ca);
    let through = vec![leaf(&sub), sub.der().clone()];
    for (what, lists, chain, wanted) in [
        ("not revoked", vec![list(&ca, false, 2030)], vec![leaf(&ca)], "SUCCESS"),
        ("revoked", vec![list(&ca, true, 2030)], vec![leaf(&ca)], "FAILED:certificate revoked"),
        ("an old list", vec![list(&ca, false, 2022)], vec![leaf(&ca)], "FAILED:CRL has expired"),
        (
            "no list of the intermediate",
            vec![list(&ca, false, 2030)],
            through.clone(),
            "FAILED:unable to get certificate CRL",
        ),
        ("both lists", vec![list(&ca, false, 2030), list(&sub, false, 2030)], through, "SUCCESS"),
    ] {
        let rules = rules(&secret(&[&ca], &lists), VerifyClient::Optional);
        assert_eq!(result(&rules, &chain), wanted, "{what}");
        assert_eq!(rules.refusal(&rules.check(&chain, NOW)).is_some(), wanted != "SUCCESS", "{what}");
    }
}

#[test]
fn requests_are_refused_by_the_mode_and_the_subject() {
    let (ca, other) = (root("CA"), root("Other"));
    let secret = secret(&[&ca], &[]);
    let chains = [
        vec![],
        vec![leaf(&ca)],
        vec![leaf(&other)],
        vec![other.der().clone()],
        vec![leaf_with(&ca, |params| params.not_after = date_time_ymd(2025, 1, 1))],
    ];
    const NONE: Option<ClientRefusal<'_>> = None;
    const MISSING: Option<ClientRefusal<'_>> = Some(ClientRefusal::NoCertificate);
    const INVALID: Option<ClientRefusal<'_>> = Some(ClientRefusal::InvalidCertificate);
    for (verify, wanted) in [
        (VerifyClient::On, [MISSING, NONE, INVALID, INVALID, INVALID]),
        (VerifyClient::Optional, [NONE, NONE, INVALID, INVALID, INVALID]),
        (VerifyClient::OptionalNoCa, [NONE, NONE, NONE, NONE, INVALID]),
        (VerifyClient::Off, [NONE, NONE, NONE, NONE, NONE]),
    ] {
        let rules = rules(&secret, verify);
        let found: Vec<_> = chains.iter().map(|chain| rules.refusal(&rules.check(chain, NOW))).collect();
        assert_eq!(found, wanted, "{verify:?}");
    }
    let page =
        ClientCertificateRules { error_page: Some("https://a/".into()), ..rules(&secret, VerifyClient::On) };
    assert_eq!(page.refusal(&page.check(&[], NOW)), Some(ClientRefusal::ErrorPage("https://a/")));
    let subject = |pattern: &str| Some(Pattern::new(pattern, false).unwrap());
    for (pattern, is_match) in [
        ("CN=cl", true),
        ("CN=CL", false),
        ("CN=lient", false),
        ("CN=client$", true),
        ("CN=(?!admin)", true),
        ("CN=(?!client)", false),
        // It needs more steps than there are.
        (r"CN=(?:(?=\w)\w+)+$", false),
    ] {
        let chain = match pattern.contains(r"\w") {
            false => chains[1].clone(),
            true => vec![leaf_with(&ca, |params| {
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(DnType::CommonName, format!("{}!", "a".repeat(60)));
            })],
        };
        let rules = ClientCertificateRules { subject: subject(pattern), ..rules(&secret, VerifyClient::On) };
        let refusal = rules.refusal(&rules.check(&chain, NOW));
        assert_eq!(refusal, (!is_match).then_some(ClientRefusal::Unauthorized), "{pattern}");
        assert_eq!(rules.refusal(&rules.without_tls()), Some(ClientRefusal::Unauthorized), "without TLS");
    }
    let rules =
        ClientCertificateRules { subject: subject("CN=client|^$"), ..rules(&secret, VerifyClient::Off) };
    assert_eq!((rules.refusal(&rules.check(&[], NOW)), rules.refusal(&rules.without_tls())), (NONE, NONE));
}

#[test]
fn fields_tell_about_the_certificate() {
    let ca = root("CA");
    let client = leaf(&ca);
    let rules =
        ClientCertificateRules { passes_certificate: true, ..rules(&secret(&[&ca], &[]), VerifyClient::On) };
    let [verify, subject, issuer, (_, certificate)] = rules
        .check(std::slice::from_ref(&client), NOW)
        .fields()
        .map(|(name, value)| (name, value.to_owned()));
    assert_eq!(verify, ("ssl-client-verify", "SUCCESS".into()));
    assert_eq!(subject, ("ssl-client-subject-dn", "CN=client".into()));
    assert_eq!(issuer, ("ssl-client-issuer-dn", "CN=CA".into()));
    let text = certificate
        .replace("%20", " ")
        .replace("%0A", "\n")
        .replace("%2B", "+")
        .replace("%2F", "/")
        .replace("%3D", "=");
    assert!(
        certificate.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-%".contains(&byte)),
        "{certificate}"
    );
    assert!(text.lines().all(|line| line.len() <= 64) && text.ends_with("-----\n"), "{text}");
    use rustls::pki_types::pem::PemObject;
    assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap(), client);
    let long = CertificateDer::from(vec![0; MAX_CERTIFICATE + 1]);
    assert_eq!(result(&rules, &[long]), "FAILED:certificate too long");
}

#[test]
fn variables_tell_about_the_certificate() {
    use sha1::Digest;
    let ca = root("CA");
    let client = leaf(&ca);
    let rules = rules(&secret(&[&ca], &[]), VerifyClient::On);
    let certificate = rules.check(std::slice::from_ref(&client), NOW);
    let now = Duration::from_secs(NOW.as_secs());
    let value = |certificate: &ClientCertificate, name: &str| {
        let variable = CertificateVariable::parse(name).expect(name);
        certificate.variable(variable, now).map(Cow::into_owned)
    };
    for (name, wanted) in [
        ("ssl_client_fingerprint", hex::encode(sha1::Sha1::digest(&client))),
        ("ssl_client_serial", "07".to_owned()),
        ("ssl_client_v_start", "Jan  1 00:00:00 2020 GMT".to_owned()),
        ("ssl_client_v_end", "Jan  1 00:00:00 2040 GMT".to_owned()),
        ("ssl_client_v_remain", "5113".to_owned()),
    ] {
        assert_eq!(value(&certificate, name), Some(wanted), "{name}");
    }
    use rustls::pki_types::pem::PemObject;
    let raw = value(&certificate, "ssl_client_raw_cert").unwrap();
    assert_eq!(CertificateDer::from_pem_slice(raw.as_bytes()).unwrap(), client);
    let folded = value(&certificate, "ssl_client_cert").unwrap();
    assert_eq!(folded.replace("\n\t", "\n") + "\n", raw);
    let passing = ClientCertificateRules { passes_certificate: true, ..rules };
    let escaped = value(&certificate, "ssl_client_escaped_cert");
    assert_eq!(escaped.as_deref(), Some(crate::path::encode_component(&raw).as_str()));
    assert_eq!(value(&passing.check(&[client], NOW), "ssl_client_escaped_cert"), escaped);
    assert_eq!(value(&passing.check(&[], NOW), "ssl_client_serial"), None, "no certificate");
    assert_eq!(CertificateVariable::parse("ssl_client_none"), None);
}

#[test]
fn a_changed_certificate_is_never_verified() {
    let ca = root("CA");
    let rules = rules(&secret(&[&ca], &[]), VerifyClient::OptionalNoCa);
    let client = leaf(&ca);
    for at in 0..client.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = client.to_vec();
            changed[at] ^= bit;
            assert_ne!(result(&rules, &[changed.into()]), "SUCCESS", "byte {at}, bit {bit}");
        }
    }
}
