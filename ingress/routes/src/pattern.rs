//! Regular expressions written by users, with the meaning that they have in PCRE: rule paths and header patterns.

mod backtracking;
mod budget;
mod linear;
mod path_pattern;
mod pcre;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use smallvec::SmallVec;

use self::backtracking::BacktrackingPattern;
pub use self::budget::{StepBudget, StepLimitExceeded};
use self::linear::{LinearPattern, NotLinear};
pub use self::path_pattern::PathPattern;
pub(crate) use self::path_pattern::literal_prefix;

/// The largest compiled pattern in bytes, so that one Ingress cannot use up the memory.
const SIZE_LIMIT: usize = 1 << 20;

/// A compiled pattern.
pub struct Pattern {
    text: String,
    engine: Engine,
}

enum Engine {
    Linear(Box<LinearPattern>),
    Backtracking(Box<BacktrackingPattern>),
}

/// The text of each group of a match, the whole match first; groups that did not match are empty.
pub type Captures<'t> = SmallVec<[&'t str; 10]>;

/// Why a text is not a valid pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong.
    pub reason: String,
    /// The position as the number of a character of the user's text, from 1.
    pub character: Option<usize>,
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.character {
            Some(character) => write!(f, "{} at character {character}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl Pattern {
    /// The text that it was made from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Compiles a pattern, unanchored.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let translated = pcre::translate(text);
        let engine = match LinearPattern::new(&translated, ignore_case) {
            Ok(pattern) => Engine::Linear(Box::new(pattern)),
            Err(NotLinear::Irregular) => {
                Engine::Backtracking(Box::new(BacktrackingPattern::new(text, &translated, ignore_case)?))
            }
            Err(NotLinear::TooBig) => {
                let reason = "it compiles to more than a mebibyte".into();
                return Err(PatternError { reason, character: None });
            }
        };
        Ok(Self { text: text.into(), engine })
    }

    /// Whether the pattern is found in a text.
    pub fn is_match(&self, text: &str, budget: &mut StepBudget) -> Result<bool, StepLimitExceeded> {
        match &self.engine {
            Engine::Linear(pattern) => pattern.is_match(text, budget),
            Engine::Backtracking(pattern) => pattern.is_match(text, budget),
        }
    }

    /// The groups of the leftmost match; `None` where the pattern is not found.
    pub fn captures<'t>(
        &self,
        text: &'t str,
        budget: &mut StepBudget,
    ) -> Result<Option<Captures<'t>>, StepLimitExceeded> {
        match &self.engine {
            Engine::Linear(pattern) => pattern.captures(text, budget),
            Engine::Backtracking(pattern) => pattern.captures(text, budget),
        }
    }

    /// The number of the group `(?<name>…)`.
    pub fn group_number(&self, name: &str) -> Option<usize> {
        match &self.engine {
            Engine::Linear(pattern) => pattern.group_names().position(|known| known == Some(name)),
            Engine::Backtracking(pattern) => pattern.group_names().position(|known| known == Some(name)),
        }
    }
}

/// Patterns are equal if their texts are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

/// Compiled patterns that are in use, by text, so that all Ingresses with `/(.*)` share one.
#[derive(Debug, Default)]
pub struct PatternCache(Mutex<HashMap<String, Weak<Pattern>>>);

impl PatternCache {
    /// Returns the compiled pattern of this text, which ignores case, and compiles it if none is in use.
    pub fn get(&self, text: &str) -> Result<Arc<Pattern>, PatternError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.get(text).and_then(Weak::upgrade) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern::new(text, true)?);
        if known.len() == known.capacity() {
            known.retain(|_, pattern| pattern.strong_count() > 0);
        }
        known.insert(text.into(), Arc::downgrade(&pattern));
        Ok(pattern)
    }
}

#[cfg(test)]
mod tests;
