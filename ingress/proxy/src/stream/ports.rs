//! Opens the ports of the view and closes those that it no longer has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cluster::{Current, Kind, Protocol};
use ingress_routes::problem::Effect;
use ingress_routes::{RoutingProblem, StreamService, Streams};
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

/// Protocol and port.
type PortKey = (Protocol, u16);

/// The ports of TCP and UDP services. Owned by one worker, which follows the view ten times a second.
pub(crate) struct StreamPorts {
    view: Current<Streams>,
    addresses: Vec<IpAddr>,
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
    /// Ports on these addresses, and the receiver of each worker.
    pub(crate) fn new(
        view: Current<Streams>,
        addresses: Vec<IpAddr>,
        workers: usize,
        problems: StreamProblems,
    ) -> (Self, Vec<UnboundedReceiver<OpenedPort>>) {
        let (workers, receivers) = (0..workers).map(|_| unbounded_channel()).unzip();
        let ports = HashMap::default();
        (Self { view, addresses, workers, problems, followed: None, ports }, receivers)
    }

    /// Opens all ports of the view.
    pub(crate) fn open_all(&mut self) {
        self.follow_some(usize::MAX);
    }

    /// Follows the view. One comparison unless it has changed.
    pub(crate) fn follow(&mut self) {
        self.follow_some(OPENED_AT_ONCE);
    }

    fn follow_some(&mut self, most: usize) {
        let view = self.view.load_full();
        if self.followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &view)) {
            return;
        }
        let is_wanted = |key: &PortKey| view.get(key.0, key.1).is_some_and(|service| service.is_open());
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
        for service in view.iter().filter(|service| service.is_open()) {
            let key = (service.protocol, service.port);
            let port = self.ports.entry(key).or_default();
            if port.close.is_some() {
                continue;
            }
            let is_due = port.failed.as_ref().is_none_or(|(_, retry)| *retry <= now);
            if opened == most || !is_due {
                are_all_open = false;
                continue;
            }
            opened += 1;
            match open(service, &self.addresses, self.workers.len(), port.held.strong_count() > 0) {
                Ok(sockets) => {
                    let (closed, held) = (CancellationToken::new(), Arc::new(()));
                    port.held = Arc::downgrade(&held);
                    for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
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

/// A socket on each address for each worker, in the order of the workers. `is_held`: sockets of this process have the addresses still.
///
/// # Errors
/// When one of the addresses cannot be bound; then none is.
fn open(
    service: &StreamService,
    addresses: &[IpAddr],
    workers: usize,
    is_held: bool,
) -> Result<Vec<StreamSocket>, BindError> {
    let mut sockets = Vec::with_capacity(addresses.len() * workers);
    for address in addresses {
        let address = SocketAddr::new(*address, service.port);
        match (service.protocol, is_held) {
            (Protocol::Udp, false) => {
                sockets.extend(net::datagram::open(address, workers)?.into_iter().map(StreamSocket::Udp));
            }
            (Protocol::Udp, true) => {
                let opened = net::datagram::open_beside(address, workers)?;
                sockets.extend(opened.into_iter().map(StreamSocket::Udp));
            }
            (_, false) => {
                sockets.extend(net::listen::listen(address, workers)?.into_iter().map(StreamSocket::Tcp))
            }
            (_, true) => {
                sockets
                    .extend(net::listen::listen_beside(address, workers)?.into_iter().map(StreamSocket::Tcp));
            }
        }
    }
    Ok(sockets)
}

fn problem(service: &StreamService, error: &BindError) -> RoutingProblem {
    let (kind, key, field) = (Kind::ConfigMap, service.config_map.clone(), service.port.to_string());
    RoutingProblem { kind, key, field, what: format!("{error}; the port is closed"), effect: Effect::Differs }
}
