//! `portolan explain NAME`: starts the chains of a Corefile without serving them, and runs a query through them.

use std::sync::Arc;

use cluster::{Current, Kinds};
use config::Corefile;
use dns_chain::{ApiConnection, ClusterSource, PluginContext, Servers, offline};
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex};
use explain::{ExplainedName, Tree};
use sources::Cluster;
use sources::kube::{Access, RequestLimiter, Selection};

use super::{listed, origin, unread};
use crate::args::{ExplainArgs, NameClient};
use crate::built_in_corefile::built_in;
use crate::clusters::{self, ClusterOrigin};
use crate::command_error::CommandError;
use crate::dns::{self, CorefileSource};
use crate::explained_cluster::{client, cluster_zone, objects};
use crate::runtime::Runtime;

/// The port that is explained where a Corefile has several.
const DNS_PORT: u16 = 53;

/// Explains a query: its name, type and client.
pub(super) async fn explain(
    (name, qtype, from): (&str, u16, &NameClient),
    args: &ExplainArgs,
    runtime: &Runtime,
) -> Result<Tree, CommandError> {
    let origin = origin(args);
    let limiter = RequestLimiter::default();
    let cluster = clusters::open(&origin, Selection::default(), Kinds::default(), limiter, runtime).await?;
    let mut notes = Vec::new();
    let mut corefile = corefile(args, &origin, &mut notes).await?;
    if matches!(origin, ClusterOrigin::Server(_)) && !args.sends {
        offline::replace_upstream_files(&mut corefile);
        notes.push("files of the Corefile are read on this machine; 192.0.2.53 stands for the servers of the Pod's resolv.conf".to_owned());
    }
    let removed = offline::remove_listeners(&mut corefile);
    if !removed.is_empty() {
        notes.push(format!("not started for an explanation: {}", removed.join(", ")));
    }
    let zone = cluster_zone(&corefile);
    let context = PluginContext {
        cluster: Arc::new(OneCluster(cluster.clone())),
        ..offline::context(env!("CARGO_PKG_VERSION"), runtime.handle.clone())
    };
    let mut servers =
        dns_chain::build(&corefile, &context).map_err(|errors| CommandError::usage(errors.to_string()))?;
    // Pods are listed only if the query is explained for one.
    let pods = matches!(from, NameClient::Pod(..)).then(|| cluster.project(PodIndex));
    listed(&cluster, Kinds::default()).await?;
    let _guards = servers.begin().await.map_err(CommandError::outside)?;
    let routes = routes(&servers)?;
    let query = ExplainedName {
        name: name.to_owned(),
        qtype,
        sends: args.sends,
        ..client(from, &zone, Some(&cluster))
    };
    drop(pods);
    let describe = |namespace: &str, name: &str| cluster.read(|snapshot| objects(snapshot, namespace, name));
    let tree = explain::dns::explain(&query, &routes, &describe).await;
    Ok(tree.with_all(notes).with_all(unread(&cluster)))
}

/// The Corefile of `--corefile`, of the cluster, or the built-in one.
async fn corefile(
    args: &ExplainArgs,
    origin: &ClusterOrigin,
    notes: &mut Vec<String>,
) -> Result<Corefile, CommandError> {
    let source = match (&args.corefile, origin) {
        (Some(path), _) => CorefileSource::File(path.clone()),
        (None, ClusterOrigin::Server(access)) => match of_cluster(access).await {
            Ok(text) => CorefileSource::Text("kube-system/coredns", text.into()),
            Err(reason) => {
                notes.push(format!(
                    "not known: the Corefile of the cluster cannot be read from ConfigMap kube-system/coredns: {reason}; \
                     the built-in one was used, --corefile names another"
                ));
                CorefileSource::Text("built-in Corefile", built_in().into())
            }
        },
        (None, _) => CorefileSource::Text("built-in Corefile", built_in().into()),
    };
    let load = dns::load(source, DNS_PORT);
    load().map_err(|errors| CommandError::usage(errors.to_string()))
}

/// The Corefile in the ConfigMap of kubeadm and most distributions.
async fn of_cluster(access: &Access) -> Result<String, String> {
    let client = sources::kube::client(access).await.map_err(|error| error.to_string())?;
    let request = http::Request::get("/api/v1/namespaces/kube-system/configmaps/coredns")
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let map: serde_json::Value = client.request(request).await.map_err(|error| telemetry::causes(&error))?;
    map["data"]["Corefile"].as_str().map(str::to_owned).ok_or_else(|| "it has no key Corefile".to_owned())
}

/// The routes of port 53, or of the first port.
fn routes(servers: &Servers) -> Result<Arc<dns_chain::ZoneRoutes>, CommandError> {
    let listeners = &servers.listeners;
    let found = listeners.iter().find(|listener| listener.listen.port == DNS_PORT).or(listeners.first());
    found
        .map(|listener| listener.routes.clone())
        .ok_or_else(|| CommandError::usage("the Corefile has no server block"))
}

/// The cluster that is explained, whatever API server the Corefile names.
struct OneCluster(Cluster);

impl ClusterSource for OneCluster {
    fn project(&self, zone: ZoneIndex, _: &ApiConnection) -> Result<Current<Zone>, String> {
        Ok(self.0.project(zone))
    }

    fn nodes(&self, _: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.0.project(NodeIndex))
    }

    fn pods(&self, _: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.0.project(PodIndex))
    }

    fn refused(&self, _: &ApiConnection) -> Kinds {
        let statuses = self.0.statuses().borrow().clone();
        let is_refused =
            |kind: &cluster::Kind| matches!(statuses.get(*kind), sources::WatchStatus::Forbidden { .. });
        Kinds::of(&cluster::Kind::ALL.into_iter().filter(is_refused).collect::<Vec<_>>())
    }
}
