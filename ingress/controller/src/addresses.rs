//! The addresses in the status of Ingresses, by the rules of ingress-nginx.

use std::net::IpAddr;

use cluster::LoadBalancerAddress;
use serde_json::{Value, json};

/// An address that is a host name unless it can be parsed as an IP address.
pub(crate) fn name_or_ip(text: &str) -> LoadBalancerAddress {
    let address = LoadBalancerAddress::default();
    match text.parse::<IpAddr>() {
        Ok(_) => LoadBalancerAddress { ip: text.into(), ..address },
        Err(_) => LoadBalancerAddress { hostname: text.into(), ..address },
    }
}

/// `--publish-status-address`: separated by commas.
pub(crate) fn of_list(list: &str) -> Vec<LoadBalancerAddress> {
    sorted(list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(name_or_ip))
}

/// Those of a Service: of a load balancer its addresses and the external ones, of a node port the external ones or the cluster IP, of an
/// external name that name.
pub(crate) fn of_service(service: &Value) -> Vec<LoadBalancerAddress> {
    let (spec, text) = (&service["spec"], |value: &Value| value.as_str().unwrap_or_default().to_owned());
    let ip = |value: &Value| LoadBalancerAddress { ip: text(value).into(), ..LoadBalancerAddress::default() };
    let external = spec["externalIPs"].as_array().into_iter().flatten().map(ip);
    let cluster_ip = || {
        let address = Some(ip(&spec["clusterIP"])).filter(|address| address.ip != "None");
        address.into_iter().collect::<Vec<_>>()
    };
    let found = match spec["type"].as_str() {
        Some("ExternalName") => {
            let hostname = text(&spec["externalName"]).into();
            vec![LoadBalancerAddress { hostname, ..LoadBalancerAddress::default() }]
        }
        Some("LoadBalancer") => {
            let entries = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
            let address = |entry: &Value| LoadBalancerAddress {
                hostname: text(&entry["hostname"]).into(),
                ip: text(&entry["ip"]).into(),
            };
            entries.map(address).chain(external).collect()
        }
        Some("NodePort") => match external.collect::<Vec<_>>() {
            none if none.is_empty() => cluster_ip(),
            external => external,
        },
        _ => cluster_ip(),
    };
    sorted(found)
}

/// The address of a Node: an external one, unless only internal ones are wanted or there is none.
pub(crate) fn of_node(node: &Value, internal: bool) -> Option<LoadBalancerAddress> {
    let addresses = || node["status"]["addresses"].as_array().into_iter().flatten();
    let first = |kind: &str| {
        addresses()
            .filter(|address| address["type"] == kind)
            .filter_map(|address| address["address"].as_str())
            .find(|address| !address.is_empty())
    };
    let external = if internal { None } else { first("ExternalIP") };
    external.or_else(|| first("InternalIP")).map(name_or_ip)
}

/// The name of the Node of a Pod that is running and ready.
pub(crate) fn node_of_ready_pod(pod: &Value) -> Option<&str> {
    let conditions = || pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let is_running = pod["status"]["phase"] == "Running";
    pod["spec"]["nodeName"].as_str().filter(|_| is_ready && is_running)
}

/// Without duplicates and empty entries, in the order in which they are written.
pub(crate) fn sorted(addresses: impl IntoIterator<Item = LoadBalancerAddress>) -> Vec<LoadBalancerAddress> {
    let is_set = |address: &LoadBalancerAddress| !address.ip.is_empty() || !address.hostname.is_empty();
    let mut addresses: Vec<_> = addresses.into_iter().filter(is_set).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// As `status.loadBalancer.ingress`.
pub(crate) fn to_json(addresses: &[LoadBalancerAddress]) -> Value {
    let entry = |address: &LoadBalancerAddress| {
        let mut entry = json!({});
        for (field, text) in [("hostname", &address.hostname), ("ip", &address.ip)] {
            if !text.is_empty() {
                entry[field] = text.as_str().into();
            }
        }
        entry
    };
    addresses.iter().map(entry).collect()
}

/// From `status.loadBalancer.ingress`.
pub(crate) fn from_json(entries: &Value) -> Vec<LoadBalancerAddress> {
    let text = |value: &Value| value.as_str().unwrap_or_default().into();
    let entries = entries.as_array().into_iter().flatten();
    sorted(
        entries
            .map(|entry| LoadBalancerAddress { hostname: text(&entry["hostname"]), ip: text(&entry["ip"]) }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(addresses: &[LoadBalancerAddress]) -> String {
        to_json(addresses).to_string()
    }

    #[test]
    fn a_service_has_addresses_by_its_type() {
        let lb = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example"}]}});
        for (spec, status, wanted) in [
            (
                json!({"type": "LoadBalancer"}),
                lb.clone(),
                r#"[{"ip":"192.0.2.9"},{"hostname":"lb.example"}]"#,
            ),
            (
                json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.9", "192.0.2.1"]}),
                lb,
                r#"[{"ip":"192.0.2.1"},{"ip":"192.0.2.9"},{"hostname":"lb.example"}]"#,
            ),
            (json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9"}), json!({}), "[]"),
            (json!({"type": "NodePort", "clusterIP": "10.96.0.9"}), json!({}), r#"[{"ip":"10.96.0.9"}]"#),
            (
                json!({"type": "NodePort", "clusterIP": "10.96.0.9", "externalIPs": ["192.0.2.1"]}),
                json!({}),
                r#"[{"ip":"192.0.2.1"}]"#,
            ),
            (json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"}), json!({}), r#"[{"ip":"10.96.0.9"}]"#),
            (json!({"clusterIP": "None"}), json!({}), "[]"),
            (
                json!({"type": "ExternalName", "externalName": "edge.example"}),
                json!({}),
                r#"[{"hostname":"edge.example"}]"#,
            ),
        ] {
            let service = json!({"spec": spec, "status": status});
            assert_eq!(shown(&of_service(&service)), wanted, "{service}");
        }
    }

    #[test]
    fn a_node_has_an_external_address_or_an_internal_one() {
        let address = |kind: &str, address: &str| json!({"type": kind, "address": address});
        let both = json!({"status": {"addresses": [address("InternalIP", "10.0.0.1"), address("ExternalIP", "192.0.2.1")]}});
        let internal =
            json!({"status": {"addresses": [address("Hostname", "n"), address("InternalIP", "10.0.0.2")]}});
        let ip = |node: &Value, only| of_node(node, only).map(|address| address.ip.to_string());
        assert_eq!(ip(&both, false).as_deref(), Some("192.0.2.1"));
        assert_eq!(ip(&both, true).as_deref(), Some("10.0.0.1"));
        assert_eq!(ip(&internal, false).as_deref(), Some("10.0.0.2"));
        assert_eq!(ip(&json!({}), false), None);
    }

    #[test]
    fn only_running_and_ready_pods_count() {
        let pod = |phase: &str, ready: &str| json!({"spec": {"nodeName": "n"}, "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        assert_eq!(node_of_ready_pod(&pod("Running", "True")), Some("n"));
        assert_eq!(node_of_ready_pod(&pod("Running", "False")), None);
        assert_eq!(node_of_ready_pod(&pod("Pending", "True")), None);
    }

    #[test]
    fn a_list_has_addresses_and_names_in_order() {
        let list = of_list("192.0.2.2, edge.example,192.0.2.1, 192.0.2.2 ,2001:db8::1,");
        assert_eq!(
            shown(&list),
            r#"[{"ip":"192.0.2.1"},{"ip":"192.0.2.2"},{"ip":"2001:db8::1"},{"hostname":"edge.example"}]"#
        );
        assert_eq!(from_json(&to_json(&list)), list);
    }
}
