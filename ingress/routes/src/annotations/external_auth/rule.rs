//! The request to the authentication server, and what its response changes.

use std::sync::Arc;
use std::time::Duration;

use cluster::PathType;
use http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, Method, StatusCode, Uri};
use ingress_wire::head::NameClass;

use super::settings::ExternalAuth;
use crate::annotations::client_identity::FullForwardedFor;
use crate::annotations::snippet_settings::{location_levels, route_names};
use crate::annotations::subrequest_fields::{self, list, of_client};
use crate::annotations::template::RuleText;
use crate::annotations::{Rule, Settings};
use crate::exchange::Exchange;
use crate::path::encode_unsafe;
use crate::plan::Plan;
use crate::plan::access::{AccessOutcome, AccessRule, Services, SignIn};
use crate::plan::filter::{DirectResponse, RequestHeadFilter, ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::redirect_origin::RedirectOrigin;
use crate::plan::subrequest::{Subrequest, SubrequestResponse};
use crate::plan::subrequest_cache::{CacheRule, Validity};
use crate::settings::KeepAlive;
use crate::snippet::{AuthVariable, Program, RouteNames, SnippetState, TextValues};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// nginx's `auth_request`.
#[derive(Debug)]
pub(super) struct ExternalAuthRule {
    url: RuleText,
    method: Option<Method>,
    request_redirect: Option<RuleText>,
    set_headers: Vec<(HeaderName, RuleText)>,
    /// `auth-snippet`, if there is one.
    snippet: Option<Arc<Program>>,
    /// `auth_request_set`.
    variables: Vec<AuthVariable>,
    /// The variables of its route, for both.
    route_names: RouteNames,
    cache: Option<RuleCache>,
    timeout: Duration,
    keep_alive: Option<KeepAlive>,
    /// `compute-full-forwarded-for`.
    full_forwarded_for: bool,
    allow_local: bool,
    /// The names of the client's fields that are passed on.
    names: NameClass,
}

/// When responses are used again.
#[derive(Debug)]
struct RuleCache {
    /// The path of a Prefix rule without a slash at its end, which nginx serves by a location of its own.
    own_location: Option<String>,
    /// Host, path, server.
    prefix: String,
    key: RuleText,
    validity: Arc<[Validity]>,
}

impl RuleCache {
    fn rule(&self, exchange: &Exchange) -> CacheRule {
        let location = if self.own_location.as_deref() == Some(exchange.path()) { "=\n" } else { "" };
        let key = format!("{}{location}{}", self.prefix, self.key.value(exchange));
        CacheRule { key, validity: self.validity.clone() }
    }
}

impl ExternalAuthRule {
    pub(super) fn new(auth: &ExternalAuth, settings: &Settings, rule: &Rule<'_>, plan: &Plan) -> Self {
        let headers = auth.set_headers.iter();
        let headers = headers
            .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, value.of_rule(rule, None))));
        let has_own_location = rule.kind == PathType::Prefix && !rule.path.ends_with('/');
        let cache = auth.cache.as_ref().map(|cache| RuleCache {
            own_location: has_own_location.then(|| rule.path.to_owned()),
            prefix: format!("{}\n{:?} {}\n{}\n", rule.host, rule.kind, rule.path, cache.server),
            key: cache.key.of_rule(rule, None),
            validity: cache.validity.clone(),
        });
        Self {
            full_forwarded_for: rule.globals.get::<FullForwardedFor>().is_some(),
            url: auth.url.of_rule(rule, None),
            method: auth.method.clone(),
            request_redirect: auth.request_redirect.as_ref().map(|text| text.of_rule(rule, None)),
            set_headers: headers.collect(),
            snippet: (!auth.snippet.is_empty()).then(|| auth.snippet.clone()),
            variables: location_levels(settings, rule)
                .flat_map(|level| level.auth_variables.clone())
                .collect(),
            route_names: route_names(rule),
            cache,
            keep_alive: auth.keep_alive,
            allow_local: auth.allow_local,
            timeout: plan.proxy.connect_timeout.saturating_add(plan.proxy.read_timeout),
            names: plan.heads.names,
        }
    }

    /// `None` if the variables make no URL.
    fn url(&self, exchange: &Exchange) -> Option<Uri> {
        let url: Uri = encode_unsafe(&self.url.value(exchange)).parse().ok()?;
        url.host().is_some_and(|host| !host.is_empty()).then_some(url)
    }

    fn subrequest(
        &self,
        url: Uri,
        cache: Option<CacheRule>,
        exchange: &Exchange,
        services: &dyn Services,
    ) -> Subrequest {
        let host = url.host().unwrap_or_default();
        let mut headers = of_client(exchange, self.names);
        let target = exchange.request_target();
        let address = exchange.client_ip().to_string();
        let original = format!("{}://{}{target}", exchange.scheme.as_str(), exchange.authority());
        let redirect = self.request_redirect.as_ref().map(|text| text.value(exchange));
        let forwarded_for = match self.full_forwarded_for {
            false => address.clone(),
            true => full_forwarded_for(exchange),
        };
        let mut set = |name: &'static str, value: &[u8]| {
            subrequest_fields::set(&mut headers, HeaderName::from_static(name), value);
        };
        // As in ingress-nginx, without the port.
        set("host", host.as_bytes());
        set("x-forwarded-proto", b"");
        set("x-request-id", services.request_id());
        set("x-original-url", original.as_bytes());
        set("x-original-method", exchange.method_name().as_bytes());
        set("x-sent-from", b"nginx-ingress-controller");
        set("x-real-ip", address.as_bytes());
        set("x-forwarded-for", forwarded_for.as_bytes());
        set("x-auth-request-redirect", redirect.as_deref().unwrap_or(target).as_bytes());
        if self.method.is_some() {
            set("x-original-uri", target.as_bytes());
            set("x-scheme", exchange.access_scheme().as_bytes());
        }
        if let Some(certificate) = &exchange.client_certificate {
            for (name, value) in certificate.fields() {
                set(name, value.as_bytes());
            }
        }
        for (name, value) in &self.set_headers {
            subrequest_fields::set(&mut headers, name.clone(), &value.bytes(exchange));
        }
        if let Some(snippet) = &self.snippet {
            let names = &self.route_names;
            let values = TextValues { exchange, names, state: SnippetState::of(exchange) };
            for (name, value) in snippet.level.upstream_headers(&values) {
                if let Ok(name) = HeaderName::try_from(name) {
                    subrequest_fields::set(&mut headers, name, &value);
                }
            }
        }
        Subrequest {
            method: self.method.clone().unwrap_or(Method::GET),
            url,
            headers: list(headers),
            body: None,
            timeout: self.timeout,
            cache,
            keep_alive: self.keep_alive,
            allow_local: self.allow_local,
        }
    }
}

/// The addresses that the request names, and the one that connected.
fn full_forwarded_for(exchange: &Exchange) -> String {
    let received = exchange.header_values(&X_FORWARDED_FOR).flatten().filter(|value| !value.is_empty());
    let mut all: Vec<String> = received.map(str::to_owned).collect();
    all.push(exchange.connected_ip().to_string());
    all.join(", ")
}

impl AccessRule for ExternalAuthRule {
    fn check(&self, exchange: &mut Exchange, services: &dyn Services) -> AccessOutcome {
        let Some(url) = self.url(exchange) else {
            return AccessOutcome::Refuse(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR));
        };
        let cache = self.cache.as_ref().map(|cache| cache.rule(exchange));
        // Before the subrequest is made, which takes longer.
        if let Some(response) = cache.as_ref().and_then(|rule| services.cached(&rule.key)) {
            return self.resume(exchange, &response);
        }
        AccessOutcome::Fetch(Box::new(self.subrequest(url, cache, exchange, services)))
    }

    fn resume(&self, exchange: &mut Exchange, response: &Arc<SubrequestResponse>) -> AccessOutcome {
        let status = response.status;
        AuthVariable::set_all(&self.variables, exchange, &self.route_names, response);
        // With `auth-always-set-cookie` its cookies reach the client whatever the status is.
        exchange.values.set(AuthResponse(response.clone()));
        if status.is_success() {
            return AccessOutcome::Allow;
        }
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return AccessOutcome::Refuse(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR));
        }
        let mut refusal = DirectResponse::status(status);
        if status == StatusCode::UNAUTHORIZED {
            for challenge in response.headers.get_all(WWW_AUTHENTICATE) {
                refusal = refusal.with(WWW_AUTHENTICATE, challenge.clone());
            }
        }
        AccessOutcome::Refuse(refusal)
    }
}

/// The server's response to the subrequest.
#[derive(Debug, PartialEq)]
struct AuthResponse(Arc<SubrequestResponse>);

/// Redirects to the page to sign in (`auth-signin`).
#[derive(Debug)]
pub(super) struct SignInPage {
    /// A URL or a path.
    pub(super) url: RuleText,
    /// What precedes a path.
    pub(super) origin: RedirectOrigin,
}

impl SignIn for SignInPage {
    fn respond(&self, exchange: &Exchange) -> DirectResponse {
        let location = self.origin.absolute(self.url.value(exchange).into_owned(), exchange);
        DirectResponse::redirect(StatusCode::FOUND, location)
    }
}

/// Headers of the server's response for endpoints (`auth-response-headers`). Those of the client are removed in any case.
#[derive(Debug)]
pub(super) struct AuthHeaders(pub(super) Arc<[String]>);

impl RequestHeadFilter for AuthHeaders {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        let response = exchange.values.get::<AuthResponse>();
        for name in &*self.0 {
            edits.remove(name);
            let Some(AuthResponse(response)) = response else { continue };
            for value in response.headers.get_all(name) {
                if !value.is_empty() {
                    edits.append(name, value.as_bytes());
                }
            }
        }
    }
}

/// Cookies of the server's response for clients (nginx's `add_header`).
#[derive(Debug)]
pub(super) struct AuthCookies {
    /// Whatever the status is (`auth-always-set-cookie`).
    pub(super) always: bool,
}

impl ResponseHeadFilter for AuthCookies {
    fn edit<'r>(&'r self, exchange: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        let is_added = matches!(response.status.as_u16(), 200 | 201 | 204 | 206 | 301..=304 | 307 | 308);
        let Some(AuthResponse(asked)) = exchange.values.get::<AuthResponse>() else { return };
        if self.always || is_added {
            for cookie in asked.headers.get_all(SET_COOKIE) {
                edits.append("Set-Cookie", cookie.as_bytes());
            }
        }
    }
}
