//! Where checks run: in this process, or in a short-lived Pod with Portolan's image.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::api::JsonApi;
use crate::console::Console;
use crate::objects::{ObjectId, ResourceKind};
use crate::options::{CheckLocation, MigrateOptions};
use crate::probe::{self, ProbeLine, ProbeRequest, ProbeTarget, ProbeTask, RETRY_PAUSE, is_missing};
use crate::probe_log::{self, ProbeReceiver, ProbeSender};
use crate::waiting;

/// Label of check Pods; its value is the name of the service.
pub(crate) const CHECK_LABEL: &str = "portolan.dev/migration-check";

/// A check Pod ends by itself after the time that a migration can take, plus this.
const SPARE_TIME: Duration = Duration::from_secs(600);

/// Attempts to reach the Service from this process.
const ATTEMPTS: usize = 2;

/// Time between two reads of a Pod that starts.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Runs checks.
pub(crate) enum Checker {
    /// In this process.
    Here,
    /// In a Pod.
    Pod(Box<CheckPods>),
}

/// Creates check Pods.
pub(crate) struct CheckPods {
    api: JsonApi,
    options: MigrateOptions,
    tolerations: Value,
}

/// A watch in progress. Dropping it stops it; a check Pod is deleted by [`Checker::clean_up`].
pub(crate) struct Watch {
    lines: ProbeReceiver,
    task: JoinHandle<()>,
    /// Number of lookups or requests so far, and of those repeated.
    pub(crate) counts: (u64, u64),
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Waits for the next counts.
    ///
    /// # Errors
    /// The wrong answer, or that the watch has ended.
    pub(crate) async fn next(&mut self) -> Result<(), String> {
        match self.lines.next().await {
            Some(ProbeLine::Running { sent, repeated }) => {
                self.counts = (sent, repeated);
                Ok(())
            }
            Some(ProbeLine::Wrong(wrong)) => Err(wrong.to_string()),
            Some(ProbeLine::Answers(_)) | None => Err("the watch has ended early".to_owned()),
        }
    }

    /// Returns with the error of the watch; never without an error.
    pub(crate) async fn failed(&mut self) -> String {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }
}

impl Checker {
    /// Chooses the place: with `auto`, this process if the first request to the target is answered from here.
    pub(crate) async fn choose(
        api: &JsonApi,
        options: &MigrateOptions,
        pod: &Value,
        target: &ProbeTarget,
        requests: &[ProbeRequest],
        console: Console,
    ) -> Self {
        let in_pod = || {
            let tolerations = pod["tolerations"].clone();
            Self::Pod(Box::new(CheckPods { api: api.clone(), options: options.clone(), tolerations }))
        };
        match options.check_location {
            CheckLocation::Here => Self::Here,
            CheckLocation::Pod => in_pod(),
            CheckLocation::Auto => {
                let Some(request) = requests.first() else { return Self::Here };
                for _ in 0..ATTEMPTS {
                    if !is_missing(&request.send(target).await) {
                        return Self::Here;
                    }
                }
                console
                    .progress(&format!("  {} does not answer from here; checks run in a Pod", target.name));
                in_pod()
            }
        }
    }

    /// Sends every request to every target.
    pub(crate) async fn send(
        &self,
        targets: &[ProbeTarget],
        requests: &[ProbeRequest],
    ) -> Result<Vec<Vec<String>>, String> {
        let Self::Pod(pods) = self else { return Ok(probe::send_all(targets, requests).await) };
        let task = ProbeTask { targets: targets.to_vec(), requests: requests.to_vec(), expected: None };
        let (telling, mut lines) = ProbeSender::new();
        let pod = pods.start(&task).await?;
        forward(&pods.api, &pod, &telling).await?;
        let answers = lines.next().await;
        pods.api.delete(&pod.path()).await.map_err(|error| error.to_string())?;
        match answers {
            Some(ProbeLine::Answers(answers)) if answers.len() == targets.len() => Ok(answers),
            other => Err(format!("{pod} did not report the answers: {other:?}")),
        }
    }

    /// Starts a watch and waits until it has sent each request once.
    pub(crate) async fn watch(
        &self,
        target: &ProbeTarget,
        requests: Vec<ProbeRequest>,
        expected: Vec<String>,
    ) -> Result<Watch, String> {
        let (telling, lines) = ProbeSender::new();
        let target = target.clone();
        let task = match self {
            Self::Here => tokio::spawn(async move {
                probe::watch(&target, &requests, &expected, RETRY_PAUSE, |line| telling.report(line)).await;
            }),
            Self::Pod(pods) => {
                let task = ProbeTask { targets: vec![target], requests, expected: Some(expected) };
                let pod = pods.start(&task).await?;
                let api = pods.api.clone();
                tokio::spawn(async move {
                    // An error ends the reports, and that ends the watch.
                    let _ = forward(&api, &pod, &telling).await;
                })
            }
        };
        let mut watch = Watch { lines, task, counts: (0, 0) };
        watch.next().await?;
        Ok(watch)
    }

    /// Deletes the check Pods of a service.
    pub(crate) async fn clean_up(api: &JsonApi, options: &MigrateOptions) -> Result<(), String> {
        let path = ResourceKind::Pod.list_path(Some(&options.namespace));
        let path = format!("{path}?labelSelector={CHECK_LABEL}={}", options.service.name());
        let pods = api.list(&path).await.map_err(|error| error.to_string())?;
        for pod in pods.unwrap_or_default() {
            let deleted = api.delete(&ObjectId::of(ResourceKind::Pod, &pod).path()).await;
            deleted.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl CheckPods {
    /// Creates a Pod and waits until its container runs or has ended.
    async fn start(&self, task: &ProbeTask) -> Result<ObjectId, String> {
        let list = ResourceKind::Pod.list_path(Some(&self.options.namespace));
        let created = self.api.create(&list, &self.pod(task)).await.map_err(|error| error.to_string())?;
        let id = ObjectId::of(ResourceKind::Pod, &created);
        let started = Instant::now();
        loop {
            let pod = self.api.get(&id.path()).await.map_err(|error| error.to_string())?;
            let pod = pod.ok_or_else(|| format!("{id} does not exist any more"))?;
            if let Some(problem) = waiting::problem(&pod) {
                return Err(format!("checks cannot run in a Pod: {problem}"));
            }
            if pod["status"]["phase"].as_str().is_some_and(|phase| phase != "Pending") {
                return Ok(id);
            }
            if started.elapsed() >= self.options.timeout {
                let limit = self.options.timeout.as_secs();
                return Err(format!("checks cannot run in a Pod: {id} has not started within {limit} s"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn pod(&self, task: &ProbeTask) -> Value {
        let options = &self.options;
        let deadline = SPARE_TIME + options.watch + 4 * options.timeout;
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": format!("portolan-migrate-{}-", options.service.name()),
                "namespace": options.namespace,
                "labels": { CHECK_LABEL: options.service.name() },
            },
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": deadline.as_secs(),
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                // The cluster DNS is what is checked: the Pod must start without it.
                "dnsPolicy": "Default",
                "tolerations": self.tolerations,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": "check",
                    "image": options.image,
                    "args": ["migrate", "probe", json!(task).to_string()],
                    "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        })
    }
}

/// Sends the reports of a Pod's log, until it ends or the receiver is gone.
async fn forward(api: &JsonApi, pod: &ObjectId, telling: &ProbeSender) -> Result<(), String> {
    let log = api.follow_log(&pod.path()).await.map_err(|error| error.to_string())?;
    probe_log::forward(log, &pod.to_string(), telling).await
}
