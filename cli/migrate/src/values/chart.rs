//! What Portolan's chart says about its keys: `values.schema.json` and `compat.yaml`.

use serde::Deserialize;
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../../charts/portolan/values.schema.json");
const COMPAT: &str = include_str!("../../../../charts/portolan/compat.yaml");

/// How descriptions in the schema begin of keys that are known and belong elsewhere.
const MISPLACED: &str = "Misplaced:";

/// How descriptions in the schema begin of keys of the originals that the chart does not have.
const WITHOUT_EFFECT: &str = "Accepted without effect";

/// The chart's data.
pub(super) struct Chart {
    /// The schema of the values.
    pub(super) schema: Value,
    /// Keys of the originals that the chart does not honour.
    pub(super) compat: Compat,
}

/// The content of `compat.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compat {
    pub(super) refused: Vec<CompatKey>,
    pub(super) closed: Vec<CompatKey>,
    pub(super) differs: Vec<CompatKey>,
    pub(super) no_effect: Vec<CompatKey>,
    pub(super) rules: Vec<KeyRule>,
    /// The plugins of this version.
    pub(super) plugins: Vec<String>,
    /// The flags of `portolan ingress`.
    pub(super) flags: Vec<String>,
}

/// A key with the reason why it is listed.
#[derive(Deserialize)]
pub(super) struct CompatKey {
    pub(super) key: String,
    pub(super) reason: String,
    /// A value with which the key counts as not set.
    #[serde(default)]
    pub(super) neutral: Value,
}

/// A key that needs another one, or excludes one.
#[derive(Deserialize)]
pub(super) struct KeyRule {
    pub(super) key: String,
    pub(super) needs: Option<String>,
    pub(super) excludes: Option<String>,
    pub(super) reason: String,
}

/// The kind of a key, as its description in the schema gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// A key of the chart.
    Own,
    /// A key of the originals without effect.
    WithoutEffect,
    /// A key that belongs elsewhere.
    Misplaced,
}

impl Chart {
    /// Reads the data. Tests read it as well, so that it is valid.
    pub(super) fn read() -> Self {
        Self {
            schema: serde_json::from_str(SCHEMA).expect("the chart's schema is JSON"),
            compat: serde_saphyr::from_str(COMPAT).expect("the chart's compat.yaml has this form"),
        }
    }

    /// Whether a key is one of the chart in this part of the schema.
    pub(super) fn is_own_key(&self, schema: &Value, key: &str) -> bool {
        let property = &schema["properties"][key];
        property.is_object() && key_kind(property) != KeyKind::Misplaced
    }

    /// The places where the chart has a key of this name, of those where it is often misplaced.
    pub(super) fn places(&self, key: &str) -> Vec<String> {
        let below = ["controller", "dns"];
        let is_there = |part: &&str| self.is_own_key(&self.schema["properties"][*part], key);
        below.into_iter().filter(is_there).map(|part| format!("{part}.{key}")).collect()
    }
}

impl CompatKey {
    /// Whether a value counts as set, as in the chart's templates: neither empty nor neutral.
    pub(super) fn is_set(&self, value: &Value) -> bool {
        !is_empty(value) && *value != self.neutral
    }
}

/// Reads the kind of a key from its description in the schema.
pub(super) fn key_kind(property: &Value) -> KeyKind {
    let description = description(property);
    if description.starts_with(MISPLACED) {
        KeyKind::Misplaced
    } else if description.starts_with(WITHOUT_EFFECT) {
        KeyKind::WithoutEffect
    } else {
        KeyKind::Own
    }
}

/// The description in the schema.
pub(super) fn description(property: &Value) -> &str {
    property["description"].as_str().unwrap_or_default()
}

/// Whether a value is empty in the sense of Helm's templates.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
