//! The directives of a snippet at one level of the configuration: http, a server, a location, or a block of `if`.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderValue;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::auth_variable::AuthVariable;
use super::expires::Expires;
use super::header_rules::{AddedHeader, HeaderRule, is_success_or_redirect};
use super::lexer::Position;
use super::text::{SnippetText, TextValues};
use crate::plan::filter::ResponseView;
use crate::plan::head_edits::HeadEdits;
use crate::settings::ProxyOverrides;

/// The directives of a level, apart from those of the rewrite phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigLevel {
    /// `more_set_headers`, `more_clear_headers`.
    pub(crate) response_rules: Vec<HeaderRule>,
    /// `more_set_input_headers`, `more_clear_input_headers`.
    pub(crate) input_rules: Vec<HeaderRule>,
    /// `add_header`.
    pub(crate) added: Vec<AddedHeader>,
    /// `expires`.
    pub(crate) expires: Option<Expires>,
    /// `proxy_set_header`.
    pub(crate) upstream_headers: Vec<(String, SnippetText)>,
    /// `proxy_hide_header`.
    pub(crate) hidden: Vec<String>,
    /// `proxy_pass_header Server`.
    pub(crate) passes_server: bool,
    /// `proxy_cookie_path`, `proxy_cookie_domain`.
    pub cookies: Vec<CookieDirective>,
    /// `allow`, `deny`.
    pub(crate) addresses: Vec<AddressRule>,
    /// `satisfy`.
    pub satisfy_any: Option<bool>,
    /// `auth_request off`.
    pub without_auth_request: bool,
    /// `auth_request_set`.
    pub(crate) auth_variables: Vec<AuthVariable>,
    /// `default_type`: of the bodies of `return`.
    pub(crate) default_type: Option<HeaderValue>,
    /// How requests are sent to endpoints.
    pub proxy: ProxyOverrides,
}

impl ConfigLevel {
    /// Whether it changes what endpoints get.
    pub fn changes_requests(&self) -> bool {
        !self.input_rules.is_empty() || !self.upstream_headers.is_empty()
    }

    /// Whether it changes headers of responses.
    pub fn changes_responses(&self) -> bool {
        let Self { response_rules, added, expires, hidden, .. } = self;
        !response_rules.is_empty() || !added.is_empty() || expires.is_some() || !hidden.is_empty()
    }

    /// The fields of `proxy_set_header`: names and values.
    pub fn upstream_headers<'l>(
        &'l self,
        values: &'l TextValues<'_>,
    ) -> impl Iterator<Item = (&'l str, Cow<'l, [u8]>)> {
        self.upstream_headers.iter().map(|(name, value)| (name.as_str(), value.header(values)))
    }

    /// `proxy_pass_header Server`.
    pub fn passes_server(&self) -> bool {
        self.passes_server
    }

    /// `default_type`.
    pub fn default_type(&self) -> Option<&HeaderValue> {
        self.default_type.as_ref()
    }

    /// Whether it has `allow` or `deny`.
    pub fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether a client is allowed; `None` if no rule covers it.
    pub fn allows(&self, client: &IpAddr) -> Option<bool> {
        self.addresses.iter().find(|rule| rule.covers(client)).map(|rule| rule.allows)
    }
}

/// The levels that hold for a request, from the innermost to the outermost, those of the same place together: a block of `if`, the
/// location, the server, http.
type Places<'p> = [SmallVec<[&'p ConfigLevel; 2]>; 4];

/// Changes what the endpoint gets. Input headers change first, as in nginx; headers of a location replace them.
pub fn edit_request<'r>(places: &Places<'r>, values: &TextValues<'r>, edits: &mut HeadEdits<'r>) {
    for level in places.iter().rev().flatten() {
        level.input_rules.iter().for_each(|rule| rule.edit_request(values, edits));
    }
    for (name, value) in places.iter().rev().flatten().flat_map(|level| &level.upstream_headers) {
        edits.set(name, value.header(values));
    }
}

/// Changes the head of a response, in the order of nginx's header filters.
pub fn edit_response<'r>(
    places: &Places<'r>,
    values: &TextValues<'r>,
    response: &ResponseView<'_>,
    edits: &mut HeadEdits<'r>,
) {
    let innermost = |has: fn(&ConfigLevel) -> bool| {
        let place = places.iter().find(|place| place.iter().any(|level| has(level)));
        place.into_iter().flatten()
    };
    if response.is_of_endpoint {
        for name in innermost(|level| !level.hidden.is_empty()).flat_map(|level| &level.hidden) {
            edits.remove(name);
        }
    }
    for level in places.iter().rev().flatten() {
        level.response_rules.iter().for_each(|rule| rule.edit_response(values, response, edits));
    }
    let status = response.status.as_u16();
    let expires = innermost(|level| level.expires.is_some()).find_map(|level| level.expires);
    if let Some(expires) = expires.filter(|_| is_success_or_redirect(status)) {
        expires.edit(values.exchange.began, edits);
    }
    for added in innermost(|level| !level.added.is_empty()).flat_map(|level| &level.added) {
        added.edit(values, status, edits);
    }
}

/// `allow` or `deny`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AddressRule {
    pub(crate) allows: bool,
    /// `None` for all addresses.
    pub(crate) network: Option<IpNet>,
}

impl AddressRule {
    pub(crate) fn covers(&self, address: &IpAddr) -> bool {
        self.network.is_none_or(|network| network.contains(address))
    }
}

/// `proxy_cookie_path` or `proxy_cookie_domain`.
#[derive(Clone, Debug, PartialEq)]
pub struct CookieDirective {
    /// The attribute is Domain, not Path.
    pub is_domain: bool,
    /// The text to replace.
    pub from: String,
    /// The replacement.
    pub to: String,
    /// Where the directive is.
    pub at: Position,
}
