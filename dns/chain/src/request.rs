//! The query that a chain answers: the question and how it arrived.

use std::net::SocketAddr;
use std::time::Instant;

use dns_wire::Query;

/// The protocol that a query arrived by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each way (RFC 1035 §4.2.1).
    Udp,
    /// Length-prefixed messages (RFC 1035 §4.2.2, RFC 7766).
    Tcp,
}

impl Transport {
    /// The name in logs and in the `proto` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The reason for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client waits for the reply.
    Client,
    /// A plugin resolves another name for its own answer. The number counts the nested resolutions so far.
    Resolve(u8),
    /// A plugin refreshes an answer that the client has already received.
    Refresh,
}

/// A query on its way through a chain. A listener reuses one value for many queries, so nothing is allocated per query.
#[derive(Clone, Debug)]
pub struct Request {
    /// The question, the flags and EDNS.
    pub query: Query,
    /// The address that the reply goes to.
    pub client: SocketAddr,
    /// The address that the query was sent to; unspecified if a wildcard socket does not report it.
    pub server: SocketAddr,
    /// The protocol that it arrived by.
    pub transport: Transport,
    /// Length of the message in bytes.
    pub size: usize,
    /// When it was received. Read once per batch; plugins use it as the current time.
    pub received: Instant,
    /// The reason for the query.
    pub purpose: Purpose,
    /// The key of the server block whose zone the query matched, with its address, as an index into the block's
    /// [served keys](crate::setup::Setup::served_keys). Set by routing. Plugins are shared by all keys of a block; what
    /// differs by key, such as metric labels, is found by this.
    pub key: usize,
}

impl Request {
    /// An empty request, to be filled by [`Query::parse`].
    pub fn new(transport: Transport, server: SocketAddr) -> Self {
        Self {
            query: Query::default(),
            client: SocketAddr::from(([0, 0, 0, 0], 0)),
            server,
            transport,
            size: 0,
            received: Instant::now(),
            purpose: Purpose::Client,
            key: 0,
        }
    }

    /// The longest reply that the client accepts: 64 KiB over TCP, the EDNS size over UDP, and at least 512 bytes
    /// (RFC 1035 §4.2.1, RFC 6891 §6.2.3).
    pub fn limit(&self) -> usize {
        match self.transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => self.query.udp_limit(),
        }
    }

    /// Whether the client asked for DNSSEC records (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.query.dnssec_ok()
    }
}
