//! The report as JSON.

use serde::Serialize;

use crate::outcome::Outcome;
use crate::report::{CheckedObject, Report, Total};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'r> {
    outcome: Outcome,
    exit_code: u8,
    notes: &'r [String],
    totals: Vec<Total>,
    objects: &'r [CheckedObject],
}

/// The report as one JSON object with the fields `outcome`, `exitCode`, `notes`, `totals` (by kind) and `objects`, each with its
/// `settings`.
pub fn json(report: &Report) -> String {
    let document = Document {
        outcome: report.outcome(),
        exit_code: report.exit_code(),
        notes: &report.notes,
        totals: report.totals(),
        objects: &report.objects,
    };
    // Serialising maps with text as keys cannot fail.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}
