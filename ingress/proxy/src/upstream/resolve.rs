//! Hosts of ExternalName Services to addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// How long a name server may take; ingress-nginx's Lua resolver waits as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker's resolver. It remembers answers for their TTL, and failures as long as the zone says; a slow name
/// server delays the requests that ask for the name and nothing else.
pub(crate) struct Resolver(Option<TokioResolver>);

impl Resolver {
    /// A resolver that asks these servers, or those of `/etc/resolv.conf` with its search domains.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio().ok()
        } else {
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Some(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let resolver = builder.and_then(|mut builder| {
            builder.options_mut().timeout = PATIENCE;
            builder.options_mut().attempts = 1;
            builder
                .build()
                .inspect_err(|error| tracing::error!(%error, "ExternalName Services cannot be resolved"))
                .ok()
        });
        Self(resolver)
    }

    /// The addresses of a host; none where it has none or they cannot be found out.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![SocketAddr::new(address, port)];
        }
        let Some(resolver) = &self.0 else { return Vec::new() };
        match resolver.lookup_ip(host).await {
            Ok(found) => found.iter().map(|address| SocketAddr::new(address, port)).collect(),
            Err(error) => {
                tracing::debug!(host, %error, "an ExternalName cannot be resolved");
                Vec::new()
            }
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
