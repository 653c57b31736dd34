//! Dashboards and alerts: they are well formed and ask for metrics that exist.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::monitoring::{DASHBOARDS, alerts, dashboard, queries, series_names};
use tests::promql::selectors;

use crate::none;

/// Series that Prometheus itself makes.
const OF_PROMETHEUS: [&str; 1] = ["up"];

#[test]
fn every_query_asks_for_metrics_that_exist() {
    let known = series_names();
    assert!(known.len() > 100, "{} names are not the reference of metrics", known.len());
    let mut asked = BTreeSet::new();
    let mut breaches = Vec::new();
    for query in queries() {
        let found = selectors(&query.expression);
        if found.is_empty() {
            breaches.push(format!("{}: no metric in {}", query.origin, query.expression));
        }
        for selector in found {
            if !known.contains(&selector.metric) && !OF_PROMETHEUS.contains(&selector.metric.as_str()) {
                breaches.push(format!(
                    "{}: no such metric: {} (see docs/reference/metrics.md)",
                    query.origin, selector.metric
                ));
            }
            asked.insert(selector.metric);
        }
    }
    assert!(asked.len() > 60, "{} metrics are not all queries", asked.len());
    none("dashboards and alerts ask for metrics that exist", breaches);
}

#[test]
fn dashboards_are_valid() {
    let mut breaches = Vec::new();
    let mut names = BTreeSet::new();
    for file in DASHBOARDS {
        let dashboard = dashboard(file);
        let mut wrong = |what: String| breaches.push(format!("{file}: {what}"));
        let uid = dashboard["uid"].as_str().unwrap_or_default();
        if uid.is_empty() || !names.insert(uid.to_owned()) {
            wrong(format!("no unique uid: {uid:?}"));
        }
        if dashboard["schemaVersion"].as_u64() < Some(38) {
            wrong("a schemaVersion below 38".to_owned());
        }
        let variables = dashboard["templating"]["list"].as_array().cloned().unwrap_or_default();
        if variables.first().map(|first| &first["type"]) != Some(&Value::from("datasource")) {
            wrong("its first variable is not the data source".to_owned());
        }
        let declared: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
        let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
        let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        if ids.len() != panels.len() || panels.is_empty() {
            wrong(format!("{} panels with {} ids", panels.len(), ids.len()));
        }
        let mut taken = BTreeSet::new();
        for panel in &panels {
            let title = panel["title"].as_str().unwrap_or_default();
            let is_row = panel["type"] == "row";
            if title.is_empty() || (!is_row && panel["datasource"]["uid"] != "${datasource}") {
                wrong(format!("panel {}: no title or another data source", panel["id"]));
            }
            let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap_or_default());
            let [x, y, w, h] = place;
            let mut cells = (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column)));
            if x + w > 24 || w == 0 || h == 0 || !cells.all(|cell| taken.insert(cell)) {
                wrong(format!("{title}: overlaps another panel or the border: {place:?}"));
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap_or_default();
                for part in expression.split('$').skip(1) {
                    let end =
                        part.find(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_').unwrap_or(part.len());
                    if !part.starts_with("__") && !declared.contains(&&part[..end]) {
                        wrong(format!("{title}: unknown variable ${}", &part[..end]));
                    }
                }
            }
        }
    }
    none("dashboards are valid", breaches);
}

/// The panel types that the dashboards use, with the options that Grafana's schema requires.
const PANEL_OPTIONS: &[(&str, &[&str])] = &[
    (
        "timeseries",
        &[
            "/legend/showLegend",
            "/legend/displayMode",
            "/legend/placement",
            "/legend/calcs",
            "/tooltip/mode",
            "/tooltip/sort",
        ],
    ),
    (
        "stat",
        &[
            "/reduceOptions/calcs",
            "/colorMode",
            "/graphMode",
            "/orientation",
            "/textMode",
            "/justifyMode",
            "/wideLayout",
            "/showPercentChange",
            "/percentChangeColorMode",
        ],
    ),
    (
        "heatmap",
        &[
            "/calculate",
            "/yAxis",
            "/color/mode",
            "/color/scheme",
            "/color/fill",
            "/color/exponent",
            "/color/steps",
            "/color/reverse",
            "/showValue",
            "/legend/show",
            "/tooltip/mode",
            "/exemplars/color",
        ],
    ),
    ("table", &[]),
];

/// No Grafana was there to open them. The dashboards pass the strict parser of grafana-foundation-sdk 0.0.22, which has Grafana's schema;
/// this test keeps the fields that it requires.
#[test]
fn panels_have_the_fields_of_their_type() {
    let mut breaches = Vec::new();
    for file in DASHBOARDS {
        let dashboard = dashboard(file);
        for field in ["title", "refresh", "timezone"] {
            if dashboard[field].as_str().is_none_or(str::is_empty) {
                breaches.push(format!("{file}: no {field}"));
            }
        }
        if !dashboard["time"]["from"].is_string() || !dashboard["time"]["to"].is_string() {
            breaches.push(format!("{file}: no time range"));
        }
        for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default();
            let is_query = variable["type"] == "query";
            let asks = variable["query"]["query"].is_string() && variable["refresh"].is_u64();
            if name.is_empty() || (is_query && !(asks && variable["datasource"]["uid"] == "${datasource}")) {
                breaches.push(format!("{file}: variable {name:?} has no query, refresh or data source"));
            }
        }
        for panel in dashboard["panels"].as_array().into_iter().flatten() {
            let mut wrong = |what: &str| breaches.push(format!("{file}: {}: {what}", panel["title"]));
            if panel["type"] == "row" {
                if !panel["panels"].as_array().is_some_and(Vec::is_empty) || panel["collapsed"] != false {
                    wrong("a row is open and its panels follow it");
                }
                continue;
            }
            let Some((_, options)) = PANEL_OPTIONS.iter().find(|(name, _)| panel["type"] == *name) else {
                wrong("a panel type without known options");
                continue;
            };
            options.iter().filter(|option| panel["options"].pointer(option).is_none()).for_each(|option| {
                wrong(&format!("no option {option}"));
            });
            let defaults = &panel["fieldConfig"]["defaults"];
            if !defaults.is_object() || !panel["fieldConfig"]["overrides"].is_array() {
                wrong("no fieldConfig");
            }
            if panel["type"] != "table" && defaults["unit"].is_null() && panel["type"] != "heatmap" {
                wrong("no unit");
            }
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            let names: BTreeSet<_> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
            if targets.is_empty() || names.len() != targets.len() {
                wrong("no targets, or two with one refId");
            }
            let is_prometheus = |target: &Value| {
                target["datasource"]["type"] == "prometheus" && target["datasource"]["uid"] == "${datasource}"
            };
            if !targets.iter().all(is_prometheus) {
                wrong("a target of another data source");
            }
        }
    }
    none("panels have the fields of their type", breaches);
}

#[test]
fn every_alert_has_a_severity_a_summary_and_a_description() {
    let alerts = alerts();
    assert!(alerts.len() > 20, "{} alerts are not both files", alerts.len());
    let mut breaches = Vec::new();
    let mut names = BTreeSet::new();
    for (origin, alert) in alerts {
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        if !["critical", "warning", "info"].contains(&severity) {
            breaches.push(format!("{origin}: severity {severity:?}"));
        }
        for text in ["summary", "description"] {
            if alert["annotations"][text].as_str().is_none_or(str::is_empty) {
                breaches.push(format!("{origin}: no {text}"));
            }
        }
        if !names.insert((origin.clone(), severity.to_owned())) {
            breaches.push(format!("{origin}: twice with severity {severity}"));
        }
    }
    none("an alert has a severity, a summary and a description", breaches);
}
