//! Writes the addresses into the status of Ingresses.

pub(crate) mod publish;
pub(crate) mod status_loop;

use std::time::Duration;

use cluster::{Key, LoadBalancerAddress};
use futures_util::StreamExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::addresses;
use crate::api::{Api, ClusterRequestError};
use crate::token_bucket::TokenBucket;

/// Requests a second in the long run, and at once. ingress-nginx does not limit them; a write takes two, so that 20,000 Ingresses take
/// 200 s. On shutdown the process does not have that long, and the limit is ten times as high.
const RATE: f64 = 200.0;
const BURST: u32 = 200;

/// Writes at the same time, as in ingress-nginx.
const CONCURRENT: usize = 10;

/// Attempts of a write that meets a conflict, and the first pause between them: client-go's `DefaultRetry`.
const ATTEMPTS: u32 = 5;
const CONFLICT_PAUSE: Duration = Duration::from_millis(10);

/// The result of writing some Ingresses.
#[derive(Debug, Default)]
pub(crate) struct WriteOutcome {
    /// How many were changed.
    pub(crate) written: usize,
    /// The first request that failed, for a reason that another attempt does not solve.
    pub(crate) failed: Option<ClusterRequestError>,
}

/// Writes statuses.
pub(crate) struct StatusWriter {
    api: Api,
    bucket: Mutex<TokenBucket>,
}

impl StatusWriter {
    pub(crate) fn new(api: Api) -> Self {
        Self { api, bucket: Mutex::new(TokenBucket::new(RATE, BURST, Instant::now())) }
    }

    /// Allows ten times as many requests from now on.
    pub(crate) async fn hurry(&self) {
        *self.bucket.lock().await = TokenBucket::new(RATE * 10.0, BURST * 10, Instant::now());
    }

    /// Writes the addresses into the status of Ingresses. Those that have them already are not written.
    pub(crate) async fn write(&self, ingresses: Vec<Key>, addresses: &[LoadBalancerAddress]) -> WriteOutcome {
        let mut writes = futures_util::stream::iter(ingresses)
            .map(|key| async move { self.write_one(&key, addresses).await })
            .buffer_unordered(CONCURRENT);
        let mut outcome = WriteOutcome::default();
        while let Some(result) = writes.next().await {
            match result {
                Ok(changed) => outcome.written += usize::from(changed),
                // Without permission every other write fails as well.
                Err(error) if error.status == 403 => {
                    outcome.failed = Some(error);
                    break;
                }
                Err(error) => outcome.failed = Some(outcome.failed.unwrap_or(error)),
            }
        }
        outcome
    }

    /// Returns whether the status was changed.
    async fn write_one(
        &self,
        key: &Key,
        addresses: &[LoadBalancerAddress],
    ) -> Result<bool, ClusterRequestError> {
        let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses/{}", key.namespace, key.name);
        let status = format!("{path}/status");
        let mut attempt = 1;
        loop {
            self.wait().await;
            // An Ingress that was deleted meanwhile has no status.
            let Some(mut ingress) = self.api.get(&path).await? else { return Ok(false) };
            if addresses::from_json(&ingress["status"]["loadBalancer"]["ingress"]) == addresses {
                return Ok(false);
            }
            ingress["status"]["loadBalancer"]["ingress"] = addresses::to_json(addresses);
            self.wait().await;
            match self.api.replace(&status, &ingress).await {
                Ok(_) => return Ok(true),
                Err(error) if error.status == 404 => return Ok(false),
                Err(error) if error.status == 409 && attempt < ATTEMPTS => {
                    attempt += 1;
                    sleep(CONFLICT_PAUSE.mul_f64(1.0 + 0.1 * fastrand::f64())).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self) {
        let at = self.bucket.lock().await.reserve(Instant::now());
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::FakeApi;

    fn path(name: &str) -> String {
        format!("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/{name}")
    }

    fn ingress(api: &FakeApi, name: &str, status: serde_json::Value) {
        let metadata = json!({"namespace": "shop", "name": name});
        api.put(&path(name), json!({"metadata": metadata, "spec": {"x": 1}, "status": status}));
    }

    fn written(api: &FakeApi, name: &str) -> String {
        api.object(&path(name)).unwrap()["status"]["loadBalancer"]["ingress"].to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_thousand_ingresses_take_two_requests_each_at_a_limited_rate() {
        let api = FakeApi::default();
        let names: Vec<_> = (0..20_000).map(|number| format!("web-{number}")).collect();
        names.iter().for_each(|name| ingress(&api, name, json!({})));
        let writer = StatusWriter::new(api.client());
        let keys = || names.iter().map(|name| Key::new("shop", name.as_str())).collect::<Vec<_>>();
        let wanted = addresses::of_list("192.0.2.1");
        let start = Instant::now();
        let outcome = writer.write(keys(), &wanted).await;
        assert_eq!(outcome.written, 20_000);
        let (count, took) = (api.requests().len(), start.elapsed().as_secs());
        assert_eq!(count, 40_000);
        assert!((195..205).contains(&took), "{took} s");
        // Once more: they are read and not written.
        assert_eq!(writer.write(keys(), &wanted).await.written, 0);
        let puts = api.requests().iter().filter(|request| request.starts_with("PUT")).count();
        assert_eq!(puts, 20_000);
        assert_eq!(written(&api, "web-7"), r#"[{"ip":"192.0.2.1"}]"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_is_repeated_with_the_new_version_and_a_missing_ingress_is_left_out() {
        let api = FakeApi::default();
        ingress(&api, "web", json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}));
        api.conflicts(3);
        let writer = StatusWriter::new(api.client());
        let keys = vec![Key::new("shop", "web"), Key::new("shop", "gone")];
        let outcome = writer.write(keys, &addresses::of_list("lb.example")).await;
        assert!(outcome.failed.is_none(), "{outcome:?}");
        assert_eq!(outcome.written, 1);
        assert_eq!(written(&api, "web"), r#"[{"hostname":"lb.example"}]"#);
        api.conflicts(5);
        let outcome = writer.write(vec![Key::new("shop", "web")], &[]).await;
        assert_eq!(outcome.failed.unwrap().status, 409);
        writer.write(vec![Key::new("shop", "web")], &[]).await;
        assert_eq!(written(&api, "web"), "[]");
    }

    #[tokio::test(start_paused = true)]
    async fn without_permission_the_first_refusal_ends_the_writing() {
        let api = FakeApi::default();
        (0..1000).for_each(|number| ingress(&api, &format!("web-{number}"), json!({})));
        api.forbid("/status");
        let keys = (0..1000).map(|number| Key::new("shop", format!("web-{number}"))).collect();
        let outcome = StatusWriter::new(api.client()).write(keys, &addresses::of_list("192.0.2.1")).await;
        assert_eq!(outcome.failed.unwrap().status, 403);
        assert!(api.requests().len() <= 2 * CONCURRENT, "{}", api.requests().len());
    }
}
