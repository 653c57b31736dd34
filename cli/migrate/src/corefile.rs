//! Checks that Portolan serves a Corefile: it is parsed and every plugin is set up, as at the start of `portolan dns`.

use config::{ConfigErrors, Corefile};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::mounted_files::MountedFiles;
use crate::objects::{items, strings};

/// The properties of a Corefile that select the checks of a migration.
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
    let mut corefile = Corefile::read(path, text, files, &options)?;
    dns_chain::offline::replace_files(&mut corefile);
    let context = dns_chain::offline::context(env!("CARGO_PKG_VERSION"), Handle::current());
    let warnings = dns_chain::build(&corefile, &context)?.warnings;
    let warnings = warnings.into_iter().map(|warning| format!("{} - {}", warning.at, warning.what)).collect();
    Ok(CorefileSummary { warnings, ..zones(&corefile) })
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
