//! A connection to an endpoint.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use ingress_routes::PoolKey;
use ingress_routes::upstream_tls::UpstreamTls;

use crate::io::transport_stream::UpstreamStream;
use crate::upstream::limit::UpstreamSlot;

/// What a connection may be used for: requests to an address, with the same TLS settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    pub(crate) address: SocketAddr,
    /// `None` for TCP.
    pub(crate) tls: Option<Arc<UpstreamTls>>,
}

/// Hot: a number for the address, which takes half as long as the hash of its parts. Few addresses have connections with several TLS
/// settings.
impl Hash for ConnectionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = self.address.port();
        match self.address.ip() {
            IpAddr::V4(ip) => state.write_u64(u64::from(ip.to_bits()) << 16 | u64::from(port)),
            IpAddr::V6(ip) => {
                state.write_u128(ip.to_bits());
                state.write_u16(port);
            }
        }
    }
}

/// A connection to an endpoint, between two requests or during one.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    pub(crate) stream: UpstreamStream,
    pub(crate) key: ConnectionKey,
    /// The endpoints that it was opened for: it is kept while its address is one of them. `None` for an ExternalName Service,
    /// whose addresses change with DNS.
    pub(crate) pool: Option<PoolKey>,
    /// The address as text, for the log.
    pub(crate) name: Rc<str>,
    /// When it was opened and when it became idle, in milliseconds of the clock.
    pub(crate) opened: u64,
    pub(crate) idle_since: u64,
    /// Its number in the order in which connections became idle.
    pub(crate) idle_sequence: u64,
    /// How many requests it has served.
    pub(crate) served: u32,
    /// Its slot in the limit of connections.
    pub(crate) slot: Option<UpstreamSlot>,
    pub(super) read_buffer: BytesMut,
}

impl UpstreamConnection {
    /// A new connection. Boxed, so that it is not copied from the pool to each request and back.
    pub(crate) fn new(
        stream: UpstreamStream,
        key: ConnectionKey,
        pool: Option<PoolKey>,
        name: Rc<str>,
        now: u64,
    ) -> Box<Self> {
        Box::new(Self {
            stream,
            key,
            pool,
            name,
            opened: now,
            idle_since: now,
            idle_sequence: 0,
            served: 0,
            slot: None,
            read_buffer: BytesMut::new(),
        })
    }

    /// Whether the endpoint has neither sent anything nor closed the connection while it was idle.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.stream.is_quiet()
    }
}
