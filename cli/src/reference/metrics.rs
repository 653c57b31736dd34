//! The reference of metrics: what each part of the program registers, and what CoreDNS and ingress-nginx have besides.

use dns_chain::plugins::PLUGINS;
use dns_server::DnsService;
use ingress_controller::ControllerMetrics;
use ingress_proxy::Proxy;
use serde_json::{Value, json};
use sources::Cluster;
use sources::kube::KubeSource;
use telemetry::metrics::Registry;
use telemetry::{AdminServer, Reports};

use crate::{dns, node_cache};

/// The metrics of one part of the program.
struct Section {
    title: String,
    about: &'static str,
    register: fn(&Registry),
}

/// Metrics of CoreDNS and ingress-nginx that are not exported, with the reason.
const ABSENT: &[(&str, &str)] = &[
    (
        "coredns_cache_drops_total",
        "counts replies to another question; `forward` turns these into FORMERR before they reach the cache, in CoreDNS too",
    ),
    (
        "coredns_dns_https_responses_total, coredns_dns_https3_responses_total, coredns_dns_quic_responses_total",
        "DNS over HTTPS and QUIC are not served",
    ),
    ("coredns_dnssec_*, coredns_grpc_*, coredns_nomad_*", "the plugins are not implemented"),
    (
        "nginx_ingress_controller_admission_*",
        "no configuration is rendered and tested; `nginx_ingress_controller_check_success`, `nginx_ingress_controller_check_errors` and `portolan_controller_admission_reviews_total` count reviews",
    ),
    ("go_*", "there is no Go runtime"),
];

/// The page, in Markdown.
pub fn page() -> String {
    let mut text = "# Metrics\n\nPrinted by `portolan reference metrics`. `portolan dns` serves them on the address of the plugin `prometheus`, `portolan ingress` on \
                    `/metrics` of port 10254 (`--enable-metrics`), and `portolan up` on `/metrics` of `--admin`. A series appears with its first event, unless it \
                    is 0 from the start. Names and labels of `coredns_*` are those of CoreDNS, names and labels of `nginx_ingress_controller_*` those of \
                    ingress-nginx; help texts are theirs, too.\n"
        .to_owned();
    let mut listed = Vec::new();
    for Section { title, about, register } in sections() {
        let registry = Registry::new();
        register(&registry);
        let mut metrics = registry.descriptions();
        metrics.retain(|metric| !listed.contains(&metric.name));
        if metrics.is_empty() {
            continue;
        }
        text +=
            &format!("\n## {title}\n\n{about}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for metric in metrics {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let help: Vec<_> = metric.help.split_whitespace().collect();
            let (labels, help) = (labels.join(", "), help.join(" ").replace('|', "\\|"));
            text += &format!("| `{}` | {} | {labels} | {help} |\n", metric.name, metric.kind);
            listed.push(metric.name);
        }
    }
    text += "\n## Not exported\n\nMetrics of CoreDNS 1.15 and ingress-nginx 1.15 that are missing here.\n\n| metric | reason |\n|---|---|\n";
    for (names, reason) in ABSENT {
        let names: Vec<_> = names.split(", ").map(|name| format!("`{name}`")).collect();
        text += &format!("| {} | {reason} |\n", names.join(", "));
    }
    text
}

/// The page, as JSON.
pub(super) fn json() -> Value {
    let mut entries: Vec<Value> = Vec::new();
    for Section { title, register, .. } in sections() {
        let registry = Registry::new();
        register(&registry);
        for metric in registry.descriptions() {
            if !entries.iter().any(|entry| entry["name"] == metric.name) {
                entries.push(json!({
                    "name": metric.name, "family": title, "type": metric.kind, "labels": metric.labels,
                    "fate": "honoured", "consequence": metric.help,
                }));
            }
        }
    }
    let absent = ABSENT.iter().flat_map(|(names, reason)| {
        names.split(", ").map(move |name| json!({ "name": name, "fate": "refused", "consequence": reason }))
    });
    entries.extend(absent);
    super::json::page("metrics", entries.into_iter())
}

fn sections() -> Vec<Section> {
    let section = |title: &str, about, register| Section { title: title.to_owned(), about, register };
    let mut sections = vec![
        section("Process", "Of every command.", |registry| {
            let process = Registry::with_process();
            telemetry::log::register(&process);
            telemetry::panics::register(&process);
            AdminServer::new(&process);
            Reports::new(&process);
            process.descriptions().iter().for_each(|metric| registry.describe(metric.clone()));
        }),
        section("Watched objects", "Of every command that serves a cluster.", |registry| {
            Cluster::register_metrics(registry);
            KubeSource::register_metrics(registry);
        }),
        section("DNS server", "Of `portolan dns` and `portolan up`.", |registry| {
            DnsService::register_metrics(registry);
            dns::dropped_lines(registry);
        }),
    ];
    let plugins = PLUGINS.iter().map(|plugin| Section {
        title: format!("Plugin `{}`", plugin.name),
        about: "Of servers whose Corefile has the plugin.",
        register: plugin.metrics,
    });
    sections.extend(plugins);
    sections.push(section("NodeLocal DNSCache", "Of `portolan node-cache`.", |registry| {
        node_cache::setup_errors(registry);
    }));
    sections.push(section("Ingress proxy", "Of `portolan ingress` and `portolan up`.", |registry| {
        Proxy::register_metrics(registry);
        crate::access_logs::dropped_lines(registry);
        ControllerMetrics::new(registry);
    }));
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metric_is_both_exported_and_absent() {
        let page = page();
        let (exported, _) = page.split_once("\n## Not exported\n").unwrap();
        for name in ABSENT.iter().flat_map(|(names, _)| names.split(", ")) {
            let prefix = format!("| `{}", name.trim_end_matches('*'));
            assert!(!exported.contains(&prefix), "{name}");
        }
    }
}
