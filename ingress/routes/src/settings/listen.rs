//! The addresses that the proxy listens on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The keys of the ConfigMap about listeners and name resolution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenSettings {
    /// `bind-address`. As in ingress-nginx, each of the two families of addresses that has none here is listened on as without the key.
    pub addresses: Arc<[IpAddr]>,
    /// `disable-ipv6`: no IPv6 address is listened on.
    pub disables_ipv6: bool,
    /// `disable-ipv6-dns`: names of endpoints and authentication servers are resolved to IPv4 addresses only.
    pub disables_ipv6_names: bool,
    /// `worker-processes`: the number of worker threads; `None` for one per CPU.
    pub workers: Option<usize>,
}

impl ListenSettings {
    /// The addresses to listen on. `all` are those without the keys; the ports of a family are taken from them.
    pub fn listening(&self, all: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut listening = Vec::new();
        for address in all.iter().filter(|address| !(self.disables_ipv6 && address.is_ipv6())) {
            let of_family = self.addresses.iter().filter(|bound| bound.is_ipv4() == address.is_ipv4());
            let bound = of_family.map(|bound| SocketAddr::new(*bound, address.port()));
            let before = listening.len();
            listening.extend(bound);
            if listening.len() == before {
                listening.push(*address);
            }
        }
        let mut kept = Vec::with_capacity(listening.len());
        listening.retain(|address| {
            let is_new = !kept.contains(address);
            kept.push(*address);
            is_new
        });
        listening
    }

    /// The same without ports, for TCP and UDP services.
    pub fn ips(&self, all: &[IpAddr]) -> Vec<IpAddr> {
        let all: Vec<_> = all.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        self.listening(&all).iter().map(SocketAddr::ip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_addresses_or_all() {
        let all: Vec<SocketAddr> = ["0.0.0.0:80", "[::]:80"].map(|address| address.parse().unwrap()).into();
        for (addresses, disables_ipv6, wanted) in [
            (&[][..], false, "0.0.0.0:80 [::]:80"),
            (&[], true, "0.0.0.0:80"),
            (&["10.0.0.1", "10.0.0.2"], false, "10.0.0.1:80 10.0.0.2:80 [::]:80"),
            (&["10.0.0.1"], true, "10.0.0.1:80"),
            (&["2001:db8::1"], false, "0.0.0.0:80 [2001:db8::1]:80"),
            (&["2001:db8::1"], true, "0.0.0.0:80"),
            (&["10.0.0.1", "2001:db8::1"], false, "10.0.0.1:80 [2001:db8::1]:80"),
        ] {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            let settings = ListenSettings { addresses, disables_ipv6, ..ListenSettings::default() };
            let listening: Vec<_> = settings.listening(&all).iter().map(SocketAddr::to_string).collect();
            assert_eq!(listening.join(" "), wanted);
        }
    }

    #[test]
    fn an_address_is_listened_on_once() {
        let all = ["127.0.0.1:80", "127.0.0.2:80"].map(|address| address.parse().unwrap());
        let settings =
            ListenSettings { addresses: ["10.0.0.1".parse().unwrap()].into(), ..ListenSettings::default() };
        assert_eq!(settings.listening(&all), ["10.0.0.1:80".parse().unwrap()]);
    }
}
