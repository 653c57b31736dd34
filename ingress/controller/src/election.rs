//! Takes part in the election of the leader: acquires the Lease, renews it, releases it.

mod lease;

use std::time::Duration;

use jiff::Timestamp;
use telemetry::Reports;
use telemetry::metrics::Gauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use self::lease::{LeaseStep, LeaseView};
use crate::api::{Api, ClusterRequestError};
use crate::options::{ElectionOptions, PodIdentity};
use crate::problems::ProblemReport;

/// One participant.
pub(crate) struct Election {
    api: Api,
    view: LeaseView,
    ttl: Duration,
    list: String,
    path: String,
    report: ProblemReport,
    gauge: Gauge,
    /// The holder that was logged last.
    logged: String,
}

/// The result of an attempt to acquire or renew the Lease.
enum Attempt {
    /// It is ours now.
    Held,
    /// Another process holds it, or wrote it first.
    Lost,
    /// The API server did not answer, or refused.
    Failed,
}

impl Election {
    pub(crate) fn new(
        api: Api,
        options: &ElectionOptions,
        pod: &PodIdentity,
        reports: &Reports,
        gauge: Gauge,
    ) -> Self {
        let (namespace, id) = (&pod.namespace, &options.id);
        let list = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        Self {
            api,
            view: LeaseView::new(identity(pod), options.ttl, namespace, id),
            ttl: options.ttl,
            path: format!("{list}/{id}"),
            list,
            report: ProblemReport::new(reports, "Lease", format!("{namespace}/{id}")),
            gauge,
            logged: String::new(),
        }
    }

    /// Sends whether this process is the leader, until `stop` is true. Then the Lease is held, but no longer renewed, until
    /// [`Self::release`] is called.
    pub(crate) async fn run(&mut self, leader: &watch::Sender<bool>, stop: &mut watch::Receiver<bool>) {
        // The times of ingress-nginx: renewed within half of the duration, tried each quarter.
        let retry = self.ttl / 4;
        loop {
            if matches!(self.attempt().await, Attempt::Held) {
                self.set(leader, true);
                if self.renew(retry, stop).await {
                    return;
                }
                self.set(leader, false);
            }
            // With jitter, so that replicas that were started together do not ask together.
            let pause = retry.mul_f64(1.0 + 1.2 * fastrand::f64());
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Renews the Lease until it is lost (false) or the process stops (true).
    async fn renew(&mut self, retry: Duration, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let pause = sleep(retry);
            tokio::select! {
                () = pause => {}
                _ = stop.wait_for(|stop| *stop) => return true,
            }
            let deadline = Instant::now() + self.ttl / 2;
            loop {
                match timeout_at(deadline, self.attempt()).await {
                    Ok(Attempt::Held) => break,
                    Ok(Attempt::Failed) if Instant::now() + retry < deadline => sleep(retry).await,
                    Ok(Attempt::Failed | Attempt::Lost) | Err(_) => return false,
                }
            }
        }
    }

    /// Gives the Lease back, so that the next leader need not wait for its end.
    pub(crate) async fn release(&mut self, leader: &watch::Sender<bool>) {
        if let Some(released) = self.view.released(Timestamp::now()) {
            match self.api.replace(&self.path, &released).await {
                Ok(_) => tracing::info!("Lease {}: released", self.path),
                Err(error) => tracing::warn!("cannot release the lease: {error}"),
            }
        }
        self.set(leader, false);
    }

    async fn attempt(&mut self) -> Attempt {
        match self.try_once().await {
            Ok(attempt) => {
                self.report.solved();
                attempt
            }
            Err(error) => {
                self.report
                    .failed(&error, "no leader is elected here, and nothing is written to the cluster");
                Attempt::Failed
            }
        }
    }

    async fn try_once(&mut self) -> Result<Attempt, ClusterRequestError> {
        // The holder writes at once, as client-go does: no other process should have changed the lease.
        if self.view.is_held()
            && let Ok(attempt @ Attempt::Held) = self.write().await
        {
            return Ok(attempt);
        }
        match self.api.get(&self.path).await? {
            Some(lease) => self.view.observe(&lease, Instant::now()),
            None => self.view.forget(),
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<Attempt, ClusterRequestError> {
        let written = match self.view.step(Instant::now(), Timestamp::now()) {
            LeaseStep::HeldBy(other) => {
                if self.logged != other {
                    tracing::info!("Lease {}: {other} is the leader", self.path);
                    self.logged = other;
                }
                return Ok(Attempt::Lost);
            }
            LeaseStep::Create(lease) => self.api.create(&self.list, &lease).await,
            LeaseStep::Replace(lease) => self.api.replace(&self.path, &lease).await,
        };
        match written {
            Ok(lease) => {
                self.view.observe(&lease, Instant::now());
                Ok(Attempt::Held)
            }
            // Another process wrote it first.
            Err(error) if error.status == 409 => Ok(Attempt::Lost),
            Err(error) => Err(error),
        }
    }

    fn set(&mut self, leader: &watch::Sender<bool>, is_leader: bool) {
        self.gauge.set(if is_leader { 1.0 } else { 0.0 });
        let changed = leader.send_if_modified(|known| std::mem::replace(known, is_leader) != is_leader);
        if changed {
            self.logged.clear();
            let what =
                if is_leader { "this process is the leader" } else { "this process is no longer the leader" };
            tracing::info!("Lease {}: {what}", self.path);
        }
    }
}

/// The name of the Pod, as in ingress-nginx. Outside of a Pod, a name that no other process has.
fn identity(pod: &PodIdentity) -> String {
    match pod.name.as_str() {
        "" => format!("portolan-{}-{:08x}", std::process::id(), fastrand::u32(..)),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;
    use crate::testing::FakeApi;

    fn election(api: &FakeApi, name: &str) -> Election {
        let options = ElectionOptions { id: "leader".into(), ttl: Duration::from_secs(30) };
        let pod = PodIdentity { namespace: "edge".into(), name: name.into() };
        let registry = Registry::new();
        let gauge = registry.gauge("leader", "Leader.");
        Election::new(api.client(), &options, &pod, &Reports::new(&registry), gauge)
    }

    fn participant(
        api: &FakeApi,
        name: &str,
    ) -> (watch::Receiver<bool>, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let mut election = election(api, name);
        let (leader, is_leader) = watch::channel(false);
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            election.run(&leader, &mut stopped).await;
            election.release(&leader).await;
        });
        (is_leader, stop, task)
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_leader_follows_a_released_lease_within_a_retry() {
        let api = FakeApi::default();
        let (mut one, stop, task) = participant(&api, "one");
        one.wait_for(|leader| *leader).await.unwrap();
        let (mut other, _stop_other, _task) = participant(&api, "other");
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!*other.borrow_and_update(), "the lease is renewed");
        let start = Instant::now();
        stop.send(true).unwrap();
        task.await.unwrap();
        other.wait_for(|leader| *leader).await.unwrap();
        assert!(start.elapsed() <= Duration::from_millis(16_500), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_two_leaders_when_one_is_cut_off() {
        let api = FakeApi::default();
        let (mut one, _stop, _task) = participant(&api, "one");
        one.wait_for(|leader| *leader).await.unwrap();
        let (mut other, _stop_other, _task) = participant(&api, "other");
        tokio::time::sleep(Duration::from_secs(60)).await;
        api.cut_off("one");
        let start = Instant::now();
        one.wait_for(|leader| !*leader).await.unwrap();
        let ended = start.elapsed();
        assert!(!*other.borrow_and_update(), "the lease has not expired yet");
        other.wait_for(|leader| *leader).await.unwrap();
        assert!(ended < Duration::from_secs(24) && start.elapsed() < Duration::from_secs(48), "{ended:?}");
    }

    #[test]
    fn an_api_server_that_is_away_is_reported_once_and_not_here() {
        let reports = Reports::new(&Registry::new());
        let report = ProblemReport::new(&reports, "Lease", "edge/leader");
        for status in [0, 429, 503] {
            report.failed(&ClusterRequestError { status, message: "GET /".into() }, "nothing is written");
            assert_eq!(reports.current(), []);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_forbidden_lease_is_a_problem_and_nobody_leads() {
        let api = FakeApi::default();
        api.forbid("leases");
        let registry = Registry::new();
        let reports = Reports::new(&registry);
        let mut election = election(&api, "one");
        election.report = ProblemReport::new(&reports, "Lease", "edge/leader");
        assert!(matches!(election.attempt().await, Attempt::Failed));
        let problems = reports.current();
        assert!(problems[0].1.what.contains("403") && problems[0].1.what.contains("rbac"), "{problems:?}");
    }
}
