//! Reads kubeconfigs as manifests are read: an invalid value is reported with its line and path.
//!
//! The functions of `kube` for this would add the YAML parser to the binary once more for each type of a kubeconfig.

use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use serde::Deserialize;
use telemetry::causes;

use crate::manifests::documents::{DocumentError, for_each_document, with_large_stack};
use crate::manifests::node::{DocumentNode, NodeError};

/// Reads this file, or those of `KUBECONFIG`, or `~/.kube/config`. The error names the file only if none was given.
pub(super) fn read(file: Option<&Path>) -> Result<Kubeconfig, String> {
    match file {
        Some(file) => read_file(file),
        None => read_all(&default_files()?),
    }
}

fn default_files() -> Result<Vec<PathBuf>, String> {
    let variable = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<_> =
        std::env::split_paths(&variable).filter(|file| !file.as_os_str().is_empty()).collect();
    if !listed.is_empty() {
        return Ok(listed);
    }
    let home = std::env::home_dir().ok_or("KUBECONFIG is not set, and there is no home directory")?;
    Ok(vec![home.join(".kube/config")])
}

/// Merges files as kubectl does: the first file that sets a value, or has an entry of a name, wins.
fn read_all(files: &[PathBuf]) -> Result<Kubeconfig, String> {
    let mut merged = Kubeconfig::default();
    for file in files {
        let next = read_file(file).and_then(|next| merge(std::mem::take(&mut merged), next));
        merged = next.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(merged)
}

fn merge(first: Kubeconfig, next: Kubeconfig) -> Result<Kubeconfig, String> {
    first.merge(next).map_err(|error| causes(&error))
}

/// Reads one file, whose documents are merged.
fn read_file(file: &Path) -> Result<Kubeconfig, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let text = text(bytes)?;
    let documents = with_large_stack(|| documents(&text))??;
    let mut config = documents.into_iter().try_fold(Kubeconfig::default(), merge)?;
    make_absolute(&mut config, file.parent().unwrap_or(Path::new("")));
    Ok(config)
}

/// UTF-8, or UTF-16 with a byte order mark, in which PowerShell writes files.
fn text(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok(),
    };
    text.ok_or_else(|| "neither UTF-8 nor UTF-16 with a byte order mark".to_owned())
}

fn documents(text: &str) -> Result<Vec<Kubeconfig>, String> {
    let mut documents = Vec::new();
    for_each_document("", text, |document| documents.push(document.map_err(malformed).and_then(decode)));
    documents.into_iter().collect()
}

fn malformed(DocumentError { line, message }: DocumentError) -> String {
    format!("line {line}: {message}")
}

fn decode(node: DocumentNode) -> Result<Kubeconfig, String> {
    Kubeconfig::deserialize(&node).map_err(|error: NodeError| {
        let (line, path) = (error.line.unwrap_or(node.line), error.path());
        match path.as_str() {
            "" => format!("line {line}: {}", error.message),
            // The message contains the value, which may be a secret.
            path if path.starts_with("users") => {
                format!("line {line}: {path}: not a value of the expected type")
            }
            path => format!("line {line}: {path}: {}", error.message),
        }
    })
}

/// Resolves the file names relative to the folder of the kubeconfig. A command without `/` is looked up in `PATH`.
fn make_absolute(config: &mut Kubeconfig, folder: &Path) {
    let resolve = |file: &mut Option<String>| {
        let Some(name) = file else { return };
        if let Some(path) = folder.join(&name).to_str() {
            *name = path.to_owned();
        }
    };
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        resolve(&mut cluster.certificate_authority);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        resolve(&mut user.client_certificate);
        resolve(&mut user.client_key);
        resolve(&mut user.token_file);
        if let Some(plugin) = user.exec.as_mut()
            && plugin.command.as_ref().is_some_and(|command| command.contains('/'))
        {
            resolve(&mut plugin.command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
current-context: one
clusters:
- {name: here, cluster: {server: 'https://10.0.0.1', certificate-authority: pki/ca.crt}}
contexts:
- {name: one, context: {cluster: here, user: me, namespace: shop}}
users:
- name: me
  user:
    client-certificate: /etc/me.crt
    client-key: me.key
    tokenFile: token
    exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [-v], interactiveMode: Never}
- {name: cloud, user: {exec: {command: aws, env: [{name: A, value: b}]}}}
---
# The second document.
kind: Config
extensions:
- {name: minikube, extension: {version: 1.2, tags: [a, null]}}
";

    const SECOND: &str = "\
current-context: two
clusters:
- {name: here, cluster: {server: 'https://10.0.0.2'}}
- {name: there, cluster: {server: 'https://10.0.0.3', insecure-skip-tls-verify: true}}
unknown: {kept: '1'}
";

    fn written(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, content): &(&str, &[u8])| {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            file
        };
        let files = files.iter().map(write).collect();
        (folder, files)
    }

    /// The error of a file with this content.
    fn error(content: &str) -> String {
        let (_folder, files) = written(&[("config", content.as_bytes())]);
        read(Some(&files[0])).unwrap_err()
    }

    #[test]
    fn the_first_file_wins_and_names_are_relative_to_their_file() {
        let (folder, files) = written(&[("first", FIRST.as_bytes()), ("second", SECOND.as_bytes())]);
        let config = read_all(&files).unwrap();
        let within = |name: &str| Some(folder.path().join(name).display().to_string());
        assert_eq!(config.current_context.as_deref(), Some("one"));
        assert_eq!(config.kind.as_deref(), Some("Config"));
        let clusters: Vec<_> =
            config.clusters.iter().map(|named| (&*named.name, named.cluster.as_ref().unwrap())).collect();
        assert_eq!([clusters[0].0, clusters[1].0], ["here", "there"]);
        assert_eq!(clusters[0].1.server.as_deref(), Some("https://10.0.0.1"));
        assert_eq!(clusters[0].1.certificate_authority, within("pki/ca.crt"));
        assert_eq!(clusters[1].1.insecure_skip_tls_verify, Some(true));
        let user = |at: usize| config.auth_infos[at].auth_info.clone().unwrap();
        assert_eq!(user(0).client_certificate.as_deref(), Some("/etc/me.crt"));
        assert_eq!(user(0).client_key, within("me.key"));
        assert_eq!(user(0).token_file, within("token"));
        assert_eq!(user(0).exec.unwrap().command, within("./login"));
        assert_eq!(user(1).exec.unwrap().command.as_deref(), Some("aws"));
        assert_eq!(config.extensions.unwrap()[0].extension["tags"][0], "a");
        assert_eq!(config.other["unknown"]["kept"], "1");
    }

    #[test]
    fn utf_16_is_read() {
        let bytes = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{SECOND}").encode_utf16().flat_map(order).collect()
        };
        for content in [bytes(u16::to_le_bytes), bytes(u16::to_be_bytes)] {
            let (_folder, files) = written(&[("config", &content)]);
            assert_eq!(read(Some(&files[0])).unwrap().clusters[1].name, "there");
        }
        let (_folder, files) = written(&[("config", b"\xff")]);
        let wanted = "neither UTF-8 nor UTF-16 with a byte order mark";
        assert_eq!(read(Some(&files[0])).unwrap_err(), wanted);
    }

    #[test]
    fn an_error_has_the_line_and_the_path_but_no_secret() {
        let rows = [
            ("\nclusters: 7", "line 2: clusters: invalid type: integer `7`, expected a sequence"),
            ("a: [", "line 1: "),
            (
                "users:\n- name: me\n  user:\n    token: 12345",
                "line 4: users[0].user.token: not a value of the expected type",
            ),
            ("kind: A\n---\nkind: B", "kubeconfigs with mismatching kind cannot be merged"),
        ];
        for (content, wanted) in rows {
            let error = error(content);
            assert!(error.starts_with(wanted), "{content:?}: {error}");
        }
        let (folder, _) = written(&[]);
        let missing = folder.path().join("missing");
        let wanted = format!("{}: No such file or directory (os error 2)", missing.display());
        assert_eq!(read_all(&[missing]).unwrap_err(), wanted);
    }
}
