//! What the leader does until it no longer is: it keeps the status of Ingresses current and writes Events.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::{
    Current, IngressStatus, Key, Kind, Kinds, LoadBalancerAddress, ObjectChange, Projection, Snapshot,
};
use foldhash::fast::RandomState;
use sources::Cluster;
use telemetry::Reports;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::Api;
use crate::events::EventWriter;
use crate::options::{ControllerOptions, StatusOptions};
use crate::problems::ProblemReport;
use crate::publish::{PublishError, Publisher};
use crate::status::StatusWriter;
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

type Keys = HashSet<Key, RandomState>;

/// Ingresses that changed while this process is the leader.
#[derive(Default)]
pub(crate) struct ChangedIngresses {
    is_leader: AtomicBool,
    keys: Mutex<ChangedKeys>,
    status: Notify,
    events: Notify,
}

#[derive(Default)]
struct ChangedKeys {
    status: Keys,
    spec: Keys,
}

impl ChangedIngresses {
    /// Records the changes of a cluster from now on.
    pub(crate) fn follow(cluster: &Cluster) -> Arc<Self> {
        let changed = Arc::new(Self::default());
        let observer = changed.clone();
        cluster.observe(move |_, touched| observer.record(touched));
        changed
    }

    /// Runs on the thread of the watch cache.
    fn record(&self, touched: &[ObjectChange]) {
        if !self.is_leader.load(Ordering::Relaxed) {
            return;
        }
        let mut keys = self.lock();
        for one in touched {
            match one {
                ObjectChange::Ingress(change) if change.after.is_some() => {
                    keys.spec.insert(one.summary().0);
                    keys.status.insert(one.summary().0);
                }
                ObjectChange::IngressStatus(change) if change.after.is_some() => {
                    keys.status.insert(one.summary().0);
                }
                _ => {}
            }
        }
        drop(keys);
        self.status.notify_one();
        self.events.notify_one();
    }

    fn set_leader(&self, is_leader: bool) {
        self.is_leader.store(is_leader, Ordering::Relaxed);
        *self.lock() = ChangedKeys::default();
    }

    fn take(&self, of: impl Fn(&mut ChangedKeys) -> &mut Keys) -> Keys {
        std::mem::take(of(&mut self.lock()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ChangedKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

/// What the terms of one process share.
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
            changed: ChangedIngresses::follow(&cluster),
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
        let _leading = scopeguard(self.changed.clone());
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

/// Ends the recording of changes with the term.
fn scopeguard(changed: Arc<ChangedIngresses>) -> impl Drop {
    struct Leading(Arc<ChangedIngresses>);
    impl Drop for Leading {
        fn drop(&mut self) {
            self.0.set_leader(false);
        }
    }
    Leading(changed)
}

/// Keeps the status of Ingresses current.
struct StatusLoop<'t> {
    cluster: &'t Cluster,
    views: &'t ControllerViews,
    options: &'t StatusOptions,
    changed: &'t ChangedIngresses,
    writer: &'t StatusWriter,
    report: &'t ProblemReport,
}

impl StatusLoop<'_> {
    async fn run(&self, publisher: &mut Publisher) {
        let interval = self.options.interval.max(StatusOptions::MIN_INTERVAL);
        let mut known: Option<Vec<LoadBalancerAddress>> = None;
        let mut was_empty = false;
        let mut written = Keys::default();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(next) => {
                    match publisher.addresses().await {
                        // A Service may be without addresses for a moment, and tools like external-dns act on the status at once.
                        Ok(found) if found.is_empty() && (known.is_none() || !was_empty) => was_empty = true,
                        Ok(found) => {
                            was_empty = found.is_empty();
                            known = Some(found);
                        }
                        // Outside of a Pod nobody has asked for addresses.
                        Err(PublishError::NoPod) => {
                            self.report.solved();
                            next = Instant::now() + interval;
                            continue;
                        }
                        Err(error) => {
                            self.report.problem(format!("the addresses for the status of Ingresses are not known: {error}"));
                            next = Instant::now() + StatusOptions::MIN_INTERVAL;
                            continue;
                        }
                    }
                    next = Instant::now() + if known.is_some() { interval } else { StatusOptions::MIN_INTERVAL };
                    written.clear();
                    if let Some(addresses) = &known {
                        self.write(self.differing(addresses), addresses).await;
                    }
                }
                () = self.changed.status.notified() => {
                    sleep(DELAY).await;
                    let keys = self.changed.take(|keys| &mut keys.status);
                    if let Some(addresses) = known.as_ref().filter(|addresses| !addresses.is_empty()) {
                        let keys: Vec<_> = keys.into_iter().filter(|key| !written.contains(key)).collect();
                        let empty = self.without_addresses(keys);
                        written.extend(empty.iter().cloned());
                        self.write(empty, addresses).await;
                    }
                }
            }
        }
    }

    async fn write(&self, keys: Vec<Key>, addresses: &[LoadBalancerAddress]) {
        if keys.is_empty() {
            return;
        }
        let outcome = self.writer.write(keys, addresses).await;
        tracing::info!("the status of {} Ingresses is written", outcome.written);
        match outcome.failed {
            None => self.report.solved(),
            Some(error) => self.report.failed(&error, "the status of Ingresses is not current"),
        }
    }

    /// Ingresses that have other addresses; those without any come first.
    fn differing(&self, addresses: &[LoadBalancerAddress]) -> Vec<Key> {
        let table = self.views.table.load_full();
        let mut keys = self.cluster.read(|snapshot| {
            let statuses = snapshot.iter::<IngressStatus>();
            let others = statuses.filter(|status| *status.addresses != *addresses && table.has(&status.key));
            others.map(|status| (!status.addresses.is_empty(), status.key.clone())).collect::<Vec<_>>()
        });
        keys.sort_by_key(|(has_addresses, _)| *has_addresses);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Those of some Ingresses that have no addresses.
    fn without_addresses(&self, mut keys: Vec<Key>) -> Vec<Key> {
        let table = self.views.table.load_full();
        keys.retain(|key| table.has(key));
        self.cluster.read(|snapshot| {
            keys.retain(|key| {
                snapshot.get::<IngressStatus>(key).is_some_and(|status| status.addresses.is_empty())
            });
        });
        keys
    }
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
        events.problems((views.problems)(), &views.annotations_prefix);
        if !events.write(EVENTS_AT_ONCE, uid).await {
            tokio::select! {
                () = changed.events.notified() => sleep(DELAY).await,
                () = sleep(PROBLEM_INTERVAL) => {}
            }
        }
        synced = changed.take(|keys| &mut keys.spec).into_iter().collect();
    }
}
