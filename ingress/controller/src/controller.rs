//! The thread of the controller, from its start to its end.

use std::io;
use std::time::Duration;

use sources::Cluster;
use sources::kube::Access;
use telemetry::Reports;
use telemetry::metrics::Registry;
use tokio::sync::{oneshot, watch};

use crate::api::Api;
use crate::election::Election;
use crate::events::EventWriter;
use crate::metrics::ControllerMetrics;
use crate::options::ControllerOptions;
use crate::term::Term;
use crate::views::ControllerViews;

/// How long the end of the controller may take: removing the addresses of 20,000 Ingresses takes 20 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// How much less of the CPU it gets than the threads that serve requests.
const NICENESS: i32 = 5;

/// A running controller.
pub struct ControllerThread {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl ControllerThread {
    /// Starts the thread. An API server that cannot be reached is tried again and again.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn start(
        access: Access,
        options: ControllerOptions,
        cluster: Cluster,
        views: ControllerViews,
        registry: &Registry,
        reports: &Reports,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let (registry, reports) = (registry.clone(), reports.clone());
        std::thread::Builder::new().name("controller".into()).spawn(move || {
            // Without this, it only competes with the workers as an equal.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            runtime.block_on(run(&access, options, cluster, views, &registry, &reports, stopped));
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

async fn run(
    access: &Access,
    options: ControllerOptions,
    cluster: Cluster,
    views: ControllerViews,
    registry: &Registry,
    reports: &Reports,
    mut stop: watch::Receiver<bool>,
) {
    // The source of the cluster has the same access and reports what is wrong with it.
    let Ok(client) = sources::kube::client(access).await else { return };
    let api = Api(client);
    let ControllerMetrics { leader: gauge, dropped_events } = ControllerMetrics::new(registry);
    let events = EventWriter::new(api.clone(), dropped_events, reports);
    let mut term = Term::new(&api, cluster, views, options.clone(), events, reports);
    let (leader, mut is_leader) = watch::channel(false);
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
    }
    if *leader.borrow() {
        term.remove_addresses().await;
    }
    if let Some(election) = &mut election {
        election.release(&leader).await;
    }
}
