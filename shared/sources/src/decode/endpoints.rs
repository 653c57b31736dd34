//! EndpointSlices (discovery.k8s.io/v1) and Pods (core/v1).

use std::net::IpAddr;
use std::sync::Arc;

use cluster::{
    CompactString, Endpoint, EndpointPort, EndpointSlice, FqdnEndpoint, Import, Key, Kind, Object, Pod,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::Deserializer;
use smallvec::SmallVec;

use super::fields::{
    Metadata, PortNumber, ProtocolName, check_label, check_port_names, check_subdomain, nullable, pick,
    scan_pick,
};
use super::scan::{Scanner, SeenFields};
use super::{InvalidField, Slim};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimSlice {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata<OwnerLabels, TriggerTime>,
    address_type: AddressType,
    #[serde(default, deserialize_with = "nullable")]
    endpoints: Vec<SlimEndpoint>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<SlimPort>,
}

#[derive(Deserialize, PartialEq)]
enum AddressType {
    IPv4,
    IPv6,
    #[serde(rename = "FQDN")]
    Fqdn,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct SlimEndpoint {
    #[serde(default, deserialize_with = "nullable")]
    addresses: Vec<CompactString>,
    #[serde(default, deserialize_with = "nullable")]
    conditions: Conditions,
    #[serde(default, deserialize_with = "nullable")]
    hostname: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    target_ref: Target,
    #[serde(default, deserialize_with = "nullable")]
    zone: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    hints: Hints,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Hints {
    #[serde(default, deserialize_with = "nullable")]
    for_zones: Vec<ZoneHint>,
}

#[derive(Deserialize)]
struct ZoneHint {
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
}

#[derive(Deserialize, Default)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Target {
    #[serde(default, deserialize_with = "nullable")]
    kind: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
}

#[derive(Deserialize)]
struct SlimPort {
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    protocol: ProtocolName,
    #[serde(default)]
    port: Option<PortNumber>,
}

/// The labels that name the owner of a slice; other labels are skipped.
#[derive(Default)]
pub(super) struct OwnerLabels {
    service: CompactString,
    import: CompactString,
    cluster: CompactString,
}

impl<'de> Deserialize<'de> for OwnerLabels {
    fn deserialize<D: Deserializer<'de>>(labels: D) -> Result<Self, D::Error> {
        pick(labels, Self::NAMES).map(Self::of)
    }
}

impl OwnerLabels {
    const NAMES: [&str; 3] = [
        "kubernetes.io/service-name",
        "multicluster.kubernetes.io/service-name",
        "multicluster.kubernetes.io/source-cluster",
    ];

    fn of([service, import, cluster]: [CompactString; 3]) -> Self {
        Self { service, import, cluster }
    }

    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        scan_pick(text, Self::NAMES).map(Self::of)
    }
}

/// The annotation with the time of the change that caused this version of a slice; other annotations are skipped.
#[derive(Default)]
pub(super) struct TriggerTime(CompactString);

impl<'de> Deserialize<'de> for TriggerTime {
    fn deserialize<D: Deserializer<'de>>(annotations: D) -> Result<Self, D::Error> {
        pick(annotations, Self::NAMES).map(|[trigger]| Self(trigger))
    }
}

impl TriggerTime {
    const NAMES: [&str; 1] = ["endpoints.kubernetes.io/last-change-trigger-time"];

    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        scan_pick(text, Self::NAMES).map(|[trigger]| Self(trigger))
    }
}

impl Slim for SlimSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut metadata, mut address_type) = (Metadata::default(), None);
        let (mut endpoints, mut ports, mut seen) = (Vec::new(), Vec::new(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"metadata" => {
                    let found = Metadata::scan(text, OwnerLabels::scan, TriggerTime::scan)?;
                    (metadata, _) = (found, seen.add(0)?);
                }
                b"addressType" => (address_type, _) = (Some(AddressType::scan(text)?), seen.add(1)?),
                b"endpoints" => (endpoints, _) = (text.array(SlimEndpoint::scan)?, seen.add(2)?),
                b"ports" => (ports, _) = (text.array(SlimPort::scan)?, seen.add(3)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(Self { metadata, address_type: address_type?, endpoints, ports })
    }

    fn triggered(&self) -> Option<Timestamp> {
        // Only a metric uses it, so the slice is accepted even if the time is invalid.
        self.metadata.annotations.0.parse().ok()
    }

    fn object(self, key: Key, defects: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let OwnerLabels { service, import, cluster } = self.metadata.labels;
        let import = (!import.is_empty()).then(|| Box::new(Import { service: import, cluster }));
        check_port_names("ports", self.ports.iter().map(|port| &*port.name), defects);
        let ports = self.ports.into_iter().enumerate();
        let ports = ports.filter_map(|(at, port)| valid(port.port(at), defects)).collect();
        let mut zones = Vec::new();
        let (mut endpoints, mut aliases) = (Vec::new(), Vec::new());
        for (at, endpoint) in self.endpoints.into_iter().enumerate() {
            match &self.address_type {
                AddressType::Fqdn => endpoint.aliases(at, &mut aliases, defects),
                family => endpoints.extend(endpoint.endpoint(at, family, &mut zones, defects)),
            }
        }
        Ok(Some(Object::EndpointSlice(Arc::new(EndpointSlice {
            key,
            service,
            import,
            ports,
            endpoints: endpoints.into(),
            aliases: aliases.into(),
            zones: zones.into(),
        }))))
    }
}

impl Conditions {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let mut ready = None;
        text.object(|text, field| match field {
            b"ready" if ready.is_none() => {
                ready = Some(text.boolean()?);
                Some(())
            }
            b"ready" => None,
            _ => text.skip(),
        })?;
        Some(Self { ready })
    }
}

impl Target {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut target, mut seen) = (Self::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"kind" => (target.kind, _) = (text.text()?, seen.add(0)?),
                b"name" => (target.name, _) = (text.text()?, seen.add(1)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(target)
    }
}

impl Hints {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut hints, mut seen) = (Self::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"forZones" => (hints.for_zones, _) = (text.array(ZoneHint::scan)?, seen.add(0)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(hints)
    }
}

impl ZoneHint {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut name, mut seen) = (CompactString::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"name" => (name, _) = (text.text()?, seen.add(0)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(Self { name })
    }
}

/// A valid part of an object. An invalid part is left out and added to the defects.
fn valid<T>(part: Result<T, InvalidField>, defects: &mut Vec<InvalidField>) -> Option<T> {
    part.map_err(|invalid| defects.push(invalid)).ok()
}

impl AddressType {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        Some(match text.string_bytes()? {
            b"IPv4" => Self::IPv4,
            b"IPv6" => Self::IPv6,
            b"FQDN" => Self::Fqdn,
            _ => return None,
        })
    }

    fn check(&self, address: IpAddr) -> Result<IpAddr, &'static str> {
        match self {
            Self::IPv4 if address.is_ipv6() => Err("an IPv4 address, because of addressType"),
            Self::IPv6 if address.is_ipv4() => Err("an IPv6 address, because of addressType"),
            _ => Ok(address),
        }
    }
}

impl SlimPort {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut name, mut protocol, mut port) = (CompactString::default(), ProtocolName::default(), None);
        let mut seen = SeenFields::default();
        text.object(|text, field| {
            match field {
                b"name" => (name, _) = (text.text()?, seen.add(0)?),
                b"protocol" => (protocol, _) = (ProtocolName::scan(text)?, seen.add(1)?),
                b"port" => (port, _) = (Some(PortNumber(text.port()?)), seen.add(2)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(Self { name, protocol, port })
    }

    fn port(self, at: usize) -> Result<EndpointPort, InvalidField> {
        if !self.name.is_empty() {
            check_label(|| format!("ports[{at}].name"), &self.name)?;
        }
        let port = self.port.map_or(0, |PortNumber(port)| port);
        Ok(EndpointPort { name: self.name, protocol: self.protocol.into(), port })
    }
}

impl SlimEndpoint {
    fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        let (mut endpoint, mut seen) = (Self::default(), SeenFields::default());
        let Self { addresses, conditions, hostname, target_ref, zone, hints } = &mut endpoint;
        text.object(|text, field| {
            match field {
                b"addresses" => (*addresses, _) = (text.array(Scanner::text)?, seen.add(0)?),
                b"conditions" => (*conditions, _) = (Conditions::scan(text)?, seen.add(1)?),
                b"hostname" => (*hostname, _) = (text.text()?, seen.add(2)?),
                b"targetRef" => (*target_ref, _) = (Target::scan(text)?, seen.add(3)?),
                b"zone" => (*zone, _) = (text.text()?, seen.add(4)?),
                b"hints" => (*hints, _) = (Hints::scan(text)?, seen.add(5)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(endpoint)
    }

    /// The hostname. An invalid one is left out and the addresses are kept.
    fn hostname(&self, at: usize, defects: &mut Vec<InvalidField>) -> Option<Box<str>> {
        if self.hostname.is_empty() {
            return None;
        }
        let checked = check_label(|| format!("endpoints[{at}].hostname"), &self.hostname);
        valid(checked, defects).map(|()| self.hostname.as_str().into())
    }

    /// Adds the names, if the endpoint is ready.
    fn aliases(self, at: usize, aliases: &mut Vec<FqdnEndpoint>, defects: &mut Vec<InvalidField>) {
        let hostname = self.hostname(at, defects);
        for (nth, name) in self.addresses.iter().enumerate() {
            let name = name.strip_suffix('.').unwrap_or(name);
            let checked = check_subdomain(format!("endpoints[{at}].addresses[{nth}]"), name);
            if valid(checked, defects).is_some() && self.conditions.ready.unwrap_or(true) {
                aliases.push(FqdnEndpoint { name: name.into(), hostname: hostname.clone() });
            }
        }
    }

    /// The endpoint with its valid addresses; `None` when it has addresses and none of them is valid.
    fn endpoint(
        self,
        at: usize,
        family: &AddressType,
        zones: &mut Vec<CompactString>,
        defects: &mut Vec<InvalidField>,
    ) -> Option<Endpoint> {
        let hostname = self.hostname(at, defects);
        let parse = |(nth, text): (usize, &CompactString)| {
            let path = || format!("endpoints[{at}].addresses[{nth}]");
            family.check(address(text, path)?).map_err(|wanted| InvalidField::new(path(), text, wanted))
        };
        let addresses: SmallVec<[IpAddr; 1]> =
            self.addresses.iter().enumerate().filter_map(|one| valid(parse(one), defects)).collect();
        if addresses.is_empty() && !self.addresses.is_empty() {
            return None;
        }
        let zone = zone_index(self.zone, zones);
        let hints = self.hints.for_zones.into_iter().map(|hint| zone_index(hint.name, zones));
        Some(Endpoint {
            addresses,
            ready: self.conditions.ready.unwrap_or(true),
            hostname,
            pod: (self.target_ref.kind == "Pod").then(|| self.target_ref.name.into()),
            zone,
            hints: hints.filter(|hint| *hint != 0).collect(),
        })
    }
}

/// The index of a topology zone in the slice's list, from 1 on; adds a new zone to the list. 0 for no zone, and for a 256th
/// zone, which no slice of at most 1,000 endpoints has in practice.
fn zone_index(zone: CompactString, zones: &mut Vec<CompactString>) -> u8 {
    if zone.is_empty() {
        return 0;
    }
    let at = zones.iter().position(|known| *known == zone).unwrap_or_else(|| {
        zones.push(zone);
        zones.len() - 1
    });
    u8::try_from(at + 1).unwrap_or(0)
}

fn address(text: &str, path: impl Fn() -> String) -> Result<IpAddr, InvalidField> {
    text.parse().map_err(|_| InvalidField::new(path(), text, "an IP address"))
}

#[derive(Deserialize)]
pub(super) struct SlimPod {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    status: PodStatus,
}

#[derive(Deserialize, Default)]
struct PodStatus {
    #[serde(default, deserialize_with = "nullable")]
    phase: CompactString,
    #[serde(default, deserialize_with = "nullable", rename = "podIP")]
    pod_ip: CompactString,
    #[serde(default, deserialize_with = "nullable", rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Deserialize)]
struct PodIp {
    #[serde(default, deserialize_with = "nullable")]
    ip: CompactString,
}

impl Slim for SlimPod {
    const KIND: Kind = Kind::Pod;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed" | "Unknown");
        if ended || !self.metadata.deletion_timestamp.is_empty() {
            return Ok(None);
        }
        let mut ips = self.status.pod_ips.iter().map(|PodIp { ip }| ip).peekable();
        let (path, single) = match ips.peek() {
            Some(_) => ("status.podIPs", None),
            None => ("status.podIP", Some(&self.status.pod_ip)),
        };
        let ips = ips.chain(single).filter(|ip| !ip.is_empty());
        let addresses =
            ips.map(|ip| address(ip, || path.into())).collect::<Result<SmallVec<[IpAddr; 2]>, _>>()?;
        if addresses.is_empty() {
            return Ok(None);
        }
        Ok(Some(Object::Pod(Arc::new(Pod { key, addresses }))))
    }
}
