//! Opens clusters (manifests or an API server). Users of the same cluster share one watch cache.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::{
    ConfigMap, Current, EndpointSlice, Event, Ingress, IngressClass, Kind, Kinds, Namespace, Object,
    Resource, Secret, Service, Snapshot,
};
use dns_chain::ApiConnection;
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex};
use sources::kube::{Access, ClientTls, KubeSource, RequestLimiter, RequestLimits, Selection};
use sources::manifests::ManifestSource;
use sources::{Cluster, Source, WatchStatus};

use crate::command_error::CommandError;
use crate::demo;
use crate::runtime::Runtime;

/// The source of Kubernetes objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterOrigin {
    /// The demo cluster, with its web Pods on this port.
    Demo(u16),
    /// Manifests in these folders and files.
    Manifests(Vec<PathBuf>),
    /// An API server.
    Server(Access),
}

impl ClusterOrigin {
    /// The source given on the command line; `None` if none is given.
    pub fn from_flags(
        manifests: &[PathBuf],
        kubeconfig: Option<&PathBuf>,
        context: Option<&String>,
    ) -> Option<Self> {
        if !manifests.is_empty() {
            return Some(Self::Manifests(manifests.to_vec()));
        }
        (kubeconfig.is_some() || context.is_some()).then(|| {
            Self::Server(Access::Kubeconfig { file: kubeconfig.cloned(), context: context.cloned() })
        })
    }
}

/// Opens a cluster: starts the writer of its watch cache and its source. An API server does not have to be reachable yet.
/// Manifests are not used before every object of the `complete` kinds is known.
///
/// # Errors
/// When a path of manifests does not exist or a kubeconfig is invalid.
pub async fn open(
    origin: &ClusterOrigin,
    selection: Selection,
    complete: Kinds,
    limiter: RequestLimiter,
    runtime: &Runtime,
) -> Result<Cluster, CommandError> {
    let source: Box<dyn Source> = match origin {
        ClusterOrigin::Demo(port) => {
            Box::new(ManifestSource::embedded(demo::manifests(*port), &runtime.reports))
        }
        ClusterOrigin::Manifests(paths) => {
            let manifests = ManifestSource::new(paths.iter().cloned(), &runtime.reports);
            let manifests = manifests.map_err(|error| CommandError::usage(format!("--cluster: {error}")))?;
            Box::new(manifests.with_complete(complete))
        }
        ClusterOrigin::Server(access) => {
            let kube = KubeSource::new(access, selection, &runtime.reports).await;
            Box::new(
                kube.map_err(|error| CommandError::usage(error.to_string()))?
                    .with_metrics(&runtime.metrics)
                    .with_limiter(limiter),
            )
        }
    };
    let cluster = Cluster::start(&runtime.metrics).map_err(|error| {
        CommandError::outside(format!("cannot start the thread of the watch cache: {error}"))
    })?;
    runtime.handle.spawn(source.run(cluster.sink()));
    let (watched, runtime) = (cluster.clone(), runtime.clone());
    runtime.clone().handle.spawn(async move {
        watched.stopped().await;
        runtime.request_shutdown(
            "the thread of the watch cache has ended, and changes of the cluster would not take effect",
        );
    });
    Ok(cluster)
}

/// Waits until every watched kind has been listed and its views are published. Kinds that RBAC forbids to list are skipped,
/// unless they are in `required`.
pub async fn listed(cluster: &Cluster, required: Kinds) {
    let mut statuses = cluster.statuses();
    loop {
        statuses.borrow_and_update();
        if unlisted(cluster, required).is_empty() {
            return;
        }
        // A status changes when the source has sent a list; the writer applies the list a moment later.
        let _ = tokio::time::timeout(Duration::from_millis(20), statuses.changed()).await;
    }
}

/// The objects of a snapshot that the ingress reads, as events that say that all kinds are listed: a view of what could be read.
pub fn ingress_events(snapshot: &Snapshot) -> Vec<Event> {
    fn all<T: Resource>(snapshot: &Snapshot, object: fn(Arc<T>) -> Object) -> Vec<Event> {
        snapshot.iter::<T>().map(|found| Event::Apply(object(found.clone()))).collect()
    }
    let mut events = all::<Ingress>(snapshot, Object::Ingress);
    events.extend(all::<IngressClass>(snapshot, Object::IngressClass));
    events.extend(all::<ConfigMap>(snapshot, Object::ConfigMap));
    events.extend(all::<Secret>(snapshot, Object::Secret));
    events.extend(all::<Namespace>(snapshot, Object::Namespace));
    events.extend(all::<Service>(snapshot, Object::Service));
    events.extend(all::<EndpointSlice>(snapshot, Object::EndpointSlice));
    events.extend(Kind::ALL.map(Event::Synced));
    events
}

/// The kinds that [`listed`] waits for: a line for each, with its status.
pub fn unlisted(cluster: &Cluster, required: Kinds) -> Vec<String> {
    let wanted = *cluster.sink().wanted().borrow();
    let statuses = cluster.statuses().borrow().clone();
    let is_listed = |kind: Kind| cluster.read(|snapshot| snapshot.synced(Kinds::of(&[kind])));
    let waits = |kind: Kind| match statuses.get(kind) {
        WatchStatus::Forbidden { .. } => required.contains(kind) && !is_listed(kind),
        WatchStatus::Missing(_) => false,
        _ => !is_listed(kind),
    };
    let waiting = wanted.iter().filter(|kind| waits(*kind));
    waiting.map(|kind| format!("{kind}: {}", statuses.get(kind))).collect()
}

/// The clusters of a Corefile's `kubernetes` plugins: one for each distinct connection. They stay open over reloads.
pub struct Clusters {
    flags: Option<ClusterOrigin>,
    runtime: Runtime,
    open: Mutex<Vec<OpenCluster>>,
}

/// An open cluster with its connection.
struct OpenCluster {
    connection: ApiConnection,
    cluster: Cluster,
    limiter: RequestLimiter,
}

impl Clusters {
    /// Creates an empty set. `flags` is the source for plugins that name no API server; if it is manifests, it is the source of all
    /// plugins.
    pub fn new(flags: Option<ClusterOrigin>, runtime: &Runtime) -> Self {
        Self { flags, runtime: runtime.clone(), open: Mutex::default() }
    }

    /// Creates a set with an open cluster, for plugins that name no API server.
    pub fn with_open(
        cluster: Cluster,
        limiter: RequestLimiter,
        flags: ClusterOrigin,
        runtime: &Runtime,
    ) -> Self {
        cluster.measure_programming(&runtime.metrics);
        let clusters = Self::new(Some(flags), runtime);
        clusters.lock().push(OpenCluster { connection: ApiConnection::default(), cluster, limiter });
        clusters
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<OpenCluster>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn origin(&self, connection: &ApiConnection) -> ClusterOrigin {
        if let Some(manifests @ (ClusterOrigin::Demo(_) | ClusterOrigin::Manifests(_))) = &self.flags {
            return manifests.clone();
        }
        if let Some((file, context)) = &connection.kubeconfig {
            return ClusterOrigin::Server(Access::Kubeconfig {
                file: Some(file.into()),
                context: context.clone(),
            });
        }
        if let Some(url) = &connection.endpoint {
            let tls = connection.tls.as_ref().map(|[certificate, key, authority]| ClientTls {
                identity: Some((certificate.into(), key.into())),
                authority: Some(authority.into()),
            });
            return ClusterOrigin::Server(Access::Endpoint {
                url: url.clone(),
                tls: tls.unwrap_or_default(),
            });
        }
        self.flags.clone().unwrap_or(ClusterOrigin::Server(Access::InCluster))
    }
}

impl Clusters {
    /// The cluster of a connection. It is opened with the first plugin that has the connection.
    fn opened(&self, connection: &ApiConnection) -> Result<Cluster, String> {
        let mut clusters = self.lock();
        if let Some(open) = clusters.iter().find(|open| open.connection.same_source(connection)) {
            return Ok(open.cluster.clone());
        }
        let limiter = RequestLimiter::default();
        limiter.set(limits(connection));
        let origin = self.origin(connection);
        let labels = connection.labels.clone().unwrap_or_default();
        if !labels.is_empty() && !matches!(origin, ClusterOrigin::Server(_)) {
            return Err(
                "labels: the API server selects objects by label, and --cluster has no API server".to_owned()
            );
        }
        let selection = Selection { labels, ..Selection::default() };
        let opening = open(&origin, selection, Kinds::default(), limiter.clone(), &self.runtime);
        let opened = self.runtime.handle.block_on(opening);
        let cluster = opened.map_err(|failure| failure.message)?;
        cluster.measure_programming(&self.runtime.metrics);
        clusters.push(OpenCluster { connection: connection.clone(), cluster: cluster.clone(), limiter });
        Ok(cluster)
    }
}

impl dns_chain::ClusterSource for Clusters {
    fn project(&self, zone: ZoneIndex, connection: &ApiConnection) -> Result<Current<Zone>, String> {
        Ok(self.opened(connection)?.project(zone))
    }

    fn nodes(&self, connection: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.opened(connection)?.project(NodeIndex))
    }

    fn pods(&self, connection: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.opened(connection)?.project(PodIndex))
    }

    /// Plugins with the same connection share one client; the limits of the last one apply.
    fn limit(&self, connection: &ApiConnection) {
        if let Some(open) = self.lock().iter().find(|open| open.connection.same_source(connection)) {
            open.limiter.set(limits(connection));
        }
    }

    fn refused(&self, connection: &ApiConnection) -> Kinds {
        let clusters = self.lock();
        let Some(open) = clusters.iter().find(|open| open.connection.same_source(connection)) else {
            return Kinds::default();
        };
        let statuses = open.cluster.statuses();
        let statuses = statuses.borrow();
        let is_refused = |kind: &Kind| matches!(statuses.get(*kind), WatchStatus::Forbidden { .. });
        Kinds::of(&Kind::ALL.into_iter().filter(is_refused).collect::<Vec<_>>())
    }
}

fn limits(connection: &ApiConnection) -> RequestLimits {
    let dns_chain::ApiLimits { qps, burst, in_flight } = connection.limits;
    RequestLimits { qps, burst, in_flight }
}
