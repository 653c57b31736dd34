//! ServiceImports (multicluster.x-k8s.io/v1alpha1).

use std::net::IpAddr;
use std::sync::Arc;

use cluster::{CompactString, Key, Kind, Object, Protocol, ServiceImport, ServiceKind, ServicePort};
use serde::Deserialize;

use super::fields::{Metadata, PortNumber, check_label, nullable};
use super::{InvalidField, Slim};

#[derive(Deserialize)]
pub(super) struct SlimImport {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    spec: Spec,
}

#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default, deserialize_with = "nullable", rename = "type")]
    kind: Type,
    #[serde(default, deserialize_with = "nullable")]
    ips: Vec<CompactString>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<SlimPort>,
}

#[derive(Deserialize, Default, PartialEq)]
enum Type {
    #[default]
    ClusterSetIP,
    Headless,
}

#[derive(Deserialize)]
struct SlimPort {
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    protocol: CompactString,
    port: PortNumber,
}

impl Slim for SlimImport {
    const KIND: Kind = Kind::ServiceImport;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let parse = |(at, ip): (usize, &CompactString)| {
            let wrong = |_| InvalidField::new(format!("spec.ips[{at}]"), ip.as_str(), "an IP address");
            ip.parse::<IpAddr>().map_err(wrong)
        };
        let kind = match self.spec.kind {
            Type::Headless => ServiceKind::Headless,
            Type::ClusterSetIP => {
                let ips = self.spec.ips.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
                ServiceKind::ClusterIp(ips)
            }
        };
        let ports = self.spec.ports.into_iter().enumerate();
        let ports = ports.map(|(at, port)| port.port(at)).collect::<Result<_, _>>()?;
        Ok(Some(Object::ServiceImport(Arc::new(ServiceImport { key, kind, ports }))))
    }
}

impl SlimPort {
    fn port(self, at: usize) -> Result<ServicePort, InvalidField> {
        if !self.name.is_empty() {
            check_label(|| format!("spec.ports[{at}].name"), &self.name)?;
        }
        // The schema of the resource allows any text, and some controllers write it in lower case.
        let protocol = match self.protocol.to_ascii_uppercase().as_str() {
            "" | "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => {
                let path = format!("spec.ports[{at}].protocol");
                return Err(InvalidField::new(path, self.protocol, "TCP, UDP or SCTP"));
            }
        };
        let PortNumber(port) = self.port;
        Ok(ServicePort { name: self.name, protocol, port, target: CompactString::default() })
    }
}
