//! The work of the leader for as long as it is the leader: it keeps the status of Ingresses current and writes Events.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Current, IngressStatus, Key, Kind, Kinds, ObjectChange, Projection, Snapshot};
use sources::Cluster;
use telemetry::Reports;
use tokio::time::{Instant, sleep};

use crate::api::Api;
use crate::changed_ingresses::ChangedIngresses;
use crate::events::EventWriter;
use crate::options::ControllerOptions;
use crate::problems::ProblemReport;
use crate::status::StatusWriter;
use crate::status::publish::Publisher;
use crate::status::status_loop::StatusLoop;
use crate::views::ControllerViews;

/// Changes within this period are handled together.
const DELAY: Duration = Duration::from_millis(500);

/// How often problems are read again without a change: certificates expire.
const PROBLEM_INTERVAL: Duration = Duration::from_secs(30);

/// Events that are written before problems are read again.
const EVENTS_AT_ONCE: usize = 100;

/// Ingresses that existed when the process started get a `Sync` Event if it becomes the leader within this time; after a failover they
/// are not new.
const START: Duration = Duration::from_secs(60);

/// Keeps the kind watched while its view is held.
struct StatusIndex;

impl Projection for StatusIndex {
    type View = ();

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::IngressStatus])
    }

    fn build(&self, _: &Snapshot) {}

    fn advance(&self, (): &(), _: &Snapshot, _: &[ObjectChange]) {}
}

/// The state that all terms of one process share.
pub(crate) struct Term {
    cluster: Cluster,
    views: ControllerViews,
    options: ControllerOptions,
    changed: Arc<ChangedIngresses>,
    writer: StatusWriter,
    publisher: Option<Publisher>,
    events: EventWriter,
    status_report: ProblemReport,
    /// Held while this process is the leader, and until it has removed the addresses.
    watched: Option<Current<()>>,
    started: Instant,
    has_led: bool,
}

impl Term {
    pub(crate) fn new(
        api: &Api,
        cluster: Cluster,
        views: ControllerViews,
        options: ControllerOptions,
        events: EventWriter,
        reports: &Reports,
    ) -> Self {
        let publisher = options
            .status
            .as_ref()
            .map(|status| Publisher::new(api.clone(), status.addresses.clone(), options.pod.clone()));
        Self {
            changed: ChangedIngresses::follow(&cluster, options.status.is_some()),
            cluster,
            views,
            writer: StatusWriter::new(api.clone()),
            publisher,
            events,
            status_report: ProblemReport::new(reports, "Ingress", ""),
            options,
            watched: None,
            started: Instant::now(),
            has_led: false,
        }
    }

    /// Does the work of the leader until the future is dropped.
    pub(crate) async fn lead(&mut self) {
        self.changed.set_leader(true);
        let _leading = recording(self.changed.clone());
        // The statuses are watched for Events as well, which need the uid of an Ingress.
        self.watched = Some(self.cluster.project(StatusIndex));
        self.listed().await;
        let is_start = !std::mem::replace(&mut self.has_led, true) && self.started.elapsed() < START;
        let Self { cluster, views, options, changed, writer, publisher, events, status_report, .. } = self;
        let status = async {
            match (&options.status, publisher) {
                (Some(options), Some(publisher)) => {
                    StatusLoop { cluster, views, options, changed, writer, report: status_report }
                        .run(publisher)
                        .await;
                }
                _ => std::future::pending().await,
            }
        };
        let events = write_events(cluster, views, options, changed, events, is_start);
        tokio::join!(status, events);
    }

    /// Stops watching the statuses, which only a leader needs.
    pub(crate) fn end(&mut self) {
        self.watched = None;
    }

    /// Removes the addresses from all Ingresses, unless another Pod of the workload goes on.
    pub(crate) async fn remove_addresses(&mut self) {
        let Some(publisher) = &mut self.publisher else { return };
        if !self.options.status.as_ref().is_some_and(|status| status.remove_on_shutdown) {
            tracing::info!("the status of Ingresses is kept (--update-status-on-shutdown=false)");
            return;
        }
        match publisher.has_other_pods().await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("the status of Ingresses is kept: other Pods of this workload exist");
                return;
            }
            Err(error) => {
                tracing::warn!("the status of Ingresses is kept: {error}");
                return;
            }
        }
        let table = self.views.table.load_full();
        let keys = self.cluster.read(|snapshot| {
            let statuses = snapshot.iter::<IngressStatus>();
            let mine = statuses.filter(|status| !status.addresses.is_empty() && table.has(&status.key));
            mine.map(|status| status.key.clone()).collect::<Vec<_>>()
        });
        self.writer.hurry().await;
        let outcome = self.writer.write(keys, &[]).await;
        tracing::info!("the addresses are removed from the status of {} Ingresses", outcome.written);
        if let Some(error) = outcome.failed {
            tracing::warn!("{error}");
        }
    }

    /// Waits until the statuses have been listed.
    async fn listed(&self) {
        let is_listed = || self.cluster.read(|snapshot| snapshot.synced(Kinds::of(&[Kind::IngressStatus])));
        let mut statuses = self.cluster.statuses();
        while !is_listed() {
            statuses.borrow_and_update();
            // A status changes when the source has sent a list; the writer applies the list a moment later.
            let _ = tokio::time::timeout(Duration::from_millis(50), statuses.changed()).await;
        }
    }
}

/// Ends the recording of changes when it is dropped.
fn recording(changed: Arc<ChangedIngresses>) -> impl Drop {
    struct Leading(Arc<ChangedIngresses>);
    impl Drop for Leading {
        fn drop(&mut self) {
            self.0.set_leader(false);
        }
    }
    Leading(changed)
}

async fn write_events(
    cluster: &Cluster,
    views: &ControllerViews,
    options: &ControllerOptions,
    changed: &ChangedIngresses,
    events: &mut EventWriter,
    is_start: bool,
) {
    let uid = |key: &Key| {
        cluster
            .read(|snapshot| snapshot.get::<IngressStatus>(key).map(|status| status.uid.to_string()))
            .unwrap_or_default()
    };
    let mut synced: Vec<Key> = Vec::new();
    if is_start {
        synced = cluster
            .read(|snapshot| snapshot.iter::<IngressStatus>().map(|status| status.key.clone()).collect());
    }
    loop {
        if options.sync_events {
            let table = views.table.load_full();
            synced.drain(..).filter(|key| table.has(key)).for_each(|key| events.sync(key));
        }
        events.problems((views.problems)(), &views.options.annotations_prefix);
        if !events.write(EVENTS_AT_ONCE, uid).await {
            tokio::select! {
                () = changed.events.notified() => sleep(DELAY).await,
                () = sleep(PROBLEM_INTERVAL) => {}
            }
        }
        synced = changed.take_for_events().into_iter().collect();
    }
}
