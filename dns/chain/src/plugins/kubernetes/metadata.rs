//! The metadata of `kubernetes`: the parts of a name of the cluster, and the namespace of the Pod that asks.

use cluster::Current;
use dns_wire::Name;
use dns_zone::PodNamespaces;

use crate::metadata::MetadataSource;
use crate::names::Zones;
use crate::request::Request;

/// See the module.
pub(super) struct ClusterMetadata {
    pub zones: Zones,
    /// The zones of `multicluster`.
    pub multicluster: Zones,
    /// Whether names of topology zones exist.
    pub zonal: bool,
    /// Known with `pods verified`.
    pub pods: Option<Current<PodNamespaces>>,
}

/// The error of a name that no Service and no Pod can have, as CoreDNS says it.
const PARSE_ERROR: &str = "invalid query name";

impl MetadataSource for ClusterMetadata {
    fn value(&self, label: &str, request: &Request) -> Option<String> {
        let label = label.strip_prefix("kubernetes/")?;
        if label == "client-namespace" {
            let pods = self.pods.as_ref()?.load();
            return pods.namespace_of(request.client.ip()).map(str::to_owned);
        }
        let zone = self.zones.names().get(self.zones.find(&request.query)?)?;
        let multicluster = self.multicluster.contain(&request.query);
        let zonal = self.zonal && !multicluster;
        let parts = NameParts::of(&request.query.to_name().lower(), zone, multicluster, zonal);
        let Some(parts) = parts else { return (label == "parse-error").then(|| PARSE_ERROR.to_owned()) };
        Some(match label {
            "kind" => parts.kind,
            "namespace" => parts.namespace,
            "service" => parts.service,
            "endpoint" => parts.endpoint,
            "port-name" => parts.port,
            "protocol" => parts.protocol,
            "cluster" if multicluster => parts.cluster,
            "zone" if self.zonal => parts.zone,
            _ => return None,
        })
    }
}

/// The labels of a name by their meaning; empty where the name has none.
#[derive(Debug, Default, PartialEq)]
struct NameParts {
    kind: String,
    namespace: String,
    service: String,
    endpoint: String,
    port: String,
    protocol: String,
    cluster: String,
    /// The topology zone, whose label may have dots.
    zone: String,
}

impl NameParts {
    /// The parts of a name in the zone; `None` if no Service and no Pod can have it (coredns, plugin/kubernetes/parse.go).
    fn of(name: &Name, zone: &Name, multicluster: bool, zonal: bool) -> Option<Self> {
        let count = name.labels().count().checked_sub(zone.labels().count())?;
        let labels: Vec<String> =
            name.labels().take(count).map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        let mut rest = labels.as_slice();
        let mut last = || {
            let (last, before) = rest.split_last()?;
            rest = before;
            Some(last.clone())
        };
        let mut parts = Self::default();
        let Some(kind) = last() else { return Some(parts) };
        if kind != "svc" && kind != "pod" {
            return None;
        }
        let Some(namespace) = last() else { return Some(parts) };
        (parts.kind, parts.namespace) = (kind, namespace);
        parts.service = last().unwrap_or_default();
        let bare = |label: &String| label.strip_prefix('_').unwrap_or(label).to_owned();
        match rest {
            [] => {}
            [endpoint] => parts.endpoint.clone_from(endpoint),
            [endpoint, cluster]
                if multicluster && !endpoint.starts_with('_') && !cluster.starts_with('_') =>
            {
                (parts.endpoint, parts.cluster) = (endpoint.clone(), cluster.clone());
            }
            [port, protocol] => (parts.port, parts.protocol) = (bare(port), bare(protocol)),
            [zone @ .., directive, label] if zonal && label == "_zone" && parts.kind == "svc" => {
                if directive != "pin" && directive != "prefer" {
                    return None;
                }
                parts.zone = zone.join(".");
            }
            _ => return None,
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_parts_of_its_service_or_pod() {
        let zone = "cluster.local.".parse().unwrap();
        for (name, wanted) in [
            ("cluster.local.", Some(["", "", "", "", "", "", "", ""])),
            ("svc.cluster.local.", Some(["", "", "", "", "", "", "", ""])),
            ("shop.svc.cluster.local.", Some(["svc", "shop", "", "", "", "", "", ""])),
            ("web.shop.svc.cluster.local.", Some(["svc", "shop", "web", "", "", "", "", ""])),
            ("a.web.shop.svc.cluster.local.", Some(["svc", "shop", "web", "a", "", "", "", ""])),
            (
                "_http._tcp.web.shop.svc.cluster.local.",
                Some(["svc", "shop", "web", "", "http", "tcp", "", ""]),
            ),
            ("a.east.web.shop.svc.cluster.local.", Some(["svc", "shop", "web", "a", "", "", "east", ""])),
            ("10-0-0-1.shop.pod.cluster.local.", Some(["pod", "shop", "10-0-0-1", "", "", "", "", ""])),
            (
                "eu.1a.prefer._zone.web.shop.svc.cluster.local.",
                Some(["svc", "shop", "web", "", "", "", "", "eu.1a"]),
            ),
            ("eu.any._zone.web.shop.svc.cluster.local.", None),
            ("a.b.c.web.shop.svc.cluster.local.", None),
            ("web.other.cluster.local.", None),
        ] {
            let multicluster = name.contains(".east.");
            let parts = NameParts::of(&name.parse().unwrap(), &zone, multicluster, !multicluster);
            let parts = parts.map(|parts| {
                let first = [parts.kind, parts.namespace, parts.service, parts.endpoint];
                let [kind, namespace, service, endpoint] = first;
                [kind, namespace, service, endpoint, parts.port, parts.protocol, parts.cluster, parts.zone]
            });
            assert_eq!(parts, wanted.map(|wanted| wanted.map(str::to_owned)), "{name}");
        }
    }
}
