//! Notices another controller of the same IngressClass: an installation of ingress-nginx or Portolan beside this one.
//!
//! Charts and manifests of both label an IngressClass with the installation that it belongs to (`app.kubernetes.io/name` and
//! `app.kubernetes.io/instance`), and its Services, whose EndpointSlices get the same labels. If an IngressClass that this process serves
//! belongs to an installation with ready Pods of another workload, two controllers serve its Ingresses.
//!
//! The permissions for routes are enough: a Lease would need a further one, and does not say which class its holder serves. The watch cache
//! does not have these labels, since nothing else reads them; the API server selects by them, so that the lists are short. Not noticed are
//! installations without these labels or without a Service, and one that uses an IngressClass of this installation: that one notices.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::Kind;
use http::Request;
use ingress_proxy::Controller;
use ingress_routes::RouteOptions;
use kube::Client;
use serde_json::Value;
use sources::kube::Access;
use sources::{Cluster, WatchStatus};
use telemetry::{Problem, Severity};

use crate::clusters::ClusterOrigin;
use crate::runtime::Runtime;

/// Time between two checks. Nothing depends on the result but the report.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Workloads that a report names.
const SHOWN: usize = 3;

/// The scope of the reports.
const SCOPE: &str = "controllers";

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const COMPONENT: &str = "app.kubernetes.io/component";
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Starts a task that reports other controllers. A cluster of manifests has none.
pub fn follow(
    origin: &ClusterOrigin,
    cluster: &Cluster,
    options: &RouteOptions,
    own: &Controller,
    runtime: &Runtime,
) {
    let ClusterOrigin::Server(access) = origin else { return };
    let (access, cluster, options) = (access.clone(), cluster.clone(), options.clone());
    let (own, reports) = (own.clone(), runtime.reports.clone());
    runtime.handle.spawn(async move {
        let Some(client) = client(&access).await else { return };
        loop {
            let class_status = cluster.statuses().borrow().get(Kind::IngressClass).clone();
            if !matches!(class_status, WatchStatus::Forbidden { .. }) {
                match check(&client, &options, &own).await {
                    Ok(problems) => reports.replace(SCOPE, problems),
                    // The watches report an API server that cannot be reached.
                    Err(error) => {
                        tracing::debug!("looking for other controllers of the IngressClasses: {error}")
                    }
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
}

async fn client(access: &Access) -> Option<Client> {
    // The source of the cluster has the same access and reports what is wrong with it.
    sources::kube::client(access).await.inspect_err(|error| tracing::debug!("{error}")).ok()
}

/// A problem for each IngressClass that another installation serves as well.
async fn check(client: &Client, options: &RouteOptions, own: &Controller) -> Result<Vec<Problem>, String> {
    let classes = list(client, "/apis/networking.k8s.io/v1/ingressclasses").await?;
    let mut problems = Vec::new();
    for class in classes.iter().filter(|class| is_served(class, options)) {
        let Some(owner) = Installation::of(class) else { continue };
        let Some(path) = owner.slices_path(options.watch_namespace.as_deref()) else { continue };
        let slices = list(client, &path).await?;
        let workloads = other_workloads(&slices, own);
        if !workloads.is_empty() {
            problems.push(problem(class, &owner, &workloads));
        }
    }
    Ok(problems)
}

async fn list(client: &Client, path: &str) -> Result<Vec<Value>, String> {
    let request = Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let list = tokio::time::timeout(REQUEST_TIMEOUT, client.request::<Value>(request)).await;
    let mut list =
        list.map_err(|_| format!("GET {path}: no response"))?.map_err(|error| error.to_string())?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// Whether an IngressClass is one that this process serves.
fn is_served(class: &Value, options: &RouteOptions) -> bool {
    class["spec"]["controller"] == *options.controller_class
        || options.ingress_class_by_name && class["metadata"]["name"] == *options.ingress_class
}

/// What installed an object, by its labels.
#[derive(Debug, PartialEq)]
struct Installation {
    /// `ingress-nginx` or `portolan`, unless `nameOverride` is set.
    name: String,
    /// The Helm release.
    instance: String,
    /// The namespace of the Helm release; `None` without Helm.
    namespace: Option<String>,
}

impl Installation {
    fn of(object: &Value) -> Option<Self> {
        let labels = &object["metadata"]["labels"];
        Some(Self {
            name: labels[NAME].as_str()?.to_owned(),
            instance: labels[INSTANCE].as_str()?.to_owned(),
            namespace: object["metadata"]["annotations"][HELM_NAMESPACE].as_str().map(str::to_owned),
        })
    }

    /// The list of EndpointSlices of its controller; `None` if it is not in the only namespace that may be read.
    fn slices_path(&self, only: Option<&str>) -> Option<String> {
        let Self { name, instance, namespace } = self;
        let namespace = match (namespace.as_deref(), only) {
            (Some(namespace), Some(only)) if namespace != only => return None,
            (namespace, only) => namespace.or(only),
        };
        let place = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        Some(format!(
            "/apis/discovery.k8s.io/v1{place}/endpointslices?labelSelector={NAME}={name},{INSTANCE}={instance},{COMPONENT}=controller"
        ))
    }
}

/// The workloads of the ready Pods in EndpointSlices, as `namespace/name`, without that of this process.
fn other_workloads(slices: &[Value], own: &Controller) -> BTreeSet<String> {
    let mut workloads = BTreeSet::new();
    for slice in slices {
        let namespace = slice["metadata"]["namespace"].as_str().unwrap_or_default();
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let is_ready = endpoint["conditions"]["ready"] != false;
            let (true, Some(pod)) = (is_ready, endpoint["targetRef"]["name"].as_str()) else { continue };
            let is_own = namespace == own.namespace && workload(pod) == workload(&own.pod);
            if !is_own {
                workloads.insert(format!("{namespace}/{}", workload(pod)));
            }
        }
    }
    workloads
}

/// The workload of a Pod, from its name: that of a Deployment is followed by the hash of its ReplicaSet and five characters, that of a
/// DaemonSet by five characters.
fn workload(pod: &str) -> &str {
    let Some((owner, _)) = pod.rsplit_once('-') else { return pod };
    // The alphabet of Kubernetes's generated names has no vowels and no 0, 1 and 3.
    let is_hash = |text: &str| {
        (6..=10).contains(&text.len())
            && text.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
    };
    match owner.rsplit_once('-') {
        Some((deployment, hash)) if is_hash(hash) => deployment,
        _ => owner,
    }
}

fn problem(class: &Value, owner: &Installation, workloads: &BTreeSet<String>) -> Problem {
    let Installation { name, instance, .. } = owner;
    // Any account that may create Services can add workloads.
    let mut shown = workloads.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if workloads.len() > SHOWN {
        shown += &format!(" and {} more", workloads.len() - SHOWN);
    }
    Problem {
        kind: "IngressClass".to_owned(),
        key: class["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        field: "spec.controller".to_owned(),
        what: format!(
            "another controller serves this class: {shown} ({name}, instance {instance}). It answers the requests that reach it, and may write the \
             status of the same Ingresses"
        ),
        wanted: "one controller of a class: another --controller-class and --ingress-class for one of them, or the other one removed".to_owned(),
        severity: Some(Severity::Differs),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own(pod: &str) -> Controller {
        Controller { class: "k8s.io/ingress-nginx".into(), namespace: "edge".into(), pod: pod.into() }
    }

    fn slice(namespace: &str, pods: &[(&str, bool)]) -> Value {
        let endpoints = pods.iter().map(|(name, ready)| {
            json!({ "conditions": { "ready": ready }, "targetRef": { "kind": "Pod", "name": name } })
        });
        json!({ "metadata": { "namespace": namespace }, "endpoints": endpoints.collect::<Vec<_>>() })
    }

    #[test]
    fn ready_pods_of_another_workload_are_another_controller() {
        let pod = "portolan-controller-7d9f8bcd45-x2k9z";
        for (namespace, other, ready, wanted) in [
            ("edge", "portolan-controller-7d9f8bcd45-b7tqw", true, None),
            // Another ReplicaSet, in a rollout.
            ("edge", "portolan-controller-6c5d4bf9z8-b7tqw", true, None),
            (
                "edge",
                "ingress-nginx-controller-6c5d4bf9z8-b7tqw",
                true,
                Some("edge/ingress-nginx-controller"),
            ),
            ("edge", "ingress-nginx-controller-6c5d4bf9z8-b7tqw", false, None),
            // The same release name in another namespace.
            ("other", "portolan-controller-7d9f8bcd45-b7tqw", true, Some("other/portolan-controller")),
            ("edge", "ingress-nginx-b7tqw", true, Some("edge/ingress-nginx")),
        ] {
            let slices = [slice("edge", &[(pod, true)]), slice(namespace, &[(other, ready)])];
            let found: Vec<_> = other_workloads(&slices, &own(pod)).into_iter().collect();
            assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{namespace}/{other}");
        }
    }

    #[test]
    fn a_report_names_three_workloads_at_most() {
        let class =
            json!({ "metadata": { "name": "nginx", "labels": { NAME: "ingress-nginx", INSTANCE: "edge" } } });
        let owner = Installation::of(&class).unwrap();
        let workloads = |count: usize| (0..count).map(|number| format!("edge/w{number}")).collect();
        for (count, wanted) in
            [(1, "edge/w0 ("), (3, "edge/w0, edge/w1, edge/w2 ("), (5, "edge/w2 and 2 more (")]
        {
            let what = problem(&class, &owner, &workloads(count)).what;
            assert!(what.contains(wanted), "{what}");
        }
    }

    #[test]
    fn the_workload_is_the_name_without_what_kubernetes_adds() {
        for (pod, wanted) in [
            ("portolan-controller-7d9f8bcd45-x2k9z", "portolan-controller"),
            ("node-local-dns-x2k9z", "node-local-dns"),
            ("edge-x2k9z", "edge"),
            ("static", "static"),
            ("", ""),
        ] {
            assert_eq!(workload(pod), wanted, "{pod}");
        }
    }

    #[test]
    fn slices_are_listed_where_the_installation_is_and_reading_is_permitted() {
        let class = |annotations: Value| json!({ "metadata": { "labels": { NAME: "ingress-nginx", INSTANCE: "edge" }, "annotations": annotations } });
        let helm = Installation::of(&class(json!({ HELM_NAMESPACE: "web" }))).unwrap();
        let plain = Installation::of(&class(Value::Null)).unwrap();
        let selector = "?labelSelector=app.kubernetes.io/name=ingress-nginx,app.kubernetes.io/instance=edge,app.kubernetes.io/component=controller";
        for (installation, only, wanted) in [
            (&helm, None, Some("/namespaces/web/endpointslices")),
            (&helm, Some("web"), Some("/namespaces/web/endpointslices")),
            (&helm, Some("shop"), None),
            (&plain, None, Some("/endpointslices")),
            (&plain, Some("shop"), Some("/namespaces/shop/endpointslices")),
        ] {
            let wanted = wanted.map(|path| format!("/apis/discovery.k8s.io/v1{path}{selector}"));
            assert_eq!(installation.slices_path(only), wanted, "{installation:?} {only:?}");
        }
        assert_eq!(Installation::of(&json!({ "metadata": { "name": "nginx" } })), None);
    }
}
