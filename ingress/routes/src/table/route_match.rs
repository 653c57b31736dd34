//! The location that a request matches, and the rewrite phase of its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::CompactString;
use http::StatusCode;

use super::extra_names::NameKind;
use super::host::Host;
use super::path_match::PathMatch;
use super::route::Route;
use crate::exchange::Exchange;
use crate::path::encode;
use crate::pattern::StepBudget;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter, ServerFilters};
use crate::plan::redirect_origin::RedirectOrigin;

/// The location that a request matches.
#[derive(Clone, Copy, Debug)]
pub struct RouteMatch<'t> {
    pub(super) filters: &'t ServerFilters,
    pub(super) host: &'t Host,
    pub(super) path_match: PathMatch<'t>,
    /// The key of the host, if it was found under another name, and why.
    pub(super) extra_name: Option<(NameKind, &'t CompactString)>,
    pub(super) certificate: bool,
    pub(super) step_budget: StepBudget,
    pub(super) step_limit_hits: &'t StepLimitHits,
}

impl<'t> RouteMatch<'t> {
    /// The route.
    pub fn route(&self) -> &'t Arc<Route> {
        match self.path_match {
            PathMatch::Route(route) | PathMatch::MissingSlash(route) | PathMatch::StepLimit(route) => route,
        }
    }

    /// Does the rewrite phase, in nginx's order: the filters of all hosts (blocklists), `app-root` of the host, the 413 of a body that is announced as
    /// too long, the redirect to a missing slash, the 503 of a closed route, the filters of the route. After
    /// [`FilterOutcome::Continue`] the phases of the route's [`Plan`] follow.
    ///
    /// [`Plan`]: crate::plan::Plan
    pub fn rewrite(&self, exchange: &mut Exchange) -> FilterOutcome {
        exchange.certificate = self.certificate;
        exchange.step_budget.set(self.step_budget);
        let outcome = self.rewrite_phase(exchange);
        if exchange.step_budget.get().is_exceeded() {
            self.step_limit_hits.0.fetch_add(1, Ordering::Relaxed);
            self.route().step_limit.set();
        }
        outcome
    }

    fn rewrite_phase(&self, exchange: &mut Exchange) -> FilterOutcome {
        if let outcome @ FilterOutcome::Respond(_) = self.filters.request(exchange) {
            return outcome;
        }
        if let (Some((NameKind::Counterpart, _)), PathMatch::Route(route)) =
            (self.extra_name, &self.path_match)
        {
            return route.rewrite(exchange);
        }
        if self.host.server_tls.is_closed {
            return FilterOutcome::Respond(DirectResponse::status(StatusCode::FORBIDDEN));
        }
        if let Some(app_root) = &self.host.app_root
            && let outcome @ FilterOutcome::Respond(_) = app_root.request(exchange)
        {
            return outcome;
        }
        let status = |status| FilterOutcome::Respond(DirectResponse::status(status));
        match self.path_match {
            PathMatch::StepLimit(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
            PathMatch::Route(route) | PathMatch::MissingSlash(route) if route.refuses_body(exchange) => {
                status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            PathMatch::Route(route) => route.rewrite(exchange),
            PathMatch::MissingSlash(route) => {
                FilterOutcome::Respond(with_slash(exchange, route.plan.redirect_origin))
            }
        }
    }
}

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
