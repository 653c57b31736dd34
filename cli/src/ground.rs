//! What both services stand on: a runtime for whatever waits, metrics, readiness, admin pages and problem reports.

use telemetry::metrics::Registry;
use telemetry::{Admin, Gates, Reports};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;

use crate::descriptors;
use crate::failure::Failure;

/// Shared by everything in the process. Cheap to clone.
#[derive(Clone)]
pub struct Ground {
    /// Where metrics are counted.
    pub metrics: Registry,
    /// What has to be ready.
    pub gates: Gates,
    /// Pages for health, readiness and metrics.
    pub admin: Admin,
    /// What the operator has to see.
    pub reports: Reports,
    /// Where whatever waits is run; packets and requests have threads of their own.
    pub runtime: Handle,
    /// Takes the reason why the process had better end.
    fatal: mpsc::Sender<String>,
}

/// Hears why the process had better end.
pub type Fatal = mpsc::Receiver<String>;

impl Ground {
    /// Sets up the process: its limits, the TLS provider, the runtime and what is told about it.
    ///
    /// # Errors
    /// When the runtime cannot be started.
    pub fn lay() -> Result<(Self, Runtime, Fatal), Failure> {
        descriptors::raise();
        // Somebody else may have set the same one first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("portolan")
            .enable_all()
            .build()
            .map_err(|error| Failure::outside(format!("cannot start the runtime: {error}")))?;
        let metrics = Registry::with_process();
        let (fatal, heard) = mpsc::channel(1);
        let ground = Self {
            gates: Gates::new(),
            admin: Admin::new(),
            reports: Reports::new(&metrics),
            runtime: runtime.handle().clone(),
            metrics,
            fatal,
        };
        Ok((ground, runtime, heard))
    }

    /// Says why the process had better end. The first reason is enough.
    pub fn end(&self, reason: impl Into<String>) {
        let _ = self.fatal.try_send(reason.into());
    }
}
