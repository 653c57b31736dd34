//! Builds the records of a service name from the snapshot.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cluster::{
    CompactString, EndpointSlice, Import, Key, PodName, Service, ServiceImport, ServiceKind, ServicePort,
    Snapshot,
};
use dns_wire::Name;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::{
    EndpointAlias, EndpointNames, EndpointRecord, ExternalHost, ExternalRecords, NONE, PortRecord,
    ServiceRecords, ServiceShape, SliceRecords, label, service_hash, wire_key,
};
use crate::address::dashed;
use crate::options::ZoneOptions;

impl ServiceRecords {
    /// Builds the records of a Service; `None` if there is nothing to answer. `exposed`: whether its namespace is visible.
    pub(crate) fn of_service(
        options: &ZoneOptions,
        cluster: &Snapshot,
        key: &Key,
        exposed: bool,
    ) -> Option<Self> {
        let object = cluster.get::<Service>(key);
        let service = object.map(|service| (&service.kind, &*service.ports));
        let slices = cluster.slices_of(key).filter(|_| options.endpoints);
        let mut service =
            Self::build(options, service, slices.map(|slice| (&**slice, &[][..])), key, exposed)?;
        service.external = object.and_then(|object| from_outside(object));
        (service.shape != ServiceShape::Missing || service.endpoints().next().is_some()).then_some(service)
    }

    /// Builds the records of a ServiceImport. `noendpoints` does not apply: it is about Services.
    pub(crate) fn of_import(
        options: &ZoneOptions,
        cluster: &Snapshot,
        key: &Key,
        exposed: bool,
    ) -> Option<Self> {
        let import = cluster.get::<ServiceImport>(key)?;
        let slices = cluster.imported_by(key).map(|slice| {
            // A cluster id that is not a valid label cannot be queried.
            let source = slice.import.as_deref().and_then(|Import { cluster, .. }| label(cluster));
            (&**slice, source.unwrap_or_default())
        });
        Self::build(options, Some((&import.kind, &import.ports)), slices, key, exposed)
    }

    /// Each slice comes with the label between its endpoints' names and the key: the cluster id for imports, else empty.
    fn build<'a>(
        options: &ZoneOptions,
        service: Option<(&ServiceKind, &[ServicePort])>,
        slices: impl Iterator<Item = (&'a EndpointSlice, &'a [u8])>,
        key: &Key,
        exposed: bool,
    ) -> Option<Self> {
        let wire = wire_key(key)?;
        let (slices, texts) = Builder::default().build(options, slices);
        let ready = slices.iter().any(|slice: &SliceRecords| !slice.is_empty());
        let endpoints = || slices.iter().flat_map(|slice| slice.endpoints()).map(|endpoint| endpoint.address);
        let (shape, addresses): (ServiceShape, SmallVec<[IpAddr; FEW]>) = match service {
            None => (ServiceShape::Missing, SmallVec::new()),
            Some((ServiceKind::ClusterIp(addresses), listed)) => (
                ServiceShape::Cluster(service_ports(listed), addresses.len()),
                addresses.iter().copied().collect(),
            ),
            Some((ServiceKind::Headless, _)) => (ServiceShape::Headless, endpoints().collect()),
            Some((ServiceKind::ExternalName(name), _)) => {
                (ServiceShape::External(external(name)), SmallVec::new())
            }
        };
        let (v4, v6) = families(&addresses);
        let ignored = options.ignore_empty_service && matches!(shape, ServiceShape::Cluster(..)) && !ready;
        let served = exposed && !ignored;
        let hash = service_hash(&wire);
        let (external, has_texts) = (None, !texts.is_empty());
        let names = has_texts.then(|| Box::new(EndpointNames { texts, index: Box::default() }));
        let mut service = Self { key: wire, hash, exposed, served, shape, v4, v6, slices, external, names };
        let index = service.make_index();
        if !index.is_empty() {
            service.names.get_or_insert_default().index = index;
        }
        Some(service)
    }
}

/// The CNAME target of an ExternalName; `None` for addresses and invalid names.
fn external(name: &str) -> Option<Box<[u8]>> {
    let address = name.parse::<IpAddr>().is_ok();
    let name: Name = name.parse().ok()?;
    (!address && name != Name::ROOT).then(|| name.wire().into())
}

/// The external hosts of a Service; names that are not valid are left out.
fn from_outside(service: &Service) -> Option<Box<ExternalRecords>> {
    let host = |text: &CompactString| match text.parse::<IpAddr>() {
        Ok(address) => Some(ExternalHost::Address(address.to_canonical())),
        Err(_) => external(text).map(ExternalHost::Name),
    };
    let hosts: Box<[_]> = service.external.iter().filter_map(host).collect();
    let ports = || service_ports(&service.ports);
    (!hosts.is_empty()).then(|| Box::new(ExternalRecords { ports: ports(), hosts }))
}

fn service_ports(listed: &[ServicePort]) -> Box<[PortRecord]> {
    ports(listed.iter().map(|port| PortRecord {
        name: port.name.clone(),
        protocol: Some(port.protocol),
        number: Some(port.port),
    }))
}

fn ports(ports: impl Iterator<Item = PortRecord>) -> Box<[PortRecord]> {
    let mut ports: Vec<PortRecord> = ports.collect();
    if ports.is_empty() {
        ports.push(PortRecord { name: CompactString::default(), protocol: None, number: None });
    }
    ports.into()
}

/// Splits addresses by family, each once, in the given order.
fn families(addresses: &[IpAddr]) -> (SmallVec<[Ipv4Addr; 4]>, Box<[Ipv6Addr]>) {
    let mut seen = HashSet::with_hasher(FxBuildHasher);
    let mut is_new = |at: usize, address: &IpAddr| match addresses.len() {
        ..=FEW => !addresses[..at].contains(address),
        _ => seen.insert(*address),
    };
    let (mut v4, mut v6) = (SmallVec::new(), Vec::new());
    for (at, address) in addresses.iter().enumerate() {
        if is_new(at, address) {
            match address {
                IpAddr::V4(address) => v4.push(*address),
                IpAddr::V6(address) => v6.push(*address),
            }
        }
    }
    v4.shrink_to_fit();
    (v4, v6.into())
}

/// So many addresses or names are compared with each other: that is faster than to hash them.
const FEW: usize = 16;

/// Builds the slices of a service and links endpoints that share a name.
#[derive(Default)]
struct Builder {
    texts: Vec<u8>,
    /// Offset of each text in `texts`.
    offsets: HashMap<Box<[u8]>, u32, FxBuildHasher>,
    latest: LatestEndpoints,
    count: u32,
}

/// The position of the latest endpoint with each name.
#[derive(Default)]
struct LatestEndpoints {
    /// The names of the first endpoints, by position.
    few: SmallVec<[Called; FEW]>,
    /// All names, if there are more endpoints.
    many: HashMap<Called, u32, FxBuildHasher>,
}

impl LatestEndpoints {
    /// Adds the endpoint at the next position. Returns the position of the latest one with this name.
    fn replace(&mut self, called: Called, at: u32) -> Option<u32> {
        if self.few.len() < FEW {
            let previous = self.few.iter().rposition(|known| *known == called);
            self.few.push(called);
            return previous.map(|at| at as u32);
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().copied().zip(0..));
        }
        self.many.insert(called, at)
    }
}

/// The name of an endpoint: derived from its address, or a text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Called {
    Dashed(IpAddr),
    Text(u32),
}

impl Builder {
    fn build<'a>(
        mut self,
        options: &ZoneOptions,
        slices: impl Iterator<Item = (&'a EndpointSlice, &'a [u8])>,
    ) -> (Box<[SliceRecords]>, Box<[u8]>) {
        let mut built = Vec::new();
        for (slice, source) in slices {
            let mut endpoints = Vec::with_capacity(FEW);
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                let pod = endpoint.pod.filter(|_| options.endpoint_pod_names).map(PodName::to_text);
                let hostname = endpoint.hostname.filter(|name| !name.is_empty());
                let host = hostname.or(pod.as_deref()).and_then(label);
                let name = host.map(|host| self.offset_of_name(host, source));
                let zone = slice.zone_of(&endpoint).filter(|_| options.zonal);
                let zone = zone.map_or(NONE, |zone| self.offset_of(zone.as_bytes().into()));
                for address in endpoint.addresses {
                    let name = name.unwrap_or_else(|| match source {
                        // The common case: no text is stored.
                        [] => NONE,
                        source => self.offset_of_name(dashed(address).as_bytes(), source),
                    });
                    endpoints.push(self.endpoint(address, name, zone));
                }
            }
            let ports = ports(slice.ports.iter().map(|port| PortRecord {
                name: port.name.clone(),
                protocol: Some(port.protocol),
                number: (port.port != 0).then_some(port.port),
            }));
            let aliases = slice.aliases.iter().filter_map(|alias| {
                let name = alias.hostname.as_deref().map_or_else(|| alias.name.replace('.', "-"), Into::into);
                let name = label(&name).map(|host| wire(host, source)).unwrap_or_default();
                Some(EndpointAlias { name: name.to_ascii_lowercase().into(), target: external(&alias.name)? })
            });
            let aliases: Box<[_]> = aliases.collect();
            built.push(match aliases.is_empty() {
                true => SliceRecords::of_endpoints(ports, endpoints),
                // Endpoints of one slice are all names or all addresses.
                false => SliceRecords::of_aliases(ports, aliases),
            });
        }
        (built.into(), self.texts.into())
    }

    fn endpoint(&mut self, address: IpAddr, name: u32, zone: u32) -> EndpointRecord {
        let called = if name == NONE { Called::Dashed(address) } else { Called::Text(name) };
        let index = self.count;
        let previous = self.latest.replace(called, index).unwrap_or(NONE);
        self.count += 1;
        EndpointRecord { address, index, name, zone, previous }
    }

    fn offset_of_name(&mut self, host: &[u8], source: &[u8]) -> u32 {
        self.offset_of(wire(host, source))
    }

    /// Stores a text once, in lower case; a text over 255 bytes is dropped.
    fn offset_of(&mut self, mut text: Vec<u8>) -> u32 {
        // Lower-casing leaves length bytes (at most 63) unchanged.
        text.make_ascii_lowercase();
        if let Some(at) = self.offsets.get(&*text) {
            return *at;
        }
        let Ok(len) = u8::try_from(text.len()) else { return NONE };
        let at = self.texts.len() as u32;
        self.texts.push(len);
        self.texts.extend_from_slice(&text);
        self.offsets.insert(text.into(), at);
        at
    }
}

/// The name of an endpoint in wire form: one label, or two of them.
fn wire(host: &[u8], source: &[u8]) -> Vec<u8> {
    let labels = [host, source].into_iter().filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[label.len() as u8], label].concat()).collect()
}
