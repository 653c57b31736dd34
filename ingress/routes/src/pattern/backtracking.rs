//! Patterns with look-around or back-references, which linear-time engines do not support.

use super::budget::{StepBudget, StepLimitExceeded};
use super::{Captures, PatternError, SIZE_LIMIT, pcre};

/// Steps of the first attempt. Nearly all patterns in use need fewer.
const QUICK_LIMIT: usize = 1000;
/// Steps of the second attempt.
const THOROUGH_LIMIT: usize = 100_000;
/// A step may read this many bytes of the text: the engine matches regular parts of a pattern with a linear engine in one step.
const BYTES_PER_STEP: usize = 256;

/// The engine does not report how many steps it took, only whether they exceeded a limit set when compiling. So the pattern
/// is compiled with a small and with a large limit, and each attempt is charged its limit.
pub(super) struct BacktrackingPattern {
    quick: fancy_regex::Regex,
    thorough: fancy_regex::Regex,
    /// A bit for each ASCII byte that every matching text contains; letters in lower case.
    required: u128,
}

impl BacktrackingPattern {
    /// Compiles a pattern. `source` is the pattern as the user wrote it, `text` the same in the engine's syntax.
    pub(super) fn new(source: &str, text: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let compile = |limit| {
            fancy_regex::RegexBuilder::new(text)
                .case_insensitive(ignore_case)
                .backtrack_limit(limit)
                .delegate_size_limit(SIZE_LIMIT)
                .build()
                .map_err(|error| pattern_error(source, &error))
        };
        let required = fancy_regex::RegexOptionsBuilder::new().required_bytes(text).unwrap_or_default();
        let required = required.iter().filter(u8::is_ascii).fold(0, |bits, byte| bits | bit(byte));
        Ok(Self { quick: compile(QUICK_LIMIT)?, thorough: compile(THOROUGH_LIMIT)?, required })
    }

    pub(super) fn is_match(&self, text: &str, budget: &mut StepBudget) -> Result<bool, StepLimitExceeded> {
        if !self.may_match(text, budget)? {
            return Ok(false);
        }
        self.attempt(text, budget, |regex| regex.is_match(text))
    }

    pub(super) fn captures<'t>(
        &self,
        text: &'t str,
        budget: &mut StepBudget,
    ) -> Result<Option<Captures<'t>>, StepLimitExceeded> {
        let captures = self.attempt(text, budget, |regex| regex.captures(text))?;
        Ok(captures.map(|found| found.iter().map(|group| group.map_or("", |group| group.as_str())).collect()))
    }

    pub(super) fn group_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.quick.capture_names()
    }

    /// Whether the text contains all bytes that a match requires.
    fn may_match(&self, text: &str, budget: &mut StepBudget) -> Result<bool, StepLimitExceeded> {
        budget.charge(1 + text.len() / BYTES_PER_STEP)?;
        // Some letters outside ASCII are the other case of an ASCII letter.
        Ok(!text.is_ascii()
            || text.bytes().fold(0, |bits, byte| bits | bit(byte)) & self.required == self.required)
    }

    fn attempt<T>(
        &self,
        text: &str,
        budget: &mut StepBudget,
        run: impl Fn(&fancy_regex::Regex) -> fancy_regex::Result<T>,
    ) -> Result<T, StepLimitExceeded> {
        let scale = 1 + text.len() / BYTES_PER_STEP;
        budget.charge(QUICK_LIMIT * scale)?;
        if let Ok(found) = run(&self.quick) {
            return Ok(found);
        }
        budget.charge(THOROUGH_LIMIT * scale)?;
        run(&self.thorough).map_err(|_| budget.exceed())
    }
}

/// The bit of an ASCII byte, ignoring case.
fn bit(byte: u8) -> u128 {
    1 << (byte.to_ascii_lowercase() & 127)
}

fn pattern_error(source: &str, error: &fancy_regex::Error) -> PatternError {
    match error {
        fancy_regex::Error::ParseError(position, error) => PatternError {
            reason: lower_first(error.to_string()),
            character: Some(1 + pcre::source_characters(source, *position)),
        },
        error => PatternError { reason: lower_first(error.to_string()), character: None },
    }
}

fn lower_first(text: String) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
