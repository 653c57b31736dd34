//! The Helm chart: values, schema and the list of old keys agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/portolan").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).expect("the schema is JSON")
}

/// The paths of a value's keys, down to where the schema leaves the keys to the user.
fn paths(value: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Some(map) = value.as_object() else { return };
    for (key, inner) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let property = &schema["properties"][key];
        if schema["properties"].is_object() {
            found.insert(path.clone());
            paths(inner, property, &path, found);
        }
    }
}

/// The keys in the schema that are values of the chart, and those that are not.
fn properties(schema: &Value, path: &str, own: &mut BTreeSet<String>, foreign: &mut BTreeSet<String>) {
    let Some(map) = schema["properties"].as_object() else { return };
    for (key, property) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let description = property["description"].as_str().unwrap_or_default();
        assert!(!description.is_empty(), "{path} has no description in values.schema.json");
        if description.starts_with("Misplaced:") || description.starts_with("Accepted without effect") {
            foreign.insert(path);
        } else {
            properties(property, &path, own, foreign);
            own.insert(path);
        }
    }
}

/// Whether the schema accepts a path.
fn accepts(schema: &Value, path: &str) -> bool {
    let mut place = schema;
    for key in path.split('.') {
        let property = &place["properties"][key];
        if property.is_null() {
            return place["additionalProperties"] != false;
        }
        place = property;
    }
    true
}

#[test]
fn every_value_of_the_chart_is_in_its_schema_and_the_reverse() {
    let (values, schema) = (yaml("values.yaml"), schema());
    let mut written = BTreeSet::new();
    paths(&values, &schema, "", &mut written);
    let (mut own, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    properties(&schema, "", &mut own, &mut foreign);
    let missing: Vec<_> = written.difference(&own).collect();
    assert!(missing.is_empty(), "in values.yaml, not in values.schema.json: {missing:?}");
    let missing: Vec<_> = own.difference(&written).collect();
    assert!(missing.is_empty(), "in values.schema.json, not in values.yaml: {missing:?}");
    assert!(own.len() > 400, "{} keys", own.len());
}

/// Without it, an old values file would be refused instead of installed with a warning.
#[test]
fn every_old_key_is_known_to_the_schema_of_the_chart() {
    let (compat, schema) = (yaml("compat.yaml"), schema());
    for rule in compat["rules"].as_array().expect("a list") {
        let other =
            rule["needs"].as_str().or_else(|| rule["excludes"].as_str()).expect("a rule has a second key");
        for key in [rule["key"].as_str().expect("a key"), other] {
            assert!(accepts(&schema, key), "{key} is in a rule of compat.yaml, not in values.schema.json");
        }
    }
    for list in ["refused", "closed", "differs", "noEffect"] {
        for entry in compat[list].as_array().expect("a list") {
            let key = entry["key"].as_str().expect("a key");
            assert!(accepts(&schema, key), "{key} is in compat.yaml, not in values.schema.json");
            assert!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{key} has no reason");
        }
    }
}

#[test]
fn the_chart_knows_the_plugins_of_this_version() {
    let mut plugins: Vec<&str> = dns_chain::plugins::PLUGINS.iter().map(|entry| entry.name).collect();
    plugins.sort_unstable();
    let compat = yaml("compat.yaml");
    let listed: Vec<&str> =
        compat["plugins"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, plugins, "`plugins` in charts/portolan/compat.yaml");
}

/// The flags that are not ingress-nginx's own: Portolan's, and those of klog, which the help hides.
const MORE_FLAGS: &str = "cluster context geoip-folder log-format secrets v validating-webhook-configuration workers add_dir_header alsologtostderr logtostderr one_output skip_headers \
                          skip_log_headers log_backtrace_at log_dir log_file log_file_max_size stderrthreshold vmodule";

/// The reference page of the flags is printed by the program.
#[test]
fn the_chart_knows_the_flags_of_this_version() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/ingress-flags.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let names = page.lines().filter_map(|line| line.strip_prefix("| `--")?.split_once('`'));
    let flags: BTreeSet<&str> = names.map(|(name, _)| name).chain(MORE_FLAGS.split_whitespace()).collect();
    let compat = yaml("compat.yaml");
    let listed: BTreeSet<&str> =
        compat["flags"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, flags, "`flags` in charts/portolan/compat.yaml");
}

#[test]
fn the_version_of_the_chart_is_that_of_the_program() {
    let chart = yaml("Chart.yaml");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}
