//! What becomes of each key of a values file.

use config::nearest;
use ingress_routes::config_map_keys;
use ingress_routes::globals::KeySupport;
use serde_json::{Map, Value};

use super::chart::{Chart, Compat, KeyKind, KeyRule, description, is_empty, key_kind};
use super::outcome::{Finding, KeyOutcome};
use super::path::ValuePath;
use super::schema::mismatch;

/// Says what is different because a flag of `portolan ingress` with this value is not honoured; `None` if it is honoured.
pub type FlagConsequence<'f> = &'f dyn Fn(&str, &str) -> Option<&'static str>;

/// Finds out what becomes of each key of Portolan's values.
pub(super) fn examine(chart: &Chart, values: &Value, flag: FlagConsequence<'_>) -> Vec<Finding> {
    let mut examination = Examination { chart, flag, findings: Vec::new() };
    examination.walk(&chart.schema, values, &ValuePath::default(), None);
    examination.images(values);
    examination.server_blocks(values);
    examination.rules(values);
    examination.findings
}

/// A key that the chart accepts and does not use.
#[derive(Clone, Copy)]
struct Idle<'s> {
    /// Its description in the schema.
    description: &'s str,
    outcome: KeyOutcome,
}

impl<'s> Idle<'s> {
    /// The outcome that a description states: `No effect in this version` is something that is missing, `No effect` something that is not needed.
    fn of(description: &'s str) -> Option<Self> {
        let outcome = if description.starts_with("No effect in this version") {
            KeyOutcome::Differs
        } else if description.starts_with("No effect") || description.contains("have no effect") {
            KeyOutcome::NoEffect
        } else {
            return None;
        };
        Some(Self { description, outcome })
    }
}

struct Examination<'c> {
    chart: &'c Chart,
    flag: FlagConsequence<'c>,
    findings: Vec<Finding>,
}

impl Examination<'_> {
    /// Records what becomes of a key. Of several outcomes of one key, the worst is kept.
    fn record(
        &mut self,
        path: &ValuePath,
        outcome: KeyOutcome,
        reason: impl Into<String>,
        removed: Option<ValuePath>,
    ) {
        let finding = Finding { path: path.clone(), line: None, outcome, reason: reason.into(), removed };
        match self.findings.iter_mut().find(|known| known.path == *path) {
            Some(known) if known.outcome <= outcome => {}
            Some(known) => *known = finding,
            None => self.findings.push(finding),
        }
    }

    fn refuse(&mut self, path: &ValuePath, reason: impl Into<String>) {
        self.record(path, KeyOutcome::Refused, reason, Some(path.clone()));
    }

    /// Examines a value. `idle` is that of a block around it.
    fn walk(&mut self, schema: &Value, value: &Value, path: &ValuePath, idle: Option<Idle<'_>>) {
        match value {
            Value::Object(fields) if schema["properties"].is_object() && !fields.is_empty() => {
                for (key, inner) in fields {
                    self.key(schema, key, inner, &path.key(key), idle);
                }
            }
            Value::Array(items) if schema["items"]["properties"].is_object() && !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(&schema["items"], item, &path.item(index), idle);
                }
            }
            _ => match (mismatch(schema, value), idle) {
                (Some(wanted), _) => self.refuse(path, format!("{value} is not valid; wanted {wanted}")),
                (None, Some(idle)) if !is_empty(value) => {
                    self.record(path, idle.outcome, idle.description, None)
                }
                _ => self.entries(value, path),
            },
        }
    }

    fn key(&mut self, schema: &Value, key: &str, value: &Value, path: &ValuePath, idle: Option<Idle<'_>>) {
        let property = &schema["properties"][key];
        match self.listed(path, value) {
            Some((KeyOutcome::Refused, reason)) => return self.refuse(path, reason),
            Some((outcome, reason)) => {
                return match mismatch(property, value) {
                    Some(wanted) => self.refuse(path, format!("{value} is not valid; wanted {wanted}")),
                    None => self.record(path, outcome, reason, None),
                };
            }
            None => {}
        }
        if property.is_null() {
            if schema["additionalProperties"] != Value::Bool(false) {
                let (outcome, reason) =
                    idle.map_or((KeyOutcome::Honoured, ""), |idle| (idle.outcome, idle.description));
                return self.record(path, outcome, reason, None);
            }
            return self.record(path, KeyOutcome::Unknown, self.suggestion(schema, key), Some(path.clone()));
        }
        match key_kind(property) {
            KeyKind::Misplaced => {
                let places = self.chart.places(key).join(" or ");
                let reason = format!("is not a key of the root; did you mean {places}?");
                return self.record(path, KeyOutcome::Unknown, reason, Some(path.clone()));
            }
            // With a value that counts as set, it would be in one of the lists.
            KeyKind::WithoutEffect => return self.record(path, KeyOutcome::Honoured, "", None),
            KeyKind::Own => {}
        }
        self.walk(property, value, path, Idle::of(description(property)).or(idle));
    }

    /// What `compat.yaml` says about a key with this value.
    fn listed(&self, path: &ValuePath, value: &Value) -> Option<(KeyOutcome, String)> {
        let name = path.to_string();
        let Compat { refused, closed, differs, no_effect, .. } = &self.chart.compat;
        let lists = [
            (KeyOutcome::Refused, refused),
            (KeyOutcome::Closed, closed),
            (KeyOutcome::Differs, differs),
            (KeyOutcome::NoEffect, no_effect),
        ];
        lists.into_iter().find_map(|(outcome, keys)| {
            let entry = keys.iter().find(|entry| entry.key == name && entry.is_set(value))?;
            Some((outcome, entry.reason.clone()))
        })
    }

    /// What may have been meant by an unknown key.
    fn suggestion(&self, schema: &Value, key: &str) -> String {
        let places = self.chart.places(key);
        if !places.is_empty() {
            return format!("did you mean {}?", places.join(" or "));
        }
        let known: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let begins = |name: &&str| key.len() > 3 && name.starts_with(key);
        nearest(key, &known)
            .or_else(|| known.iter().copied().find(begins))
            .map_or_else(|| "neither chart has this key".to_owned(), |name| format!("did you mean {name}?"))
    }

    /// Records a value whose schema says nothing about keys below it. The keys of the ConfigMap and the flags have outcomes of their own.
    fn entries(&mut self, value: &Value, path: &ValuePath) {
        match (path.to_string().as_str(), value) {
            ("controller.config", Value::Object(settings)) => self.settings(settings, path),
            ("controller.extraArgs", Value::Object(flags)) => self.flags(flags, path),
            _ => self.record(path, KeyOutcome::Honoured, "", None),
        }
    }

    fn settings(&mut self, settings: &Map<String, Value>, path: &ValuePath) {
        for (name, value) in settings {
            let path = path.key(name);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match config_map_keys().find(|key| key.name == name).map(|key| key.support) {
                None => {
                    let names: Vec<&str> = config_map_keys().map(|key| key.name).collect();
                    let meant = nearest(name, &names).map(|name| format!("; did you mean {name}?"));
                    self.record(
                        &path,
                        KeyOutcome::Differs,
                        format!("is not known{}", meant.unwrap_or_default()),
                        None,
                    );
                }
                Some(KeySupport::Honoured(_)) => self.record(&path, KeyOutcome::Honoured, "", None),
                Some(KeySupport::NotNeeded(reason)) => self.record(&path, KeyOutcome::NoEffect, reason, None),
                Some(KeySupport::Unsupported { setting, guard }) => {
                    let consequence = match (setting.explain(&text), guard) {
                        (Some(reason), Some(guard)) => {
                            Some((KeyOutcome::Closed, format!("{reason}; {}", guard.describe())))
                        }
                        (reason, _) => reason.map(|reason| (KeyOutcome::Differs, reason)),
                    };
                    let (outcome, reason) = consequence.unwrap_or((KeyOutcome::Honoured, String::new()));
                    self.record(&path, outcome, reason, None);
                }
            }
        }
    }

    fn flags(&mut self, flags: &Map<String, Value>, path: &ValuePath) {
        let known: Vec<&str> = self.chart.compat.flags.iter().map(String::as_str).collect();
        for (name, value) in flags {
            let path = path.key(name);
            if let Some((outcome, reason)) = self.listed(&path, value) {
                self.record(&path, outcome, reason, None);
                continue;
            }
            if known.contains(&name.as_str()) {
                // A flag without a value is one that is switched on.
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let text = if is_empty(value) && !value.is_boolean() { "true" } else { &text };
                match (self.flag)(name, text) {
                    Some(consequence) => self.record(&path, KeyOutcome::Differs, consequence, None),
                    None => self.record(&path, KeyOutcome::Honoured, "", None),
                }
                continue;
            }
            let meant = nearest(name, &known).map(|name| format!("; did you mean {name}?"));
            self.refuse(
                &path,
                format!("`portolan ingress` has no flag --{name}{}", meant.unwrap_or_default()),
            );
        }
    }

    /// Images of the originals, which cannot run Portolan.
    fn images(&mut self, values: &Value) {
        for (block, program, keys) in [
            ("controller.image", "nginx", &["repository", "image"][..]),
            ("dns.image", "coredns", &["repository"]),
        ] {
            let block = ValuePath::of(block);
            let Some(image) = block.get(values) else { continue };
            let given = |key: &&&str| !is_empty(&image[**key]);
            let named = keys.iter().find(given);
            let is_of_original =
                named.is_some_and(|key| image[*key].as_str().is_some_and(|name| name.contains(program)));
            if named.is_some() && !is_of_original {
                continue;
            }
            for key in keys.iter().chain(&["tag", "digest", "digestChroot"]).filter(given) {
                let reason =
                    format!("pins the image of {program}; `image` at the root names that of Portolan");
                self.refuse(&block.key(key), reason);
            }
        }
    }

    /// Plugins and protocols that this version does not have.
    fn server_blocks(&mut self, values: &Value) {
        let servers = ValuePath::of("dns.servers");
        let blocks = servers.get(values).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let plugins = &self.chart.compat.plugins;
        let mut used = Vec::new();
        for (block, server) in blocks.iter().enumerate() {
            let at = servers.item(block);
            for (index, plugin) in server["plugins"].as_array().into_iter().flatten().enumerate() {
                let Some(name) = plugin["name"].as_str() else { continue };
                used.push(name);
                if name != "import" && !plugins.iter().any(|known| known == name) {
                    let item = at.key("plugins").item(index);
                    let reason = format!("this version has no plugin {name}; it has {}", plugins.join(", "));
                    self.record(&item.key("name"), KeyOutcome::Refused, reason, Some(item));
                }
            }
            for (index, zone) in server["zones"].as_array().into_iter().flatten().enumerate() {
                let Some(scheme) = zone["scheme"].as_str().filter(|scheme| !["", "dns://"].contains(scheme))
                else {
                    continue;
                };
                let item = at.key("zones").item(index);
                self.record(
                    &item.key("scheme"),
                    KeyOutcome::Refused,
                    format!("this version does not serve {scheme}"),
                    Some(item),
                );
            }
        }
        let own_corefile = ["existingConfigMap", "deployment.skipConfig"].iter().any(|key| {
            ValuePath::of(&format!("dns.{key}")).get(values).is_some_and(|value| !is_empty(value))
        });
        if blocks.is_empty() || own_corefile {
            return;
        }
        for (probe, plugin) in [("livenessProbe", "health"), ("readinessProbe", "ready")] {
            let path = ValuePath::of(&format!("dns.{probe}.enabled"));
            if !used.contains(&plugin) && path.get(values) != Some(&Value::Bool(false)) {
                self.record(
                    &path,
                    KeyOutcome::Refused,
                    format!("needs the plugin {plugin} in a server block; set it to false"),
                    None,
                );
            }
        }
    }

    /// Keys that need another one, or exclude one.
    fn rules(&mut self, values: &Value) {
        let is_set = |key: &str| ValuePath::of(key).get(values).is_some_and(|value| !is_empty(value));
        for KeyRule { key, needs, excludes, reason } in &self.chart.compat.rules {
            let is_missing = needs.as_ref().is_some_and(|other| !is_set(other));
            let is_excluded = excludes.as_ref().is_some_and(|other| is_set(other));
            if is_set(key) && (is_missing || is_excluded) {
                self.refuse(&ValuePath::of(key), reason.clone());
            }
        }
    }
}
