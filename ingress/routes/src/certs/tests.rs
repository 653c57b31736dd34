//! Which host gets which certificate.

use cluster::Object;
use cluster::testing::{check_projection, histories};
use proptest::prelude::{ProptestConfig, proptest};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::*;
use crate::testing::{TestCluster, manifests};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn advancing_equals_building(history in histories()) {
        let options = RouteOptions {
            watch_ingress_without_class: true,
            default_ssl_certificate: Some(Key::new("shop", "web")),
            ..RouteOptions::default()
        };
        check_projection(|| CertIndex::new(options.clone()), history);
    }

    #[test]
    fn advancing_equals_building_by_class(history in histories()) {
        check_projection(|| CertIndex::new(RouteOptions::default()), history);
    }
}

/// A Secret of the namespace `default` with a certificate for these DNS names, or for a common name alone.
fn secret(name: &str, names: &[&str], common: &str) -> Secret {
    secret_until(name, names, common, 2001)
}

/// The same, valid until the first day of a year.
fn secret_until(name: &str, names: &[&str], common: &str, year: i32) -> Secret {
    let key = KeyPair::generate().expect("a key");
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    Secret {
        key: Key::new("default", name),
        certificate: certificate.pem().into_bytes().into(),
        private_key: key.serialize_pem().into_bytes().into(),
        other: Box::default(),
    }
}

/// Within the validity of the certificates of these tests.
const IN_2000: Duration = Duration::from_secs(960_000_000);

fn apply(world: &mut TestCluster, secrets: &[&Secret]) {
    world.apply(secrets.iter().map(|secret| Object::Secret(Arc::new((*secret).clone()))));
}

/// Common name of the certificate for a server name; `self-made` for the proxy's self-signed one.
fn served(world: &TestCluster, name: Option<&str>) -> String {
    let certs = world.certs.load();
    let Some(key) = certs.find(name) else { return "self-made".into() };
    let (_, certificate) = x509_parser::parse_x509_certificate(&key.cert[0]).expect("a certificate");
    let name = certificate.subject().iter_common_name().next().expect("a common name");
    name.as_str().expect("text").into()
}

const INGRESSES: &str = "
metadata: {name: exact, created: 1}
spec:
  rules: [{host: a.example}, {host: b.example}, {host: c.example}, {host: empty.example}]
  tls: [{hosts: [A.Example], secret: a}, {hosts: [b.example], secret: a}, {secret: any}, {hosts: [empty.example]}]
---
metadata: {name: wild, created: 1}
spec: {rules: [{host: '*.wild.example'}], tls: [{hosts: ['*.wild.example'], secret: wild}]}
---
metadata: {name: late, created: 2}
spec: {rules: [{host: a.example}, {host: d.example}], tls: [{hosts: [a.example, d.example], secret: d}]}
---
metadata: {name: canary, created: 0, annotations: {canary: 'true'}}
spec: {rules: [{host: a.example}], tls: [{hosts: [a.example], secret: d}]}
---
metadata: {name: rest, created: 0}
spec: {rules: [{}], tls: [{hosts: [rest.example], secret: d}]}
";

#[test]
fn a_host_gets_the_certificate_of_its_first_ingress() {
    // [tls.go, dynamic_certificates.go, default_ssl_certificate.go, secret_update.go]
    let options = RouteOptions {
        watch_ingress_without_class: true,
        default_ssl_certificate: Some(Key::new("default", "fallback")),
        ..RouteOptions::default()
    };
    let mut world = TestCluster::with(options, INGRESSES);
    assert_eq!(served(&world, Some("a.example")), "self-made");
    assert_eq!(
        world.certs.load().default_problem(IN_2000).as_deref(),
        Some("Secret default/fallback does not exist; the self-signed certificate is served")
    );
    let secrets = [
        secret("a", &["a.example"], "cert-a"),
        secret("any", &["x.example", "c.example"], "cert-any"),
        secret("wild", &["*.wild.example"], "cert-wild"),
        secret("d", &[], "d.example"),
        secret("fallback", &["nobody"], "cert-fallback"),
    ];
    apply(&mut world, &secrets.each_ref());
    for (name, common) in [
        (Some("a.example"), "cert-a"),
        (Some("b.example"), "cert-fallback"),
        (Some("c.example"), "cert-any"),
        (Some("empty.example"), "cert-fallback"),
        (Some("x.wild.example"), "cert-wild"),
        (Some("x.y.wild.example"), "cert-fallback"),
        (Some("wild.example"), "cert-fallback"),
        (Some(".wild.example"), "cert-fallback"),
        (Some("d.example"), "d.example"),
        (Some("rest.example"), "cert-fallback"),
        (Some("unknown.example"), "cert-fallback"),
        (None, "cert-fallback"),
    ] {
        assert_eq!(served(&world, name), common, "{name:?}");
    }
    let certs = world.certs.load_full();
    assert_eq!(certs.default_problem(IN_2000), None);
    let problems: Vec<_> = certs.problems(IN_2000).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "Ingress default/exact: spec.tls[1]: the certificate of Secret default/a is for a.example, not for b.example; \
          its default is used"
        ]
    );
    // A changed Secret is served at once.
    apply(&mut world, &[&secret("a", &["a.example", "b.example"], "cert-a2")]);
    assert_eq!(
        (served(&world, Some("a.example")), served(&world, Some("b.example"))),
        ("cert-a2".into(), "cert-a2".into())
    );
    assert_eq!(world.certs.load().problems(IN_2000).len(), 0);
    assert!(Arc::ptr_eq(
        certs.find(Some("x.wild.example")).expect("a certificate"),
        world.certs.load().find(Some("x.wild.example")).expect("a certificate")
    ));
    let broken =
        Secret { private_key: secrets[1].private_key.clone(), ..secret("a", &["a.example"], "cert-a") };
    apply(&mut world, &[&broken]);
    assert_eq!(served(&world, Some("a.example")), "cert-fallback");
    let certs = world.certs.load();
    assert!(
        certs
            .problems(IN_2000)
            .iter()
            .any(|problem| problem.what.contains("tls.key of Secret default/a does not belong"))
    );
    let mut in_use: Vec<_> = certs.in_use().map(|(host, secret, _)| format!("{host} {secret}")).collect();
    in_use.sort();
    assert_eq!(
        in_use,
        ["*.wild.example default/wild", "_ default/fallback", "c.example default/any", "d.example default/d"]
    );
    for (host, _, facts) in certs.in_use() {
        assert_eq!(facts.expires, 978_307_200, "{host}");
        assert_eq!(facts.public_key_algorithm, "ECDSA", "{host}");
        assert!(!facts.issuer_common_name.is_empty() && facts.issuer_organization.is_empty(), "{facts:?}");
        assert!(facts.serial_number.bytes().all(|digit| digit.is_ascii_digit()), "{facts:?}");
    }
}

#[test]
fn invalid_secrets_are_errors_with_a_reason() {
    let good = secret("a", &["a.example"], "cert-a");
    for (certificate, private_key, what) in [
        (&b""[..], &*good.private_key, "Secret default/a has no certificate in tls.crt"),
        (
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            &good.private_key,
            "tls.crt of Secret default/a is not PEM",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &good.private_key,
            "is no certificate",
        ),
        (&good.certificate, b"", "tls.key of Secret default/a is no private key in PEM"),
    ] {
        let secret = Secret {
            key: good.key.clone(),
            certificate: certificate.into(),
            private_key: private_key.into(),
            other: Box::default(),
        };
        let error = LoadedCertificate::new(&Arc::new(secret)).map(|_| ()).expect_err(what);
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn the_certificate_of_a_changed_ingress_is_replaced() {
    let mut world = TestCluster::new(INGRESSES);
    apply(&mut world, &[&secret("a", &["a.example"], "cert-a"), &secret("d", &["a.example"], "cert-d")]);
    assert_eq!(served(&world, Some("a.example")), "cert-a");
    let without = "metadata: {name: exact, created: 1}\nspec: {rules: [{host: a.example}]}\n";
    world.apply(manifests(without).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))));
    assert_eq!(served(&world, Some("a.example")), "cert-d");
}

#[test]
fn certificates_cover_names_and_one_label_below_wildcards() {
    let certificate = |names: &[&str], common: &str| {
        LoadedCertificate::new(&Arc::new(secret("a", names, common))).expect("a certificate")
    };
    for (certificate, host, covers) in [
        (&certificate(&["A.example"], "x"), "a.Example", true),
        (&certificate(&["a.example"], "b.example"), "b.example", false),
        (&certificate(&["*.a.example"], "x"), "b.a.example", true),
        (&certificate(&["*.a.example"], "x"), "c.b.a.example", false),
        (&certificate(&["*.a.example"], "x"), "a.example", false),
        (&certificate(&["*.a.example"], "x"), "*.a.example", true),
        (&certificate(&["*.example"], "x"), "*.a.example", false),
        (&certificate(&[], "b.example"), "b.example", true),
    ] {
        assert_eq!(certificate.covers(host), covers, "{certificate:?} {host}");
    }
}

#[test]
fn a_certificate_outside_its_validity_is_served_and_reported() {
    let options = RouteOptions {
        watch_ingress_without_class: true,
        default_ssl_certificate: Some(Key::new("default", "fallback")),
        ..RouteOptions::default()
    };
    let text = "
metadata: {name: x}
spec:
  rules: [{host: a.example}, {host: b.example}]
  tls: [{hosts: [other.example], secret: other}, {hosts: [a.example, b.example], secret: a}]
";
    let mut world = TestCluster::with(options, text);
    let names = ["a.example", "b.example"];
    apply(&mut world, &[&secret("a", &names, "cert-a"), &secret("fallback", &["nobody"], "cert-fallback")]);
    let problems = |world: &TestCluster, now: Duration| {
        let certs = world.certs.load();
        let problems = certs.problems(now).iter().map(ToString::to_string).collect::<Vec<_>>();
        (problems, certs.default_problem(now).unwrap_or_default())
    };
    let day = Duration::from_secs(86_400);
    let (from, until) = (Duration::from_secs(946_684_800), Duration::from_secs(978_307_200));
    for (now, reason) in [
        (Duration::ZERO, "is not valid before Sat, 01 Jan 2000 00:00:00 GMT"),
        (from - day, "is not valid before Sat, 01 Jan 2000 00:00:00 GMT"),
        (from, ""),
        (until, ""),
        (until + day, "expired at Mon, 01 Jan 2001 00:00:00 GMT"),
        (Duration::MAX, "expired at Mon, 01 Jan 2001 00:00:00 GMT"),
    ] {
        let text = |secret| {
            format!(
                "the certificate of Secret default/{secret} {reason}; it is served, and clients reject it"
            )
        };
        let wanted = if reason.is_empty() {
            (vec![], String::new())
        } else {
            (vec![format!("Ingress default/x: spec.tls[1]: {}", text("a"))], text("fallback"))
        };
        assert_eq!(problems(&world, now), wanted, "{now:?}");
        assert_eq!(served(&world, Some("a.example")), "cert-a", "{now:?}");
    }
    // A new certificate solves it.
    let renewed = secret_until("a", &names, "cert-a", 2002);
    apply(&mut world, &[&renewed]);
    assert_eq!(problems(&world, until + day).0, [""; 0]);
    assert_eq!(problems(&world, until + day * 400).0.len(), 1);
}
