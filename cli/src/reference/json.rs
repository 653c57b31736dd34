//! The reference pages as JSON: an object with the name of the page and a list of entries, for tools.
//!
//! Entries of annotations, ConfigMap keys and flags have the fields `name`, `values`, `default`, `fate`, `consequence` and `example`; a field
//! is `null` where there is nothing to say. `fate` is `honoured`, `differs`, `without effect` or `refused`.

use dns_chain::PluginOption;
use dns_chain::plugins::{NOT_BUILT, PLUGINS};
use ingress_routes::annotations::{FAMILIES, UNSUPPORTED};
use ingress_routes::globals::KeySupport;
use ingress_routes::snippet::DIRECTIVES;
use ingress_routes::{UnsupportedSetting, config_map_keys};
use serde_json::{Value, json};
use telemetry::metrics::Registry;

use super::SupportLevel;
use crate::args::{self, FlagSupport, ValueKind};

/// The page of annotations.
pub(super) fn annotations() -> Value {
    let honoured = FAMILIES.iter().flat_map(|family| {
        family.annotations.iter().map(|annotation| {
            let (values, default) = values_and_default(annotation.values);
            json!({
                "name": annotation.name, "family": family.name, "values": values, "default": default,
                "fate": SupportLevel::Honoured.name(), "consequence": annotation.doc,
                "example": example(family.syntax, annotation.name),
            })
        })
    });
    let others = UNSUPPORTED.iter().map(|setting| unsupported(setting, String::new()));
    page("annotations", honoured.chain(others))
}

/// The page of ConfigMap keys.
pub(super) fn config_map() -> Value {
    let of_families = FAMILIES.iter().flat_map(|family| {
        family.keys.iter().map(|key| {
            let (values, default) = values_and_default(key.values);
            let example = example(family.syntax, key.name);
            json!({
                "name": key.name, "family": family.name, "values": values, "default": default,
                "fate": SupportLevel::Honoured.name(), "consequence": key.doc, "example": example,
            })
        })
    });
    let is_of_family = |name| FAMILIES.iter().flat_map(|family| family.keys).any(|key| key.name == name);
    let others = config_map_keys().filter(|key| !is_of_family(key.name)).map(|key| match key.support {
        KeySupport::Unsupported { setting, guard } => {
            unsupported(&setting, guard.map(|guard| format!("; {}", guard.describe())).unwrap_or_default())
        }
        KeySupport::Honoured(doc) => entry(key.name, SupportLevel::Honoured, doc),
        KeySupport::NotNeeded(why) => entry(key.name, SupportLevel::WithoutEffect, why),
    });
    page("configmap", of_families.chain(others))
}

/// The page of flags.
pub(super) fn ingress_flags() -> Value {
    let flags = args::ingress_flags().map(|flag| {
        let values = match flag.takes {
            ValueKind::Bool => "true, false",
            ValueKind::Text => "text",
            ValueKind::Number => "a whole number",
            ValueKind::Duration => "a duration, such as 30s",
        };
        let (fate, consequence) = match flag.support {
            FlagSupport::Honoured => (SupportLevel::Honoured, flag.help.to_owned()),
            FlagSupport::NotNeeded => (SupportLevel::WithoutEffect, flag.help.to_owned()),
            FlagSupport::Unsupported { level, consequence, .. } => {
                (SupportLevel::of(level), consequence.to_owned())
            }
        };
        let value = match (flag.default, flag.takes) {
            ("", ValueKind::Bool) => "true",
            ("", ValueKind::Text) => "TEXT",
            ("", ValueKind::Number) => "1",
            ("", ValueKind::Duration) => "30s",
            (default, _) => default,
        };
        json!({
            "name": flag.name, "values": values, "default": (!flag.default.is_empty()).then_some(flag.default),
            "fate": fate.name(), "consequence": consequence, "example": format!("--{}={value}", flag.name),
        })
    });
    page("ingress-flags", flags)
}

/// The page of directives in snippets.
pub(super) fn snippets() -> Value {
    let directives = DIRECTIVES.iter().flat_map(|(group, directives)| {
        directives.iter().map(move |directive| {
            let places: Vec<_> = directive.contexts.iter().map(|context| context.name()).collect();
            json!({
                "name": directive.name, "family": group, "values": directive.arguments, "places": places,
                "fate": directive.fate.name(), "closes the routes": directive.protects && directive.fate.name() == "refused",
                "consequence": directive.doc,
            })
        })
    });
    page("snippets", directives)
}

/// The page of DNS plugins.
pub(super) fn plugins() -> Value {
    let built = PLUGINS.iter().map(|plugin| {
        let metrics = Registry::new();
        (plugin.metrics)(&metrics);
        let metrics: Vec<_> = metrics.descriptions().into_iter().map(|metric| metric.name).collect();
        let option = |option: &PluginOption| {
            let default = (!option.default.is_empty()).then_some(option.default);
            json!({ "name": option.syntax, "default": default, "consequence": option.about })
        };
        let options: Vec<_> = plugin.options.iter().map(option).collect();
        json!({
            "name": plugin.name, "fate": SupportLevel::Honoured.name(), "consequence": plugin.about,
            "options": options, "examples": plugin.syntax, "metrics": metrics,
        })
    });
    let refused = NOT_BUILT
        .iter()
        .map(|name| entry(name, SupportLevel::Refused, "a Corefile with this directive is not loaded"));
    page("plugins", built.chain(refused))
}

/// A page with these entries.
pub(super) fn page(name: &str, entries: impl Iterator<Item = Value>) -> Value {
    json!({ "page": name, "entries": entries.collect::<Vec<_>>() })
}

fn entry(name: &str, fate: SupportLevel, consequence: &str) -> Value {
    let nothing = Value::Null;
    json!({
        "name": name, "values": nothing, "default": nothing, "fate": fate.name(), "consequence": consequence,
        "example": nothing,
    })
}

/// A setting that is not honoured. `unless` names the values for which that makes no difference.
fn unsupported(setting: &UnsupportedSetting, guard: String) -> Value {
    let mut entry = entry(setting.name, SupportLevel::of(setting.level), "");
    entry["consequence"] = format!("{}{guard}", setting.consequence).into();
    let neutral = setting.neutral.to_string();
    entry["level"] = setting.level.to_string().into();
    entry["unless"] = neutral.strip_prefix("unless ").map(str::to_owned).into();
    entry
}

/// The valid values, and the default at their end: `true, false; default false`.
fn values_and_default(values: &str) -> (&str, Option<&str>) {
    match values.split_once("; default ") {
        Some((values, default)) => (values, Some(default)),
        None => (values, None),
    }
}

/// The lines of an example that set a name.
fn example(syntax: &str, name: &str) -> Option<String> {
    let mut lines = syntax.lines().skip_while(|line| {
        let key = line.split_once(':').map(|(key, _)| key.trim().trim_matches('"'));
        key != Some(name)
    });
    let first = lines.next()?;
    let depth = |line: &str| line.len() - line.trim_start().len();
    let more = lines.take_while(|line| depth(line) > depth(first));
    Some([first.trim_start()].into_iter().chain(more).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(page: &Value) -> Vec<&str> {
        page["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_annotation_key_and_flag_has_a_fate_and_a_consequence() {
        let pages = [annotations(), config_map(), ingress_flags()];
        let counts: Vec<_> = pages.iter().map(|page| names(page).len()).collect();
        let annotations =
            FAMILIES.iter().map(|family| family.annotations.len()).sum::<usize>() + UNSUPPORTED.len();
        assert_eq!(counts, [annotations, config_map_keys().count(), args::ingress_flags().count()]);
        for page in &pages {
            let mut seen = std::collections::BTreeSet::new();
            for entry in page["entries"].as_array().unwrap() {
                assert!(seen.insert(entry["name"].as_str()), "twice: {entry}");
                assert!(SupportLevel::ALL.iter().any(|level| entry["fate"] == level.name()), "{entry}");
                assert!(!entry["consequence"].as_str().unwrap().is_empty(), "{entry}");
                for field in ["values", "default", "example"] {
                    assert!(entry.get(field).is_some(), "{field} is missing: {entry}");
                }
            }
        }
    }

    #[test]
    fn an_honoured_annotation_has_values_and_an_example() {
        for entry in annotations()["entries"].as_array().unwrap() {
            if entry["fate"] == "honoured" {
                assert!(!entry["values"].as_str().unwrap().is_empty(), "{entry}");
                let example = entry["example"].as_str().unwrap_or_default();
                assert!(example.starts_with(entry["name"].as_str().unwrap()), "{entry}");
            }
        }
    }

    #[test]
    fn values_end_with_their_default() {
        assert_eq!(values_and_default("true, false; default false"), ("true, false", Some("false")));
        assert_eq!(
            values_and_default("a whole number; 0 for no limit"),
            ("a whole number; 0 for no limit", None)
        );
    }
}
