//! A directive that is known: where it may be, and what becomes of it.

use super::Context;
use super::known_names::KnownNames;
use super::level::ConfigLevel;
use super::lexer::SnippetWord;
use super::rewrite_step::RewriteCommand;

/// A directive of nginx.
#[derive(Clone, Copy, Debug)]
pub struct SnippetDirective {
    /// Its name.
    pub name: &'static str,
    /// Its arguments in the notation of nginx's documentation.
    pub arguments: &'static str,
    /// The places in which it has an effect.
    pub contexts: &'static [Context],
    /// Why it has none in other places where nginx accepts it; `None` if nginx does not.
    pub elsewhere: Option<&'static str>,
    /// Whether requests could be served that it would refuse, if it were left out.
    pub protects: bool,
    /// What becomes of it.
    pub fate: Fate,
    /// Its effect, or why it has none.
    pub doc: &'static str,
}

/// The fate of a directive.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is honoured.
    Honoured(Compile),
    /// It is honoured, and has a block.
    Condition,
    /// It is accepted, and its lack changes nothing for clients.
    WithoutEffect,
    /// It is refused.
    Refused,
}

impl Fate {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honoured(_) | Self::Condition => "honoured",
            Self::WithoutEffect => "without effect",
            Self::Refused => "refused",
        }
    }
}

/// Adds a directive to its level. The error says what was wanted.
pub type Compile = fn(&mut Target<'_>, &Call<'_>) -> Result<(), String>;

/// A directive as written.
#[derive(Debug)]
pub struct Call<'s> {
    pub(crate) name: &'s str,
    pub(crate) arguments: &'s [SnippetWord],
    pub(crate) known: &'s KnownNames,
    pub(crate) line: &'s SnippetWord,
}

impl<'s> Call<'s> {
    /// The texts of the arguments.
    pub(crate) fn words(&self) -> Vec<&'s str> {
        self.arguments.iter().map(|word| word.text.as_str()).collect()
    }

    /// The only argument.
    pub(crate) fn only(&self, wanted: &str) -> Result<&'s str, String> {
        match self.arguments {
            [word] => Ok(&word.text),
            _ => Err(format!("should have one argument: {wanted}")),
        }
    }
}

/// Where a directive is added.
#[derive(Debug)]
pub struct Target<'p> {
    pub(crate) level: &'p mut ConfigLevel,
    pub(crate) steps: &'p mut Vec<RewriteCommand>,
}
