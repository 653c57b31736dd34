//! The programs that tests run, built on demand: Kubernetes, other programs from their Go modules, and `portolan`.

mod controllers;
mod debian;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub use controllers::{Neighbour, acme_server};
pub use debian::systemd_resolved;

/// The Kubernetes release in `tests/cluster/go.mod`. kubectl does not work without a version.
const KUBERNETES: &str = "1.35.4";

/// Files with CustomResourceDefinitions, each with its Go module.
const DEFINITIONS: [(&str, &str); 4] = [
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    ("github.com/kedacore/keda/v2", "config/crd/bases/keda.sh_scaledobjects.yaml"),
];

/// The binary with Kubernetes' programs, built from `tests/cluster` unless it is cached.
pub fn cluster() -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
    cached("cluster", &sources, |binary| build_cluster(&sources, binary))
}

/// A program that `build` makes from a folder of Go sources, cached under a hash of the sources.
///
/// The cache is `$XDG_CACHE_HOME/portolan` (else `~/.cache/portolan`), outside the checkout, because a build takes
/// minutes and should survive `cargo clean`. With a file lock, parallel test runs build the program once.
fn cached(
    name: &str,
    sources: &Path,
    build: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    built_once(&format!("{name}-{}", fingerprint(sources)?), name, build)
}

/// The program `name` in a folder of the cache, which `build` makes if it is not there.
fn built_once(
    folder: &str,
    name: &str,
    build: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = cache()?.join(folder);
    let binary = folder.join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = File::create(folder.join("lock")).map_err(|error| format!("{}: {error}", folder.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another test run that is building {name}");
        lock.lock().map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    if !binary.exists() {
        build(&folder.join("building"))?;
        let moved = fs::rename(folder.join("building"), &binary);
        moved.map_err(|error| format!("{}: {error}", binary.display()))?;
    }
    Ok(binary)
}

/// The h2spec binary, built from `tests/h2spec` unless it is cached.
pub fn h2spec() -> Result<PathBuf, String> {
    go_program("h2spec", "github.com/summerwind/h2spec/cmd/h2spec", "")
}

/// The CoreDNS binary, built from `tests/coredns` unless it is cached.
pub fn coredns() -> Result<PathBuf, String> {
    go_program("coredns", "github.com/coredns/coredns", "")
}

/// The programs beside which the ingress is tested, built from `tests/neighbours` unless they are cached.
pub fn neighbours() -> Result<PathBuf, String> {
    go_program("neighbours", ".", "")
}

/// The oauth2-proxy binary, built from `tests/oauth2-proxy` unless it is cached.
pub fn oauth2_proxy() -> Result<PathBuf, String> {
    go_program("oauth2-proxy", "github.com/oauth2-proxy/oauth2-proxy/v7", "")
}

/// The program in the Pods of the cluster tests, built from `tests/pods` unless it is cached.
pub fn pods() -> Result<PathBuf, String> {
    go_program("pods", ".", "")
}

/// The Helm binary, built from `tests/helm` unless it is cached. Without versions it would render charts for Kubernetes 1.20.
pub fn helm() -> Result<PathBuf, String> {
    let mut numbers = KUBERNETES.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let stamp = ["chartutil", "lint/rules"].map(|package| {
        let package = format!("helm.sh/helm/v3/pkg/{package}");
        format!("-X {package}.k8sVersionMajor={major} -X {package}.k8sVersionMinor={minor}")
    });
    go_program("helm", "helm.sh/helm/v3/cmd/helm", &stamp.join(" "))
}

/// The CustomResourceDefinitions of the kinds that the chart can make for the Prometheus operator and KEDA, as one manifest.
pub fn definitions() -> Result<PathBuf, String> {
    definitions_of("definitions", "definitions", &DEFINITIONS)
}

/// CustomResourceDefinitions as one manifest, cached as `name`. They are files of Go modules in `tests/<folder>/go.mod`.
fn definitions_of(name: &str, folder: &str, files: &[(&str, &str)]) -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    cached(name, &sources, |manifest| {
        let mut text = String::new();
        for (module, file) in files {
            let mut go = Command::new("go");
            let output = go.args(["mod", "download", "-json", module]).current_dir(&sources).output();
            let output = output.map_err(|error| format!("the Go toolchain: {error}"))?;
            if !output.status.success() {
                return Err(format!("{go:?}: {}", String::from_utf8_lossy(&output.stderr)));
            }
            let downloaded: Value =
                serde_json::from_slice(&output.stdout).map_err(|error| format!("{go:?}: {error}"))?;
            let folder = downloaded["Dir"].as_str().ok_or_else(|| format!("{go:?} names no folder"))?;
            let path = Path::new(folder).join(file);
            let definition =
                fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            text += &format!("---\n{definition}\n");
        }
        fs::write(manifest, text).map_err(|error| format!("{}: {error}", manifest.display()))
    })
}

/// A Go program built from `package` in the folder `tests/<name>`, whose go.mod has all versions.
fn go_program(name: &str, package: &str, ldflags: &str) -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let build = |binary: &Path| {
        let mut go = Command::new("go");
        let ldflags = format!("-s -w {ldflags}");
        go.args(["build", "-trimpath", "-ldflags", &ldflags, "-o"]).arg(binary).arg(package);
        run_go(go.current_dir(&sources))
    };
    cached(name, &sources, build)
}

/// Builds the `portolan` binary in this test's profile and target folder.
///
/// If `PORTOLAN_BINARY` is set, that binary is tested instead.
pub fn portolan() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("PORTOLAN_BINARY") {
        return Ok(path.into());
    }
    let test = env::current_exe().map_err(|error| format!("the test's own path: {error}"))?;
    let folder = test.ancestors().nth(2).ok_or("the test is not in a target folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = folder.parent().ok_or("the test is not in a target folder")?;
    let status = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        // --package would enable fewer features of shared dependencies than `cargo test --workspace`, and kube would be
        // compiled twice.
        .args(["build", "--quiet", "--workspace", "--bin", "portolan", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    match status {
        Ok(status) if status.success() => Ok(folder.join("portolan")),
        Ok(status) => Err(format!("cargo build --bin portolan: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

fn build_cluster(sources: &Path, binary: &Path) -> Result<(), String> {
    eprintln!("building Kubernetes {KUBERNETES} from {} (only once; takes minutes)", sources.display());
    let start = Instant::now();
    let version = "k8s.io/component-base/version";
    let mut numbers = KUBERNETES.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let stamp = format!(
        "-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    );
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags", &stamp, "-o"]).arg(binary).arg(".");
    run_go(go.current_dir(sources))?;
    eprintln!("built in {:.0?}", start.elapsed());
    Ok(())
}

/// Runs the Go toolchain without cgo, so that the binaries are static.
fn run_go(go: &mut Command) -> Result<(), String> {
    let status = go
        .env("CGO_ENABLED", "0")
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("the Go toolchain (`go`, 1.26 or newer, https://go.dev/dl): {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{go:?}: {status}")) }
}

fn cache() -> Result<PathBuf, String> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    Ok(base.ok_or("a cache folder: neither XDG_CACHE_HOME nor HOME is set")?.join("portolan"))
}

/// A hash of the Go sources in a folder and of the versions of their dependencies.
fn fingerprint(sources: &Path) -> Result<String, String> {
    let folder = fs::read_dir(sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    let paths = folder.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| ["go", "mod", "sum"].iter().any(|go| end == *go)))
        .collect();
    paths.sort();
    let mut digest = Sha256::new();
    for path in paths {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
