//! Pages by path, and the index page of a listener.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::ACCEPT;

use crate::admin::request_state::EventSource;
use crate::admin_message::{AdminRequest, AdminResponse};

/// Opens a stream of events, or answers otherwise.
pub(super) type OpenEvents = Arc<dyn Fn(&AdminRequest) -> Result<EventSource, AdminResponse> + Send + Sync>;

/// Makes the response of a page.
#[derive(Clone)]
pub(super) struct Handler {
    page: Arc<dyn Fn(&AdminRequest) -> AdminResponse + Send + Sync>,
    /// See [`crate::AdminListener::route_large`].
    pub(super) is_large: bool,
    /// The page is a stream of events instead.
    pub(super) events: Option<(Duration, OpenEvents)>,
}

impl Handler {
    pub(super) fn quick(page: impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static) -> Self {
        Self { page: Arc::new(page), is_large: false, events: None }
    }

    pub(super) fn large(page: impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static) -> Self {
        Self { page: Arc::new(page), is_large: true, events: None }
    }

    pub(super) fn events(period: Duration, open: OpenEvents) -> Self {
        Self { events: Some((period, open)), ..Self::quick(|_| AdminResponse::ok("")) }
    }

    pub(super) fn respond(&self, request: &AdminRequest) -> AdminResponse {
        (self.page)(request)
    }
}

/// The handlers of each path with their ids; the last one is served.
type ByPath = BTreeMap<String, Vec<(u64, Handler)>>;

/// The pages of one listener.
#[derive(Default)]
pub(super) struct Routes {
    by_path: ArcSwap<ByPath>,
    /// Serializes changes. Readers take no lock.
    changing: Mutex<()>,
    next_id: AtomicU64,
}

impl Routes {
    pub(super) fn add(&self, path: &str, handler: Handler) -> u64 {
        let id = self.next_id.fetch_add(1, Relaxed);
        self.change(|routes| routes.entry(path.to_owned()).or_default().push((id, handler)));
        id
    }

    pub(super) fn remove(&self, path: &str, id: u64) {
        self.change(|routes| {
            if let Some(handlers) = routes.get_mut(path) {
                handlers.retain(|(known, _)| *known != id);
                if handlers.is_empty() {
                    routes.remove(path);
                }
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut ByPath)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut routes = ByPath::clone(&self.by_path.load());
        change(&mut routes);
        self.by_path.store(Arc::new(routes));
    }

    /// The page of a path: its route, else the common page, else (for `/`) the index.
    pub(super) fn find(&self, path: &str, common: &CommonPages) -> Option<Handler> {
        let routes = self.by_path.load();
        let own = routes.get(path).and_then(|handlers| handlers.last()).map(|(_, handler)| handler.clone());
        own.or_else(|| common.get(path)).or_else(|| (path == "/").then(|| index(&routes, common)))
    }

    /// The page of a request. A browser gets the page `/live` at `/`, if there is one.
    pub(super) fn find_for(&self, request: &AdminRequest, common: &CommonPages) -> Option<Handler> {
        let accepts = request.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let is_browser = accepts.is_some_and(|accept| accept.contains("text/html"));
        let live = (is_browser && request.uri.path() == "/").then(|| common.get("/live")).flatten();
        live.or_else(|| self.find(request.uri.path(), common))
    }
}

/// Pages that every listener has.
#[derive(Default)]
pub(super) struct CommonPages(Mutex<BTreeMap<&'static str, Handler>>);

impl CommonPages {
    pub(super) fn add(&self, path: &'static str, handler: Handler) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path, handler);
    }

    fn get(&self, path: &str) -> Option<Handler> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn paths(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

/// Descriptions of well-known pages for the index.
const ABOUT: &[(&str, &str)] = &[
    ("/health", "200 while the process is alive"),
    ("/healthz", "200 while requests are served"),
    ("/live", "what is served now, for browsers"),
    ("/metrics", "metrics in Prometheus's text format"),
    ("/problems", "objects and settings with problems, one per line"),
    ("/ready", "200 once the service is ready, else 503 with what it waits for"),
];

/// The page that lists all pages of the listener.
fn index(routes: &ByPath, common: &CommonPages) -> Handler {
    let mut paths: Vec<&str> = routes.keys().map(String::as_str).chain(common.paths()).collect();
    // The list leaves out the files that the live page loads.
    paths.retain(|path| !path.starts_with("/live/"));
    paths.sort_unstable();
    paths.dedup();
    let mut text = "Portolan: pages of this listener\n\n".to_owned();
    for path in paths {
        let about = ABOUT.iter().find(|(known, _)| *known == path).map_or("", |(_, about)| about);
        text.push_str(format!("{path:<12} {about}").trim_end());
        text.push('\n');
    }
    Handler::quick(move |_| AdminResponse::ok(text.clone()))
}
