//! Further names of a host: `server-alias`, and the redirect from its counterpart with or without `www.`.

use cluster::CompactString;

use super::https_redirect::{HttpsRedirect, redirect_status};
use super::{Annotation, AnnotationFamily, Phase, Rule, SettingReader, Settings};
use crate::exchange::{Exchange, RequestScheme};
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::precedence::{host_error, host_key, host_name};
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "host names",
    doc: "Further names of the hosts of an Ingress. A host with rules of its own takes precedence over them. Over https both need a \
          certificate that covers the name, too; otherwise the default certificate is served for it.",
    annotations: &[
        Annotation {
            name: "server-alias",
            values: "host names between commas",
            doc: "Serves the host under these names, too. The first Ingress of the host that has the annotation decides.",
        },
        Annotation {
            name: "from-to-www-redirect",
            values: "true, false; default false",
            doc: "Redirects `www.` and the host to the host, or, if the host begins with `www.`, the name without it. The status is that \
                  of `http-redirect-code`.",
        },
    ],
    phases: &[Phase::Server],
    syntax: "server-alias: shop.test, shop.local\n\
             from-to-www-redirect: 'true'",
    read,
    ..AnnotationFamily::NONE
};

const ALIAS: &str = "server-alias";
const WWW: &str = "www.";

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HostNames {
    /// `server-alias`: keys of hosts, as of [`host_key`], sorted.
    pub(crate) aliases: Box<[CompactString]>,
    /// `from-to-www-redirect`.
    pub(crate) from_to_www: bool,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let from_to_www = reader.flag("from-to-www-redirect").unwrap_or(false);
    let mut aliases = Vec::new();
    for name in reader.text(ALIAS).unwrap_or_default().split(',').map(str::trim) {
        match host_error(name) {
            _ if name.is_empty() => {}
            None => aliases.push(host_key(name)),
            Some(error) => reader.invalid_value(ALIAS, format!("{name:?} {error}"), Effect::LeftOut),
        }
    }
    aliases.sort_unstable();
    aliases.dedup();
    if from_to_www || !aliases.is_empty() {
        settings.values.set(HostNames { aliases: aliases.into(), from_to_www });
    }
}

/// The name that is redirected to a host; `None` for a wildcard and the catch-all.
pub(crate) fn counterpart(key: &CompactString) -> Option<CompactString> {
    if key.is_empty() || key.starts_with('.') {
        return None;
    }
    let bare = key.strip_prefix(WWW).filter(|bare| !bare.is_empty());
    Some(bare.map_or_else(|| compact_str::format_compact!("{WWW}{key}"), CompactString::from))
}

/// The plan of the counterpart of a host: global settings, and the redirect to the host. `rule` is that of the counterpart.
pub(crate) fn counterpart_plan(rule: &Rule<'_>, host: &CompactString) -> Plan {
    let mut settings = Settings::default();
    settings.values.set(HttpsRedirect::OFF);
    let mut plan = super::plan(&settings, rule);
    plan.rewrite.push(Box::new(ToCounterpart {
        host: host_name(host),
        http_port: rule.http_port,
        https_port: rule.https_port,
        status: redirect_status(rule.globals),
    }));
    plan
}

/// Redirects to a host. The location always has the port, as that of ingress-nginx.
#[derive(Debug)]
struct ToCounterpart {
    host: CompactString,
    http_port: u16,
    https_port: u16,
    status: http::StatusCode,
}

impl RequestFilter for ToCounterpart {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        let target = exchange.request_target();
        let target = target.strip_suffix('/').unwrap_or(target);
        let (scheme, port) = match exchange.scheme {
            RequestScheme::Http => ("http", self.http_port),
            RequestScheme::Https => ("https", self.https_port),
        };
        let location = format!("{scheme}://{}:{port}{target}", self.host);
        FilterOutcome::respond(DirectResponse::redirect(self.status, location))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counterpart_of_a_host_has_or_lacks_www() {
        for (host, name) in [
            ("shop.example", Some("www.shop.example")),
            ("www.shop.example", Some("shop.example")),
            ("wwww.example", Some("www.wwww.example")),
            ("www.", Some("www.www.")),
            (".shop.example", None),
            ("", None),
        ] {
            assert_eq!(counterpart(&host.into()).as_deref(), name, "{host}");
        }
    }
}
