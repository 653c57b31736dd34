//! The binary operators of an expression.

use std::cmp::Ordering;

use regex::Regex;

use super::{EvalError, ExprValue};

/// The most values of a range such as `1..9`.
const MAX_RANGE: i64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `|`: the value is the first argument of the function behind it.
    Pipe,
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    /// `??`: the right value if the left one is nil.
    Default,
}

/// The operators by sign or word, and how strongly each binds (expr, parser/operator/operator.go).
pub(super) const OPERATORS: &[(&str, Operator, u8)] = &[
    ("|", Operator::Pipe, 0),
    ("||", Operator::Or, 1),
    ("or", Operator::Or, 1),
    ("&&", Operator::And, 2),
    ("and", Operator::And, 2),
    ("==", Operator::Equal, 3),
    ("!=", Operator::NotEqual, 3),
    ("<", Operator::Less, 3),
    ("<=", Operator::LessEqual, 3),
    (">", Operator::Greater, 3),
    (">=", Operator::GreaterEqual, 3),
    ("in", Operator::In, 3),
    ("contains", Operator::Contains, 3),
    ("startsWith", Operator::StartsWith, 3),
    ("endsWith", Operator::EndsWith, 3),
    ("matches", Operator::Matches, 3),
    ("..", Operator::Range, 4),
    ("+", Operator::Add, 5),
    ("-", Operator::Subtract, 5),
    ("*", Operator::Multiply, 7),
    ("/", Operator::Divide, 7),
    ("%", Operator::Remainder, 7),
    ("**", Operator::Power, 9),
    ("^", Operator::Power, 9),
    ("??", Operator::Default, 10),
];

/// How strongly `not` and `!` bind, and a sign before a number.
pub(super) const NOT_STRENGTH: u8 = 6;
pub(super) const SIGN_STRENGTH: u8 = 8;

impl Operator {
    /// Whether `not` may stand before it.
    pub(super) fn is_negatable(self) -> bool {
        matches!(self, Self::In | Self::Contains | Self::StartsWith | Self::EndsWith | Self::Matches)
    }

    /// The value of two operands.
    pub(super) fn apply(self, left: &ExprValue, right: &ExprValue) -> Result<ExprValue, EvalError> {
        let compared = || left.compare(right).ok_or_else(|| format!("{left} and {right} cannot be compared"));
        let texts = || Ok::<_, EvalError>((left.text()?, right.text()?));
        Ok(ExprValue::Bool(match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Less => compared()? == Ordering::Less,
            Self::LessEqual => compared()? != Ordering::Greater,
            Self::Greater => compared()? == Ordering::Greater,
            Self::GreaterEqual => compared()? != Ordering::Less,
            Self::In => right.list()?.iter().any(|value| value.equals(left)),
            Self::Contains => texts().map(|(left, right)| left.contains(right))?,
            Self::StartsWith => texts().map(|(left, right)| left.starts_with(right))?,
            Self::EndsWith => texts().map(|(left, right)| left.ends_with(right))?,
            Self::Matches => {
                let (left, right) = texts()?;
                Regex::new(right).map_err(|error| error.to_string())?.is_match(left)
            }
            Self::Range => return range(left, right),
            Self::Or | Self::And | Self::Pipe | Self::Default => return Err("not a value".to_owned()),
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder | Self::Power => {
                return self.calculate(left, right);
            }
        }))
    }

    fn calculate(self, left: &ExprValue, right: &ExprValue) -> Result<ExprValue, EvalError> {
        let out_of_range = || "the result is out of range".to_owned();
        match (self, left, right) {
            (Self::Add, ExprValue::Text(left), ExprValue::Text(right)) => {
                Ok(ExprValue::Text(format!("{left}{right}")))
            }
            (Self::Divide | Self::Power, _, _) => match (left.number(), right.number()) {
                (Some(left), Some(right)) if self == Self::Power => Ok(ExprValue::Float(left.powf(right))),
                (Some(left), Some(right)) => Ok(ExprValue::Float(left / right)),
                _ => Err(format!("{left} and {right} are not numbers")),
            },
            (_, ExprValue::Int(left), ExprValue::Int(right)) => {
                let value = match self {
                    Self::Add => left.checked_add(*right),
                    Self::Subtract => left.checked_sub(*right),
                    Self::Multiply => left.checked_mul(*right),
                    _ => left.checked_rem(*right),
                };
                value.map(ExprValue::Int).ok_or_else(out_of_range)
            }
            _ => match (left.number(), right.number()) {
                (Some(left), Some(right)) => Ok(ExprValue::Float(match self {
                    Self::Add => left + right,
                    Self::Subtract => left - right,
                    Self::Multiply => left * right,
                    _ => left % right,
                })),
                _ => Err(format!("{left} and {right} are not numbers")),
            },
        }
    }
}

fn range(from: &ExprValue, to: &ExprValue) -> Result<ExprValue, EvalError> {
    let (ExprValue::Int(from), ExprValue::Int(to)) = (from, to) else {
        return Err(format!("{from}..{to}: not whole numbers"));
    };
    if to.saturating_sub(*from) >= MAX_RANGE {
        return Err(format!("{from}..{to} has more than {MAX_RANGE} values"));
    }
    Ok(ExprValue::List((*from..=*to).map(ExprValue::Int).collect()))
}
