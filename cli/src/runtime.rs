//! The state that all services of the process share: async runtime, metrics, readiness, admin pages and problem reports.

use telemetry::metrics::Registry;
use telemetry::{AdminServer, ReadinessGates, Reports};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

use crate::command_error::CommandError;

/// Shared by all services. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    /// The metrics of the process.
    pub metrics: Registry,
    /// Conditions that must hold before `/ready` answers 200.
    pub gates: ReadinessGates,
    /// Admin listeners by address.
    pub admin: AdminServer,
    /// Problems listed on `/problems`.
    pub reports: Reports,
    /// Runs background tasks. DNS packets and HTTP requests are handled by separate worker threads.
    pub handle: Handle,
    fatal: mpsc::Sender<String>,
}

/// Receives the reasons given to [`Runtime::request_shutdown`].
pub type FatalErrors = mpsc::Receiver<String>;

impl Runtime {
    /// Raises the descriptor limit, makes the capability to bind low ports effective, installs the TLS provider and starts the tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot be started.
    pub fn start() -> Result<(Self, tokio::runtime::Runtime, FatalErrors), CommandError> {
        if let Err(error) = net::descriptors::raise_limit() {
            tracing::warn!("cannot raise the limit of open files: {error}");
        }
        // Before the runtime and the workers: threads inherit the capability.
        if let Err(error) = net::capabilities::allow_low_ports() {
            tracing::warn!("cannot make the capability NET_BIND_SERVICE effective: {error}");
        }
        // Already installed by another test in this process: not an error.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let executor = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("portolan")
            .enable_all()
            .build()
            .map_err(|error| CommandError::outside(format!("cannot start the runtime: {error}")))?;
        let metrics = Registry::with_process();
        telemetry::log::register(&metrics);
        telemetry::panics::register(&metrics);
        let (admin, reports) = (AdminServer::new(&metrics), Reports::new(&metrics));
        admin.add_common_page("/problems", reports.page());
        let (fatal, errors) = mpsc::channel(1);
        let runtime = Self {
            gates: ReadinessGates::new(),
            admin,
            reports,
            handle: executor.handle().clone(),
            metrics,
            fatal,
        };
        Ok((runtime, executor, errors))
    }

    /// Requests shutdown of the process and records the reason. Only the first reason is kept.
    pub fn request_shutdown(&self, reason: impl Into<String>) {
        let _ = self.fatal.try_send(reason.into());
    }
}
