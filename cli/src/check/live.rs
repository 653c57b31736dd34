//! Reads what is checked from an API server.

use check::{CheckInput, CheckedObject, CheckedSetting, CheckedWorkload, Container, Outcome};
use cluster::Kind;
use ingress_routes::{RouteIndex, RouteOptions};
use serde_json::Value;
use sources::WatchStatus;
use sources::kube::{Access, RequestLimiter, Selection};

use crate::clusters::{self, ClusterOrigin};
use crate::command_error::CommandError;
use crate::output;
use crate::runtime::Runtime;

/// Objects in a page of a list.
const PAGE: usize = 500;

/// How long the lists may take before the command gives up.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Reads the objects of a cluster.
///
/// # Errors
/// When the kubeconfig cannot be used or the API server does not answer.
pub async fn read(access: &Access, runtime: &Runtime) -> Result<CheckInput, CommandError> {
    output::print_error(
        "needs the verbs list and watch on ingresses, ingressclasses, configmaps, secrets, namespaces, deployments and daemonsets; \
         writes nothing",
    );
    let client =
        sources::kube::client(access).await.map_err(|error| CommandError::usage(error.to_string()))?;
    let origin = ClusterOrigin::Server(access.clone());
    let limiter = RequestLimiter::default();
    let cluster =
        clusters::open(&origin, Selection::default(), cluster::Kinds::default(), limiter, runtime).await?;
    let options = RouteOptions { namespace_selector: "".parse().ok(), ..RouteOptions::default() };
    let view = cluster.project(RouteIndex::new(options));
    let listed = clusters::listed(&cluster, cluster::Kinds::default());
    if tokio::time::timeout(TIMEOUT, listed).await.is_err() {
        let waiting = clusters::unlisted(&cluster, cluster::Kinds::default()).join("\n  ");
        return Err(CommandError::outside(format!(
            "the API server did not answer within {}s:\n  {waiting}",
            TIMEOUT.as_secs()
        )));
    }
    let mut input = CheckInput { is_whole: true, ..CheckInput::default() };
    input.cache.apply(cluster.read(clusters::ingress_events), 0);
    drop(view);
    let statuses = cluster.statuses().borrow().clone();
    for kind in Kind::ALL {
        if let WatchStatus::Forbidden { .. } = statuses.get(kind) {
            input.unread.push(unread(kind.name(), statuses.get(kind).to_string()));
        }
    }
    for (kind, path) in [("Deployment", "deployments"), ("DaemonSet", "daemonsets")] {
        match workloads(&client, kind, path).await {
            Ok(mut found) => input.workloads.append(&mut found),
            Err(reason) => input.unread.push(unread(kind, reason)),
        }
    }
    Ok(input)
}

/// A kind that could not be listed.
fn unread(kind: &str, reason: String) -> CheckedObject {
    let finding = CheckedSetting { setting: String::new(), place: None, outcome: Outcome::Unknown, reason };
    CheckedObject::new("File", format!("objects of the kind {kind}"), None, vec![finding])
}

/// The workloads of all namespaces.
async fn workloads(client: &kube::Client, kind: &str, path: &str) -> Result<Vec<CheckedWorkload>, String> {
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!("/apis/apps/v1/{path}?limit={PAGE}&continue={next}");
        let request = http::Request::get(&path).body(Vec::new()).map_err(|error| error.to_string())?;
        let list: Value = client.request(request).await.map_err(|error| telemetry::causes(&error))?;
        found.extend(list["items"].as_array().into_iter().flatten().map(|object| workload(kind, object)));
        next = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            return Ok(found);
        }
    }
}

fn workload(kind: &str, object: &Value) -> CheckedWorkload {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let container = |container: &Value| {
        let args = ["command", "args"].map(|field| container[field].as_array());
        let args = args.into_iter().flatten().flatten();
        Container { image: text(&container["image"]), args: args.map(|arg| (text(arg), None)).collect() }
    };
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    CheckedWorkload {
        kind: kind.to_owned(),
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
        place: None,
        containers: containers.into_iter().flatten().map(container).collect(),
    }
}
