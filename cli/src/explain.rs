//! `portolan explain`: why a request or a query goes where it goes.

mod followed_request;
mod names;
mod remote;

use std::time::Duration;

use cluster::{Cache, Current, Kind, Kinds};
use explain::{ExplainedRequest, ExplainedStream, Tree};
use ingress_routes::{CertIndex, GeoDatabases, PoolIndex, RouteIndex, RouteOptions, StreamIndex};
use sources::kube::{Access, RequestLimiter, Selection};
use sources::{Cluster, WatchStatus};

use crate::args::{self, ExplainArgs, ExplainSubject, IngressArgs};
use crate::clusters::{self, ClusterOrigin};
use crate::command_error::CommandError;
use crate::ingress::table_options;
use crate::runtime::Runtime;
use crate::{live, output};

/// How long the lists of an API server may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The port of the demo's Pods.
const DEMO_PORT: u16 = 8080;

/// Runs the command.
///
/// # Errors
/// When flags are invalid (exit code 2), or the cluster cannot be read (exit code 1).
pub fn run(args: &ExplainArgs) -> Result<(), CommandError> {
    if let Some(admin) = &args.admin {
        let tree = remote::explain(admin, args)?;
        print(&tree, args.json);
        return Ok(());
    }
    let controller = args::read_controller_flags(&args.flags)?;
    let (runtime, executor, _fatal) = Runtime::start()?;
    let explained = executor.block_on(async {
        match &args.subject {
            ExplainSubject::Request(request) => explain(request, args, &controller, &runtime).await,
            ExplainSubject::Stream(stream) => explain_stream(stream, args, &controller, &runtime).await,
            ExplainSubject::Name { name, qtype, from } => {
                names::explain((name, *qtype, from), args, &runtime).await
            }
        }
    });
    executor.shutdown_background();
    print(&explained?, args.json);
    Ok(())
}

fn print(tree: &Tree, as_json: bool) {
    output::print(if as_json { tree.to_json() } else { tree.to_text() });
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
    request: &ExplainedRequest,
    args: &ExplainArgs,
    controller: &IngressArgs,
    runtime: &Runtime,
) -> Result<Tree, CommandError> {
    let (cluster, options) = open(args, controller, runtime).await?;
    let certs = cluster.project(CertIndex::new(options.clone()));
    let pools = cluster.project(PoolIndex::new(options.clone()));
    let table = cluster.project(RouteIndex::new(options.clone()));
    listed(&cluster, Kinds::default()).await?;
    let unread = unread(&cluster);
    // The files are those of another process.
    let geo = Current::new(GeoDatabases::default());
    if unread.is_empty() {
        return Ok(live::explain(request, &cluster, (&table, &pools, &certs, &geo), &options));
    }
    // The views of a cluster wait for every kind.
    let mut cache = Cache::default();
    cache.apply(cluster.read(clusters::ingress_events), 0);
    let certs = cache.project(CertIndex::new(options.clone()));
    let pools = cache.project(PoolIndex::new(options.clone()));
    let table = cache.project(RouteIndex::new(options.clone()));
    Ok(live::explain(request, &cluster, (&table, &pools, &certs, &geo), &options).with_all(unread))
}

/// Explains a TCP or UDP service.
async fn explain_stream(
    stream: &ExplainedStream,
    args: &ExplainArgs,
    controller: &IngressArgs,
    runtime: &Runtime,
) -> Result<Tree, CommandError> {
    let (cluster, options) = open(args, controller, runtime).await?;
    let streams = cluster.project(StreamIndex::new(options.clone()));
    listed(&cluster, Kinds::default()).await?;
    let unread = unread(&cluster);
    if unread.is_empty() {
        return Ok(live::explain_stream(stream, &streams));
    }
    let mut cache = Cache::default();
    cache.apply(cluster.read(clusters::ingress_events), 0);
    let streams = cache.project(StreamIndex::new(options));
    Ok(live::explain_stream(stream, &streams).with_all(unread))
}

/// Opens the cluster for the projections of the proxy.
async fn open(
    args: &ExplainArgs,
    controller: &IngressArgs,
    runtime: &Runtime,
) -> Result<(Cluster, RouteOptions), CommandError> {
    let origin = origin(args);
    let selection = Selection {
        namespace: controller.namespace.clone(),
        config_maps: controller.config_maps(),
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
    Ok((cluster, options))
}

/// Waits for the lists of the cluster.
async fn listed(cluster: &Cluster, required: Kinds) -> Result<(), CommandError> {
    if tokio::time::timeout(TIMEOUT, clusters::listed(cluster, required)).await.is_ok() {
        return Ok(());
    }
    let waiting = clusters::unlisted(cluster, required).join("\n  ");
    Err(CommandError::outside(format!(
        "the cluster was not listed within {}s:\n  {waiting}",
        TIMEOUT.as_secs()
    )))
}

/// The kinds that could not be listed.
fn unread(cluster: &Cluster) -> Vec<String> {
    let statuses = cluster.statuses().borrow().clone();
    let is_unread = |kind: &Kind| matches!(statuses.get(*kind), WatchStatus::Forbidden { .. });
    let unread = Kind::ALL.into_iter().filter(is_unread);
    unread.map(|kind| format!("not known: {kind} cannot be listed: {}", statuses.get(kind))).collect()
}
