//! The metrics of `hosts`.

use telemetry::metrics::{Family, Gauge, Registry};

/// The metrics of all hosts files.
pub(super) struct HostsMetrics {
    /// Records by hosts file.
    pub entries: Family<Gauge, 1>,
    /// When the file that was read last was written.
    pub reloaded: Gauge,
}

impl HostsMetrics {
    /// Registers them.
    pub(super) fn new(metrics: &Registry) -> Self {
        Self {
            entries: metrics.gauges(
                "coredns_hosts_entries",
                "The combined number of entries in hosts and Corefile.",
                ["hostsfile"],
            ),
            reloaded: metrics.gauge(
                "coredns_hosts_reload_timestamp_seconds",
                "The timestamp of the last reload of hosts file.",
            ),
        }
    }
}
