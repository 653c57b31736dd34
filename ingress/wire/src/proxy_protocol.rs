//! The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): the addresses of a connection, sent before its first
//! byte by a load balancer that forwards it.
//!
//! [`parse`] reads either version and decides by the first bytes. A header must be complete and well-formed: a connection that
//! should have one and has not is closed, because its addresses would be those of the load balancer.

mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

pub use v1::write_v1;
pub use v2::{TlvIter, write_v2};

/// The longest header of version 1 with its line end (§2.1).
pub const MAX_V1: usize = 107;
/// The longest header of version 2 that is accepted. The length field allows 64 KiB; senders need a few hundred bytes, for
/// addresses and TLVs.
pub const MAX_V2: usize = 4 * 1024;

/// The addresses of the forwarded connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxiedAddresses {
    /// `LOCAL` in version 2: the load balancer's own connection, such as a health check. The socket's addresses apply.
    Local,
    /// `UNKNOWN` in version 1, `AF_UNSPEC` or a datagram protocol in version 2: the socket's addresses apply.
    Unknown,
    /// TCP over IPv4 or IPv6; both addresses are of the same family.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// UNIX stream sockets, only in version 2: paths without trailing NULs.
    Unix {
        /// The client's path, usually empty.
        source: Vec<u8>,
        /// The path that the client connected to.
        destination: Vec<u8>,
    },
}

/// A complete header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The addresses of the forwarded connection.
    pub addresses: ProxiedAddresses,
    /// The TLVs of version 2 as received (§2.2); each is well-formed. Empty for version 1.
    pub tlvs: Vec<u8>,
    /// How many bytes of the input the header takes.
    pub length: usize,
}

impl ProxyHeader {
    /// The TLVs as type and value.
    pub fn tlvs(&self) -> TlvIter<'_> {
        TlvIter::new(&self.tlvs)
    }
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidProxyHeader {
    /// The connection begins with something else.
    Missing,
    /// It begins like a header and violates the format.
    Malformed,
    /// It is longer than [`MAX_V1`] or [`MAX_V2`].
    TooLong,
}

/// Reads the header at the start of a connection. `None` while more input is needed.
///
/// # Errors
/// When the input does not begin with a header, or the header is malformed or too long. Decided as early as the bytes allow.
pub fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let begins = |signature: &[u8]| {
        let length = input.len().min(signature.len());
        input[..length] == signature[..length]
    };
    if begins(v2::SIGNATURE) {
        return v2::parse(input);
    }
    if begins(v1::SIGNATURE) {
        return v1::parse(input);
    }
    Err(InvalidProxyHeader::Missing)
}

/// Whether both addresses can be written in one header: they have the same family.
fn same_family(source: SocketAddr, destination: SocketAddr) -> bool {
    matches!((source.ip(), destination.ip()), (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)))
}

#[cfg(test)]
mod tests;
