//! Checks a value against a JSON schema, as far as the schema of the chart goes.

use regex::Regex;
use serde_json::Value;

/// Words that YAML 1.1, which Helm reads, takes as booleans.
const BOOLEANS: [&str; 8] = ["yes", "no", "on", "off", "y", "n", "true", "false"];

/// The value that the schema expects instead; `None` if the value fits.
pub(super) fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    // Helm removes keys that are null before it checks values.
    if value.is_null() {
        return None;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("one of {}", words(allowed)));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| has_type(value, name)) {
        return Some(types.join(" or "));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !matches(pattern, text)
    {
        return Some(format!("text that matches {pattern}"));
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| mismatch(&schema["items"], item)),
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
                return Some(format!("a map with the key {missing}"));
            }
            let pattern = schema["propertyNames"]["pattern"].as_str();
            if let Some(wrong) =
                fields.keys().find(|name| pattern.is_some_and(|pattern| !matches(pattern, name)))
            {
                return Some(format!("keys that match {}, not {wrong}", pattern.unwrap_or_default()));
            }
            fields.iter().find_map(|(name, inner)| {
                let property = match &schema["properties"][name] {
                    Value::Null => &schema["additionalProperties"],
                    property => property,
                };
                if *property == Value::Bool(false) {
                    return Some(format!("no key {name}"));
                }
                mismatch(property, inner).map(|wanted| format!("{wanted} as {name}"))
            })
        }
        _ => None,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => {
            let is_word = |text: &str| BOOLEANS.contains(&text.to_ascii_lowercase().as_str());
            value.is_boolean() || value.as_str().is_some_and(is_word)
        }
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn words(allowed: &[Value]) -> String {
    let words = allowed.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_does_not_fit_is_named_with_what_is_wanted() {
        let ports = json!({ "type": "object", "propertyNames": { "pattern": "^[0-9]+$" } });
        for (schema, value, wanted) in [
            (json!({ "type": "string" }), json!("a"), None),
            (json!({ "type": "string" }), json!(1), Some("string")),
            (json!({ "type": ["integer", "string"], "pattern": "^[0-9]+$" }), json!("12"), None),
            (
                json!({ "type": ["integer", "string"], "pattern": "^[0-9]+$" }),
                json!("two"),
                Some("text that matches ^[0-9]+$"),
            ),
            (json!({ "type": "boolean" }), json!("yes"), None),
            (json!({ "type": "boolean" }), json!("maybe"), Some("boolean")),
            (json!({ "enum": ["a", "b"] }), json!("c"), Some("one of a, b")),
            (json!({ "type": "array", "items": { "type": "string" } }), json!(["a", 1]), Some("string")),
            (ports.clone(), json!({ "80": "a" }), None),
            (ports, json!({ "http": "a" }), Some("keys that match ^[0-9]+$, not http")),
            (
                json!({ "additionalProperties": { "type": "string" } }),
                json!({ "a": [] }),
                Some("string as a"),
            ),
            (
                json!({ "additionalProperties": false, "properties": { "a": {} } }),
                json!({ "b": 1 }),
                Some("no key b"),
            ),
            (json!({ "required": ["name"] }), json!({}), Some("a map with the key name")),
            (json!({ "type": "string" }), Value::Null, None),
        ] {
            assert_eq!(mismatch(&schema, &value).as_deref(), wanted, "{value} for {schema}");
        }
    }
}
