//! The setup of a plugin: its inputs, and the hooks and settings that it registers.

mod cluster_source;
mod served_keys;
mod values;

use std::any::{Any, TypeId};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::{ConfigError, ConfigWarning, Directive, ServerBlock};
use futures_util::future::BoxFuture;
use telemetry::metrics::Registry;
use telemetry::{AdminServer, LogWriter, ReadinessGates, Reports};
use tokio::runtime::Handle;

pub use self::cluster_source::{ApiConnection, ApiLimits, ClusterSource};
use self::served_keys::listened;
pub(crate) use self::served_keys::served_keys;
pub use self::served_keys::{ListenAddress, ServedKey};
pub(crate) use self::values::Offers;
pub use self::values::{SharedValues, Wanted};
use crate::host;
use crate::limits::ChainLimits;
use crate::listener::ListenerSettings;
use crate::plugin::Plugin;
use crate::routes::RouteFilter;

/// A plugin in the registry: its name, its documentation and its setup.
pub struct PluginEntry {
    /// The directive.
    pub name: &'static str,
    /// One sentence for the list of plugins.
    pub about: &'static str,
    /// Example directives. A test loads each of them.
    pub syntax: &'static [&'static str],
    /// Its arguments and the properties of its block. The examples have each property.
    pub options: &'static [PluginOption],
    /// Whether the plugin is set up before the others because it sets what they read: addresses, the view, the folder of files.
    pub early: bool,
    /// Registers all metrics of the plugin, so that they can be listed without a configuration.
    pub metrics: fn(&Registry),
    /// Reads the directives of that name and creates the plugin instances they describe, in order. Empty for a plugin
    /// that never sees a query.
    pub setup: fn(&mut Setup<'_>) -> Result<PluginInstances, SetupErrors>,
}

/// An argument of a directive, or a property of its block.
pub struct PluginOption {
    /// As CoreDNS writes it: `ttl SECONDS`. An argument begins with a capital letter or a bracket.
    pub syntax: &'static str,
    /// The value without it; empty if there is none.
    pub default: &'static str,
    /// Its effect, in a sentence.
    pub about: &'static str,
}

/// The instances of one plugin in a server block, in the order in which a query passes them.
pub type PluginInstances = Vec<Arc<dyn Plugin>>;

/// All errors in the directives of one plugin.
pub type SetupErrors = Vec<ConfigError>;

/// Parts of the process that plugins use.
#[derive(Clone)]
pub struct PluginContext {
    /// The source of the `kubernetes` plugin's views.
    pub cluster: Arc<dyn ClusterSource>,
    /// What plugins keep over reloads of the Corefile.
    pub shared: SharedValues,
    /// The registry of all metrics.
    pub metrics: Registry,
    /// Whether metrics are also exported under the names of earlier versions of CoreDNS.
    pub legacy_metrics: bool,
    /// The gates that `ready` reports.
    pub gates: ReadinessGates,
    /// The pages of `health`, `ready` and `prometheus`.
    pub admin: AdminServer,
    /// The problems listed on `/problems`.
    pub reports: Reports,
    /// The query log, which `log` writes to.
    pub queries: LogWriter,
    /// Whether the query log is written as JSON (`-log-format json`).
    pub json: bool,
    /// The runtime of waiting queries and background tasks.
    pub runtime: Handle,
    /// Requests shutdown of the process with a reason, such as a forwarding loop.
    pub fatal: Arc<dyn Fn(String) + Send + Sync>,
    /// The version in `coredns_build_info`.
    pub version: &'static str,
    /// Limits of the queries that wait. They are shared by all configurations, so a reload does not reset their counts.
    pub limits: ChainLimits,
}

/// Held while a configuration is served and dropped afterwards: pages, tasks, watches.
pub type PluginGuard = Box<dyn Any + Send>;

/// Runs before the first query. If it fails, the configuration is not served.
pub type StartHook = Box<dyn FnOnce() -> BoxFuture<'static, Result<PluginGuard, String>> + Send>;

/// Runs once an address is served, with the addresses of its sockets.
pub type ServingHook = Box<dyn FnOnce(Vec<SocketAddr>) -> BoxFuture<'static, ()> + Send>;

/// Hooks and settings of a configuration, collected while its plugins are set up.
#[derive(Default)]
pub struct Lifecycle {
    pub(crate) starts: Vec<StartHook>,
    pub(crate) servings: Vec<(ListenAddress, ServingHook)>,
    pub(crate) warnings: Vec<ConfigWarning>,
    pub(crate) lameduck: Duration,
    pub(crate) reload: Option<ReloadOptions>,
    /// Sum of the queries that plugins are configured to let wait (`max_concurrent`).
    pub(crate) waiting: usize,
}

/// What the plugins of a server block set for the whole block.
#[derive(Default)]
pub(crate) struct BlockSettings {
    /// The addresses that it listens on, with port 0. Empty for those of the server.
    pub bound: Vec<SocketAddr>,
    pub listener: ListenerSettings,
    /// The name of its `view`, for metrics; empty without one.
    pub view: String,
    pub filter: Option<Arc<dyn RouteFilter>>,
    /// The folder of relative paths (`root`).
    pub folder: Option<PathBuf>,
    pub offers: Offers,
    /// The types that plugins want.
    pub wanted: Vec<TypeId>,
    /// Makes of each plugin below one that is called in its place.
    pub wrapper: Option<PluginWrapper>,
}

/// Makes of a plugin and its name one that is called in its place.
pub type PluginWrapper = Arc<dyn Fn(&'static str, Arc<dyn Plugin>) -> Arc<dyn Plugin> + Send + Sync>;

/// The settings of the `reload` plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadOptions {
    /// How often the Corefile is read.
    pub interval: Duration,
    /// The largest random addition to the interval, so that replicas do not read at the same time.
    pub jitter: Duration,
}

/// The setup of one plugin for a server block. The plugin serves all keys of the block.
pub struct Setup<'a> {
    /// The server block.
    pub block: &'a ServerBlock,
    /// The number of all plugins.
    pub plugins: usize,
    /// The directives of the plugin's name, at least one.
    pub directives: Vec<&'a Directive>,
    /// Parts of the process that plugins use.
    pub context: &'a PluginContext,
    /// Names of the plugins that see queries of the block, in order. Set once all of them have been set up.
    pub linked: Arc<OnceLock<Vec<&'static str>>>,
    pub(crate) lifecycle: &'a mut Lifecycle,
    pub(crate) settings: &'a mut BlockSettings,
    /// Filled once the whole block has been set up.
    pub(crate) offered: Arc<OnceLock<Offers>>,
}

impl<'a> Setup<'a> {
    /// The directive of a plugin that may be used only once per server block.
    pub fn once(&self) -> Result<&'a Directive, SetupErrors> {
        let first = self.directives[0];
        match self.block.once(&first.name) {
            Ok(_) => Ok(first),
            Err(error) => Err(vec![error]),
        }
    }

    /// The zone and address that the block names first.
    pub fn first_key(&self) -> Result<ServedKey, SetupErrors> {
        self.served_keys().into_iter().next().ok_or_else(Vec::new)
    }

    /// The keys of the block at their addresses, in the order of [`Request::key`](crate::Request::key).
    pub fn served_keys(&self) -> Vec<ServedKey> {
        served_keys(self.block, self.settings)
    }

    /// Lets the block listen on these addresses only. Their ports are 0.
    pub fn listen_on(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        for address in addresses {
            let is_known = |known: &SocketAddr| {
                *known == address || (listened(*known).is_none() && listened(address).is_none())
            };
            if !self.settings.bound.iter().any(is_known) {
                self.settings.bound.push(address);
            }
        }
    }

    /// Changes how the addresses of the block are listened on.
    pub fn listener(&mut self) -> &mut ListenerSettings {
        &mut self.settings.listener
    }

    /// Lets the block answer only the queries that a filter admits. The name is the `view` label of metrics.
    pub fn filter(&mut self, view: &str, filter: Arc<dyn RouteFilter>) {
        view.clone_into(&mut self.settings.view);
        self.settings.filter = Some(filter);
    }

    /// Sets the folder of relative paths.
    pub fn set_folder(&mut self, folder: PathBuf) {
        self.settings.folder = Some(folder);
    }

    /// The path of a file that the Corefile names.
    pub fn path(&self, name: &str) -> PathBuf {
        // An absolute name replaces the folder.
        self.settings.folder.as_ref().map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }

    /// Offers a value to the other plugins of the block.
    pub fn offer<T: Any + Send + Sync>(&mut self, value: Arc<T>) {
        self.settings.offers.add(value);
    }

    /// Whether a plugin that is set up before this one wants values of a type.
    pub fn is_wanted<T: Any + Send + Sync>(&self) -> bool {
        self.settings.wanted.contains(&TypeId::of::<T>())
    }

    /// The values of a type that the plugins of the block offer, wherever these stand in the list of plugins.
    pub fn want<T: Any + Send + Sync>(&mut self) -> Wanted<T> {
        self.settings.wanted.push(TypeId::of::<T>());
        Wanted::new(self.offered.clone())
    }

    /// Replaces all plugins below this one, so that it can observe what they do. Costs nothing in blocks without it.
    pub fn wrap_below(&mut self, wrapper: PluginWrapper) {
        self.settings.wrapper = Some(wrapper);
    }

    /// The addresses by which other hosts reach the block.
    pub(crate) fn own_addresses(&self) -> Vec<IpAddr> {
        let bound = &self.settings.bound;
        if bound.iter().all(|address| listened(*address).is_some()) && !bound.is_empty() {
            return bound.iter().map(SocketAddr::ip).filter(host::is_of_host).collect();
        }
        host::own_addresses()
    }

    /// Reports a setting that is accepted but probably not intended.
    pub fn warn(&mut self, at: &Directive, what: impl Into<String>) {
        self.lifecycle.warnings.push(ConfigWarning::new(&at.name.at, what));
    }

    /// Adds work to be done before the first query.
    pub fn on_start<F>(&mut self, start: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = Result<PluginGuard, String>> + Send + 'static,
    {
        self.lifecycle.starts.push(Box::new(move || Box::pin(start())));
    }

    /// Adds work to be done once an address of the block is served.
    pub fn on_serving<F>(
        &mut self,
        listen: ListenAddress,
        serving: impl FnOnce(Vec<SocketAddr>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.lifecycle.servings.push((listen, Box::new(move |addresses| Box::pin(serving(addresses)))));
    }

    /// Sets how long queries are served after shutdown was requested. The longest of several values applies.
    pub fn lameduck(&mut self, lameduck: Duration) {
        self.lifecycle.lameduck = self.lifecycle.lameduck.max(lameduck);
    }

    /// Enables periodic reloads of the Corefile.
    pub fn reload(&mut self, reload: ReloadOptions) {
        self.lifecycle.reload = Some(reload);
    }

    /// Allows this many queries to wait for the plugin.
    pub fn waiting(&mut self, queries: usize) {
        self.lifecycle.waiting = self.lifecycle.waiting.saturating_add(queries);
    }
}

/// Reads each line of a block of options, and collects the errors of all lines.
pub(crate) fn each_line<'d>(
    directive: &'d Directive,
    mut read: impl FnMut(&'d Directive) -> Result<(), ConfigError>,
) -> Result<(), SetupErrors> {
    let errors: SetupErrors = directive.block.iter().filter_map(|line| read(line).err()).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
