//! ingress-nginx removes addresses from the status of Ingresses when its last Pod ends, unless a flag says otherwise.
//!
//! external-dns then deletes the records of the hosts, although Portolan serves them at the same address.

use serde_json::{Value, json};

use crate::copied_workload::Workload;
use crate::objects::flag;
use crate::options::MigratedService;

/// The flag of ingress-nginx; its default is true.
const FLAG: &str = "--update-status-on-shutdown";

/// Whether a workload of ingress-nginx removes addresses when its last Pod ends.
pub(crate) fn removes_status(workload: &Workload) -> bool {
    workload.container(MigratedService::Ingress).is_some_and(|container| {
        ["update-status", "update-status-on-shutdown"]
            .iter()
            .all(|name| !flag(container, name).is_some_and(is_false))
    })
}

/// The patch of a Deployment that gives ingress-nginx the flag with the value `false`. A new Pod is ready before an old one ends, since
/// an old Pod that finds no other removes the addresses. `None` without a container of ingress-nginx.
pub(crate) fn keep_status_patch(workload: &Workload) -> Option<Value> {
    let container = workload.container(MigratedService::Ingress)?;
    let has_arguments = container["args"].as_array().is_some_and(|words| !words.is_empty());
    let list = if has_arguments { "args" } else { "command" };
    let words = container[list].as_array().into_iter().flatten();
    let is_other = |word: &&Value| word.as_str().is_none_or(|word| word.split('=').next() != Some(FLAG));
    let mut words: Vec<Value> = words.filter(is_other).cloned().collect();
    words.push(json!(format!("{FLAG}=false")));
    Some(json!({ "spec": {
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
        "template": { "spec": { "containers": [{ "name": container["name"], list: words }] } },
    } }))
}

/// False in the syntax of Go's flags.
fn is_false(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ResourceKind;

    fn workload(container: Value) -> Workload {
        let object =
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "log" }, container] } } } });
        Workload { resource: ResourceKind::Deployment, object }
    }

    #[test]
    fn addresses_are_removed_unless_a_flag_forbids_it() {
        for (flags, removes) in [
            (&["--ingress-class=nginx"][..], true),
            (&["--update-status-on-shutdown"], true),
            (&["--update-status-on-shutdown=true"], true),
            (&["--update-status-on-shutdown=false"], false),
            (&["--update-status=0"], false),
        ] {
            let arguments = [&["/nginx-ingress-controller"], flags].concat();
            assert_eq!(removes_status(&workload(json!({ "args": arguments }))), removes, "{flags:?}");
        }
    }

    #[test]
    fn the_flag_is_added_to_the_list_that_has_the_flags() {
        let container = |list: &str, words: &[&str]| json!({ "name": "controller", list: words });
        for (list, words) in [
            ("args", &["/nginx-ingress-controller", "--update-status-on-shutdown=true", "--v=2"][..]),
            ("command", &["/nginx-ingress-controller", "--v=2"]),
        ] {
            let patch = keep_status_patch(&workload(container(list, words))).unwrap();
            let patched = &patch["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(patched["name"], "controller");
            assert_eq!(
                patched[list],
                json!(["/nginx-ingress-controller", "--v=2", "--update-status-on-shutdown=false"])
            );
            assert_eq!(patch["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        }
    }
}
