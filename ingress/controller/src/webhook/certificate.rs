//! The certificate of the admission webhook: files that are followed, or an own one in a Secret that all replicas share.
//!
//! The own certificate is made by the leader, which also writes it as `caBundle` into the ValidatingWebhookConfiguration; no Job is needed. It is its
//! own authority. Before it expires, the leader adds the next one to `caBundle` and then replaces the Secret, so that the API server trusts both while
//! the replicas read it again.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::Current;
use ingress_routes::CertificateInfo;
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use telemetry::Reports;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::{Api, ClusterRequestError, STRATEGIC_PATCH};
use crate::options::WebhookCertificateSource;
use crate::problems::ProblemReport;

/// How long an own certificate is valid, and how long before its end it is replaced.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
const RENEWED_BEFORE: Duration = Duration::from_secs(60 * 24 * 3600);

/// How often the Secret, the configuration and the files are read again; before the first success more often.
const INTERVAL: Duration = Duration::from_secs(60);
const FIRST_INTERVAL: Duration = Duration::from_secs(2);
const FILE_INTERVAL: Duration = Duration::from_secs(10);

/// A certificate for the time before there is another one.
pub(crate) fn temporary() -> Result<CertifiedKey, String> {
    let issued = net::certificate::self_signed_for(vec!["localhost".into()], SystemTime::now(), LIFETIME);
    let issued = issued.map_err(|error| error.to_string())?;
    net::certificate::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes())
}

/// Keeps the certificate in a cell current.
pub(crate) struct CertificateKeeper {
    pub(crate) api: Api,
    pub(crate) namespace: String,
    pub(crate) certificate: Current<CertifiedKey>,
    pub(crate) reports: Reports,
    pub(crate) is_leader: watch::Receiver<bool>,
}

impl CertificateKeeper {
    /// Follows the source until the future is dropped.
    pub(crate) async fn run(self, source: &WebhookCertificateSource) {
        match source {
            WebhookCertificateSource::Files { certificate, key } => self.follow_files(certificate, key).await,
            WebhookCertificateSource::Own { configuration } => self.follow_secret(configuration).await,
            // Self-signed, without a known authority; for tests and for a proxy in front.
            WebhookCertificateSource::Temporary => std::future::pending().await,
        }
    }

    async fn follow_files(&self, certificate: &Path, key: &Path) {
        let report = ProblemReport::new(&self.reports, "flag", "--validating-webhook-certificate");
        let mut last = None;
        loop {
            let read = || Ok::<_, std::io::Error>((std::fs::read(certificate)?, std::fs::read(key)?));
            match read() {
                Ok(files) if last.as_ref() == Some(&files) => {}
                Ok(files) => match net::certificate::from_pem(&files.0, &files.1) {
                    Ok(loaded) => {
                        self.certificate.store(loaded.into());
                        report.solved();
                        last = Some(files);
                    }
                    Err(error) => report
                        .problem(format!("{}: {error}; the last certificate is used", certificate.display())),
                },
                Err(error) => report
                    .problem(format!("{}: {error}; the last certificate is used", certificate.display())),
            }
            sleep(FILE_INTERVAL).await;
        }
    }

    async fn follow_secret(mut self, configuration: &str) {
        let report = ProblemReport::new(&self.reports, "ValidatingWebhookConfiguration", configuration);
        let mut is_loaded = false;
        loop {
            match self.check(configuration).await {
                Ok(loaded) => {
                    is_loaded |= loaded;
                    report.solved();
                }
                Err(problem) => report.problem(problem),
            }
            let interval = if is_loaded { INTERVAL } else { FIRST_INTERVAL };
            tokio::select! {
                () = sleep(interval) => {}
                // A new leader makes what is missing.
                Ok(()) = self.is_leader.changed() => {}
            }
        }
    }

    /// Loads the Secret; as the leader, makes it and writes `caBundle`. Returns whether a certificate was loaded.
    async fn check(&self, name: &str) -> Result<bool, String> {
        let failed = |error: ClusterRequestError| {
            let hint = if error.status == 403 { " (see `portolan reference rbac`)" } else { "" };
            format!("{error}{hint}; the API server may not trust the admission webhook")
        };
        let is_leader = *self.is_leader.borrow();
        let list = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        let path = format!("{list}/{name}");
        let secret = self.api.get(&path).await.map_err(failed)?;
        let known = secret.as_ref().and_then(StoredCertificate::of);
        if let Some(known) = known.as_ref().filter(|known| !known.is_due(now()) || !is_leader) {
            self.certificate.store(net::certificate::from_pem(&known.certificate, &known.key)?.into());
            if is_leader {
                self.trust(name, &known.authorities).await?;
            }
            return Ok(true);
        }
        if !is_leader {
            return Ok(false);
        }
        let names = self.names(name).await?;
        let made = net::certificate::self_signed_for(names, SystemTime::now(), LIFETIME)
            .map_err(|error| error.to_string())?;
        // Replicas use the old one until they have read the new one.
        let old =
            known.map(|known| String::from_utf8_lossy(&known.certificate).into_owned()).unwrap_or_default();
        let authorities = format!("{}{old}", made.certificate);
        self.trust(name, authorities.as_bytes()).await?;
        let data = json!({
            "tls.crt": encode(made.certificate.as_bytes()),
            "tls.key": encode(made.key.as_bytes()),
            "ca.crt": encode(authorities.as_bytes()),
        });
        let written = match secret {
            Some(mut secret) => {
                secret["data"] = data;
                self.api.replace(&path, &secret).await
            }
            None => {
                let metadata = json!({"namespace": self.namespace, "name": name});
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data});
                self.api.create(&list, &secret).await
            }
        };
        match written {
            Ok(_) => {
                tracing::info!(
                    "Secret {}/{name}: a new certificate of the admission webhook",
                    self.namespace
                );
                let loaded = net::certificate::from_pem(made.certificate.as_bytes(), made.key.as_bytes())?;
                self.certificate.store(loaded.into());
                Ok(true)
            }
            // Another replica was first; its certificate is read the next time.
            Err(error) if error.status == 409 => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The host names of the webhook: those of the Service in the configuration.
    async fn names(&self, configuration: &str) -> Result<Vec<String>, String> {
        let webhooks = self.webhooks(configuration).await?;
        let service = &webhooks.first().ok_or("has no webhook")?["clientConfig"]["service"];
        let (Some(namespace), Some(name)) = (service["namespace"].as_str(), service["name"].as_str()) else {
            return Err(
                "clientConfig.service is missing: a certificate is made for the names of a Service".into()
            );
        };
        Ok(vec![
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc.cluster.local"),
        ])
    }

    async fn webhooks(&self, name: &str) -> Result<Vec<Value>, String> {
        let configuration = self.api.get(&path_of(name)).await.map_err(|error| error.to_string())?;
        let mut configuration = configuration.ok_or("does not exist; Ingresses are not checked")?;
        Ok(configuration["webhooks"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Writes the authorities into the configuration, where it has others.
    async fn trust(&self, name: &str, authorities: &[u8]) -> Result<(), String> {
        let bundle = encode(authorities);
        let others = self
            .webhooks(name)
            .await?
            .into_iter()
            .filter(|webhook| webhook["clientConfig"]["caBundle"] != bundle);
        let changes: Vec<_> = others
            .map(|webhook| json!({"name": webhook["name"], "clientConfig": {"caBundle": bundle}}))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let patch = json!({"webhooks": changes});
        let patched = self.api.patch(&path_of(name), STRATEGIC_PATCH, &patch).await;
        patched
            .map(|_| tracing::info!("ValidatingWebhookConfiguration {name}: caBundle is written"))
            .map_err(|error| error.to_string())
    }
}

fn path_of(configuration: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{configuration}")
}

fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` if the text is not Base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The content of the Secret.
struct StoredCertificate {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
    /// `notAfter` in Unix seconds.
    expires: i64,
}

impl StoredCertificate {
    /// `None` if it cannot be used.
    fn of(secret: &Value) -> Option<Self> {
        let entry = |name: &str| decode(secret["data"][name].as_str()?);
        let (certificate, key, authorities) = (entry("tls.crt")?, entry("tls.key")?, entry("ca.crt")?);
        let loaded = net::certificate::from_pem(&certificate, &key).ok()?;
        let expires = CertificateInfo::of(loaded.cert.first()?)?.expires;
        Some(Self { certificate, key, authorities, expires })
    }

    /// Whether it has to be replaced.
    fn is_due(&self, now: Duration) -> bool {
        let now = i64::try_from((now + RENEWED_BEFORE).as_secs()).unwrap_or(i64::MAX);
        now >= self.expires
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;
    use crate::testing::FakeApi;

    const SECRET: &str = "/api/v1/namespaces/edge/secrets/admission";

    fn keeper(api: &FakeApi, is_leader: bool) -> CertificateKeeper {
        let (_, is_leader) = watch::channel(is_leader);
        CertificateKeeper {
            api: api.client(),
            namespace: "edge".into(),
            certificate: Current::new(temporary().unwrap()),
            reports: Reports::new(&Registry::new()),
            is_leader,
        }
    }

    fn configured() -> FakeApi {
        let api = FakeApi::default();
        let service = json!({"namespace": "edge", "name": "hook", "path": "/networking/v1/ingresses"});
        let webhook =
            json!({"name": "validate.nginx.ingress.kubernetes.io", "clientConfig": {"service": service}});
        api.put(&path_of("admission"), json!({"metadata": {"name": "admission"}, "webhooks": [webhook]}));
        api
    }

    fn bundle(api: &FakeApi) -> Vec<u8> {
        let webhooks = api.object(&path_of("admission")).unwrap()["webhooks"].clone();
        decode(webhooks[0]["clientConfig"]["caBundle"].as_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_leader_makes_the_certificate_and_the_others_read_it() {
        let api = configured();
        let (leader, other) = (keeper(&api, true), keeper(&api, false));
        assert_eq!(other.check("admission").await, Ok(false));
        assert_eq!(leader.check("admission").await, Ok(true));
        assert_eq!(other.check("admission").await, Ok(true));
        let served = |keeper: &CertificateKeeper| keeper.certificate.load_full().cert.clone();
        assert_eq!(served(&leader), served(&other));
        let stored = StoredCertificate::of(&api.object(SECRET).unwrap()).unwrap();
        assert_eq!(bundle(&api), stored.certificate);
        // Nothing more is written.
        let count =
            |method: &str| api.requests().iter().filter(|request| request.starts_with(method)).count();
        let before = ["POST", "PUT", "PATCH"].map(count);
        assert_eq!(leader.check("admission").await, Ok(true));
        assert_eq!(["POST", "PUT", "PATCH"].map(count), before);
    }

    #[tokio::test]
    async fn a_certificate_that_expires_is_replaced_while_both_are_trusted() {
        let api = configured();
        let leader = keeper(&api, true);
        let old = net::certificate::self_signed_for(
            vec!["hook.edge.svc".into()],
            SystemTime::now(),
            RENEWED_BEFORE - Duration::from_secs(60),
        )
        .unwrap();
        let [certificate, key] = [&old.certificate, &old.key].map(|pem| encode(pem.as_bytes()));
        api.put(SECRET, json!({"metadata": {"name": "admission"}, "data": {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate}}));
        let other = keeper(&api, false);
        assert_eq!(other.check("admission").await, Ok(true), "another replica uses it until then");
        assert_eq!(leader.check("admission").await, Ok(true));
        let stored = StoredCertificate::of(&api.object(SECRET).unwrap()).unwrap();
        assert!(!stored.is_due(now()));
        let bundle = String::from_utf8(bundle(&api)).unwrap();
        assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(bundle.ends_with(&old.certificate));
        let requests = api.requests();
        let at = |method: &str| requests.iter().position(|request| request.starts_with(method)).unwrap();
        assert!(at("PATCH") < at("PUT"), "trusted before it is used: {requests:?}");
    }

    #[tokio::test]
    async fn what_is_missing_is_said() {
        let api = FakeApi::default();
        let leader = keeper(&api, true);
        assert!(leader.check("admission").await.unwrap_err().contains("does not exist"));
        let api = configured();
        api.forbid("secrets");
        assert!(keeper(&api, true).check("admission").await.unwrap_err().contains("403"));
        api.put(
            &path_of("admission"),
            json!({"webhooks": [{"name": "x", "clientConfig": {"url": "https://a"}}]}),
        );
        assert!(keeper(&api, true).names("admission").await.unwrap_err().contains("clientConfig.service"));
    }
}
