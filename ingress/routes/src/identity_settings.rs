//! The peers that are trusted to report address, scheme, host and port of a client.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The keys of the ConfigMap about load balancers in front of the proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentitySettings {
    /// `use-proxy-protocol`: every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// `proxy-protocol-header-timeout`: how long receiving that header may take.
    pub proxy_header_timeout: Duration,
    /// `use-forwarded-headers`: trusted peers report address, scheme, host and port of the client.
    pub forwarded_headers: bool,
    /// `enable-real-ip`: trusted peers report the address only. Without effect with `proxy_protocol`.
    pub real_ip: bool,
    /// `forwarded-for-header`: the field with the addresses.
    pub forwarded_for: HeaderName,
    /// `compute-full-forwarded-for`: endpoints get the addresses of `X-Forwarded-For` and the peer's. Only together with
    /// `forwarded_headers`.
    pub full_forwarded_for: bool,
    /// `proxy-real-ip-cidr`: the trusted peers. An IPv4 network also covers its mapped IPv6 addresses.
    pub trusted: Arc<[IpNet]>,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        let everyone = [
            IpNet::V4(Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).expect("a length of 0 is valid")),
            IpNet::V6(Ipv6Net::new(Ipv6Addr::UNSPECIFIED, 0).expect("a length of 0 is valid")),
        ];
        Self {
            proxy_protocol: false,
            proxy_header_timeout: Duration::from_secs(5),
            forwarded_headers: false,
            real_ip: false,
            forwarded_for: HeaderName::from_static("x-forwarded-for"),
            full_forwarded_for: false,
            trusted: everyone.into(),
        }
    }
}

impl IdentitySettings {
    /// Whether a peer is trusted.
    pub fn trusts(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// The address of the client of a connection, given the peer and the source in a PROXY header.
    pub fn connection_client(&self, peer: SocketAddr, proxied: Option<SocketAddr>) -> SocketAddr {
        proxied.filter(|_| self.trusts(peer)).unwrap_or(peer)
    }
}
