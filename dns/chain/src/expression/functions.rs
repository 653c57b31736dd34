//! The functions of values, as in expr's builtin/builtin.go.

use super::{EvalError, ExprValue};

/// The names.
pub(super) const FUNCTIONS: [&str; 38] = [
    "abs",
    "bitand",
    "bitor",
    "bitshl",
    "bitshr",
    "bitxor",
    "ceil",
    "concat",
    "first",
    "float",
    "floor",
    "get",
    "hasPrefix",
    "hasSuffix",
    "indexOf",
    "int",
    "join",
    "last",
    "lastIndexOf",
    "len",
    "lower",
    "max",
    "mean",
    "min",
    "repeat",
    "replace",
    "reverse",
    "round",
    "split",
    "splitAfter",
    "string",
    "sum",
    "take",
    "trim",
    "trimPrefix",
    "trimSuffix",
    "uniq",
    "upper",
];

/// The longest text that `repeat`, `replace` and `join` make, in bytes.
const MAX_TEXT: usize = 1 << 16;

pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// The value of a function.
pub(super) fn call(name: &str, arguments: &[ExprValue]) -> Result<ExprValue, EvalError> {
    let found = match arguments.first() {
        Some(ExprValue::Text(first)) => of_text(name, first, &arguments[1..]),
        Some(ExprValue::List(first)) => of_list(name, first, &arguments[1..]),
        Some(first) => of_number(name, first, &arguments[1..]),
        None => None,
    };
    let found = found.or_else(|| of_any(name, arguments));
    found.unwrap_or_else(|| Err(format!("{name} cannot be called with these arguments")))
}

fn of_text(name: &str, text: &str, rest: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
    let owned = |text: &str| ExprValue::Text(text.to_owned());
    let position = |at: Option<usize>| ExprValue::Int(at.map_or(-1, |at| at as i64));
    let parts = |parts: Vec<&str>| ExprValue::List(parts.into_iter().map(owned).collect());
    Some(Ok(match (name, rest) {
        ("int", []) => {
            return Some(
                text.parse().map(ExprValue::Int).map_err(|_| format!("int: {text:?} is not a number")),
            );
        }
        ("float", []) => {
            return Some(
                text.parse().map(ExprValue::Float).map_err(|_| format!("float: {text:?} is not a number")),
            );
        }
        ("len", []) => ExprValue::Int(text.chars().count() as i64),
        ("lower", []) => ExprValue::Text(text.to_lowercase()),
        ("upper", []) => ExprValue::Text(text.to_uppercase()),
        ("trim", []) => owned(text.trim()),
        ("trim", [ExprValue::Text(chars)]) => owned(text.trim_matches(|ch| chars.contains(ch))),
        ("trimPrefix", []) => owned(text.strip_prefix(' ').unwrap_or(text)),
        ("trimSuffix", []) => owned(text.strip_suffix(' ').unwrap_or(text)),
        ("trimPrefix", [ExprValue::Text(prefix)]) => owned(text.strip_prefix(&**prefix).unwrap_or(text)),
        ("trimSuffix", [ExprValue::Text(suffix)]) => owned(text.strip_suffix(&**suffix).unwrap_or(text)),
        ("hasPrefix", [ExprValue::Text(prefix)]) => ExprValue::Bool(text.starts_with(&**prefix)),
        ("hasSuffix", [ExprValue::Text(suffix)]) => ExprValue::Bool(text.ends_with(&**suffix)),
        ("indexOf", [ExprValue::Text(part)]) => position(text.find(&**part)),
        ("lastIndexOf", [ExprValue::Text(part)]) => position(text.rfind(&**part)),
        ("split", [ExprValue::Text(by)]) => parts(split(text, by, usize::MAX)),
        ("split", [ExprValue::Text(by), ExprValue::Int(most)]) => {
            parts(split(text, by, usize::try_from(*most).unwrap_or(usize::MAX)))
        }
        ("splitAfter", [ExprValue::Text(by)]) if !by.is_empty() => {
            // Go keeps an empty text behind a separator at the end.
            let mut found: Vec<&str> = text.split_inclusive(&**by).collect();
            found.extend((text.is_empty() || text.ends_with(&**by)).then_some(""));
            parts(found)
        }
        ("replace", [ExprValue::Text(old), ExprValue::Text(new)]) => {
            return Some(bounded(text.replace(&**old, new)));
        }
        ("replace", [ExprValue::Text(old), ExprValue::Text(new), ExprValue::Int(most)]) => {
            let most = usize::try_from(*most).unwrap_or(usize::MAX);
            return Some(bounded(text.replacen(&**old, new, most)));
        }
        ("repeat", [ExprValue::Int(times)]) => {
            let times =
                usize::try_from(*times).ok().filter(|times| times.saturating_mul(text.len()) <= MAX_TEXT);
            return Some(times.map(|times| ExprValue::Text(text.repeat(times))).ok_or_else(too_long));
        }
        _ => return None,
    }))
}

fn of_list(name: &str, list: &[ExprValue], rest: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
    Some(Ok(match (name, rest) {
        ("len", []) => ExprValue::Int(list.len() as i64),
        ("first", []) => list.first().cloned().unwrap_or(ExprValue::Nil),
        ("last", []) => list.last().cloned().unwrap_or(ExprValue::Nil),
        ("get", [ExprValue::Int(at)]) => element(list, *at).cloned().unwrap_or(ExprValue::Nil),
        ("take", [ExprValue::Int(count)]) => {
            let Ok(count) = usize::try_from(*count) else {
                return Some(Err(format!("take of {count} values")));
            };
            ExprValue::List(list[..count.min(list.len())].to_vec())
        }
        ("reverse", []) => ExprValue::List(list.iter().rev().cloned().collect()),
        ("uniq", []) => {
            let mut kept: Vec<ExprValue> = Vec::new();
            for value in list {
                if !kept.iter().any(|known| known.equals(value)) {
                    kept.push(value.clone());
                }
            }
            ExprValue::List(kept)
        }
        ("concat", rest) => {
            let mut joined = list.to_vec();
            for more in rest {
                match more.list() {
                    Ok(more) => joined.extend_from_slice(more),
                    Err(error) => return Some(Err(error)),
                }
            }
            ExprValue::List(joined)
        }
        ("join", [] | [ExprValue::Text(_)]) => {
            let texts: Result<Vec<&str>, EvalError> = list.iter().map(ExprValue::text).collect();
            let between = rest.first().and_then(|by| by.text().ok()).unwrap_or_default();
            return Some(texts.and_then(|texts| bounded(texts.join(between))));
        }
        ("sum" | "mean" | "max" | "min", []) => return Some(of_numbers(name, list)),
        _ => return None,
    }))
}

fn of_number(name: &str, value: &ExprValue, rest: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
    Some(Ok(match (name, value, rest) {
        ("int", ExprValue::Int(value), []) => ExprValue::Int(*value),
        ("int", ExprValue::Float(value), []) => ExprValue::Int(*value as i64),
        ("float", value, []) => ExprValue::Float(value.number()?),
        ("abs", ExprValue::Int(value), []) => {
            return Some(
                value.checked_abs().map(ExprValue::Int).ok_or_else(|| "abs: out of range".to_owned()),
            );
        }
        ("abs", ExprValue::Float(value), []) => ExprValue::Float(value.abs()),
        ("ceil", value, []) => ExprValue::Float(value.number()?.ceil()),
        ("floor", value, []) => ExprValue::Float(value.number()?.floor()),
        ("round", value, []) => ExprValue::Float(value.number()?.round()),
        ("bitand", ExprValue::Int(left), [ExprValue::Int(right)]) => ExprValue::Int(left & right),
        ("bitor", ExprValue::Int(left), [ExprValue::Int(right)]) => ExprValue::Int(left | right),
        ("bitxor", ExprValue::Int(left), [ExprValue::Int(right)]) => ExprValue::Int(left ^ right),
        ("bitshl" | "bitshr", ExprValue::Int(left), [ExprValue::Int(by)]) => {
            let Ok(by) = u32::try_from(*by) else { return Some(Err(format!("{name} by {by} bits"))) };
            let shifted = if name == "bitshl" { left.checked_shl(by) } else { left.checked_shr(by) };
            ExprValue::Int(shifted.unwrap_or(0))
        }
        _ => return None,
    }))
}

fn of_any(name: &str, arguments: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
    match (name, arguments) {
        ("string", [value]) => Some(Ok(ExprValue::Text(value.to_string()))),
        ("max" | "min" | "mean", [_, ..]) => Some(of_numbers(name, arguments)),
        _ => None,
    }
}

/// `sum`, `mean`, `max` and `min` of numbers.
fn of_numbers(name: &str, values: &[ExprValue]) -> Result<ExprValue, EvalError> {
    let number = |value: &ExprValue| value.number().ok_or_else(|| format!("{name}: {value} is not a number"));
    let numbers: Vec<f64> = values.iter().map(number).collect::<Result<_, _>>()?;
    let total: f64 = numbers.iter().sum();
    match name {
        "sum" if values.iter().all(|value| matches!(value, ExprValue::Int(_))) => {
            Ok(ExprValue::Int(total as i64))
        }
        "sum" => Ok(ExprValue::Float(total)),
        "mean" => Ok(ExprValue::Float(if numbers.is_empty() { 0.0 } else { total / numbers.len() as f64 })),
        _ => {
            let better = |left: &&ExprValue, right: &&ExprValue| {
                left.compare(right).unwrap_or(std::cmp::Ordering::Equal)
            };
            let found =
                if name == "max" { values.iter().max_by(better) } else { values.iter().min_by(better) };
            found.cloned().ok_or_else(|| format!("{name} of an empty array"))
        }
    }
}

/// The value at an index, which counts from the end if it is negative.
pub(super) fn element(list: &[ExprValue], at: i64) -> Option<&ExprValue> {
    let at = if at < 0 { at.checked_add_unsigned(list.len() as u64)? } else { at };
    list.get(usize::try_from(at).ok()?)
}

/// Like Go's strings.SplitN: an empty separator splits between characters.
fn split<'t>(text: &'t str, by: &str, most: usize) -> Vec<&'t str> {
    if !by.is_empty() {
        return text.splitn(most, by).collect();
    }
    let mut parts: Vec<&str> = text.split("").filter(|part| !part.is_empty()).collect();
    if parts.len() > most {
        let rest: usize = parts[..most.saturating_sub(1)].iter().map(|part| part.len()).sum();
        parts.truncate(most.saturating_sub(1));
        parts.push(&text[rest..]);
    }
    parts
}

fn bounded(text: String) -> Result<ExprValue, EvalError> {
    if text.len() <= MAX_TEXT { Ok(ExprValue::Text(text)) } else { Err(too_long()) }
}

fn too_long() -> EvalError {
    format!("a text has more than {MAX_TEXT} bytes")
}
