//! Carries a plan out, step by step.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::JsonApi;
use crate::checker::{Checker, Watch};
use crate::console::Console;
use crate::objects::{MIGRATION_LABEL, ObjectId, ResourceKind, containers, items, name};
use crate::options::{MigrateOptions, MigratedService};
use crate::patch::with_restore;
use crate::plan::{MigrationPlan, PlanStep, StepAction};
use crate::probe::{ProbeRequest, ProbeTarget, WrongAnswer, is_missing};
use crate::waiting;

/// How often answers are compared: objects may change between the two lookups.
const COMPARISONS: u32 = 3;

/// Time between two comparisons.
const COMPARISON_INTERVAL: Duration = Duration::from_secs(1);

/// Differences that are shown.
const SHOWN: usize = 10;

/// Time between two lines of progress of a watch.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A plan that is carried out.
pub(crate) struct Execution<'a> {
    api: &'a JsonApi,
    options: &'a MigrateOptions,
    console: Console,
    /// The Service that clients use.
    target: ProbeTarget,
    service: &'a Value,
    /// The Pod template of the workload.
    pod: &'a Value,
    requests: Vec<ProbeRequest>,
    /// The answers through the Service before the migration, in the order of the requests.
    answers: Vec<String>,
    checker: Option<Checker>,
    watch: Option<Watch>,
    /// True once the first change was requested.
    pub(crate) is_changing: bool,
}

impl<'a> Execution<'a> {
    /// Prepares the execution. `service` has a ClusterIP; `workload` is the one to replace.
    pub(crate) fn new(
        api: &'a JsonApi,
        options: &'a MigrateOptions,
        console: Console,
        service: &'a Value,
        workload: &'a Value,
        requests: Vec<ProbeRequest>,
    ) -> Result<Self, String> {
        let target = target_of_service(options.service, service)?;
        let pod = &workload["spec"]["template"]["spec"];
        Ok(Self {
            api,
            options,
            console,
            target,
            service,
            pod,
            requests,
            answers: Vec::new(),
            checker: None,
            watch: None,
            is_changing: false,
        })
    }

    /// Carries every step out.
    ///
    /// # Errors
    /// Why a step failed.
    pub(crate) async fn run(&mut self, plan: &MigrationPlan) -> Result<(), String> {
        for (index, step) in plan.steps.iter().enumerate() {
            self.console.progress(&format!("{}. {}", index + 1, first_sentence(step)));
            match self.watch.take() {
                None => self.step(&step.action).await?,
                // A watch runs beside every other step.
                Some(watch) if matches!(step.action, StepAction::KeepWatching) => {
                    self.watch = Some(watch);
                    self.keep_watching().await?;
                }
                Some(mut watch) => {
                    tokio::select! {
                        done = self.step(&step.action) => done?,
                        error = watch.failed() => return Err(error),
                    }
                    self.watch = Some(watch);
                }
            }
        }
        Checker::clean_up(self.api, self.options).await
    }

    /// Number of answers during the change, and of those that needed a second attempt.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.watch.as_ref().map_or((0, 0), |watch| watch.counts)
    }

    async fn step(&mut self, action: &StepAction) -> Result<(), String> {
        match action {
            StepAction::RecordAnswers => self.record_answers().await,
            StepAction::Create(object) => {
                self.is_changing = true;
                let list = ResourceKind::Deployment.list_path(object["metadata"]["namespace"].as_str());
                self.api.create(&list, object).await.map(|_created| ()).map_err(|error| error.to_string())
            }
            StepAction::WaitReady(id) => {
                waiting::ready(self.api, id, self.options.timeout, self.console).await
            }
            StepAction::CompareAnswers => self.compare_answers().await,
            StepAction::Patch(id, patch) => self.patch(id, patch).await,
            StepAction::StartWatch => self.start_watch().await,
            StepAction::KeepWatching => Ok(()),
            StepAction::Delete(id) => self.api.delete(&id.path()).await.map_err(|error| error.to_string()),
        }
    }

    async fn patch(&mut self, id: &ObjectId, patch: &Value) -> Result<(), String> {
        self.is_changing = true;
        let object = self.api.get(&id.path()).await.map_err(|error| error.to_string())?;
        let object = object.ok_or_else(|| format!("{id} does not exist any more"))?;
        let patch = with_restore(&object, self.options.service, patch.clone());
        self.api.patch(&id.path(), &patch).await.map(|_patched| ()).map_err(|error| error.to_string())
    }

    /// Sends each lookup or request to the Service. External names without an answer are left out; the others need one.
    async fn record_answers(&mut self) -> Result<(), String> {
        let (api, options, console) = (self.api, self.options, self.console);
        let checker = Checker::choose(api, options, self.pod, &self.target, &self.requests, console).await;
        let answers = send_to_one(&checker, &self.target, &self.requests).await?;
        self.checker = Some(checker);
        let mut unanswered = Vec::new();
        for (request, answer) in std::mem::take(&mut self.requests).into_iter().zip(answers) {
            let is_answered = match &request {
                ProbeRequest::Dns(_) if request.is_external() => answer == "NOERROR",
                ProbeRequest::Dns(dns) => {
                    !is_missing(&answer) && (answer != "SERVFAIL" || !dns.is_of_the_cluster())
                }
                ProbeRequest::Http(_) => !is_missing(&answer),
            };
            if is_answered {
                self.requests.push(request);
                self.answers.push(answer);
            } else if request.is_external() {
                console.progress(&format!("  {request}: {answer}; left out"));
            } else {
                unanswered.push(format!("{request}: {answer}"));
            }
        }
        if unanswered.is_empty() {
            console.progress(&format!("  {} answers", self.answers.len()));
            return Ok(());
        }
        Err(format!("{} is not healthy before the migration:\n{}", self.target.name, shown(&unanswered)))
    }

    /// Sends the same to each ready Pod of the copy and compares. After a difference it is repeated with both, since objects may have
    /// changed in between.
    async fn compare_answers(&mut self) -> Result<(), String> {
        let checker = self.checker.take().ok_or("no answers were recorded")?;
        let mut result = Err(String::new());
        for attempt in 0..COMPARISONS {
            if attempt > 0 {
                tokio::time::sleep(COMPARISON_INTERVAL).await;
                self.answers = send_to_one(&checker, &self.target, &self.requests).await?;
            }
            let targets = self.pods_of_copy().await?;
            let answers = checker.send(&targets, &self.requests).await?;
            let differences = self.differences(&targets, &answers);
            if differences.is_empty() {
                let (pods, requests) = (targets.len(), self.requests.len());
                self.console.progress(&format!("  {pods} Pods, {requests} answers each: all are the same"));
                result = Ok(());
                break;
            }
            result = Err(format!("Portolan's answers differ:\n{}", shown(&differences)));
        }
        self.checker = Some(checker);
        result
    }

    fn differences(&self, targets: &[ProbeTarget], answers: &[Vec<String>]) -> Vec<String> {
        let mut differences = Vec::new();
        for (target, answers) in targets.iter().zip(answers) {
            for ((request, expected), got) in self.requests.iter().zip(&self.answers).zip(answers) {
                if got != expected {
                    let wrong = WrongAnswer {
                        target: target.name.clone(),
                        request: request.to_string(),
                        expected: expected.clone(),
                        got: got.clone(),
                    };
                    differences.push(wrong.to_string());
                }
            }
        }
        differences
    }

    async fn pods_of_copy(&self) -> Result<Vec<ProbeTarget>, String> {
        let labels = [(MIGRATION_LABEL.to_owned(), self.options.service.name().to_owned())].into();
        let anywhere = ObjectId {
            resource: ResourceKind::Pod,
            namespace: self.options.namespace.clone(),
            name: String::new(),
        };
        let pods = waiting::pods(self.api, &anywhere, &labels).await?;
        let targets: Result<Vec<_>, _> =
            pods.iter().map(|pod| target_of_pod(self.options.service, self.service, pod)).collect();
        match targets? {
            targets if targets.is_empty() => Err("the copy has no Pod any more".to_owned()),
            targets => Ok(targets),
        }
    }

    async fn start_watch(&mut self) -> Result<(), String> {
        let checker = self.checker.as_ref().ok_or("no answers were recorded")?;
        let stable = self.requests.iter().zip(&self.answers).filter(|(request, _)| request.is_stable());
        let (requests, expected) = stable.map(|(request, answer)| (request.clone(), answer.clone())).unzip();
        self.watch = Some(checker.watch(&self.target, requests, expected).await?);
        Ok(())
    }

    async fn keep_watching(&mut self) -> Result<(), String> {
        let Some(watch) = &mut self.watch else { return Err("no watch was started".to_owned()) };
        let started = Instant::now();
        let mut reported = started;
        while started.elapsed() < self.options.watch {
            watch.next().await?;
            let (sent, repeated) = watch.counts;
            if reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                let (elapsed, limit) = (started.elapsed().as_secs(), self.options.watch.as_secs());
                self.console.progress(&format!(
                    "  {elapsed} s of {limit} s: {sent} answers, {repeated} of them at the second attempt, 0 wrong"
                ));
            }
        }
        Ok(())
    }
}

async fn send_to_one(
    checker: &Checker,
    target: &ProbeTarget,
    requests: &[ProbeRequest],
) -> Result<Vec<String>, String> {
    let answers = checker.send(std::slice::from_ref(target), requests).await?;
    Ok(answers.into_iter().next().unwrap_or_default())
}

fn shown(lines: &[String]) -> String {
    let mut text = lines.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    if lines.len() > SHOWN {
        text += &format!("\n… and {} more", lines.len() - SHOWN);
    }
    text
}

/// The part of a step's text that fits progress: up to the first colon.
fn first_sentence(step: &PlanStep) -> &str {
    step.what.split_once(": ").map_or(step.what.as_str(), |(first, _)| first)
}

/// The ports of a Service that are checked: DNS over UDP, or HTTP and HTTPS.
fn service_ports(service: MigratedService, object: &Value) -> (Option<&Value>, Option<&Value>) {
    let ports = || items(&object["spec"]["ports"]);
    let numbered = |number: u64| ports().find(|port| port["port"] == number);
    let named = |wanted: &str| ports().find(|port| port["name"] == wanted);
    match service {
        MigratedService::Dns => (ports().find(|port| port["port"] == 53 && port["protocol"] == "UDP"), None),
        MigratedService::Ingress => {
            (named("http").or_else(|| numbered(80)), named("https").or_else(|| numbered(443)))
        }
    }
}

fn target_of_service(service: MigratedService, object: &Value) -> Result<ProbeTarget, String> {
    let ip = object["spec"]["clusterIP"].as_str().unwrap_or_default();
    let ip = ip.parse().map_err(|_| format!("Service {} has no ClusterIP", name(object)))?;
    let (port, tls) = service_ports(service, object);
    let number = |port: &Value| port["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port =
        port.and_then(number).ok_or_else(|| format!("Service {} has no port to check", name(object)))?;
    Ok(ProbeTarget {
        name: format!("Service {}", name(object)),
        address: SocketAddr::new(ip, port),
        tls: tls.and_then(number).map(|port| SocketAddr::new(ip, port)),
    })
}

/// The address of a Pod, with the ports that the Service sends to.
fn target_of_pod(service: MigratedService, object: &Value, pod: &Value) -> Result<ProbeTarget, String> {
    let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
    let ip = ip.parse().map_err(|_| format!("Pod {} has no address", name(pod)))?;
    // `containers` looks into a template.
    let template = serde_json::json!({ "spec": { "template": pod } });
    let container_port = |port: &Value| {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let number = match target.as_str() {
            Some(wanted) => containers(&template)
                .flat_map(|container| items(&container["ports"]))
                .find(|port| port["name"] == wanted)
                .and_then(|port| port["containerPort"].as_u64()),
            None => target.as_u64(),
        };
        number.and_then(|number| u16::try_from(number).ok())
    };
    let (port, tls) = service_ports(service, object);
    let port =
        port.and_then(container_port).ok_or_else(|| format!("Pod {} has no port to check", name(pod)))?;
    Ok(ProbeTarget {
        name: format!("Pod {}", name(pod)),
        address: SocketAddr::new(ip, port),
        tls: tls.and_then(container_port).map(|port| SocketAddr::new(ip, port)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_asked_at_the_ports_that_the_service_sends_to() {
        let service = json!({ "metadata": { "name": "ingress-nginx-controller" }, "spec": { "clusterIP": "10.96.5.1", "ports": [
            { "name": "http", "port": 80, "targetPort": "http" }, { "name": "https", "port": 443, "targetPort": 8443 },
        ] } });
        let pod = json!({ "metadata": { "name": "p" }, "status": { "podIP": "10.244.0.7" }, "spec": { "containers": [
            { "ports": [{ "name": "http", "containerPort": 8080 }] },
        ] } });
        let target = target_of_pod(MigratedService::Ingress, &service, &pod).unwrap();
        assert_eq!(
            (target.address.to_string(), target.tls.unwrap().to_string()),
            ("10.244.0.7:8080".into(), "10.244.0.7:8443".into())
        );
        let target = target_of_service(MigratedService::Ingress, &service).unwrap();
        assert_eq!(
            (target.address.to_string(), target.tls.unwrap().to_string()),
            ("10.96.5.1:80".into(), "10.96.5.1:443".into())
        );
        assert!(target_of_service(MigratedService::Dns, &service).is_err());
    }

    #[test]
    fn dns_is_asked_over_udp() {
        let service = json!({ "metadata": { "name": "kube-dns" }, "spec": { "clusterIP": "10.96.0.10", "ports": [
            { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 5354 }, { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353 },
        ] } });
        let pod = json!({ "metadata": { "name": "p" }, "status": { "podIP": "fd00::7" } });
        assert_eq!(
            target_of_pod(MigratedService::Dns, &service, &pod).unwrap().address.to_string(),
            "[fd00::7]:5353"
        );
    }
}
