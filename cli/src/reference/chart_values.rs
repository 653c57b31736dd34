//! The values of the Helm chart, from its `values.yaml`: the line above a key describes it.

/// The chart's values file.
const VALUES: &str = include_str!("../../../charts/portolan/values.yaml");

/// A key of the values file.
struct Value<'a> {
    /// The path of the key, such as `controller.image.tag`.
    path: String,
    /// The text after the colon; empty if the value is on the next lines.
    default: &'a str,
    /// The comment above the key.
    meaning: String,
}

/// The page: a table for each key of the root that has keys, and one for the others.
pub fn page() -> String {
    let values = values(VALUES);
    let is_block = |root: &str| values.iter().any(|value| value.path.starts_with(&format!("{root}.")));
    let mut text = "# Values of the chart `charts/portolan`\n\n\
        Keys of the ingress controller are those of the ingress-nginx chart; keys below `dns` are those of the coredns chart. Old keys of both charts \
        that have no effect, or are refused, are listed in `charts/portolan/compat.yaml`.\n\
        \n| key | default | meaning |\n|---|---|---|\n"
        .to_owned();
    let roots = || values.iter().filter(|value| !value.path.contains('.'));
    roots().filter(|value| !is_block(&value.path)).for_each(|value| text += &row(value));
    for root in roots().filter(|value| is_block(&value.path)) {
        text += &format!(
            "\n## {}\n\n{}\n\n| key | default | meaning |\n|---|---|---|\n",
            root.path, root.meaning
        );
        let prefix = format!("{}.", root.path);
        let below = values.iter().filter(|value| value.path.starts_with(&prefix));
        below.for_each(|value| text += &row(value));
    }
    text
}

/// The page, as JSON.
pub(super) fn json() -> serde_json::Value {
    let entries = values(VALUES).into_iter().map(|value| {
        let default = (!value.default.is_empty()).then_some(value.default);
        serde_json::json!({ "name": value.path, "default": default, "consequence": value.meaning })
    });
    super::json::page("chart-values", entries)
}

fn row(value: &Value<'_>) -> String {
    let default = if value.default.is_empty() { String::new() } else { format!("`{}`", value.default) };
    format!("| `{}` | {default} | {} |\n", value.path, value.meaning).replace("||", "\\|\\|")
}

/// Reads the keys with a comment. Keys without one belong to the value of the key above.
fn values(text: &str) -> Vec<Value<'_>> {
    let mut values = Vec::new();
    let mut parents: Vec<(usize, &str)> = Vec::new();
    let mut comment = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let depth = line.len() - trimmed.len();
        if let (false, Some((key, default))) = (comment.is_empty(), trimmed.split_once(':')) {
            parents.retain(|(at, _)| *at < depth);
            parents.push((depth, key));
            let path: Vec<&str> = parents.iter().map(|(_, key)| *key).collect();
            values.push(Value { path: path.join("."), default: default.trim(), meaning: comment.join(" ") });
        }
        comment.clear();
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_path_their_default_and_the_comment_above() {
        let text = "# About the file.\n\n# One.\na: 1\n# A block.\nb:\n  # Inner.\n  c: {}\n  # A list.\n  d:\n    - e: 1\n# Last.\nf: \"\"\n";
        let found: Vec<String> = values(text)
            .iter()
            .map(|value| format!("{}={} {}", value.path, value.default, value.meaning))
            .collect();
        assert_eq!(found, ["a=1 One.", "b= A block.", "b.c={} Inner.", "b.d= A list.", "f=\"\" Last."]);
    }
}
