//! Finds the addresses to write: of a Service, or of the Nodes of this workload's Pods.

use cluster::{Key, LoadBalancerAddress};
use serde_json::Value;

use crate::addresses;
use crate::api::{Api, ClusterRequestError};
use crate::options::{AddressSource, PodIdentity};

/// Labels that a workload adds to its Pods, which differ between its versions.
const ADDED_LABELS: [&str; 3] = ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];

/// Where the addresses come from.
pub(crate) struct Publisher {
    api: Api,
    source: AddressSource,
    pod: PodIdentity,
    /// The label selector of the Pods of this workload; read once, since a Pod keeps its labels as a rule.
    selector: Option<String>,
}

/// Why the addresses are unknown.
#[derive(Debug)]
pub(crate) enum PublishError {
    Api(ClusterRequestError),
    MissingService(Key),
    /// Neither a flag names addresses, nor is the Pod known.
    NoPod,
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api(error) => error.fmt(f),
            Self::MissingService(key) => write!(f, "--publish-service: Service {key} does not exist"),
            Self::NoPod => f.write_str(
                "neither --publish-service nor --publish-status-address is set, and the Pod of this process is not known (POD_NAME, POD_NAMESPACE)",
            ),
        }
    }
}

impl From<ClusterRequestError> for PublishError {
    fn from(error: ClusterRequestError) -> Self {
        Self::Api(error)
    }
}

impl Publisher {
    pub(crate) fn new(api: Api, source: AddressSource, pod: PodIdentity) -> Self {
        Self { api, source, pod, selector: None }
    }

    /// The current addresses, in order.
    pub(crate) async fn addresses(&mut self) -> Result<Vec<LoadBalancerAddress>, PublishError> {
        match &self.source {
            AddressSource::Fixed(addresses) => Ok(addresses.clone()),
            AddressSource::Service(key) => {
                let path = format!("/api/v1/namespaces/{}/services/{}", key.namespace, key.name);
                let service = self.api.get(&path).await?;
                service
                    .map(|service| addresses::of_service(&service))
                    .ok_or_else(|| PublishError::MissingService(key.clone()))
            }
            AddressSource::Nodes { internal } => {
                let internal = *internal;
                let pods = self.pods().await?.ok_or(PublishError::NoPod)?;
                let mut nodes: Vec<_> = pods.iter().filter_map(addresses::node_of_ready_pod).collect();
                nodes.sort_unstable();
                nodes.dedup();
                let mut found = Vec::new();
                for node in nodes {
                    let node = self.api.get(&format!("/api/v1/nodes/{node}")).await?;
                    found.extend(node.and_then(|node| addresses::of_node(&node, internal)));
                }
                Ok(addresses::sorted(found))
            }
        }
    }

    /// Whether another Pod of this workload runs and is not ending. False outside of a Pod. Pods that are ending do not count, so that the
    /// addresses are also removed when all Pods end together.
    pub(crate) async fn has_other_pods(&mut self) -> Result<bool, ClusterRequestError> {
        let name = self.pod.name.clone();
        let pods = self.pods().await?.unwrap_or_default();
        let is_running = |pod: &&Value| {
            let has_ended = ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
            pod["metadata"]["deletionTimestamp"].is_null() && !has_ended
        };
        Ok(pods.iter().filter(is_running).any(|pod| pod["metadata"]["name"] != name))
    }

    /// The Pods of this workload; `None` outside of a Pod.
    async fn pods(&mut self) -> Result<Option<Vec<Value>>, ClusterRequestError> {
        let list = format!("/api/v1/namespaces/{}/pods", self.pod.namespace);
        if self.selector.is_none() {
            if self.pod.name.is_empty() {
                return Ok(None);
            }
            let Some(own) = self.api.get(&format!("{list}/{}", self.pod.name)).await? else {
                return Ok(None);
            };
            self.selector = Some(selector(&own));
        }
        // The alphabet of labels needs no escapes in a query, but for the comma and the equals sign, which a query may have.
        let selector = self.selector.as_deref().unwrap_or_default();
        let mut pods = self.api.get(&format!("{list}?labelSelector={selector}")).await?.unwrap_or_default();
        Ok(Some(pods["items"].as_array_mut().map(std::mem::take).unwrap_or_default()))
    }
}

/// A selector of Pods with the same labels.
fn selector(pod: &Value) -> String {
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.filter(|(name, _)| !ADDED_LABELS.contains(&name.as_str()));
    let pairs = labels.filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::FakeApi;

    fn publisher(api: &FakeApi, source: AddressSource) -> Publisher {
        let pod = PodIdentity { namespace: "edge".into(), name: "a-1".into() };
        Publisher::new(api.client(), source, pod)
    }

    fn pod(name: &str, node: &str, hash: &str) -> Value {
        json!({
            "metadata": {"namespace": "edge", "name": name, "labels": {"app": "edge", "pod-template-hash": hash}},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    #[tokio::test]
    async fn nodes_of_ready_pods_are_published_once_each() {
        let api = FakeApi::default();
        api.put("/api/v1/namespaces/edge/pods/a-1", pod("a-1", "n1", "x"));
        api.put("/api/v1/namespaces/edge/pods/a-2", pod("a-2", "n2", "y"));
        api.put("/api/v1/namespaces/edge/pods/a-3", pod("a-3", "n1", "y"));
        for (name, ip) in [("n1", "10.0.0.2"), ("n2", "10.0.0.1")] {
            let addresses = json!([{"type": "InternalIP", "address": ip}]);
            api.put(
                &format!("/api/v1/nodes/{name}"),
                json!({"metadata": {"name": name}, "status": {"addresses": addresses}}),
            );
        }
        let mut publisher = publisher(&api, AddressSource::Nodes { internal: false });
        let found = addresses::to_json(&publisher.addresses().await.unwrap()).to_string();
        assert_eq!(found, r#"[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]"#);
        assert!(api.requests().iter().any(|request| request.ends_with("pods?labelSelector=app=edge")));
        assert!(publisher.has_other_pods().await.unwrap());
        let mut ending = pod("a-2", "n2", "y");
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        api.put("/api/v1/namespaces/edge/pods/a-2", ending);
        api.remove("/api/v1/namespaces/edge/pods/a-3");
        assert!(!publisher.has_other_pods().await.unwrap());
    }

    #[tokio::test]
    async fn what_is_missing_is_an_error_and_not_an_empty_list() {
        let api = FakeApi::default();
        let service = AddressSource::Service(Key::new("edge", "lb"));
        let error = publisher(&api, service).addresses().await.unwrap_err().to_string();
        assert_eq!(error, "--publish-service: Service edge/lb does not exist");
        let nodes = AddressSource::Nodes { internal: false };
        assert!(matches!(publisher(&api, nodes).addresses().await, Err(PublishError::NoPod)));
    }
}
