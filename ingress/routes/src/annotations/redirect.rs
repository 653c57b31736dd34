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
use crate::problem::{BadValue, Effect};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "redirect",
    doc: "Answers every request of the routes with a redirect. Takes precedence over the redirect to https. \
          With both, the temporal one applies. A target that is no URL, such as example.org, is ignored, as in ingress-nginx; with \
          a character that no URL has, or a variable, it closes the routes (503), where ingress-nginx leaves out the Ingress.",
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
    let temporal = target(reader, "temporal-redirect", URL, url);
    let permanent = target(reader, "permanent-redirect", URL_OR_PATH, |value| {
        url(value) || value.starts_with('/') && plain(value)
    });
    let redirect = match (temporal, permanent) {
        (Target::To(to), _) => Some((to, temporal_code.unwrap_or(StatusCode::FOUND))),
        (Target::Unset, Target::To(to)) => {
            Some((to, permanent_code.unwrap_or(StatusCode::MOVED_PERMANENTLY)))
        }
        // As in ingress-nginx, an ignored temporal redirect takes the permanent one with it.
        _ => None,
    };
    if let Some((to, status)) = redirect {
        settings.values.set(Redirect { status, to: to.into(), origin: RedirectOrigin::default() });
    }
    if let Some(relative) = reader.flag("relative-redirects") {
        settings.values.set(RelativeRedirects(relative));
    }
}

/// Where a redirect leads.
enum Target<'i> {
    Unset,
    /// It is no URL, or closes the routes.
    Invalid,
    To(&'i str),
}

fn target<'i>(
    reader: &mut SettingReader<'i>,
    key: &'static str,
    wanted: &'static str,
    is_target: fn(&str) -> bool,
) -> Target<'i> {
    let Some(value) = reader.text(key) else { return Target::Unset };
    if !is_target(value) && has_other_scheme(value) {
        // Not an invalid value: ingress-nginx's admission webhook takes it, too.
        reader.problem(key, BadValue { key, value: value.into(), wanted }.to_string(), Effect::LeftOut);
        return Target::Invalid;
    }
    let to = reader.value(key, wanted, Effect::Closed, |value| is_target(value).then_some(value));
    to.map_or(Target::Invalid, Target::To)
}

/// Whether a text has the characters that ingress-nginx allows in URLs, and is not one of http.
fn has_other_scheme(value: &str) -> bool {
    let is_http = value.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    let is_of_url = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:?&=".contains(&byte);
    value.bytes().all(is_of_url) && !(is_http && value.contains(':'))
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

/// What precedes the path in the Location of redirects within the host.
pub(super) fn origin(settings: &Settings, rule: &Rule<'_>) -> RedirectOrigin {
    let of = |values: &FamilyValues| values.get::<RelativeRedirects>().copied();
    match of(&settings.values).or(of(rule.globals)) {
        Some(RelativeRedirects(true)) => RedirectOrigin::Relative,
        _ if has_port(settings, rule) => {
            RedirectOrigin::WithPort { http: rule.http_port, https: rule.https_port }
        }
        _ => RedirectOrigin::WithoutPort,
    }
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    plan.redirect_origin = origin(settings, rule);
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

#[cfg(test)]
mod tests {
    use crate::testing::TestCluster;

    #[test]
    fn a_target_without_http_is_ignored_and_one_that_no_url_can_be_closes() {
        for (annotations, wanted) in [
            ("temporal-redirect: /path", "web"),
            ("temporal-redirect: example.org/a?b=c", "web"),
            ("temporal-redirect: ftp://example.org", "web"),
            ("permanent-redirect: example.org", "web"),
            ("permanent-redirect: /path, temporal-redirect: example.org", "web"),
            ("permanent-redirect: /path", "301 http://a.example/path"),
            ("permanent-redirect: https://b.example/$request_uri", "503"),
            ("permanent-redirect: 'https://b.example/ x'", "503"),
            ("permanent-redirect: 'b.example/%20'", "503"),
            ("temporal-redirect: https://", "503"),
            ("temporal-redirect: http:example.org", "503"),
        ] {
            let manifest = format!(
                "
metadata: {{name: main, annotations: {{{annotations}}}}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web]]}}]}}
"
            );
            let cluster = TestCluster::configured(&manifest).services("web 80:http 10.0.0.1");
            assert_eq!(cluster.get("http://a.example/"), wanted, "{annotations}");
            let is_reported = cluster.problems().len() == 1;
            assert_eq!(is_reported, !wanted.starts_with("301"), "{annotations}: {:?}", cluster.problems());
        }
    }
}
