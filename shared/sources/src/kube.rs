//! Objects from a Kubernetes API server: each kind that is read is listed and then watched.

mod api_metrics;
mod backoff;
mod connection_error;
mod limiter;
mod next_request;
mod object_problems;

mod kubeconfig;

mod access;
mod scope;

mod api;
mod server_state;

mod reflector;

use std::collections::BTreeMap;

use cluster::{Key, Kind};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use telemetry::Reports;
use telemetry::metrics::Registry;
use tokio::task::{AbortHandle, JoinError, JoinSet};

pub use access::{Access, AccessError, ClientTls, client};
pub use limiter::{RequestLimiter, RequestLimits};

use crate::source::{EventSink, Source, WriterStopped};
use access::Remedy;
use api::ApiClient;
use api_metrics::ApiMetrics;
use reflector::Reflector;
use scope::ResourceScope;
use server_state::ServerState;

/// Which objects are read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this namespace (`--watch-namespace`); all objects of cluster-scoped kinds are still read.
    pub namespace: Option<String>,
    /// A label selector for Services, EndpointSlices and Pods (`labels` of CoreDNS's `kubernetes`); empty for all.
    pub labels: String,
    /// The ConfigMaps that flags name (`--configmap`, `--tcp-services-configmap`, `--udp-services-configmap`). If one is outside of
    /// `namespace`, no others are read: it alone, all of its namespace if there are several, or all of the cluster if they are in several
    /// namespaces.
    pub config_maps: Vec<Key>,
    /// Only Secrets of the type `kubernetes.io/tls` (`--secrets=tls`).
    pub tls_secrets_only: bool,
}

/// The scope of problem reports.
const SCOPE: &str = "kube";

/// A cluster behind an API server.
///
/// Each kind is read over its own connection, and only while a projection reads it. A request that fails is repeated
/// after a pause; a request that RBAC forbids is reported with verb and resource and repeated. No kind waits for another.
/// While the server is unreachable, the objects that were read are kept.
pub struct KubeSource {
    api: ApiClient,
    server: ServerState,
    selection: Selection,
    reports: Reports,
}

impl KubeSource {
    /// Prepares access. Reads files and may run a credential plugin, but does not connect: the server may become reachable
    /// later.
    pub async fn new(access: &Access, selection: Selection, reports: &Reports) -> Result<Self, AccessError> {
        let api = ApiClient::new(access).await?;
        let server = ServerState::new(api.url.clone(), Remedy::new(access), reports.clone());
        Ok(Self { api, server, selection, reports: reports.clone() })
    }

    /// Registers all metrics of requests to API servers, so that they can be listed without one.
    pub fn register_metrics(registry: &Registry) {
        ApiMetrics::new(registry);
    }

    /// Counts and times the requests to the API server in that registry, under CoreDNS's names.
    #[must_use]
    pub fn with_metrics(mut self, registry: &Registry) -> Self {
        self.api.metrics = Some(ApiMetrics::new(registry));
        self
    }

    /// Limits the requests to the API server. The limits may change later.
    #[must_use]
    pub fn with_limiter(mut self, limiter: RequestLimiter) -> Self {
        self.api.limiter = limiter;
        self
    }

    async fn follow(self, sink: EventSink) -> Result<(), WriterStopped> {
        let mut wanted = sink.wanted();
        let mut running: BTreeMap<Kind, AbortHandle> = BTreeMap::new();
        let mut reflectors = JoinSet::new();
        loop {
            let kinds = *wanted.borrow_and_update();
            let unread: Vec<_> = running.keys().copied().filter(|kind| !kinds.contains(*kind)).collect();
            for kind in unread {
                let Some(reflector) = running.remove(&kind) else { continue };
                reflector.abort();
                // Its last events must be queued before `Forget`.
                while !reflector.is_finished()
                    && let Some(reflector) = reflectors.join_next().await
                {
                    check_ended(reflector)?;
                }
                reflector::forget(&self.reports, &self.server, kind);
                sink.forget(kind).await?;
            }
            for kind in kinds.iter().filter(|kind| !running.contains_key(kind)).collect::<Vec<_>>() {
                running.insert(kind, reflectors.spawn(self.reflector(kind, &sink).run()));
            }
            tokio::select! {
                changed = wanted.changed() => changed.map_err(|_| WriterStopped)?,
                () = sink.stopped() => return Err(WriterStopped),
                Some(reflector) = reflectors.join_next() => check_ended(reflector)?,
            }
        }
    }

    fn reflector(&self, kind: Kind, sink: &EventSink) -> Reflector {
        sink.set_connected(kind, false);
        let scope = ResourceScope::new(kind, &self.selection);
        let fallback = scope.fallback(&self.selection);
        Reflector::new(
            self.api.clone(),
            self.server.clone(),
            (scope, fallback),
            sink.clone(),
            self.reports.clone(),
        )
    }
}

/// Handles the end of a reflector: its kind is no longer read, the writer stopped, or it panicked, and then the panic
/// continues here.
fn check_ended(reflector: Result<WriterStopped, JoinError>) -> Result<(), WriterStopped> {
    match reflector {
        Ok(stopped) => Err(stopped),
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Source for KubeSource {
    fn run(self: Box<Self>, sink: EventSink) -> BoxFuture<'static, ()> {
        self.follow(sink).map(|_stopped| ()).boxed()
    }
}
