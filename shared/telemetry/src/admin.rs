//! HTTP/1.1 listeners for probes, scrapers and operators.
//!
//! Routes can be added and removed while an address is served. If a path has several routes, the latest is served until it is
//! dropped; a configuration reload that fails therefore leaves the earlier routes in place.

pub(crate) mod access;
mod request_state;

mod connection_table;
mod spare_descriptors;

mod routes;
mod serve;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admin::access::{AccessPolicy, PolicyStack};
use crate::admin::connection_table::ConnectionTable;
pub use crate::admin::request_state::EventSource;
use crate::admin::routes::{CommonPages, Handler, Routes};
use crate::admin::serve::Timeouts;
use crate::admin::spare_descriptors::SpareDescriptors;
use crate::admin_message::{AdminRequest, AdminResponse};
use crate::metrics::{Counter, Registry};

/// Maximum number of open connections of one listener. Beyond it, the oldest idle one is closed for each new one.
const MAX_CONNECTIONS: usize = 48;
/// Maximum number of responses of large pages in the process that are being made or sent at the same time.
const MAX_LARGE_RESPONSES: usize = 8;
/// Maximum number of open streams of events in the process.
const MAX_EVENT_STREAMS: usize = 8;
/// File descriptors reserved for admin connections of the process.
const SPARE_DESCRIPTORS: usize = 8;

/// The admin listeners of the process by address. Each is opened at the first call of [`AdminServer::listen`].
#[derive(Clone)]
pub struct AdminServer(Arc<Inner>);

struct Inner {
    listeners: tokio::sync::Mutex<HashMap<String, OpenListener>>,
    shared: Arc<Shared>,
}

/// State shared by all listeners.
struct Shared {
    common: CommonPages,
    large_responses: Arc<Semaphore>,
    event_streams: Arc<Semaphore>,
    evicted: Counter,
    spare: SpareDescriptors,
    timeouts: Timeouts,
}

struct OpenListener {
    state: Weak<ListenerState>,
    closed: CancellationToken,
}

impl AdminServer {
    /// Creates a server without listeners. Registers `portolan_admin_connections_evicted_total`.
    pub fn new(registry: &Registry) -> Self {
        Self::with_timeouts(registry, Timeouts::default())
    }

    fn with_timeouts(registry: &Registry, timeouts: Timeouts) -> Self {
        let help = "Connections to admin listeners that were closed to make room for newer ones.";
        let evicted = registry.counter("portolan_admin_connections_evicted_total", help);
        let large_responses = Arc::new(Semaphore::new(MAX_LARGE_RESPONSES));
        let event_streams = Arc::new(Semaphore::new(MAX_EVENT_STREAMS));
        let (common, spare) = (CommonPages::default(), SpareDescriptors::new(SPARE_DESCRIPTORS));
        let shared = Arc::new(Shared { common, large_responses, event_streams, evicted, spare, timeouts });
        Self(Arc::new(Inner { listeners: Default::default(), shared }))
    }

    /// Adds a page to all present and future listeners. On a listener with a route of the same path, the route is served.
    pub fn add_common_page(
        &self,
        path: &'static str,
        page: impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static,
    ) {
        self.0.shared.common.add(path, Handler::large(page));
    }

    /// Adds a stream of events to all present and future listeners, as [`AdminListener::route_events`].
    pub fn add_common_events(
        &self,
        path: &'static str,
        period: Duration,
        open: impl Fn(&AdminRequest) -> Result<EventSource, AdminResponse> + Send + Sync + 'static,
    ) {
        self.0.shared.common.add(path, Handler::events(period, Arc::new(open)));
    }

    /// Returns the listener on an address such as `:8080`, `localhost:9153` or `[::1]:8181`, and opens it if needed. It stays
    /// open while the listener, one of its routes or one of its policies is held, and accepts connections once it has a route.
    /// Must be called within a tokio runtime, which then serves it.
    ///
    /// # Errors
    /// When the address cannot be bound; the message names it.
    pub async fn listen(&self, address: &str) -> io::Result<AdminListener> {
        let mut listeners = self.0.listeners.lock().await;
        if let Some(known) = listeners.get(address) {
            if let Some(state) = known.state.upgrade() {
                return Ok(AdminListener(state));
            }
            // The last owner was dropped, and the socket is about to be closed.
            known.closed.cancelled().await;
        }
        let opened = listen(address).await.map_err(|error| with_address(address, &error))?;
        let listener = AdminListener::new(opened, self.0.shared.clone());
        if let Ok(local) = listener.local_addr() {
            tracing::info!("admin listener on http://{local}/");
        }
        let opened = OpenListener { state: Arc::downgrade(&listener.0), closed: listener.0.closed.clone() };
        listeners.insert(address.to_owned(), opened);
        Ok(listener)
    }

    /// The addresses of all open listeners.
    pub async fn local_addrs(&self) -> Vec<SocketAddr> {
        let listeners = self.0.listeners.lock().await;
        let open = listeners.values().filter_map(|listener| listener.state.upgrade());
        open.filter_map(|state| state.local.as_ref().ok().copied()).collect()
    }
}

/// The same error with a message that names the address.
fn with_address(address: &str, error: &io::Error) -> io::Error {
    let cause = match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {cause}"))
}

/// Listens on a host and port; without a host, on all IPv4 and IPv6 addresses.
///
/// # Errors
/// When the address cannot be bound.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    match TcpListener::bind(format!("[::]:{port}")).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(format!("0.0.0.0:{port}")).await
        }
        bound => bound,
    }
}

/// An open admin listener with its pages.
#[derive(Clone)]
pub struct AdminListener(Arc<ListenerState>);

struct ListenerState {
    routes: Arc<Routes>,
    policies: Arc<PolicyStack>,
    /// Cancelled when the first route is added. No connection is accepted before that, so that a policy can be set first.
    has_route: CancellationToken,
    local: io::Result<SocketAddr>,
    closed: CancellationToken,
    _close: DropGuard,
}

/// Guard of a route: the page is served until this is dropped.
#[must_use = "dropping this removes the page"]
pub struct AdminRoute {
    state: Arc<ListenerState>,
    path: String,
    id: u64,
}

/// Guard of an access policy: the policy applies until this is dropped.
#[must_use = "dropping this removes the policy"]
pub struct PolicyGuard {
    state: Arc<ListenerState>,
    policy: Arc<dyn AccessPolicy>,
}

impl AdminListener {
    fn new(listener: TcpListener, shared: Arc<Shared>) -> Self {
        let local = listener.local_addr();
        let (close, closed) = (CancellationToken::new(), CancellationToken::new());
        let routes = Arc::new(Routes::default());
        let policies = Arc::new(PolicyStack::new(&close));
        let server = serve::Server {
            routes: routes.clone(),
            policies: policies.clone(),
            connections: ConnectionTable::new(MAX_CONNECTIONS, shared.evicted.clone()),
            shared,
        };
        let (stop, stopped) = (close.clone(), closed.clone().drop_guard());
        let has_route = CancellationToken::new();
        let first_route = has_route.clone();
        tokio::spawn(async move {
            let serving = async {
                first_route.cancelled().await;
                Arc::new(server).accept(listener).await;
            };
            stop.run_until_cancelled(serving).await;
            drop(stopped);
        });
        Self(Arc::new(ListenerState {
            routes,
            policies,
            has_route,
            local,
            closed,
            _close: close.drop_guard(),
        }))
    }

    /// The bound address, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local.as_ref().copied().map_err(|error| error.kind().into())
    }

    /// Adds a page that is small and fast to make, such as a probe's. `page` runs on the connection's task and must not
    /// block. An earlier route of the same path is hidden until the returned guard is dropped.
    pub fn route(
        &self,
        path: &str,
        page: impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static,
    ) -> AdminRoute {
        self.add(path, Handler::quick(page))
    }

    /// Adds a page that may be large or slow to make, such as metrics. `page` runs on a blocking thread. A few of these
    /// responses may exist at a time; further requests wait, and get 503 after ten seconds.
    pub fn route_large(
        &self,
        path: &str,
        page: impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static,
    ) -> AdminRoute {
        self.add(path, Handler::large(page))
    }

    /// Adds a page that sends server-sent events: for each request `open` returns what makes their data (one line), or another response.
    /// The first event is sent at once, the others at each period. At most eight such responses are open in the process; further
    /// requests get 503.
    pub fn route_events(
        &self,
        path: &str,
        period: Duration,
        open: impl Fn(&AdminRequest) -> Result<EventSource, AdminResponse> + Send + Sync + 'static,
    ) -> AdminRoute {
        self.add(path, Handler::events(period, Arc::new(open)))
    }

    fn add(&self, path: &str, handler: Handler) -> AdminRoute {
        let id = self.0.routes.add(path, handler);
        self.0.has_route.cancel();
        AdminRoute { state: self.0.clone(), path: path.to_owned(), id }
    }

    /// Applies a policy to all pages of the listener, in place of the current one.
    pub fn require(&self, policy: Arc<dyn AccessPolicy>) -> PolicyGuard {
        self.0.policies.add(policy.clone());
        PolicyGuard { state: self.0.clone(), policy }
    }
}

impl Drop for AdminRoute {
    fn drop(&mut self) {
        self.state.routes.remove(&self.path, self.id);
    }
}

impl Drop for PolicyGuard {
    fn drop(&mut self) {
        self.state.policies.remove(&self.policy);
    }
}

#[cfg(test)]
mod tests;
