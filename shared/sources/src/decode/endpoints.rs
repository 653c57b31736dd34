//! EndpointSlices (discovery.k8s.io/v1) and Pods (core/v1).

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::{
    CompactString, Endpoint, EndpointPort, EndpointSlice, FqdnEndpoint, Import, Key, Kind, Object, Pod,
};
use serde::Deserialize;
use serde::de::Deserializer;
use smallvec::SmallVec;

use super::fields::{
    Metadata, PortNumber, ProtocolName, check_label, check_port_names, check_subdomain, nullable,
    nullable_list, pick, scan_pick,
};
use super::scan::{Scanner, SeenFields};
use super::{InvalidField, Scan, Slim};

/// An EndpointSlice, whose endpoints borrow their texts from what is scanned.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimSlice<'a> {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata<OwnerLabels, TriggerTime>,
    address_type: AddressType,
    #[serde(default, deserialize_with = "nullable")]
    endpoints: Vec<SlimEndpoint<'a>>,
    #[serde(default, deserialize_with = "nullable_list")]
    ports: SmallVec<[SlimPort; 1]>,
}

/// Endpoints for which a scan reserves memory. Most slices have fewer.
const EXPECTED_ENDPOINTS: usize = 16;

#[derive(Deserialize, PartialEq)]
enum AddressType {
    IPv4,
    IPv6,
    #[serde(rename = "FQDN")]
    Fqdn,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct SlimEndpoint<'a> {
    #[serde(default, deserialize_with = "nullable_list")]
    addresses: SmallVec<[Cow<'a, str>; 1]>,
    #[serde(default, deserialize_with = "nullable")]
    conditions: Conditions,
    #[serde(default, deserialize_with = "nullable")]
    hostname: Cow<'a, str>,
    #[serde(default, deserialize_with = "nullable")]
    target_ref: Target<'a>,
    #[serde(default, deserialize_with = "nullable")]
    zone: Cow<'a, str>,
    #[serde(default, deserialize_with = "nullable")]
    hints: Hints<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Hints<'a> {
    #[serde(default, deserialize_with = "nullable_list")]
    for_zones: SmallVec<[ZoneHint<'a>; 1]>,
}

#[derive(Deserialize)]
struct ZoneHint<'a> {
    #[serde(default, deserialize_with = "nullable")]
    name: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Target<'a> {
    #[serde(default, deserialize_with = "nullable")]
    kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "nullable")]
    name: Cow<'a, str>,
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

/// Bytes of a time with nanoseconds (RFC 3339) in UTC, as the endpoint controllers write it.
const LONGEST_TIME: usize = "2026-01-01T00:00:00.000000000Z".len();

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

impl Slim for SlimSlice<'_> {
    const KIND: Kind = Kind::EndpointSlice;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn triggered(&mut self) -> CompactString {
        let TriggerTime(time) = std::mem::take(&mut self.metadata.annotations);
        if time.len() <= LONGEST_TIME { time } else { CompactString::default() }
    }

    fn object(self, key: Key, defects: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let OwnerLabels { service, import, cluster } = self.metadata.labels;
        let import = (!import.is_empty()).then(|| Box::new(Import { service: import, cluster }));
        check_port_names("ports", self.ports.iter().map(|port| &*port.name), defects);
        let ports = self.ports.into_iter().enumerate();
        let ports = ports.filter_map(|(at, port)| valid(port.port(at), defects)).collect();
        let mut zones = Vec::new();
        let (mut endpoints, mut aliases) = (Vec::with_capacity(self.endpoints.len()), Vec::new());
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

impl<'a> Scan<'a> for SlimSlice<'a> {
    fn scan(text: &mut Scanner<'a>) -> Option<Self> {
        let (mut metadata, mut address_type) = (Metadata::default(), None);
        let (mut endpoints, mut ports, mut seen) = (Vec::new(), SmallVec::new(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"metadata" => {
                    let found = Metadata::scan(text, OwnerLabels::scan, TriggerTime::scan)?;
                    (metadata, _) = (found, seen.add(0)?);
                }
                b"addressType" => (address_type, _) = (Some(AddressType::scan(text)?), seen.add(1)?),
                b"endpoints" => {
                    let space = Vec::with_capacity(EXPECTED_ENDPOINTS);
                    (endpoints, _) = (text.array(space, SlimEndpoint::scan)?, seen.add(2)?);
                }
                b"ports" => (ports, _) = (text.array(SmallVec::new(), SlimPort::scan)?, seen.add(3)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(Self { metadata, address_type: address_type?, endpoints, ports })
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

impl<'a> Target<'a> {
    fn scan(text: &mut Scanner<'a>) -> Option<Self> {
        let (mut target, mut seen) = (Self::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"kind" => (target.kind, _) = (text.borrowed_text()?.into(), seen.add(0)?),
                b"name" => (target.name, _) = (text.borrowed_text()?.into(), seen.add(1)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(target)
    }
}

impl<'a> Hints<'a> {
    fn scan(text: &mut Scanner<'a>) -> Option<Self> {
        let (mut hints, mut seen) = (Self::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"forZones" => {
                    (hints.for_zones, _) = (text.array(SmallVec::new(), ZoneHint::scan)?, seen.add(0)?);
                }
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(hints)
    }
}

impl<'a> ZoneHint<'a> {
    fn scan(text: &mut Scanner<'a>) -> Option<Self> {
        let (mut name, mut seen) = (Cow::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"name" => (name, _) = (text.borrowed_text()?.into(), seen.add(0)?),
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

impl<'a> SlimEndpoint<'a> {
    fn scan(text: &mut Scanner<'a>) -> Option<Self> {
        let (mut endpoint, mut seen) = (Self::default(), SeenFields::default());
        let Self { addresses, conditions, hostname, target_ref, zone, hints } = &mut endpoint;
        text.object(|text, field| {
            match field {
                b"addresses" => {
                    let address = |text: &mut Scanner<'a>| text.borrowed_text().map(Cow::Borrowed);
                    (*addresses, _) = (text.array(SmallVec::new(), address)?, seen.add(0)?);
                }
                b"conditions" => (*conditions, _) = (Conditions::scan(text)?, seen.add(1)?),
                b"hostname" => (*hostname, _) = (text.borrowed_text()?.into(), seen.add(2)?),
                b"targetRef" => (*target_ref, _) = (Target::scan(text)?, seen.add(3)?),
                b"zone" => (*zone, _) = (text.borrowed_text()?.into(), seen.add(4)?),
                b"hints" => (*hints, _) = (Hints::scan(text)?, seen.add(5)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(endpoint)
    }

    /// The hostname. An invalid one is left out and the addresses are kept.
    fn hostname(&mut self, at: usize, defects: &mut Vec<InvalidField>) -> Option<Cow<'a, str>> {
        if self.hostname.is_empty() {
            return None;
        }
        let checked = check_label(|| format!("endpoints[{at}].hostname"), &self.hostname);
        valid(checked, defects).map(|()| std::mem::take(&mut self.hostname))
    }

    /// Adds the names, if the endpoint is ready.
    fn aliases(mut self, at: usize, aliases: &mut Vec<FqdnEndpoint>, defects: &mut Vec<InvalidField>) {
        let hostname: Option<Box<str>> = self.hostname(at, defects).map(Into::into);
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
        mut self,
        at: usize,
        family: &AddressType,
        zones: &mut Vec<CompactString>,
        defects: &mut Vec<InvalidField>,
    ) -> Option<Endpoint<'a>> {
        let hostname = self.hostname(at, defects);
        let parse = |(nth, text): (usize, &Cow<'a, str>)| {
            let path = || format!("endpoints[{at}].addresses[{nth}]");
            family.check(address(text, path)?).map_err(|wanted| InvalidField::new(path(), text, wanted))
        };
        let addresses: SmallVec<[IpAddr; 1]> =
            self.addresses.iter().enumerate().filter_map(|one| valid(parse(one), defects)).collect();
        if addresses.is_empty() && !self.addresses.is_empty() {
            return None;
        }
        let zone = zone_index(&self.zone, zones);
        let hints = self.hints.for_zones.iter().map(|hint| zone_index(&hint.name, zones));
        Some(Endpoint {
            addresses,
            ready: self.conditions.ready.unwrap_or(true),
            hostname,
            pod: (self.target_ref.kind == "Pod").then_some(self.target_ref.name),
            zone,
            hints: hints.filter(|hint| *hint != 0).collect(),
        })
    }
}

/// The index of a topology zone in the slice's list, from 1 on; adds a new zone to the list. 0 for no zone, and for a 256th
/// zone, which no slice of at most 1,000 endpoints has in practice.
fn zone_index(zone: &str, zones: &mut Vec<CompactString>) -> u8 {
    if zone.is_empty() {
        return 0;
    }
    let at = zones.iter().position(|known| *known == zone).unwrap_or_else(|| {
        zones.push(zone.into());
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
