//! What the snippets of a route do with its requests.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use crate::annotations::source_range::HasLists;
use crate::exchange::Exchange;
use crate::plan::access::{AccessOutcome, AccessRule, Services};
use crate::plan::filter::{
    DirectResponse, FilterOutcome, RequestFilter, RequestHeadFilter, ResponseHeadFilter, ResponseView,
};
use crate::plan::head_edits::HeadEdits;
use crate::plan::redirect_origin::RedirectOrigin;
use crate::snippet::{
    ConfigLevel, Program, RouteNames, SnippetState, TextValues, edit_request, edit_response, run,
};

/// The snippets that apply to a route, by the level of their configuration.
#[derive(Debug)]
pub(super) struct RouteSnippets {
    pub(super) names: RouteNames,
    pub(super) http: Vec<Arc<Program>>,
    pub(super) server: Vec<Arc<Program>>,
    pub(super) location: Vec<Arc<Program>>,
    /// What precedes paths in Location.
    pub(super) origin: RedirectOrigin,
    /// `default-type`.
    pub(super) default_type: HeaderValue,
}

impl RouteSnippets {
    pub(super) fn is_empty(&self) -> bool {
        self.http.is_empty() && self.server.is_empty() && self.location.is_empty()
    }

    /// All levels, with all blocks of `if`.
    pub(super) fn all_levels(&self) -> impl Iterator<Item = &ConfigLevel> {
        let programs = self.http.iter().chain(&self.server).chain(&self.location);
        programs.flat_map(|program| program.all_levels())
    }

    /// The levels that hold for a request from the innermost to the outermost, those of the same place together.
    fn levels(&self, state: &SnippetState) -> [SmallVec<[&ConfigLevel; 2]>; 4] {
        let block = Program::block(&self.location, state);
        let places = [&self.location, &self.server, &self.http];
        let [location, server, http] =
            places.map(|programs| programs.iter().map(|program| &program.level).collect());
        [block.into_iter().collect(), location, server, http]
    }

    fn values<'v>(&'v self, exchange: &'v Exchange) -> TextValues<'v> {
        TextValues { exchange, names: &self.names, state: SnippetState::of(exchange) }
    }

    /// `default_type` of the innermost level.
    fn default_type<'s>(&'s self, places: &[&'s [Arc<Program>]]) -> &'s HeaderValue {
        let mut programs = places.iter().flat_map(|place| place.iter());
        programs.find_map(|program| program.level.default_type()).unwrap_or(&self.default_type)
    }

    fn run(
        &self,
        place: &[Arc<Program>],
        outer: &[&[Arc<Program>]],
        exchange: &mut Exchange,
    ) -> FilterOutcome {
        let programs: SmallVec<[&Program; 2]> = place.iter().map(|program| &**program).collect();
        let places: SmallVec<[&[Arc<Program>]; 3]> =
            [place].into_iter().chain(outer.iter().copied()).collect();
        let default_type = self.default_type(&places);
        run(&programs, exchange, &self.names, default_type, self.origin)
    }
}

/// The rewrite phase of a server.
#[derive(Debug)]
pub(super) struct ServerSteps(pub(super) Arc<RouteSnippets>);

impl RequestFilter for ServerSteps {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        self.0.run(&self.0.server, &[&self.0.http], exchange)
    }
}

/// The rewrite phase of a location.
#[derive(Debug)]
pub(super) struct LocationSteps(pub(super) Arc<RouteSnippets>);

impl RequestFilter for LocationSteps {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        self.0.run(&self.0.location, &[&self.0.server, &self.0.http], exchange)
    }
}

/// `allow` and `deny`.
#[derive(Debug)]
pub(super) struct AddressRules {
    snippets: Arc<RouteSnippets>,
    place: Place,
}

/// The innermost level that has rules.
#[derive(Clone, Copy, Debug)]
enum Place {
    Location,
    Server,
    Http,
}

impl AddressRules {
    /// `None` if no rule counts. A list of allowed addresses ends with `deny all`, so that nothing after it is reached, and a location
    /// with a list inherits no rules.
    pub(super) fn new(snippets: &Arc<RouteSnippets>, lists: HasLists) -> Option<Self> {
        let has = |programs: &[Arc<Program>]| programs.iter().any(|program| program.level.has_addresses());
        let place = match () {
            () if lists.allowed => return None,
            () if has(&snippets.location) => Place::Location,
            () if lists.denied => return None,
            () if has(&snippets.server) => Place::Server,
            () if has(&snippets.http) => Place::Http,
            () => return None,
        };
        Some(Self { snippets: snippets.clone(), place })
    }
}

impl AccessRule for AddressRules {
    fn check(&self, exchange: &mut Exchange, _: &dyn Services) -> AccessOutcome {
        let programs = match self.place {
            Place::Location => &self.snippets.location,
            Place::Server => &self.snippets.server,
            Place::Http => &self.snippets.http,
        };
        let client = exchange.client_ip();
        match programs.iter().find_map(|program| program.level.allows(&client)) {
            Some(true) => AccessOutcome::Allow,
            Some(false) => AccessOutcome::Refuse(DirectResponse::status(StatusCode::FORBIDDEN)),
            None => AccessOutcome::NoOpinion,
        }
    }
}

/// Headers of requests to endpoints.
#[derive(Debug)]
pub(super) struct RequestHeaders(pub(super) Arc<RouteSnippets>);

impl RequestHeadFilter for RequestHeaders {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        let values = self.0.values(exchange);
        edit_request(&self.0.levels(values.state), &values, edits);
    }
}

/// Headers of responses.
#[derive(Debug)]
pub(super) struct ResponseHeaders(pub(super) Arc<RouteSnippets>);

impl ResponseHeadFilter for ResponseHeaders {
    fn edit<'r>(&'r self, exchange: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        let values = self.0.values(exchange);
        edit_response(&self.0.levels(values.state), &values, response, edits);
    }
}
