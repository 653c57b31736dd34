//! Namespaces and Services (core/v1).

use std::net::IpAddr;
use std::sync::Arc;

use cluster::{CompactString, Key, Kind, Namespace, Object, Service, ServiceKind, ServicePort};
use serde::Deserialize;

use super::fields::{
    Metadata, NumberOrName, PortNumber, ProtocolName, StringMap, check_label, check_port_names, nullable,
};
use super::{InvalidField, Slim};

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

#[derive(Deserialize)]
pub(super) struct SlimService {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
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
        Ok(Some(Object::Service(Arc::new(Service { key, kind, ports, external }))))
    }
}

impl Spec {
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

impl SlimPort {
    fn port(self, at: usize) -> Result<ServicePort, InvalidField> {
        if !self.name.is_empty() {
            check_label(format!("spec.ports[{at}].name"), &self.name)?;
        }
        let PortNumber(port) = self.port;
        let target = match self.target_port {
            Some(NumberOrName(target)) if !target.is_empty() && target != "0" => target,
            _ => port.to_string().into(),
        };
        Ok(ServicePort { name: self.name, protocol: self.protocol.into(), port, target })
    }
}
