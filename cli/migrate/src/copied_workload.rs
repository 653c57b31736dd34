//! Portolan's workload: a copy of the existing one with another image, its own name and one changed label.

use serde_json::{Map, Value, json};

use crate::objects::{
    LabelMap, MIGRATION_LABEL, ResourceKind, arguments, containers, flag, items, labels, name, namespace,
    strings, template_labels,
};
use crate::options::MigratedService;

/// Annotation of the copy: the workload that it was copied from, as `Deployment/coredns`.
pub(crate) const REPLACES_ANNOTATION: &str = "portolan.dev/replaces";

/// Labels that name the workload: the first one that both selectors have is changed.
const NAME_LABELS: [&str; 5] =
    ["k8s-app", "app.kubernetes.io/name", "app.kubernetes.io/component", "app", "name"];

/// A Deployment or DaemonSet that serves DNS or ingress.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Deployment or DaemonSet.
    pub resource: ResourceKind,
    /// The object.
    pub object: Value,
}

impl Workload {
    /// Its number of Pods: `replicas`, or the desired number of a DaemonSet.
    pub(crate) fn replicas(&self) -> u64 {
        match self.resource {
            ResourceKind::DaemonSet => self.object["status"]["desiredNumberScheduled"].as_u64().unwrap_or(1),
            _ => self.object["spec"]["replicas"].as_u64().unwrap_or(1),
        }
    }

    /// True if its Pods use ports of the node, so that a second Pod cannot run beside them.
    pub(crate) fn uses_node_ports(&self) -> bool {
        let template = &self.object["spec"]["template"]["spec"];
        let host_port = |container: &Value| {
            items(&container["ports"]).any(|port| port["hostPort"].as_u64().is_some_and(|port| port > 0))
        };
        template["hostNetwork"].as_bool() == Some(true) || containers(&self.object).any(host_port)
    }

    /// The container that runs CoreDNS or ingress-nginx; `None` if there is no such container.
    pub(crate) fn container(&self, service: MigratedService) -> Option<&Value> {
        containers(&self.object).find(|container| runs(service, container))
    }

    /// `Deployment/coredns`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.resource.kind(), name(&self.object))
    }
}

fn runs(service: MigratedService, container: &Value) -> bool {
    let image = container["image"].as_str().unwrap_or_default();
    match service {
        MigratedService::Dns => {
            image.contains("coredns") || name_is(container, "coredns") || flag(container, "conf").is_some()
        }
        MigratedService::Ingress => {
            image.contains("ingress-nginx/controller")
                || image.contains("nginx-ingress-controller")
                || arguments(container).any(|word| word.ends_with("nginx-ingress-controller"))
                || arguments(container).any(|word| word.starts_with("--controller-class="))
        }
    }
}

fn name_is(container: &Value, name: &str) -> bool {
    container["name"] == name
}

/// The label whose value the copy changes, so that neither the Service nor the existing workload selects the copy's Pods: a label in
/// both selectors, if possible one that names the workload.
pub(crate) fn distinguishing_labels(workload: &Value, selector: &LabelMap) -> Vec<String> {
    let own = strings(&workload["spec"]["selector"]["matchLabels"]);
    let in_both: Vec<&String> = selector.keys().filter(|key| own.contains_key(*key)).collect();
    let preferred = NAME_LABELS.iter().find(|label| in_both.iter().any(|key| key == *label));
    if let Some(label) = preferred {
        return vec![(*label).to_owned()];
    }
    match in_both.first() {
        Some(key) => vec![(*key).clone()],
        // One of each selector.
        None => selector.keys().take(1).chain(own.keys().take(1)).cloned().collect(),
    }
}

/// The name of the copy.
pub(crate) fn copy_name(service: MigratedService) -> String {
    format!("portolan-{}", service.name())
}

/// Makes the copy: a Deployment with `replicas` Pods that run `image`. Pods of a trial use no ports of the node.
pub(crate) fn copy(
    workload: &Workload,
    service: MigratedService,
    selector: &LabelMap,
    image: &str,
    replicas: u64,
) -> Value {
    let object = &workload.object;
    let own_name = copy_name(service);
    let mut pod_labels = template_labels(object);
    for label in distinguishing_labels(object, selector) {
        pod_labels.insert(label, own_name.clone());
    }
    pod_labels.insert(MIGRATION_LABEL.to_owned(), service.name().to_owned());
    let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
    // Fields of a DaemonSet that a Deployment does not have.
    spec.remove("updateStrategy");
    spec.remove("paused");
    let mut match_labels = strings(&object["spec"]["selector"]["matchLabels"]);
    for (key, value) in &mut match_labels {
        // The API server requires that the template has every label of the selector.
        if let Some(label) = pod_labels.get(key) {
            value.clone_from(label);
        }
    }
    match_labels.insert(MIGRATION_LABEL.to_owned(), service.name().to_owned());
    spec.insert("selector".to_owned(), json!({ "matchLabels": match_labels }));
    spec.insert("replicas".to_owned(), json!(replicas));
    let template = &mut spec["template"];
    template["metadata"]["labels"] = json!(pod_labels);
    set_image(&mut template["spec"], service, image);
    if workload.uses_node_ports() {
        release_node_ports(&mut template["spec"]);
    }
    retarget_spread(&mut template["spec"], &strings(&object["spec"]["selector"]["matchLabels"]), &pod_labels);
    let mut own_labels = labels(object);
    // They tell an operator or a deploy controller that the object is theirs.
    own_labels.retain(|key, _| !key.contains("cattle.io") && !key.starts_with("addonmanager.kubernetes.io"));
    own_labels.extend(pod_labels.clone());
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": own_name,
            "namespace": namespace(object),
            "labels": own_labels,
            "annotations": { REPLACES_ANNOTATION: workload.title() },
        },
        "spec": Value::Object(spec),
    })
}

/// The selector of a Service for the Pods of the copy.
pub(crate) fn copy_selector(copy: &Value, selector: &LabelMap) -> LabelMap {
    let pod_labels = template_labels(copy);
    let mut own = selector.clone();
    for (key, value) in &mut own {
        if let Some(label) = pod_labels.get(key) {
            value.clone_from(label);
        }
    }
    own
}

fn set_image(pod: &mut Value, service: MigratedService, image: &str) {
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        if runs(service, container) {
            container["image"] = json!(image);
        }
    }
}

fn release_node_ports(pod: &mut Value) {
    if let Some(pod) = pod.as_object_mut() {
        pod.remove("hostNetwork");
    }
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        for port in container["ports"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            port.remove("hostPort");
        }
    }
}

/// Spread constraints and anti-affinity that refer to the old Pods' labels refer to those of the copy, so that the copy's Pods keep
/// apart from each other and not from the old ones, which would leave them without a node.
fn retarget_spread(pod: &mut Value, old: &LabelMap, new: &LabelMap) {
    match pod {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                if key == "labelSelector" {
                    retarget(value, old, new);
                } else if key != "containers" && key != "volumes" {
                    retarget_spread(value, old, new);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| retarget_spread(element, old, new)),
        _ => {}
    }
}

fn retarget(selector: &mut Value, old: &LabelMap, new: &LabelMap) {
    let replacement =
        |key: &str, value: &str| old.get(key).filter(|old| *old == value).and_then(|_| new.get(key));
    if let Some(match_labels) = selector["matchLabels"].as_object_mut() {
        let replaced: Map<_, _> = match_labels
            .iter()
            .map(|(key, value)| {
                let new = replacement(key, value.as_str().unwrap_or_default());
                (key.clone(), new.map_or_else(|| value.clone(), |new| json!(new)))
            })
            .collect();
        *match_labels = replaced;
    }
    for expression in selector["matchExpressions"].as_array_mut().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default().to_owned();
        for value in expression["values"].as_array_mut().into_iter().flatten() {
            if let Some(new) = replacement(&key, value.as_str().unwrap_or_default()) {
                *value = json!(new);
            }
        }
    }
}

#[cfg(test)]
mod tests;
