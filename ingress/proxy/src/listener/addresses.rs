//! The addresses of HTTP and HTTPS: opened at the start, and opened and closed as `bind-address` and `disable-ipv6` change.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cluster::Current;
use ingress_routes::ListenSettings;
use net::BindError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::tls::TlsServers;
use super::{Listener, ListenerProperties};
use crate::state::listening::ListeningAddresses;

/// A callback with why the addresses are not those of the ConfigMap, whenever that changes; nothing if they are.
pub type ListenProblems = Arc<dyn Fn(Vec<ListenProblem>) + Send + Sync>;

/// A key about listeners that is not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenProblem {
    /// The key of the ConfigMap.
    pub key: &'static str,
    /// Why, and what applies instead.
    pub what: String,
}

/// How long it takes until addresses that could not be opened are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The listeners of HTTP and HTTPS. Owned by one worker, which follows the settings ten times a second.
pub(crate) struct ListenerSet {
    /// The addresses without keys of the ConfigMap.
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    tls: Arc<TlsServers>,
    workers: Vec<UnboundedSender<Listener>>,
    open: Vec<OpenAddress>,
    /// Addresses that were closed; a worker may have a listener still.
    closing: Vec<(SocketAddr, Weak<()>)>,
    listening: Current<ListeningAddresses>,
    /// The settings of the addresses that are open.
    followed: ListenSettings,
    /// `worker-processes` at the start.
    worker_processes: Option<usize>,
    /// The settings whose addresses could not be opened, and when they are tried again.
    failed: Option<(ListenSettings, Instant)>,
    problems: ListenProblems,
    reported: Vec<ListenProblem>,
}

/// An address with a listener of each worker.
struct OpenAddress {
    wanted: SocketAddr,
    bound: SocketAddr,
    is_https: bool,
    closed: CancellationToken,
    /// Alive while a worker has its listener.
    held: Weak<()>,
}

impl ListenerSet {
    /// Opens the addresses. Returns the receiver of each worker, too.
    ///
    /// # Errors
    /// When an address cannot be listened on; then none is.
    pub(crate) fn open(
        (http, https): (&[SocketAddr], &[SocketAddr]),
        settings: &ListenSettings,
        tls: Arc<TlsServers>,
        workers: usize,
        problems: ListenProblems,
    ) -> Result<(Self, Vec<UnboundedReceiver<Listener>>), BindError> {
        let (workers, receivers) = (0..workers).map(|_| unbounded_channel()).unzip();
        let mut set = Self {
            http: http.to_vec(),
            https: https.to_vec(),
            tls,
            workers,
            open: Vec::new(),
            closing: Vec::new(),
            listening: Current::new(ListeningAddresses::default()),
            followed: settings.clone(),
            worker_processes: settings.workers,
            failed: None,
            problems,
            reported: Vec::new(),
        };
        let wanted = set.wanted(settings);
        match set.open_missing(&wanted).into_iter().next() {
            Some(error) => Err(error),
            None => {
                set.show(&wanted);
                Ok((set, receivers))
            }
        }
    }

    /// The addresses that are listened on, now and after changes.
    pub(crate) fn listening(&self) -> Current<ListeningAddresses> {
        self.listening.clone()
    }

    /// Follows the settings. One comparison unless they have changed. The addresses of before stay until all new ones are open, as nginx
    /// keeps its configuration until the new one works. New addresses that can be opened are, and only the others are tried again: opening
    /// and closing all of them each time would reset the connections that came in between.
    pub(crate) fn follow(&mut self, settings: &ListenSettings) {
        if *settings == self.followed && self.failed.is_none() {
            return;
        }
        let is_due =
            |(failed, retry): &(ListenSettings, Instant)| failed != settings || *retry <= Instant::now();
        if !self.failed.as_ref().is_none_or(is_due) {
            return;
        }
        let mut problems = Vec::new();
        if settings.workers != self.worker_processes {
            let what = "takes effect at the next start, unless --workers is given".to_owned();
            problems.push(ListenProblem { key: "worker-processes", what });
        }
        let wanted = self.wanted(settings);
        let errors = self.open_missing(&wanted);
        self.failed = (!errors.is_empty()).then(|| (settings.clone(), Instant::now() + RETRY));
        if errors.is_empty() {
            self.close_others(&wanted);
            self.followed = settings.clone();
        }
        self.show(&wanted);
        for error in errors {
            let what = format!(
                "{error}; it is tried again, and until then the addresses of before are listened on, too"
            );
            problems.push(ListenProblem { key: "bind-address", what });
        }
        if problems != self.reported {
            (self.problems)(problems.clone());
            self.reported = problems;
        }
    }

    /// The addresses to listen on, and whether for HTTPS.
    fn wanted(&self, settings: &ListenSettings) -> Vec<(SocketAddr, bool)> {
        let http = settings.listening(&self.http).into_iter().map(|address| (address, false));
        let https = settings.listening(&self.https).into_iter().map(|address| (address, true));
        http.chain(https).collect()
    }

    /// Opens the addresses that are not open. Returns why some cannot be.
    fn open_missing(&mut self, wanted: &[(SocketAddr, bool)]) -> Vec<BindError> {
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        for (address, is_https) in wanted {
            if self.open.iter().any(|open| (open.wanted, open.is_https) == (*address, *is_https)) {
                continue;
            }
            match self.listen(*address, *is_https) {
                Ok(listeners) => opened.push(listeners),
                Err(error) => errors.push(error),
            }
        }
        for (open, listeners) in opened {
            for (worker, listener) in self.workers.iter().zip(listeners) {
                // A worker that has ended receives nothing more, and the process stops.
                let _ = worker.send(listener);
            }
            tracing::info!("listening on {}", open.bound);
            self.open.push(open);
        }
        errors
    }

    /// Closes the addresses that are not wanted.
    fn close_others(&mut self, wanted: &[(SocketAddr, bool)]) {
        self.open.retain(|open| {
            let is_wanted = wanted.contains(&(open.wanted, open.is_https));
            if !is_wanted {
                tracing::info!("no longer listening on {}", open.bound);
                open.closed.cancel();
                self.closing.push((open.bound, open.held.clone()));
            }
            is_wanted
        });
        self.closing.retain(|(_, held)| held.strong_count() > 0);
    }

    /// Shows the open addresses: in the order in which they are wanted, then those of before.
    fn show(&self, wanted: &[(SocketAddr, bool)]) {
        let position = |open: &&OpenAddress| {
            let is_it = |wanted: &(SocketAddr, bool)| *wanted == (open.wanted, open.is_https);
            wanted.iter().position(is_it).unwrap_or(usize::MAX)
        };
        let bound = |is_https| {
            let mut open: Vec<_> = self.open.iter().filter(|open| open.is_https == is_https).collect();
            open.sort_by_key(position);
            open.iter().map(|open| open.bound).collect()
        };
        self.listening.store(Arc::new(ListeningAddresses { http: bound(false), https: bound(true) }));
    }

    /// A listener on an address for each worker.
    fn listen(&self, address: SocketAddr, is_https: bool) -> Result<(OpenAddress, Vec<Listener>), BindError> {
        // Another address of this process on the port, such as the one of all addresses, would look like another process.
        let overlaps =
            |ip: IpAddr| ip.is_unspecified() || address.ip().is_unspecified() || ip == address.ip();
        let closing =
            self.closing.iter().filter(|(_, held)| held.strong_count() > 0).map(|(bound, _)| *bound);
        let is_beside = self.open.iter().map(|open| open.bound).chain(closing).any(|bound| {
            bound.port() == address.port() && bound.is_ipv4() == address.is_ipv4() && overlaps(bound.ip())
        });
        let open = if is_beside { net::listen::listen_beside } else { net::listen::listen };
        let sockets = open(address, self.workers.len())?;
        let first = sockets.first().map_or(Ok(address), |socket| socket.local_addr());
        let bound = first.map_err(|cause| BindError { address, cause })?;
        let (closed, held) = (CancellationToken::new(), Arc::new(()));
        let properties = ListenerProperties {
            tls: is_https.then(|| self.tls.clone()),
            port: if is_https { 443 } else { bound.port() },
        };
        let of_worker = |socket| {
            let (properties, closed, held) = (properties.clone(), closed.clone(), held.clone());
            Listener { socket, properties, closed, held }
        };
        let listeners = sockets.into_iter().map(of_worker).collect();
        let held = Arc::downgrade(&held);
        Ok((OpenAddress { wanted: address, bound, is_https, closed, held }, listeners))
    }
}
