//! The ConfigMap of a controller: what becomes of each key.

use cluster::{ConfigMap, Kind};
use ingress_routes::config_map_keys;
use ingress_routes::globals::KeySupport;

use crate::differences;
use crate::ingresses::{Judge, names_a_missing_object};
use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, by_line};

impl Judge<'_> {
    /// The findings about the ConfigMap of `--configmap`.
    pub(crate) fn config_map(&self, config_map: &ConfigMap) -> CheckedObject {
        let key = &config_map.key;
        let mut problems = self.problems.get(&(Kind::ConfigMap, key.clone())).cloned().unwrap_or_default();
        let finding = |setting: &str, outcome, reason: String| {
            let place = self.lines.field(Kind::ConfigMap, key, setting);
            CheckedSetting { setting: setting.to_owned(), place, outcome, reason }
        };
        let mut findings = Vec::new();
        for (name, value) in &config_map.data {
            let about = |problem: &mut &ingress_routes::RoutingProblem| {
                problem.field == name.as_str()
                    || problem.field.is_empty() && problem.what.split(' ').next() == Some(name.as_str())
            };
            let reported: Vec<_> = problems.extract_if(.., about).collect();
            for problem in &reported {
                let reason = format!("{}{}", problem.what, problem.effect.suffix());
                let outcome = match Outcome::of_effect(problem.effect) {
                    _ if !self.is_whole && names_a_missing_object(&problem.what) => Outcome::Unknown,
                    outcome => outcome,
                };
                findings.push(finding(name, outcome, reason));
            }
            if reported.is_empty() {
                let (outcome, reason) = unreported(name, value);
                findings.push(finding(name, outcome, reason.to_owned()));
            }
        }
        let others = problems.iter().map(|problem| {
            let reason = format!("{}{}", problem.what, problem.effect.suffix());
            finding(&problem.field, Outcome::of_effect(problem.effect), reason)
        });
        let findings = by_line(others.chain(findings).collect());
        CheckedObject::new("ConfigMap", key.to_string(), self.lines.object(Kind::ConfigMap, key), findings)
    }
}

/// What becomes of a key that the table does not report.
fn unreported(name: &str, value: &str) -> (Outcome, &'static str) {
    match config_map_keys().find(|known| known.name == name).map(|known| known.support) {
        Some(KeySupport::Honoured(_)) => match differences::of_ingress(name, value) {
            Some(text) => (Outcome::Differs, text),
            None => (Outcome::AsBefore, ""),
        },
        Some(KeySupport::NotNeeded(why)) => (Outcome::AsBefore, why),
        Some(KeySupport::Unsupported { .. }) => (Outcome::AsBefore, "asks for what is done anyway"),
        None => (Outcome::AsBefore, "is obsolete, ingress-nginx ignores it too"),
    }
}
