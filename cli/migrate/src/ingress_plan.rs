//! The plan for ingress, from facts, and the requests that compare both proxies. Pure: no I/O.

use std::collections::BTreeMap;

use ingress_routes::annotations::UNSUPPORTED;
use serde_json::Value;

use crate::copied_workload::Workload;
use crate::distribution::Distribution;
use crate::facts::Facts;
use crate::http_request::HttpRequest;
use crate::objects::{annotation, flag, items, name, namespace};
use crate::options::{MigrateOptions, MigratedService};
use crate::plan::MigrationPlan;
use crate::status_removal::removes_status;
use crate::takeover::{Takeover, found, shared_refusals};

/// Requests that are made at most.
const REQUESTS: usize = 200;

/// A host that no Ingress has (RFC 6761).
const UNKNOWN_HOST: &str = "portolan-migrate.invalid";

/// Annotation prefix without `--annotations-prefix`.
const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// Makes the plan.
pub(crate) fn plan(options: &MigrateOptions, facts: &Facts) -> (MigrationPlan, Vec<HttpRequest>) {
    let mut plan = MigrationPlan {
        found: found(facts),
        refusals: shared_refusals(options, facts),
        ..MigrationPlan::default()
    };
    let mut requests = Vec::new();
    if let Some(workload) = facts.workload() {
        match workload.container(MigratedService::Ingress) {
            None => plan.refusals.push(format!("{} does not run ingress-nginx", workload.title())),
            Some(container) => {
                let scope = IngressScope::of(container, &facts.classes);
                let ingresses: Vec<_> =
                    facts.ingresses.iter().filter(|ingress| scope.contains(ingress)).collect();
                plan.found.push(("Ingresses", format!("{} of class {}", ingresses.len(), scope.describe())));
                requests = route_requests(&ingresses);
                plan.notes
                    .extend(unsupported(&ingresses, flag(container, "annotations-prefix").unwrap_or(PREFIX)));
                if !plan.refusals.is_empty() {
                    return (plan, requests);
                }
                let takeover = Takeover {
                    options,
                    facts,
                    workload,
                    checks: format!("Send {} requests", requests.len()),
                };
                takeover.add_steps(&mut plan);
                plan.notes.extend(notes(options, facts, workload));
            }
        }
    }
    if !plan.refusals.is_empty() {
        plan.steps.clear();
    }
    (plan, requests)
}

fn notes(options: &MigrateOptions, facts: &Facts, workload: &Workload) -> Vec<String> {
    let mut notes = Vec::new();
    if workload.uses_node_ports() {
        notes.push(
            "a node has no proxy while its Pod is replaced, since two Pods cannot share its ports".to_owned(),
        );
    }
    if workload.uses_node_ports() && workload.replicas() < 2 && removes_status(workload) {
        notes.push(format!(
            "the only Pod of {} removes its address from the status of every Ingress when it ends, and external-dns may then delete the \
             records of the hosts: give it the flag --update-status-on-shutdown=false before the migration",
            workload.title()
        ));
    }
    if facts.detection.distribution == Distribution::Rke2 {
        notes.push(format!(
            "RKE2 restores its chart's image at the next upgrade; this HelmChartConfig keeps Portolan's:\n{}",
            helm_chart_config(&options.image)
        ));
    }
    notes
}

/// A HelmChartConfig for RKE2's ingress-nginx. `rancher/nginx-ingress-controller` is split as the chart joins it.
fn helm_chart_config(image: &str) -> String {
    let (repository, tag) =
        image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((image, "latest"));
    format!(
        "apiVersion: helm.cattle.io/v1\nkind: HelmChartConfig\nmetadata:\n  name: rke2-ingress-nginx\n  namespace: kube-system\nspec:\n  \
         valuesContent: |-\n    controller:\n      image:\n        repository: {repository}\n        tag: {tag}"
    )
}

/// Which Ingresses ingress-nginx serves, by its flags.
struct IngressScope {
    classes: Vec<String>,
    annotation: String,
    without_class: bool,
    namespace: Option<String>,
}

impl IngressScope {
    fn of(container: &Value, classes: &[Value]) -> Self {
        let controller = flag(container, "controller-class").unwrap_or("k8s.io/ingress-nginx");
        let own = classes.iter().filter(|class| class["spec"]["controller"] == controller);
        Self {
            classes: own.map(|class| name(class).to_owned()).collect(),
            annotation: flag(container, "ingress-class").unwrap_or("nginx").to_owned(),
            without_class: flag(container, "watch-ingress-without-class") == Some("true"),
            namespace: flag(container, "watch-namespace").filter(|it| !it.is_empty()).map(str::to_owned),
        }
    }

    fn contains(&self, ingress: &Value) -> bool {
        if self.namespace.as_deref().is_some_and(|wanted| wanted != namespace(ingress)) {
            return false;
        }
        let class = ingress["spec"]["ingressClassName"].as_str();
        match (annotation(ingress, "kubernetes.io/ingress.class"), class) {
            (Some(annotation), _) => annotation == self.annotation,
            (None, Some(class)) => self.classes.iter().any(|own| own == class),
            (None, None) => self.without_class,
        }
    }

    fn describe(&self) -> String {
        if self.classes.is_empty() { self.annotation.clone() } else { self.classes.join(", ") }
    }
}

/// A request for each host and path, over TLS where the Ingress has a certificate for the host; one Ingress after the other.
fn route_requests(ingresses: &[&Value]) -> Vec<HttpRequest> {
    let mut requests: Vec<HttpRequest> = Vec::new();
    let mut add = |tls, host: &str, path: &str| {
        let request = HttpRequest { tls, host: host.to_owned(), path: path.to_owned() };
        if requests.len() < REQUESTS && !requests.contains(&request) {
            requests.push(request);
        }
    };
    add(false, UNKNOWN_HOST, "/");
    for ingress in ingresses {
        let secured: Vec<&str> = items(&ingress["spec"]["tls"])
            .flat_map(|tls| items(&tls["hosts"]))
            .filter_map(Value::as_str)
            .collect();
        for rule in items(&ingress["spec"]["rules"]) {
            let host = rule["host"].as_str().unwrap_or_default();
            let host_name = match host.strip_prefix("*.") {
                Some(parent) => format!("portolan-migrate.{parent}"),
                None if host.is_empty() => UNKNOWN_HOST.to_owned(),
                None => host.to_owned(),
            };
            for path in items(&rule["http"]["paths"]) {
                let path = literal(path["path"].as_str().unwrap_or("/"));
                add(false, &host_name, &path);
                if secured.contains(&host) {
                    add(true, &host_name, &path);
                }
            }
        }
    }
    requests
}

/// The path, cut before its first regular expression.
fn literal(path: &str) -> String {
    let end =
        path.find(|ch: char| !ch.is_ascii_graphic() || "()[]{}*+?|^$\\".contains(ch)).unwrap_or(path.len());
    let path = &path[..end];
    if path.starts_with('/') { path.to_owned() } else { "/".to_owned() }
}

/// A note for each annotation that Portolan does not honour, with the Ingresses that set it to a value that matters.
fn unsupported(ingresses: &[&Value], prefix: &str) -> Vec<String> {
    let mut found: BTreeMap<&str, (Vec<String>, &str)> = BTreeMap::new();
    for ingress in ingresses {
        for setting in UNSUPPORTED {
            let value = annotation(ingress, &format!("{prefix}/{}", setting.name));
            if value.is_some_and(|value| setting.explain(value).is_some()) {
                let title = format!("{}/{}", namespace(ingress), name(ingress));
                found.entry(setting.name).or_insert_with(|| (Vec::new(), setting.consequence)).0.push(title);
            }
        }
    }
    let note = |(annotation, (ingresses, consequence)): (&str, (Vec<String>, &str))| {
        let shown = ingresses.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more =
            if ingresses.len() > 3 { format!(" and {} more", ingresses.len() - 3) } else { String::new() };
        format!("annotation {annotation} is not honoured: {consequence} (Ingress {shown}{more})")
    };
    found.into_iter().map(note).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(class: Option<&str>, host: &str, paths: &[&str]) -> Value {
        let paths: Vec<_> = paths.iter().map(|path| json!({ "path": path })).collect();
        json!({
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "ingressClassName": class, "rules": [{ "host": host, "http": { "paths": paths } }] },
        })
    }

    #[test]
    fn only_ingresses_of_the_controller_are_compared() {
        let container = json!({ "args": ["/nginx-ingress-controller", "--controller-class=k8s.io/ingress-nginx", "--ingress-class=nginx"] });
        let classes = [
            json!({ "metadata": { "name": "nginx" }, "spec": { "controller": "k8s.io/ingress-nginx" } }),
            json!({ "metadata": { "name": "other" }, "spec": { "controller": "example.com/other" } }),
        ];
        let scope = IngressScope::of(&container, &classes);
        let mut annotated = ingress(None, "a.test", &["/"]);
        annotated["metadata"]["annotations"] = json!({ "kubernetes.io/ingress.class": "nginx" });
        assert!(scope.contains(&ingress(Some("nginx"), "a.test", &["/"])) && scope.contains(&annotated));
        assert!(!scope.contains(&ingress(Some("other"), "a.test", &["/"])));
        assert!(!scope.contains(&ingress(None, "a.test", &["/"])));
        assert_eq!(scope.describe(), "nginx");
    }

    #[test]
    fn each_host_and_path_is_requested_and_over_tls_where_there_is_a_certificate() {
        let mut secured = ingress(Some("nginx"), "*.shop.test", &["/", "/api(/|$)(.*)"]);
        secured["spec"]["tls"] = json!([{ "hosts": ["*.shop.test"], "secretName": "s" }]);
        let plain = ingress(Some("nginx"), "a.test", &["/x", "/x", "no-slash"]);
        let found: Vec<_> = route_requests(&[&secured, &plain]).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "http://portolan-migrate.invalid/",
                "http://portolan-migrate.shop.test/",
                "https://portolan-migrate.shop.test/",
                "http://portolan-migrate.shop.test/api",
                "https://portolan-migrate.shop.test/api",
                "http://a.test/x",
                "http://a.test/",
            ]
        );
    }

    #[test]
    fn an_annotation_that_is_not_honoured_is_noted_with_its_ingresses() {
        let Some(setting) = UNSUPPORTED.iter().find(|setting| setting.explain("x").is_some()) else { return };
        let mut object = ingress(Some("nginx"), "a.test", &["/"]);
        object["metadata"]["annotations"] = json!({ format!("{PREFIX}/{}", setting.name): "x" });
        let notes = unsupported(&[&object], PREFIX);
        assert!(
            notes.len() == 1 && notes[0].contains(setting.name) && notes[0].contains("shop/web"),
            "{notes:?}"
        );
        assert_eq!(unsupported(&[&object], "example.com"), [""; 0]);
    }
}
