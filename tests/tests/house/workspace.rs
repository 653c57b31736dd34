//! The workspace as Cargo sees it.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The top folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ lies in the checkout").to_path_buf()
}

/// Packages and what they declare, nothing resolved: needs neither network nor lock file.
pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs")
}

/// The folder of a package, relative to the checkout.
pub(crate) fn folder(package: &Package) -> PathBuf {
    let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
    folder.as_std_path().strip_prefix(root()).expect("workspace packages lie in the checkout").to_path_buf()
}

/// Names of the workspace's packages that this one depends on, in any way (also for tests and builds), but
/// itself.
pub(crate) fn house_dependencies(package: &Package) -> impl Iterator<Item = &str> {
    let inside = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    inside.map(|dependency| dependency.name.as_str()).filter(|name| *name != package.name.as_str())
}

/// Files that Cargo starts to compile from: libraries, programs, integration tests.
pub(crate) fn target_roots(package: &Package) -> impl Iterator<Item = PathBuf> {
    package.targets.iter().map(|target| target.src_path.as_std_path().to_path_buf())
}

/// A path as people write it: relative to the checkout.
pub(crate) fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Every Rust file of the checkout, in order, build output left out.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("a folder of the checkout")
            .map(|entry| entry.expect("an entry"))
        {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
