//! cert-manager with an ACME server: certificates over HTTP-01, whose challenges Portolan's proxy passes to the solver.

use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tests::canary::under_load;
use tests::credentials::CertificateAuthority;
use tests::manifests::{annotated, ingress};
use tests::pod_runner::PodRunner;
use tests::process::Process;
use tests::programs::{self, Neighbour};
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{prepare, start};

const NAMESPACE: &str = "certificates";

/// The Service of the application and its Pod, which the [`PodRunner`] runs.
const APPLICATION: &str = "
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: certificates }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: certificates, labels: { app: web, version: old } }
spec: { containers: [{ name: main, image: main }] }
";

/// Starts Pebble with a certificate of `authority`. It resolves names by Portolan's DNS, and validates on port 80.
fn start_acme_server(stage: &Stage, authority: &CertificateAuthority) -> Process {
    let issued = authority.issue(&["127.0.0.1"]);
    let file = |name: &str| stage.folder().join(format!("pebble{name}"));
    let config = json!({ "pebble": {
        "listenAddress": "127.0.0.1:14000",
        "certificate": file(".crt"),
        "privateKey": file(".key"),
        "httpPort": 80,
        "tlsPort": 443,
        "keyAlgorithm": "ecdsa",
    }});
    let written = [(".crt", issued.certificate), (".key", issued.key), (".json", config.to_string())];
    for (name, text) in written {
        fs::write(file(name), text).expect("the scratch folder is writable");
    }
    let mut command = Command::new(programs::acme_server().expect("built before the first case"));
    command.arg("-config").arg(file(".json")).args(["-dnsserver", "127.0.0.1:53"]);
    // Every order has a challenge of its own, which is validated at once.
    command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
    Process::start("pebble", command, stage.folder())
}

/// Issuer and serial number of the certificate that Portolan presents.
fn presented() -> Result<(String, String), String> {
    let certificate = EDGE.certificate("acme.test")?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
    Ok((parsed.issuer().to_string(), parsed.raw_serial_as_string()))
}

fn is_true(object: &Value, condition: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == condition && one["status"] == "True")
}

/// Whether cert-manager has written everything about the last issuance. If a renewal begins before, it may make two requests for it.
fn is_settled(certificate: &Value) -> bool {
    certificate["status"]["revision"].is_u64() && certificate["status"]["nextPrivateKeySecretName"].is_null()
}

pub(crate) fn a_certificate_is_issued_and_renewed_over_http(stage: &mut Stage) {
    let neighbour = Neighbour::CERT_MANAGER_AND_EXTERNAL_DNS;
    prepare(stage, NAMESPACE, neighbour, "/apis/cert-manager.io/v1/issuers");
    let program = neighbour.program().expect("built before the first case");
    let _pods = PodRunner::start(stage, NAMESPACE, "10.244.9", Some(&program));
    let _dns = stage.dns(".:53 {\n    ready\n    hosts {\n        127.0.0.1 acme.test\n    }\n}\n");
    let portolan = stage.ingress("portolan", &[]);
    let authority = CertificateAuthority::new("ACME server");
    let acme_server = start_acme_server(stage, &authority);
    let api = &stage.plane.api;
    api.apply(APPLICATION);
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": "pebble", "namespace": NAMESPACE},
        "spec": {"acme": {
            "server": "https://127.0.0.1:14000/dir",
            "caBundle": BASE64_STANDARD.encode(authority.pem()),
            "privateKeySecretRef": {"name": "account"},
            "solvers": [{"http01": {"ingress": {"ingressClassName": "nginx"}}}],
        }},
    });
    api.apply(&issuer.to_string());
    api.apply(&ingress(NAMESPACE, "plain", "plain.test", "/", "web"));
    EDGE.expect(SOON, "http://plain.test/ = 200 old");
    let arguments = ["cert-manager", "--acme-http01-solver-nameservers=127.0.0.1:53"];
    let cert_manager = start(stage, "cert-manager", neighbour, &arguments);
    let read = |kind: &str, name: &str| api.read(kind, NAMESPACE, name).unwrap_or_default();
    let logs = || format!("{}\n{}", cert_manager.log(), acme_server.log());
    wait::until("the account", SOON * 3, || match read("Issuer", "pebble") {
        found if is_true(&found, "Ready") => Ok(()),
        found => Err(format!("{found:#}\n{}", logs())),
    });

    under_load("plain.test", || {
        let annotations =
            "cert-manager.io/issuer: pebble, nginx.ingress.kubernetes.io/force-ssl-redirect: 'true'";
        let web = annotated(&ingress(NAMESPACE, "web", "acme.test", "/", "web"), annotations);
        api.apply(&format!("{web}  tls: [{{ hosts: [acme.test], secretName: acme-tls }}]\n"));
        EDGE.expect(SOON, "http://acme.test/ = 308 https://acme.test");
        let wait_for_issuer = |before: &str| {
            wait::until("the certificate", Duration::from_secs(120), || match presented() {
                Ok((issuer, serial)) if issuer.contains("Pebble") && serial != before => Ok(serial),
                found => {
                    let challenges = api.list("Challenge", NAMESPACE);
                    Err(format!("{found:?}\n{challenges:#?}\n{}\n{}", portolan.problems(), logs()))
                }
            })
        };
        let first = wait_for_issuer("");
        EDGE.expect(SOON, "https://acme.test/ = 200 old\n http://acme.test/ = 308 https://acme.test");

        // As `cmctl renew` does.
        let mut certificate =
            wait::until("the end of the issuance", SOON, || match read("Certificate", "acme-tls") {
                found if is_true(&found, "Ready") && !is_true(&found, "Issuing") && is_settled(&found) => {
                    Ok(found)
                }
                found => Err(format!("{found:#}")),
            });
        let condition = json!({
            "type": "Issuing",
            "status": "True",
            "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "lastTransitionTime": certificate["metadata"]["creationTimestamp"],
        });
        let mut conditions = certificate["status"]["conditions"].take();
        let conditions_array = conditions.as_array_mut().expect("conditions");
        conditions_array.retain(|one| one["type"] != "Issuing");
        conditions_array.push(condition);
        let status = json!({"status": {"conditions": conditions}});
        api.merge_status("Certificate", NAMESPACE, "acme-tls", &status.to_string());
        let second = wait_for_issuer(&first);
        println!("    serial numbers: {first}, then {second}");
    });
    // The objects of the challenges are gone, and so is their route.
    wait::until("the end of the challenges", SOON, || match api.list("Ingress", NAMESPACE).len() {
        2 => Ok(()),
        count => Err(format!("{count} Ingresses\n{}", logs())),
    });
    EDGE.expect(SOON, "http://acme.test/.well-known/acme-challenge/other = 308 https://acme.test/.well-known/acme-challenge/other");
    let log = portolan.log();
    let answered =
        log.lines().filter(|line| line.contains("/.well-known/acme-challenge/") && line.contains(" 200 "));
    let answered: Vec<&str> = answered.collect();
    assert!(answered.iter().any(|line| line.contains("LetsEncrypt")), "{answered:#?}");
    println!("    {} requests of challenges were answered:", answered.len());
    answered.iter().for_each(|line| println!("    {line}"));
}
