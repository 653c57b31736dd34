//! Keeps the status of Ingresses current while this process is the leader.

use std::time::Duration;

use cluster::{IngressStatus, Key, LoadBalancerAddress};
use sources::Cluster;
use tokio::time::{Instant, sleep, sleep_until};

use super::StatusWriter;
use super::publish::{PublishError, Publisher};
use crate::changed_ingresses::{ChangedIngresses, Keys};
use crate::options::StatusOptions;
use crate::problems::ProblemReport;
use crate::views::ControllerViews;

/// Changes within this period are handled together.
const DELAY: Duration = Duration::from_millis(500);

/// Keeps the status of Ingresses current.
pub(crate) struct StatusLoop<'t> {
    pub(crate) cluster: &'t Cluster,
    pub(crate) views: &'t ControllerViews,
    pub(crate) options: &'t StatusOptions,
    pub(crate) changed: &'t ChangedIngresses,
    pub(crate) writer: &'t StatusWriter,
    pub(crate) report: &'t ProblemReport,
}

impl StatusLoop<'_> {
    /// Writes statuses until the future is dropped.
    pub(crate) async fn run(&self, publisher: &mut Publisher) {
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
                        // Outside of a Pod, addresses are written only if a flag names them.
                        Err(PublishError::NoPod) => {
                            self.report.solved();
                            next = Instant::now() + interval;
                            continue;
                        }
                        Err(PublishError::Api(error)) => {
                            self.report.failed(&error, "the addresses for the status of Ingresses are not known");
                            next = Instant::now() + StatusOptions::MIN_INTERVAL;
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
                    let keys = self.changed.take_for_status();
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
