//! The directives of a snippet, before anything is known about them.

use super::lexer::{Lexer, SnippetToken, SnippetWord, SyntaxError};

/// How many blocks may be within each other.
const MAX_DEPTH: usize = 8;

/// A directive: its name, its arguments and its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) name: SnippetWord,
    pub(crate) arguments: Vec<SnippetWord>,
    pub(crate) block: Option<Vec<Statement>>,
}

/// The directives of a text, and what ended them early. Those before an error are returned with it.
pub(crate) fn parse(text: &str, most: usize) -> (Vec<Statement>, Option<SyntaxError>) {
    let mut parser = Parser { lexer: Lexer::new(text), left: most };
    let mut statements = Vec::new();
    let error = parser.block(&mut statements, 0).err();
    (statements, error)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// How many more directives are allowed.
    left: usize,
}

impl Parser<'_> {
    /// The directives up to the closing brace of a block, or at depth 0 up to the end of the text.
    fn block(&mut self, statements: &mut Vec<Statement>, depth: usize) -> Result<(), SyntaxError> {
        loop {
            let token = self.lexer.next_token()?;
            let (at, offset) = self.lexer.start();
            let error = |what: &str| SyntaxError { at, what: what.to_owned(), offset };
            match token {
                SnippetToken::End if depth == 0 => return Ok(()),
                SnippetToken::End => return Err(error("the text ends where } is expected")),
                SnippetToken::CloseBrace if depth > 0 => return Ok(()),
                SnippetToken::CloseBrace => return Err(error("unexpected }")),
                SnippetToken::OpenBrace => return Err(error("unexpected {")),
                SnippetToken::Semicolon => return Err(error("unexpected ;")),
                SnippetToken::Word(name) => {
                    if self.left == 0 {
                        return Err(error("there are too many directives"));
                    }
                    self.left -= 1;
                    let known = statements.len();
                    statements.push(Statement { name, arguments: Vec::new(), block: None });
                    let read = self.rest(&mut statements[known], depth, offset);
                    if let Err(error) = read {
                        statements.truncate(known);
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The arguments and the block of a directive. An error in it begins where the directive does, so that nothing of it is lost.
    fn rest(&mut self, statement: &mut Statement, depth: usize, offset: usize) -> Result<(), SyntaxError> {
        loop {
            let token = self.lexer.next_token().map_err(|error| SyntaxError { offset, ..error })?;
            let (at, _) = self.lexer.start();
            let error = |what: String| SyntaxError { at, what, offset };
            let name = &statement.name.text;
            match token {
                SnippetToken::Word(word) => statement.arguments.push(word),
                SnippetToken::Semicolon => return Ok(()),
                SnippetToken::OpenBrace if depth == MAX_DEPTH => {
                    return Err(error(format!("blocks are nested deeper than {MAX_DEPTH}")));
                }
                SnippetToken::OpenBrace if name.ends_with("_by_lua_block") => {
                    statement.block = Some(Vec::new());
                    let is_closed = self.lexer.skip_block();
                    return if is_closed {
                        Ok(())
                    } else {
                        Err(error(format!("the block of {name} is not closed")))
                    };
                }
                SnippetToken::OpenBrace => {
                    let mut block = Vec::new();
                    let read = self.block(&mut block, depth + 1);
                    statement.block = Some(block);
                    return read.map_err(|error| SyntaxError { offset, ..error });
                }
                SnippetToken::CloseBrace => return Err(error(format!("; is missing after {name}"))),
                SnippetToken::End => {
                    return Err(error(format!("the text ends where ; is expected after {name}")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(statements: &[Statement]) -> String {
        let one = |statement: &Statement| {
            let words = [&statement.name].into_iter().chain(&statement.arguments);
            let words: Vec<_> = words.map(|word| word.text.as_str()).collect();
            let block = statement.block.as_ref();
            format!("{}{}", words.join(" "), block.map_or(";".into(), |all| format!("{{{}}}", shown(all))))
        };
        statements.iter().map(one).collect::<Vec<_>>().join("")
    }

    #[test]
    fn directives_are_read_up_to_an_error() {
        for (text, statements, error) in [
            ("", "", None),
            ("a b 'c d';\ne { f; g {} }", "a b c d;e{f;g{}}", None),
            ("a;;", "a;", Some("line 1, column 3: unexpected ; (2)")),
            ("a; b", "a;", Some("line 1, column 5: the text ends where ; is expected after b (3)")),
            ("a }", "", Some("line 1, column 3: ; is missing after a (0)")),
            ("a; }", "a;", Some("line 1, column 4: unexpected } (3)")),
            ("a;\nif { b; c }", "a;", Some("line 2, column 11: ; is missing after c (3)")),
            ("a; {", "a;", Some("line 1, column 4: unexpected { (3)")),
            ("a; b 'c", "a;", Some("line 1, column 6: the quote ' is not closed (3)")),
            (
                "a_by_lua_block { if x == '{' then } y() }; b;",
                "a_by_lua_block{}",
                Some("line 1, column 42: unexpected ; (41)"),
            ),
            ("a_by_lua_block { -- it's\n{ x() } } b;", "a_by_lua_block{}b;", None),
            (
                "a_by_lua_block { {",
                "",
                Some("line 1, column 16: the block of a_by_lua_block is not closed (0)"),
            ),
            ("a; b; c; d;", "a;b;c;", Some("line 1, column 10: there are too many directives (9)")),
        ] {
            let (found, problem) = parse(text, 3 + usize::from(text.contains('{')) * 3);
            let problem = problem.map(|error| format!("{}: {} ({})", error.at, error.what, error.offset));
            assert_eq!((shown(&found).as_str(), problem.as_deref()), (statements, error), "{text}");
        }
        let deep = "a {".repeat(9);
        assert!(parse(&deep, 100).1.unwrap().what.contains("nested deeper than 8"));
    }
}
