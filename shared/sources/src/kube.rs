//! Objects from a Kubernetes API server: each kind that is wanted is listed, then watched, for as long as it takes.

mod backoff;
mod api_metrics;
mod error;
mod limiter;
mod next_request;
mod split;

mod access;
mod event;
mod scope;

mod api;

mod reflector;

use std::collections::BTreeMap;

use cluster::{Key, Kind};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use telemetry::Reports;
use telemetry::metrics::Registry;
use tokio::task::{AbortHandle, JoinError, JoinSet};

pub use access::{Access, AccessError, ClientTls};
pub use limiter::{RequestLimiter, RequestLimits};

use crate::source::{EventSink, Source, WriterStopped};
use api::ApiClient;
use api_metrics::ApiMetrics;
use reflector::Reflector;
use scope::ResourceScope;

/// Which objects are of interest.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this namespace (`--watch-namespace`); cluster-scoped kinds are still read in whole.
    pub namespace: Option<String>,
    /// A label selector for Services, EndpointSlices and Pods (`labels` of CoreDNS's `kubernetes`); empty for all.
    pub labels: String,
    /// The one ConfigMap that is read (`--configmap`), in whichever namespace; all where there is none.
    pub config_map: Option<Key>,
}

/// A cluster behind an API server.
///
/// Kinds are followed side by side, each over a connection of its own, and only while somebody wants them. What fails is
/// tried again after a pause; what RBAC forbids is reported with verb and resource and asked for again, and no kind
/// waits for another. Nothing that was read is forgotten because the server is away.
pub struct KubeSource {
    api: ApiClient,
    selection: Selection,
    reports: Reports,
}

impl KubeSource {
    /// Prepares access. Reads files and may run a credential plugin, but does not connect: a server that is away is
    /// waited for.
    pub async fn new(access: &Access, selection: Selection, reports: &Reports) -> Result<Self, AccessError> {
        Ok(Self { api: ApiClient::new(access).await?, selection, reports: reports.clone() })
    }

    /// Counts and times the requests to the API server in that registry, under CoreDNS's names.
    #[must_use]
    pub fn with_metrics(mut self, registry: &Registry) -> Self {
        self.api.metrics = Some(ApiMetrics::new(registry));
        self
    }

    /// Asks the API server at that pace, which may change.
    #[must_use]
    pub fn with_limiter(mut self, limiter: RequestLimiter) -> Self {
        self.api.limiter = limiter;
        self
    }

    /// Where the API server is.
    pub fn server(&self) -> &str {
        &self.api.host
    }

    async fn follow(self, sink: EventSink) -> Result<(), WriterStopped> {
        let mut wanted = sink.wanted();
        let mut followed: BTreeMap<Kind, AbortHandle> = BTreeMap::new();
        let mut followers = JoinSet::new();
        loop {
            let kinds = *wanted.borrow_and_update();
            let unread: Vec<_> = followed.keys().copied().filter(|kind| !kinds.contains(*kind)).collect();
            for kind in unread {
                let Some(reflector) = followed.remove(&kind) else { continue };
                reflector.abort();
                // What it has sent until now must come before what follows.
                while !reflector.is_finished()
                    && let Some(one) = followers.join_next().await
                {
                    ended(one)?;
                }
                reflector::forget(&self.reports, kind);
                sink.forget(kind).await?;
            }
            for kind in kinds.iter().filter(|kind| !followed.contains_key(kind)).collect::<Vec<_>>() {
                let scope = ResourceScope::new(kind, &self.selection);
                let reflector = Reflector::new(self.api.clone(), scope, sink.clone(), self.reports.clone());
                followed.insert(kind, followers.spawn(reflector.run()));
            }
            tokio::select! {
                changed = wanted.changed() => changed.map_err(|_| WriterStopped)?,
                () = sink.stopped() => return Err(WriterStopped),
                Some(one) = followers.join_next() => ended(one)?,
            }
        }
    }
}

/// A follower ends when nobody reads its kind, with the writer, or by a fault of this program, which must not go unseen.
fn ended(reflector: Result<WriterStopped, JoinError>) -> Result<(), WriterStopped> {
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
