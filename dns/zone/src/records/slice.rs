//! The records of one EndpointSlice.

use std::net::{IpAddr, Ipv4Addr};

use super::{NONE, PortRecord};

/// The ready endpoints of a slice, with the ports that all of them have.
#[derive(Debug, PartialEq)]
pub(crate) struct SliceRecords {
    pub(crate) ports: Box<[PortRecord]>,
    endpoints: SliceEndpoints,
}

/// The endpoints of a slice.
#[derive(Debug, PartialEq)]
enum SliceEndpoints {
    /// IPv4 addresses whose dashed forms are their names, the first of them with index `first`: almost all endpoints of a cluster, in an
    /// eighth of the memory of [`EndpointRecord`]s.
    Addresses { first: u32, addresses: Box<[Ipv4Addr]> },
    /// Other endpoints.
    Records(Box<[EndpointRecord]>),
    /// Those of a slice with `addressType: FQDN`.
    Aliases(Box<[EndpointAlias]>),
}

/// One address of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EndpointRecord {
    pub(crate) address: IpAddr,
    /// Position, counted over all slices of the service.
    pub(crate) index: u32,
    /// Offset of its name in the texts of the service; [`NONE`] if the name is the dashed address.
    pub(super) name: u32,
    /// Offset of its topology zone in the texts; [`NONE`] without one.
    pub(super) zone: u32,
    /// Position of the previous endpoint with the same name; [`NONE`] for the first.
    pub(super) previous: u32,
}

/// An endpoint of an EndpointSlice with `addressType: FQDN`.
#[derive(Debug, PartialEq)]
pub(crate) struct EndpointAlias {
    /// Name of the endpoint before the key, in lower-case wire form; empty if it has no valid name.
    pub(crate) name: Box<[u8]>,
    /// CNAME target in wire form, as written.
    pub(crate) target: Box<[u8]>,
}

impl SliceRecords {
    pub(super) fn of_aliases(ports: Box<[PortRecord]>, aliases: Box<[EndpointAlias]>) -> Self {
        Self { ports, endpoints: SliceEndpoints::Aliases(aliases) }
    }

    /// `endpoints` have consecutive indexes.
    pub(super) fn of_endpoints(ports: Box<[PortRecord]>, endpoints: Vec<EndpointRecord>) -> Self {
        let first = endpoints.first().map_or(0, |endpoint| endpoint.index);
        let mut addresses = Vec::with_capacity(endpoints.len());
        addresses.extend(endpoints.iter().map_while(EndpointRecord::bare_address));
        let endpoints = match addresses.len() == endpoints.len() {
            true => SliceEndpoints::Addresses { first, addresses: addresses.into() },
            false => SliceEndpoints::Records(endpoints.into()),
        };
        Self { ports, endpoints }
    }

    /// The number of endpoints, without aliases.
    pub(super) fn len(&self) -> usize {
        match &self.endpoints {
            SliceEndpoints::Addresses { addresses, .. } => addresses.len(),
            SliceEndpoints::Records(records) => records.len(),
            SliceEndpoints::Aliases(_) => 0,
        }
    }

    /// An endpoint by its position in the slice.
    pub(super) fn endpoint(&self, at: usize) -> Option<EndpointRecord> {
        match &self.endpoints {
            SliceEndpoints::Addresses { first, addresses } => {
                let address = IpAddr::V4(*addresses.get(at)?);
                let index = first + at as u32;
                Some(EndpointRecord { address, index, name: NONE, zone: NONE, previous: NONE })
            }
            SliceEndpoints::Records(records) => records.get(at).copied(),
            SliceEndpoints::Aliases(_) => None,
        }
    }

    /// The endpoints, in order.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointRecord> {
        (0..self.len()).filter_map(|at| self.endpoint(at))
    }

    /// The endpoints that are names.
    pub(crate) fn aliases(&self) -> &[EndpointAlias] {
        match &self.endpoints {
            SliceEndpoints::Aliases(aliases) => aliases,
            _ => &[],
        }
    }

    /// Whether there is neither an endpoint nor an alias.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.aliases().is_empty()
    }
}

impl EndpointRecord {
    /// The address, if the endpoint has nothing else.
    fn bare_address(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if [self.name, self.zone, self.previous] == [NONE; 3] => Some(address),
            _ => None,
        }
    }
}
