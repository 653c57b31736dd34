//! `prometheus`: counts queries and serves all metrics on a page.
//!
//! `tls` names a web configuration file of Prometheus's exporters; see [`telemetry::WebConfigPolicy`].

use std::sync::{Arc, Mutex, PoisonError};

use config::Word;
use http::StatusCode;
use telemetry::AdminResponse as Page;
use telemetry::WebConfigPolicy;
use telemetry::metrics::{Family, Gauge, Registry};

use crate::plugin::{Answer, Hooks, Plugin};
use crate::query_metrics::QueryMetrics;
use crate::request::Request;
use crate::setup::{
    PluginEntry, PluginGuard, PluginInstances, PluginOption, ServedKey, Setup, SetupErrors, each_line,
};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "prometheus",
    about: "counts queries and serves all metrics on a page",
    syntax: &["prometheus", "prometheus :9153 {\n    runtime_metrics\n    tls web.yml\n}"],
    options: &[
        PluginOption {
            syntax: "[ADDRESS]",
            default: "localhost:9153",
            about: "Address of the page `/metrics`.",
        },
        PluginOption {
            syntax: "runtime_metrics",
            default: "",
            about: "Accepted without effect: it selects metrics of the Go runtime.",
        },
        PluginOption {
            syntax: "tls CONFIGFILE",
            default: "",
            about: "A web configuration file of the Prometheus exporters: certificate, client certificates, users. Renewed certificates take effect at once.",
        },
    ],
    early: false,
    metrics: |metrics| {
        QueryMetrics::new(metrics, [""; 3], 0);
        enabled(metrics);
        build_info(metrics);
    },
    setup,
};

struct Prometheus {
    /// By key of the server block.
    query_metrics: Vec<QueryMetrics>,
}

/// The rows of `coredns_plugin_enabled`, shown while the configuration is served.
struct Enabled {
    family: Family<Gauge, 4>,
    rows: Mutex<Vec<[String; 4]>>,
}

impl Enabled {
    fn show(&self, [server, zone, view]: [String; 3], names: &[&str]) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            self.family.with([&server, &zone, &view, name]).set(1.0);
            rows.push([server.clone(), zone.clone(), view.clone(), (*name).to_owned()]);
        }
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        let rows = self.rows.get_mut().unwrap_or_else(PoisonError::into_inner);
        rows.iter().for_each(|row| self.family.remove(row));
    }
}

impl Plugin for Prometheus {
    fn hooks(&self) -> Hooks {
        Hooks::SENT
    }

    // Hot: 0 allocations.
    fn sent(&self, request: &Request, answer: &Answer, message: &[u8]) {
        if let Some(metrics) = self.query_metrics.get(request.key) {
            metrics.count(request, answer, message.len());
        }
    }
}

/// The commit that the program was built from; empty if the build did not say.
const REVISION: &str = match option_env!("PORTOLAN_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// The value of the label `goversion`: name and version of the compiler.
const COMPILER: &str = env!("PORTOLAN_COMPILER");

fn enabled(metrics: &Registry) -> Family<Gauge, 4> {
    metrics.gauges(
        "coredns_plugin_enabled",
        "A metric that indicates whether a plugin is enabled on per server and zone basis.",
        ["server", "zone", "view", "name"],
    )
}

fn build_info(metrics: &Registry) -> Family<Gauge, 3> {
    metrics.gauges(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.",
        ["version", "revision", "goversion"],
    )
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let address = match directive.optional_arg("[ADDRESS]").map_err(|error| vec![error])? {
        Some(word) => word.host_port(None).map_err(|error| vec![error])?.to_string(),
        None => "localhost:9153".to_owned(),
    };
    let mut file: Option<&Word> = None;
    each_line(directive, |line| match line.name.text.as_str() {
        // Selects metrics of the Go runtime, which this process does not have.
        "runtime_metrics" => line.no_args(),
        "tls" if file.is_some() => Err(line.error("prometheus: tls is given twice", "one file")),
        "tls" => {
            file = Some(line.arg("CONFIGFILE")?);
            Ok(())
        }
        _ => Err(line.unknown(&["runtime_metrics", "tls"])),
    })?;

    let metrics = setup.context.metrics.clone();
    let enabled = Arc::new(Enabled { family: enabled(&metrics), rows: Mutex::default() });
    let (shown, linked) = (enabled.clone(), setup.linked.clone());
    setup.on_start(move || async move { Ok(Box::new(enabled) as PluginGuard) });
    // Set once the ports are served, so that a configuration that fails to start leaves the rows of the previous one.
    for ServedKey { zone, server, view, listen } in setup.served_keys() {
        let (shown, linked) = (shown.clone(), linked.clone());
        let show =
            move |_| async move { shown.show([server, zone, view], linked.get().map_or(&[], Vec::as_slice)) };
        setup.on_serving(listen, show);
    }
    build_info(&metrics).with([setup.context.version, REVISION, COMPILER]).set(1.0);

    let of_key =
        |key: &ServedKey| QueryMetrics::new(&metrics, [&key.server, &key.zone, &key.view], setup.plugins);
    let query_metrics = setup.served_keys().iter().map(of_key).collect();
    let admin = setup.context.admin.clone();
    let file = file.map(|file| file.text.clone());
    setup.on_start(move || async move {
        let policy = match file {
            None => None,
            Some(file) => {
                Some(access_policy(file).await.map_err(|error| format!("prometheus: tls: {error}"))?)
            }
        };
        let pages = admin.listen(&address).await.map_err(|error| format!("prometheus: {error}"))?;
        // The policy comes before the page, so that the page is never served without it.
        let policy = policy.map(|policy| pages.require(policy));
        let route = pages.route_large("/metrics", move |_| Page {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics.text().into(),
        });
        Ok(Box::new((route, policy)) as PluginGuard)
    });
    Ok(vec![Arc::new(Prometheus { query_metrics })])
}

/// Reads a web configuration file on a thread that may block.
async fn access_policy(file: String) -> Result<Arc<WebConfigPolicy>, String> {
    let read = tokio::task::spawn_blocking(move || WebConfigPolicy::new(&file)).await;
    read.map_err(|error| error.to_string())?.map(Arc::new)
}
