//! What the plans of both services have in common: the strategy and the steps.

use serde_json::{Value, json};

use crate::copied_workload::{self, Workload, distinguishing_labels};
use crate::facts::Facts;
use crate::objects::{LabelMap, ObjectId, ResourceKind, containers, items, name, namespace, strings};
use crate::options::{MigrateOptions, Strategy};
use crate::patch::{restore_patch, selector_patch};
use crate::plan::{MigrationPlan, PlanStep, StepAction};

/// Makes the steps.
pub(crate) struct Takeover<'a> {
    /// The options of the run.
    pub options: &'a MigrateOptions,
    /// The facts.
    pub facts: &'a Facts,
    /// The workload to replace.
    pub workload: &'a Workload,
    /// The checks as a clause, such as `Look up 12 names`.
    pub checks: String,
}

/// The facts found in the cluster, for the head of a plan.
pub(crate) fn found(facts: &Facts) -> Vec<(&'static str, String)> {
    let Facts { detection, service, selector, workloads, .. } = facts;
    let mut found =
        vec![("distribution", format!("{} ({})", detection.distribution.title(), detection.evidence))];
    let address = service["spec"]["clusterIP"].as_str().unwrap_or("no ClusterIP");
    found.push((
        "Service",
        format!("{}/{}, {address}, selects {}", namespace(service), name(service), words(selector)),
    ));
    for workload in workloads {
        let id = ObjectId::of(workload.resource, &workload.object);
        let images: Vec<_> =
            containers(&workload.object).filter_map(|container| container["image"].as_str()).collect();
        found.push(("workload", format!("{id}, {}, image {}", pods(workload.replicas()), images.join(", "))));
    }
    found
}

/// Refusals for both services: no workload or several, or an earlier migration.
pub(crate) fn shared_refusals(options: &MigrateOptions, facts: &Facts) -> Vec<String> {
    let titles: Vec<_> = facts.workloads.iter().map(Workload::title).collect();
    let service = format!("Service {}/{}", namespace(&facts.service), name(&facts.service));
    let command = format!("portolan migrate {}", options.service.name());
    let is_changed = |object: &Value| restore_patch(object, options.service).is_some();
    let is_workload_changed = facts.workloads.iter().any(|workload| is_changed(&workload.object));
    if facts.earlier_copy.is_some() || is_changed(&facts.service) || is_workload_changed {
        let made = "a migration has been made already, or was interrupted";
        return vec![format!("{made}: {command} --rollback restores the state before it")];
    }
    let mut refusals = Vec::new();
    match titles.len() {
        0 => refusals.push(format!("{service} selects the Pods of no Deployment or DaemonSet")),
        1 => {}
        _ => refusals.push(format!("{service} selects the Pods of several workloads: {}", titles.join(", "))),
    }
    refusals
}

impl Takeover<'_> {
    /// Adds the strategy and the steps.
    pub(crate) fn add_steps(&self, plan: &mut MigrationPlan) {
        let (strategy, reason) = self.strategy();
        plan.found.push(("strategy", format!("{} ({reason})", strategy.name())));
        plan.found.push(("image", self.options.image.clone()));
        let Some(main) = self.main_service(plan) else { return };
        plan.steps = match strategy {
            Strategy::Selector => self.selector_steps(&main),
            Strategy::SetImage => self.image_steps(&main),
        };
        let options = self.options;
        let command = format!("portolan migrate {}", options.service.name());
        if strategy == Strategy::Selector {
            plan.notes.push(format!(
                "{} keeps running, so that {command} --rollback takes effect at once. {command} --finish scales it to zero later; \
                 --rollback works after that, too",
                self.workload.title()
            ));
        }
        if !self.facts.unreadable.is_empty() {
            plan.notes.push(format!(
                "not permitted to list, so not checked for selectors of these Pods: {}",
                self.facts.unreadable.join(", ")
            ));
        }
    }

    /// The Service whose address is checked; adds a refusal if it has none.
    fn main_service(&self, plan: &mut MigrationPlan) -> Option<String> {
        let service = &self.facts.service;
        let address =
            service["spec"]["clusterIP"].as_str().filter(|ip| ip.parse::<std::net::IpAddr>().is_ok());
        if address.is_none() {
            plan.refusals.push(format!(
                "Service {}/{} has no ClusterIP to check",
                namespace(service),
                name(service)
            ));
        }
        address.map(str::to_owned)
    }

    /// The strategy and why it is used.
    pub(crate) fn strategy(&self) -> (Strategy, String) {
        if let Some(strategy) = self.options.strategy {
            return (strategy, "given by --strategy".to_owned());
        }
        if self.workload.uses_node_ports() {
            let title = self.workload.title();
            return (
                Strategy::SetImage,
                format!("Pods of {title} use ports of the node, which two Pods cannot share"),
            );
        }
        let policies = &self.facts.policies;
        if !policies.is_empty() {
            let shown = policies.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more =
                if policies.len() > 3 { format!(" and {} more", policies.len() - 3) } else { String::new() };
            let labels = words(&self.facts.selector);
            return (
                Strategy::SetImage,
                format!("{shown}{more} may select these Pods by {labels}, a label that a copy does not have"),
            );
        }
        (
            Strategy::Selector,
            "the default: the old Pods keep running, and a rollback is one change of the Service".to_owned(),
        )
    }

    fn copy(&self, replicas: u64) -> Value {
        let Self { options, facts, workload, .. } = self;
        copied_workload::copy(workload, options.service, &facts.selector, &options.image, replicas)
    }

    fn first_steps(&self, address: &str, copy: &Value, replicas: u64) -> Vec<PlanStep> {
        let copy_id = ObjectId::of(ResourceKind::Deployment, copy);
        let changed = distinguishing_labels(&self.workload.object, &self.facts.selector);
        vec![
            PlanStep::check(
                format!("{} through {address} and record the answers", self.checks),
                StepAction::RecordAnswers,
            ),
            PlanStep::change(
                format!(
                    "Create {copy_id} with {}: a copy of {} with image {} and label {}={}; same arguments, ConfigMaps and service \
                     account. No Service selects its Pods yet",
                    pods(replicas),
                    self.workload.title(),
                    self.options.image,
                    changed.join(", "),
                    copied_workload::copy_name(self.options.service),
                ),
                format!("delete {copy_id}"),
                StepAction::Create(copy.clone()),
            ),
            PlanStep::check(
                format!("Wait until its Pods are ready, at most {} s", self.options.timeout.as_secs()),
                StepAction::WaitReady(copy_id),
            ),
            PlanStep::check(
                format!("{} at each of its Pods and compare with the answers of step 1", self.checks),
                StepAction::CompareAnswers,
            ),
        ]
    }

    fn start_watch(&self, address: &str) -> PlanStep {
        PlanStep::check(
            format!(
                "Repeat these checks through {address} from now on; a wrong or missing answer starts a rollback"
            ),
            StepAction::StartWatch,
        )
    }

    fn keep_watching(&self) -> PlanStep {
        let seconds = self.options.watch.as_secs();
        PlanStep::check(format!("Continue the checks for {seconds} s"), StepAction::KeepWatching)
    }

    /// An API server that cannot reach a webhook refuses every Ingress, and Portolan does not serve ingress-nginx's.
    fn webhook_steps(&self) -> impl Iterator<Item = PlanStep> {
        self.facts.webhooks.iter().map(|configuration| {
            let id = ObjectId::of(ResourceKind::Webhook, configuration);
            let hooks = items(&configuration["webhooks"]);
            let hooks = hooks.map(|hook| json!({ "name": hook["name"], "failurePolicy": "Ignore" }));
            PlanStep::change(
                format!(
                    "Set failurePolicy Ignore in {id}: Portolan does not serve this webhook, and the API server would refuse every change of an Ingress"
                ),
                "restore failurePolicy",
                StepAction::Patch(id, json!({ "webhooks": hooks.collect::<Vec<_>>() })),
            )
        })
    }

    fn selector_steps(&self, address: &str) -> Vec<PlanStep> {
        let copy = self.copy(self.workload.replicas().max(1));
        let mut steps = self.first_steps(address, &copy, self.workload.replicas().max(1));
        steps.extend(self.webhook_steps());
        steps.push(self.start_watch(address));
        // The Service that clients use is last: its answers are watched.
        for service in
            self.facts.other_services.iter().filter(|it| !is_webhook(it)).chain([&self.facts.service])
        {
            let id = ObjectId::of(ResourceKind::Service, service);
            let old = strings(&service["spec"]["selector"]);
            let new = copied_workload::copy_selector(&copy, &old);
            steps.push(PlanStep::change(
                format!("Change the selector of {id} from {} to {}", words(&old), words(&new)),
                format!("restore the selector {}", words(&old)),
                StepAction::Patch(id, selector_patch(service, &json!(new))),
            ));
        }
        steps.push(self.keep_watching());
        steps
    }

    fn image_steps(&self, address: &str) -> Vec<PlanStep> {
        let Self { options, workload, .. } = self;
        let trial = self.copy(1);
        let mut steps = self.first_steps(address, &trial, 1);
        let id = ObjectId::of(workload.resource, &workload.object);
        let Some(container) = workload.container(options.service) else { return steps };
        let (container, image) = (&container["name"], container["image"].as_str().unwrap_or_default());
        let mut patch = json!({ "spec": { "template": { "spec": {
            "containers": [{ "name": container, "image": options.image }],
        } } } });
        // A new Pod must be ready before an old one ends, else a Deployment of one Pod has none in between.
        if workload.resource == ResourceKind::Deployment && !workload.uses_node_ports() {
            patch["spec"]["strategy"] =
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
        }
        steps.extend(self.webhook_steps());
        steps.push(self.start_watch(address));
        steps.push(PlanStep::change(
            format!("Change the image of {id} from {image} to {}, one Pod after the other", options.image),
            format!("restore the image {image}"),
            StepAction::Patch(id.clone(), patch),
        ));
        steps.push(PlanStep::check(
            format!(
                "Wait until all its Pods run the new image and are ready, at most {} s",
                options.timeout.as_secs()
            ),
            StepAction::WaitReady(id),
        ));
        steps.push(self.keep_watching());
        let trial = ObjectId::of(ResourceKind::Deployment, &trial);
        steps.push(PlanStep::check(format!("Delete {trial}"), StepAction::Delete(trial)));
        steps
    }
}

/// A Service of an admission webhook: Portolan does not serve ingress-nginx's webhook.
fn is_webhook(service: &Value) -> bool {
    name(service).ends_with("-admission")
        || items(&service["spec"]["ports"]).any(|port| port["targetPort"] == "webhook")
}

fn pods(count: u64) -> String {
    if count == 1 { "1 Pod".to_owned() } else { format!("{count} Pods") }
}

/// Labels as text: `k8s-app=kube-dns`.
fn words(labels: &LabelMap) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
