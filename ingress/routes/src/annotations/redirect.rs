//! `permanent-redirect` and `temporal-redirect`: routes that answer every request with a redirect.

use http::StatusCode;

use super::https_redirect::has_port;
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::plan::phase::Phase;
use crate::plan::redirect_origin::RedirectOrigin;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "redirect",
    doc: "Answers every request of the routes with a redirect. Takes precedence over the redirect to https. \
          With both, the temporal one applies. A target that is not a URL closes the routes (503): the content that \
          the redirect replaces must not be served.",
    annotations: &[
        Annotation {
            name: "permanent-redirect",
            values: "a URL, or a path on the same host",
            doc: "Answers 301 with this Location.",
        },
        Annotation {
            name: "permanent-redirect-code",
            values: "300 to 308",
            doc: "Another status for it; a number out of range counts as 301.",
        },
        Annotation {
            name: "temporal-redirect",
            values: "an http or https URL",
            doc: "Answers 302 with this Location.",
        },
        Annotation {
            name: "temporal-redirect-code",
            values: "300 to 307",
            doc: "Another status for it; a number out of range counts as 302.",
        },
        Annotation {
            name: "relative-redirects",
            values: "true, false; default false",
            doc: "A redirect to a path, or to a missing slash, has a Location without scheme and host.",
        },
    ],
    keys: &[FamilyKey {
        name: "relative-redirects",
        values: "true, false; default false",
        doc: "the default of the annotation",
    }],
    phases: &[Phase::Rewrite],
    syntax: "permanent-redirect: https://www.example.org/new\n\
             permanent-redirect-code: '308'\n\
             temporal-redirect: https://status.example.org/?from=shop\n\
             temporal-redirect-code: '307'\n\
             relative-redirects: 'true'",
    read,
    read_keys,
    plan,
};

/// `relative-redirects` of an Ingress or of the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RelativeRedirects(bool);

/// A redirect of all requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Redirect {
    status: StatusCode,
    /// A URL, or a path that begins with a slash.
    to: String,
    /// The scheme and host that complete a path.
    origin: RedirectOrigin,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const URL: &str = "an http or https URL; variables are not expanded in it";
    const URL_OR_PATH: &str = "an http or https URL or a path; variables are not expanded in it";
    let temporal_code = code(reader, "temporal-redirect-code", "a status from 300 to 307", 300..=307);
    let permanent_code = code(reader, "permanent-redirect-code", "a status from 300 to 308", 300..=308);
    let temporal =
        reader.value("temporal-redirect", URL, Effect::Closed, |value| url(value).then_some(value));
    let permanent = reader.value("permanent-redirect", URL_OR_PATH, Effect::Closed, |value| {
        (url(value) || value.starts_with('/') && plain(value)).then_some(value)
    });
    let temporal = temporal.map(|to| (to, temporal_code.unwrap_or(StatusCode::FOUND)));
    let permanent = permanent.map(|to| (to, permanent_code.unwrap_or(StatusCode::MOVED_PERMANENTLY)));
    if let Some((to, status)) = temporal.or(permanent) {
        settings.values.set(Redirect { status, to: to.into(), origin: RedirectOrigin::default() });
    }
    if let Some(relative) = reader.flag("relative-redirects") {
        settings.values.set(RelativeRedirects(relative));
    }
}

fn code(
    reader: &mut SettingReader<'_>,
    key: &'static str,
    wanted: &'static str,
    range: std::ops::RangeInclusive<u16>,
) -> Option<StatusCode> {
    reader.value(key, wanted, Effect::DefaultUsed, |value| {
        let code = value.parse().ok().filter(|code| range.contains(code))?;
        StatusCode::from_u16(code).ok()
    })
}

fn url(value: &str) -> bool {
    let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    plain(value) && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

fn plain(value: &str) -> bool {
    value.bytes().all(|byte| byte > b' ' && byte != b'$' && byte != 127)
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    if let Some(relative) = reader.flag("relative-redirects") {
        values.set(RelativeRedirects(relative));
    }
}

/// Whether the Location of redirects within the host is a path.
pub(super) fn is_relative(settings: &Settings, rule: &Rule<'_>) -> bool {
    let of = |values: &FamilyValues| values.get::<RelativeRedirects>().copied();
    of(&settings.values).or(of(rule.globals)).is_some_and(|it| it.0)
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    plan.redirect_origin = match is_relative(settings, rule) {
        true => RedirectOrigin::Relative,
        false if has_port(settings, rule) => {
            RedirectOrigin::WithPort { http: rule.http_port, https: rule.https_port }
        }
        false => RedirectOrigin::WithoutPort,
    };
    if let Some(redirect) = settings.values.get::<Redirect>() {
        plan.rewrite.push(Box::new(Redirect { origin: plan.redirect_origin, ..redirect.clone() }));
    }
}

impl RequestFilter for Redirect {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        if exchange.rewrite_ended {
            return FilterOutcome::Continue;
        }
        let origin = if self.to.starts_with('/') { self.origin.of(exchange) } else { String::new() };
        FilterOutcome::respond(DirectResponse::redirect(self.status, format!("{origin}{}", self.to)))
    }
}
