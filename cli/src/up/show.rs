//! The output of `portolan up`: addresses, example commands, and a line for each change of the cluster.

use std::time::Duration;

use cluster::change::ChangeType;
use cluster::{Kind, ObjectChange, Snapshot};
use sources::Cluster;
use telemetry::LogWriter;

use crate::args::UpArgs;
use crate::clusters::ClusterOrigin;
use crate::output;
use crate::up::examples::{Examples, Url};

/// Maximum number of changes shown of one batch; the rest is counted.
const MAX_CHANGES: usize = 12;

/// Prints what is served, and three commands to try.
pub fn startup_message(
    args: &UpArgs,
    origin: &ClusterOrigin,
    cluster: &Snapshot,
    examples: &Examples,
    took: Duration,
) {
    let of = match origin {
        ClusterOrigin::Demo(_) => "the demo cluster".to_owned(),
        ClusterOrigin::Manifests(paths) => {
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        }
        ClusterOrigin::Server(_) => "the cluster of the kubeconfig".to_owned(),
    };
    let UpArgs { dns, http, https, admin, .. } = args;
    let [plain, tls] = [(&examples.plain, false), (&examples.tls, true)].map(|(url, tls)| match (url, tls) {
        (None, false) => format!("curl http://{http}/                # 404: no Ingress is served yet"),
        (None, true) => format!("curl -k https://{https}/            # 404: no Ingress is served yet"),
        (Some(Url { host, path }), false) => {
            format!("curl -H 'Host: {host}' {}", word(format!("http://{http}{path}")))
        }
        (Some(Url { host, path }), true) => {
            let (ip, port) = (https.ip(), https.port());
            let url = word(format!("https://{host}:{port}{path}"));
            format!("curl -k --resolve {host}:{port}:{ip} {url}")
        }
    });
    let shop = match origin {
        ClusterOrigin::Demo(_) => format!("  shop   http://shop.localhost:{}/\n", http.port()),
        _ => String::new(),
    };
    output::print(format!(
        "Portolan {version}: {of}, {namespaces}, {services}, {ingresses}, ready in {took:.2} s

  live   http://{admin}/  (a page for browsers; also /healthz /ready /metrics /problems)
{shop}  DNS    {dns} (UDP and TCP)
  HTTP   {http}
  HTTPS  {https}

Try:
  dig @{dns_ip} -p {dns_port} {name}
  {plain}
  {tls}

Queries, requests and changes (Ctrl-C stops):
",
        version = env!("CARGO_PKG_VERSION"),
        namespaces = counted(cluster.count(Kind::Namespace), "namespace", "s"),
        services = counted(cluster.count(Kind::Service), "Service", "s"),
        ingresses = counted(cluster.count(Kind::Ingress), "Ingress", "es"),
        took = took.as_secs_f64(),
        dns_ip = dns.ip(),
        dns_port = dns.port(),
        name = examples.name,
    ));
}

fn counted(count: usize, noun: &str, plural: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { plural })
}

/// Quotes a URL for a shell if needed: the path comes from an Ingress.
fn word(url: String) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_~%".contains(&byte);
    if url.bytes().all(plain) { url } else { format!("'{}'", url.replace('\'', r"'\''")) }
}

/// Starts writing a line for each change, until the log is closed.
pub fn changes(cluster: &Cluster, lines: &LogWriter) {
    let lines = lines.clone();
    cluster.observe(move |_, touched| {
        let summary = summary(touched);
        lines.write_line(|out| out.extend_from_slice(summary.trim_end().as_bytes()));
    });
}

fn summary(touched: &[ObjectChange]) -> String {
    let mut lines: Vec<_> = touched
        .iter()
        .map(|touched| {
            let (key, change) = touched.summary();
            let sign = match change {
                ChangeType::Added => '+',
                ChangeType::Changed => '~',
                ChangeType::Removed => '-',
            };
            format!("{sign} {} {key}\n", touched.kind())
        })
        .collect();
    lines.sort();
    let more = lines.len().saturating_sub(MAX_CHANGES);
    lines.truncate(MAX_CHANGES);
    if more > 0 {
        lines.push(format!("  … and {more} more\n"));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_quoted_for_a_shell() {
        for (url, shown) in [
            ("http://127.0.0.1:8080/a/b", "http://127.0.0.1:8080/a/b"),
            ("http://[::1]:8080/", "'http://[::1]:8080/'"),
            ("http://127.0.0.1:8080/(a|b)", "'http://127.0.0.1:8080/(a|b)'"),
            ("http://127.0.0.1:8080/it's", r"'http://127.0.0.1:8080/it'\''s'"),
        ] {
            assert_eq!(word(url.to_owned()), shown);
        }
    }
}
