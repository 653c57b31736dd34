//! The thread of the controller, from its start to its end.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use cluster::Current;
use net::BindError;
use rustls::sign::CertifiedKey;
use sources::Cluster;
use sources::kube::Access;
use telemetry::Reports;
use telemetry::metrics::Registry;
use tokio::net::TcpListener as TokioListener;
use tokio::sync::{oneshot, watch};

use crate::api::Api;
use crate::election::Election;
use crate::events::EventWriter;
use crate::metrics::ControllerMetrics;
use crate::options::{ControllerOptions, WebhookOptions};
use crate::term::Term;
use crate::views::ControllerViews;
use crate::webhook::certificate::{self, CertificateKeeper};
use crate::webhook::{Reviewer, Webhook};

/// How long the end of the controller may take: removing the addresses of 20,000 Ingresses takes 20 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// How much less of the CPU it gets than the threads that serve requests.
const NICENESS: i32 = 5;

/// Why the controller cannot be started.
#[derive(Debug)]
pub enum ControllerStartError {
    /// The thread or its runtime.
    Thread(io::Error),
    /// The address of `--validating-webhook`.
    Bind(BindError),
    /// The certificate that the webhook has until it has another one.
    Certificate(String),
}

impl std::fmt::Display for ControllerStartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "cannot start the thread of the controller: {error}"),
            Self::Bind(error) => {
                write!(
                    f,
                    "{error}; --validating-webhook (chart: controller.admissionWebhooks.port) changes the address"
                )
            }
            Self::Certificate(error) => write!(f, "the admission webhook: {error}"),
        }
    }
}

impl std::error::Error for ControllerStartError {}

impl From<io::Error> for ControllerStartError {
    fn from(error: io::Error) -> Self {
        Self::Thread(error)
    }
}

/// A running controller.
pub struct ControllerThread {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl ControllerThread {
    /// Starts the thread. An API server that cannot be reached is tried again and again.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started, or the webhook has no address or certificate.
    pub fn start(
        access: Access,
        options: ControllerOptions,
        cluster: Cluster,
        views: ControllerViews,
        registry: &Registry,
        reports: &Reports,
    ) -> Result<Self, ControllerStartError> {
        let listeners = match &options.webhook {
            Some(webhook) => listen(webhook).map_err(ControllerStartError::Bind)?,
            None => Vec::new(),
        };
        // Requests are served, whatever the state of its files.
        let certificate = certificate::temporary().map_err(ControllerStartError::Certificate)?;
        let certificate = Current::new(certificate);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let (registry, reports) = (registry.clone(), reports.clone());
        std::thread::Builder::new().name("controller".into()).spawn(move || {
            // Without this, it only competes with the workers as an equal.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let webhook = (listeners, certificate);
            runtime.block_on(run(&access, options, webhook, cluster, views, &registry, &reports, stopped));
            let _ = end.send(());
        })?;
        Ok(Self { stop, ended })
    }

    /// Stops after a grace period: removes the addresses if this is the last Pod, and releases the lease.
    pub async fn stop(self, grace: Duration) {
        tokio::time::sleep(grace).await;
        let _ = self.stop.send(true);
        if tokio::time::timeout(STOP_TIMEOUT, self.ended).await.is_err() {
            tracing::warn!("the controller did not end within {} s", STOP_TIMEOUT.as_secs());
        }
    }
}

/// Opens the addresses of the webhook. A machine without IPv6 has no such address.
fn listen(webhook: &WebhookOptions) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::new();
    for address in webhook.addresses() {
        match net::listen::listen(address, 1) {
            Ok(opened) => listeners.extend(opened),
            Err(_) if address.is_ipv6() && webhook.host.is_none() && !listeners.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

#[allow(clippy::too_many_arguments, reason = "the parts of one thread, named once")]
async fn run(
    access: &Access,
    options: ControllerOptions,
    (listeners, certificate): (Vec<TcpListener>, Current<CertifiedKey>),
    cluster: Cluster,
    views: ControllerViews,
    registry: &Registry,
    reports: &Reports,
    mut stop: watch::Receiver<bool>,
) {
    // The source of the cluster has the same access and reports what is wrong with it.
    let Ok(client) = sources::kube::client(access).await else { return };
    let api = Api(client);
    let ControllerMetrics { leader: gauge, dropped_events, reviews, checks } =
        ControllerMetrics::new(registry);
    let (leader, mut is_leader) = watch::channel(false);
    let pod = &options.pod;
    let reviewer = Reviewer {
        cluster: cluster.clone(),
        table: views.table.clone(),
        options: views.options.clone(),
        checks,
        controller: [&options.controller_class, &pod.namespace, &pod.name].map(|part| part.to_string()),
    };
    let webhook = Webhook::new(reviewer, certificate.clone(), reviews);
    let keeper = CertificateKeeper {
        api: api.clone(),
        namespace: options.pod.namespace.clone(),
        certificate,
        reports: reports.clone(),
        is_leader: leader.subscribe(),
    };
    let webhook = async {
        let (Some(options), Ok(webhook)) = (&options.webhook, webhook) else {
            return std::future::pending().await;
        };
        let servers = listeners.into_iter().filter_map(|listener| TokioListener::from_std(listener).ok());
        let servers = futures_util::future::join_all(servers.map(|listener| webhook.clone().serve(listener)));
        tokio::join!(servers, keeper.run(&options.certificate));
    };
    let events = EventWriter::new(api.clone(), dropped_events, reports);
    let mut term = Term::new(&api, cluster, views, options.clone(), events, reports);
    let mut election = options.election.as_ref().map(|election| {
        let pod = &options.pod;
        let gauge = gauge.with([&options.controller_class, &pod.namespace, &pod.name, &election.id]);
        Election::new(api.clone(), election, pod, reports, gauge)
    });
    let elected = async {
        match &mut election {
            Some(election) => election.run(&leader, &mut stop).await,
            None => {
                leader.send_replace(true);
                let _ = stop.wait_for(|stop| *stop).await;
            }
        }
    };
    let terms = async {
        loop {
            if is_leader.wait_for(|leader| *leader).await.is_err() {
                return;
            }
            tokio::select! {
                () = term.lead() => {}
                _ = is_leader.wait_for(|leader| !*leader) => {}
            }
            term.end();
        }
    };
    tokio::select! {
        () = elected => {}
        () = terms => {}
        () = webhook => {}
    }
    if *leader.borrow() {
        term.remove_addresses().await;
    }
    if let Some(election) = &mut election {
        election.release(&leader).await;
    }
}
