//! The outputs of the access log, and the level of the proxy's messages, which follow the ConfigMap.

use std::sync::Arc;
use std::time::Duration;

use ingress_proxy::ProxyViews;
use ingress_routes::access_log::{ErrorLogLevel, LogDestination, LogOutputSettings};
use sources::Cluster;
use telemetry::log::JsonLines;
use telemetry::metrics::{Counter, Registry};
use telemetry::{LogTarget, LogTargetControl, LogWriter, Problem, Severity};
use tokio::sync::Notify;

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
        // The first lines are written to the right file.
        apply(false);
        let reopen = self.reopen.clone();
        runtime.handle.spawn(async move {
            loop {
                let reopens = tokio::select! {
                    () = changed.notified() => false,
                    () = reopen.notified() => true,
                    () = tokio::time::sleep(INTERVAL) => true,
                };
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
