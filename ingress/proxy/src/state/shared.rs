//! State that the workers share.

use std::sync::Arc;
use std::time::Instant;

use cluster::Current;

use crate::observe::metrics::LimitMetrics;
use crate::state::encoder_memory::EncoderMemory;
use crate::state::listening::ListeningAddresses;
use crate::state::password_verifier::PasswordVerifier;
use crate::state::span_exporter::SpanExporter;
use crate::state::subrequest_cache::SubrequestCache;

/// State of the proxy that its workers share.
pub(crate) struct SharedState {
    /// When the proxy started. Limits count time from here, because all workers share their buckets.
    pub(crate) started: Instant,
    /// The addresses that the proxy listens on.
    pub(crate) listening: Current<ListeningAddresses>,
    pub(crate) passwords: PasswordVerifier,
    pub(crate) subrequests: SubrequestCache,
    pub(crate) encoders: Arc<EncoderMemory>,
    pub(crate) spans: Arc<SpanExporter>,
}

impl SharedState {
    pub(crate) fn new(
        listening: Current<ListeningAddresses>,
        workers: usize,
        metrics: &LimitMetrics,
        spans: Arc<SpanExporter>,
    ) -> Self {
        let passwords = PasswordVerifier::new(workers, metrics.passwords.clone());
        let subrequests = SubrequestCache::new(metrics.subrequest_cache.clone());
        let encoders = EncoderMemory::new(metrics.not_compressed.clone());
        Self { started: Instant::now(), listening, passwords, subrequests, encoders, spans }
    }
}
