//! `proxy-cookie-domain` and `proxy-cookie-path`: attributes of the cookies of endpoints.

use http::HeaderName;
use http::header::SET_COOKIE;

use super::replacement::{ReplacedPart, Replacement, RuleReplacement};
use super::snippet_settings::location_levels;
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::snippet::{CookieDirective, FindingSeverity, SnippetFinding};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "cookies of endpoints",
    doc: "Changes attributes of the cookies that endpoints set. The ConfigMap has the defaults; `off` turns them off for an \
          Ingress.",
    annotations: &[
        Annotation {
            name: "proxy-cookie-domain",
            values: "off, or the old and the new domain; the old one may be a regular expression after ~",
            doc: "Replaces this Domain of cookies. In the new one $1 to $9 stand for groups, $name for variables of nginx.",
        },
        Annotation {
            name: "proxy-cookie-path",
            values: "off, or the old and the new path; the old one may be a regular expression after ~ or ~*",
            doc: "Replaces this beginning of the Path of cookies, or the whole Path that the expression matches.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "proxy-cookie-domain",
            values: "as the annotation; default off",
            doc: "the default of the annotation of the same name",
        },
        FamilyKey {
            name: "proxy-cookie-path",
            values: "as the annotation; default off",
            doc: "the default of the annotation of the same name",
        },
    ],
    phases: &[Phase::ResponseHead],
    syntax: "proxy-cookie-domain: inner.example shop.example\n\
             proxy-cookie-path: ~*^/inner/(.*) /shop/$1",
    read,
    read_keys,
    plan,
};

static SET_COOKIE_HEADER: HeaderName = SET_COOKIE;

/// The settings of an Ingress or of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
struct CookieSettings {
    domain: Option<CookieSetting>,
    path: Option<CookieSetting>,
}

/// The inner `None` is `off`.
#[derive(Clone, Debug, PartialEq)]
struct CookieSetting(Option<Replacement>);

impl CookieSettings {
    fn read(reader: &mut SettingReader<'_>) -> Self {
        const PAIR: &str = "off, or two texts with a space between them: what is replaced and by what";
        let setting = |part| {
            move |value: &str| {
                let mut words = value.split_whitespace().map(unquoted);
                match (words.next()?, words.next(), words.next()) {
                    ("off", None, None) => Some(CookieSetting(None)),
                    (from, Some(to), None) => {
                        Replacement::parse(part, from, to).map(|one| CookieSetting(Some(one)))
                    }
                    _ => None,
                }
            }
        };
        let default = Effect::DefaultUsed;
        Self {
            domain: reader.value("proxy-cookie-domain", PAIR, default, setting(ReplacedPart::Domain)),
            path: reader.value("proxy-cookie-path", PAIR, default, setting(ReplacedPart::Start)),
        }
    }
}

/// A word without the quotes that nginx's syntax allows around it.
fn unquoted(word: &str) -> &str {
    let within = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(word)
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let cookies = CookieSettings::read(reader);
    if cookies != CookieSettings::default() {
        settings.values.set(cookies);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    values.set(CookieSettings::read(reader));
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let (own, global) = (settings.values.get::<CookieSettings>(), rule.globals.get::<CookieSettings>());
    let setting = |pick: fn(&CookieSettings) -> Option<&CookieSetting>| {
        let CookieSetting(replacement) = own.and_then(pick).or_else(|| global.and_then(pick))?;
        Some(replacement.as_ref()?.of_rule(rule))
    };
    let mut rewrite = CookieRewrite { domain: Vec::new(), path: Vec::new() };
    for directive in location_levels(settings, rule).flat_map(|level| &level.cookies) {
        let Some(replacement) = replacement(directive) else { continue };
        let replacements = if directive.is_domain { &mut rewrite.domain } else { &mut rewrite.path };
        replacements.push(replacement.of_rule(rule));
    }
    rewrite.domain.extend(setting(|cookies| cookies.domain.as_ref()));
    rewrite.path.extend(setting(|cookies| cookies.path.as_ref()));
    if !rewrite.domain.is_empty() || !rewrite.path.is_empty() {
        plan.response_head.push(Box::new(rewrite));
    }
}

/// The directives of a snippet that cannot be applied.
pub(super) fn check(directives: &[CookieDirective]) -> impl Iterator<Item = SnippetFinding> {
    let invalid = directives.iter().filter(|directive| replacement(directive).is_none());
    invalid.map(|CookieDirective { is_domain, from, to, at }| {
        let name = if *is_domain { "proxy_cookie_domain" } else { "proxy_cookie_path" };
        let what = format!("{name} {from:?} {to:?} should be two texts with known variables, the first possibly a regular expression after ~");
        SnippetFinding { at: *at, what, severity: FindingSeverity::LeftOut }
    })
}

fn replacement(directive: &CookieDirective) -> Option<Replacement> {
    let part = if directive.is_domain { ReplacedPart::Domain } else { ReplacedPart::Start };
    Replacement::parse(part, &directive.from, &directive.to)
}

/// Rewrites `Set-Cookie` of endpoints.
#[derive(Debug)]
struct CookieRewrite {
    /// The first one that applies changes the attribute.
    domain: Vec<RuleReplacement>,
    path: Vec<RuleReplacement>,
}

impl CookieRewrite {
    /// The cookie with its new attributes; `None` if none changes.
    fn rewrite(&self, cookie: &[u8], exchange: &Exchange) -> Option<String> {
        let cookie = std::str::from_utf8(cookie).ok()?;
        let mut attributes = cookie.split(';');
        let mut text = attributes.next()?.to_owned();
        let mut is_changed = false;
        for attribute in attributes {
            text.push(';');
            match self.new_value(attribute, exchange) {
                Some((name, value)) => {
                    is_changed = true;
                    text.extend([name, "=", &value]);
                }
                None => text.push_str(attribute),
            }
        }
        is_changed.then_some(text)
    }

    /// The name of an attribute as written and its new value.
    fn new_value<'a>(&self, attribute: &'a str, exchange: &Exchange) -> Option<(&'a str, String)> {
        let (name, value) = attribute.split_once('=')?;
        let replacements = match name.trim() {
            known if known.eq_ignore_ascii_case("domain") => &self.domain,
            known if known.eq_ignore_ascii_case("path") => &self.path,
            _ => return None,
        };
        let value = value.trim();
        let changed = replacements.iter().find_map(|replacement| replacement.apply(value, exchange))?;
        Some((name, changed))
    }
}

impl ResponseHeadFilter for CookieRewrite {
    fn edit<'r>(&'r self, exchange: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        if !response.is_of_endpoint {
            return;
        }
        let rewrite = |cookie| self.rewrite(cookie, exchange);
        if !response.all(&SET_COOKIE_HEADER).any(|cookie| rewrite(cookie).is_some()) {
            return;
        }
        edits.remove("Set-Cookie");
        for cookie in response.all(&SET_COOKIE_HEADER) {
            edits.append("Set-Cookie", rewrite(cookie).map_or_else(|| cookie.to_vec(), String::into_bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::get;
    use crate::testing::{TestCluster, edited_response};

    fn rewritten(cluster: &TestCluster, url: &str, cookies: &[&str]) -> Vec<String> {
        let own: Vec<_> = cookies.iter().map(|cookie| ("set-cookie", *cookie)).collect();
        let head = edited_response(cluster, &get(url, &[]), 200, &own);
        head.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn attributes_are_replaced_as_by_nginx() {
        for (annotation, cookie, rewritten_cookie) in [
            (
                "proxy-cookie-domain: in.example out.example",
                "a=1; Domain=in.example; Path=/",
                "a=1; Domain=out.example; Path=/",
            ),
            (
                "proxy-cookie-domain: in.example out.example",
                "a=1;domain= .IN.example",
                "a=1;domain=.out.example",
            ),
            (
                "proxy-cookie-domain: .in.example .out.example",
                "a=1; domain=in.example",
                "a=1; domain=out.example",
            ),
            (
                "proxy-cookie-domain: in.example out.example",
                "a=1; Domain=sub.in.example",
                "a=1; Domain=sub.in.example",
            ),
            (
                "proxy-cookie-domain: in.example $host",
                "Domain=in.example; Domain=in.example",
                "Domain=in.example; Domain=a.example",
            ),
            (
                r"proxy-cookie-domain: ~\.(in)\.example$ $1.out.example",
                "a=1; Domain=x.IN.example",
                "a=1; Domain=IN.out.example",
            ),
            ("proxy-cookie-domain: 'off'", "a=1; Domain=global.example", "a=1; Domain=global.example"),
            (
                "proxy-cookie-path: /two/ /",
                "a=1; Path=/two/some/uri/; Secure",
                "a=1; Path=/some/uri/; Secure",
            ),
            ("proxy-cookie-path: /two/ /", "a=1; path=/Two/x", "a=1; path=/Two/x"),
            ("proxy-cookie-path: '\"/two\" \"/one\"'", "a=1; path=/two", "a=1; path=/one"),
            ("proxy-cookie-path: ~*^/user/([^/]+) /u/$1", "a=1; Path=/USER/ann/x", "a=1; Path=/u/ann"),
            ("proxy-cookie-path: ~^/user/([^/]+) /u/$1", "a=1; Path=/USER/ann", "a=1; Path=/USER/ann"),
            (
                "proxy-cookie-path: /in /out",
                "a=1; Path=/in; Domain=global.example",
                "a=1; Path=/out; Domain=own.example",
            ),
        ] {
            let mut cluster = TestCluster::configured(&format!(
                "metadata:\n  name: x\n  annotations:\n    {annotation}\n\
                 spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web]]}}]}}\n"
            ));
            cluster.configure(&[("proxy-cookie-domain", "global.example own.example")]);
            let plain = "plain=1";
            assert_eq!(
                rewritten(&cluster, "a.example/", &[plain, cookie]),
                [plain, rewritten_cookie],
                "{annotation}"
            );
        }
    }

    #[test]
    fn only_cookies_of_endpoints_are_changed_and_bad_pairs_are_reported() {
        let mut cluster = TestCluster::configured("metadata: {name: x}\nspec: {}\n");
        cluster.configure(&[("proxy-cookie-path", "/ /x"), ("proxy-cookie-domain", "one")]);
        assert_eq!(rewritten(&cluster, "a.example/", &["a=1; Path=/b"]), ["a=1; Path=/xb"]);
        let problems = cluster.problems();
        assert!(
            problems.len() == 1
                && problems[0].contains("proxy-cookie-domain: \"one\" should be off, or two texts"),
            "{problems:?}"
        );
        let cookie = CookieRewrite { domain: Vec::new(), path: Vec::new() }
            .rewrite(b"a=\xff; Path=/", &get("a.example/", &[]));
        assert_eq!(cookie, None);
    }
}
