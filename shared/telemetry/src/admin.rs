//! Small pages for probes, scrapers and operators, over HTTP/1.1.
//!
//! Routes come and go while an address is served. A later owner of a path covers an earlier one until it
//! goes, so a reload that fails leaves what was there.

pub(crate) mod message;

pub(crate) mod access;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admin::access::{AccessDecision, AccessPolicy, ActivePolicy, AdminStream, PolicyStack};
use crate::admin::message::{AdminRequest, AdminResponse};

const MAX_CONNECTIONS: usize = 128;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an open request may go on when its address closes.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Handler = Arc<dyn Fn(&AdminRequest) -> AdminResponse + Send + Sync>;

/// The addresses at which pages are served, each opened when it is first asked for.
#[derive(Clone, Default)]
pub struct AdminServer(Arc<tokio::sync::Mutex<HashMap<String, OpenAddress>>>);

struct OpenAddress {
    site: Weak<ListenerState>,
    closed: CancellationToken,
}

impl AdminServer {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pages of an address such as `:8080`, `localhost:9153` or `[::1]:8181`. It stays open while somebody
    /// holds them or one of their routes. Must be called within a tokio runtime, which then serves them.
    pub async fn listen(&self, address: &str) -> io::Result<AdminListener> {
        let mut addresses = self.0.lock().await;
        if let Some(known) = addresses.get(address) {
            if let Some(site) = known.site.upgrade() {
                return Ok(AdminListener(site));
            }
            // Its last owner has gone, and its listener is about to.
            known.closed.cancelled().await;
        }
        let pages = AdminListener::serve(listen(address).await?);
        let opened = OpenAddress { site: Arc::downgrade(&pages.0), closed: pages.0.closed.clone() };
        addresses.insert(address.to_owned(), opened);
        Ok(pages)
    }
}

/// Listens on a host and port; without a host on every address of both families.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    match TcpListener::bind(format!("[::]:{port}")).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(format!("0.0.0.0:{port}")).await
        }
        bound => bound,
    }
}

/// The pages of one address.
#[derive(Clone)]
pub struct AdminListener(Arc<ListenerState>);

struct ListenerState {
    routes: Arc<ArcSwap<Routes>>,
    policies: Arc<PolicyStack>,
    /// Writers take turns; readers never wait.
    writing: Mutex<()>,
    next_id: AtomicU64,
    local: io::Result<SocketAddr>,
    closed: CancellationToken,
    _close: DropGuard,
}

/// The handlers of each path, the one that answers last.
type Routes = BTreeMap<String, Vec<(u64, Handler)>>;

/// A page that is shown while this lives.
#[must_use = "the page is gone when this is dropped"]
pub struct AdminRoute {
    site: Arc<ListenerState>,
    path: String,
    id: u64,
}

/// A policy that stands while this lives.
#[must_use = "the policy is gone when this is dropped"]
pub struct PolicyGuard {
    site: Arc<ListenerState>,
    policy: Arc<dyn AccessPolicy>,
}

impl AdminListener {
    /// Serves a listener that somebody else opened.
    pub fn serve(listener: TcpListener) -> Self {
        let routes = Arc::new(ArcSwap::from_pointee(Routes::new()));
        let local = listener.local_addr();
        let (close, closed) = (CancellationToken::new(), CancellationToken::new());
        let policies = Arc::new(PolicyStack::none(&close));
        let serving = (routes.clone(), policies.clone(), close.clone(), closed.clone().drop_guard());
        tokio::spawn(async move {
            let (routes, policies, close, _closed) = serving;
            accept(listener, policies, routes, close).await;
        });
        Self(Arc::new(ListenerState {
            routes,
            policies,
            writing: Mutex::default(),
            next_id: AtomicU64::new(0),
            local,
            closed,
            _close: close.drop_guard(),
        }))
    }

    /// Where it listens, which matters when the system chose the port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local.as_ref().copied().map_err(|error| error.kind().into())
    }

    /// Shows a page at a path, above one that is there already.
    pub fn route(
        &self,
        path: &str,
        answer: impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static,
    ) -> AdminRoute {
        let id = self.0.next_id.fetch_add(1, Relaxed);
        let handler: Handler = Arc::new(answer);
        self.0.change(|routes| routes.entry(path.to_owned()).or_default().push((id, handler)));
        AdminRoute { site: self.0.clone(), path: path.to_owned(), id }
    }

    /// Puts a policy before all pages of the address, in front of one that stands there already.
    pub fn require(&self, policy: Arc<dyn AccessPolicy>) -> PolicyGuard {
        self.0.policies.add(policy.clone());
        PolicyGuard { site: self.0.clone(), policy }
    }
}

impl ListenerState {
    fn change(&self, change: impl FnOnce(&mut Routes)) {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut routes = Routes::clone(&self.routes.load());
        change(&mut routes);
        self.routes.store(Arc::new(routes));
    }
}

impl Drop for AdminRoute {
    fn drop(&mut self) {
        self.site.change(|routes| {
            if let Some(handlers) = routes.get_mut(&self.path) {
                handlers.retain(|(id, _)| *id != self.id);
                if handlers.is_empty() {
                    routes.remove(&self.path);
                }
            }
        });
    }
}

impl Drop for PolicyGuard {
    fn drop(&mut self) {
        self.site.policies.remove(&self.policy);
    }
}

async fn accept(
    listener: TcpListener,
    policies: Arc<PolicyStack>,
    routes: Arc<ArcSwap<Routes>>,
    close: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some((stream, place)) = close.run_until_cancelled(next(&listener, &room)).await {
        let (active, routes) = (policies.now(), routes.clone());
        tokio::spawn(async move {
            let entered: Option<Box<dyn AdminStream>> = match &active.policy {
                None => Some(Box::new(stream)),
                Some(policy) => {
                    let entering = tokio::time::timeout(HEADER_TIMEOUT, policy.accept(stream));
                    entering.await.ok().and_then(Result::ok)
                }
            };
            if let Some(stream) = entered {
                serve(stream, routes, active).await;
            }
            drop(place);
        });
    }
}

/// The next connection, once there is room for it.
async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let place = room.clone().acquire_owned().await.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            // Out of file descriptors, most likely: trying on at once would burn a processor.
            Err(_) => tokio::time::sleep(HEADER_TIMEOUT / 100).await,
        }
    }
}

async fn serve(stream: Box<dyn AdminStream>, routes: Arc<ArcSwap<Routes>>, active: Arc<ActivePolicy>) {
    let policy = &active.policy;
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let (asked, routes) = (request.into_parts().0, routes.load_full());
        async move {
            let decision = match policy {
                Some(policy) => policy.authorize(&asked).await,
                None => AccessDecision::default(),
            };
            Ok::<_, Infallible>(respond(routes, asked, decision).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that breaks off or breaks the protocol has had its 400 from hyper; there is nothing to tell.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = active.shut.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_WORDS, connection).await;
        }
    }
}

async fn respond(
    routes: Arc<Routes>,
    asked: AdminRequest,
    decision: AccessDecision,
) -> Response<Full<Bytes>> {
    let answer = match decision.response {
        Some(answer) => answer,
        // The metrics of thousands of Ingresses take a while to write, and other tasks need the threads of the runtime.
        None => tokio::task::spawn_blocking(move || answer(&routes, &asked)).await.unwrap_or_else(|_| {
            AdminResponse::text(StatusCode::INTERNAL_SERVER_ERROR, "500 the page cannot be made\n")
        }),
    };
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = decision.headers;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn answer(routes: &Routes, asked: &AdminRequest) -> AdminResponse {
    let handler = routes.get(asked.uri.path()).and_then(|handlers| handlers.last());
    let readable = asked.method == Method::GET || asked.method == Method::HEAD;
    match handler {
        None => AdminResponse::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        Some(_) if !readable => AdminResponse::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n"),
        Some((_, handler)) => handler(asked),
    }
}

#[cfg(test)]
mod tests;
