//! How an authentication server is asked: the values of the annotations, or of the keys of the ConfigMap.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::cache_duration::{DEFAULT_DURATIONS, parse_durations};
use super::values::{has_groups, header_names, method, param, sign_in, url};
use crate::annotations::SettingReader;
use crate::annotations::custom_headers;
use crate::annotations::snippet_settings;
use crate::annotations::template::Template;
use crate::plan::subrequest_cache::Validity;
use crate::problem::Effect;
use crate::settings::KeepAlive;
use crate::snippet::{Context, KnownNames, Program, compile};

/// The names of the annotations, or of the keys.
pub(super) struct SettingNames {
    pub(super) url: &'static str,
    pub(super) method: &'static str,
    pub(super) sign_in: &'static str,
    pub(super) redirect_param: &'static str,
    pub(super) response_headers: &'static str,
    pub(super) request_redirect: &'static str,
    /// There is no such key.
    pub(super) set_headers: Option<&'static str>,
    pub(super) always_set_cookie: &'static str,
    pub(super) cache_key: &'static str,
    pub(super) cache_duration: &'static str,
    pub(super) snippet: &'static str,
    /// What becomes of a request to the server that is not as wanted, and of names that endpoints do not get. The server decides
    /// nevertheless.
    pub(super) shape: Effect,
}

/// The annotations, of which ingress-nginx closes the location.
pub(super) const OWN: SettingNames = SettingNames {
    url: "auth-url",
    method: "auth-method",
    sign_in: "auth-signin",
    redirect_param: "auth-signin-redirect-param",
    response_headers: "auth-response-headers",
    request_redirect: "auth-request-redirect",
    set_headers: Some("auth-proxy-set-headers"),
    always_set_cookie: "auth-always-set-cookie",
    cache_key: "auth-cache-key",
    cache_duration: "auth-cache-duration",
    snippet: "auth-snippet",
    shape: Effect::Closed,
};

/// The keys of the ConfigMap, of which ingress-nginx takes the default.
pub(super) const GLOBAL: SettingNames = SettingNames {
    url: "global-auth-url",
    method: "global-auth-method",
    sign_in: "global-auth-signin",
    redirect_param: "global-auth-signin-redirect-param",
    response_headers: "global-auth-response-headers",
    request_redirect: "global-auth-request-redirect",
    set_headers: None,
    always_set_cookie: "global-auth-always-set-cookie",
    cache_key: "global-auth-cache-key",
    cache_duration: "global-auth-cache-duration",
    snippet: "global-auth-snippet",
    shape: Effect::DefaultUsed,
};

/// How a server is asked, before variables of the rule are filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExternalAuth {
    pub(super) url: Template,
    pub(super) method: Option<Method>,
    pub(super) sign_in: Option<Template>,
    pub(super) response_headers: Arc<[String]>,
    pub(super) request_redirect: Option<Template>,
    pub(super) set_headers: Vec<(String, Template)>,
    pub(super) snippet: Arc<Program>,
    pub(super) always_set_cookie: bool,
    pub(super) cache: Option<CacheSettings>,
    pub(super) keep_alive: Option<KeepAlive>,
    /// Who runs the proxy has chosen the host, so it may have a loopback or link-local address.
    pub(super) allow_local: bool,
}

/// `auth-cache-key` and `auth-cache-duration`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CacheSettings {
    pub(super) key: Template,
    /// What else the response depends on: URL and method as written.
    pub(super) server: String,
    pub(super) validity: Arc<[Validity]>,
}

/// `None` if there is no URL, or if a value closes the routes.
pub(super) fn read_auth(reader: &mut SettingReader<'_>, names: &SettingNames) -> Option<ExternalAuth> {
    let Some(text) = reader.text(names.url) else {
        let others = [names.sign_in, names.response_headers, names.cache_key, names.method, names.snippet];
        if let Some(name) = others.into_iter().find(|name| reader.text(name).is_some()) {
            reader.problem(name, format!("has no effect without {}", names.url), Effect::Differs);
        }
        return None;
    };
    let wanted = "an http or https URL; a name after $ must be a known variable";
    let url = reader.value(names.url, wanted, Effect::Closed, url)?;
    if has_groups(text) {
        let what = "$1 to $9 are empty in it, as in ingress-nginx: subrequests have no groups of regular expressions";
        reader.problem(names.url, format!("{text:?}: {what}"), Effect::Differs);
    }
    let method = reader.value(names.method, "a method such as GET or POST", names.shape, method);
    let headers = response_headers(reader, names);
    let is_closed = names.shape == Effect::Closed;
    if is_closed && (method.is_none() && reader.text(names.method).is_some() || headers.is_none()) {
        return None;
    }
    let redirect_param =
        reader.value(names.redirect_param, "the name of a parameter", Effect::DefaultUsed, param);
    let redirect_param = redirect_param.unwrap_or("rd");
    let sign_in = |value: &str| sign_in(value, redirect_param);
    let sign_in =
        reader.value(names.sign_in, "a URL without spaces and quotes", Effect::DefaultUsed, sign_in);
    let template = |value: &str| Template::parse(value, None);
    let wanted = "text; a name after $ must be a known variable";
    let request_redirect = reader.value(names.request_redirect, wanted, Effect::DefaultUsed, template);
    let set_headers = match names.set_headers.filter(|name| reader.text(name).is_some()) {
        None => Vec::new(),
        Some(name) => custom_headers::templates(reader, name, Effect::Closed),
    };
    let snippet = match names.set_headers {
        Some(_) => snippet_settings::allowed(reader, names.snippet),
        None => reader.text(names.snippet),
    };
    let (snippet, findings) =
        compile(snippet.unwrap_or_default(), Context::Auth, &KnownNames::with_geo(reader.geo()));
    snippet_settings::report(reader, names.snippet, &findings);
    let cache_key = reader.value(names.cache_key, wanted, Effect::DefaultUsed, template);
    let wanted = "statuses and a time such as 200 202 10m";
    let validity = reader.value(names.cache_duration, wanted, Effect::DefaultUsed, parse_durations);
    let cache = cache_key.map(|key| CacheSettings {
        key,
        server: format!("{} {text}", method.as_ref().map_or("GET", Method::as_str)),
        validity: validity.or_else(|| parse_durations(DEFAULT_DURATIONS)).unwrap_or_default().into(),
    });
    Some(ExternalAuth {
        url,
        method,
        sign_in,
        response_headers: headers.unwrap_or_default().into(),
        request_redirect,
        set_headers,
        snippet: Arc::new(snippet),
        always_set_cookie: reader.flag(names.always_set_cookie).unwrap_or(false),
        cache,
        keep_alive: None,
        allow_local: false,
    })
}

/// The names of `auth-response-headers`; `None` if one is invalid and closes the routes. The valid ones of the ConfigMap are kept.
fn response_headers(reader: &mut SettingReader<'_>, names: &SettingNames) -> Option<Vec<String>> {
    let (valid, invalid) = header_names(reader.text(names.response_headers).unwrap_or_default());
    let effect = if names.shape == Effect::Closed { Effect::Closed } else { Effect::LeftOut };
    reader.invalid_items(names.response_headers, &invalid, "the name of a header", effect);
    (invalid.is_empty() || effect == Effect::LeftOut).then_some(valid)
}

/// `auth-keepalive` and its limits; `None` without it. Limits that are not positive are the defaults, as in ingress-nginx.
pub(super) fn keep_alive(reader: &mut SettingReader<'_>) -> Option<KeepAlive> {
    let mut positive = |name| reader.number(name).filter(|number| *number > 0);
    let connections = positive("auth-keepalive");
    let requests = positive("auth-keepalive-requests").unwrap_or(1000);
    let seconds = positive("auth-keepalive-timeout").unwrap_or(60);
    Some(KeepAlive {
        connections: usize::try_from(connections?).unwrap_or(usize::MAX),
        timeout: Duration::from_secs(seconds.unsigned_abs()),
        requests: u32::try_from(requests).unwrap_or(u32::MAX),
        ..KeepAlive::default()
    })
}
