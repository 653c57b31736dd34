//! `portolan explain`: why a request goes where it goes.

use std::time::Duration;

use cluster::Kinds;
use ingress_routes::{CertIndex, PoolIndex, RouteIndex, RouteOptions};
use sources::kube::{Access, RequestLimiter, Selection};

use crate::args::{self, ExplainArgs, IngressArgs};
use crate::clusters::{self, ClusterOrigin};
use crate::command_error::CommandError;
use crate::ingress::table_options;
use crate::runtime::Runtime;
use crate::{edge, live, output};

/// How long the lists of an API server may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The port of the demo's Pods.
const DEMO_PORT: u16 = 8080;

/// Runs the command.
///
/// # Errors
/// When flags are invalid (exit code 2), or the cluster cannot be read (exit code 1).
pub fn run(args: &ExplainArgs) -> Result<(), CommandError> {
    let controller = args::read_controller_flags(&args.flags)?;
    let (runtime, executor, _fatal) = Runtime::start()?;
    let explained = executor.block_on(explain(args, &controller, &runtime));
    executor.shutdown_background();
    output::print(explained?);
    Ok(())
}

/// The cluster: by default that of the kubeconfig.
fn origin(args: &ExplainArgs) -> ClusterOrigin {
    if args.demo {
        return ClusterOrigin::Demo(DEMO_PORT);
    }
    let given = ClusterOrigin::from_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    given.unwrap_or(ClusterOrigin::Server(Access::Kubeconfig { file: None, context: None }))
}

async fn explain(
    args: &ExplainArgs,
    controller: &IngressArgs,
    runtime: &Runtime,
) -> Result<String, CommandError> {
    let origin = origin(args);
    let selection = Selection {
        namespace: controller.namespace.clone(),
        config_maps: controller.config_map.iter().cloned().collect(),
        tls_secrets_only: controller.tls_secrets_only,
        ..Selection::default()
    };
    let cluster =
        clusters::open(&origin, selection, Kinds::default(), RequestLimiter::default(), runtime).await?;
    let is_server = matches!(origin, ClusterOrigin::Server(_));
    let options = RouteOptions {
        admit_default_class: !is_server,
        // As in `portolan up`: manifests may have been written for one controller.
        watch_ingress_without_class: controller.without_class || !is_server,
        ..table_options(controller)
    };
    let certs = cluster.project(CertIndex::new(options.clone()));
    let pools = cluster.project(PoolIndex::new(options.clone()));
    let table = cluster.project(RouteIndex::new(options.clone()));
    if tokio::time::timeout(TIMEOUT, clusters::listed(&cluster, edge::REQUIRED)).await.is_err() {
        let waiting = clusters::unlisted(&cluster, edge::REQUIRED).join("\n  ");
        return Err(CommandError::outside(format!(
            "the cluster was not listed within {}s:\n  {waiting}",
            TIMEOUT.as_secs()
        )));
    }
    let tree = live::explain(&args.request, &cluster, (&table, &pools, &certs), &options);
    Ok(if args.json { tree.to_json() } else { tree.to_text() })
}
