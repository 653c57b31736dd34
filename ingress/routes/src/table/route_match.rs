//! The location that a request matches, and the rewrite phase of its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::CompactString;
use http::StatusCode;

use super::RouteTable;
use super::extra_names::NameKind;
use super::host::Host;
use super::path_match::PathMatch;
use super::route::Route;
use crate::exchange::Exchange;
use crate::path::encode;
use crate::pattern::StepBudget;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter, ServerFilters};
use crate::plan::phase::Phase;
use crate::plan::redirect_origin::RedirectOrigin;

/// The location that a request matches.
#[derive(Clone, Copy, Debug)]
pub struct RouteMatch<'t> {
    pub(super) table: &'t RouteTable,
    pub(super) filters: &'t ServerFilters,
    pub(super) host: &'t Host,
    pub(super) path_match: PathMatch<'t>,
    /// The key of the host, if it was found under another name, and why.
    pub(super) extra_name: Option<(NameKind, &'t CompactString)>,
    pub(super) certificate: bool,
    pub(super) step_budget: StepBudget,
    pub(super) step_limit_hits: &'t StepLimitHits,
    pub(super) phase: Phase,
}

impl<'t> RouteMatch<'t> {
    /// The route.
    pub fn route(&self) -> &'t Arc<Route> {
        match self.path_match {
            PathMatch::Route(route) | PathMatch::MissingSlash(route) | PathMatch::StepLimit(route) => route,
        }
    }

    /// The phase that was reached: `server`, or `rewrite` once [`Self::rewrite`] has come to the location.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Does the rewrite phase, in nginx's order: the filters of all hosts (blocklists), the snippets and `app-root` of the host, the 413 of a
    /// body that is announced as too long, the redirect to a missing slash, the 503 of a closed route, the filters of the route. After
    /// [`FilterOutcome::Continue`] the phases of the route's [`Plan`] follow. If a snippet changes the path, the match is that of the new
    /// one afterwards.
    ///
    /// [`Plan`]: crate::plan::Plan
    pub fn rewrite(&mut self, exchange: &mut Exchange) -> FilterOutcome {
        exchange.certificate = self.certificate;
        exchange.step_budget.set(self.step_budget);
        let outcome = self.rewrite_phase(exchange);
        if exchange.step_budget.get().is_exceeded() {
            self.step_limit_hits.0.fetch_add(1, Ordering::Relaxed);
            self.route().step_limit.set();
        }
        outcome
    }

    fn rewrite_phase(&mut self, exchange: &mut Exchange) -> FilterOutcome {
        if let outcome @ FilterOutcome::Respond(_) = self.server_phase(exchange) {
            return outcome;
        }
        self.phase = Phase::Rewrite;
        let mut searches = 0;
        loop {
            if exchange.new_uri {
                searches += 1;
                if searches > MAX_SEARCHES || !self.find_again(exchange) {
                    return FilterOutcome::respond(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR));
                }
            }
            let outcome = self.location_phase(exchange);
            if outcome != FilterOutcome::Continue || !exchange.new_uri {
                return outcome;
            }
        }
    }

    /// Searches the route of the path that a snippet has made; false if it is not a valid path.
    fn find_again(&mut self, exchange: &mut Exchange) -> bool {
        exchange.new_uri = false;
        exchange.rewrite_ended = false;
        if !exchange.normalise_rewritten() {
            return false;
        }
        let (host, path, budget) = (exchange.host(), exchange.path(), exchange.step_budget.get());
        let found = self.table.find_with(host, path, Some(exchange), budget);
        exchange.step_budget.set(found.step_budget);
        *self = RouteMatch { certificate: self.certificate, phase: self.phase, ..found };
        true
    }

    /// What belongs to the host and comes before the location.
    fn server_phase(&self, exchange: &mut Exchange) -> FilterOutcome {
        if let outcome @ FilterOutcome::Respond(_) = self.filters.request(exchange) {
            return outcome;
        }
        if self.is_counterpart() {
            return FilterOutcome::Continue;
        }
        if self.host.server_tls.is_closed {
            return FilterOutcome::respond(DirectResponse::status(StatusCode::FORBIDDEN));
        }
        for filter in &self.host.root.plan.server_rewrite {
            if let outcome @ FilterOutcome::Respond(_) = filter.request(exchange) {
                return outcome;
            }
        }
        exchange.rewrite_ended = false;
        if let Some(app_root) = &self.host.app_root {
            return app_root.request(exchange);
        }
        FilterOutcome::Continue
    }

    /// The host was found under the name of its counterpart, with or without `www.`.
    fn is_counterpart(&self) -> bool {
        matches!(self.extra_name, Some((NameKind::Counterpart, _)))
    }

    fn location_phase(&self, exchange: &mut Exchange) -> FilterOutcome {
        if let (true, PathMatch::Route(route)) = (self.is_counterpart(), &self.path_match) {
            return route.rewrite(exchange);
        }
        let status = |status| FilterOutcome::respond(DirectResponse::status(status));
        match self.path_match {
            PathMatch::StepLimit(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
            PathMatch::Route(route) | PathMatch::MissingSlash(route) if route.refuses_body(exchange) => {
                status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            PathMatch::Route(route) => route.rewrite(exchange),
            PathMatch::MissingSlash(route) => {
                FilterOutcome::respond(with_slash(exchange, route.plan.redirect_origin))
            }
        }
    }
}

/// How often the route of a request is searched again, as in nginx.
const MAX_SEARCHES: usize = 10;

/// nginx's redirect to the same path with a slash.
fn with_slash(exchange: &Exchange, origin: RedirectOrigin) -> DirectResponse {
    let (origin, path) = (origin.of(exchange), encode(exchange.path()));
    let query = exchange.query().map(|query| format!("?{query}")).unwrap_or_default();
    DirectResponse::redirect(StatusCode::MOVED_PERMANENTLY, format!("{origin}{path}/{query}"))
}

/// A count shared by all views.
#[derive(Clone, Debug, Default)]
pub(super) struct StepLimitHits(Arc<AtomicU64>);

impl StepLimitHits {
    /// How many requests were counted.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Views are compared without the count.
impl PartialEq for StepLimitHits {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
