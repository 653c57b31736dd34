//! What the snippets of a request have set so far.

use std::sync::Arc;

use crate::exchange::Exchange;

/// What snippets have set for a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnippetState {
    variables: Vec<(Arc<str>, String)>,
    /// The groups of the last match, the whole match first.
    pub(crate) groups: Vec<String>,
    /// The block of `if` that holds for the request: the number of the location's snippet, and of the block in it. As in nginx only
    /// the last one whose condition was true counts.
    pub(crate) block: Option<(usize, usize)>,
}

impl SnippetState {
    /// That of a request; an empty one if no snippet has run.
    pub fn of(exchange: &Exchange) -> &Self {
        static NONE: SnippetState = SnippetState { variables: Vec::new(), groups: Vec::new(), block: None };
        exchange.values.get().unwrap_or(&NONE)
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        self.variables.iter().find(|(known, _)| **known == *name).map_or("", |(_, value)| value)
    }

    pub(crate) fn group(&self, number: usize) -> &str {
        self.groups.get(number).map_or("", String::as_str)
    }

    pub(crate) fn set(&mut self, name: &Arc<str>, value: String) {
        match self.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.variables.push((name.clone(), value)),
        }
    }
}
