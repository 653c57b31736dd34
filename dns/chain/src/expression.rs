//! The expressions of `view` and `template`: a subset of the language expr that CoreDNS uses (expr-lang.org).
//!
//! - Values: numbers, strings in either quotes or backquotes, `true`, `false`, `nil`, arrays; `let NAME = VALUE; …`.
//! - Operators: `?:`, `??`, `||` or `or`, `&&` or `and`, `!` or `not`, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `contains`,
//!   `startsWith`, `endsWith`, `matches` (these five also after `not`), `..`, `+`, `-`, `*`, `/`, `%`, `**` or `^`, `[INDEX]`,
//!   `[FROM:TO]`, `|`.
//! - Functions: those of the query ([`QUERY_FUNCTIONS`]), those of values (`functions::FUNCTIONS`), those of arrays with a condition on
//!   `#` (`predicate::PREDICATES`), and those that the caller provides.
//!
//! Everything else is refused when the Corefile is read: maps, fields, `if`, optional chaining, and further functions. The values
//! that an evaluation may compute are bounded, so that nested conditions end.

mod functions;
mod node;
mod operator;
mod parser;
mod predicate;
mod query;
mod tokens;

use std::cmp::Ordering;
use std::fmt;

use crate::request::{Request, Transport};
use node::{Evaluation, ExprNode};
use parser::Parser;

pub use query::QUERY_FUNCTIONS;

/// A parsed expression.
#[derive(Debug)]
pub struct Expression(ExprNode);

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprValue {
    /// No value.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<ExprValue>),
}

/// Why an expression has no value.
pub type EvalError = String;

/// The names that an expression refers to in addition to the functions of the query.
pub trait Scope {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<ExprValue> {
        let _ = name;
        None
    }

    /// The value of a function, if there is one with this name. Asked before the functions of the query.
    fn call(&self, name: &str, arguments: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
        let (_, _) = (name, arguments);
        None
    }
}

/// A scope without names.
pub struct NoScope;

impl Scope for NoScope {}

/// Words of the language and names of its functions, which no variable may have.
pub fn is_reserved(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "true",
        "false",
        "nil",
        "let",
        "if",
        "else",
        "in",
        "not",
        "and",
        "or",
        "matches",
        "contains",
        "startsWith",
        "endsWith",
    ];
    let is_query_function = QUERY_FUNCTIONS.iter().any(|(known, _)| *known == name);
    WORDS.contains(&name) || functions::is_known(name) || predicate::is_known(name) || is_query_function
}

impl Expression {
    /// Parses an expression. It may refer only to these variables and functions, and to those of the language.
    pub fn parse(text: &str, variables: &[String], functions: &[&str]) -> Result<Self, String> {
        Parser::parse(text, variables, functions).map(Self)
    }

    /// The value, or why there is none, of an expression that is the same for all queries: it refers to nothing but the variables
    /// of the scope.
    pub fn constant(&self, scope: &dyn Scope) -> Option<Result<ExprValue, EvalError>> {
        let request = Request::new(Transport::Udp, ([0, 0, 0, 0], 0).into());
        self.0.is_constant(scope).then(|| self.evaluate(&request, scope))
    }

    /// The value for a query.
    pub fn evaluate(&self, request: &Request, scope: &dyn Scope) -> Result<ExprValue, EvalError> {
        let mut evaluation = Evaluation::new(request, scope);
        self.0.evaluate(&mut evaluation).map(std::borrow::Cow::into_owned)
    }
}

impl ExprValue {
    /// The truth value; an error if it is none.
    pub fn truth(&self) -> Result<bool, EvalError> {
        match self {
            Self::Bool(value) => Ok(*value),
            other => Err(format!("{other} is neither true nor false")),
        }
    }

    fn text(&self) -> Result<&str, EvalError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{other} is not a text")),
        }
    }

    fn list(&self) -> Result<&[Self], EvalError> {
        match self {
            Self::List(values) => Ok(values),
            other => Err(format!("{other} is not an array")),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.equals(right))
            }
            _ => match (self.number(), other.number()) {
                (Some(left), Some(right)) => left == right,
                _ => self == other,
            },
        }
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }
}

impl fmt::Display for ExprValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", values.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests;
