//! The sockets of all served addresses, and the routes behind them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use config::{Corefile, SourceLocation};
use dns_chain::{ListenAddress, PluginContext, PluginGuard, Servers, ZoneRoutes};
use net::{BindError, Drain};
use telemetry::metrics::Registry;

use crate::arrivals;
use crate::listener_state::{ANY, ListenerState};
use crate::name_samples::NameSamples;
use crate::tcp::TcpListeners;
use crate::tcp_connections::{TcpConnectionTable, TcpLimits};
use crate::udp::{DropCounts, UdpSockets, UdpThreads};

/// Options of the server that are not in the Corefile.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// UDP threads per address; one per processor by default.
    pub threads: Option<usize>,
    /// The addresses to listen on; if empty, the wildcard address.
    pub addresses: Vec<IpAddr>,
    /// Limits on TCP connections.
    pub tcp: TcpLimits,
}

/// Why a configuration cannot be served.
#[derive(Debug)]
pub enum DnsStartError {
    /// The Corefile has errors.
    Config(config::ConfigErrors),
    /// An address cannot be listened on. The location is the first key of the Corefile that names the port.
    Bind(SourceLocation, BindError),
    /// A plugin or a thread could not be started.
    Begin(String),
}

/// The port and address of a listener in the configuration.
type ListenerKey = (u16, SocketAddr);

/// The listeners by their address in the configuration.
pub(crate) struct Listeners {
    listeners: BTreeMap<ListenerKey, Listener>,
    /// Admin pages, watches and tasks of the current configuration.
    guards: Vec<PluginGuard>,
    pub lameduck: Duration,
    options: ServerOptions,
    context: PluginContext,
    connections: Arc<TcpConnectionTable>,
    drops: DropCounts,
    /// The names of some of the queries.
    pub names: NameSamples,
}

struct Listener {
    address: SocketAddr,
    shared: Arc<ListenerState>,
    drain: Drain,
    threads: UdpThreads,
}

/// Sockets that are bound and not yet served.
struct Bound {
    key: ListenerKey,
    udp: UdpSockets,
    tcp: TcpListeners,
}

/// Attempts to find a port that is free for UDP and TCP when the system chooses the port.
const TRIES: usize = 16;

impl Listeners {
    /// Registers the metrics of all listeners.
    pub(crate) fn register_metrics(metrics: &Registry) {
        TcpConnectionTable::new(TcpLimits::default(), metrics);
        DropCounts::new(metrics);
    }

    pub(crate) fn new(options: ServerOptions, context: PluginContext) -> Self {
        Self {
            listeners: BTreeMap::new(),
            guards: Vec::new(),
            lameduck: Duration::ZERO,
            connections: Arc::new(TcpConnectionTable::new(options.tcp, &context.metrics)),
            drops: DropCounts::new(&context.metrics),
            names: NameSamples::default(),
            options,
            context,
        }
    }

    /// Serves a configuration in place of the current one. Sockets of addresses in both stay open, and new ones are bound
    /// before old ones are closed. After an error the current configuration is still served.
    pub(crate) async fn serve(&mut self, mut servers: Servers) -> Result<(), DnsStartError> {
        let guards = servers.begin().await.map_err(DnsStartError::Begin)?;
        let mut routes = BTreeMap::new();
        for dns_chain::DnsListener { listen, at, routes: served } in &servers.listeners {
            for key in self.keys_of(*listen) {
                routes.insert(key, (at, served.clone()));
            }
        }
        let mut bound = Vec::new();
        for (key, (at, served)) in routes.iter().filter(|(key, _)| !self.listeners.contains_key(key)) {
            let sockets = served.settings().sockets;
            let opened = self
                .bind(*key, sockets, routes.keys())
                .map_err(|error| DnsStartError::Bind((*at).clone(), error))?;
            bound.push(opened);
        }
        let mut opened = Vec::new();
        for bound in bound {
            let Some((_, routes)) = routes.get(&bound.key) else { continue };
            let PluginContext { metrics, runtime, .. } = &self.context;
            let panics = dns_chain::limits::panics(metrics);
            let connections = self.connections.clone();
            let (routes, runtime, names) = (routes.clone(), runtime.clone(), self.names.clone());
            let shared = Arc::new(ListenerState::new(routes, panics, runtime, connections, names));
            let Bound { key, udp, tcp } = bound;
            let listener = Listener::serve(udp, tcp, shared);
            let start_error =
                |(address, error)| DnsStartError::Begin(format!("cannot serve {address}: {error}"));
            opened.push((key, listener.map_err(start_error)?));
        }
        // No step after this one can fail, so the change is complete or absent.
        for (key, (_, routes)) in &routes {
            if let Some(listener) = self.listeners.get(key) {
                listener.shared.routes.store(routes.clone());
            }
        }
        for (_, listener) in &opened {
            self.drops.add(listener.address, listener.threads.sockets());
        }
        self.listeners.extend(opened);
        let removed: Vec<_> =
            self.listeners.keys().filter(|key| !routes.contains_key(key)).copied().collect();
        for listener in removed.iter().filter_map(|key| self.listeners.remove(key)) {
            self.context.runtime.spawn(listener.close(GRACE));
        }
        (self.guards, self.lameduck) = (guards, servers.lameduck);
        for (listen, serving) in servers.servings() {
            let listeners = self.keys_of(listen).into_iter().filter_map(|key| self.listeners.get(&key));
            let addresses = listeners.map(|listener| listener.address).collect();
            serving(addresses).await;
        }
        Ok(())
    }

    /// The addresses that are listened on, in the order of ports.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.values().map(|listener| listener.address).collect()
    }

    /// The routes of the first address.
    pub(crate) fn first_routes(&self) -> Option<Arc<ZoneRoutes>> {
        self.listeners.values().next().map(|listener| listener.shared.routes.load_full())
    }

    /// Waits until queries have stopped arriving over UDP, for `limit` at most.
    pub(crate) fn until_quiet(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        let shared: Vec<_> = self.listeners.values().map(|listener| listener.shared.clone()).collect();
        shared.iter().for_each(|shared| shared.arrivals.start());
        let count = move || shared.iter().map(|shared| shared.arrivals.count()).sum();
        arrivals::until_quiet(count, limit)
    }

    /// Closes all listeners. Queries in flight get `grace` to be answered.
    pub(crate) async fn close(mut self, grace: Duration) {
        let closing = std::mem::take(&mut self.listeners).into_values().map(|listener| listener.close(grace));
        futures_util::future::join_all(closing).await;
    }

    /// The listeners of an address in the Corefile.
    fn keys_of(&self, listen: ListenAddress) -> Vec<ListenerKey> {
        let key = |ip| (listen.port, SocketAddr::new(ip, listen.port));
        match (listen.bound, self.options.addresses.as_slice()) {
            (Some(address), _) => vec![(listen.port, address)],
            (None, []) => vec![key(ANY)],
            (None, addresses) => addresses.iter().copied().map(key).collect(),
        }
    }

    /// Binds both protocols to one port, with this many UDP sockets. `planned` are all listeners of the configuration.
    fn bind<'a>(
        &'a self,
        key: ListenerKey,
        sockets: Option<usize>,
        planned: impl Iterator<Item = &'a ListenerKey>,
    ) -> Result<Bound, BindError> {
        let beside = planned.chain(self.listeners.keys()).any(|other| overlap(key, *other));
        let threads = sockets.or(self.options.threads);
        let threads = threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        let (port, wanted) = key;
        let mut tries = TRIES;
        loop {
            let udp = UdpSockets::bind(wanted, threads, beside)?;
            tries -= 1;
            let mut tcp = wanted;
            tcp.set_port(udp.address().port());
            match TcpListeners::bind(tcp, beside) {
                Ok(tcp) => return Ok(Bound { key, udp, tcp }),
                // The system chose a port that is free for UDP and not for TCP.
                Err(_) if port == 0 && tries > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the one address includes the other.
fn overlap(one: ListenerKey, other: ListenerKey) -> bool {
    let is_wildcard = |key: ListenerKey| key.1.ip().is_unspecified();
    one.0 == other.0 && one.0 != 0 && is_wildcard(one) != is_wildcard(other)
}

/// How long a closed listener waits for queries in flight (coredns, core/dnsserver/server.go).
pub(crate) const GRACE: Duration = Duration::from_secs(5);

impl Listener {
    /// Starts to answer queries. An error leaves nothing running.
    fn serve(
        udp: UdpSockets,
        tcp: TcpListeners,
        shared: Arc<ListenerState>,
    ) -> Result<Self, (SocketAddr, std::io::Error)> {
        let address = udp.address();
        let mut listener = Self { address, shared, drain: Drain::new(), threads: UdpThreads::default() };
        let Self { shared, drain, threads, .. } = &mut listener;
        tcp.serve(shared, drain).map_err(|error| (address, error))?;
        *threads = udp.serve(shared).map_err(|error| (address, error))?;
        Ok(listener)
    }

    /// Stops receiving, answers what was received, and closes.
    async fn close(mut self, grace: Duration) {
        self.drain.stop();
        let tasks = self.shared.tasks.clone();
        // The threads end after they have answered the queued packets.
        let stopped = tokio::task::spawn_blocking(move || {
            self.threads.stop();
            self
        });
        let Ok(listener) = stopped.await else { return };
        tasks.close();
        let _ = tokio::time::timeout(grace, tasks.wait()).await;
        listener.drain.finish(grace).await;
    }
}

/// A listener that is dropped because another failed to start must stop accepting.
impl Drop for Listener {
    fn drop(&mut self) {
        self.drain.stop();
    }
}

impl fmt::Display for DnsStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(errors) => errors.fmt(f),
            Self::Bind(at, error) => write!(f, "{at} - {error}"),
            Self::Begin(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for DnsStartError {}

impl DnsStartError {
    /// The line of the Corefile that the error is about, if it is about a single one. The message of a plugin that could not
    /// begin starts with the plugin's name; its location is that of the first directive of that name.
    pub fn location(&self, corefile: &Corefile) -> Option<SourceLocation> {
        match self {
            Self::Config(_) => None,
            Self::Bind(at, _) => Some(at.clone()),
            Self::Begin(message) => {
                let plugin = message.split(':').next().unwrap_or_default();
                let mut directives = corefile.blocks.iter().flat_map(|block| block.all(plugin));
                directives.next().map(|directive| directive.name.at.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dns_chain::{ChainLimits, QueryMetrics, ZoneRoutes};
    use telemetry::metrics::{Counter, Registry};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dropped_listener_ends_its_tasks() {
        let runtime = tokio::runtime::Handle::current();
        let dropped = QueryMetrics::new(&Registry::new(), ["dns://:0", "dropped", ""], 0);
        let routes = Arc::new(ZoneRoutes::new(
            Vec::new(),
            dropped,
            runtime.clone(),
            ChainLimits::new(&Registry::new()),
        ));
        let connections = Arc::new(TcpConnectionTable::new(TcpLimits::default(), &Registry::new()));
        let shared = Arc::new(ListenerState::new(
            routes,
            Counter::default(),
            runtime,
            connections,
            NameSamples::default(),
        ));
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let (udp, tcp) =
            (UdpSockets::bind(loopback, 1, false).unwrap(), TcpListeners::bind(loopback, false).unwrap());
        drop(Listener::serve(udp, tcp, shared.clone()).unwrap());
        let released = async {
            while Arc::strong_count(&shared) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), released).await.expect("all of its tasks end");
    }
}
