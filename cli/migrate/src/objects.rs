//! Read access to Kubernetes objects that are kept as JSON, because copies must keep fields that this crate does not know.

use std::collections::BTreeMap;

use serde_json::Value;

/// Label of every object that a migration creates; its value is the name of the service.
pub(crate) const MIGRATION_LABEL: &str = "portolan.dev/migration";

/// The kinds that are read or written: kind, API path, plural, whether it is namespaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResourceKind {
    ConfigMap,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Ingress,
    IngressClass,
    NetworkPolicy,
    Node,
    Pod,
    Service,
    Webhook,
}

impl ResourceKind {
    /// The kind, as in manifests.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::EndpointSlice => "EndpointSlice",
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::Webhook => "ValidatingWebhookConfiguration",
        }
    }

    /// The API group; empty for the core group.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::DaemonSet | Self::Deployment => "apps",
            Self::Ingress | Self::IngressClass | Self::NetworkPolicy => "networking.k8s.io",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Webhook => "admissionregistration.k8s.io",
            Self::ConfigMap | Self::Node | Self::Pod | Self::Service => "",
        }
    }

    /// The name in paths and in RBAC rules.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::DaemonSet => "daemonsets",
            Self::Deployment => "deployments",
            Self::EndpointSlice => "endpointslices",
            Self::Ingress => "ingresses",
            Self::IngressClass => "ingressclasses",
            Self::NetworkPolicy => "networkpolicies",
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Webhook => "validatingwebhookconfigurations",
        }
    }

    /// The path of the list; of one namespace if one is given.
    pub(crate) fn list_path(self, namespace: Option<&str>) -> String {
        let root = match self.group() {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{}", self.plural()),
            None => format!("{root}/{}", self.plural()),
        }
    }
}

/// An object; its namespace is empty if its kind has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectId {
    /// Its kind.
    pub resource: ResourceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectId {
    /// The id of an object of a known kind.
    pub(crate) fn of(resource: ResourceKind, object: &Value) -> Self {
        Self { resource, namespace: namespace(object).to_owned(), name: name(object).to_owned() }
    }

    /// The path of the object.
    pub(crate) fn path(&self) -> String {
        let namespace = Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        format!("{}/{}", self.resource.list_path(namespace), self.name)
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.resource.kind(), self.namespace, self.name)
    }
}

/// A map of labels.
pub(crate) type LabelMap = BTreeMap<String, String>;

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// `metadata.namespace`.
pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// The elements of an array; none if it is missing.
pub(crate) fn items<'a>(value: &'a Value) -> impl Iterator<Item = &'a Value> + Clone + use<'a> {
    value.as_array().into_iter().flatten()
}

/// The text values of an object.
pub(crate) fn strings(value: &Value) -> LabelMap {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// `metadata.labels`.
pub(crate) fn labels(object: &Value) -> LabelMap {
    strings(&object["metadata"]["labels"])
}

/// An annotation.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}

/// Whether the selector of a Service selects Pods with these labels. An empty selector selects none.
pub(crate) fn selects(selector: &LabelMap, labels: &LabelMap) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The names in `metadata.managedFields`.
pub(crate) fn field_managers(object: &Value) -> impl Iterator<Item = &str> {
    items(&object["metadata"]["managedFields"]).filter_map(|entry| entry["manager"].as_str())
}

/// The Pod template's labels of a workload.
pub(crate) fn template_labels(workload: &Value) -> LabelMap {
    labels(&workload["spec"]["template"])
}

/// The containers of a workload's Pod template.
pub(crate) fn containers(workload: &Value) -> impl Iterator<Item = &Value> + Clone {
    items(&workload["spec"]["template"]["spec"]["containers"])
}

/// `command` and `args` of a container.
pub(crate) fn arguments(container: &Value) -> impl Iterator<Item = &str> {
    items(&container["command"]).chain(items(&container["args"])).filter_map(Value::as_str)
}

/// The value of a command-line flag: `-name value`, `--name value`, `--name=value`.
pub(crate) fn flag<'a>(container: &'a Value, flag: &str) -> Option<&'a str> {
    let mut words = arguments(container);
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix('-').map(|rest| rest.strip_prefix('-').unwrap_or(rest)) else {
            continue;
        };
        match rest.split_once('=') {
            Some((name, value)) if name == flag => return Some(value),
            None if rest == flag => return words.next(),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flag_has_one_dash_or_two_and_its_value_behind_it_or_after_an_equals_sign() {
        let container =
            json!({ "command": ["/coredns"], "args": ["-conf", "/etc/coredns/Corefile", "--v=2", "-quiet"] });
        assert_eq!(flag(&container, "conf"), Some("/etc/coredns/Corefile"));
        assert_eq!(flag(&container, "v"), Some("2"));
        assert_eq!(flag(&container, "quiet"), None);
        assert_eq!(flag(&container, "con"), None);
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        let labels = strings(&json!({ "k8s-app": "kube-dns", "tier": "a" }));
        assert!(selects(&strings(&json!({ "k8s-app": "kube-dns" })), &labels));
        assert!(!selects(&strings(&json!({ "k8s-app": "other" })), &labels));
        assert!(!selects(&LabelMap::new(), &labels));
    }
}
