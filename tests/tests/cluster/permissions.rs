//! The requests that Portolan's Pods made during the whole run (the API server's audit log) against the permissions that the chart gives.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use serde_json::Value;
use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::wait;

use crate::backends::SHOP;
use crate::chart::{DEPLOYMENTS, NAMESPACE, ensure_ingress};

/// What a request does, or what a rule allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Access {
    verb: String,
    /// `group/resource`, followed by `/subresource` if there is one.
    resource: String,
    /// The only namespace; none for all of them, and for objects without a namespace.
    namespace: Option<String>,
    /// The only object, from the path or the field selector `metadata.name`; none for all of them.
    name: Option<String>,
}

impl Access {
    /// Whether a rule that allows this allows a request of `other`.
    fn covers(&self, other: &Access) -> bool {
        let includes = |own: &Option<String>, other: &Option<String>| own.is_none() || own == other;
        self.verb == other.verb
            && self.resource == other.resource
            && includes(&self.namespace, &other.namespace)
            && includes(&self.name, &other.name)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { verb, resource, namespace, name } = self;
        let (namespace, name) = (namespace.as_deref().unwrap_or("*"), name.as_deref().unwrap_or("*"));
        write!(f, "{verb} {resource} {namespace}/{name}")
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

/// The requests of a service account (`namespace:name`) for objects, each with its status code.
///
/// A watch that begins with all objects (`sendInitialEvents`) counts as a list, too: older servers do not have it, and get a
/// list instead.
fn requests(node: &ClusterNode, account: &str) -> BTreeSet<(Access, u64)> {
    let log = fs::read_to_string(node.folder().join("audit.log")).expect("the API server writes it");
    let user = format!("system:serviceaccount:{account}");
    let events = log.lines().filter(|line| line.contains(&user));
    let events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = events.filter(|event| event["user"]["username"] == user.as_str());
    let requests = own.filter(|event| event["objectRef"]["resource"].is_string()).flat_map(|event| {
        let object = &event["objectRef"];
        let mut resource = format!(
            "{}/{}",
            object["apiGroup"].as_str().unwrap_or_default(),
            object["resource"].as_str().unwrap_or_default()
        );
        resource.extend(text(&object["subresource"]).map(|name| format!("/{name}")));
        let access = Access {
            verb: text(&event["verb"]).unwrap_or_default(),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
        };
        let streams = event["requestURI"].as_str().is_some_and(|uri| uri.contains("sendInitialEvents=true"));
        let list = streams.then(|| Access { verb: "list".to_owned(), ..access.clone() });
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        [Some(access), list].into_iter().flatten().map(move |access| (access, code))
    });
    requests.collect()
}

/// What the Roles and ClusterRoles that are bound to the service account allow.
fn permissions(node: &ClusterNode, account: &str) -> BTreeSet<Access> {
    let mut permissions = BTreeSet::new();
    for kind in ["clusterrolebindings", "rolebindings"] {
        let list = node.kubectl(&["get", kind, "-A", "-o", "json"]);
        let list: Value = serde_json::from_str(&list).expect("kubectl prints JSON");
        for binding in list["items"].as_array().into_iter().flatten() {
            let is_account = |subject: &Value| {
                subject["kind"] == "ServiceAccount"
                    && subject["name"] == account
                    && subject["namespace"] == NAMESPACE
            };
            if binding["subjects"].as_array().into_iter().flatten().any(is_account) {
                permissions.extend(rules(node, binding));
            }
        }
    }
    permissions
}

/// What the role of a binding allows where the binding is.
fn rules(node: &ClusterNode, binding: &Value) -> Vec<Access> {
    let namespace = text(&binding["metadata"]["namespace"]);
    let role = &binding["roleRef"];
    let object = format!(
        "{}/{}",
        role["kind"].as_str().unwrap_or_default().to_ascii_lowercase(),
        role["name"].as_str().unwrap_or_default()
    );
    let role = node.read(namespace.as_deref().unwrap_or_default(), &object).expect("the role of a binding");
    let mut rules = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names = texts(&rule["resourceNames"]);
        let names = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        // The core group is the empty text.
        let groups = rule["apiGroups"].as_array().into_iter().flatten();
        for group in groups.map(|group| group.as_str().unwrap_or_default()) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rules.extend(names.iter().map(|name| Access {
                        verb: verb.clone(),
                        resource: format!("{group}/{resource}"),
                        namespace: namespace.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
    }
    rules
}

fn lines<'a>(accesses: impl IntoIterator<Item = &'a Access>) -> String {
    accesses.into_iter().map(|access| format!("\n  {access}")).collect()
}

/// The service accounts, `namespace:name`, from which Portolan has sent requests.
fn accounts(node: &ClusterNode) -> BTreeSet<String> {
    let log = fs::read_to_string(node.folder().join("audit.log")).expect("the API server writes it");
    let events = log.lines().filter(|line| line.contains("\"userAgent\":\"portolan/"));
    let events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let users = events.filter_map(|event| text(&event["user"]["username"]));
    users.filter_map(|user| Some(user.strip_prefix("system:serviceaccount:")?.to_owned())).collect()
}

/// The request that the case `a_forbidden_list_keeps_the_new_pod_from_serving` forbids.
fn is_forbidden_by_a_case(access: &Access) -> bool {
    access.resource == "networking.k8s.io/ingresses"
}

/// Whether the requests are for objects that users create, or whose names are made: a rule cannot name them.
fn has_any_name(access: &Access) -> bool {
    let any = [
        ("get", "networking.k8s.io/ingresses"),
        ("update", "networking.k8s.io/ingresses/status"),
        ("create", "/events"),
        ("patch", "/events"),
        ("create", "coordination.k8s.io/leases"),
        ("get", "/pods"),
    ];
    any.contains(&(access.verb.as_str(), access.resource.as_str()))
}

/// Whether a controller sends such requests when it ends. Helm removes its permissions before its Pods have ended.
fn is_of_the_end(access: &Access) -> bool {
    let resources =
        ["coordination.k8s.io/leases", "networking.k8s.io/ingresses/status", "/pods", "/events", "/services"];
    resources.contains(&access.resource.as_str()) && !matches!(access.verb.as_str(), "watch")
}

/// Changes an Ingress until one Event stands for two versions: the second one is a patch.
fn ensure_counted_event(node: &ClusterNode) {
    let mut version = 0;
    wait::until("an Event of two versions", POD_TIMEOUT, || {
        version += 1;
        let annotation = format!("example.com/version={version}");
        node.kubectl(&["annotate", "ingress", "web", "-n", SHOP, "--overwrite", &annotation]);
        let selector = "reason=Sync,involvedObject.name=web";
        let path = "jsonpath={.items[*].count}";
        let counts = node.kubectl(&["get", "events", "-n", SHOP, "--field-selector", selector, "-o", path]);
        if counts.split_whitespace().any(|count| count != "1") { Ok(()) } else { Err(counts) }
    });
}

/// Each request is allowed by a rule of the chart, not by one that every account has; each rule is used, and none allows more
/// namespaces or objects than the requests need. The last case: the log has the requests of all others.
pub(crate) fn each_permission_is_used_and_none_is_missing(node: &mut ClusterNode) {
    ensure_ingress(node);
    ensure_counted_event(node);
    for deployment in DEPLOYMENTS {
        let account = node.field(NAMESPACE, deployment, "{.spec.template.spec.serviceAccountName}");
        let requests = requests(node, &format!("{NAMESPACE}:{account}"));
        let used: BTreeSet<Access> = requests.into_iter().map(|(access, _)| access).collect();
        let given = permissions(node, &account);
        assert!(!given.is_empty(), "{account} has permissions");

        let elsewhere: Vec<_> =
            used.iter().filter(|used| !given.iter().any(|given| given.covers(used))).collect();
        assert!(elsewhere.is_empty(), "the chart does not allow {account}:{}", lines(elsewhere));
        // A rule that is used, but never to its full extent, is too wide.
        let is_used = |given: &&Access| has_any_name(given) && used.iter().any(|used| given.covers(used));
        let too_wide: Vec<_> = given.difference(&used).filter(|given| !is_used(given)).collect();
        assert!(
            too_wide.is_empty(),
            "{account} does not need:{}\nit requests:{}",
            lines(too_wide),
            lines(&used)
        );
        eprintln!("    {account} requests, and may do no more:{}", lines(&used));
    }
    // Also those of releases that are gone, and of the manifests of CoreDNS and ingress-nginx.
    let accounts = accounts(node);
    assert!(accounts.len() >= DEPLOYMENTS.len(), "{accounts:?}");
    for account in accounts {
        let requests = requests(node, &account);
        // Helm removes permissions before its Pods have ended: what was allowed once is not missing.
        let was_allowed =
            |access: &Access| requests.iter().any(|(other, code)| other == access && *code < 400);
        let refused: Vec<_> = requests
            .iter()
            .filter(|(access, code)| {
                *code == 403
                    && !is_forbidden_by_a_case(access)
                    && !is_of_the_end(access)
                    && !was_allowed(access)
            })
            .map(|(access, _)| access)
            .collect();
        assert!(refused.is_empty(), "{account} lacks permissions:{}", lines(refused));
        eprintln!("    {account}: {} kinds of requests, none is refused", requests.len());
    }
}
