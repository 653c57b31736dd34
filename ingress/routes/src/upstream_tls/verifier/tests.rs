use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;

use super::*;

/// A certificate and what signs others with it.
struct Signer {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn params(common_name: &str, names: &[&str], is_authority: bool) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn sign(params: CertificateParams, signer: Option<&Signer>) -> Signer {
    let key = KeyPair::generate().unwrap();
    let certificate = match signer {
        None => params.self_signed(&key),
        Some(signer) => params.signed_by(&key, &Issuer::from_params(&signer.params, &signer.key)),
    };
    Signer { certificate: certificate.unwrap(), params, key }
}

fn der(signer: &Signer) -> CertificateDer<'static> {
    signer.certificate.der().clone()
}

/// Whether an endpoint with this chain is accepted, or why not.
fn verify(authority: &Signer, depth: usize, name: &str, chain: &[&Signer]) -> Result<(), String> {
    let settings = UpstreamTlsSettings {
        verify: true,
        depth,
        name: ServerName::try_from(name.to_owned()).unwrap(),
        ..UpstreamTlsSettings::default()
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = EndpointVerifier::new(&settings, vec![der(authority)], &provider).unwrap();
    let chain: Vec<_> = chain.iter().map(|one| der(one)).collect();
    let sent = ServerName::try_from("10.0.0.1").unwrap();
    let verified = verifier.verify_server_cert(&chain[0], &chain[1..], &sent, &[], UnixTime::now());
    verified.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn the_name_is_that_of_the_settings_and_the_common_name_counts_without_dns_names() {
    let root = sign(params("root", &[], true), None);
    let leaf = sign(params("other.example", &["app.example", "*.wild.example"], false), Some(&root));
    let common = sign(params("old.example", &[], false), Some(&root));
    for (endpoint, name, accepted) in [
        (&leaf, "app.example", true),
        (&leaf, "a.wild.example", true),
        (&leaf, "other.example", false),
        (&common, "old.example", true),
        (&common, "new.example", false),
    ] {
        assert_eq!(verify(&root, 1, name, &[endpoint]).is_ok(), accepted, "{name}");
    }
}

#[test]
fn a_chain_has_as_many_intermediates_as_the_depth_allows() {
    let root = sign(params("root", &[], true), None);
    let first = sign(params("first", &[], true), Some(&root));
    let second = sign(params("second", &[], true), Some(&first));
    let leaf = |signer| sign(params("leaf", &["app.example"], false), Some(signer));
    let (short, middle, long) = (leaf(&root), leaf(&first), leaf(&second));
    for (depth, chain, accepted) in [
        (0, &[&short][..], true),
        (0, &[&middle, &first], false),
        (1, &[&middle, &first], true),
        (1, &[&long, &second, &first], false),
        (2, &[&long, &first, &second], true),
        (usize::MAX, &[&long, &second, &first], true),
        (2, &[&long, &second], false),
    ] {
        let verified = verify(&root, depth, "app.example", chain);
        assert_eq!(verified.is_ok(), accepted, "{depth}, {} certificates: {verified:?}", chain.len());
    }
}

#[test]
fn another_authority_and_expired_certificates_are_refused() {
    let (root, other) = (sign(params("root", &[], true), None), sign(params("root", &[], true), None));
    let leaf = sign(params("leaf", &["app.example"], false), Some(&other));
    assert!(verify(&root, 1, "app.example", &[&leaf]).is_err());
    let mut old = params("leaf", &["app.example"], true);
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let expired = sign(old.clone(), Some(&root));
    assert!(verify(&root, 1, "app.example", &[&expired]).is_err());
    let expired = sign(old, None);
    assert!(verify(&expired, 1, "app.example", &[&expired]).is_err());
}

#[test]
fn the_certificate_of_an_endpoint_may_itself_be_the_authority() {
    let own = sign(params("own", &["app.example"], true), None);
    assert_eq!(verify(&own, 1, "app.example", &[&own]), Ok(()));
    assert!(verify(&own, 1, "other.example", &[&own]).is_err());
}
