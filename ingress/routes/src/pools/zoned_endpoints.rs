//! Topology aware routing: the endpoints of a Service for clients in one zone.

use std::net::SocketAddr;

use cluster::{CompactString, EndpointRef, EndpointSlice};

/// Collects the endpoints whose hints name a zone.
///
/// They are decided for all slices of a Service together, as kube-proxy does it (KEP-2433): hints count only if every ready endpoint
/// has some, and if one of them is for the zone.
pub(super) struct ZonedEndpoints<'z> {
    zone: &'z CompactString,
    own: Vec<SocketAddr>,
    /// An endpoint without hints was added.
    is_incomplete: bool,
}

impl<'z> ZonedEndpoints<'z> {
    pub(super) fn new(zone: &'z CompactString) -> Self {
        Self { zone, own: Vec::new(), is_incomplete: false }
    }

    /// Adds a ready endpoint of a slice.
    pub(super) fn add(
        &mut self,
        slice: &EndpointSlice,
        endpoint: &EndpointRef<'_>,
        addresses: impl Iterator<Item = SocketAddr>,
    ) {
        self.is_incomplete |= endpoint.hints.is_empty();
        if slice.zone_index(self.zone).is_some_and(|zone| endpoint.hints.contains(&zone)) {
            self.own.extend(addresses);
        }
    }

    /// Those for the zone; `None` if all endpoints are to be used.
    pub(super) fn chosen(self) -> Option<Vec<SocketAddr>> {
        (!self.is_incomplete && !self.own.is_empty()).then_some(self.own)
    }
}
