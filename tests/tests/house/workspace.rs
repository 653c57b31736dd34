//! The workspace, from `cargo metadata`.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The top folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ lies in the checkout").to_path_buf()
}

/// The packages and their declared dependencies, unresolved: needs neither network nor lock file.
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

/// Workspace packages that this one depends on, including for tests and builds, except itself.
pub(crate) fn house_dependencies(package: &Package) -> impl Iterator<Item = &str> {
    let inside = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    inside.map(|dependency| dependency.name.as_str()).filter(|name| *name != package.name.as_str())
}

/// Root files of a package's targets: libraries, programs, integration tests.
pub(crate) fn target_roots(package: &Package) -> impl Iterator<Item = PathBuf> {
    package.targets.iter().map(|target| target.src_path.as_std_path().to_path_buf())
}

/// A path relative to the checkout.
pub(crate) fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Every Rust file of the checkout, sorted, without build output.
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
