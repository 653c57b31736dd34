//! Runs cases that say, as data, what ingress-nginx answers: objects for the real API server, Pods, requests and what they
//! have to see. `tests/conformance/ingress/README.md` explains the format.
//!
//! A case that the harness cannot run is an error, never a pass.

mod placeholders;
mod websocket;

mod ocsp;
mod certificates;
mod dns;
mod fastcgi;

mod client;
mod grpc;
mod pods;

mod expectation;
mod text_checks;

mod case_run;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

pub use case_run::run;

/// A case.
#[derive(Clone, Debug)]
pub struct ConformanceCase {
    /// Its name, unique among all files.
    pub id: String,
    value: Value,
}

/// A server in place of a Pod, as cases have them, for other tests. Dropping it closes its port.
pub struct CasePod(#[expect(dead_code, reason = "kept until the end of the test")] pods::Pod);

impl CasePod {
    /// Starts a server with the behaviour that a backend of a case describes, such as `{"kind": "fixed", "status": 503}`.
    ///
    /// # Panics
    /// When there is no such behaviour, or when the address cannot be bound.
    #[track_caller]
    pub fn start(service: &str, address: &str, backend: &Value) -> Self {
        let behavior = pods::PodBehavior::of(backend).unwrap_or_else(|error| panic!("{service}: {error}"));
        let address = address.parse().expect("tests use valid addresses");
        Self(pods::Pod::start(service, 0, address, behavior, None))
    }
}

/// Reads the cases of all YAML files in a folder.
///
/// # Errors
/// A file that cannot be read, or a case without a unique id.
pub fn load(folder: &Path) -> Result<Vec<ConformanceCase>, String> {
    let mut cases = BTreeMap::new();
    let files = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in files.flatten().map(|file| file.path()) {
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| problem(&error))?;
        // Only `true` and `false` are booleans: a name may be `n`.
        let options = serde_saphyr::options! { strict_booleans: true };
        let values: Vec<Value> =
            serde_saphyr::from_str_with_options(&text, options).map_err(|error| problem(&error))?;
        for value in values {
            let id = value["id"].as_str().ok_or_else(|| problem(&"a case without id"))?.to_owned();
            if cases.insert(id.clone(), ConformanceCase { id: id.clone(), value }).is_some() {
                return Err(problem(&format!("{id} occurs twice")));
            }
        }
    }
    Ok(cases.into_values().collect())
}

/// Refuses keys that the harness does not know.
fn known_keys(value: &Value, known: &[&str]) -> Result<(), String> {
    let unknown = value.as_object().into_iter().flatten().find(|(key, _)| !known.contains(&key.as_str()));
    match unknown {
        None => Ok(()),
        Some((key, _)) => Err(format!("the harness does not know {key:?}")),
    }
}

/// Kind, namespace and name of an object.
fn names(object: &Value) -> Result<(String, String, String), String> {
    let kind = object["kind"].as_str().ok_or("an object without kind")?.to_owned();
    let metadata = &object["metadata"];
    let name =
        metadata["name"].as_str().or(object["name"].as_str()).ok_or("an object without name")?.to_owned();
    let namespace = metadata["namespace"].as_str().or(object["namespace"].as_str());
    let namespace = if kind == "IngressClass" { "" } else { namespace.unwrap_or("default") };
    Ok((kind, namespace.to_owned(), name))
}
