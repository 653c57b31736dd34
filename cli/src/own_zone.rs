//! The topology zone of the node that this process runs on, for `--enable-topology-aware-routing`.
//!
//! As in ingress-nginx, it is the label `topology.kubernetes.io/zone` of the Node of the own Pod, read once at start: a Pod stays on its
//! Node, and a Node in its zone. It has to be known before the first pools are built.

use std::time::Duration;

use cluster::CompactString;
use http::Request;
use ingress_controller::PodIdentity;
use kube::Client;
use serde_json::Value;
use telemetry::{Problem, Severity};

use crate::args::IngressArgs;
use crate::clusters::ClusterOrigin;
use crate::runtime::Runtime;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two attempts to reach the API server. Without it nothing is served either.
const RETRY: Duration = Duration::from_secs(1);

const ZONE: &str = "topology.kubernetes.io/zone";

/// Why the zone is not known.
#[derive(Debug)]
enum ZoneError {
    /// The API server cannot be reached, or cannot answer now.
    Unavailable(String),
    /// The environment, a permission or an object is missing.
    Missing(String),
}

/// Finds the zone if the flag is set. Without a zone this is reported, and endpoints of all zones are used.
pub async fn find(origin: &ClusterOrigin, args: &IngressArgs, runtime: &Runtime) -> Option<CompactString> {
    if !args.topology_aware_routing {
        return None;
    }
    let found = match origin {
        ClusterOrigin::Server(access) => match sources::kube::client(access).await {
            Ok(client) => wait_for_zone(&client, &args.controller.pod).await,
            Err(error) => Err(error.to_string()),
        },
        _ => Err("needs an API server with the Node of this process".to_owned()),
    };
    match found {
        Ok(zone) => {
            tracing::info!("topology aware routing: this node is in zone {zone}");
            Some(zone)
        }
        Err(why) => {
            let problem = Problem {
                kind: "flag".to_owned(),
                key: "--enable-topology-aware-routing".to_owned(),
                field: String::new(),
                what: format!("endpoints of all zones are used: {why}"),
                wanted: String::new(),
                severity: Some(Severity::Differs),
            };
            runtime.reports.replace("topology", [problem]);
            None
        }
    }
}

/// Repeats the requests until the API server has answered them.
async fn wait_for_zone(client: &Client, pod: &PodIdentity) -> Result<CompactString, String> {
    let mut is_first = true;
    loop {
        match zone(client, pod).await {
            Ok(zone) => return Ok(zone),
            Err(ZoneError::Missing(why)) => return Err(why),
            Err(ZoneError::Unavailable(why)) => {
                if std::mem::take(&mut is_first) {
                    tracing::warn!(
                        "waiting for the zone of this node (--enable-topology-aware-routing): {why}"
                    );
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn zone(client: &Client, pod: &PodIdentity) -> Result<CompactString, ZoneError> {
    let missing = |what: String| Err(ZoneError::Missing(what));
    if pod.name.is_empty() {
        return missing("the environment variable POD_NAME is not set".to_owned());
    }
    let object = get(client, &format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)).await?;
    let Some(node) = object["spec"]["nodeName"].as_str() else {
        return missing(format!("Pod {}/{} has no spec.nodeName", pod.namespace, pod.name));
    };
    let object = get(client, &format!("/api/v1/nodes/{node}")).await?;
    match object["metadata"]["labels"][ZONE].as_str().filter(|zone| !zone.is_empty()) {
        Some(zone) => Ok(zone.into()),
        None => missing(format!("Node {node} has no label {ZONE}")),
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, ZoneError> {
    let request = Request::get(path).body(Vec::new());
    let request = request.map_err(|error| ZoneError::Missing(format!("GET {path}: {error}")))?;
    match tokio::time::timeout(REQUEST_TIMEOUT, client.request::<Value>(request)).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
            Err(ZoneError::Missing(format!("GET {path}: {} {}", status.code, status.message)))
        }
        Ok(Err(error)) => Err(ZoneError::Unavailable(format!("GET {path}: {}", telemetry::causes(&error)))),
        Err(_) => Err(ZoneError::Unavailable(format!(
            "GET {path}: no response within {} s",
            REQUEST_TIMEOUT.as_secs()
        ))),
    }
}
