//! What the UDP and TCP listeners of one address share.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns_chain::ZoneRoutes;
use telemetry::metrics::Counter;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::arrivals::Arrivals;
use crate::name_samples::NameSamples;
use crate::tcp_connections::TcpConnectionTable;

/// State that the UDP threads and the TCP connections of one address share.
pub(crate) struct ListenerState {
    /// Replaced as a whole by a reload: each query sees either the old routes or the new ones.
    pub routes: ArcSwap<ZoneRoutes>,
    /// `coredns_panics_total`.
    pub panics: Counter,
    /// UDP queries that arrive while the server stops.
    pub arrivals: Arrivals,
    /// The names of some of the UDP queries.
    pub names: NameSamples,
    /// UDP queries that wait for an upstream or another plugin.
    pub tasks: TaskTracker,
    /// The runtime that waiting queries move to.
    pub runtime: Handle,
    /// The TCP connections of all listeners.
    pub connections: Arc<TcpConnectionTable>,
}

impl ListenerState {
    pub(crate) fn new(
        routes: Arc<ZoneRoutes>,
        panics: Counter,
        runtime: Handle,
        connections: Arc<TcpConnectionTable>,
        names: NameSamples,
    ) -> Self {
        Self {
            routes: ArcSwap::new(routes),
            panics,
            arrivals: Arrivals::default(),
            names,
            tasks: TaskTracker::new(),
            runtime,
            connections,
        }
    }
}

thread_local! {
    /// Scratch buffer that messages are encoded in. They are then copied into buffers of their own size, so that neither
    /// an open connection nor a waiting query holds a buffer for the longest possible reply.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_MESSAGE].into());
}

/// The message that `write` encodes; `None` if its length is 0.
pub(crate) fn encode_message(write: impl FnOnce(&mut [u8]) -> usize) -> Option<Vec<u8>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let length = write(scratch);
        (length > 0).then(|| scratch[..length].to_vec())
    })
}

/// Appends the message that `write` encodes with its length before it (RFC 1035 §4.2.2); nothing if its length is 0.
/// Returns the length of the message.
pub(crate) fn append_message(buffer: &mut Vec<u8>, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
    SCRATCH.with_borrow_mut(|scratch| {
        let length = write(scratch);
        if length > 0 {
            buffer.extend_from_slice(&(length as u16).to_be_bytes());
            buffer.extend_from_slice(&scratch[..length]);
        }
        length
    })
}

/// The longest DNS message (RFC 1035 §4.2.2).
pub(crate) const MAX_MESSAGE: usize = u16::MAX as usize;

/// The wildcard address: a UDP socket bound to it receives IPv4 and IPv6.
pub(crate) const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
