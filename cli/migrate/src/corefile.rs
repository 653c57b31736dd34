//! Checks that Portolan serves a Corefile: it is parsed and every plugin is set up, as at the start of `portolan dns`.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::{Cache, Current};
use config::{ConfigErrors, Corefile, Word};
use dns_chain::{ApiConnection, ChainLimits, ClusterSource, PluginContext};
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex};
use serde_json::Value;
use telemetry::metrics::{Counter, Registry};
use telemetry::{AdminServer, LogWriter, ReadinessGates, Reports};
use tokio::runtime::Handle;

use crate::mounted_files::MountedFiles;
use crate::objects::{items, strings};

/// Stands for the servers of a file that exists only in the Pod, such as its `/etc/resolv.conf` (RFC 5737).
const DOCUMENTATION_ADDRESS: &str = "192.0.2.53";

/// What the Corefile says about the checks to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CorefileSummary {
    /// The zones of `kubernetes` that are not reverse zones.
    pub cluster_zones: Vec<String>,
    /// The zones of other server blocks, such as stub domains.
    pub other_zones: Vec<String>,
    /// Statements that load but are probably not meant, as log lines.
    pub warnings: Vec<String>,
}

/// Checks the Corefile at `path` among the files of a container. Must be called within a tokio runtime.
///
/// # Errors
/// All errors of the Corefile, each with file and line.
pub(crate) fn check(
    path: &str,
    files: &MountedFiles,
    container: &Value,
) -> Result<CorefileSummary, ConfigErrors> {
    let Some(text) = files.get(path) else {
        let at = config::SourceLocation::unread(path);
        return Err(config::ConfigError::new(&at, "no mounted ConfigMap has this file", "a Corefile").into());
    };
    let env = |name: &str| {
        let variable = items(&container["env"]).find(|variable| variable["name"] == name)?;
        strings(variable).remove("value")
    };
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &env };
    let mut corefile = Corefile::parse(path, text, files, &options)?;
    replace_files_of_the_pod(&mut corefile);
    let warnings = dns_chain::build(&corefile, &context())?.warnings;
    let warnings = warnings.into_iter().map(|warning| format!("{} - {}", warning.at, warning.what)).collect();
    Ok(CorefileSummary { warnings, ..zones(&corefile) })
}

/// Replaces files that are named by plugins: on this machine they may be other ones, or none.
fn replace_files_of_the_pod(corefile: &mut Corefile) {
    for directive in corefile.blocks.iter_mut().flat_map(|block| &mut block.directives) {
        let (files, stand_in) = match directive.name.text.as_str() {
            "forward" => (directive.args.get_mut(1..), DOCUMENTATION_ADDRESS),
            // Its content is not read before the start.
            "hosts" => (directive.args.get_mut(..1), "/etc/hosts"),
            _ => continue,
        };
        for file in files.into_iter().flatten().filter(|arg| arg.text.starts_with('/')) {
            *file = Word::new(stand_in, &file.at);
        }
    }
}

fn zones(corefile: &Corefile) -> CorefileSummary {
    let is_reverse = |zone: &str| zone.ends_with(".arpa") || zone.ends_with(".arpa.");
    let mut summary = CorefileSummary::default();
    for block in &corefile.blocks {
        let mut served: Vec<String> = Vec::new();
        for directive in block.all("kubernetes") {
            let zones = directive.args.iter().map(|arg| arg.text.clone());
            served.extend(if directive.args.is_empty() { block.zones() } else { zones.collect() });
        }
        served.retain(|zone| !is_reverse(zone));
        if served.is_empty() {
            let others = block.zones().into_iter().filter(|zone| zone != "." && !is_reverse(zone));
            summary.other_zones.extend(others);
        }
        summary.cluster_zones.extend(served);
    }
    summary
}

/// A context without a cluster, a log or listeners: nothing is started.
fn context() -> PluginContext {
    let registry = Registry::new();
    PluginContext {
        cluster: Arc::new(NoCluster::default()),
        shared: Default::default(),
        gates: ReadinessGates::new(),
        admin: AdminServer::new(&registry),
        reports: Reports::new(&registry),
        queries: LogWriter::new(std::io::sink(), Counter::default()),
        json: false,
        runtime: Handle::current(),
        fatal: Arc::new(|_| {}),
        version: env!("CARGO_PKG_VERSION"),
        limits: ChainLimits::new(&registry),
        metrics: registry,
        legacy_metrics: true,
    }
}

/// A cluster without objects.
#[derive(Default)]
struct NoCluster(Mutex<Cache>);

impl ClusterSource for NoCluster {
    fn project(&self, zone: ZoneIndex, _connection: &ApiConnection) -> Result<Current<Zone>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(zone))
    }

    fn nodes(&self, _connection: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(NodeIndex))
    }

    fn pods(&self, _connection: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(PodIndex))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KUBEADM: &str = include_str!("../../../tests/kubeadm/Corefile");

    async fn checked(files: &[(&str, &str)]) -> Result<CorefileSummary, String> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let container = json!({ "env": [{ "name": "UPSTREAM", "value": "10.0.0.53" }] });
        check("/etc/coredns/Corefile", &files, &container).map_err(|errors| errors.to_string())
    }

    #[tokio::test]
    async fn the_corefile_of_kubeadm_is_served() {
        let summary = checked(&[("/etc/coredns/Corefile", KUBEADM)]).await.unwrap();
        assert_eq!(summary.cluster_zones, ["cluster.local"]);
        assert_eq!(summary.other_zones, [""; 0]);
    }

    #[tokio::test]
    async fn the_corefile_of_k3s_is_served_with_and_without_its_custom_files() {
        let k3s = KUBEADM
            .replace("    prometheus", "    hosts /dev/null/NodeHosts {\n      ttl 60\n      reload 15s\n      fallthrough\n    }\n    prometheus")
            .replace("    loadbalance", "    loadbalance\n    import /etc/coredns/custom/*.override")
            + "import /etc/coredns/custom/*.server\n";
        let corefile = ("/etc/coredns/Corefile", k3s.as_str());
        let wanted =
            CorefileSummary { cluster_zones: vec!["cluster.local".to_owned()], ..Default::default() };
        assert_eq!(checked(&[corefile]).await.unwrap(), wanted, "no warning about custom files");
        let server = ("/etc/coredns/custom/corp.server", "corp.example {\n forward . 10.1.0.53\n}\n");
        let over = ("/etc/coredns/custom/log.override", "log\n");
        let summary = checked(&[corefile, server, over]).await.unwrap();
        assert_eq!(summary.other_zones, ["corp.example."]);
        let broken = ("/etc/coredns/custom/log.override", "logg\n");
        let error = checked(&[corefile, broken]).await.unwrap_err();
        assert!(error.contains("/etc/coredns/custom/log.override:1"), "{error}");
    }

    #[tokio::test]
    async fn imports_and_variables_are_those_of_the_pod() {
        let text = "import custom/*.server\n.:53 {\n kubernetes cluster.local\n forward . {$UPSTREAM}\n}\n";
        let corp = "corp.example {\n forward . 10.1.0.53\n}\n";
        let files = [("/etc/coredns/Corefile", text), ("/etc/coredns/custom/corp.server", corp)];
        let summary = checked(&files).await.unwrap();
        assert_eq!(summary.other_zones.len(), 1, "{summary:?}");
        assert!(summary.other_zones[0].starts_with("corp.example"));
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_built_is_refused_with_file_and_line() {
        let error = checked(&[("/etc/coredns/Corefile", &KUBEADM.replace("loadbalance", "dnssec"))])
            .await
            .unwrap_err();
        assert!(error.contains("/etc/coredns/Corefile:22") && error.contains("dnssec"), "{error}");
        let text = "import custom/*.server\n.:53 {\n kubernetes cluster.local\n}\n";
        let files =
            [("/etc/coredns/Corefile", text), ("/etc/coredns/custom/a.server", "a.example {\n nosuch\n}\n")];
        let error = checked(&files).await.unwrap_err();
        assert!(error.contains("/etc/coredns/custom/a.server:2") && error.contains("nosuch"), "{error}");
        assert!(checked(&[]).await.unwrap_err().contains("/etc/coredns/Corefile"));
    }
}
