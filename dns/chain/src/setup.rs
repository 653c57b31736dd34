//! What the set-up of a plugin is given, and what it leaves behind.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use cluster::{Current, Kinds};
use config::{ConfigError, ConfigWarning, Directive, ServerBlock, ServerKey};
use dns_zone::{Zone, ZoneIndex, ZoneOptions};
use futures_util::future::BoxFuture;
use telemetry::metrics::Registry;
use telemetry::{AdminServer, LogWriter, ReadinessGates};
use tokio::runtime::Handle;

use crate::plugin::Plugin;

/// A plugin in the list: its name, its documentation and how it is set up.
pub struct PluginEntry {
    /// The directive.
    pub name: &'static str,
    /// One sentence for the list of plugins.
    pub about: &'static str,
    /// Directives as they may stand in a server block. A test loads each.
    pub syntax: &'static [&'static str],
    /// Reads the directives of that name and makes the links they stand for, in order; none for a plugin that
    /// never sees a query.
    pub setup: fn(&mut Setup<'_>) -> Result<PluginInstances, SetupErrors>,
}

/// The links that the directives of one plugin stand for, in order.
pub type PluginInstances = Vec<Arc<dyn Plugin>>;

/// Everything that is wrong with the directives of one plugin.
pub type SetupErrors = Vec<ConfigError>;

/// Where the kubernetes plugin's picture of the cluster comes from.
pub trait ClusterSource: Send + Sync {
    /// The view of a zone, kept current for as long as somebody holds it.
    fn project(&self, zone: ZoneIndex, connection: &ApiConnection) -> Result<Current<Zone>, String>;

    /// Has the limits of a connection hold from now on, in place of those with which it was opened.
    fn limit(&self, _connection: &ApiConnection) {}

    /// The kinds of a connection that the API server refuses to tell of (RBAC). They may be listed later.
    fn refused(&self, _connection: &ApiConnection) -> Kinds {
        Kinds::default()
    }
}

/// How the Corefile says that the API server is reached; all empty for the service account of the Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiConnection {
    /// `endpoint`: the first of the URLs.
    pub endpoint: Option<String>,
    /// `tls`: files of the client's certificate and key and of the authority, for `endpoint`.
    pub tls: Option<[String; 3]>,
    /// `kubeconfig`: the file, and the context if one is named.
    pub kubeconfig: Option<(String, Option<String>)>,
    /// `labels`: the selector that is sent with the watches of Services, EndpointSlices and Pods.
    pub labels: Option<String>,
    /// What may be asked of the API server.
    pub limits: ApiLimits,
}

impl ApiConnection {
    /// Whether both mean the same objects of the same server, however often it may be asked.
    pub fn same_source(&self, other: &Self) -> bool {
        let without_limits = |connection: &Self| Self { limits: ApiLimits::default(), ..connection.clone() };
        without_limits(self) == without_limits(other)
    }
}

/// `apiserver_qps`, `apiserver_burst` and `apiserver_max_inflight`; 0 where not set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ApiLimits {
    /// Requests a second.
    pub qps: f32,
    /// Requests that may come at once.
    pub burst: u32,
    /// Requests that wait for their answer.
    pub in_flight: u32,
}

/// The views that are held at the moment. A reload that asks for the same names in the same way finds the view of the
/// configuration before it, instead of a second one of the whole cluster beside it.
#[derive(Clone, Default)]
pub struct ZoneViews(Arc<Mutex<Vec<Weak<ZoneView>>>>);

/// A view and what it shows.
pub(crate) struct ZoneView {
    options: ZoneOptions,
    connection: ApiConnection,
    pub(crate) current: Current<Zone>,
}

impl ZoneViews {
    /// The view of a zone: the one that is held, or a new one.
    pub(crate) fn of(
        &self,
        cluster: &dyn ClusterSource,
        options: ZoneOptions,
        connection: ApiConnection,
    ) -> Result<Arc<ZoneView>, String> {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| view.strong_count() > 0);
        let known = views.iter().filter_map(Weak::upgrade);
        let mut same =
            known.filter(|view| view.options == options && view.connection.same_source(&connection));
        if let Some(view) = same.next() {
            return Ok(view);
        }
        drop(same);
        let current = cluster.project(ZoneIndex::new(options.clone()), &connection)?;
        let view = Arc::new(ZoneView { options, connection, current });
        views.push(Arc::downgrade(&view));
        Ok(view)
    }
}

/// What plugins share with the rest of the process.
#[derive(Clone)]
pub struct PluginContext {
    /// The cluster of the kubernetes plugin.
    pub cluster: Arc<dyn ClusterSource>,
    /// What is held of it.
    pub views: ZoneViews,
    /// Where metrics are counted.
    pub metrics: Registry,
    /// What `ready` waits for.
    pub gates: ReadinessGates,
    /// The pages of `health`, `ready` and `prometheus`.
    pub admin: AdminServer,
    /// Where `log` writes a line for each query.
    pub queries: LogWriter,
    /// Lines of `log` are JSON objects (`-log-format json`).
    pub json: bool,
    /// Where queries wait and tasks live.
    pub runtime: Handle,
    /// Called with the reason when the process had better end: a forwarding loop.
    pub fatal: Arc<dyn Fn(String) + Send + Sync>,
    /// What `coredns_build_info` says.
    pub version: &'static str,
}

/// PluginGuard while a configuration is served, and dropped after it: pages, tasks, watches.
pub type PluginGuard = Box<dyn Any + Send>;

/// To be done before the first query: what fails here keeps a configuration from being served.
pub type StartHook = Box<dyn FnOnce() -> BoxFuture<'static, Result<PluginGuard, String>> + Send>;

/// To be done once a port is served, with the addresses it is served at.
pub type ServingHook = Box<dyn FnOnce(Vec<SocketAddr>) -> BoxFuture<'static, ()> + Send>;

/// What a configuration wants beyond answering queries.
#[derive(Default)]
pub struct Lifecycle {
    pub(crate) starts: Vec<StartHook>,
    pub(crate) servings: Vec<(u16, ServingHook)>,
    pub(crate) warnings: Vec<ConfigWarning>,
    pub(crate) lameduck: std::time::Duration,
    pub(crate) reload: Option<ReloadOptions>,
    shared: HashMap<(usize, &'static str), Arc<dyn Any + Send + Sync>>,
}

/// The `reload` plugin's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadOptions {
    /// How often the Corefile is read.
    pub interval: std::time::Duration,
    /// By how much at most that is varied, so that the replicas do not read it together.
    pub jitter: std::time::Duration,
}

/// The set-up of one plugin for one key of a server block.
pub struct Setup<'a> {
    /// The whole block.
    pub block: &'a ServerBlock,
    /// Its place in the file, counted from 0.
    pub block_index: usize,
    /// The key this is for.
    pub key: &'a ServerKey,
    /// The names of all plugins.
    pub names: &'static [&'static str],
    /// The directives of the plugin's name, at least one.
    pub directives: Vec<&'a Directive>,
    /// What plugins share with the rest of the process.
    pub context: &'a PluginContext,
    /// The plugins that see the queries of the key, in order; known once all have been set up.
    pub linked: Arc<OnceLock<Vec<&'static str>>>,
    pub(crate) lifecycle: &'a mut Lifecycle,
}

impl<'a> Setup<'a> {
    /// The directive, if the plugin may be used once per server block only.
    pub fn once(&self) -> Result<&'a Directive, SetupErrors> {
        let first = self.directives[0];
        match self.block.once(&first.name) {
            Ok(_) => Ok(first),
            Err(error) => Err(vec![error]),
        }
    }

    /// The name of the listening address in labels: `dns://:53`.
    pub fn server(&self) -> String {
        server_label(self.key)
    }

    /// Something that loads and is yet odd.
    pub fn warn(&mut self, at: &Directive, what: impl Into<String>) {
        let warning = ConfigWarning::new(&at.name.at, what);
        // A block is set up once for each of its keys.
        if !self.lifecycle.warnings.contains(&warning) {
            self.lifecycle.warnings.push(warning);
        }
    }

    /// To be done before the first query.
    pub fn on_start<F>(&mut self, start: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = Result<PluginGuard, String>> + Send + 'static,
    {
        self.lifecycle.starts.push(Box::new(move || Box::pin(start())));
    }

    /// To be done once the key's port is served.
    pub fn on_serving<F>(&mut self, serving: impl FnOnce(Vec<SocketAddr>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.lifecycle.servings.push((self.key.port, Box::new(move |at| Box::pin(serving(at)))));
    }

    /// What the keys of a block share of a plugin: made for the first of them.
    pub fn shared<T: Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        make: impl FnOnce(&mut Self) -> Result<T, SetupErrors>,
    ) -> Result<Arc<T>, SetupErrors> {
        let place = (self.block_index, name);
        if let Some(known) =
            self.lifecycle.shared.get(&place).cloned().and_then(|known| known.downcast().ok())
        {
            return Ok(known);
        }
        let made = Arc::new(make(self)?);
        self.lifecycle.shared.insert(place, made.clone());
        Ok(made)
    }

    /// How long queries are still served after the end has been announced; the longest of those asked for.
    pub fn lameduck(&mut self, lameduck: std::time::Duration) {
        self.lifecycle.lameduck = self.lifecycle.lameduck.max(lameduck);
    }

    /// That the Corefile is to be read again and again.
    pub fn reload(&mut self, reload: ReloadOptions) {
        self.lifecycle.reload = Some(reload);
    }
}

/// The `server` label of a key without `bind`: `dns://:53` (coredns, core/dnsserver/address.go).
pub(crate) fn server_label(key: &ServerKey) -> String {
    format!("{}://:{}", key.scheme, key.port)
}

/// Reads each line of a block of options, collecting what is wrong with each.
pub(crate) fn each_line<'d>(
    directive: &'d Directive,
    mut read: impl FnMut(&'d Directive) -> Result<(), ConfigError>,
) -> Result<(), SetupErrors> {
    let mistakes: SetupErrors = directive.block.iter().filter_map(|line| read(line).err()).collect();
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}
