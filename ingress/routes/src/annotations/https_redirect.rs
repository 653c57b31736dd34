//! `ssl-redirect` and `force-ssl-redirect`: redirects from http to https.

use http::StatusCode;

use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::exchange::{Exchange, RequestScheme};
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "https",
    doc: "Redirects plain http requests to https with 308; redirects of other annotations take precedence. Rules below \
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
    ],
    syntax: "ssl-redirect: 'false'\n\
             force-ssl-redirect: 'true'",
    read,
    plan,
    ..AnnotationFamily::NONE
};

/// `no-tls-redirect-locations` of the ConfigMap, its default.
const EXEMPT: &str = "/.well-known/acme-challenge";

/// When plain requests are redirected to https.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpsRedirect {
    redirect: bool,
    force: bool,
}

impl HttpsRedirect {
    /// No redirect at all.
    pub(crate) const OFF: Self = Self { redirect: false, force: false };
}

impl Default for HttpsRedirect {
    fn default() -> Self {
        Self { redirect: true, force: false }
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let default = HttpsRedirect::default();
    settings.https_redirect = HttpsRedirect {
        redirect: reader.flag("ssl-redirect").unwrap_or(default.redirect),
        force: reader.flag("force-ssl-redirect").unwrap_or(default.force),
    };
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let HttpsRedirect { redirect, force } = settings.https_redirect;
    if (redirect || force) && !rule.path.starts_with(EXEMPT) {
        plan.rewrite.push(Box::new(ToHttps { force, port: rule.port_in_redirects }));
    }
}

/// Redirects plain requests to https.
#[derive(Debug)]
struct ToHttps {
    /// Redirects also if the host has no certificate entry.
    force: bool,
    port: Option<u16>,
}

impl RequestFilter for ToHttps {
    /// The redirect has the host as the client sent it, without its port; one final slash of the target is dropped.
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        if exchange.scheme != RequestScheme::Http || !(self.force || exchange.certificate) {
            return FilterOutcome::Continue;
        }
        let target = exchange.request_target();
        let target = target.strip_suffix('/').unwrap_or(target);
        let host = exchange.host_as_sent();
        let location = match self.port {
            Some(port) => format!("https://{host}:{port}{target}"),
            None => format!("https://{host}{target}"),
        };
        FilterOutcome::Respond(DirectResponse::redirect(StatusCode::PERMANENT_REDIRECT, location))
    }
}
