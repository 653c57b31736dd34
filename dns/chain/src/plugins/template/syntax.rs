//! The part of Go's text/template that `template` understands: fields, variables, pipelines, `if`, `with`, `range`, and functions.

mod check;
mod execute;
mod fixed;
mod lexer;

use std::fmt;

use super::data::TemplateData;
use crate::expression::ExprValue;
use crate::request::Request;
use lexer::{Piece, TemplateToken, pieces, tokens};

/// The text of a record with actions in it.
pub(super) struct TextTemplate {
    source: String,
    body: Vec<Node>,
    /// Why a query that needs all of the template cannot be answered.
    impossible: Option<String>,
}

/// A part of a text.
#[derive(Debug)]
enum Node {
    Text(String),
    /// A value that is printed, or assigned to a variable.
    Action {
        variable: Option<String>,
        pipeline: Pipeline,
    },
    If {
        condition: Pipeline,
        yes: Vec<Node>,
        no: Vec<Node>,
    },
    With {
        value: Pipeline,
        yes: Vec<Node>,
        no: Vec<Node>,
    },
    Range {
        names: Vec<String>,
        list: Pipeline,
        each: Vec<Node>,
        none: Vec<Node>,
    },
}

/// Commands of which each gets the value of the one before as its last argument.
#[derive(Debug)]
struct Pipeline(Vec<Command>);

/// A function or method with its arguments, or a single value.
#[derive(Debug)]
struct Command(Vec<Operand>);

#[derive(Debug)]
enum Operand {
    Literal(ExprValue),
    /// `.` and the fields behind it.
    Field(Vec<String>),
    /// `$name` and the fields behind it. `$` alone is the data of the query.
    Variable(String, Vec<String>),
    Function(String),
    Pipeline(Pipeline),
}

/// The functions.
const FUNCTIONS: [&str; 15] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "len", "print", "printf", "parseInt",
    "println",
];

/// The deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 32;

impl TextTemplate {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = BlockParser { pieces: pieces(text)?.into_iter(), depth: 0 };
        let (body, end) = parser.body()?;
        match end {
            None => {
                let impossible = check::names(&body)?;
                Ok(Self { source: text.to_owned(), body, impossible })
            }
            Some(word) => Err(format!("unexpected {{{{{}}}}}", word.first().map_or("", |word| word.word()))),
        }
    }

    /// A field or call that is not possible, if there is one.
    pub(super) fn impossible(&self) -> Option<&str> {
        self.impossible.as_deref()
    }

    /// The text as the Corefile has it.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The text for a query.
    pub(super) fn execute(&self, data: &TemplateData<'_>, request: &Request) -> Result<String, String> {
        execute::text(&self.body, data, request)
    }
}

struct BlockParser<'a> {
    pieces: std::vec::IntoIter<Piece<'a>>,
    depth: usize,
}

/// The words of an action that ends a body: `end`, or `else` with what follows.
type BodyEnd = Option<Vec<TemplateToken>>;

impl BlockParser<'_> {
    /// The nodes up to an action that ends the body.
    fn body(&mut self) -> Result<(Vec<Node>, BodyEnd), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("blocks are nested too deeply".to_owned());
        }
        let mut nodes = Vec::new();
        let end = loop {
            let action = match self.pieces.next() {
                None => break None,
                Some(Piece::Text(text)) => {
                    nodes.push(Node::Text(text.to_owned()));
                    continue;
                }
                Some(Piece::Action(action)) => tokens(action)?,
            };
            let (first, rest) = action.split_first().ok_or("an empty action")?;
            match first.word() {
                "end" | "else" => break Some(action),
                "if" => {
                    let condition = whole_pipeline(rest)?;
                    let (yes, no) = self.branches()?;
                    nodes.push(Node::If { condition, yes, no });
                }
                "with" => {
                    let value = whole_pipeline(rest)?;
                    let (yes, no) = self.branches()?;
                    nodes.push(Node::With { value, yes, no });
                }
                "range" => {
                    let (names, list) = match rest {
                        [TemplateToken::Variable(value), TemplateToken::Assign, rest @ ..] => {
                            (vec![value.clone()], rest)
                        }
                        [
                            TemplateToken::Variable(index),
                            TemplateToken::Comma,
                            TemplateToken::Variable(value),
                            TemplateToken::Assign,
                            rest @ ..,
                        ] => (vec![index.clone(), value.clone()], rest),
                        rest => (Vec::new(), rest),
                    };
                    let list = whole_pipeline(list)?;
                    let (each, none) = self.branches()?;
                    nodes.push(Node::Range { names, list, each, none });
                }
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(format!("{{{{{}}}}} is not supported", first.word()));
                }
                _ => {
                    let (variable, rest) = match action.as_slice() {
                        [TemplateToken::Variable(name), TemplateToken::Assign, rest @ ..] => {
                            (Some(name.clone()), rest)
                        }
                        all => (None, all),
                    };
                    nodes.push(Node::Action { variable, pipeline: whole_pipeline(rest)? });
                }
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// The body of a block, and that of its `else`.
    fn branches(&mut self) -> Result<(Vec<Node>, Vec<Node>), String> {
        let (yes, end) = self.body()?;
        let end = end.ok_or("{{end}} is missing")?;
        match end.as_slice() {
            [end] if end.word() == "end" => Ok((yes, Vec::new())),
            [_] => {
                let (no, end) = self.body()?;
                match end.as_deref() {
                    Some([end]) if end.word() == "end" => Ok((yes, no)),
                    _ => Err("{{end}} is missing".to_owned()),
                }
            }
            // `else if` shares its `end` with the block that it belongs to.
            [_, next, rest @ ..] if next.word() == "if" => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err("blocks are nested too deeply".to_owned());
                }
                let condition = whole_pipeline(rest)?;
                let (inner, no) = self.branches()?;
                self.depth -= 1;
                Ok((yes, vec![Node::If { condition, yes: inner, no }]))
            }
            _ => Err("{{else}} takes if or nothing".to_owned()),
        }
    }
}

fn whole_pipeline(tokens: &[TemplateToken]) -> Result<Pipeline, String> {
    let mut parser = PipelineParser { tokens, depth: 0 };
    let pipeline = parser.pipeline()?;
    match parser.tokens.first() {
        None => Ok(pipeline),
        Some(extra) => Err(format!("unexpected {extra}")),
    }
}

struct PipelineParser<'a> {
    tokens: &'a [TemplateToken],
    depth: usize,
}

impl<'a> PipelineParser<'a> {
    fn next(&mut self) -> Option<&'a TemplateToken> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn pipeline(&mut self) -> Result<Pipeline, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("parentheses are nested too deeply".to_owned());
        }
        let mut commands = vec![self.command()?];
        while let Some(TemplateToken::Pipe) = self.tokens.first() {
            self.next();
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(Pipeline(commands))
    }

    fn command(&mut self) -> Result<Command, String> {
        let mut operands = Vec::new();
        while let Some(token) = self.tokens.first() {
            let operand = match token {
                TemplateToken::Pipe | TemplateToken::Close => break,
                TemplateToken::Literal(value) => Operand::Literal(value.clone()),
                TemplateToken::Field(path) => Operand::Field(path.clone()),
                TemplateToken::Variable(name) => {
                    let mut path = name.split('.').map(str::to_owned);
                    let name = path.next().unwrap_or_default();
                    Operand::Variable(name, path.collect())
                }
                TemplateToken::Word(word) if FUNCTIONS.contains(&word.as_str()) && operands.is_empty() => {
                    Operand::Function(word.clone())
                }
                TemplateToken::Word(word) => return Err(format!("function {word:?} is not defined")),
                TemplateToken::Open => {
                    self.next();
                    let pipeline = self.pipeline()?;
                    match self.tokens.first() {
                        Some(TemplateToken::Close) => Operand::Pipeline(pipeline),
                        _ => return Err("')' is missing".to_owned()),
                    }
                }
                other => return Err(format!("unexpected {other}")),
            };
            self.next();
            operands.push(operand);
        }
        if operands.is_empty() {
            return Err("a value is missing".to_owned());
        }
        Ok(Command(operands))
    }
}

impl fmt::Debug for TextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
