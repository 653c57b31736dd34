//! The outputs of the access log, and the level of the proxy's messages, which follow the ConfigMap.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ingress_proxy::ProxyViews;
use ingress_routes::access_log::{ErrorLogLevel, LogDestination, LogOutputSettings};
use sources::Cluster;
use telemetry::log::JsonLines;
use telemetry::metrics::{Counter, Registry};
use telemetry::{LogTarget, LogTargetControl, LogWriter, Problem, Severity};
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::runtime::Runtime;

/// How often a file that could not be opened is tried again, and the name of a syslog server is looked up again.
const INTERVAL: Duration = Duration::from_secs(60);

/// The access logs of requests and of streams.
#[derive(Clone)]
pub struct AccessLogs {
    /// The lines of requests.
    pub requests: LogWriter,
    /// The lines of TCP and UDP services.
    pub streams: LogWriter,
    /// Of requests and of streams.
    targets: [LogTargetControl; 2],
    reopen: Arc<Notify>,
}

impl AccessLogs {
    /// Logs to standard output. With `json`, each line is a JSON object with the text as `msg`.
    pub fn open(json: bool, runtime: &Runtime) -> Self {
        let dropped = dropped_lines(&runtime.metrics);
        let targets = <[LogTargetControl; 2]>::default();
        let [requests, streams] = targets.each_ref().map(|target| {
            let output = target.output(dropped.clone());
            match json {
                true => LogWriter::new(JsonLines::new(output, "access"), dropped.clone()),
                false => LogWriter::new(output, dropped.clone()),
            }
        });
        Self { requests, streams, targets, reopen: Arc::default() }
    }

    /// One log for both, in the order of their ends, which stays on standard output.
    pub fn shared(json: bool, runtime: &Runtime) -> Self {
        let logs = Self::open(json, runtime);
        Self { streams: logs.requests.clone(), ..logs }
    }

    /// Follows the ConfigMap. `verbose`: `-v` asks for more messages than `error-log-level` can.
    pub fn follow(&self, cluster: &Cluster, views: &ProxyViews, verbose: bool, runtime: &Runtime) {
        let changed = Arc::new(Notify::new());
        let news = changed.clone();
        cluster.observe(move |_, _| news.notify_one());
        let (logs, table, reports) = (self.clone(), views.table.clone(), runtime.reports.clone());
        let mut applied = None;
        let mut apply = move |reopen: bool| {
            let settings = table.load().server().logs.clone();
            if applied.as_ref() == Some(&settings) && !reopen {
                return;
            }
            if !verbose {
                telemetry::log::set_level("ingress_proxy", settings.error_level.map(level));
            }
            let problems = logs.apply(&settings, reopen);
            reports.replace("access log", problems);
            applied = Some(settings);
        };
        match has_name(&views.table.load().server().logs) {
            // The first lines are written to the right file.
            false => apply(false),
            // Resolving a name may block.
            true => changed.notify_one(),
        }
        let reopen = self.reopen.clone();
        runtime.handle.spawn(async move {
            let mut occasions = Occasions::new(changed, reopen, INTERVAL);
            loop {
                let reopens = occasions.next().await;
                // Opening a file or resolving a name may block.
                let applied = tokio::task::spawn_blocking(move || {
                    apply(reopens);
                    apply
                });
                match applied.await {
                    Ok(again) => apply = again,
                    Err(_) => return,
                }
            }
        });
    }

    /// Opens the targets of the settings. Returns why some cannot be opened.
    fn apply(&self, settings: &LogOutputSettings, reopen: bool) -> Vec<Problem> {
        let destinations = [(&settings.requests, "requests"), (&settings.streams, "streams")];
        let open = |(control, (destination, of)): (&LogTargetControl, (&LogDestination, &str))| {
            let target = target(destination);
            let opened = control.set(&target).and_then(|()| if reopen { control.reopen() } else { Ok(()) });
            let error = opened.err()?;
            Some(Problem {
                kind: "access log".to_owned(),
                key: of.to_owned(),
                field: String::new(),
                what: format!("{target:?} cannot be opened: {error}; lines go to standard output"),
                wanted: String::new(),
                severity: Some(Severity::Cosmetic),
            })
        };
        self.targets.iter().zip(destinations).filter_map(open).collect()
    }

    /// Opens files again, as nginx does on SIGUSR1: they may have been moved.
    pub fn reopen(&self) {
        self.reopen.notify_one();
    }

    /// Writes the queued lines and closes the logs.
    pub fn close(&self) {
        self.requests.close();
        self.streams.close();
    }
}

/// When the outputs are opened.
struct Occasions {
    changed: Arc<Notify>,
    reopen: Arc<Notify>,
    interval: Interval,
}

impl Occasions {
    /// After changes of the cluster, when `reopen` is notified, and at each interval.
    fn new(changed: Arc<Notify>, reopen: Arc<Notify>, interval: Duration) -> Self {
        let mut interval = interval_at(Instant::now() + interval, interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { changed, reopen, interval }
    }

    /// Waits for the next one. Returns whether outputs that are open are opened again.
    async fn next(&mut self) -> bool {
        tokio::select! {
            () = self.changed.notified() => false,
            () = self.reopen.notified() => true,
            _ = self.interval.tick() => true,
        }
    }
}

/// Whether opening the outputs resolves a name.
fn has_name(settings: &LogOutputSettings) -> bool {
    [&settings.requests, &settings.streams].into_iter().any(|destination| match destination {
        LogDestination::Syslog { host, .. } => {
            host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_err()
        }
        _ => false,
    })
}

fn target(destination: &LogDestination) -> LogTarget {
    match destination {
        LogDestination::Stdout => LogTarget::Stdout,
        LogDestination::Stderr => LogTarget::Stderr,
        LogDestination::File(path) => LogTarget::File(path.to_string().into()),
        LogDestination::Syslog { host, port } => LogTarget::Syslog { host: host.to_string(), port: *port },
    }
}

fn level(level: ErrorLogLevel) -> tracing::Level {
    match level {
        ErrorLogLevel::Debug => tracing::Level::DEBUG,
        ErrorLogLevel::Info => tracing::Level::INFO,
        ErrorLogLevel::Warn => tracing::Level::WARN,
        ErrorLogLevel::Error => tracing::Level::ERROR,
    }
}

/// The counter of lines of the access log that were not written.
pub fn dropped_lines(metrics: &Registry) -> Counter {
    metrics.counter("portolan_access_log_dropped_total", "Lines of the access log that were not written.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_opened_again_at_each_interval_however_often_the_cluster_changes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (changed, reopen) = <(Arc<Notify>, Arc<Notify>)>::default();
            let interval = Duration::from_millis(50);
            let (start, mut occasions) = (Instant::now(), Occasions::new(changed.clone(), reopen, interval));
            for round in 1..=3 {
                while {
                    changed.notify_one();
                    !occasions.next().await
                } {
                    assert!(start.elapsed() < Duration::from_secs(30), "round {round}");
                    tokio::task::yield_now().await;
                }
                assert!(start.elapsed() >= round * interval);
            }
        });
    }

    #[test]
    fn only_a_syslog_server_with_a_name_is_resolved() {
        let syslog = |host: &str| LogOutputSettings {
            streams: LogDestination::Syslog { host: host.into(), port: 514 },
            ..LogOutputSettings::default()
        };
        for (settings, wanted) in [
            (LogOutputSettings::default(), false),
            (syslog("192.0.2.7"), false),
            (syslog("[2001:db8::7]"), false),
            (syslog("log.example"), true),
        ] {
            assert_eq!(has_name(&settings), wanted, "{settings:?}");
        }
    }
}
