//! `portolan up` with the demo and one more Ingress, and a browser.

mod backend;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tests::browser::Browser;
use tests::process::Process;
use tests::{http, wait};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The address of the live page.
pub(crate) const LIVE: &str = "http://127.0.0.1:10254/";

/// A Service whose endpoint is [`backend`], and text that would be markup if a page inserted it as such.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: streams, namespace: shop }
spec: { clusterIP: 10.96.20.9, ports: [{ port: 80, targetPort: 9000 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: streams-1, namespace: shop, labels: { kubernetes.io/service-name: streams } }
addressType: IPv4
ports: [{ port: 9000 }]
endpoints: [{ addresses: [10.244.0.9] }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: streams
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/proxy-body-size: 20m
    nginx.ingress.kubernetes.io/proxy-connect-timeout: "<img src=x onerror=document.title='run'>"
spec:
  tls: [{ hosts: [streams.localhost] }]
  rules:
    - host: streams.localhost
      http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: streams, port: { number: 80 } } } }] }
"#;

/// An Ingress with a certificate of its own, and the Secret.
const WITH_CERTIFICATE: &str = r#"
apiVersion: v1
kind: Secret
metadata: { name: hsts, namespace: shop }
type: kubernetes.io/tls
data: { tls.crt: CERTIFICATE, tls.key: KEY }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: hsts, namespace: shop }
spec:
  tls: [{ hosts: [hsts.example], secretName: hsts }]
  rules:
    - host: hsts.example
      http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: streams, port: { number: 80 } } } }] }
"#;

/// What all cases use.
pub(crate) struct Site {
    pub(crate) browser: Browser,
    /// SHA-256 of the public key of the certificate of `hsts.example`, in base64.
    pub(crate) key: String,
    up: Option<Process>,
    portolan: PathBuf,
    folder: TempDir,
}

impl Site {
    pub(crate) fn start(portolan: &Path) -> Self {
        let folder = TempDir::with_prefix("portolan-browser-").expect("a temporary folder can be made");
        let manifests = folder.path().join("cluster");
        fs::create_dir(&manifests).expect("the folder is writable");
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/quickstart");
        for file in fs::read_dir(demo).expect("the demo has manifests").flatten() {
            fs::copy(file.path(), manifests.join(file.file_name())).expect("the folder is writable");
        }
        fs::write(manifests.join("9-streams.yaml"), MANIFESTS).expect("the folder is writable");
        let (secret, key) = certificate("hsts.example");
        fs::write(manifests.join("9-hsts.yaml"), secret).expect("the folder is writable");
        backend::start("10.244.0.9:9000");
        let browser = Browser::start(folder.path());
        let mut site = Self { browser, key, up: None, portolan: portolan.to_owned(), folder };
        site.start_portolan();
        site
    }

    /// The folder of a browser's profile.
    pub(crate) fn profile(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `portolan up` and waits until it serves.
    pub(crate) fn start_portolan(&mut self) {
        let mut command = Command::new(&self.portolan);
        command.args(["up", "--cluster"]).arg(self.folder.path().join("cluster"));
        self.up = Some(Process::start("portolan-up", command, self.folder.path()));
        wait::until("/healthz", Duration::from_secs(30), || {
            match http::get(([127, 0, 0, 1], 10254).into(), "localhost", "/healthz") {
                Ok(page) if page.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// Ends it.
    pub(crate) fn stop_portolan(&mut self) {
        let up = self.up.take().expect("it runs");
        assert!(up.stop().success(), "SIGTERM is a good end");
    }
}

/// The manifests of [`WITH_CERTIFICATE`] for a host, and the hash of the public key.
fn certificate(host: &str) -> (String, String) {
    let made = net::testing::certificate(host);
    let (_, parsed) = X509Certificate::from_der(&made.der).expect("a certificate");
    let key = STANDARD.encode(Sha256::digest(parsed.public_key().raw));
    let manifests = WITH_CERTIFICATE
        .replace("CERTIFICATE", &STANDARD.encode(&made.certificate))
        .replace("KEY", &STANDARD.encode(&made.key));
    (manifests, key)
}
