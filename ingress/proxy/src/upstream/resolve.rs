//! Resolves the hosts of ExternalName Services and of authentication servers.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use ingress_routes::refused_address;

/// The timeout of a lookup, as in ingress-nginx's Lua resolver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The resolver of a worker. Caches answers for their TTL and failures as long as the zone allows. A lookup delays only
/// requests to that host.
pub(crate) struct Resolver {
    servers: Box<[SocketAddr]>,
    /// `None` if it could not be set up.
    resolver: RefCell<Option<TokioResolver>>,
    is_ipv4_only: Cell<bool>,
    allow_local: bool,
}

impl Resolver {
    /// A resolver that queries these servers, or those of `/etc/resolv.conf` with its search domains.
    pub(crate) fn new(servers: &[SocketAddr], allow_local: bool) -> Self {
        let resolver = RefCell::new(build(servers, false));
        Self { servers: servers.into(), resolver, is_ipv4_only: Cell::new(false), allow_local }
    }

    /// `disable-ipv6-dns`: names are looked up as IPv4 addresses only. A change forgets what was looked up before.
    pub(crate) fn set_ipv4_only(&self, is_ipv4_only: bool) {
        if self.is_ipv4_only.replace(is_ipv4_only) != is_ipv4_only {
            self.resolver.replace(build(&self.servers, is_ipv4_only));
        }
    }

    /// The addresses of a host that may be connected to; with `allow_local` also loopback and link-local ones.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        port: u16,
        allow_local: bool,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let found: Vec<IpAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                let resolver = self.resolver.borrow().clone().ok_or(ResolveError::NoResolver)?;
                let found = resolver.lookup_ip(host).await;
                found.map_err(|error| ResolveError::Failed(error.to_string()))?.iter().collect()
            }
        };
        let is_allowed = |ip: &IpAddr| allow_local || self.allow_local || refused_address(*ip).is_none();
        let allowed = found.iter().filter(|ip| is_allowed(ip)).map(|ip| SocketAddr::new(*ip, port));
        let allowed: Vec<_> = allowed.collect();
        match found.first() {
            Some(refused) if allowed.is_empty() => Err(ResolveError::Local(*refused)),
            _ => Ok(allowed),
        }
    }
}

/// Why a host has no address to connect to.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// The resolver could not be set up.
    NoResolver,
    /// The lookup failed.
    Failed(String),
    /// All addresses are loopback or link-local addresses; this is the first.
    Local(IpAddr),
}

impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoResolver => f.write_str("no name server is configured"),
            Self::Failed(error) => write!(f, "cannot be resolved: {error}"),
            Self::Local(ip) => {
                write!(f, "resolves to {ip}, {}", refused_address(*ip).unwrap_or("which is not allowed"))
            }
        }
    }
}

/// A resolver that queries these servers, or those of `/etc/resolv.conf`.
fn build(servers: &[SocketAddr], is_ipv4_only: bool) -> Option<TokioResolver> {
    let builder = if servers.is_empty() {
        TokioResolver::builder_tokio().ok()
    } else {
        let servers = servers.iter().map(|server| name_server(*server)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Some(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    };
    builder.and_then(|mut builder| {
        builder.options_mut().timeout = LOOKUP_TIMEOUT;
        builder.options_mut().attempts = 1;
        if is_ipv4_only {
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4Only;
        }
        builder
            .build()
            .inspect_err(|error| tracing::error!(%error, "ExternalName Services cannot be resolved"))
            .ok()
    })
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_link_local_addresses_are_refused() {
        let refused = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:169.254.169.254",
        ];
        for ip in refused {
            assert!(refused_address(ip.parse().unwrap()).is_some(), "{ip}");
        }
        for ip in ["10.0.0.1", "192.168.0.1", "203.0.113.7", "fd00::1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert_eq!(refused_address(ip.parse().unwrap()), None, "{ip}");
        }
    }

    #[tokio::test]
    async fn without_ipv6_only_ipv4_addresses_are_looked_up() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = Resolver::new(&[server.local_addr().unwrap()], true);
        let (asked, mut types) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = server.recv_from(&mut packet).await {
                let name = packet[12..length].iter().position(|byte| *byte == 0).unwrap();
                asked.send(packet[12 + name + 2]).unwrap();
                let mut reply = packet[..12 + name + 5].to_vec();
                // NXDOMAIN.
                reply[2..4].copy_from_slice(&[0x81, 0x83]);
                reply[6..12].copy_from_slice(&[0; 6]);
                let _ = server.send_to(&reply, from).await;
            }
        });
        let mut types_of = async |host| {
            assert!(resolver.addresses(host, 80, false).await.is_err());
            let mut asked: Vec<u8> = std::iter::from_fn(|| types.try_recv().ok()).collect();
            asked.sort_unstable();
            asked.dedup();
            asked
        };
        let (a, aaaa) = (1, 28);
        assert_eq!(types_of("a.example.").await, [a, aaaa]);
        resolver.set_ipv4_only(true);
        assert_eq!(types_of("b.example.").await, [a]);
        resolver.set_ipv4_only(false);
        assert_eq!(types_of("c.example.").await, [a, aaaa]);
    }

    #[tokio::test]
    async fn a_host_with_only_local_addresses_is_refused_with_the_reason() {
        let resolver = Resolver::new(&["127.0.0.1:53".parse().unwrap()], false);
        let error = resolver.addresses("169.254.169.254", 80, false).await.unwrap_err();
        assert_eq!(error.to_string(), "resolves to 169.254.169.254, a link-local address");
        for (host, allow_local) in [("203.0.113.7", false), ("127.0.0.1", true)] {
            let addresses = resolver.addresses(host, 80, allow_local).await.unwrap();
            assert_eq!(addresses, [format!("{host}:80").parse().unwrap()]);
        }
    }
}
