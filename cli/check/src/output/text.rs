//! The report as text: totals first, then each object that does not work as before.

use std::fmt::Write;

use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, Report};

/// The report as text. With `all`, also the objects and settings that work as before.
pub fn text(report: &Report, all: bool) -> String {
    let mut text = String::new();
    for note in &report.notes {
        line(&mut text, note);
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    for total in report.totals() {
        let number = total.objects.total();
        let _ = write!(text, "{number} {}: {}", plural(&total.kind, number), total.objects);
        let settings = total.settings.total();
        if settings > 0 && total.kind != "File" {
            let what = setting_words(&total.kind, settings);
            let _ = write!(text, " ({settings} {what}: {})", total.settings);
        }
        text.push('\n');
    }
    if report.objects.is_empty() {
        text.push_str(
            "nothing to check: no Ingress, no Deployment of ingress-nginx and no Corefile was found\n",
        );
    }
    for object in &report.objects {
        let shown = |finding: &&CheckedSetting| all || is_shown(finding.outcome);
        if all || is_shown(object.outcome) {
            write_object(&mut text, object, object.settings.iter().filter(shown));
        }
    }
    text
}

/// Whether an outcome is shown without `--all`.
fn is_shown(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::AsBefore | Outcome::NotOurs)
}

fn write_object<'f>(
    text: &mut String,
    object: &CheckedObject,
    settings: impl Iterator<Item = &'f CheckedSetting>,
) {
    let place = object.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    text.push('\n');
    line(text, &format!("{} {}{place}: {}", object.kind, object.name, object.outcome.words()));
    for finding in settings {
        let place = finding.place.as_ref().map(|place| format!("{place}  ")).unwrap_or_default();
        let setting =
            if finding.setting.is_empty() { String::new() } else { format!("{}: ", finding.setting) };
        let reason = if finding.reason.is_empty() { String::new() } else { format!(": {}", finding.reason) };
        line(text, &format!("  {place}{setting}{}{reason}", finding.outcome.words()));
    }
}

/// Writes a line. Control characters of objects are replaced, so that they cannot look like other lines.
fn line(text: &mut String, line: &str) {
    text.extend(line.chars().map(|ch| if ch.is_control() { '\u{fffd}' } else { ch }));
    text.push('\n');
}

fn plural(kind: &str, number: usize) -> String {
    match (kind, number) {
        (_, 1) => kind.to_owned(),
        ("Ingress", _) => "Ingresses".to_owned(),
        _ => format!("{kind}s"),
    }
}

fn setting_words(kind: &str, number: usize) -> &'static str {
    match (kind, number) {
        ("Ingress", 1) => "setting",
        ("Ingress", _) => "settings",
        ("ConfigMap", 1) => "key",
        ("ConfigMap", _) => "keys",
        ("Corefile", 1) => "line",
        ("Corefile", _) => "lines",
        (_, 1) => "flag",
        (_, _) => "flags",
    }
}
