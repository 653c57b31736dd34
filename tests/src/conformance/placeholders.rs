//! Placeholders `${…}` in the text of a case.

use serde_json::Value;

/// Replaces the placeholders in all texts of `value`. A text that is one placeholder takes the type of its value.
pub(super) fn replace(
    value: &Value,
    lookup: &dyn Fn(&str) -> Result<Value, String>,
) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => replace_text(text, lookup)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| replace(item, lookup)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let key = replace_text(key, lookup)?;
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                Ok((key, replace(value, lookup)?))
            });
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn replace_text(text: &str, lookup: &dyn Fn(&str) -> Result<Value, String>) -> Result<Value, String> {
    if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !name.contains('}')
    {
        return lookup(name);
    }
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').ok_or_else(|| format!("a placeholder without end: {text}"))?;
        let value = lookup(name)?;
        replaced += before;
        replaced += &value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rest = after;
    }
    Ok(Value::String(replaced + rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_that_is_one_placeholder_takes_its_type() {
        let lookup = |name: &str| match name {
            "port" => Ok(json!(8080)),
            "a.0.ip" => Ok(json!("10.0.0.1")),
            other => Err(format!("no {other}")),
        };
        let value = json!({"port": "${port}", "url": ["http://${a.0.ip}:${port}/$x"], "${a.0.ip}": 1});
        let wanted = json!({"port": 8080, "url": ["http://10.0.0.1:8080/$x"], "10.0.0.1": 1});
        assert_eq!(replace(&value, &lookup), Ok(wanted));
        assert_eq!(replace(&json!("a ${b}"), &lookup), Err("no b".to_owned()));
        assert_eq!(replace(&json!("a ${b"), &lookup), Err("a placeholder without end: a ${b".to_owned()));
    }
}
