//! A DNS service: its Corefile read, served, read again and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{ConfigErrors, Corefile, Fingerprint};
use dns_chain::{PluginContext, ReloadOptions, Servers};
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;

use crate::listeners::{DnsStartError, GRACE, Listeners, ServerOptions};
use crate::supervise::restart_on_panic;

/// Reads the Corefile: at the start and at every reload.
pub type CorefileLoader = Arc<dyn Fn() -> Result<Corefile, ConfigErrors> + Send + Sync>;

/// A DNS service that runs until it is stopped.
pub struct DnsService {
    service: Arc<Inner>,
    reloading: AbortHandle,
}

/// Makes a service read its Corefile at once, as at SIGUSR1. Cheap to clone.
#[derive(Clone)]
pub struct ReloadHandle(Arc<Notify>);

struct Inner {
    load: CorefileLoader,
    context: PluginContext,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

struct State {
    server: Listeners,
    /// What is served.
    current: Fingerprint,
    /// What failed last: it is not tried again before it changes.
    failed: Option<Failed>,
    reload: Option<ReloadOptions>,
}

#[derive(PartialEq)]
enum Failed {
    /// It was read and could not be served.
    Served(Fingerprint),
    /// It could not even be read.
    Read(String),
}

impl DnsService {
    /// Reads the Corefile and serves it. Must be called within the runtime of the context.
    pub async fn start(
        load: CorefileLoader,
        context: PluginContext,
        options: ServerOptions,
    ) -> Result<Self, DnsStartError> {
        let (servers, fingerprint) = built(&load, &context).await?;
        let reload = servers.reload;
        let mut server = Listeners::new(options, context.clone());
        server.serve(servers).await?;
        tell(&context, &fingerprint);
        let state = State { server, current: fingerprint, failed: None, reload };
        let wake = Arc::new(Notify::new());
        let service = Arc::new(Inner { load, context, state: Mutex::new(state), wake });
        let watched = service.clone();
        let panics = watched
            .context
            .metrics
            .counter("coredns_panics_total", "A metrics that counts the number of panics.");
        let watching = async move {
            restart_on_panic("the reload loop", &panics, || watched.clone().watch()).await;
        };
        let reloading = tokio::spawn(watching).abort_handle();
        Ok(Self { service, reloading })
    }

    /// Where it listens, in order of ports.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        self.service.state.lock().await.server.addresses()
    }

    /// A handle that makes it read its Corefile.
    pub fn reloader(&self) -> ReloadHandle {
        ReloadHandle(self.service.wake.clone())
    }

    /// Reads the Corefile now, and serves it even if it is the same. After an error everything is as it was.
    pub async fn reload(&self) -> Result<(), DnsStartError> {
        self.service.reload(true).await
    }

    /// Ends: readiness goes first, then queries are answered for as long as `health` wants it (`lameduck`), then those
    /// in flight get their answers.
    pub async fn stop(self) {
        self.reloading.abort();
        let Inner { context, state, .. } = &*self.service;
        // A gate that has never been open and will never be.
        let _ending = context.gates.gate("shutdown");
        let mut state = state.lock().await;
        tokio::time::sleep(state.server.lameduck).await;
        let empty = Listeners::new(ServerOptions::default(), context.clone());
        std::mem::replace(&mut state.server, empty).close(GRACE).await;
    }
}

impl ReloadHandle {
    /// Reads the Corefile as soon as the service comes to it.
    pub fn reload(&self) {
        self.0.notify_one();
    }
}

impl Inner {
    /// Reads the Corefile every now and then, and when it is told to.
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
                    // Drawn once: replicas that started together read at different times from then on.
                    let jitter = *jitter.get_or_insert_with(|| random_up_to(reload.jitter));
                    tokio::select! {
                        () = self.wake.notified() => true,
                        () = tokio::time::sleep(reload.interval + jitter) => false,
                    }
                }
            };
            // What went wrong has been logged.
            let _ = self.reload(forced).await;
        }
    }

    async fn reload(&self, forced: bool) -> Result<(), DnsStartError> {
        let mut state = self.state.lock().await;
        let corefile = match loaded(&self.load).await {
            Ok(corefile) => corefile,
            Err(error) => {
                let failed = Failed::Read(error.to_string());
                if forced || state.failed.as_ref() != Some(&failed) {
                    self.complain(&error);
                }
                state.failed = Some(failed);
                return Err(error);
            }
        };
        let fingerprint = corefile.fingerprint;
        if fingerprint == state.current {
            // What was wrong is mended: if it comes back, it is news.
            state.failed = None;
        }
        let tried = state.failed.as_ref() == Some(&Failed::Served(fingerprint));
        if !forced && (fingerprint == state.current || tried) {
            return Ok(());
        }
        tracing::info!(target: "plugin/reload", "Reloading");
        let served = match chains(corefile, &self.context).await {
            Ok(servers) => {
                let reload = servers.reload;
                state.server.serve(servers).await.map(|()| reload)
            }
            Err(error) => Err(error),
        };
        match served {
            Ok(reload) => {
                (state.current, state.failed, state.reload) = (fingerprint, None, reload);
                tell(&self.context, &fingerprint);
                tracing::info!(target: "plugin/reload", "Reloading complete");
                Ok(())
            }
            Err(error) => {
                state.failed = Some(Failed::Served(fingerprint));
                self.complain(&error);
                Err(error)
            }
        }
    }

    fn complain(&self, error: &DnsStartError) {
        tracing::error!(target: "plugin/reload", "Corefile changed but reload failed, the old one stays: {error}");
        let help = "Counter of the number of failed reload attempts.";
        self.context.metrics.counter("coredns_reload_failed_total", help).inc();
    }
}

/// Shows what is served.
fn tell(context: &PluginContext, fingerprint: &Fingerprint) {
    tracing::info!(target: "plugin/reload", "Running configuration SHA512 = {fingerprint}");
    let help = "A metric with a constant '1' value labeled by hash, and value which type of hash generated.";
    let family = context.metrics.gauges("coredns_reload_version_info", help, ["hash", "value"]);
    let value = fingerprint.to_string();
    family.with(["sha512", &value]).set(1.0);
    family.retain(|[_, known]| *known == value);
    // The failures are shown from the start on.
    context
        .metrics
        .counter("coredns_reload_failed_total", "Counter of the number of failed reload attempts.");
}

async fn built(
    load: &CorefileLoader,
    context: &PluginContext,
) -> Result<(Servers, Fingerprint), DnsStartError> {
    let corefile = loaded(load).await?;
    let fingerprint = corefile.fingerprint;
    Ok((chains(corefile, context).await?, fingerprint))
}

/// Reads the Corefile, off the runtime's threads since files and the names in them may take their time.
async fn loaded(load: &CorefileLoader) -> Result<Corefile, DnsStartError> {
    let load = load.clone();
    let loaded = tokio::task::spawn_blocking(move || load()).await;
    loaded.map_err(|error| DnsStartError::Begin(error.to_string()))?.map_err(DnsStartError::Config)
}

async fn chains(corefile: Corefile, context: &PluginContext) -> Result<Servers, DnsStartError> {
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
