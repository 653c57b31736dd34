//! Reads from the API server what a plan is made of.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{JsonApi, RequestError};
use crate::copied_workload::{Workload, copy_name};
use crate::distribution::{self, Detection, Distribution};
use crate::error::MigrateError;
use crate::mounted_files;
use crate::objects::{
    LabelMap, MIGRATION_LABEL, ObjectId, ResourceKind, items, labels, name, namespace, selects, strings,
    template_labels,
};
use crate::options::{MigrateOptions, MigratedService};

/// Nodes and Services that are read at most; enough to detect a distribution and to sample names.
const SAMPLE: usize = 200;

/// Kinds of policies besides NetworkPolicy that select Pods by label, by their path.
const OTHER_POLICIES: [&str; 5] = [
    "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "/apis/crd.projectcalico.org/v1/networkpolicies",
    "/apis/crd.projectcalico.org/v1/globalnetworkpolicies",
    "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
];

/// What both services have in common: a Service, and the workload whose Pods it selects.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The distribution and how it was detected.
    pub detection: Detection,
    /// The Service that clients use.
    pub service: Value,
    /// Its selector.
    pub selector: LabelMap,
    /// The workloads whose Pods it selects, without those of a migration.
    pub workloads: Vec<Workload>,
    /// Other Services of the namespace that select the same Pods.
    pub other_services: Vec<Value>,
    /// The ConfigMaps that the workload mounts.
    pub config_maps: BTreeMap<String, Value>,
    /// DaemonSets of the namespace.
    pub daemon_sets: Vec<Value>,
    /// Policies whose text contains a value of the selector, as `NetworkPolicy shop/allow-dns`.
    pub policies: Vec<String>,
    /// Kinds of policies that could not be read.
    pub unreadable: Vec<String>,
    /// Services of the cluster, at most [`SAMPLE`].
    pub services: Vec<Value>,
    /// Admission webhooks that the Pods serve and that fail closed.
    pub webhooks: Vec<Value>,
    /// The Ingresses of the cluster; empty for DNS.
    pub ingresses: Vec<Value>,
    /// The IngressClasses; empty for DNS.
    pub classes: Vec<Value>,
    /// The copy of an earlier migration.
    pub earlier_copy: Option<Value>,
}

impl Facts {
    /// The only workload; `None` if there are none or several.
    pub(crate) fn workload(&self) -> Option<&Workload> {
        match self.workloads.as_slice() {
            [workload] => Some(workload),
            _ => None,
        }
    }
}

/// Names of the Service that clients use, in the order in which they are looked for.
fn usual_names(service: MigratedService) -> &'static [&'static str] {
    match service {
        MigratedService::Dns => &["kube-dns", "coredns", "rke2-coredns-rke2-coredns", "dns-default"],
        MigratedService::Ingress => &[
            "ingress-nginx-controller",
            "rke2-ingress-nginx-controller",
            "nginx-ingress-controller",
            "ingress-nginx",
        ],
    }
}

/// Reads the facts.
///
/// # Errors
/// A refusal if there is no such Service; a failure if the API server does not answer.
pub(crate) async fn read(api: &JsonApi, options: &MigrateOptions) -> Result<Facts, MigrateError> {
    let in_namespace = |resource: ResourceKind| resource.list_path(Some(&options.namespace));
    let services_here = all(api, &in_namespace(ResourceKind::Service)).await?;
    let service = find_service(&services_here, options)?;
    let selector = strings(&service["spec"]["selector"]);

    let daemon_sets = all(api, &in_namespace(ResourceKind::DaemonSet)).await?;
    let deployments = all(api, &in_namespace(ResourceKind::Deployment)).await?;
    let of_kind = |resource, objects: &[Value]| -> Vec<Workload> {
        objects.iter().cloned().map(|object| Workload { resource, object }).collect()
    };
    let mut workloads = of_kind(ResourceKind::Deployment, &deployments);
    workloads.extend(of_kind(ResourceKind::DaemonSet, &daemon_sets));
    workloads.retain(|workload| {
        selects(&selector, &template_labels(&workload.object))
            && !labels(&workload.object).contains_key(MIGRATION_LABEL)
    });

    let mut config_maps = BTreeMap::new();
    for workload in &workloads {
        for name in mounted_files::config_map_names(&workload.object) {
            let id =
                ObjectId { resource: ResourceKind::ConfigMap, namespace: options.namespace.clone(), name };
            if let Some(config_map) = api.get(&id.path()).await? {
                config_maps.insert(id.name, config_map);
            }
        }
    }

    let pods = workloads.first().map(|workload| template_labels(&workload.object)).unwrap_or_default();
    let mut other_services = services_here.clone();
    other_services.retain(|other| {
        name(other) != name(&service) && selects(&strings(&other["spec"]["selector"]), &pods)
    });

    let (policies, unreadable) = policies(api, &selector).await?;
    let nodes = all(api, &format!("{}?limit={SAMPLE}", ResourceKind::Node.list_path(None))).await?;
    let kubeadm = ObjectId {
        resource: ResourceKind::ConfigMap,
        namespace: "kube-system".to_owned(),
        name: "kubeadm-config".to_owned(),
    };
    let kubeadm = api.get(&kubeadm.path()).await?.is_some();
    let detection = match &options.distribution {
        Some(word) => Detection {
            distribution: Distribution::named(word).unwrap_or(Distribution::Other),
            evidence: "given by --distribution".to_owned(),
        },
        None => distribution::detect(&nodes, workloads.first().map(|workload| &workload.object), kubeadm),
    };
    let own_name = copy_name(options.service);
    let (mut webhooks, mut ingresses, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    if options.service == MigratedService::Ingress {
        webhooks = all(api, &ResourceKind::Webhook.list_path(None)).await?;
        webhooks.retain(|configuration| {
            items(&configuration["webhooks"]).any(|hook| {
                let served_by = &hook["clientConfig"]["service"];
                let is_here = served_by["namespace"] == options.namespace.as_str();
                is_here
                    && hook["failurePolicy"] != "Ignore"
                    && other_services.iter().any(|other| served_by["name"] == name(other))
            })
        });
        ingresses = all(api, &ResourceKind::Ingress.list_path(None)).await?;
        classes = all(api, &ResourceKind::IngressClass.list_path(None)).await?;
    }
    Ok(Facts {
        detection,
        selector,
        workloads,
        other_services,
        config_maps,
        daemon_sets,
        policies,
        unreadable,
        services: all(api, &format!("{}?limit={SAMPLE}", ResourceKind::Service.list_path(None))).await?,
        webhooks,
        ingresses,
        classes,
        earlier_copy: deployments.into_iter().find(|object| name(object) == own_name),
        service,
    })
}

async fn all(api: &JsonApi, path: &str) -> Result<Vec<Value>, RequestError> {
    Ok(api.list(path).await?.unwrap_or_default())
}

fn find_service(services: &[Value], options: &MigrateOptions) -> Result<Value, MigrateError> {
    let by_name = |wanted: &str| services.iter().find(|service| name(service) == wanted).cloned();
    let (found, wanted) = match &options.service_name {
        Some(wanted) => (by_name(wanted), wanted.clone()),
        None => {
            let usual = usual_names(options.service);
            (usual.iter().find_map(|wanted| by_name(wanted)), usual.join(", "))
        }
    };
    found.ok_or_else(|| {
        MigrateError::refused(format!(
            "no Service in namespace {} with one of these names: {wanted}; --namespace and --service name another",
            options.namespace
        ))
    })
}

/// The policies whose text contains a value of the selector, and the kinds that could not be read.
async fn policies(api: &JsonApi, selector: &LabelMap) -> Result<(Vec<String>, Vec<String>), RequestError> {
    let own = ResourceKind::NetworkPolicy.list_path(None);
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for path in std::iter::once(own.as_str()).chain(OTHER_POLICIES) {
        let policies = match api.list(path).await {
            Ok(policies) => policies.unwrap_or_default(),
            Err(error) if error.status == Some(403) => {
                unreadable.push(path.rsplit('/').next().unwrap_or(path).to_owned());
                continue;
            }
            Err(error) => return Err(error),
        };
        for policy in policies {
            let text = policy["spec"].to_string() + &policy["specs"].to_string();
            if selector.values().any(|value| text.contains(value.as_str())) {
                let kind = path.rsplit('/').next().unwrap_or(path);
                found.push(format!("{kind} {}/{}", namespace(&policy), name(&policy)));
            }
        }
    }
    Ok((found, unreadable))
}
