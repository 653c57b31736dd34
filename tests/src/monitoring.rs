//! The queries of dashboards and alerts: those of the chart, and those that users of CoreDNS and ingress-nginx have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::promql::{VectorSelector, selectors};

/// The dashboards in `charts/portolan/dashboards`.
pub const DASHBOARDS: [&str; 3] = ["dns.json", "ingress.json", "ingress-requests.json"];

/// The alert rules in `charts/portolan/rules`.
pub const RULES: [&str; 2] = ["dns.yaml", "ingress.yaml"];

/// An expression, and where it comes from.
#[derive(Clone, Debug)]
pub struct MonitoringQuery {
    /// File and panel, alert or line.
    pub origin: String,
    /// The expression, without variables of a dashboard.
    pub expression: String,
}

/// All queries that have to return series on a healthy system: those of panels, variables and annotations, and the vectors of
/// alerts.
pub fn queries() -> Vec<MonitoringQuery> {
    let mut queries = Vec::new();
    for name in DASHBOARDS {
        queries.extend(of_dashboard(name, &dashboard(name)));
    }
    for (origin, alert) in alerts() {
        queries.extend(vectors(&origin, alert["expr"].as_str().unwrap_or_default()));
    }
    for (number, line) in read("tests/monitoring/queries.txt").lines().enumerate() {
        let origin = format!("queries.txt:{}", number + 1);
        match line.strip_prefix("alert ") {
            _ if line.is_empty() || line.starts_with('#') => {}
            Some(expression) => queries.extend(vectors(&origin, expression)),
            None => queries.push(MonitoringQuery { origin, expression: line.to_owned() }),
        }
    }
    queries
}

/// A dashboard of the chart.
pub fn dashboard(name: &str) -> Value {
    let text = read(&format!("charts/portolan/dashboards/{name}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The alerts of the chart, with file and name.
pub fn alerts() -> Vec<(String, Value)> {
    let mut alerts = Vec::new();
    for name in RULES {
        let text = read(&format!("charts/portolan/rules/{name}"));
        let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let groups = file["groups"].as_array().cloned().unwrap_or_default();
        for rule in groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
            alerts.push((format!("{name}: {}", rule["alert"].as_str().unwrap_or_default()), rule.clone()));
        }
    }
    alerts
}

/// The absolute path of a rule file.
pub fn rule_file(name: &str) -> PathBuf {
    root().join("charts/portolan/rules").join(name)
}

/// The names of all metrics in `docs/reference/metrics.md`, which a test keeps equal to what the program registers, with the
/// type of each.
pub fn documented_metrics() -> BTreeMap<String, String> {
    let text = read("docs/reference/metrics.md");
    let exported = text.split("\n## Not exported\n").next().unwrap_or_default();
    let rows = exported.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let metrics =
        rows.filter_map(|(name, rest)| Some((name.to_owned(), rest.split(" | ").next()?.to_owned())));
    metrics.collect()
}

/// The names of the time series of all documented metrics: a histogram has three.
pub fn series_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, kind) in documented_metrics() {
        match kind.as_str() {
            "histogram" => names.extend(["bucket", "sum", "count"].map(|suffix| format!("{name}_{suffix}"))),
            _ => _ = names.insert(name),
        }
    }
    names
}

fn of_dashboard(name: &str, dashboard: &Value) -> Vec<MonitoringQuery> {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let query = |what: &str, expression: &str| MonitoringQuery {
        origin: format!("{name}: {what}"),
        expression: without_variables(expression),
    };
    let mut queries = Vec::new();
    for panel in items(&dashboard["panels"]) {
        for target in items(&panel["targets"]) {
            let expression = target["expr"].as_str().unwrap_or_default();
            queries.push(query(panel["title"].as_str().unwrap_or_default(), expression));
        }
    }
    for annotation in items(&dashboard["annotations"]["list"]) {
        queries.push(query("annotation", annotation["expr"].as_str().unwrap_or_default()));
    }
    for variable in items(&dashboard["templating"]["list"]) {
        let Some(definition) = variable["definition"].as_str() else { continue };
        // `label_values(VECTOR, LABEL)`
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (vector, label) = inner.and_then(|inner| inner.rsplit_once(", ")).unwrap_or((definition, ""));
        queries.push(query(definition, &format!("count by ({label}) ({vector})")));
    }
    queries
}

/// The vectors of an alert's expression.
fn vectors(origin: &str, expression: &str) -> Vec<MonitoringQuery> {
    let query = |VectorSelector { metric, matchers }| MonitoringQuery {
        origin: origin.to_owned(),
        expression: metric + &matchers,
    };
    selectors(expression).into_iter().map(query).collect()
}

/// Replaces intervals by lengths of time that a short test has data for, and all other variables by `.*`.
fn without_variables(expression: &str) -> String {
    let text = expression.replace("$__rate_interval", "10s").replace("$__range", "10s");
    let mut parts = text.split('$');
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_').unwrap_or(part.len());
        replaced += ".*";
        replaced += &part[end..];
    }
    replaced
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ lies in the checkout").to_path_buf()
}
