//! External authentication: another server decides about each request.

mod cache_duration;
mod values;

mod settings;

mod rule;

use std::sync::Arc;

use cluster::Key;

use self::rule::{AuthCookies, AuthHeaders, ExternalAuthRule, SignInPage};
use self::settings::{ExternalAuth, GLOBAL, OWN, keep_alive, read_auth};
use self::values::refused_host;
use super::authentication::{is_exempt, namespace_error};
use super::template::Template;
use super::{
    Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings, redirect, snippet_settings,
};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::access::SignIn;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "external auth",
    doc: "A request without a body to another server decides about each request: 2xx lets it pass, 401 and 403 are answered, \
          everything else, no answer included, is answered 500. Values may have variables of nginx in them. An invalid auth-url, \
          auth-method, auth-response-headers, auth-proxy-set-headers or auth-snippet closes the routes (503), and an invalid \
          global-auth-url or global-auth-snippet those that it would protect; of other annotations and keys the default is used, and an \
          invalid name in global-auth-response-headers is left out. The annotations apply if auth-url is set; otherwise the keys apply, which are those of the \
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
            doc: "Further headers of the request to the server; see [Snippets](snippets.md).",
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
            doc: "further headers of the request to the server of global-auth-url; see [Snippets](snippets.md)",
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

/// `auth-url` and what belongs to it.
#[derive(Debug, PartialEq)]
struct OwnAuth {
    auth: Arc<ExternalAuth>,
    /// A ConfigMap of another namespace that it names.
    foreign: Option<Key>,
}

/// `global-auth-url` and what belongs to it.
#[derive(Debug, PartialEq)]
enum GlobalAuth {
    Server(Arc<ExternalAuth>),
    /// Why the routes that it would protect answer 503.
    Invalid(String),
}

/// `enable-global-auth: 'false'`.
#[derive(Debug, PartialEq)]
struct WithoutGlobalAuth;

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
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
    let (auth, invalid) =
        reader.closing_some("the routes that it protects", |reader| read_auth(reader, &GLOBAL));
    if let Some(what) = invalid {
        values.set(GlobalAuth::Invalid(what));
    } else if let Some(mut auth) = auth {
        // A host with a variable may be one that the author of an Ingress has chosen.
        let url = reader.text(GLOBAL.url).unwrap_or_default();
        auth.allow_local = !url.split('/').nth(2).unwrap_or_default().contains('$');
        values.set(GlobalAuth::Server(Arc::new(auth)));
    }
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let own = settings.values.get::<OwnAuth>();
    if let Some(foreign) = own.and_then(|own| own.foreign.as_ref())
        && let Some(what) = namespace_error(rule, "ConfigMap", foreign)
    {
        plan.closed = Some(("auth-proxy-set-headers", what));
        return;
    }
    let is_off = snippet_settings::turns_authentication_off(settings);
    if own.is_some() && is_off {
        plan.closed = Some((OWN.url, "contradicts auth_request off of configuration-snippet".to_owned()));
        return;
    }
    let takes_part =
        rule.ingress.is_some() && settings.values.get::<WithoutGlobalAuth>().is_none() && !is_off;
    let global = rule.globals.get::<GlobalAuth>().filter(|_| takes_part && !is_exempt(rule));
    match (own, global) {
        (Some(own), _) => ask(&own.auth, settings, rule, plan),
        (None, Some(GlobalAuth::Server(auth))) => ask(auth, settings, rule, plan),
        (None, Some(GlobalAuth::Invalid(what))) => plan.closed_by_key = Some(what.clone()),
        (None, None) => {}
    }
}

/// Has the server decide about the requests of a rule.
fn ask(auth: &Arc<ExternalAuth>, settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if is_exempt(rule) {
        return;
    }
    let ask = ExternalAuthRule::new(auth, settings, rule, plan);
    plan.access.rules.push(Box::new(ask));
    let page = |url: &Template| {
        Box::new(SignInPage { url: url.of_rule(rule, None), origin: redirect::origin(settings, rule) })
            as Box<dyn SignIn>
    };
    plan.access.sign_in = auth.sign_in.as_ref().map(page);
    if !auth.response_headers.is_empty() {
        plan.request_head.push(Box::new(AuthHeaders(auth.response_headers.clone())));
    }
    plan.response_head.push(Box::new(AuthCookies { always: auth.always_set_cookie }));
}

#[cfg(test)]
mod tests;
