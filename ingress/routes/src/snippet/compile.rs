//! From the text of a snippet to a program, and to what is wrong with it.

use super::Context;
use super::directive::{Call, Fate, SnippetDirective, Target};
use super::directive_list::{find, is_protective, mentions_protection, protects};
use super::directives::condition;
use super::known_names::KnownNames;
use super::level::ConfigLevel;
use super::lexer::Position;
use super::rewrite_step::RewriteCommand;
use super::run::Program;
use super::statement::{Statement, parse};

/// The longest snippet in bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// How many directives a snippet may have.
pub const MAX_DIRECTIVES: usize = 1000;

/// How many findings of a snippet are reported one by one.
const MAX_FINDINGS: usize = 20;

/// Something in a snippet that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetFinding {
    /// Where it is.
    pub at: Position,
    /// What is wrong and what was wanted.
    pub what: String,
    /// The consequence.
    pub severity: FindingSeverity,
}

/// The consequence of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingSeverity {
    /// None for clients.
    NoEffect,
    /// Requests are served without it.
    LeftOut,
    /// What it would protect must not be served.
    Closes,
}

impl std::fmt::Display for SnippetFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// Compiles a snippet. `outer` are the variables that other snippets set before it.
pub fn compile(text: &str, context: Context, outer: &KnownNames) -> (Program, Vec<SnippetFinding>) {
    let mut compiler = Compiler { known: KnownNames::default(), findings: Vec::new(), ifs: Vec::new() };
    if text.len() > MAX_LENGTH {
        let at = Position { line: 1, column: 1 };
        let what = format!("the snippet has {} bytes and may have {MAX_LENGTH}", text.len());
        return (Program::default(), vec![SnippetFinding { at, what, severity: FindingSeverity::Closes }]);
    }
    let (statements, error) = parse(text, MAX_DIRECTIVES);
    compiler.known = KnownNames::of(&statements, outer);
    let (mut level, mut steps) = <(ConfigLevel, Vec<RewriteCommand>)>::default();
    compiler.block(&statements, context, &mut level, &mut steps);
    if let Some(error) = error {
        let rest = &text[error.offset..];
        let severity =
            if mentions_protection(rest) { FindingSeverity::Closes } else { FindingSeverity::LeftOut };
        let what = format!("{}; what follows is not read", error.what);
        compiler.findings.push(SnippetFinding { at: error.at, what, severity });
    }
    let Compiler { known, findings, ifs } = compiler;
    (Program { steps, level, ifs, names: known }, bounded(findings))
}

/// The first findings, and one for all others.
fn bounded(mut findings: Vec<SnippetFinding>) -> Vec<SnippetFinding> {
    if findings.len() > MAX_FINDINGS {
        let others = findings.split_off(MAX_FINDINGS - 1);
        let severity =
            others.iter().map(|finding| finding.severity).max().unwrap_or(FindingSeverity::LeftOut);
        let what = format!("there are {} more directives without effect from here on", others.len());
        findings.push(SnippetFinding { at: others[0].at, what, severity });
    }
    findings
}

struct Compiler {
    known: KnownNames,
    findings: Vec<SnippetFinding>,
    ifs: Vec<ConfigLevel>,
}

impl Compiler {
    fn block(
        &mut self,
        statements: &[Statement],
        context: Context,
        level: &mut ConfigLevel,
        steps: &mut Vec<RewriteCommand>,
    ) {
        for statement in statements {
            if let Err((what, severity)) = self.statement(statement, context, level, steps) {
                let what = format!("{} {what}", statement.name.text.escape_debug());
                self.findings.push(SnippetFinding { at: statement.name.at, what: shortened(what), severity });
            }
        }
    }

    fn statement(
        &mut self,
        statement: &Statement,
        context: Context,
        level: &mut ConfigLevel,
        steps: &mut Vec<RewriteCommand>,
    ) -> Result<(), (String, FindingSeverity)> {
        let name = statement.name.text.as_str();
        let closes = |closes: bool| if closes { FindingSeverity::Closes } else { FindingSeverity::LeftOut };
        let Some(directive) = find(name) else {
            return Err(("is not a known directive".into(), closes(protects(statement))));
        };
        let refusal = self.refusal(directive, context);
        if let Some((what, severity)) = refusal {
            let severity = severity.unwrap_or_else(|| closes(protects(statement)));
            return Err((what, severity));
        }
        if let (Fate::Condition, Some(block)) = (directive.fate, &statement.block) {
            let condition = condition(&statement.arguments, &self.known);
            let condition = condition.map_err(|what| (what, closes(protects(statement))))?;
            let inner = if context == Context::Server { Context::ServerIf } else { Context::LocationIf };
            let (mut own, mut inner_steps) = <(ConfigLevel, Vec<RewriteCommand>)>::default();
            self.block(block, inner, &mut own, &mut inner_steps);
            steps.push(RewriteCommand::If { condition, level: self.ifs.len(), steps: inner_steps });
            self.ifs.push(own);
            return Ok(());
        }
        let has_block = statement.block.is_some();
        if has_block != matches!(directive.fate, Fate::Condition) {
            let what = if has_block { "should have no block" } else { "should have a block" };
            return Err((what.into(), closes(protects(statement) || directive.protects)));
        }
        let Fate::Honoured(compile) = directive.fate else { return Ok(()) };
        let call = Call { name, arguments: &statement.arguments, known: &self.known, line: &statement.name };
        // The authentication server may decide by the header.
        let is_strict = directive.protects || context == Context::Auth;
        compile(&mut Target { level, steps }, &call).map_err(|what| (what, closes(is_strict)))
    }

    /// Why a directive has no effect where it is, and the consequence if that is known.
    fn refusal(
        &self,
        directive: &SnippetDirective,
        context: Context,
    ) -> Option<(String, Option<FindingSeverity>)> {
        let SnippetDirective { contexts, elsewhere, fate, doc, .. } = directive;
        match fate {
            Fate::Refused => Some((format!("is refused: {doc}"), None)),
            Fate::WithoutEffect => Some((format!("has no effect: {doc}"), Some(FindingSeverity::NoEffect))),
            _ if contexts.contains(&context) => None,
            _ if context == Context::Auth && !is_protective(directive.name) => {
                let what = "has no effect on the request to the authentication server".to_owned();
                Some((what, Some(FindingSeverity::LeftOut)))
            }
            _ => Some(match elsewhere {
                Some(why) if matches!(context, Context::Http | Context::Server) => {
                    (format!("has no effect: {why}"), Some(FindingSeverity::NoEffect))
                }
                _ => (format!("is not allowed here ({})", context.name()), None),
            }),
        }
    }
}

/// A message of bounded length.
fn shortened(what: String) -> String {
    const MAX_LENGTH: usize = 300;
    if what.len() <= MAX_LENGTH {
        return what;
    }
    let end = (0..=MAX_LENGTH).rev().find(|at| what.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &what[..end])
}
