//! Who asked what, how, and when.

use std::net::SocketAddr;
use std::time::Instant;

use dns_wire::Query;

/// How a query came in.
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

/// Why a query is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client waits for the reply.
    Client,
    /// A plugin wants it resolved for an answer of its own; so many re-entries led here.
    Resolve(u8),
    /// A plugin wants a fresh answer of those below it; the client has been answered.
    Refresh,
}

/// A query on its way through a chain. Reused for the next one: nothing in it is allocated per query.
#[derive(Clone, Debug)]
pub struct Request {
    /// The question, the flags and EDNS.
    pub query: Query,
    /// Where the reply goes.
    pub client: SocketAddr,
    /// The address the query was sent to; unspecified where a wildcard socket did not say.
    pub server: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// The length of the message it came in.
    pub size: usize,
    /// When it came; the one reading of the clock on its way in.
    pub received: Instant,
    /// Why it is asked.
    pub purpose: Purpose,
}

impl Request {
    /// One to be filled by [`Query::parse`].
    pub fn new(transport: Transport, server: SocketAddr) -> Self {
        Self {
            query: Query::default(),
            client: SocketAddr::from(([0, 0, 0, 0], 0)),
            server,
            transport,
            size: 0,
            received: Instant::now(),
            purpose: Purpose::Client,
        }
    }

    /// The longest reply the client takes: 64 KiB over TCP, over UDP what EDNS says and at least 512
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
