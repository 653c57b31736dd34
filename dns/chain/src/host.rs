//! The addresses of this host.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The name of this host; `localhost` if the system does not tell it.
pub(crate) fn name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// The addresses of this host's interfaces, without loopback and link-local ones.
pub(crate) fn own_addresses() -> Vec<IpAddr> {
    interfaces().filter(is_of_host).collect()
}

/// Whether other hosts reach this one by the address.
pub(crate) fn is_of_host(ip: &IpAddr) -> bool {
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !ip.is_loopback() && !link_local
}

/// Whether a packet to `address` reaches a socket of this host that is bound to `bound`.
pub(crate) fn is_reached_at(bound: SocketAddr, address: SocketAddr) -> bool {
    let (ip, wanted) = (bound.ip().to_canonical(), address.ip().to_canonical());
    let is_local =
        || wanted.is_loopback() || wanted.is_unspecified() || interfaces().any(|own| own == wanted);
    bound.port() == address.port() && (ip == wanted || (ip.is_unspecified() && is_local()))
}

fn interfaces() -> impl Iterator<Item = IpAddr> {
    interface_addresses().into_iter().filter_map(|(_, address)| Some(address?.ip()))
}

/// The interfaces of this host with their addresses, an entry for each; link-local ones have their scope. The port is 0. An interface
/// also has an entry without an address.
pub(crate) fn interface_addresses() -> Vec<(String, Option<SocketAddr>)> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let entry = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address;
        let v4 = address.and_then(|address| Some(SocketAddr::from((address.as_sockaddr_in()?.ip(), 0))));
        let v6 = || {
            let v6 = SocketAddrV6::from(*address?.as_sockaddr_in6()?);
            Some(SocketAddr::from(SocketAddrV6::new(*v6.ip(), 0, 0, v6.scope_id())))
        };
        (interface.interface_name, v4.or_else(v6))
    };
    interfaces.map(entry).collect()
}

/// The index of an interface, which is the scope of its link-local addresses (RFC 4007 §6).
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
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
