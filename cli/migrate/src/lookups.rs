//! The lookups that are made before, during and after a migration of DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{items, name, namespace};

/// How two answers to a lookup are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Comparison {
    /// Response code and the data of all records, in any order; TTLs may differ.
    Records,
    /// The response code: the records of external names may change with each answer.
    Code,
}

/// A lookup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DnsLookup {
    /// The name, with its final dot.
    pub name: String,
    /// `A`, `AAAA`, `SRV`, `PTR`, `SOA`, `CNAME`.
    pub kind: String,
    /// How answers are compared.
    pub compare: Comparison,
    /// True if the name belongs to the DNS of the Internet: it counts only if it is answered before the migration.
    #[serde(default)]
    pub external: bool,
    /// True if the answer is expected to stay the same: the lookup is repeated during the change.
    #[serde(default)]
    pub stable: bool,
}

impl DnsLookup {
    /// Whether its name is in a zone of the cluster, so that the answer does not depend on an upstream.
    pub(crate) fn is_of_the_cluster(&self) -> bool {
        self.compare == Comparison::Records
    }
}

/// Maximum number of Services that are looked up.
const SERVICES: usize = 20;

/// Number of Services whose lookups are repeated during the change.
const STABLE_SERVICES: usize = 3;

/// The lookups for a cluster with these Services, whose DNS serves these zones.
pub(crate) fn lookups(
    services: &[Value],
    zones: &[String],
    other_zones: &[String],
    external: &[String],
) -> Vec<DnsLookup> {
    let mut lookups = Vec::new();
    for zone in zones {
        let zone = dotted(zone);
        let suffix = if zone == "." { "svc.".to_owned() } else { format!("svc.{zone}") };
        let mut clusters_addresses = 0;
        for service in sample(services) {
            let owner = format!("{}.{}.{suffix}", name(service), namespace(service));
            let is_api = (namespace(service), name(service)) == ("default", "kubernetes");
            let mut lookup = records(owner.clone(), kind(service));
            if is_cluster_ip(service) {
                lookup.stable = is_api || clusters_addresses < STABLE_SERVICES;
                clusters_addresses += usize::from(!is_api);
            }
            lookups.push(lookup);
            if is_api {
                lookups.push(records(format!("_https._tcp.{owner}"), "SRV"));
                lookups.extend(reverse_name(service).map(|owner| records(owner, "PTR")));
            }
        }
        lookups.push(DnsLookup {
            stable: true,
            ..records(format!("portolan-migrate-no-such-name.default.{suffix}"), "A")
        });
    }
    let by_code = |name: String, kind: &str, external| DnsLookup {
        compare: Comparison::Code,
        external,
        stable: external,
        ..records(name, kind)
    };
    lookups.extend(other_zones.iter().map(|zone| by_code(dotted(zone), "SOA", false)));
    lookups.extend(external.iter().map(|name| by_code(dotted(name), "A", true)));
    lookups
}

fn records(name: String, kind: &str) -> DnsLookup {
    DnsLookup { name, kind: kind.to_owned(), compare: Comparison::Records, external: false, stable: false }
}

fn dotted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// `kubernetes` in `default`, then Services of all namespaces in turn, ordered by name.
fn sample(services: &[Value]) -> Vec<&Value> {
    let mut by_namespace: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    services.iter().for_each(|service| by_namespace.entry(namespace(service)).or_default().push(service));
    let is_api = |service: &&Value| (namespace(service), name(service)) == ("default", "kubernetes");
    let mut sample: Vec<&Value> = services.iter().filter(is_api).collect();
    let longest = by_namespace.values().map(Vec::len).max().unwrap_or_default();
    let in_turn =
        (0..longest).flat_map(|index| by_namespace.values().filter_map(move |group| group.get(index)));
    sample.extend(in_turn.copied().filter(|service| !is_api(service)).take(SERVICES - 1));
    sample
}

fn cluster_ip(service: &Value) -> Option<IpAddr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

fn is_cluster_ip(service: &Value) -> bool {
    cluster_ip(service).is_some()
}

fn kind(service: &Value) -> &'static str {
    let family = items(&service["spec"]["ipFamilies"]).next().and_then(Value::as_str);
    match (service["spec"]["type"].as_str(), cluster_ip(service), family) {
        (Some("ExternalName"), ..) => "CNAME",
        (_, Some(IpAddr::V6(_)), _) | (_, None, Some("IPv6")) => "AAAA",
        _ => "A",
    }
}

/// The name of the PTR record of a Service (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(service: &Value) -> Option<String> {
    match cluster_ip(service)? {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            Some(format!("{d}.{c}.{b}.{a}.in-addr.arpa."))
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            Some(nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa.")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, name: &str, spec: Value) -> Value {
        json!({ "metadata": { "namespace": namespace, "name": name }, "spec": spec })
    }

    fn lines(lookups: &[DnsLookup]) -> Vec<String> {
        lookups
            .iter()
            .map(|it| {
                format!(
                    "{} {}{}{}",
                    it.name,
                    it.kind,
                    if it.stable { " stable" } else { "" },
                    if it.external { " external" } else { "" }
                )
            })
            .collect()
    }

    #[test]
    fn lookups_cover_every_kind_of_service_and_every_zone() {
        let services = [
            service("shop", "db", json!({ "clusterIP": "None" })),
            service("shop", "legacy", json!({ "type": "ExternalName", "externalName": "a.example" })),
            service("shop", "six", json!({ "clusterIP": "fd00::1" })),
            service("default", "kubernetes", json!({ "clusterIP": "10.96.0.1" })),
        ];
        let found =
            lookups(&services, &["cluster.local".into()], &["corp.example.".into()], &["example.com".into()]);
        assert_eq!(
            lines(&found),
            [
                "kubernetes.default.svc.cluster.local. A stable",
                "_https._tcp.kubernetes.default.svc.cluster.local. SRV",
                "1.0.96.10.in-addr.arpa. PTR",
                "db.shop.svc.cluster.local. A",
                "legacy.shop.svc.cluster.local. CNAME",
                "six.shop.svc.cluster.local. AAAA stable",
                "portolan-migrate-no-such-name.default.svc.cluster.local. A stable",
                "corp.example. SOA",
                "example.com. A stable external",
            ]
        );
    }

    #[test]
    fn a_large_cluster_is_sampled_over_its_namespaces() {
        let services: Vec<_> = (0..300)
            .map(|number| {
                service(
                    &format!("n{}", number % 30),
                    &format!("s{number}"),
                    json!({ "clusterIP": "10.96.1.1" }),
                )
            })
            .collect();
        let found = lookups(&services, &["cluster.local".into()], &[], &[]);
        assert_eq!(found.len(), SERVICES, "19 Services and the name that does not exist");
        let namespaces: std::collections::BTreeSet<_> =
            found.iter().filter_map(|it| it.name.split('.').nth(1)).collect();
        assert_eq!(namespaces.len(), SERVICES, "each of another namespace");
        assert_eq!(found.iter().filter(|it| it.stable).count(), STABLE_SERVICES + 1);
    }

    #[test]
    fn an_ipv6_address_has_a_name_of_nibbles() {
        let service = service("default", "kubernetes", json!({ "clusterIP": "fd00:10:96::1" }));
        let name = reverse_name(&service).unwrap();
        assert!(name.starts_with("1.0.0.0.") && name.ends_with("0.1.0.0.0.0.d.f.ip6.arpa."), "{name}");
    }
}
