//! The DNS service: reads a Corefile, serves it, reloads it and stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{ConfigErrors, Corefile, Fingerprint};
use dns_chain::{PluginContext, ReloadMetrics, ReloadOptions, Servers, ZoneRoutes};
use telemetry::metrics::Registry;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;

use crate::listeners::{DnsStartError, GRACE, Listeners, ServerOptions};
use crate::name_samples::NameSamples;
use crate::reload_problems::{SCOPE, problems};
use crate::supervise::restart_on_panic;

/// Reads the Corefile. Called at the start and for each reload.
pub type CorefileLoader = Arc<dyn Fn() -> Result<Corefile, ConfigErrors> + Send + Sync>;

/// How long queries are answered after the request to stop, if they keep arriving.
///
/// A kube-proxy takes longer than the usual `lameduck` of 5 s to follow the endpoints if the node is loaded: after each Pod that ended it
/// removes the conntrack entries of its lookups, and changes no rules meanwhile. Below the usual grace period of a Pod, 30 s.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// A DNS service that runs until it is stopped.
pub struct DnsService {
    service: Arc<Inner>,
    reloading: AbortHandle,
}

/// Reads what a service serves. Cheap to clone.
#[derive(Clone)]
pub struct ServedRoutes(Arc<Inner>);

impl ServedRoutes {
    /// The routes of the address with the lowest port that is served; `None` once the service has stopped.
    pub async fn first(&self) -> Option<Arc<ZoneRoutes>> {
        self.0.state.lock().await.server.first_routes()
    }

    /// The names that clients ask for.
    pub fn names(&self) -> &NameSamples {
        &self.0.names
    }

    /// Reads the Corefile as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn corefile(&self) -> Result<Corefile, ConfigErrors> {
        (self.0.load)()
    }
}

/// Makes a service reload its Corefile at once, as SIGUSR1 does. Cheap to clone.
#[derive(Clone)]
pub struct ReloadHandle(Arc<Notify>);

struct Inner {
    load: CorefileLoader,
    context: PluginContext,
    names: NameSamples,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

struct State {
    server: Listeners,
    /// The configuration that is served.
    current: Fingerprint,
    /// The last failure. The same Corefile is not tried again.
    failed: Option<Failed>,
    reload: Option<ReloadOptions>,
}

#[derive(PartialEq)]
enum Failed {
    /// The Corefile was read but could not be served.
    NotServed(Fingerprint),
    /// The Corefile could not be read or parsed.
    NotRead(String),
}

impl DnsService {
    /// Reads the Corefile and serves it. Must be called within the runtime of the context.
    pub async fn start(
        load: CorefileLoader,
        context: PluginContext,
        options: ServerOptions,
    ) -> Result<Self, DnsStartError> {
        let (servers, fingerprint) = load_and_build(&load, &context).await?;
        let reload = servers.reload;
        let mut server = Listeners::new(options, context.clone());
        server.serve(servers).await?;
        publish_fingerprint(&context, &fingerprint);
        let names = server.names.clone();
        let state = State { server, current: fingerprint, failed: None, reload };
        let wake = Arc::new(Notify::new());
        let service = Arc::new(Inner { load, context, names, state: Mutex::new(state), wake });
        let watched = service.clone();
        let panics = dns_chain::limits::panics(&watched.context.metrics);
        let watching = async move {
            restart_on_panic("the reload loop", &panics, || watched.clone().watch()).await;
        };
        let reloading = tokio::spawn(watching).abort_handle();
        Ok(Self { service, reloading })
    }

    /// Registers all metrics of the server, except those of plugins, so that they can be listed without a server.
    pub fn register_metrics(metrics: &Registry) {
        dns_chain::ChainLimits::new(metrics);
        Listeners::register_metrics(metrics);
        ReloadMetrics::new(metrics);
    }

    /// The addresses it listens on, in the order of ports.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        self.service.state.lock().await.server.addresses()
    }

    /// A handle to what is served.
    pub fn served(&self) -> ServedRoutes {
        ServedRoutes(self.service.clone())
    }

    /// A handle to request reloads.
    pub fn reloader(&self) -> ReloadHandle {
        ReloadHandle(self.service.wake.clone())
    }

    /// Reloads the Corefile now, even if it is unchanged. After an error the current one is still served.
    pub async fn reload(&self) -> Result<(), DnsStartError> {
        self.service.reload(true).await
    }

    /// Stops: becomes unready, goes on answering for the `lameduck` time of `health`, and with `lameduck` until queries have stopped
    /// arriving, then waits for queries in flight.
    pub async fn stop(self) {
        self.reloading.abort();
        let Inner { context, state, .. } = &*self.service;
        // A gate that stays closed makes the service unready.
        let _shutdown = context.gates.gate("shutdown");
        let mut state = state.lock().await;
        let lameduck = state.server.lameduck;
        if !lameduck.is_zero() {
            tracing::info!(target: "plugin/health", "Going into lameduck mode for {}", config::value::shown(lameduck));
        }
        tokio::time::sleep(lameduck).await;
        if !lameduck.is_zero() {
            state.server.until_quiet(STOP_LIMIT.saturating_sub(lameduck)).await;
        }
        let empty = Listeners::new(ServerOptions::default(), context.clone());
        std::mem::replace(&mut state.server, empty).close(GRACE).await;
    }
}

impl ReloadHandle {
    /// Requests a reload.
    pub fn reload(&self) {
        self.0.notify_one();
    }
}

impl Inner {
    /// Reloads at the interval of the `reload` plugin and on request.
    async fn watch(self: Arc<Self>) {
        let mut jitter = None;
        loop {
            let reload = self.state.lock().await.reload;
            let forced = match reload {
                None => {
                    self.wake.notified().await;
                    true
                }
                Some(reload) => {
                    // Drawn once, so that replicas that started together reload at different times.
                    let jitter = *jitter.get_or_insert_with(|| random_up_to(reload.jitter));
                    tokio::select! {
                        () = self.wake.notified() => true,
                        () = tokio::time::sleep(reload.interval + jitter) => false,
                    }
                }
            };
            // `reload` has already logged the error.
            let _ = self.reload(forced).await;
        }
    }

    async fn reload(&self, forced: bool) -> Result<(), DnsStartError> {
        let mut state = self.state.lock().await;
        let corefile = match load_corefile(&self.load).await {
            Ok(corefile) => corefile,
            Err(error) => {
                let failed = Failed::NotRead(error.to_string());
                if forced || state.failed.as_ref() != Some(&failed) {
                    self.report_failure(&error, None);
                }
                state.failed = Some(failed);
                return Err(error);
            }
        };
        let fingerprint = corefile.fingerprint;
        if fingerprint == state.current {
            // The failure is over; if it recurs, it is reported again.
            state.failed = None;
            self.context.reports.replace(SCOPE, []);
        }
        let already_failed = state.failed.as_ref() == Some(&Failed::NotServed(fingerprint));
        if !forced && (fingerprint == state.current || already_failed) {
            return Ok(());
        }
        tracing::info!(target: "plugin/reload", "Reloading");
        let corefile = Arc::new(corefile);
        let served = match build_servers(corefile.clone(), &self.context).await {
            Ok(servers) => {
                let reload = servers.reload;
                state.server.serve(servers).await.map(|()| reload)
            }
            Err(error) => Err(error),
        };
        match served {
            Ok(reload) => {
                (state.current, state.failed, state.reload) = (fingerprint, None, reload);
                self.context.reports.replace(SCOPE, []);
                publish_fingerprint(&self.context, &fingerprint);
                tracing::info!(target: "plugin/reload", "Reloading complete");
                Ok(())
            }
            Err(error) => {
                state.failed = Some(Failed::NotServed(fingerprint));
                self.report_failure(&error, Some(&corefile));
                Err(error)
            }
        }
    }

    /// Logs, counts and lists a failed reload.
    fn report_failure(&self, error: &DnsStartError, corefile: Option<&Corefile>) {
        // The problems are logged one by one.
        let summary = match error {
            DnsStartError::Config(errors) if errors.0.len() > 1 => {
                format!("{} (and {} more)", errors.0[0], errors.0.len() - 1)
            }
            DnsStartError::Config(ConfigErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
            error => error.to_string(),
        };
        tracing::error!(target: "plugin/reload", "Corefile changed but reload failed, the previous configuration is still served: {summary}");
        self.context.reports.replace(SCOPE, problems(error, corefile));
        ReloadMetrics::new(&self.context.metrics).failed.inc();
    }
}

/// Logs and exports the fingerprint of the served configuration.
fn publish_fingerprint(context: &PluginContext, fingerprint: &Fingerprint) {
    tracing::info!(target: "plugin/reload", "Running configuration SHA512 = {fingerprint}");
    // Also registers the counter of failures, so that it is exported before the first one.
    let family = ReloadMetrics::new(&context.metrics).versions;
    let value = fingerprint.to_string();
    family.with(["sha512", &value]).set(1.0);
    family.retain(|[_, known]| *known == value);
}

async fn load_and_build(
    load: &CorefileLoader,
    context: &PluginContext,
) -> Result<(Servers, Fingerprint), DnsStartError> {
    let corefile = load_corefile(load).await?;
    let fingerprint = corefile.fingerprint;
    Ok((build_servers(Arc::new(corefile), context).await?, fingerprint))
}

/// Reads the Corefile on a blocking thread: reading files and resolving names in them may block.
async fn load_corefile(load: &CorefileLoader) -> Result<Corefile, DnsStartError> {
    let load = load.clone();
    let loaded = tokio::task::spawn_blocking(move || load()).await;
    loaded.map_err(|error| DnsStartError::Begin(error.to_string()))?.map_err(DnsStartError::Config)
}

async fn build_servers(corefile: Arc<Corefile>, context: &PluginContext) -> Result<Servers, DnsStartError> {
    let building = context.clone();
    let built = tokio::task::spawn_blocking(move || dns_chain::build(&corefile, &building)).await;
    let servers =
        built.map_err(|error| DnsStartError::Begin(error.to_string()))?.map_err(DnsStartError::Config)?;
    for warning in &servers.warnings {
        tracing::warn!(target: "config", "{warning}");
    }
    Ok(servers)
}

fn random_up_to(most: Duration) -> Duration {
    most.mul_f64(rand::random::<f64>())
}
