//! Starts what writes to the cluster: the leader election, the status of Ingresses, Events, and the admission webhook.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingress_controller::{ControllerThread, ControllerViews};
use ingress_proxy::ProxyViews;
use ingress_routes::RouteOptions;
use sources::Cluster;

use crate::args::IngressArgs;
use crate::clusters::ClusterOrigin;
use crate::command_error::CommandError;
use crate::runtime::Runtime;

/// The running controller; nothing for a cluster of manifests, which cannot be written to.
pub struct ClusterWriter(Option<ControllerThread>);

impl ClusterWriter {
    /// Stops after the grace period.
    pub async fn stop(self, grace: Duration) {
        if let Some(controller) = self.0 {
            controller.stop(grace).await;
        }
    }
}

/// Starts the controller.
///
/// # Errors
/// When its thread cannot be started, or the webhook has no address or certificate.
pub fn start(
    origin: &ClusterOrigin,
    args: &IngressArgs,
    routes: &RouteOptions,
    cluster: &Cluster,
    views: &ProxyViews,
    runtime: &Runtime,
) -> Result<ClusterWriter, CommandError> {
    let ClusterOrigin::Server(access) = origin else { return Ok(ClusterWriter(None)) };
    let (table, pools, certs) = (views.table.clone(), views.pools.clone(), views.certs.clone());
    let problems = move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (table, pools, certs) = (table.load_full(), pools.load_full(), certs.load_full());
        table.problems(now).chain(pools.problems()).chain(certs.problems(now)).collect()
    };
    let views =
        ControllerViews { table: views.table.clone(), problems: Arc::new(problems), options: routes.clone() };
    let options = args.controller.clone();
    ControllerThread::start(
        access.clone(),
        options,
        cluster.clone(),
        views,
        &runtime.metrics,
        &runtime.reports,
    )
    .map(|controller| ClusterWriter(Some(controller)))
    .map_err(|error| CommandError::outside(error.to_string()))
}
