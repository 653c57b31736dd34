//! Parses an expression by the precedence of its operators, and checks its names.

use regex::Regex;

use super::node::ExprNode;
use super::operator::{NOT_STRENGTH, OPERATORS, Operator, SIGN_STRENGTH};
use super::predicate::{PREDICATES, Predicate};
use super::tokens::{ExprToken, tokens};
use super::{ExprValue, QUERY_FUNCTIONS, functions, is_reserved};

/// The deepest nesting. A parser that calls itself needs a bound.
const MAX_DEPTH: usize = 64;
/// The most operators between two values. `1 + 1 + 1 …` nests to the left, and each level is a call when it is evaluated.
const MAX_OPERATORS: usize = 128;
/// The most places that take an index, `let` or `|`, for the same reason.
const MAX_POSTFIXES: usize = 32;

pub(super) struct Parser<'e> {
    tokens: Vec<(ExprToken, usize)>,
    at: usize,
    depth: usize,
    operators: usize,
    postfixes: usize,
    variables: &'e [String],
    functions: &'e [&'e str],
    /// The names of `let` and `#` around the current place.
    locals: Vec<String>,
}

impl<'e> Parser<'e> {
    /// The expression, which must be all of the text. It may refer only to these variables and functions, and to those of the
    /// language. Errors end with a column.
    pub(super) fn parse(
        text: &str,
        variables: &'e [String],
        functions: &'e [&'e str],
    ) -> Result<ExprNode, String> {
        let tokens = tokens(text)?;
        let (depth, operators, postfixes) = (0, 0, 0);
        let locals = Vec::new();
        let mut parser = Self { tokens, at: 0, depth, operators, postfixes, variables, functions, locals };
        let node = parser.choice().and_then(|node| match parser.next() {
            ExprToken::End => Ok(node),
            other => Err(format!("unexpected {other}")),
        });
        node.map_err(|what| format!("{what} (column {})", parser.column()))
    }

    /// Where the last token is.
    fn column(&self) -> usize {
        let last = self.tokens.get(self.at.saturating_sub(1)).or(self.tokens.last());
        last.map_or(1, |(_, column)| *column)
    }

    fn peek(&self) -> &ExprToken {
        self.tokens.get(self.at).map_or(&ExprToken::End, |(token, _)| token)
    }

    fn next(&mut self) -> ExprToken {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(token: &ExprToken, wanted: &str) -> bool {
        match token {
            ExprToken::Sign(sign) => *sign == wanted,
            ExprToken::Word(word) => word == wanted,
            _ => false,
        }
    }

    /// Skips a sign or a word if it comes next.
    fn skip(&mut self, wanted: &str) -> bool {
        let is = Self::is(self.peek(), wanted);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        if self.skip(wanted) {
            return Ok(());
        }
        self.at += 1;
        Err(format!("'{wanted}' is missing"))
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err("the expression is nested too deeply".to_owned()) } else { Ok(()) }
    }

    fn postfix(&mut self) -> Result<(), String> {
        self.postfixes += 1;
        let most = MAX_POSTFIXES;
        if self.postfixes > most { Err(format!("more than {most} indexes, pipes and let")) } else { Ok(()) }
    }

    fn choice(&mut self) -> Result<ExprNode, String> {
        self.deeper()?;
        let node = if self.skip("let") { self.local()? } else { self.conditional()? };
        self.depth -= 1;
        Ok(node)
    }

    fn conditional(&mut self) -> Result<ExprNode, String> {
        let condition = self.binary(0)?;
        if !self.skip("?") {
            return Ok(condition);
        }
        let yes = self.choice()?;
        self.expect(":")?;
        Ok(ExprNode::Choice(Box::new([condition, yes, self.choice()?])))
    }

    /// `NAME = VALUE; EXPRESSION`, behind `let`.
    fn local(&mut self) -> Result<ExprNode, String> {
        self.postfix()?;
        let ExprToken::Word(name) = self.next() else { return Err("let without a name".to_owned()) };
        let is_known = self.variables.contains(&name) || self.locals.contains(&name);
        if is_known || is_reserved(&name) || self.functions.contains(&name.as_str()) {
            return Err(format!("{name} is defined already"));
        }
        self.expect("=")?;
        let value = self.choice()?;
        self.expect(";")?;
        self.locals.push(name);
        let body = self.choice()?;
        self.locals.pop();
        Ok(ExprNode::Let(Box::new([value, body])))
    }

    /// The operator that comes next, how strongly it binds, whether `not` is before it, and the number of its tokens.
    fn operator(&self) -> Option<(Operator, u8, bool, usize)> {
        let known = |token: &ExprToken| OPERATORS.iter().find(|(name, ..)| Self::is(token, name));
        if let ExprToken::Word(word) = self.peek()
            && word == "not"
        {
            let (next, _) = self.tokens.get(self.at + 1)?;
            let (_, operator, strength) = known(next).filter(|(_, operator, _)| operator.is_negatable())?;
            return Some((*operator, *strength, true, 2));
        }
        known(self.peek()).map(|(_, operator, strength)| (*operator, *strength, false, 1))
    }

    /// Operators that bind at least as strongly as `least`.
    fn binary(&mut self, least: u8) -> Result<ExprNode, String> {
        let mut left = self.unary()?;
        while let Some((operator, strength, negated, length)) =
            self.operator().filter(|(_, strength, ..)| *strength >= least)
        {
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                return Err(format!("the expression has more than {MAX_OPERATORS} operators"));
            }
            self.at += length;
            if operator == Operator::Pipe {
                left = self.piped(left)?;
                continue;
            }
            // Powers bind to the right.
            let right = self.binary(if operator == Operator::Power { strength } else { strength + 1 })?;
            left = match (operator, right) {
                (Operator::Matches, ExprNode::Literal(ExprValue::Text(pattern))) => {
                    let pattern = Regex::new(&pattern).map_err(|error| error.to_string())?;
                    ExprNode::Matches(Box::new(left), pattern)
                }
                (operator, right) => ExprNode::Binary(operator, Box::new([left, right])),
            };
            if negated {
                left = ExprNode::Not(Box::new(left));
            }
        }
        Ok(left)
    }

    /// The function behind `|`, whose first argument is the value before it.
    fn piped(&mut self, first: ExprNode) -> Result<ExprNode, String> {
        self.postfix()?;
        let ExprToken::Word(name) = self.next() else {
            return Err("a function is missing behind |".to_owned());
        };
        self.expect("(")?;
        let call = self.call(name, Some(first))?;
        self.indexes(call)
    }

    fn unary(&mut self) -> Result<ExprNode, String> {
        // Signs repeat without nesting in the text, so they count as nesting here.
        self.deeper()?;
        let node = if self.skip("!") || self.skip("not") {
            ExprNode::Not(Box::new(self.binary(NOT_STRENGTH)?))
        } else if self.skip("-") {
            match self.binary(SIGN_STRENGTH)? {
                ExprNode::Literal(ExprValue::Int(value)) if value > 0 => {
                    ExprNode::Literal(ExprValue::Int(-value))
                }
                other => ExprNode::Negative(Box::new(other)),
            }
        } else if self.skip("+") {
            self.binary(SIGN_STRENGTH)?
        } else {
            let value = self.primary()?;
            self.indexes(value)?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Result<ExprNode, String> {
        match self.next() {
            ExprToken::Number(value) => Ok(ExprNode::Literal(value)),
            ExprToken::Text(text) => Ok(ExprNode::Literal(ExprValue::Text(text))),
            ExprToken::Word(word) => match word.as_str() {
                "true" | "false" => Ok(ExprNode::Literal(ExprValue::Bool(word == "true"))),
                "nil" => Ok(ExprNode::Literal(ExprValue::Nil)),
                "if" => Err("if is not supported; write CONDITION ? A : B".to_owned()),
                _ if self.skip("(") => self.call(word, None),
                _ => self.name(word),
            },
            ExprToken::Sign("#") => match self.locals.iter().rposition(|name| name == "#") {
                Some(at) => Ok(ExprNode::Local(at)),
                None => Err("# is not within a condition on an array".to_owned()),
            },
            ExprToken::Sign("(") => {
                let node = self.choice()?;
                self.expect(")")?;
                Ok(node)
            }
            ExprToken::Sign("[") => {
                let nodes = self.list("]", Vec::new())?;
                let literal = |node: &ExprNode| match node {
                    ExprNode::Literal(value) => Some(value.clone()),
                    _ => None,
                };
                // An array of literals is made once.
                let values: Option<Vec<ExprValue>> = nodes.iter().map(literal).collect();
                Ok(values.map_or(ExprNode::List(nodes), |values| ExprNode::Literal(ExprValue::List(values))))
            }
            ExprToken::Sign("{") => Err("maps are not supported".to_owned()),
            ExprToken::Sign(".") => Err("fields are not supported".to_owned()),
            ExprToken::End => Err("the expression ends too early".to_owned()),
            other => Err(format!("unexpected {other}")),
        }
    }

    fn name(&self, word: String) -> Result<ExprNode, String> {
        if let Some(at) = self.locals.iter().rposition(|name| *name == word) {
            return Ok(ExprNode::Local(at));
        }
        if self.variables.contains(&word) {
            Ok(ExprNode::Variable(word))
        } else {
            Err(format!("unknown name {word}"))
        }
    }

    /// The arguments of a function, behind its opening parenthesis.
    fn call(&mut self, name: String, first: Option<ExprNode>) -> Result<ExprNode, String> {
        if let Some((_, predicate)) = PREDICATES.iter().find(|(known, _)| *known == name) {
            return self.predicate(*predicate, first);
        }
        let wanted = match QUERY_FUNCTIONS.iter().find(|(known, _)| *known == name) {
            Some((_, count)) => Some(*count),
            None if functions::is_known(&name) || self.functions.contains(&name.as_str()) => None,
            None => {
                // The error is at the name.
                self.at -= 1;
                return Err(format!("unknown function {name}"));
            }
        };
        let mut arguments = self.list(")", first.into_iter().collect())?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != arguments.len()) {
            return Err(format!("{name} takes {wanted} arguments"));
        }
        if name == "incidr"
            && let [_, ExprNode::Literal(ExprValue::Text(net))] = arguments.as_slice()
            && let Ok(net) = net.parse()
        {
            return Ok(ExprNode::InNet(Box::new(arguments.swap_remove(0)), net));
        }
        Ok(ExprNode::Call(name, arguments))
    }

    /// `ARRAY, CONDITION)`, where the condition may be in braces. An array before `|` is given.
    fn predicate(&mut self, predicate: Predicate, first: Option<ExprNode>) -> Result<ExprNode, String> {
        let list = match first {
            Some(list) => list,
            None => {
                let list = self.choice()?;
                self.expect(",")?;
                list
            }
        };
        let braces = self.skip("{");
        self.locals.push("#".to_owned());
        let condition = self.choice()?;
        self.locals.pop();
        if braces {
            self.expect("}")?;
        }
        self.expect(")")?;
        Ok(ExprNode::Predicate(predicate, Box::new([list, condition])))
    }

    /// The indexes behind a value.
    fn indexes(&mut self, mut node: ExprNode) -> Result<ExprNode, String> {
        loop {
            if self.skip("?.") || self.skip(".") {
                return Err("fields are not supported".to_owned());
            }
            if !self.skip("[") {
                return Ok(node);
            }
            self.postfix()?;
            let from = if Self::is(self.peek(), ":") { None } else { Some(self.choice()?) };
            if !self.skip(":") {
                self.expect("]")?;
                let at = from.ok_or("an index is missing")?;
                node = ExprNode::Index(Box::new([node, at]));
                continue;
            }
            let to = if Self::is(self.peek(), "]") { None } else { Some(self.choice()?) };
            self.expect("]")?;
            node = ExprNode::Slice(Box::new(node), from.map(Box::new), to.map(Box::new));
        }
    }

    /// Values with commas between them, up to a closing sign, behind those that are there already.
    fn list(&mut self, close: &str, mut nodes: Vec<ExprNode>) -> Result<Vec<ExprNode>, String> {
        let given = nodes.len();
        while !self.skip(close) {
            if nodes.len() > given {
                self.expect(",")?;
            }
            nodes.push(self.choice()?);
        }
        Ok(nodes)
    }
}
