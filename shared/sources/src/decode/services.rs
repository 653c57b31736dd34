//! Namespaces and Services (core/v1).

use std::net::IpAddr;
use std::sync::Arc;

use cluster::{CompactString, Key, Kind, Namespace, Object, Service, ServiceKind, ServicePort};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::fields::{
    Metadata, NumberOrName, PortNumber, ProtocolName, StringMap, check_label, check_port_names, nullable,
    pick, scan_pick,
};
use super::scan::{Scanner, SeenFields};
use super::{InvalidField, Scan, Slim};

#[derive(Deserialize)]
pub(super) struct SlimNamespace {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata<StringMap<CompactString>>,
}

impl Slim for SlimNamespace {
    const KIND: Kind = Kind::Namespace;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        Ok(Some(Object::Namespace(Arc::new(Namespace { key, labels: self.metadata.labels.sorted() }))))
    }
}

/// The annotation about endpoints in the zone of a client; other annotations are skipped.
#[derive(Default)]
pub(super) struct TopologyMode(CompactString);

impl<'de> Deserialize<'de> for TopologyMode {
    fn deserialize<D: Deserializer<'de>>(annotations: D) -> Result<Self, D::Error> {
        pick(annotations, Self::NAMES).map(|[mode]| Self(mode))
    }
}

impl TopologyMode {
    const NAMES: [&str; 1] = ["service.kubernetes.io/topology-mode"];

    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        scan_pick(text, Self::NAMES).map(|[mode]| Self(mode))
    }
}

#[derive(Deserialize)]
pub(super) struct SlimService {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata<IgnoredAny, TopologyMode>,
    #[serde(default, deserialize_with = "nullable")]
    spec: Spec,
    #[serde(default, deserialize_with = "nullable")]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default, deserialize_with = "nullable", rename = "type")]
    kind: Type,
    #[serde(default, deserialize_with = "nullable", rename = "clusterIP")]
    cluster_ip: CompactString,
    #[serde(default, deserialize_with = "nullable", rename = "clusterIPs")]
    cluster_ips: Vec<CompactString>,
    #[serde(default, deserialize_with = "nullable", rename = "externalName")]
    external_name: CompactString,
    #[serde(default, deserialize_with = "nullable", rename = "externalIPs")]
    external_ips: Vec<CompactString>,
    #[serde(default, deserialize_with = "nullable", rename = "trafficDistribution")]
    traffic_distribution: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<SlimPort>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "nullable")]
    load_balancer: LoadBalancer,
}

#[derive(Deserialize, Default)]
struct LoadBalancer {
    #[serde(default, deserialize_with = "nullable")]
    ingress: Vec<LoadBalancerIngress>,
}

/// An address of the load balancer, or its name.
#[derive(Deserialize)]
struct LoadBalancerIngress {
    #[serde(default, deserialize_with = "nullable")]
    ip: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    hostname: CompactString,
}

impl LoadBalancerIngress {
    fn target(self) -> CompactString {
        if self.ip.is_empty() { self.hostname } else { self.ip }
    }
}

#[derive(Deserialize, Default, PartialEq)]
enum Type {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
    ExternalName,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimPort {
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    protocol: ProtocolName,
    port: PortNumber,
    #[serde(default)]
    target_port: Option<NumberOrName>,
}

impl Slim for SlimService {
    const KIND: Kind = Kind::Service;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, defects: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let kind = self.spec.kind()?;
        check_port_names("spec.ports", self.spec.ports.iter().map(|port| &*port.name), defects);
        let ports = self.spec.ports.into_iter().enumerate();
        let ports = ports.map(|(at, port)| port.port(at)).collect::<Result<_, _>>()?;
        let from_outside = self.status.load_balancer.ingress.into_iter().map(LoadBalancerIngress::target);
        let external = self.spec.external_ips.into_iter().chain(from_outside);
        let external = external.filter(|target| !target.is_empty()).collect();
        // PreferSameZone is another name of PreferClose (Kubernetes 1.34).
        let distribution = self.spec.traffic_distribution;
        let prefers_own_zone = self.metadata.annotations.0.eq_ignore_ascii_case("auto")
            || matches!(&*distribution, "PreferClose" | "PreferSameZone");
        Ok(Some(Object::Service(Arc::new(Service { key, kind, ports, external, prefers_own_zone }))))
    }
}

impl Scan<'_> for SlimService {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut metadata, mut spec) = (Metadata::default(), Spec::default());
        let mut seen = SeenFields::default();
        let ignored = |text: &mut Scanner<'_>| text.skip().map(|()| IgnoredAny);
        text.object(|text, field| {
            match field {
                b"metadata" => {
                    (metadata, _) = (Metadata::scan(text, ignored, TopologyMode::scan)?, seen.add(0)?)
                }
                b"spec" => (spec, _) = (Spec::scan(text)?, seen.add(1)?),
                b"status" => _ = (Status::scan_empty(text)?, seen.add(2)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(Self { metadata, spec, status: Status::default() })
    }
}

impl Status {
    /// Reads a status without a load balancer.
    fn scan_empty(text: &mut Scanner<'_>) -> Option<()> {
        text.object(|text, field| match field {
            b"loadBalancer" => text.object(|_, _| None),
            _ => text.skip(),
        })
    }
}

impl Spec {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut spec, mut seen) = (Self::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"type" => (spec.kind, _) = (Type::scan(text)?, seen.add(0)?),
                b"clusterIP" => (spec.cluster_ip, _) = (text.text()?, seen.add(1)?),
                b"clusterIPs" => {
                    (spec.cluster_ips, _) = (text.array(Vec::new(), Scanner::text)?, seen.add(2)?)
                }
                b"externalName" => (spec.external_name, _) = (text.text()?, seen.add(3)?),
                b"externalIPs" => {
                    (spec.external_ips, _) = (text.array(Vec::new(), Scanner::text)?, seen.add(4)?)
                }
                b"ports" => (spec.ports, _) = (text.array(Vec::new(), SlimPort::scan)?, seen.add(5)?),
                b"trafficDistribution" => {
                    (spec.traffic_distribution, _) = (text.text()?, seen.add(6)?);
                }
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(spec)
    }

    fn kind(&self) -> Result<ServiceKind, InvalidField> {
        if self.kind == Type::ExternalName {
            // A final dot marks a fully qualified name and is removed, but not from `10.1.2.3.`, which would become an address.
            let bare = self.external_name.strip_suffix('.');
            let name = bare.filter(|name| name.parse::<IpAddr>().is_err()).unwrap_or(&self.external_name);
            if name.is_empty() {
                return Err(InvalidField::new(
                    "spec.externalName",
                    "",
                    "a DNS name, which type ExternalName requires",
                ));
            }
            return Ok(ServiceKind::ExternalName(name.into()));
        }
        // The API server sets both fields; manifests mostly have only the first.
        let single = std::slice::from_ref(&self.cluster_ip);
        let (path, ips) = match &*self.cluster_ips {
            [] => ("spec.clusterIP", single),
            ips => ("spec.clusterIPs", ips),
        };
        if ips.iter().any(|ip| ip == "None") {
            return Ok(ServiceKind::Headless);
        }
        let parse = |ip: &CompactString| {
            ip.parse::<IpAddr>()
                .map_err(|_| InvalidField::new(path, ip.as_str(), "an IP address or \"None\""))
        };
        let ips = ips.iter().filter(|ip| !ip.is_empty()).map(parse).collect::<Result<_, _>>()?;
        Ok(ServiceKind::ClusterIp(ips))
    }
}

impl Type {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        Some(match text.string_bytes()? {
            b"ClusterIP" => Self::ClusterIP,
            b"NodePort" => Self::NodePort,
            b"LoadBalancer" => Self::LoadBalancer,
            b"ExternalName" => Self::ExternalName,
            _ => return None,
        })
    }
}

impl SlimPort {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut name, mut protocol) = (CompactString::default(), ProtocolName::default());
        let (mut port, mut target_port, mut seen) = (None, None, SeenFields::default());
        text.object(|text, field| {
            match field {
                b"name" => (name, _) = (text.text()?, seen.add(0)?),
                b"protocol" => (protocol, _) = (ProtocolName::scan(text)?, seen.add(1)?),
                b"port" => (port, _) = (Some(PortNumber(text.port()?)), seen.add(2)?),
                b"targetPort" => (target_port, _) = (Some(NumberOrName::scan(text)?), seen.add(3)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(Self { name, protocol, port: port?, target_port })
    }

    fn port(self, at: usize) -> Result<ServicePort, InvalidField> {
        if !self.name.is_empty() {
            check_label(|| format!("spec.ports[{at}].name"), &self.name)?;
        }
        let PortNumber(port) = self.port;
        let target = match self.target_port {
            Some(NumberOrName(target)) if !target.is_empty() && target != "0" => target,
            _ => port.to_string().into(),
        };
        Ok(ServicePort { name: self.name, protocol: self.protocol.into(), port, target })
    }
}
