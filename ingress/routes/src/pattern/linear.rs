//! Patterns without look-around and back-references: time grows linearly with the text.
//!
//! The worst case of the `regex` crate is the length of the text times the size of the compiled pattern: matching
//! `/[ab]*a[ab]{500}c` against a path of 8 KiB takes 60 ms. A lazy DFA with a small cache either takes about a nanosecond a
//! byte or gives up early. Only then does the slow engine run, and its worst case is charged.

use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

use super::budget::{StepBudget, StepLimitExceeded};
use super::{Captures, SIZE_LIMIT};

/// Memory of a lazy DFA for one thread.
const CACHE_CAPACITY: usize = 256 << 10;
/// Bytes of text that the DFA reads in the time of a step.
const BYTES_PER_STEP: usize = 16;
/// Bytes of DFA states that are built in the time of a step.
const BUILT_BYTES_PER_STEP: usize = 8;
/// States of the NFA that are visited in the time of a step.
const STATES_PER_STEP: usize = 4;

pub(super) struct LinearPattern {
    regex: regex::Regex,
    dfa: DFA,
    caches: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>>,
}

/// Why a pattern has no linear engine.
pub(super) enum NotLinear {
    /// It compiles to more than [`SIZE_LIMIT`].
    TooBig,
    /// It is not regular, or not a valid pattern.
    Irregular,
}

impl LinearPattern {
    /// Compiles a pattern in the syntax of the `regex` crate.
    pub(super) fn new(text: &str, ignore_case: bool) -> Result<Self, NotLinear> {
        let regex = regex::RegexBuilder::new(text)
            .case_insensitive(ignore_case)
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => NotLinear::TooBig,
                _ => NotLinear::Irregular,
            })?;
        let dfa = dfa(text, ignore_case).ok_or(NotLinear::TooBig)?;
        let source = dfa.clone();
        Ok(Self { regex, dfa, caches: Pool::new(Box::new(move || source.create_cache())) })
    }

    pub(super) fn is_match(&self, text: &str, budget: &mut StepBudget) -> Result<bool, StepLimitExceeded> {
        budget.charge(1 + text.len() / BYTES_PER_STEP)?;
        let mut cache = self.caches.get();
        let before = cache.memory_usage();
        let found = self.dfa.try_search_fwd(&mut cache, &Input::new(text).earliest(true));
        // A cache that has shrunk was full and was cleared.
        let built = cache.memory_usage().checked_sub(before).unwrap_or(CACHE_CAPACITY);
        budget.spend(built / BUILT_BYTES_PER_STEP);
        match found {
            Ok(found) => Ok(found.is_some()),
            Err(_) => {
                budget.charge(self.worst_case(text))?;
                Ok(self.regex.is_match(text))
            }
        }
    }

    pub(super) fn captures<'t>(
        &self,
        text: &'t str,
        budget: &mut StepBudget,
    ) -> Result<Option<Captures<'t>>, StepLimitExceeded> {
        budget.charge(self.worst_case(text))?;
        let captures = self.regex.captures(text);
        Ok(captures.map(|found| found.iter().map(|group| group.map_or("", |group| group.as_str())).collect()))
    }

    pub(super) fn group_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.regex.capture_names()
    }

    /// Steps that the `regex` crate needs at most.
    fn worst_case(&self, text: &str) -> usize {
        1 + text.len() * self.dfa.get_nfa().states().len() / STATES_PER_STEP
    }
}

fn dfa(text: &str, ignore_case: bool) -> Option<DFA> {
    let nfa = NFA::compiler()
        .syntax(syntax::Config::new().case_insensitive(ignore_case))
        .configure(NFA::config().nfa_size_limit(Some(SIZE_LIMIT)).which_captures(WhichCaptures::None))
        .build(text)
        .ok()?;
    let config = DFA::config()
        .match_kind(MatchKind::LeftmostFirst)
        // The DFA gives up at `\b` next to a character outside ASCII.
        .unicode_word_boundary(true)
        .cache_capacity(CACHE_CAPACITY)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(1))
        .minimum_bytes_per_state(Some(10));
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}
