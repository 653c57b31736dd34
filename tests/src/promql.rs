//! The vectors in a PromQL expression.

/// A vector selector: the name of a metric and its matchers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VectorSelector {
    /// The metric, with the suffix `_bucket`, `_sum` or `_count` of a histogram.
    pub metric: String,
    /// The matchers with their braces; empty if there are none.
    pub matchers: String,
}

/// Words after which a list of labels follows.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Words between vectors.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The vector selectors of an expression, in order. The expression has to be valid, which Prometheus checks.
pub fn selectors(expression: &str) -> Vec<VectorSelector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '[' || first.is_ascii_digit() {
            // A range such as `[5m]`, or a number.
            let end = if first == '[' { rest.find(']') } else { rest.find(|ch| !is_word(ch) && ch != '.') };
            rest = after(rest, end);
        } else if is_word(first) {
            let end = rest.find(|ch| !is_word(ch)).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            rest = tail.trim_start();
            if BEFORE_LABELS.contains(&word) && rest.starts_with('(') {
                rest = after(rest, rest.find(')'));
            } else if !is_function(rest) && !BEFORE_LABELS.contains(&word) && !OPERATORS.contains(&word) {
                let (matchers, tail) = rest.split_at(end_of_matchers(rest));
                found.push(VectorSelector { metric: word.to_owned(), matchers: matchers.to_owned() });
                rest = tail;
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Whether a function or an aggregation stands before the text: `rate (x)`, `sum by (y) (x)`.
fn is_function(following: &str) -> bool {
    let word = following.split(|ch| !is_word(ch)).next();
    following.starts_with('(') || matches!(word, Some("by" | "without"))
}

fn is_word(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || ch == '_' || ch == ':'
}

fn after(text: &str, end: Option<usize>) -> &str {
    end.and_then(|end| text.get(end + 1..)).unwrap_or_default()
}

/// The end of the matchers at the start of a text, if there are any. Braces in quoted values do not count.
fn end_of_matchers(text: &str) -> usize {
    if !text.starts_with('{') {
        return 0;
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, ch) in text.char_indices() {
        match ch {
            '"' if !escaped => quoted = !quoted,
            '}' if !quoted => return at + 1,
            _ => {}
        }
        escaped = ch == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_found_and_nothing_else() {
        for (expression, wanted) in [
            ("up", vec!["up"]),
            ("absent(up{job=\"a\"} == 1)", vec!["up{job=\"a\"}"]),
            (
                "sum by (le, to) (rate(x_bucket{a=\"}\\\"\", b!=\"\"}[5m])) > 4",
                vec!["x_bucket{a=\"}\\\"\", b!=\"\"}"],
            ),
            ("sum(rate(x[5m])) by (le) / 100 * sum(y{})", vec!["x", "y{}"]),
            ("(x and on (job, instance) y) == 0", vec!["x", "y"]),
            ("count(x == 0) or vector(0)", vec!["x"]),
            ("time() - max by (kind) (x) < 604800", vec!["x"]),
            ("histogram_quantile(0.99, x) or y offset 5m", vec!["x", "y"]),
        ] {
            let shown: Vec<_> =
                selectors(expression).iter().map(|one| format!("{}{}", one.metric, one.matchers)).collect();
            assert_eq!(shown, wanted, "{expression}");
        }
    }
}
