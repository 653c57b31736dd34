//! The addresses of this host.

use std::net::{IpAddr, SocketAddr};

/// The addresses of this host's interfaces, without loopback and link-local ones.
pub(crate) fn own_addresses() -> Vec<IpAddr> {
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    interfaces().filter(|ip| !ip.is_loopback() && !link_local(ip)).collect()
}

/// Whether a packet to `address` reaches a socket of this host that is bound to `bound`.
pub(crate) fn is_reached_at(bound: SocketAddr, address: SocketAddr) -> bool {
    let (ip, wanted) = (bound.ip().to_canonical(), address.ip().to_canonical());
    let is_local =
        || wanted.is_loopback() || wanted.is_unspecified() || interfaces().any(|own| own == wanted);
    bound.port() == address.port() && (ip == wanted || (ip.is_unspecified() && is_local()))
}

fn interfaces() -> impl Iterator<Item = IpAddr> {
    nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reaches_a_socket_of_its_port_that_is_bound_to_it_or_to_all() {
        for (bound, address, wanted) in [
            ("127.0.0.1:53", "127.0.0.1:53", true),
            ("127.0.0.1:53", "127.0.0.1:54", false),
            ("127.0.0.1:53", "127.0.0.2:53", false),
            ("[::]:53", "127.0.0.53:53", true),
            ("[::]:53", "[::1]:53", true),
            ("0.0.0.0:53", "192.0.2.1:53", false),
        ] {
            let reached = is_reached_at(bound.parse().unwrap(), address.parse().unwrap());
            assert_eq!(reached, wanted, "{address} at {bound}");
        }
    }
}
