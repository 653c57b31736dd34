//! Served certificates follow their Secrets.

use tests::backend::Backend;
use tests::credentials::{CertificateAuthority, IssuedCertificate};
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::ingress_traffic::prepare;
use crate::manifests::{ingress, tls_secret, workload};

/// Common name of ingress-nginx's self-signed default certificate.
const FAKE: &[u8] = b"Kubernetes Ingress Controller Fake Certificate";

pub(crate) fn certificates_follow_their_secrets(stage: &mut Stage) {
    prepare(stage, "traffic-tls");
    let authority = CertificateAuthority::new("shop");
    let (first, second) = (authority.issue(&["tls.test"]), authority.issue(&["tls.test"]));
    let wild = authority.issue(&["*.wild.test"]);
    let _pod = Backend::start("a", "10.244.1.41:8080");
    let api = &stage.plane.api;
    api.apply(&workload("traffic-tls", "web", &["10.244.1.41"]));
    api.apply(&tls_secret("traffic-tls", "shop", &first));
    api.apply(&tls_secret("traffic-tls", "wild", &wild));
    let tls = "  tls: [{hosts: [tls.test], secretName: shop}]\n";
    api.apply(&(ingress("traffic-tls", "shop", "tls.test", "/", "web") + tls));
    let tls = "  tls: [{hosts: ['*.wild.test'], secretName: wild}]\n";
    api.apply(&(ingress("traffic-tls", "wild", "'*.wild.test'", "/", "web") + tls));
    let _portolan = stage.ingress("portolan", &[]);

    let shows = |host: &str, wanted: &IssuedCertificate| {
        wait::until(&format!("the certificate of {host}"), SOON, || match EDGE.certificate(host)? {
            shown if shown == wanted.der => Ok(()),
            shown => Err(format!(
                "another one, {}",
                if is_fake(&shown) { "the self-made" } else { "not the self-made" }
            )),
        });
    };
    shows("tls.test", &first);
    shows("a.wild.test", &wild);
    EDGE.expect(
        SOON,
        "
https://tls.test/x    = 200 a
https://b.wild.test/x = 200 a
http://tls.test/x     = 308 https://tls.test/x
",
    );

    api.apply(&tls_secret("traffic-tls", "shop", &second));
    shows("tls.test", &second);

    api.delete("Secret", "traffic-tls", "shop");
    wait::until("the self-made certificate", SOON, || match EDGE.certificate("tls.test")? {
        shown if is_fake(&shown) => Ok(()),
        _ => Err("another one".to_owned()),
    });
    let unknown = EDGE.certificate("unknown.test").expect("a certificate");
    assert!(is_fake(&unknown), "an unknown name gets the self-made certificate");

    api.apply(&tls_secret("traffic-tls", "shop", &first));
    shows("tls.test", &first);
}

fn is_fake(certificate: &[u8]) -> bool {
    certificate.windows(FAKE.len()).any(|bytes| bytes == FAKE)
}
