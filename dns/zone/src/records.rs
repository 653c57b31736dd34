//! The records of one service name, prepared for answering: the smallest unit that a change rebuilds.

mod build;
mod slice;

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use cluster::{CompactString, Key, Protocol};
use smallvec::SmallVec;

use crate::address::{ShortText, dashed};
use crate::sharded::TableEntry;
pub(crate) use slice::{EndpointAlias, EndpointRecord, SliceRecords};

/// Addresses, ports and endpoints of one service name. It comes from a Service or a ServiceImport; EndpointSlices without a
/// Service have one as well, because their endpoints have PTR records.
///
/// Reading it from memory is most of what an answer costs besides system calls: the fields that an A query reads are the first and fill
/// two cache lines.
#[derive(Debug, PartialEq)]
#[repr(C)]
pub(crate) struct ServiceRecords {
    /// Addresses of the service name: cluster IPs, or those of all endpoints. Without duplicates.
    pub(crate) v4: SmallVec<[Ipv4Addr; 4]>,
    pub(crate) shape: ServiceShape,
    pub(crate) hash: u32,
    /// The namespace exists and the options make it visible.
    pub(crate) exposed: bool,
    /// The service's names are answered. PTR queries ignore this.
    pub(crate) served: bool,
    /// `<service>.<namespace>` in lower-case wire form without the root: the labels before `svc.<zone>` in a query.
    pub(crate) key: ServiceRecordsKey,
    pub(crate) v6: Box<[Ipv6Addr]>,
    /// One entry per EndpointSlice, ordered by slice name.
    pub(crate) slices: Box<[SliceRecords]>,
    /// How the Service is reached from outside; boxed, as few Services are.
    pub(crate) external: Option<Box<ExternalRecords>>,
    /// Boxed, as few services have many endpoints or names of them.
    names: Option<Box<EndpointNames>>,
}

/// The size class of allocations that are aligned to cache lines.
const _: () = assert!(size_of::<ServiceRecords>() + 2 * size_of::<usize>() <= 192);

/// The names of the endpoints of a service.
#[derive(Debug, Default, PartialEq)]
struct EndpointNames {
    /// Endpoint names in wire form (the labels before the key) and topology zones, in lower case, each preceded by its
    /// length.
    texts: Box<[u8]>,
    /// Sorted pairs of a name's or address's hash and the position of its endpoint. Empty for services with few endpoints,
    /// where a linear scan is as fast.
    index: Box<[(u32, u32)]>,
}

/// Number of endpoints from which a service has an index.
const MANY: usize = 32;

/// Stored inline for most names: one cache miss less per lookup when 10,000 names are queried in turn.
pub(crate) type ServiceRecordsKey = SmallVec<[u8; 48]>;

/// The type of a Service, with what only that type has.
#[derive(Debug, PartialEq)]
pub(crate) enum ServiceShape {
    /// There is no Service, only EndpointSlices.
    Missing,
    /// With cluster IPs: the ports, and the number of entries in `spec.clusterIPs`.
    Cluster(Box<[PortRecord]>, usize),
    Headless,
    /// The wire form of `spec.externalName` as written; `None` if it is not a valid name.
    External(Option<Box<[u8]>>),
}

/// Where a Service is reached from outside of the cluster.
#[derive(Debug, PartialEq)]
pub(crate) struct ExternalRecords {
    /// At least one.
    pub(crate) hosts: Box<[ExternalHost]>,
    /// The ports of the Service.
    pub(crate) ports: Box<[PortRecord]>,
}

/// An external IP, or an address or name of a load balancer.
#[derive(Debug, PartialEq)]
pub(crate) enum ExternalHost {
    /// An address.
    Address(IpAddr),
    /// A name in wire form.
    Name(Box<[u8]>),
}

impl ExternalRecords {
    /// The addresses among the targets.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.hosts.iter().filter_map(|target| match target {
            ExternalHost::Address(address) => Some(*address),
            ExternalHost::Name(_) => None,
        })
    }
}

/// A port. An object without ports has one entry without name, protocol and number.
#[derive(Debug, PartialEq)]
pub(crate) struct PortRecord {
    name: CompactString,
    protocol: Option<Protocol>,
    pub(crate) number: Option<u16>,
}

const NONE: u32 = u32::MAX;

impl ServiceRecords {
    /// The index of [`EndpointNames`].
    fn make_index(&self) -> Box<[(u32, u32)]> {
        if self.endpoints().nth(MANY - 1).is_none() {
            return Box::default();
        }
        let entries = |endpoint: EndpointRecord| {
            let name = self.text(endpoint.name).map(|name| (name_hash(name), endpoint.index));
            name.into_iter().chain([(address_hash(endpoint.address), endpoint.index)])
        };
        let mut index: Vec<(u32, u32)> = self.endpoints().flat_map(entries).collect();
        index.sort_unstable();
        index.into()
    }

    /// The namespace label in wire form.
    pub(crate) fn namespace(&self) -> &[u8] {
        self.key.get(1 + usize::from(self.key[0])..).unwrap_or_default()
    }

    /// All endpoints, in order.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointRecord> {
        self.slices.iter().flat_map(|slice| slice.endpoints())
    }

    /// Endpoints with the address, in order, each with its slice.
    pub(crate) fn endpoints_at(
        &self,
        address: IpAddr,
    ) -> impl Iterator<Item = (&SliceRecords, EndpointRecord)> {
        self.probable(address_hash(address)).filter(move |(_, endpoint)| endpoint.address == address)
    }

    /// Whether the endpoint has this name; see [`ServiceRecords::endpoints_called`].
    pub(crate) fn is_called(&self, endpoint: EndpointRecord, name: &[u8], address: Option<IpAddr>) -> bool {
        match self.text(endpoint.name) {
            Some(known) => known == name,
            None => Some(endpoint.address) == address,
        }
    }

    /// Endpoints with the name (lower-case wire form before the key). `address` is the address that the name encodes, if it
    /// is a dashed address.
    pub(crate) fn endpoints_called<'a>(
        &'a self,
        name: &'a [u8],
        address: Option<IpAddr>,
    ) -> impl Iterator<Item = (&'a SliceRecords, EndpointRecord)> {
        let named =
            self.probable(name_hash(name)).filter(|(_, endpoint)| self.text(endpoint.name) == Some(name));
        let dashed = address.into_iter().flat_map(|address| {
            let is = move |endpoint: &EndpointRecord| endpoint.name == NONE && endpoint.address == address;
            self.probable(address_hash(address)).filter(move |(_, endpoint)| is(endpoint))
        });
        named.chain(dashed)
    }

    /// Endpoints that the index lists for a hash; all endpoints if there is no index.
    fn probable(&self, hash: u32) -> impl Iterator<Item = (&SliceRecords, EndpointRecord)> {
        let index = self.names.as_ref().map(|names| &*names.index).unwrap_or_default();
        let all = index.is_empty().then(|| {
            self.slices.iter().flat_map(|slice| slice.endpoints().map(move |endpoint| (slice, endpoint)))
        });
        let start = index.partition_point(|(known, _)| *known < hash);
        let indexed = index[start..].iter().take_while(move |(known, _)| *known == hash);
        all.into_iter().flatten().chain(indexed.filter_map(|(_, index)| self.endpoint(*index)))
    }

    /// Earlier endpoints with the same name, nearest first, each with its slice.
    pub(crate) fn same_name(
        &self,
        endpoint: EndpointRecord,
    ) -> impl Iterator<Item = (&SliceRecords, EndpointRecord)> {
        let mut next = endpoint.previous;
        std::iter::from_fn(move || {
            let (slice, endpoint) = self.endpoint(next)?;
            next = endpoint.previous;
            Some((slice, endpoint))
        })
    }

    /// Earlier endpoints with the same name and the same address. Looked up by address: a name may have thousands of
    /// endpoints, an address few.
    pub(crate) fn same_name_and_address(
        &self,
        endpoint: EndpointRecord,
    ) -> impl Iterator<Item = (&SliceRecords, EndpointRecord)> {
        let before = self.endpoints_at(endpoint.address);
        let before = before.take_while(move |(_, other)| other.index != endpoint.index);
        before.filter(move |(_, other)| other.name == endpoint.name)
    }

    fn endpoint(&self, index: u32) -> Option<(&SliceRecords, EndpointRecord)> {
        let mut index = index as usize;
        for slice in &self.slices {
            if let Some(endpoint) = slice.endpoint(index) {
                return Some((slice, endpoint));
            }
            index -= slice.len();
        }
        None
    }

    /// Name of an endpoint in wire form, before the key. `space` holds a name that is derived from the address.
    pub(crate) fn name<'a>(&'a self, endpoint: EndpointRecord, space: &'a mut Option<ShortText>) -> &'a [u8] {
        match self.text(endpoint.name) {
            Some(name) => name,
            None => space.insert(dashed(endpoint.address).into_wire()).as_bytes(),
        }
    }

    /// The topology zone of an endpoint.
    pub(crate) fn zone(&self, endpoint: EndpointRecord) -> Option<&[u8]> {
        self.text(endpoint.zone)
    }

    fn text(&self, at: u32) -> Option<&[u8]> {
        let (&len, rest) = self.names.as_ref()?.texts.get(at as usize..)?.split_first()?;
        rest.get(..usize::from(len))
    }

    /// Whether the address is one of the cluster IPs.
    pub(crate) fn has_cluster_ip(&self, address: IpAddr) -> bool {
        matches!(self.shape, ServiceShape::Cluster(..))
            && match address {
                IpAddr::V4(address) => self.v4.contains(&address),
                IpAddr::V6(address) => self.v6.contains(&address),
            }
    }

    /// Entries for every address whose PTR query this service answers, sorted.
    pub(crate) fn ptr_entries(&self) -> Vec<PtrEntry> {
        let cluster = matches!(self.shape, ServiceShape::Cluster(..));
        let v4 = self.v4.iter().map(|address| IpAddr::V4(*address)).filter(|_| cluster);
        let v6 = self.v6.iter().map(|address| IpAddr::V6(*address)).filter(|_| cluster);
        let endpoints = self.endpoints().map(|endpoint| endpoint.address);
        let external = self.external.iter().flat_map(|external| external.addresses());
        let ptr_entry = |address| PtrEntry { address: address_hash(address), service: self.hash };
        let expected = self.v4.len() + self.slices.iter().map(SliceRecords::len).sum::<usize>();
        let mut ptr_entries = Vec::with_capacity(expected);
        ptr_entries.extend(v4.chain(v6).chain(endpoints).chain(external).map(ptr_entry));
        ptr_entries.sort_by(PtrEntry::order);
        ptr_entries.dedup();
        ptr_entries
    }
}

impl PortRecord {
    /// Whether the port matches the names in an SRV query; an empty name matches every port.
    pub(crate) fn matches(&self, name: &[u8], protocol: &[u8]) -> bool {
        let label = self.protocol.map_or("", Protocol::label);
        // Mostly both are in lower case, and comparing them as they are is ten times as fast.
        let same = |one: &[u8], other: &[u8]| one == other || one.eq_ignore_ascii_case(other);
        (name.is_empty() || same(self.name.as_bytes(), name))
            && (protocol.is_empty() || same(label.as_bytes(), protocol))
    }
}

/// An entry of the table of services.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordsEntry {
    pub(crate) hash: u32,
    pub(crate) service: Arc<ServiceRecords>,
}

impl TableEntry for RecordsEntry {
    fn hash(&self) -> u32 {
        self.hash
    }

    fn order(&self, other: &Self) -> Ordering {
        (self.hash, &self.service.key).cmp(&(other.hash, &other.service.key))
    }
}

/// Records that a service answers PTR queries for an address. Holds hashes only, 8 bytes per endpoint; a lookup verifies
/// the match in the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PtrEntry {
    pub(crate) address: u32,
    pub(crate) service: u32,
}

impl TableEntry for PtrEntry {
    fn hash(&self) -> u32 {
        self.address
    }

    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

/// The hash of a service's key.
pub(crate) fn service_hash(key: &[u8]) -> u32 {
    dns_wire::hash(key) as u32
}

/// The hash of an endpoint's lower-case name.
fn name_hash(name: &[u8]) -> u32 {
    dns_wire::hash(name) as u32
}

/// The hash of an address.
pub(crate) fn address_hash(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => dns_wire::hash(&address.octets()) as u32,
        IpAddr::V6(address) => dns_wire::hash(&address.octets()) as u32,
    }
}

/// The key of a service in wire form; `None` if it is no valid pair of labels or has upper-case letters, since queries are
/// compared in lower case.
pub(crate) fn wire_key(key: &Key) -> Option<ServiceRecordsKey> {
    let mut wire = ServiceRecordsKey::with_capacity(key.name.len() + key.namespace.len() + 2);
    for part in [&key.name, &key.namespace] {
        let label = label(part)?;
        if label.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    Some(wire)
}

/// The text as one label: 1 to 63 bytes without dots.
pub(crate) fn label(text: &str) -> Option<&[u8]> {
    let fits = (1..=dns_wire::name::MAX_LABEL).contains(&text.len()) && !text.contains('.');
    fits.then_some(text.as_bytes())
}
