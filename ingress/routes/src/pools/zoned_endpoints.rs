//! Topology aware routing: the endpoints of a Service for clients in one zone.

use std::net::SocketAddr;

use cluster::{CompactString, EndpointRef, EndpointSlice};

/// Collects the endpoints whose hints name a zone.
///
/// They are decided for all slices of a Service together, as kube-proxy does it (KEP-2433): hints count only if every ready endpoint
/// has some, and if one of them is for the zone.
pub(super) struct ZonedEndpoints<'z> {
    zone: &'z CompactString,
    /// The index of the zone in the current slice.
    index: Option<u8>,
    own: Vec<SocketAddr>,
    /// An endpoint without hints was added.
    is_incomplete: bool,
}

impl<'z> ZonedEndpoints<'z> {
    pub(super) fn new(zone: &'z CompactString) -> Self {
        Self { zone, index: None, own: Vec::new(), is_incomplete: false }
    }

    /// Begins a slice, whose endpoints are added next.
    pub(super) fn begin_slice(&mut self, slice: &EndpointSlice) {
        self.index = slice.zone_index(self.zone);
    }

    /// Adds a ready endpoint of the current slice.
    pub(super) fn add(&mut self, endpoint: &EndpointRef<'_>, addresses: impl Iterator<Item = SocketAddr>) {
        self.is_incomplete |= endpoint.hints.is_empty();
        if self.index.is_some_and(|zone| endpoint.hints.contains(&zone)) {
            self.own.extend(addresses);
        }
    }

    /// Those for the zone; `None` if all endpoints are to be used.
    pub(super) fn chosen(self) -> Option<Vec<SocketAddr>> {
        (!self.is_incomplete && !self.own.is_empty()).then_some(self.own)
    }
}
