//! When a request goes to a canary: header before cookie before weight.
//!
//! A header with a configured value chooses the canary on equality, with a pattern on a match; otherwise `always` and
//! `never` decide. Any other value leaves the decision to the cookie, and then to the weight.

use std::sync::Arc;

use http::HeaderName;

use crate::exchange::Exchange;
use crate::pattern::{Pattern, StepLimitExceeded};

/// The `canary-*` annotations of an Ingress.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryPolicy {
    /// `canary-by-header`.
    pub header: Option<HeaderName>,
    /// `canary-by-header-value`, or else `canary-by-header-pattern`.
    pub value: CanaryHeader,
    /// `canary-by-cookie`.
    pub cookie: Option<String>,
    /// `canary-weight`.
    pub weight: u32,
    /// `canary-weight-total`, at least 100.
    pub total: u32,
    /// The value of `canary` is not a boolean: the Ingress has no routes of its own and gets no requests.
    pub disabled: bool,
}

/// Which values of the header choose the canary.
#[derive(Clone, Debug, PartialEq)]
pub enum CanaryHeader {
    /// `always` chooses the canary, `never` the primary.
    Keyword,
    /// Exactly this value.
    Equals(String),
    /// A value in which this pattern is found.
    Matches(Arc<Pattern>),
    /// A pattern that does not compile: a request with the header goes to the primary.
    Invalid,
}

/// The decision of a header or cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CanaryDecision {
    Canary,
    Primary,
    Undecided,
}

impl CanaryPolicy {
    /// Whether a request goes to the canary: header before cookie before weight.
    pub(crate) fn chooses(&self, exchange: &Exchange, random_below: impl FnOnce(u32) -> u32) -> bool {
        let decision = match self.by_header(exchange) {
            CanaryDecision::Undecided => self.by_cookie(exchange),
            decided => decided,
        };
        match decision {
            CanaryDecision::Canary => true,
            CanaryDecision::Primary => false,
            CanaryDecision::Undecided => self.weight > 0 && random_below(self.total) < self.weight,
        }
    }

    fn by_header(&self, exchange: &Exchange) -> CanaryDecision {
        let Some(header) = &self.header else { return CanaryDecision::Undecided };
        let mut values = exchange.header_values(header);
        let Some(Some(value)) = values.next() else { return CanaryDecision::Undecided };
        // nginx joins repeated headers into a list. A list is not equal to a keyword, but a pattern may match in it.
        let joined = values.try_fold(None::<String>, |all, next| {
            next.map(|next| Some(format!("{}, {next}", all.as_deref().unwrap_or(value))))
        });
        let Some(joined) = joined else { return CanaryDecision::Undecided };
        let value = joined.as_deref().unwrap_or(value);
        match &self.value {
            CanaryHeader::Keyword => word(value),
            CanaryHeader::Equals(wanted) if value == wanted => CanaryDecision::Canary,
            CanaryHeader::Equals(_) => CanaryDecision::Undecided,
            CanaryHeader::Matches(pattern) => match is_match(pattern, value, exchange) {
                Ok(true) => CanaryDecision::Canary,
                Ok(false) => CanaryDecision::Undecided,
                Err(_) => CanaryDecision::Primary,
            },
            CanaryHeader::Invalid => CanaryDecision::Primary,
        }
    }

    /// nginx's `$cookie_name` ignores the case of the name.
    fn by_cookie(&self, exchange: &Exchange) -> CanaryDecision {
        let Some(name) = &self.cookie else { return CanaryDecision::Undecided };
        exchange.cookie_ignoring_case(name).map_or(CanaryDecision::Undecided, word)
    }
}

fn is_match(pattern: &Pattern, value: &str, exchange: &Exchange) -> Result<bool, StepLimitExceeded> {
    let mut budget = exchange.step_budget.get();
    let found = pattern.is_match(value, &mut budget);
    exchange.step_budget.set(budget);
    found
}

fn word(value: &str) -> CanaryDecision {
    match value {
        "always" => CanaryDecision::Canary,
        "never" => CanaryDecision::Primary,
        _ => CanaryDecision::Undecided,
    }
}
