//! The configuration as dashboards and alerts see it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use telemetry::metrics::{Counter, Gauge, Registry};

use super::names::{OWN, name, own};
use crate::options::Controller;

/// ingress-nginx's metrics about reloads. There are no reloads here: a published view counts as one, and the state is good
/// while changes can be applied.
pub struct ConfigurationMetrics {
    hash: Gauge,
    successful: Gauge,
    since: Gauge,
    published: Counter,
    errors: Counter,
}

impl ConfigurationMetrics {
    /// Nothing has been published yet.
    pub fn new(registry: &Registry, controller: &Controller) -> Self {
        let own = own(controller);
        let gauge = |suffix, help| registry.gauges(&name(suffix), help, OWN).with(own);
        let counter = |suffix, help| registry.counters(&name(suffix), help, OWN).with(own);
        Self {
            hash: gauge("config_hash", "Running configuration hash actually running"),
            successful: gauge(
                "config_last_reload_successful",
                "Whether the last configuration reload attempt was successful",
            ),
            since: gauge(
                "config_last_reload_successful_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
            ),
            published: counter("success", "Cumulative number of Ingress controller reload operations"),
            errors: counter(
                "errors",
                "Cumulative number of Ingress controller errors during reload operations",
            ),
        }
    }

    /// Records that a new table has been published. `hash` depends only on the Ingresses.
    pub fn published(&self, hash: u64, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // An f64 holds 53 bits.
        self.hash.set((hash >> 11) as f64);
        self.since.set(since.as_secs() as f64);
        self.published.inc();
    }

    /// Records whether changes can be applied. If not (access to a kind is forbidden, for example), the last published state
    /// is served. A cluster without Ingresses, for which no table is published, has a configuration, too.
    pub fn takes_changes(&self, can: bool, now: SystemTime) {
        if can && self.since.value() == 0.0 {
            self.published(0, now);
        }
        if !can && self.successful.value() != 0.0 {
            self.errors.inc();
        }
        self.successful.set(if can { 1.0 } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_successful_while_changes_can_be_applied() {
        let registry = Registry::new();
        let configuration = ConfigurationMetrics::new(&registry, &Controller::default());
        let shown = |metric: &str| {
            let text = registry.text();
            let line = text.lines().find(|line| line.starts_with(&format!("{}{{", name(metric))));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap()
        };
        let all = || ["config_last_reload_successful", "success", "errors"].map(shown);
        let at = |second: u64| UNIX_EPOCH + Duration::from_secs(1_790_000_000 + second);
        assert_eq!(all(), [0.0, 0.0, 0.0]);
        configuration.takes_changes(false, at(0));
        assert_eq!(all(), [0.0, 0.0, 0.0]);
        configuration.takes_changes(true, at(1));
        assert_eq!(all(), [1.0, 1.0, 0.0], "a cluster without Ingresses");
        assert_eq!(shown("config_last_reload_successful_timestamp_seconds"), 1_790_000_001.0);
        configuration.published(7 << 11, at(2));
        assert_eq!(all(), [1.0, 2.0, 0.0]);
        configuration.takes_changes(false, at(3));
        configuration.takes_changes(false, at(4));
        assert_eq!(all(), [0.0, 2.0, 1.0]);
        configuration.takes_changes(true, at(5));
        assert_eq!(all(), [1.0, 2.0, 1.0]);
        assert_eq!(shown("config_hash"), 7.0);
        assert_eq!(shown("config_last_reload_successful_timestamp_seconds"), 1_790_000_002.0);
    }
}
