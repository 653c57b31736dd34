//! `proxy-redirect-from` and `proxy-redirect-to`: `Location` and `Refresh` of endpoints.

use http::HeaderName;
use http::header::{LOCATION, REFRESH};

use super::replacement::{ReplacedPart, Replacement, RuleReplacement};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings, redirect};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::plan::redirect_origin::RedirectOrigin;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "redirects of endpoints",
    doc: "Changes the URLs in Location and Refresh of endpoints. Both annotations are needed; the ConfigMap has the defaults.",
    annotations: &[
        Annotation {
            name: "proxy-redirect-from",
            values: "off, default, a text, or a regular expression after ~ or ~*; default off",
            doc: "The beginning of the URL that is replaced, or the expression that matches a URL to replace. `default` has no \
                  effect, as in ingress-nginx, where no endpoint knows the URL that it stands for.",
        },
        Annotation {
            name: "proxy-redirect-to",
            values: "off, or a text; default off",
            doc: "The replacement, in which $1 to $9 stand for groups and $name for variables of nginx. Before a path the proxy \
                  puts scheme and host, unless `relative-redirects` is set.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "proxy-redirect-from",
            values: "as the annotation; default off",
            doc: "the default of the annotation of the same name",
        },
        FamilyKey {
            name: "proxy-redirect-to",
            values: "as the annotation; default off",
            doc: "the default of the annotation of the same name",
        },
    ],
    phases: &[Phase::ResponseHead],
    syntax: "proxy-redirect-from: http://inner.example/\n\
             proxy-redirect-to: https://$host/",
    read,
    read_keys,
    plan,
};

static LOCATION_HEADER: HeaderName = LOCATION;
static REFRESH_HEADER: HeaderName = REFRESH;

/// The settings of an Ingress or of the ConfigMap, as texts: either may have only one of the two.
#[derive(Clone, Debug, Default, PartialEq)]
struct RedirectSettings {
    from: Option<String>,
    to: Option<String>,
}

impl RedirectSettings {
    fn read(reader: &mut SettingReader<'_>) -> Self {
        const FROM: &str = "off, default, the beginning of a URL, or a regular expression after ~";
        const TO: &str = "off, or a text in which $1 to $9 and $name stand for groups and variables of nginx";
        let default = Effect::DefaultUsed;
        let is_word = |value: &str| !value.contains(char::is_whitespace);
        let from = reader.value("proxy-redirect-from", FROM, default, |value| {
            (is_word(value) && Replacement::parse(ReplacedPart::Start, value, "").is_some()).then_some(value)
        });
        let to = reader.value("proxy-redirect-to", TO, default, |value| {
            // Where the other text is not set here, it may be an expression whose groups this one names.
            let from = from.unwrap_or("~(.)");
            (is_word(value) && Replacement::parse(ReplacedPart::Start, from, value).is_some())
                .then_some(value)
        });
        Self { from: from.map(String::from), to: to.map(String::from) }
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let redirect = RedirectSettings::read(reader);
    if redirect != RedirectSettings::default() {
        settings.values.set(redirect);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    values.set(RedirectSettings::read(reader));
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let (own, global) = (settings.values.get::<RedirectSettings>(), rule.globals.get::<RedirectSettings>());
    let setting = |pick: fn(&RedirectSettings) -> Option<&String>| {
        let text = own.and_then(pick).or_else(|| global.and_then(pick));
        text.map_or("off", String::as_str)
    };
    let (from, to) = (setting(|redirect| redirect.from.as_ref()), setting(|redirect| redirect.to.as_ref()));
    if matches!(from, "off" | "default") || to == "off" {
        return;
    }
    if let Some(replacement) = Replacement::parse(ReplacedPart::Start, from, to) {
        let relative = redirect::origin(settings, rule) == RedirectOrigin::Relative;
        plan.response_head
            .push(Box::new(RedirectRewrite { replacement: replacement.of_rule(rule), relative }));
    }
}

/// Rewrites `Location` and `Refresh` of endpoints.
#[derive(Debug)]
struct RedirectRewrite {
    replacement: RuleReplacement,
    /// `relative-redirects`: a Location that begins with a slash is sent as it is.
    relative: bool,
}

impl RedirectRewrite {
    fn url(&self, url: &str, exchange: &Exchange) -> Option<String> {
        self.replacement.apply(url, exchange)
    }

    /// nginx makes a path absolute: scheme, and host without its port.
    fn location(&self, location: &[u8], exchange: &Exchange) -> Option<String> {
        let url = self.url(std::str::from_utf8(location).ok()?, exchange)?;
        match url.starts_with('/') && !self.relative {
            true => Some(format!("{}://{}{url}", exchange.scheme.as_str(), exchange.host())),
            false => Some(url),
        }
    }

    /// Replaces what follows `url=`.
    fn refresh(&self, refresh: &[u8], exchange: &Exchange) -> Option<String> {
        let refresh = std::str::from_utf8(refresh).ok()?;
        let at = refresh.to_ascii_lowercase().find("url=")? + "url=".len();
        let (before, url) = refresh.split_at(at);
        Some(format!("{before}{}", self.url(url, exchange)?))
    }
}

impl ResponseHeadFilter for RedirectRewrite {
    fn edit<'r>(&'r self, exchange: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        if !response.is_of_endpoint {
            return;
        }
        let location = response.get(&LOCATION_HEADER).and_then(|value| self.location(value, exchange));
        if let Some(location) = location {
            edits.set("Location", location.into_bytes());
        }
        let refresh = response.get(&REFRESH_HEADER).and_then(|value| self.refresh(value, exchange));
        if let Some(refresh) = refresh {
            edits.set("Refresh", refresh.into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exchange::tests::get;
    use crate::testing::{TestCluster, edited_response};

    #[test]
    fn urls_are_replaced_as_by_nginx() {
        let mut cluster = TestCluster::configured(
            "
metadata: {name: own, annotations: {proxy-redirect-from: 'http://in.example/', proxy-redirect-to: 'https://$host/x/'}}
spec: {rules: [{host: own.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: path, annotations: {proxy-redirect-from: /, proxy-redirect-to: /p/}}
spec: {rules: [{host: path.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: relative, annotations: {proxy-redirect-from: /, proxy-redirect-to: /p/, relative-redirects: 'true'}}
spec: {rules: [{host: relative.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: expression, annotations: {proxy-redirect-from: '~*^http://([a-z]+)\\.IN\\.example(.*)', proxy-redirect-to: 'https://$1.out$2'}}
spec: {rules: [{host: re.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: none, annotations: {proxy-redirect-from: 'off'}}
spec: {rules: [{host: off.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: half, annotations: {proxy-redirect-to: 'goodbye.example'}}
spec: {rules: [{host: half.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: keyword, annotations: {proxy-redirect-from: default}}
spec: {rules: [{host: default.example, paths: [[/, Prefix, web]]}]}
",
        );
        let values = |cluster: &TestCluster, url: &str, sent: &str| {
            let own = [("location", sent), ("refresh", &format!("5; URL={sent}"))];
            let head = edited_response(cluster, &get(url, &[]), 302, &own);
            let text = |name: &str| head.get(name).unwrap().to_str().unwrap().to_owned();
            (text("location"), text("refresh"))
        };
        let rows = [
            ("http://own.example:81/", "http://in.example/a?b", "https://own.example/x/a?b"),
            ("http://own.example/", "http://in.example", "http://in.example"),
            ("http://own.example/", "https://in.example/a", "https://in.example/a"),
            ("http://re.example/", "http://a.in.example/b", "https://a.out/b"),
            ("http://re.example/", "http://in.example/b", "http://in.example/b"),
            ("http://off.example/", "hello.example/a", "hello.example/a"),
            ("http://default.example/", "hello.example/a", "hello.example/a"),
        ];
        for (url, sent, rewritten) in rows {
            let wanted = (rewritten.to_owned(), format!("5; URL={rewritten}"));
            assert_eq!(values(&cluster, url, sent), wanted, "{url} {sent}");
        }
        assert_eq!(
            values(&cluster, "https://path.example:444/", "/a"),
            ("https://path.example/p/a".to_owned(), "5; URL=/p/a".to_owned())
        );
        assert_eq!(values(&cluster, "https://relative.example/", "/a").0, "/p/a");
        cluster.configure(&[("proxy-redirect-from", "hello.example"), ("proxy-redirect-to", "bye.example")]);
        for (url, sent, rewritten) in rows {
            assert_eq!(values(&cluster, url, sent).0, rewritten, "{url} {sent}");
        }
        for (host, rewritten) in [("half", "goodbye.example/a"), ("unknown", "bye.example/a")] {
            assert_eq!(
                values(&cluster, &format!("{host}.example/"), "hello.example/a").0,
                rewritten,
                "{host}"
            );
        }
        assert_eq!(cluster.problems(), Vec::<String>::new());
    }

    #[test]
    fn texts_that_are_not_valid_are_reported() {
        let mut cluster = TestCluster::configured("metadata: {name: x}\nspec: {}\n");
        for (from, to, wanted) in [
            ("~(", "x", "proxy-redirect-from: \"~(\" should be off, default"),
            ("a b", "x", "proxy-redirect-from: \"a b\" should be off, default"),
            ("x", "$none", "proxy-redirect-to: \"$none\" should be off, or a text"),
            ("x", "$1", "proxy-redirect-to: \"$1\" should be off, or a text"),
        ] {
            cluster.configure(&[("proxy-redirect-from", from), ("proxy-redirect-to", to)]);
            let problems = cluster.problems();
            assert!(problems.len() == 1 && problems[0].contains(wanted), "{from} {to}: {problems:?}");
        }
    }
}
