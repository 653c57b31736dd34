//! `reload`: reads the Corefile periodically and serves it when it has changed.
//!
//! The plugin sets the interval. The server, which owns the sockets, does the reload.

use std::time::Duration;

use telemetry::metrics::{Counter, Family, Gauge, Registry};

use crate::setup::{PluginEntry, PluginInstances, PluginOption, ReloadOptions, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "reload",
    about: "reads the Corefile periodically and serves it when it has changed",
    syntax: &["reload", "reload 10s", "reload 30s 15s"],
    options: &[
        PluginOption {
            syntax: "[INTERVAL]",
            default: "30s",
            about: "How often the Corefile is read, at least 2s. Files that it imports count as well.",
        },
        PluginOption {
            syntax: "[JITTER]",
            default: "15s",
            about: "A random time up to this is added to the interval, so that replicas reload one after the other; at most half of the interval.",
        },
    ],
    early: false,
    metrics: |metrics| {
        ReloadMetrics::new(metrics);
    },
    setup,
};

/// The metrics of reloads, whether the plugin or a signal requests them.
pub struct ReloadMetrics {
    /// The fingerprint of the served configuration: the type of the hash, and its value.
    pub versions: Family<Gauge, 2>,
    /// Reloads that failed.
    pub failed: Counter,
}

impl ReloadMetrics {
    /// Registers them.
    pub fn new(metrics: &Registry) -> Self {
        let help =
            "A metric with a constant '1' value labeled by hash, and value which type of hash generated.";
        Self {
            versions: metrics.gauges("coredns_reload_version_info", help, ["hash", "value"]),
            failed: metrics
                .counter("coredns_reload_failed_total", "Counter of the number of failed reload attempts."),
        }
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directives = setup.directives.clone();
    let directive = directives[0];
    for again in &directives[1..] {
        setup.warn(again, "reload is repeated: the first one takes effect");
    }
    if let Some(line) = directive.block.first() {
        setup.warn(line, "reload takes no block: this is ignored");
    }
    let read = || -> Result<ReloadOptions, config::ConfigError> {
        let args = directive.args_between(0, 2, "[INTERVAL] [JITTER]")?;
        let second = Duration::from_secs(1);
        let interval = match args.first() {
            Some(word) => word.duration_in(2 * second.., "at least 2s")?,
            None => 30 * second,
        };
        let jitter = match args.get(1) {
            Some(word) if word.duration()?.is_zero() => Duration::ZERO,
            Some(word) => word.duration_in(second.., "0, or at least 1s")?,
            None => 15 * second,
        };
        Ok(ReloadOptions { interval, jitter: jitter.min(interval / 2) })
    };
    setup.reload(read().map_err(|error| vec![error])?);
    Ok(Vec::new())
}
