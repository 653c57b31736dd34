//! Redirects from http to https.

use http::StatusCode;

use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::{Exchange, RequestScheme};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "https",
    doc: "Redirects plain http requests to https; redirects of other annotations take precedence. Rules below \
          /.well-known/acme-challenge are exempt, so that certificates can be obtained.",
    annotations: &[
        Annotation {
            name: "ssl-redirect",
            values: "true, false; default true",
            doc: "Redirects if an Ingress of the host has a `tls` section.",
        },
        Annotation {
            name: "force-ssl-redirect",
            values: "true, false; default false",
            doc: "Redirects also without a `tls` section, for example behind a load balancer that terminates TLS.",
        },
        Annotation {
            name: "preserve-trailing-slash",
            values: "true, false; default false",
            doc: "Keeps a slash at the end of the target, which the redirect drops otherwise.",
        },
        Annotation {
            name: "use-port-in-redirects",
            values: "true, false; default false",
            doc: "The redirect names the port of `--https-port`; redirects to a path, or to a missing slash, name that of the listener \
                  unless it is 80 or 443.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "ssl-redirect",
            values: "true, false; default true",
            doc: "the default of the annotation",
        },
        FamilyKey {
            name: "force-ssl-redirect",
            values: "true, false; default false",
            doc: "the default of the annotation",
        },
        FamilyKey {
            name: "preserve-trailing-slash",
            values: "true, false; default false",
            doc: "the default of the annotation",
        },
        FamilyKey {
            name: "use-port-in-redirects",
            values: "true, false; default false",
            doc: "the default of the annotation",
        },
        FamilyKey {
            name: "http-redirect-code",
            values: "301, 302, 307, 308; default 308",
            doc: "the status of the redirect to https",
        },
        FamilyKey {
            name: "no-tls-redirect-locations",
            values: "prefixes between commas; default /.well-known/acme-challenge",
            doc: "rules whose path begins with one of these are exempt from the redirect to https; with an empty value none is",
        },
    ],
    phases: &[Phase::Rewrite],
    syntax: "ssl-redirect: 'false'\n\
             force-ssl-redirect: 'true'\n\
             preserve-trailing-slash: 'true'\n\
             use-port-in-redirects: 'true'",
    read,
    read_keys,
    plan,
};

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HttpsRedirect {
    redirect: Option<bool>,
    force: Option<bool>,
    keep_slash: Option<bool>,
    with_port: Option<bool>,
}

impl HttpsRedirect {
    /// No redirect at all.
    pub(super) const OFF: Self =
        Self { redirect: Some(false), force: Some(false), keep_slash: None, with_port: None };
    const NONE: Self = Self { redirect: None, force: None, keep_slash: None, with_port: None };

    fn read(reader: &mut SettingReader<'_>) -> Self {
        Self {
            redirect: reader.flag("ssl-redirect"),
            force: reader.flag("force-ssl-redirect"),
            keep_slash: reader.flag("preserve-trailing-slash"),
            with_port: reader.flag("use-port-in-redirects"),
        }
    }
}

/// The keys of the ConfigMap.
#[derive(Debug, PartialEq)]
struct HttpsDefaults {
    annotations: HttpsRedirect,
    status: StatusCode,
    /// Prefixes of rule paths.
    exempt: Vec<String>,
}

impl Default for HttpsDefaults {
    fn default() -> Self {
        Self {
            annotations: HttpsRedirect::default(),
            status: StatusCode::PERMANENT_REDIRECT,
            exempt: vec!["/.well-known/acme-challenge".to_owned()],
        }
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let own = HttpsRedirect::read(reader);
    if own != HttpsRedirect::NONE {
        settings.values.set(own);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let code = |value: &str| match value {
        "301" => Some(StatusCode::MOVED_PERMANENTLY),
        "302" => Some(StatusCode::FOUND),
        "307" => Some(StatusCode::TEMPORARY_REDIRECT),
        "308" => Some(StatusCode::PERMANENT_REDIRECT),
        _ => None,
    };
    let default = HttpsDefaults::default();
    let status = reader.value("http-redirect-code", "301, 302, 307 or 308", Effect::DefaultUsed, code);
    let exempt = reader.list("no-tls-redirect-locations");
    values.set(HttpsDefaults {
        annotations: HttpsRedirect::read(reader),
        status: status.unwrap_or(default.status),
        exempt: exempt.unwrap_or(default.exempt),
    });
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    // The catch-all without an Ingress redirects nothing, as in ingress-nginx.
    if rule.ingress.is_none() {
        return;
    }
    let without_config_map = HttpsDefaults::default();
    let keys = rule.globals.get::<HttpsDefaults>().unwrap_or(&without_config_map);
    let own = settings.values.get::<HttpsRedirect>().unwrap_or(&HttpsRedirect::NONE);
    let general = &keys.annotations;
    let redirect = own.redirect.or(general.redirect).unwrap_or(true);
    let force = own.force.or(general.force).unwrap_or(false);
    if !redirect && !force || keys.exempt.iter().any(|prefix| rule.path.starts_with(prefix)) {
        return;
    }
    let with_port = has_port(settings, rule);
    plan.rewrite.push(Box::new(ToHttps {
        force,
        keep_slash: own.keep_slash.or(general.keep_slash).unwrap_or(false),
        port: with_port.then_some(rule.https_port).or(rule.port_in_redirects),
        status: keys.status,
    }));
}

/// `use-port-in-redirects`.
pub(super) fn has_port(settings: &Settings, rule: &Rule<'_>) -> bool {
    let general = || rule.globals.get::<HttpsDefaults>().and_then(|keys| keys.annotations.with_port);
    let own = settings.values.get::<HttpsRedirect>().and_then(|own| own.with_port);
    own.or_else(general).unwrap_or(false)
}

/// `http-redirect-code`.
pub(super) fn redirect_status(globals: &FamilyValues) -> StatusCode {
    globals.get::<HttpsDefaults>().map_or(StatusCode::PERMANENT_REDIRECT, |keys| keys.status)
}

/// Redirects plain requests to https.
#[derive(Debug)]
struct ToHttps {
    /// Redirects also if the host has no certificate entry.
    force: bool,
    keep_slash: bool,
    port: Option<u16>,
    status: StatusCode,
}

impl RequestFilter for ToHttps {
    /// The redirect has the host as the client sent it, or as a trusted peer reports it, without its port.
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        if exchange.access_scheme() != RequestScheme::Http.as_str() || !(self.force || exchange.certificate) {
            return FilterOutcome::Continue;
        }
        let target = exchange.request_target();
        let target = if self.keep_slash { target } else { target.strip_suffix('/').unwrap_or(target) };
        let host = exchange.best_host();
        let location = match self.port {
            Some(port) => format!("https://{host}:{port}{target}"),
            None => format!("https://{host}{target}"),
        };
        FilterOutcome::respond(DirectResponse::redirect(self.status, location))
    }
}
