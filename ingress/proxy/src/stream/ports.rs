//! Opens the ports of the view and closes those that it no longer has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cluster::{Current, Protocol};
use ingress_routes::problem::Effect;
use ingress_routes::{ListenSettings, RoutingProblem, StreamService, Streams};
use net::BindError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{OpenedPort, StreamSocket};

/// A callback with the ports that cannot be opened, whenever they change.
pub type StreamProblems = Arc<dyn Fn(Vec<RoutingProblem>) + Send + Sync>;

/// How many ports are opened at once while the proxy serves: the worker that opens them does nothing else meanwhile.
const OPENED_AT_ONCE: usize = 32;
/// How long it takes until a port that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Protocol and address.
type PortKey = (Protocol, SocketAddr);

/// The ports of TCP and UDP services. Owned by one worker, which follows the view ten times a second.
pub(crate) struct StreamPorts {
    view: Current<Streams>,
    /// The addresses without keys of the ConfigMap.
    all: Vec<IpAddr>,
    /// The settings that were followed last, and their addresses.
    settings: ListenSettings,
    addresses: Vec<IpAddr>,
    /// These and the addresses before: a worker may have a socket on one of them still.
    held: Vec<IpAddr>,
    workers: Vec<UnboundedSender<OpenedPort>>,
    problems: StreamProblems,
    /// The view that was followed last, if all of its ports are open.
    followed: Option<Arc<Streams>>,
    ports: HashMap<PortKey, Port, foldhash::fast::RandomState>,
}

/// A port that is open, or was.
#[derive(Default)]
struct Port {
    /// Closes it; `None` if it is closed.
    close: Option<CancellationToken>,
    /// Alive while a worker still has its socket.
    held: Weak<()>,
    /// Why it could not be opened, and when it is tried again.
    failed: Option<(RoutingProblem, Instant)>,
}

impl StreamPorts {
    /// Ports on these addresses, unless the ConfigMap has others, and the receiver of each worker.
    pub(crate) fn new(
        view: Current<Streams>,
        all: Vec<IpAddr>,
        workers: usize,
        problems: StreamProblems,
    ) -> (Self, Vec<UnboundedReceiver<OpenedPort>>) {
        let (workers, receivers) = (0..workers).map(|_| unbounded_channel()).unzip();
        let ports = HashMap::default();
        let (settings, addresses, held) = (ListenSettings::default(), all.clone(), all.clone());
        let ports = Self { view, all, settings, addresses, held, workers, problems, followed: None, ports };
        (ports, receivers)
    }

    /// Opens all ports of the view.
    pub(crate) fn open_all(&mut self, settings: &ListenSettings) {
        self.follow_some(settings, usize::MAX);
    }

    /// Follows the view and the settings. Two comparisons unless one has changed.
    pub(crate) fn follow(&mut self, settings: &ListenSettings) {
        self.follow_some(settings, OPENED_AT_ONCE);
    }

    fn follow_some(&mut self, settings: &ListenSettings, most: usize) {
        if self.settings != *settings {
            self.settings = settings.clone();
            self.held = std::mem::replace(&mut self.addresses, settings.ips(&self.all));
            self.held.extend(&self.addresses);
            self.followed = None;
        }
        let view = self.view.load_full();
        if self.followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &view)) {
            return;
        }
        let is_wanted = |(protocol, address): &PortKey| {
            self.addresses.contains(&address.ip())
                && view.get(*protocol, address.port()).is_some_and(|service| service.is_open())
        };
        let mut have_problems_changed = false;
        self.ports.retain(|key, port| {
            if !is_wanted(key) {
                if let Some(close) = port.close.take() {
                    close.cancel();
                }
                have_problems_changed |= port.failed.take().is_some();
            }
            port.close.is_some() || port.failed.is_some() || port.held.strong_count() > 0
        });
        let (mut opened, mut are_all_open, now) = (0, true, Instant::now());
        let services = view.iter().filter(|service| service.is_open());
        let wanted = services.flat_map(|service| self.addresses.iter().map(move |ip| (service, *ip)));
        for (service, ip) in wanted {
            let address = SocketAddr::new(ip, service.port);
            let of_port = self.held.iter().map(|ip| (service.protocol, SocketAddr::new(*ip, service.port)));
            let mut of_port = of_port.filter_map(|key| self.ports.get(&key));
            let is_held = of_port.any(|port| port.held.strong_count() > 0);
            let port = self.ports.entry((service.protocol, address)).or_default();
            if port.close.is_some() {
                continue;
            }
            let is_due = port.failed.as_ref().is_none_or(|(_, retry)| *retry <= now);
            if opened == most || !is_due {
                are_all_open = false;
                continue;
            }
            opened += 1;
            match open(service.protocol, address, self.workers.len(), is_held) {
                Ok(sockets) => {
                    let (closed, held) = (CancellationToken::new(), Arc::new(()));
                    port.held = Arc::downgrade(&held);
                    for (worker, socket) in self.workers.iter().zip(sockets) {
                        let (closed, held) = (closed.clone(), held.clone());
                        // A worker that has ended receives nothing more, and the process stops.
                        let _ = worker.send(OpenedPort { socket, port: service.port, closed, held });
                    }
                    port.close = Some(closed);
                    have_problems_changed |= port.failed.take().is_some();
                }
                Err(error) => {
                    are_all_open = false;
                    let problem = problem(service, &error);
                    have_problems_changed |= port.failed.as_ref().is_none_or(|(known, _)| *known != problem);
                    port.failed = Some((problem, now + RETRY));
                }
            }
        }
        if have_problems_changed {
            let failed = self.ports.values().filter_map(|port| port.failed.as_ref());
            let mut failed: Vec<_> = failed.map(|(problem, _)| problem.clone()).collect();
            failed.sort_unstable();
            (self.problems)(failed);
        }
        self.followed = are_all_open.then_some(view);
    }
}

/// A socket for each worker. `is_held`: sockets of this process have the address still.
///
/// # Errors
/// When the address cannot be bound.
fn open(
    protocol: Protocol,
    address: SocketAddr,
    workers: usize,
    is_held: bool,
) -> Result<Vec<StreamSocket>, BindError> {
    Ok(match protocol {
        Protocol::Udp => {
            let open = if is_held { net::datagram::open_beside } else { net::datagram::open };
            open(address, workers)?.into_iter().map(StreamSocket::Udp).collect()
        }
        _ => {
            let open = if is_held { net::listen::listen_beside } else { net::listen::listen };
            open(address, workers)?.into_iter().map(StreamSocket::Tcp).collect()
        }
    })
}

fn problem(service: &StreamService, error: &BindError) -> RoutingProblem {
    let (kind, key) = service.source.clone();
    RoutingProblem {
        kind,
        key,
        field: service.port.to_string(),
        what: format!("{error}; the port is closed there"),
        effect: Effect::Differs,
    }
}
