//! Checks of what a connection, the log or the metrics page has to contain.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::known_keys;

/// Checks `received_contains` and `received_not_contains`.
pub(super) fn contains(received: &str, expect: &Value) -> Result<(), String> {
    known_keys(expect, &["received_contains", "received_not_contains"])?;
    let parts = |key: &str| expect[key].as_array().cloned().unwrap_or_default();
    let has = |part: &Value| received.contains(part.as_str().unwrap_or_default());
    if let Some(part) = parts("received_contains").iter().find(|part| !has(part)) {
        return Err(format!("{part} is not in {received:?}"));
    }
    match parts("received_not_contains").iter().find(|part| has(part)) {
        Some(part) => Err(format!("{part} is in {received:?}")),
        None => Ok(()),
    }
}

/// Checks `contains` and `not_contains`.
pub(super) fn log_contains(log: &str, expect: &Value) -> Result<(), String> {
    known_keys(expect, &["contains", "not_contains"])?;
    let parts = |key: &str| expect[key].as_array().cloned().unwrap_or_default();
    let has = |part: &Value| log.contains(part.as_str().unwrap_or_default());
    let tail = || log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
    if let Some(part) = parts("contains").iter().find(|part| !has(part)) {
        return Err(format!("{part} is not in the log, which ends with (latest first)\n{}", tail()));
    }
    match parts("not_contains").iter().find(|part| has(part)) {
        Some(part) => Err(format!("{part} is in the log")),
        None => Ok(()),
    }
}

/// Whether a metrics page has a sample of this name with these labels, without the label `no_label`, of at least `min`.
pub(super) fn has_sample(page: &str, wanted: &Value) -> Result<(), String> {
    known_keys(wanted, &["name", "labels", "no_label", "min"])?;
    let name = wanted["name"].as_str().ok_or("a sample without name")?;
    let labels: Vec<String> = wanted["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(label, value)| format!("{label}=\"{}\"", value.as_str().unwrap_or_default()))
        .collect();
    let samples =
        page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let found = samples.clone().any(|line| {
        let has_labels = labels.iter().all(|label| line.contains(label.as_str()));
        let lacks = wanted["no_label"].as_str().is_none_or(|label| !line.contains(&format!("{label}=\"")));
        let value: Option<f64> = line.rsplit(' ').next().and_then(|value| value.parse().ok());
        has_labels && lacks && value >= wanted["min"].as_f64()
    });
    if found {
        Ok(())
    } else {
        Err(format!("no such sample; of this name: {:?}", samples.take(3).collect::<Vec<_>>()))
    }
}

/// Repeats a check until it holds or `limit` has passed.
pub(super) fn eventually<T>(
    limit: Duration,
    mut check: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)),
            result => return result,
        }
    }
}
