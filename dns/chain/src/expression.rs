//! The expressions of `view` and `template`: a subset of the language expr that CoreDNS uses (expr-lang.org).
//!
//! Literals: numbers, strings in either quotes, `true`, `false`, `nil`, arrays. Operators: `?:`, `||` or `or`, `&&` or `and`, `!` or
//! `not`, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `contains`, `startsWith`, `endsWith`, `matches`, `+`, `-`, `*`, `/`, `%`,
//! `..` is not supported. Functions: those of the query (see [`QUERY_FUNCTIONS`]), `int`, `string`, `len`, `lower`, `upper`, `trim`,
//! `split`, and those that the caller provides. An expression has no loops, so its cost is bounded by its length and the query's.

mod parser;
mod query;

use std::cmp::Ordering;
use std::fmt;

use regex::Regex;

use crate::request::{Request, Transport};
use parser::Parser;

pub use query::QUERY_FUNCTIONS;

/// A parsed expression.
#[derive(Debug)]
pub struct Expression(Node);

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

/// A part of an expression.
#[derive(Debug)]
enum Node {
    Literal(ExprValue),
    List(Vec<Node>),
    Variable(String),
    Call(String, Vec<Node>),
    Not(Box<Node>),
    Negative(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// A pattern that is known when the expression is read.
    Matches(Box<Node>, Regex),
    Choice(Box<[Node; 3]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
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

    /// The value of a function, if there is one with this name.
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
    const WORDS: [&str; 12] =
        ["true", "false", "nil", "let", "if", "else", "in", "not", "and", "or", "matches", "contains"];
    let is_query_function = QUERY_FUNCTIONS.iter().any(|(known, _)| *known == name);
    WORDS.contains(&name) || FUNCTIONS.contains(&name) || is_query_function
}

/// Functions that every expression may call.
const FUNCTIONS: [&str; 7] = ["int", "string", "len", "lower", "upper", "trim", "split"];

impl Expression {
    /// Parses an expression. It may refer only to these variables and functions, and to those of the query.
    pub fn parse(text: &str, variables: &[String], functions: &[&str]) -> Result<Self, String> {
        let node = Parser::new(text)?.whole()?;
        node.check(variables, functions)?;
        Ok(Self(node))
    }

    /// The value, or why there is none, of an expression that is the same for all queries: it refers to nothing but the variables
    /// of the scope.
    pub fn constant(&self, scope: &dyn Scope) -> Option<Result<ExprValue, EvalError>> {
        let request = Request::new(Transport::Udp, ([0, 0, 0, 0], 0).into());
        self.0.is_constant(scope).then(|| self.0.evaluate(&request, scope))
    }

    /// The value for a query.
    pub fn evaluate(&self, request: &Request, scope: &dyn Scope) -> Result<ExprValue, EvalError> {
        self.0.evaluate(request, scope)
    }
}

impl Node {
    /// Checks that all names are known.
    fn check(&self, variables: &[String], functions: &[&str]) -> Result<(), String> {
        let all = |nodes: &[Self]| nodes.iter().try_for_each(|node| node.check(variables, functions));
        match self {
            Self::Literal(_) => Ok(()),
            Self::List(nodes) => all(nodes),
            Self::Variable(name) if variables.iter().any(|known| known == name) => Ok(()),
            Self::Variable(name) => Err(format!("unknown name {name}")),
            Self::Call(name, arguments) => {
                let name = name.as_str();
                let known = FUNCTIONS.contains(&name) || functions.contains(&name);
                let wanted = match QUERY_FUNCTIONS.iter().find(|(known, _)| *known == name) {
                    Some((_, count)) => Some(*count),
                    None if known => None,
                    None => return Err(format!("unknown function {name}")),
                };
                if let Some(wanted) = wanted.filter(|wanted| *wanted != arguments.len()) {
                    return Err(format!("{name} takes {wanted} arguments"));
                }
                all(arguments)
            }
            Self::Not(node) | Self::Negative(node) | Self::Matches(node, _) => {
                node.check(variables, functions)
            }
            Self::Binary(_, left, right) => {
                left.check(variables, functions)?;
                right.check(variables, functions)
            }
            Self::Choice(nodes) => all(&nodes[..]),
        }
    }

    fn is_constant(&self, scope: &dyn Scope) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::List(nodes) => nodes.iter().all(|node| node.is_constant(scope)),
            Self::Variable(name) => scope.variable(name).is_some(),
            Self::Call(name, arguments) => {
                FUNCTIONS.contains(&name.as_str()) && arguments.iter().all(|node| node.is_constant(scope))
            }
            Self::Not(node) | Self::Negative(node) | Self::Matches(node, _) => node.is_constant(scope),
            Self::Binary(_, left, right) => left.is_constant(scope) && right.is_constant(scope),
            Self::Choice(nodes) => nodes.iter().all(|node| node.is_constant(scope)),
        }
    }

    fn evaluate(&self, request: &Request, scope: &dyn Scope) -> Result<ExprValue, EvalError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::List(nodes) => ExprValue::List(
                nodes.iter().map(|node| node.evaluate(request, scope)).collect::<Result<_, _>>()?,
            ),
            Self::Variable(name) => scope.variable(name).ok_or_else(|| format!("unknown name {name}"))?,
            Self::Call(name, arguments) => {
                let arguments: Vec<ExprValue> =
                    arguments.iter().map(|node| node.evaluate(request, scope)).collect::<Result<_, _>>()?;
                let found = scope.call(name, &arguments).or_else(|| query::call(name, &arguments, request));
                found.unwrap_or_else(|| call(name, &arguments))?
            }
            Self::Not(node) => ExprValue::Bool(!node.evaluate(request, scope)?.truth()?),
            Self::Negative(node) => match node.evaluate(request, scope)? {
                ExprValue::Int(value) => {
                    ExprValue::Int(value.checked_neg().ok_or("the number is too large")?)
                }
                ExprValue::Float(value) => ExprValue::Float(-value),
                other => return Err(format!("-{other}: not a number")),
            },
            Self::Matches(node, pattern) => {
                ExprValue::Bool(pattern.is_match(&node.evaluate(request, scope)?.text()?))
            }
            Self::Choice(nodes) => {
                let [condition, yes, no] = &**nodes;
                let chosen = if condition.evaluate(request, scope)?.truth()? { yes } else { no };
                chosen.evaluate(request, scope)?
            }
            Self::Binary(Operator::And, left, right) => ExprValue::Bool(
                left.evaluate(request, scope)?.truth()? && right.evaluate(request, scope)?.truth()?,
            ),
            Self::Binary(Operator::Or, left, right) => ExprValue::Bool(
                left.evaluate(request, scope)?.truth()? || right.evaluate(request, scope)?.truth()?,
            ),
            Self::Binary(operator, left, right) => {
                operator.apply(&left.evaluate(request, scope)?, &right.evaluate(request, scope)?)?
            }
        })
    }
}

impl Operator {
    fn apply(self, left: &ExprValue, right: &ExprValue) -> Result<ExprValue, EvalError> {
        let compared = || left.compare(right).ok_or_else(|| format!("{left} and {right} cannot be compared"));
        let texts = || Ok::<_, EvalError>((left.text()?, right.text()?));
        Ok(ExprValue::Bool(match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Less => compared()? == Ordering::Less,
            Self::LessEqual => compared()? != Ordering::Greater,
            Self::Greater => compared()? == Ordering::Greater,
            Self::GreaterEqual => compared()? != Ordering::Less,
            Self::In | Self::NotIn => {
                let ExprValue::List(values) = right else { return Err(format!("{right} is not an array")) };
                values.iter().any(|value| value.equals(left)) == (self == Self::In)
            }
            Self::Contains => texts().map(|(left, right)| left.contains(&right))?,
            Self::StartsWith => texts().map(|(left, right)| left.starts_with(&right))?,
            Self::EndsWith => texts().map(|(left, right)| left.ends_with(&right))?,
            Self::Matches => {
                let (left, right) = texts()?;
                Regex::new(&right).map_err(|error| error.to_string())?.is_match(&left)
            }
            Self::Or | Self::And => return Err("not a value".to_owned()),
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder => {
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
            (Self::Divide, _, _) => match (left.number(), right.number()) {
                (Some(left), Some(right)) => Ok(ExprValue::Float(left / right)),
                _ => Err(format!("{left} / {right}: not numbers")),
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

impl ExprValue {
    /// The truth value; an error if it is none.
    pub fn truth(&self) -> Result<bool, EvalError> {
        match self {
            Self::Bool(value) => Ok(*value),
            other => Err(format!("{other} is neither true nor false")),
        }
    }

    fn text(&self) -> Result<String, EvalError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            other => Err(format!("{other} is not a text")),
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
        match (self.number(), other.number()) {
            (Some(left), Some(right)) => left == right,
            _ => self == other,
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

/// The functions of every expression.
fn call(name: &str, arguments: &[ExprValue]) -> Result<ExprValue, EvalError> {
    match (name, arguments) {
        ("int", [ExprValue::Text(text)]) => {
            text.parse().map(ExprValue::Int).map_err(|_| format!("int: {text:?} is not a number"))
        }
        ("int", [ExprValue::Int(value)]) => Ok(ExprValue::Int(*value)),
        ("int", [ExprValue::Float(value)]) => Ok(ExprValue::Int(*value as i64)),
        ("string", [value]) => Ok(ExprValue::Text(value.to_string())),
        ("len", [ExprValue::Text(text)]) => Ok(ExprValue::Int(text.chars().count() as i64)),
        ("len", [ExprValue::List(values)]) => Ok(ExprValue::Int(values.len() as i64)),
        ("lower", [ExprValue::Text(text)]) => Ok(ExprValue::Text(text.to_lowercase())),
        ("upper", [ExprValue::Text(text)]) => Ok(ExprValue::Text(text.to_uppercase())),
        ("trim", [ExprValue::Text(text)]) => Ok(ExprValue::Text(text.trim().to_owned())),
        ("split", [ExprValue::Text(text), ExprValue::Text(by)]) => Ok(ExprValue::List(
            text.split(by.as_str()).map(|part| ExprValue::Text(part.to_owned())).collect(),
        )),
        _ => Err(format!("{name} cannot be called with these arguments")),
    }
}

#[cfg(test)]
mod tests {
    use dns_wire::Query;

    use super::*;

    fn value(text: &str) -> Result<ExprValue, String> {
        let mut request = Request::new(Transport::Udp, ([10, 0, 0, 53], 53).into());
        request.query = Query::new(7, &"WWW.example.org.".parse().unwrap(), 28);
        request.client = ([10, 1, 2, 3], 4711).into();
        request.size = 33;
        Expression::parse(text, &[], &[])?.evaluate(&request, &NoScope)
    }

    #[test]
    fn expressions_have_the_values_of_the_language() {
        for (text, wanted) in [
            ("1 + 2 * 3", ExprValue::Int(7)),
            ("(1 + 2) * -3 % 4", ExprValue::Int(-1)),
            ("7 / 2", ExprValue::Float(3.5)),
            ("'a' + \"b\"", ExprValue::Text("ab".into())),
            ("true && !false || false", ExprValue::Bool(true)),
            ("true and not false or false", ExprValue::Bool(true)),
            ("false && int('x') == 1", ExprValue::Bool(false)),
            ("1 < 2 ? 'yes' : 'no'", ExprValue::Text("yes".into())),
            ("type() in ['A', 'AAAA']", ExprValue::Bool(true)),
            ("type() not in ['A']", ExprValue::Bool(true)),
            ("name() == 'www.example.org.'", ExprValue::Bool(true)),
            ("name() endsWith '.org.' and name() startsWith 'www'", ExprValue::Bool(true)),
            ("name() matches '^w+[.]'", ExprValue::Bool(true)),
            ("name() contains 'ample'", ExprValue::Bool(true)),
            ("incidr(client_ip(), '10.0.0.0/8')", ExprValue::Bool(true)),
            ("incidr(client_ip(), 'fd00::/8')", ExprValue::Bool(false)),
            ("[id(), opcode(), size(), bufsize()] == [7, 0, 33, 512]", ExprValue::Bool(true)),
            (
                "[port(), server_port(), server_ip(), proto(), class(), do()] == ['4711', '53', '10.0.0.53', 'udp', 'IN', false]",
                ExprValue::Bool(true),
            ),
            ("metadata('a/b') == ''", ExprValue::Bool(true)),
            ("len(split('a,b', ',')) == 2.0", ExprValue::Bool(true)),
            (r"'it\'s\n'", ExprValue::Text("it's\n".into())),
        ] {
            assert_eq!(value(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn an_expression_that_has_no_value_says_why() {
        for (text, why) in [
            ("", "ends too early"),
            ("1 +", "ends too early"),
            ("(1", "')' is missing"),
            ("1 2", "unexpected 2"),
            ("'x", "quote is not closed"),
            ("x", "unknown name x"),
            ("f()", "unknown function f"),
            ("incidr('a')", "incidr takes 2 arguments"),
            ("1 matches '('", "regex"),
            ("1 && true", "neither true nor false"),
            ("1 < 'a'", "cannot be compared"),
            ("incidr('notanip', '10.0.0.0/8')", "not an IP address"),
            ("int('x')", "not a number"),
            ("9223372036854775807 + 1", "out of range"),
            ("1 % 0", "out of range"),
            ("@", "unexpected @"),
        ] {
            let error = value(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(value(&deep).is_err(), "the depth is bounded");
        let chain = |operators: usize| format!("1{}", " + 1".repeat(operators));
        assert_eq!(value(&chain(128)), Ok(ExprValue::Int(129)));
        for operators in [129, 100_000] {
            let error = value(&chain(operators)).expect_err("the length is bounded");
            assert!(error.contains("more than 128 operators"), "{error}");
        }
    }
}
