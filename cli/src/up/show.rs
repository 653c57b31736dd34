//! What `portolan up` prints: what it serves, what to try, and a line for each change it sees.

use std::time::Duration;

use cluster::touched::What;
use cluster::{Ingress, Key, Kind, Service, ServiceKind, Snapshot, Touched};
use sources::Cluster;
use tokio::sync::mpsc;

use crate::args::UpArgs;
use crate::clusters::Origin;
use crate::ground::Ground;
use crate::output;

/// Lines of one batch that are shown; a burst is summed up.
const MOST: usize = 12;

/// What is served, and three commands to try.
pub fn greeting(args: &UpArgs, origin: &Origin, cluster: &Snapshot, took: Duration) {
    let of = match origin {
        Origin::Demo(_) => "the demo cluster".to_owned(),
        Origin::Manifests(paths) => {
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        }
        Origin::Server(_) => "a cluster behind its API server".to_owned(),
    };
    let sample = Sample::of(cluster);
    let UpArgs { dns, http, https, admin, .. } = args;
    output::print(format!(
        "Portolan {version}: {of}, {namespaces} namespaces, {services} Services, {ingresses} Ingresses, ready in {took:.2} s

  DNS    {dns} (UDP and TCP)
  HTTP   {http}
  HTTPS  {https}
  pages  http://{admin}/healthz  /ready  /metrics  /problems

Try:
  dig @{dns_ip} -p {dns_port} {name}
  curl -H 'Host: {plain}' http://{http}/
  curl -k --resolve {tls}:{https_port}:{https_ip} https://{tls}:{https_port}/

Requests and changes, as they are seen (Ctrl-C ends):
",
        version = env!("CARGO_PKG_VERSION"),
        namespaces = cluster.count(Kind::Namespace),
        services = cluster.count(Kind::Service),
        ingresses = cluster.count(Kind::Ingress),
        took = took.as_secs_f64(),
        dns_ip = dns.ip(),
        dns_port = dns.port(),
        https_ip = https.ip(),
        https_port = https.port(),
        name = sample.name,
        plain = sample.plain,
        tls = sample.tls,
    ));
}

/// Names of the cluster that are worth a try.
struct Sample {
    name: String,
    plain: String,
    tls: String,
}

impl Sample {
    fn of(cluster: &Snapshot) -> Self {
        let mut services: Vec<_> = cluster.iter::<Service>().collect();
        // Addresses first, and what people made before what every cluster has.
        services.sort_by_key(|service| {
            let plain = matches!(&service.kind, ServiceKind::ClusterIp(ips) if !ips.is_empty());
            let system = matches!(service.key.namespace.as_str(), "default" | "kube-system");
            (!plain, system, service.key.clone())
        });
        let first =
            services.first().map_or_else(|| Key::new("default", "kubernetes"), |service| service.key.clone());
        let mut ingresses: Vec<_> = cluster.iter::<Ingress>().collect();
        ingresses.sort_by_key(|ingress| ingress.key.clone());
        let canary =
            |ingress: &Ingress| ingress.annotations.iter().any(|(name, _)| name.ends_with("/canary"));
        let host = |tls: bool| {
            let of_kind =
                ingresses.iter().filter(|ingress| ingress.tls.is_empty() != tls && !canary(ingress));
            let mut hosts = of_kind.flat_map(|ingress| &ingress.rules).map(|rule| rule.host.to_string());
            hosts.find(|host| !host.is_empty() && !host.starts_with('*'))
        };
        let (plain, tls) = (host(false), host(true));
        let any = plain.clone().or(tls.clone()).unwrap_or_else(|| "localhost".to_owned());
        Self {
            name: format!("{}.{}.svc.cluster.local", first.name, first.namespace),
            plain: plain.unwrap_or_else(|| any.clone()),
            tls: tls.unwrap_or(any),
        }
    }
}

/// Prints a line for each change from now on.
pub fn changes(cluster: &Cluster, ground: &Ground) {
    let (lines, mut shown) = mpsc::unbounded_channel();
    cluster.observe(move |_, touched| {
        // The receiver lives as long as the runtime; after it nobody reads.
        let _ = lines.send(summary(touched));
    });
    ground.runtime.spawn(async move {
        while let Some(text) = shown.recv().await {
            output::print(text);
        }
    });
}

fn summary(touched: &[Touched]) -> String {
    let mut lines: Vec<_> = touched
        .iter()
        .map(|touched| {
            let (key, what) = touched.summary();
            let sign = match what {
                What::Added => '+',
                What::Changed => '~',
                What::Removed => '-',
            };
            format!("{sign} {} {key}\n", touched.kind())
        })
        .collect();
    lines.sort();
    let more = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    if more > 0 {
        lines.push(format!("  … and {more} more\n"));
    }
    lines.concat()
}
