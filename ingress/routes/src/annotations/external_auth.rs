//! External authentication: another server decides about each request.

mod cache_duration;
mod rule;
mod snippet;

use std::sync::Arc;
use std::time::Duration;

use cluster::Key;
use http::{HeaderName, Method};

use self::cache_duration::{DEFAULT_DURATIONS, parse_durations};
use self::rule::{AuthCookies, AuthHeaders, ExternalAuthRule, SignInPage};
use self::snippet::header_lines;
use super::authentication::{is_exempt, namespace_error};
use super::custom_headers;
use super::ingress_filter::{RISK_LEVEL, RiskLevel};
use super::template::Template;
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::external_name::{ExternalNameError, ExternalTarget};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::access::SignIn;
use crate::plan::phase::Phase;
use crate::plan::subrequest_cache::Validity;
use crate::problem::Effect;
use crate::settings::KeepAlive;
use crate::unsupported::parse_bool;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "external auth",
    doc: "A request without a body to another server decides about each request: 2xx lets it pass, 401 and 403 are answered, \
          everything else, no answer included, is answered 500. Values may have variables of nginx in them. An invalid auth-url, \
          auth-method, auth-response-headers, auth-proxy-set-headers or auth-snippet closes the routes (503); of other annotations and \
          keys the default is used. The annotations apply if auth-url is set; otherwise the keys apply, which are those of the \
          ConfigMap with the same names after `global-`.",
    annotations: &[
        Annotation {
            name: "auth-url",
            values: "a URL, with variables",
            doc: "The server is asked here. It gets the headers of the request, and X-Original-URL, X-Original-Method, \
                  X-Sent-From, X-Real-IP, X-Forwarded-For, X-Auth-Request-Redirect and X-Request-ID.",
        },
        Annotation {
            name: "auth-method",
            values: "a method; default GET",
            doc: "The method of that request, which then has X-Original-URI and X-Scheme, too.",
        },
        Annotation {
            name: "auth-signin",
            values: "a URL, with variables",
            doc: "Instead of 401, clients are redirected here (302); the requested URL is a parameter.",
        },
        Annotation {
            name: "auth-signin-redirect-param",
            values: "the name of that parameter; default rd",
            doc: "It is added unless auth-signin has it.",
        },
        Annotation {
            name: "auth-response-headers",
            values: "names between commas",
            doc: "Headers of the server's response that endpoints get, in place of the client's.",
        },
        Annotation {
            name: "auth-request-redirect",
            values: "text, with variables; default path and query",
            doc: "The value of X-Auth-Request-Redirect.",
        },
        Annotation {
            name: "auth-proxy-set-headers",
            values: "namespace/name or the name of a ConfigMap in the namespace of the Ingress",
            doc: "Further headers of the request to the server. While the ConfigMap does not exist, the routes answer 503.",
        },
        Annotation {
            name: "auth-always-set-cookie",
            values: "true, false; default false",
            doc: "Cookies of the server are also set by responses with an error status.",
        },
        Annotation {
            name: "auth-cache-key",
            values: "text, with variables",
            doc: "Responses of the server are used again for requests to the same path of a host with the same text.",
        },
        Annotation {
            name: "auth-cache-duration",
            values: "statuses and a time, several between commas; default 200 202 401 5m",
            doc: "For how long.",
        },
        Annotation {
            name: "auth-keepalive",
            values: "a number; default 0",
            doc: "How many idle connections to the server a worker keeps; at most 64 to all servers.",
        },
        Annotation {
            name: "auth-keepalive-requests",
            values: "a number; default 1000",
            doc: "How many requests a connection may serve.",
        },
        Annotation {
            name: "auth-keepalive-timeout",
            values: "seconds; default 60",
            doc: "How long a connection may be idle.",
        },
        Annotation {
            name: "auth-snippet",
            values: "directives proxy_set_header",
            doc: "Further headers of the request to the server. Needs the keys allow-snippet-annotations `true` and \
                  annotations-risk-level `Critical`; without them, and with any other directive, the routes answer 503.",
        },
        Annotation {
            name: "enable-global-auth",
            values: "true, false; default true",
            doc: "If false, global-auth-url does not apply.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "global-auth-url",
            values: "a URL, with variables",
            doc: "auth-url of all Ingresses without their own",
        },
        FamilyKey {
            name: "global-auth-method",
            values: "a method; default GET",
            doc: "auth-method for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-signin",
            values: "a URL, with variables",
            doc: "auth-signin for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-signin-redirect-param",
            values: "a name; default rd",
            doc: "auth-signin-redirect-param for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-response-headers",
            values: "names between commas",
            doc: "auth-response-headers for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-request-redirect",
            values: "text, with variables",
            doc: "auth-request-redirect for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-always-set-cookie",
            values: "true, false; default false",
            doc: "auth-always-set-cookie for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-cache-key",
            values: "text, with variables",
            doc: "auth-cache-key for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-cache-duration",
            values: "statuses and a time, several between commas; default 200 202 401 5m",
            doc: "auth-cache-duration for global-auth-url",
        },
        FamilyKey {
            name: "global-auth-snippet",
            values: "directives proxy_set_header",
            doc: "further headers of the request to the server of global-auth-url; with any other directive every request gets 503",
        },
    ],
    phases: &[Phase::Access, Phase::UpstreamRequest, Phase::ResponseHead],
    syntax: "auth-url: http://auth.example/check?from=$host\n\
             auth-method: GET\n\
             auth-signin: https://login.example/start\n\
             auth-signin-redirect-param: rd\n\
             auth-response-headers: X-User, X-Groups\n\
             auth-request-redirect: https://$host$request_uri\n\
             auth-proxy-set-headers: my-headers\n\
             auth-always-set-cookie: 'true'\n\
             auth-cache-key: $remote_user$http_authorization\n\
             auth-cache-duration: 200 202 10m, 401 1m\n\
             auth-keepalive: '10'\n\
             auth-keepalive-requests: '1000'\n\
             auth-keepalive-timeout: '60'\n\
             auth-snippet: proxy_set_header X-Forwarded-Host $http_host;\n\
             enable-global-auth: 'false'",
    read,
    read_keys,
    plan,
};

/// The names of the annotations, or of the keys.
struct Names {
    url: &'static str,
    method: &'static str,
    sign_in: &'static str,
    redirect_param: &'static str,
    response_headers: &'static str,
    request_redirect: &'static str,
    /// There is no such key.
    set_headers: Option<&'static str>,
    always_set_cookie: &'static str,
    cache_key: &'static str,
    cache_duration: &'static str,
    snippet: &'static str,
}

const OWN: Names = Names {
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
};

const GLOBAL: Names = Names {
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
};

/// How a server is asked, before variables of the rule are filled in.
#[derive(Clone, Debug, PartialEq)]
struct ExternalAuth {
    url: Template,
    method: Option<Method>,
    sign_in: Option<Template>,
    response_headers: Arc<[String]>,
    request_redirect: Option<Template>,
    set_headers: Vec<(String, Template)>,
    always_set_cookie: bool,
    cache: Option<CacheSettings>,
    keep_alive: Option<KeepAlive>,
    /// Who runs the proxy has chosen the host, so it may have a loopback or link-local address.
    allow_local: bool,
}

/// `auth-cache-key` and `auth-cache-duration`.
#[derive(Clone, Debug, PartialEq)]
struct CacheSettings {
    key: Template,
    /// What else the response depends on: URL and method as written.
    server: String,
    validity: Arc<[Validity]>,
}

/// `auth-url` and what belongs to it.
#[derive(Debug, PartialEq)]
struct OwnAuth {
    auth: Arc<ExternalAuth>,
    /// A ConfigMap of another namespace that it names.
    foreign: Option<Key>,
}

/// `global-auth-url` and what belongs to it.
#[derive(Debug, PartialEq)]
struct GlobalAuth(Arc<ExternalAuth>);

/// `enable-global-auth: 'false'`.
#[derive(Debug, PartialEq)]
struct WithoutGlobalAuth;

/// `auth-snippet` is set.
#[derive(Debug, PartialEq)]
struct WithSnippet;

/// The ConfigMap allows annotations with directives of nginx.
#[derive(Debug, PartialEq)]
struct SnippetsAllowed;

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    if reader.text(OWN.snippet).is_some() {
        settings.values.set(WithSnippet);
    }
    if reader.flag("enable-global-auth") == Some(false) {
        settings.values.set(WithoutGlobalAuth);
    }
    let Some(mut auth) = read_auth(reader, &OWN) else { return };
    auth.keep_alive = keep_alive(reader);
    if let Some(kind) = reader.text(OWN.url).and_then(refused_host) {
        let what =
            format!("{kind} is refused, so that requests get 500; only global-auth-url may lead to one");
        reader.problem(OWN.url, what, Effect::Differs);
    }
    let named = reader.text("auth-proxy-set-headers").and_then(|value| reader.object_key(value));
    let foreign = named.filter(|named| named.namespace != reader.namespace());
    settings.values.set(OwnAuth { auth: Arc::new(auth), foreign });
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let are_allowed = reader.text("allow-snippet-annotations").and_then(parse_bool) == Some(true);
    let level = reader.text(RISK_LEVEL).and_then(RiskLevel::parse);
    if are_allowed && level == Some(RiskLevel::Critical) {
        values.set(SnippetsAllowed);
    }
    if let Some(mut auth) = read_auth(reader, &GLOBAL) {
        // A host with a variable may be one that the author of an Ingress has chosen.
        let url = reader.text(GLOBAL.url).unwrap_or_default();
        auth.allow_local = !url.split('/').nth(2).unwrap_or_default().contains('$');
        values.set(GlobalAuth(Arc::new(auth)));
    }
}

/// `None` if there is no URL, or if a value closes the routes.
fn read_auth(reader: &mut SettingReader<'_>, names: &Names) -> Option<ExternalAuth> {
    let Some(text) = reader.text(names.url) else {
        let others = [names.sign_in, names.response_headers, names.cache_key, names.method, names.snippet];
        if let Some(name) = others.into_iter().find(|name| reader.text(name).is_some()) {
            reader.problem(name, format!("has no effect without {}", names.url), Effect::Differs);
        }
        return None;
    };
    let wanted = "an http or https URL; a name after $ must be a known variable";
    let url = reader.value(names.url, wanted, Effect::Closed, url)?;
    let method = match reader.text(names.method) {
        None => None,
        Some(_) => {
            Some(reader.value(names.method, "a method such as GET or POST", Effect::Closed, method)?)
        }
    };
    let headers = match reader.text(names.response_headers) {
        None => Vec::new(),
        Some(_) => reader.value(
            names.response_headers,
            "names of headers between commas",
            Effect::Closed,
            header_names,
        )?,
    };
    let redirect_param =
        reader.value(names.redirect_param, "the name of a parameter", Effect::DefaultUsed, param);
    let redirect_param = redirect_param.unwrap_or("rd");
    let sign_in = |value: &str| sign_in(value, redirect_param);
    let sign_in =
        reader.value(names.sign_in, "a URL without spaces and quotes", Effect::DefaultUsed, sign_in);
    let template = |value: &str| Template::parse(value, None);
    let wanted = "text; a name after $ must be a known variable";
    let request_redirect = reader.value(names.request_redirect, wanted, Effect::DefaultUsed, template);
    let mut set_headers = match names.set_headers.filter(|name| reader.text(name).is_some()) {
        None => Vec::new(),
        Some(name) => custom_headers::templates(reader, name, Effect::Closed),
    };
    if reader.text(names.snippet).is_some() {
        set_headers.extend(header_lines(reader, names.snippet)?);
    }
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
        response_headers: headers.into(),
        request_redirect,
        set_headers,
        always_set_cookie: reader.flag(names.always_set_cookie).unwrap_or(false),
        cache,
        keep_alive: None,
        allow_local: false,
    })
}

/// `auth-keepalive` and its limits; `None` without it. Limits that are not positive are the defaults, as in ingress-nginx.
fn keep_alive(reader: &mut SettingReader<'_>) -> Option<KeepAlive> {
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

/// A description of the address, if an annotation must not name it: the proxy's own ports, other programs of its machine and the metadata
/// service of a cloud are not for those who write Ingresses. Addresses that a name resolves to are checked for each request.
fn refused_host(url: &str) -> Option<&'static str> {
    let authority = url.split("//").nth(1)?.split(['/', '?']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    match ExternalTarget::parse(host) {
        Err(ExternalNameError::RefusedAddress(kind)) => Some(kind),
        _ => None,
    }
}

/// Whether a text can be a URL: visible ASCII without quotes, brackets of markup and backslashes.
fn is_url_text(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | b';')
    })
}

fn url(text: &str) -> Option<Template> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let is_host = !host.is_empty() && !host.starts_with(':') && !host.contains("..") && !host.contains('@');
    (is_host && is_url_text(text) && !text.contains('#')).then(|| Template::parse(text, None)).flatten()
}

fn method(text: &str) -> Option<Method> {
    const METHODS: [Method; 8] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    METHODS.into_iter().find(|method| method.as_str() == text)
}

fn header_names(text: &str) -> Option<Vec<String>> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| HeaderName::try_from(name).is_ok().then(|| name.to_owned())).collect()
}

fn param(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().all(is_plain).then_some(text)
}

/// The URL of the page to sign in. The requested URL is added as a parameter, unless there is one of this name.
fn sign_in(text: &str, param: &str) -> Option<Template> {
    if !is_url_text(text) {
        return None;
    }
    let query = text.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let is_param =
        |pair: &str| pair.split_once('=').is_some_and(|(name, value)| name == param && !value.is_empty());
    if query.split('&').any(is_param) {
        return Template::parse(text, None);
    }
    let separator = if query.is_empty() { '?' } else { '&' };
    let text = text.strip_suffix('?').unwrap_or(text);
    let original = "$pass_access_scheme://$http_host$escaped_request_uri";
    Template::parse(&format!("{text}{separator}{param}={original}"), None)
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if settings.values.get::<WithSnippet>().is_some() && rule.globals.get::<SnippetsAllowed>().is_none() {
        let what =
            "needs allow-snippet-annotations \"true\" and annotations-risk-level Critical in the ConfigMap";
        plan.closed = Some((OWN.snippet, what.to_owned()));
        return;
    }
    let own = settings.values.get::<OwnAuth>();
    if let Some(foreign) = own.and_then(|own| own.foreign.as_ref())
        && let Some(what) = namespace_error(rule, "ConfigMap", foreign)
    {
        plan.closed = Some(("auth-proxy-set-headers", what));
        return;
    }
    let takes_part = rule.ingress.is_some() && settings.values.get::<WithoutGlobalAuth>().is_none();
    let global = || rule.globals.get::<GlobalAuth>().filter(|_| takes_part).map(|global| &global.0);
    let Some(auth) = own.map(|own| &own.auth).or_else(global) else { return };
    if is_exempt(rule) {
        return;
    }
    let ask = ExternalAuthRule::new(auth, rule, plan);
    plan.access.rules.push(Box::new(ask));
    let page = |url: &Template| Box::new(SignInPage(url.of_rule(rule, None))) as Box<dyn SignIn>;
    plan.access.sign_in = auth.sign_in.as_ref().map(page);
    if !auth.response_headers.is_empty() {
        plan.request_head.push(Box::new(AuthHeaders(auth.response_headers.clone())));
    }
    plan.response_head.push(Box::new(AuthCookies { always: auth.always_set_cookie }));
}

#[cfg(test)]
mod tests;
