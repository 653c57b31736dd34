//! Parses an expression by the precedence of its operators.

use regex::Regex;

use super::{ExprValue, Node, Operator};

/// The deepest nesting. A parser that calls itself needs a bound.
const MAX_DEPTH: usize = 64;
/// The most operators between two values. `1 + 1 + 1 …` nests to the left, and each level is a call when it is evaluated.
const MAX_OPERATORS: usize = 128;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(ExprValue),
    Text(String),
    Word(String),
    Sign(&'static str),
    End,
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operators: usize,
}

/// Signs, longer ones before their beginnings.
const SIGNS: [&str; 21] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]",
    ",",
];

impl Parser {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        Ok(Self { tokens: tokens(text)?, at: 0, depth: 0, operators: 0 })
    }

    /// The expression, which must be all of the text.
    pub(super) fn whole(mut self) -> Result<Node, String> {
        let node = self.choice()?;
        match self.peek() {
            Token::End => Ok(node),
            other => Err(format!("unexpected {other}")),
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    /// Skips a sign or a word if it comes next.
    fn skip(&mut self, wanted: &str) -> bool {
        let is = match self.peek() {
            Token::Sign(sign) => *sign == wanted,
            Token::Word(word) => word == wanted,
            _ => false,
        };
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        if self.skip(wanted) { Ok(()) } else { Err(format!("'{wanted}' is missing")) }
    }

    fn choice(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("the expression is nested too deeply".to_owned());
        }
        let condition = self.binary(0)?;
        let node = if self.skip("?") {
            let yes = self.choice()?;
            self.expect(":")?;
            Node::Choice(Box::new([condition, yes, self.choice()?]))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Operators that bind at least as strongly as `least`.
    fn binary(&mut self, least: u8) -> Result<Node, String> {
        let mut left = self.unary()?;
        while let Some((operator, strength, length)) =
            self.operator().filter(|(_, strength, _)| *strength >= least)
        {
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                return Err(format!("the expression has more than {MAX_OPERATORS} operators"));
            }
            self.at += length;
            let right = self.binary(strength + 1)?;
            left = match (operator, right) {
                (Operator::Matches, Node::Literal(ExprValue::Text(pattern))) => {
                    let pattern = Regex::new(&pattern).map_err(|error| error.to_string())?;
                    Node::Matches(Box::new(left), pattern)
                }
                (operator, right) => Node::Binary(operator, Box::new(left), Box::new(right)),
            };
        }
        Ok(left)
    }

    /// The operator that comes next, how strongly it binds, and its tokens.
    fn operator(&self) -> Option<(Operator, u8, usize)> {
        let word = match self.peek() {
            Token::Sign(sign) => sign,
            Token::Word(word) => word.as_str(),
            _ => return None,
        };
        Some(match word {
            "||" | "or" => (Operator::Or, 1, 1),
            "&&" | "and" => (Operator::And, 2, 1),
            "==" => (Operator::Equal, 3, 1),
            "!=" => (Operator::NotEqual, 3, 1),
            "<" => (Operator::Less, 3, 1),
            "<=" => (Operator::LessEqual, 3, 1),
            ">" => (Operator::Greater, 3, 1),
            ">=" => (Operator::GreaterEqual, 3, 1),
            "in" => (Operator::In, 3, 1),
            "not" if self.tokens.get(self.at + 1) == Some(&Token::Word("in".to_owned())) => {
                (Operator::NotIn, 3, 2)
            }
            "contains" => (Operator::Contains, 3, 1),
            "startsWith" => (Operator::StartsWith, 3, 1),
            "endsWith" => (Operator::EndsWith, 3, 1),
            "matches" => (Operator::Matches, 3, 1),
            "+" => (Operator::Add, 4, 1),
            "-" => (Operator::Subtract, 4, 1),
            "*" => (Operator::Multiply, 5, 1),
            "/" => (Operator::Divide, 5, 1),
            "%" => (Operator::Remainder, 5, 1),
            _ => return None,
        })
    }

    fn unary(&mut self) -> Result<Node, String> {
        // `!` and `-` repeat without nesting in the text, so they count as nesting here.
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("the expression is nested too deeply".to_owned());
        }
        let node = if self.skip("!") || self.skip("not") {
            Node::Not(Box::new(self.unary()?))
        } else if self.skip("-") {
            Node::Negative(Box::new(self.unary()?))
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, String> {
        match self.next() {
            Token::Number(value) => Ok(Node::Literal(value)),
            Token::Text(text) => Ok(Node::Literal(ExprValue::Text(text))),
            Token::Word(word) => Ok(match word.as_str() {
                "true" | "false" => Node::Literal(ExprValue::Bool(word == "true")),
                "nil" => Node::Literal(ExprValue::Nil),
                _ if self.skip("(") => Node::Call(word, self.list(")")?),
                _ => Node::Variable(word),
            }),
            Token::Sign("(") => {
                let node = self.choice()?;
                self.expect(")")?;
                Ok(node)
            }
            Token::Sign("[") => Ok(Node::List(self.list("]")?)),
            Token::End => Err("the expression ends too early".to_owned()),
            other => Err(format!("unexpected {other}")),
        }
    }

    /// Values with commas between them, up to a closing sign.
    fn list(&mut self, close: &str) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        while !self.skip(close) {
            if !nodes.is_empty() {
                self.expect(",")?;
            }
            nodes.push(self.choice()?);
        }
        Ok(nodes)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Word(word) => f.write_str(word),
            Self::Sign(sign) => f.write_str(sign),
            Self::End => f.write_str("end"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let end = |is: &dyn Fn(char) -> bool| rest.find(|ch| !is(ch)).unwrap_or(rest.len());
        let length = if first == '"' || first == '\'' {
            let (text, length) = quoted(rest, first).ok_or("a quote is not closed")?;
            tokens.push(Token::Text(text));
            length
        } else if first.is_ascii_digit() {
            let length = end(&|ch| ch.is_ascii_alphanumeric() || ch == '.' || ch == '_');
            tokens.push(Token::Number(number(&rest[..length])?));
            length
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = end(&|ch| ch.is_ascii_alphanumeric() || ch == '_');
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("unexpected {first}"))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn number(text: &str) -> Result<ExprValue, String> {
    let digits = text.replace('_', "");
    let whole = match digits.get(..2) {
        Some("0x") => i64::from_str_radix(&digits[2..], 16).ok(),
        Some("0b") => i64::from_str_radix(&digits[2..], 2).ok(),
        Some("0o") => i64::from_str_radix(&digits[2..], 8).ok(),
        _ => digits.parse().ok(),
    };
    let value = whole.map(ExprValue::Int).or_else(|| digits.parse().ok().map(ExprValue::Float));
    value.ok_or_else(|| format!("{text} is not a number"))
}

/// The text of a string, and its length with quotes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let (mut value, mut chars) = (String::new(), text.char_indices().skip(1));
    loop {
        match chars.next()? {
            (at, ch) if ch == quote => return Some((value, at + 1)),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            (_, ch) => value.push(ch),
        }
    }
}
