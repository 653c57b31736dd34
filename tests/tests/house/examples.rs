//! Example configurations load.

use config::{Corefile, Disk, ParseOptions};

use crate::none;
use crate::workspace::{root, short};

#[test]
fn every_example_corefile_loads() {
    let folder = root().join("config/examples");
    let mut breaches = Vec::new();
    let mut found = 0;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("config/examples is there")
            .map(|entry| entry.expect("an entry"))
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().ends_with("Corefile") {
                found += 1;
                let text = std::fs::read_to_string(&path).expect("an example reads");
                let name = path.to_string_lossy();
                let options = ParseOptions {
                    directives: dns_chain::directives(),
                    env: &env,
                    ..ParseOptions::default()
                };
                if let Err(errors) = Corefile::parse(&name, &text, &Disk, &options) {
                    breaches.push(format!("{}: {errors}", short(&path)));
                }
            }
        }
    }
    assert!(found > 0, "there are examples");
    none("examples load", breaches);
}

#[test]
fn the_demo_cluster_loads_without_a_problem() {
    let mut breaches = Vec::new();
    let mut objects = 0;
    for entry in std::fs::read_dir(root().join("config/quickstart")).expect("the demo cluster is there") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a manifest reads");
        let decoded = sources::manifests::decode(&short(&path), &text);
        objects += decoded.objects.len();
        breaches.extend(decoded.problems.iter().map(ToString::to_string));
        breaches.extend(decoded.ignored.iter().map(|kind| format!("{}: {kind} is not read", short(&path))));
    }
    assert!(objects > 0, "the demo cluster has objects");
    none("the demo cluster loads", breaches);
}

/// The environment variables of the examples.
fn env(name: &str) -> Option<String> {
    (name == "DNS_PORT").then(|| "1053".to_owned())
}
