//! The tree of an expression, and its value for a query.

use std::borrow::Cow;

use ipnet::IpNet;
use regex::Regex;

use super::operator::Operator;
use super::predicate::Predicate;
use super::{EvalError, ExprValue, Scope, functions, query};
use crate::request::Request;

/// The most parts that one evaluation looks at. Conditions on arrays may be nested, and each level multiplies.
const MAX_STEPS: u32 = 100_000;

/// A part of an expression.
#[derive(Debug)]
pub(super) enum ExprNode {
    Literal(ExprValue),
    List(Vec<ExprNode>),
    Variable(String),
    /// A value of `let`, or `#`, by its place among those around it.
    Local(usize),
    Call(String, Vec<ExprNode>),
    /// A function that looks at each value of an array.
    Predicate(Predicate, Box<[ExprNode; 2]>),
    /// A local value, and what refers to it.
    Let(Box<[ExprNode; 2]>),
    Not(Box<ExprNode>),
    Negative(Box<ExprNode>),
    Binary(Operator, Box<[ExprNode; 2]>),
    /// A pattern that is known when the expression is read.
    Matches(Box<ExprNode>, Regex),
    /// `incidr` with a network that is known when the expression is read.
    InNet(Box<ExprNode>, IpNet),
    Choice(Box<[ExprNode; 3]>),
    Index(Box<[ExprNode; 2]>),
    /// A part of an array or text, from one index up to before another.
    Slice(Box<ExprNode>, Option<Box<ExprNode>>, Option<Box<ExprNode>>),
}

/// The state of an evaluation.
pub(super) struct Evaluation<'a> {
    request: &'a Request,
    scope: &'a dyn Scope,
    locals: Vec<ExprValue>,
    steps: u32,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(request: &'a Request, scope: &'a dyn Scope) -> Self {
        Self { request, scope, locals: Vec::new(), steps: 0 }
    }

    /// Evaluates with one more local value.
    pub(super) fn with_local<T>(&mut self, value: ExprValue, evaluate: impl FnOnce(&mut Self) -> T) -> T {
        self.locals.push(value);
        let found = evaluate(self);
        self.locals.pop();
        found
    }
}

impl ExprNode {
    pub(super) fn is_constant(&self, scope: &dyn Scope) -> bool {
        let both = |nodes: &[Self]| nodes.iter().all(|node| node.is_constant(scope));
        match self {
            Self::Literal(_) | Self::Local(_) => true,
            Self::List(nodes) => both(nodes),
            Self::Variable(name) => scope.variable(name).is_some(),
            Self::Call(name, arguments) => functions::is_known(name) && both(arguments),
            // Whether an address is one is found out when a query is answered, as in CoreDNS.
            Self::InNet(..) => false,
            Self::Not(node) | Self::Negative(node) | Self::Matches(node, _) => node.is_constant(scope),
            Self::Predicate(_, nodes) | Self::Let(nodes) | Self::Binary(_, nodes) | Self::Index(nodes) => {
                both(&nodes[..])
            }
            Self::Choice(nodes) => both(&nodes[..]),
            Self::Slice(node, from, to) => {
                let bounds = [from, to];
                node.is_constant(scope) && bounds.into_iter().flatten().all(|bound| bound.is_constant(scope))
            }
        }
    }

    /// The value. Literals are not copied.
    pub(super) fn evaluate<'n>(
        &'n self,
        evaluation: &mut Evaluation<'_>,
    ) -> Result<Cow<'n, ExprValue>, EvalError> {
        evaluation.steps += 1;
        if evaluation.steps > MAX_STEPS {
            return Err(format!("the expression takes more than {MAX_STEPS} steps"));
        }
        Ok(Cow::Owned(match self {
            Self::Literal(value) => return Ok(Cow::Borrowed(value)),
            Self::List(nodes) => ExprValue::List(evaluation.all(nodes)?),
            Self::Variable(name) => {
                evaluation.scope.variable(name).ok_or_else(|| format!("unknown name {name}"))?
            }
            Self::Local(at) => {
                evaluation.locals.get(*at).cloned().ok_or_else(|| "no local value".to_owned())?
            }
            Self::Call(name, arguments) => {
                let arguments = evaluation.all(arguments)?;
                let (scope, request) = (evaluation.scope, evaluation.request);
                let found = scope.call(name, &arguments).or_else(|| query::call(name, &arguments, request));
                found.unwrap_or_else(|| functions::call(name, &arguments))?
            }
            Self::Predicate(predicate, nodes) => {
                let [list, condition] = &**nodes;
                let list = list.evaluate(evaluation)?;
                predicate.apply(&list, |value| {
                    evaluation.with_local(value.clone(), |evaluation| {
                        condition.evaluate(evaluation).map(Cow::into_owned)
                    })
                })?
            }
            Self::Let(nodes) => {
                let [value, body] = &**nodes;
                let value = value.evaluate(evaluation)?.into_owned();
                return evaluation.with_local(value, |evaluation| body.evaluate(evaluation));
            }
            Self::Not(node) => ExprValue::Bool(!node.evaluate(evaluation)?.truth()?),
            Self::Negative(node) => match &*node.evaluate(evaluation)? {
                ExprValue::Int(value) => {
                    ExprValue::Int(value.checked_neg().ok_or("the number is too large")?)
                }
                ExprValue::Float(value) => ExprValue::Float(-value),
                other => return Err(format!("-{other}: not a number")),
            },
            Self::Matches(node, pattern) => {
                ExprValue::Bool(pattern.is_match(node.evaluate(evaluation)?.text()?))
            }
            Self::InNet(node, net) => ExprValue::Bool(match &**node {
                // The usual argument needs no text.
                Self::Call(name, arguments) if name == "client_ip" && arguments.is_empty() => {
                    net.contains(&evaluation.request.client.ip().to_canonical())
                }
                other => query::is_in_net(other.evaluate(evaluation)?.text()?, net)?,
            }),
            Self::Choice(nodes) => {
                let [condition, yes, no] = &**nodes;
                let chosen = if condition.evaluate(evaluation)?.truth()? { yes } else { no };
                return chosen.evaluate(evaluation);
            }
            Self::Binary(operator, nodes) => {
                let [left, right] = &**nodes;
                let left = left.evaluate(evaluation)?;
                match operator {
                    Operator::And => ExprValue::Bool(left.truth()? && right.evaluate(evaluation)?.truth()?),
                    Operator::Or => ExprValue::Bool(left.truth()? || right.evaluate(evaluation)?.truth()?),
                    Operator::Default if *left == ExprValue::Nil => return right.evaluate(evaluation),
                    Operator::Default => return Ok(left),
                    operator => operator.apply(&left, &*right.evaluate(evaluation)?)?,
                }
            }
            Self::Index(nodes) => {
                let [list, at] = &**nodes;
                let (list, at) = (list.evaluate(evaluation)?, at.evaluate(evaluation)?);
                let ExprValue::Int(at) = &*at else { return Err(format!("[{at}] is not an index")) };
                let found = functions::element(list.list()?, *at);
                found.cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            Self::Slice(node, from, to) => {
                let whole = node.evaluate(evaluation)?;
                let from = from.as_ref().map(|from| from.evaluate(evaluation)).transpose()?;
                let to = to.as_ref().map(|to| to.evaluate(evaluation)).transpose()?;
                slice(&whole, from.as_deref(), to.as_deref())?
            }
        }))
    }
}

impl Evaluation<'_> {
    fn all(&mut self, nodes: &[ExprNode]) -> Result<Vec<ExprValue>, EvalError> {
        nodes.iter().map(|node| node.evaluate(self).map(Cow::into_owned)).collect()
    }
}

/// A part of an array, or of the bytes of a text. Bounds beyond the ends are the ends; negative ones count from the end.
fn slice(
    whole: &ExprValue,
    from: Option<&ExprValue>,
    to: Option<&ExprValue>,
) -> Result<ExprValue, EvalError> {
    let length = match whole {
        ExprValue::Text(text) => text.len(),
        ExprValue::List(list) => list.len(),
        other => return Err(format!("{other} has no parts")),
    };
    let bound = |bound: Option<&ExprValue>, default: usize| match bound {
        None => Ok(default),
        Some(ExprValue::Int(at)) if *at < 0 => Ok(at.saturating_add_unsigned(length as u64).max(0) as usize),
        Some(ExprValue::Int(at)) => Ok(usize::try_from(*at).unwrap_or(length).min(length)),
        Some(other) => Err(format!("{other} is not an index")),
    };
    let to = bound(to, length)?;
    let from = bound(from, 0)?.min(to);
    Ok(match whole {
        ExprValue::Text(text) => {
            ExprValue::Text(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned())
        }
        ExprValue::List(list) => ExprValue::List(list[from..to].to_vec()),
        other => other.clone(),
    })
}
