//! Restores the state before a migration, from the annotations on the objects. Needs nothing from the process that made the change.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{JsonApi, RequestError};
use crate::checker::Checker;
use crate::console::Console;
use crate::copied_workload::copy_name;
use crate::objects::{ObjectId, ResourceKind, items};
use crate::options::MigrateOptions;
use crate::patch::restore_patch;
use crate::waiting;

/// How long requests are repeated while the API server does not answer.
const RETRY_TIME: Duration = Duration::from_secs(300);

/// Time between two attempts of a request.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the endpoints of a Service may take to follow its selector.
const ENDPOINTS_TIMEOUT: Duration = Duration::from_secs(60);

/// How long every node may take to follow the endpoints, before the Pods that they named are deleted. kube-proxy needs about a second
/// on an idle node.
const SETTLING_TIME: Duration = Duration::from_secs(10);

/// A rollback in progress.
pub(crate) struct Rollback<'a> {
    /// The API server.
    pub(crate) api: &'a JsonApi,
    /// The options of the run.
    pub(crate) options: &'a MigrateOptions,
    /// Where progress is printed.
    pub(crate) console: Console,
}

impl Rollback<'_> {
    /// Restores workloads, waits until their Pods are ready, then restores Services, then deletes the copy and check Pods. Returns the
    /// number of objects that were restored or deleted.
    pub(crate) async fn run(&self) -> Result<usize, String> {
        let mut restored = Vec::new();
        for resource in [ResourceKind::Deployment, ResourceKind::DaemonSet] {
            restored.extend(self.restore_workloads(resource).await?);
        }
        let services = self.restore_all(ResourceKind::Service).await?;
        let copy = ObjectId {
            resource: ResourceKind::Deployment,
            namespace: self.options.namespace.clone(),
            name: copy_name(self.options.service),
        };
        let mut count =
            restored.len() + services.len() + self.restore_all(ResourceKind::Webhook).await?.len();
        if self.repeated(|| async { self.api.get(&copy.path()).await }).await?.is_some() {
            if !services.is_empty() {
                self.console.progress("  waiting until every node sends to the old Pods again");
                for service in &services {
                    self.unselected(service).await?;
                }
                tokio::time::sleep(SETTLING_TIME).await;
            }
            self.console.progress(&format!("  delete {copy}"));
            self.repeated(|| async { self.api.delete(&copy.path()).await }).await?;
            count += 1;
        }
        Checker::clean_up(self.api, self.options).await?;
        Ok(count)
    }

    /// Waits until no endpoint of a Service is a Pod of the copy.
    async fn unselected(&self, service: &ObjectId) -> Result<(), String> {
        let started = Instant::now();
        let prefix = format!("{}-", copy_name(self.options.service));
        let slices = ResourceKind::EndpointSlice.list_path(Some(&service.namespace));
        let slices = format!("{slices}?labelSelector=kubernetes.io/service-name={}", service.name);
        loop {
            let slices = self.repeated(|| self.api.list(&slices)).await?.unwrap_or_default();
            let mut endpoints = slices.iter().flat_map(|slice| items(&slice["endpoints"]));
            let is_copy = |endpoint: &Value| {
                endpoint["targetRef"]["name"].as_str().is_some_and(|pod| pod.starts_with(&prefix))
            };
            if !endpoints.any(is_copy) || started.elapsed() >= ENDPOINTS_TIMEOUT {
                return Ok(());
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Restores the changed objects of a kind.
    async fn restore_all(&self, resource: ResourceKind) -> Result<Vec<ObjectId>, String> {
        let changed = self.changed(resource).await?;
        for (id, patch) in &changed {
            self.console.progress(&format!("  restore {id}"));
            self.repeated(|| async { self.api.patch(&id.path(), patch).await }).await?;
        }
        Ok(changed.into_iter().map(|(id, _)| id).collect())
    }

    /// Restores the changed workloads of a kind: first their Pods, then the strategy of their rollouts. A strategy that lets Pods end
    /// before others are ready would take the Pods away that clients use.
    async fn restore_workloads(&self, resource: ResourceKind) -> Result<Vec<ObjectId>, String> {
        for (id, patch) in self.changed(resource).await? {
            self.console.progress(&format!("  restore {id}"));
            let patch = without_strategy(patch);
            self.repeated(|| async { self.api.patch(&id.path(), &patch).await }).await?;
            // The old Pods must be ready before a Service selects them again.
            waiting::ready(self.api, &id, self.options.timeout, self.console).await?;
        }
        let changed = self.changed(resource).await?;
        for (id, patch) in &changed {
            self.repeated(|| async { self.api.patch(&id.path(), patch).await }).await?;
        }
        Ok(changed.into_iter().map(|(id, _)| id).collect())
    }

    /// The objects of a kind that a migration has changed, each with the patch that restores it.
    async fn changed(&self, resource: ResourceKind) -> Result<Vec<(ObjectId, Value)>, String> {
        let namespace = (resource != ResourceKind::Webhook).then_some(self.options.namespace.as_str());
        let list = resource.list_path(namespace);
        let objects: Vec<Value> = self.repeated(|| self.api.list(&list)).await?.unwrap_or_default();
        let patches = objects.iter().filter_map(|object| {
            Some((ObjectId::of(resource, object), restore_patch(object, self.options.service)?))
        });
        Ok(patches.collect())
    }

    /// Repeats a request while the API server does not answer it.
    async fn repeated<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let started = Instant::now();
        let mut is_reported = false;
        loop {
            let error = match request().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let is_passing = error.status.is_none_or(|status| status == 429 || status >= 500);
            if !is_passing || started.elapsed() >= RETRY_TIME {
                return Err(error.to_string());
            }
            if !is_reported {
                is_reported = true;
                self.console
                    .progress(&format!("  {error}; repeating for at most {} s", RETRY_TIME.as_secs()));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// The part of a patch that concerns Pods. The object stays marked as changed.
fn without_strategy(mut patch: Value) -> Value {
    if let Some(fields) = patch.as_object_mut() {
        fields.remove("metadata");
    }
    if let Some(spec) = patch.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("strategy");
    }
    patch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_strategy_and_the_mark_are_restored_last() {
        let containers = json!({ "spec": { "containers": [{ "name": "dns", "image": "old" }] } });
        let patch = json!({
            "metadata": { "annotations": { "portolan.dev/before-dns-migration": null } },
            "spec": { "replicas": 2, "strategy": { "rollingUpdate": { "maxUnavailable": 1 } }, "template": containers },
        });
        assert_eq!(without_strategy(patch), json!({ "spec": { "replicas": 2, "template": containers } }));
    }
}
