//! The report as SARIF 2.1.0 (OASIS), which code review tools show beside the lines of a change.

use serde_json::{Value, json};

use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, Report};

/// The report as SARIF: a result for each setting that does not work as before.
pub fn sarif(report: &Report) -> String {
    let settings =
        report.objects.iter().flat_map(|object| object.settings.iter().map(move |it| (object, it)));
    let results: Vec<Value> = settings
        .filter(|(_, finding)| finding.outcome.exit_code() > 0)
        .map(|(object, finding)| result(object, finding))
        .collect();
    let rules: Vec<Value> = Outcome::ALL
        .iter()
        .filter(|outcome| outcome.exit_code() > 0)
        .map(
            |outcome| json!({ "id": outcome.words(), "shortDescription": { "text": description(*outcome) } }),
        )
        .collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "portolan check", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn result(object: &CheckedObject, finding: &CheckedSetting) -> Value {
    let level = if finding.outcome.exit_code() == 2 { "error" } else { "warning" };
    let setting = if finding.setting.is_empty() { String::new() } else { format!("{}: ", finding.setting) };
    let message =
        format!("{} {}: {setting}{}: {}", object.kind, object.name, finding.outcome.words(), finding.reason);
    let place = finding.place.as_ref().or(object.place.as_ref());
    let locations = place.map(|place| {
        json!([{ "physicalLocation": {
            "artifactLocation": { "uri": place.file.trim_start_matches("./") },
            "region": { "startLine": place.line },
        } }])
    });
    json!({
        "ruleId": finding.outcome.words(),
        "level": level,
        "message": { "text": message },
        "locations": locations.unwrap_or_else(|| json!([])),
    })
}

fn description(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "It cannot be known, because something could not be read",
        Outcome::Differs => "It is served, but not in the same way",
        Outcome::Refused => "It has no effect, or the program does not start with it",
        Outcome::Closed => "Requests get 503",
        Outcome::AsBefore | Outcome::NotOurs | Outcome::Ignored => "Nothing changes",
    }
}
