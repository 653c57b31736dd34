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
        let parts = NameParts::of(&request.query.to_name().lower(), zone);
        let Some(parts) = parts else { return (label == "parse-error").then(|| PARSE_ERROR.to_owned()) };
        Some(match label {
            "kind" => parts.kind,
            "namespace" => parts.namespace,
            "service" => parts.service,
            "endpoint" => parts.endpoint,
            "port-name" => parts.port,
            "protocol" => parts.protocol,
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
}

impl NameParts {
    /// The parts of a name in the zone; `None` if no Service and no Pod can have it.
    fn of(name: &Name, zone: &Name) -> Option<Self> {
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
        parts.kind = kind;
        parts.namespace = last().unwrap_or_default();
        parts.service = last().unwrap_or_default();
        let bare = |label: &String| label.strip_prefix('_').unwrap_or(label).to_owned();
        match rest {
            [] => {}
            [endpoint] => parts.endpoint.clone_from(endpoint),
            [port, protocol] => (parts.port, parts.protocol) = (bare(port), bare(protocol)),
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
            ("cluster.local.", Some(["", "", "", "", "", ""])),
            ("svc.cluster.local.", Some(["svc", "", "", "", "", ""])),
            ("web.shop.svc.cluster.local.", Some(["svc", "shop", "web", "", "", ""])),
            ("a.web.shop.svc.cluster.local.", Some(["svc", "shop", "web", "a", "", ""])),
            ("_http._tcp.web.shop.svc.cluster.local.", Some(["svc", "shop", "web", "", "http", "tcp"])),
            ("10-0-0-1.shop.pod.cluster.local.", Some(["pod", "shop", "10-0-0-1", "", "", ""])),
            ("a.b.c.web.shop.svc.cluster.local.", None),
            ("web.other.cluster.local.", None),
        ] {
            let parts = NameParts::of(&name.parse().unwrap(), &zone);
            let parts = parts.map(|parts| {
                [parts.kind, parts.namespace, parts.service, parts.endpoint, parts.port, parts.protocol]
            });
            assert_eq!(parts, wanted.map(|wanted| wanted.map(str::to_owned)), "{name}");
        }
    }
}
