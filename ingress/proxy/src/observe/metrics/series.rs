//! The request series of a worker, by route.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use ingress_routes::{Route, RouteTable};

use super::ProxyMetrics;
use super::requests::{
    LabelledSeries, RequestLabels, RequestMetrics, RequestSample, method_label, status_label,
};

/// How many hosts without an Ingress have their own label value in a worker (`--metrics-per-undefined-host`); clients choose
/// them.
const MAX_HOSTS: usize = 1000;
/// The label value of all other hosts, and of impossible names.
const OTHER_HOST: &str = "_";
/// The longest name in DNS (RFC 1035 §3.1).
const MAX_HOST_LENGTH: usize = 253;
/// After this many sweeps all series are checked although the table has not changed.
const SWEEPS: u32 = 60;

/// The series that a worker has used.
pub(crate) struct RequestSeries {
    requests: RequestMetrics,
    known: RefCell<HashMap<Identity, KnownSeries, RandomState>>,
    undefined: RefCell<HashMap<Box<str>, OfHost, RandomState>>,
    /// The address of the table at the last full sweep, and how many sweeps ago that was.
    swept: Cell<(usize, u32)>,
}

/// Route, canary, status and method. The route is identified by its address, which is not reused while a [`Weak`] exists.
type Identity = (usize, usize, u16, u8);

/// The series of a host without an Ingress, by status and method.
type OfHost = HashMap<(u16, u8), LabelledSeries, RandomState>;

struct KnownSeries {
    route: Weak<Route>,
    series: LabelledSeries,
}

impl RequestSeries {
    pub(crate) fn new(metrics: &ProxyMetrics) -> Self {
        Self {
            requests: metrics.requests.clone(),
            known: RefCell::default(),
            undefined: RefCell::default(),
            swept: Cell::default(),
        }
    }

    /// Counts a request. Hot: one look-up in a map of this thread, no lock and no allocation once the series is known.
    ///
    /// Requests to hosts without an Ingress are not counted unless `--metrics-per-undefined-host` or no host label is set.
    pub(crate) fn count(&self, of: &RequestLabels<'_>, sample: &RequestSample) {
        let options = self.requests.options();
        let undefined = of.route.ingress.is_none();
        if undefined && options.per_host {
            if options.per_undefined_host {
                self.count_undefined(of, sample);
            }
            return;
        }
        let identity = self.identity(of);
        if let Some(known) = self.known.borrow().get(&identity) {
            return self.requests.count(&known.series, sample);
        }
        let series = self.requests.series(of, &of.route.host);
        self.requests.count(&series, sample);
        self.known.borrow_mut().insert(identity, KnownSeries { route: Arc::downgrade(of.route), series });
    }

    fn identity(&self, of: &RequestLabels<'_>) -> Identity {
        let status = status_label(of.status, self.requests.options().status_classes);
        let canary = of.canary.map_or(0, |(at, _)| at + 1);
        (Arc::as_ptr(of.route) as usize, canary, status, method_label(of.method).0)
    }

    fn count_undefined(&self, of: &RequestLabels<'_>, sample: &RequestSample) {
        // The address of the route makes no difference here.
        let (.., status, method) = self.identity(of);
        let mut hosts = self.undefined.borrow_mut();
        let fits =
            of.host.len() <= MAX_HOST_LENGTH && (hosts.contains_key(of.host) || hosts.len() < MAX_HOSTS);
        let host = if fits { of.host } else { OTHER_HOST };
        if !hosts.contains_key(host) {
            hosts.insert(host.into(), HashMap::default());
        }
        let Some(known) = hosts.get_mut(host) else { return };
        let series = known.entry((status, method)).or_insert_with(|| self.requests.series(of, host));
        self.requests.count(series, sample);
    }

    /// Drops routes that no table has any more, and removes the series of deleted Ingresses, as ingress-nginx does.
    ///
    /// Every worker that has counted for an Ingress does this. A request that was still open may create a series again; a
    /// later sweep removes it.
    pub(crate) fn sweep(&self, table: &Arc<RouteTable>) {
        let (at, (last, ago)) = (Arc::as_ptr(table) as usize, self.swept.get());
        if at == last && ago < SWEEPS {
            return self.swept.set((last, ago + 1));
        }
        self.swept.set((at, 0));
        self.known.borrow_mut().retain(|_, known| {
            let gone = known.series.ingress().is_some_and(|ingress| !table.has(&ingress));
            if gone {
                self.requests.remove(&known.series);
            }
            !gone && known.route.strong_count() > 0
        });
    }
}
