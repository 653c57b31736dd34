//! The minimum supported Rust version: no dependency needs a newer one than the workspace declares.

use cargo_metadata::MetadataCommand;

use crate::none;
use crate::workspace::root;

/// Dependencies that declare a newer version for reasons that do not concern us, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn dependencies_support_the_minimum_rust_version() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        // What was built a moment ago is on this machine.
        .other_options([
            "--offline".to_owned(),
            "--locked".to_owned(),
            format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH),
        ])
        .exec()
        .expect("cargo metadata runs");
    let resolved = metadata.resolve.as_ref().expect("dependencies are resolved");
    let ours = metadata.workspace_packages();
    let minimum =
        ours.iter().filter_map(|package| package.rust_version.clone()).min().expect("a version is declared");
    let mut breaches = Vec::new();
    for node in &resolved.nodes {
        let package = &metadata[&node.id];
        let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == package.name.as_str());
        if !excepted && package.rust_version.as_ref().is_some_and(|wanted| *wanted > minimum) {
            let wanted = package.rust_version.as_ref().map(ToString::to_string).unwrap_or_default();
            breaches.push(format!("{} {} needs Rust {wanted}", package.name, package.version));
        }
    }
    none(&format!("every dependency supports Rust {minimum}"), breaches);
}
