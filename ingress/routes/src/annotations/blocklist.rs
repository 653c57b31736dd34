//! Clients that are refused on every host by what they send as `User-Agent` or `Referer`.

use http::header::{REFERER, USER_AGENT};
use http::{HeaderName, StatusCode};

use super::{AnnotationFamily, FamilyKey, SettingReader};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::pattern::{Pattern, StepLimitExceeded};
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter, ServerFilters};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "blocklist",
    doc: "Answers 403 on every host, before redirects. Entries are separated by commas: a text, which is compared as a whole and \
          without regard to case; a regular expression after `~`; or one that ignores case after `~*`. A list without any valid \
          entry closes all routes (503); invalid entries beside valid ones are reported and left out.",
    keys: &[
        FamilyKey {
            name: "block-user-agents",
            values: "texts and regular expressions",
            doc: "requests with such a User-Agent get 403",
        },
        FamilyKey {
            name: "block-referers",
            values: "texts and regular expressions",
            doc: "requests with such a Referer get 403",
        },
    ],
    phases: &[Phase::Server],
    syntax: "block-user-agents: curl/7.68.0,~*chrome\n\
             block-referers: http://example.com/,~*seo",
    read_keys,
    ..AnnotationFamily::NONE
};

/// The lists of the ConfigMap.
#[derive(Debug, Default, PartialEq)]
struct Blocklist {
    user_agents: Vec<BlockEntry>,
    referers: Vec<BlockEntry>,
}

/// An entry, as the source value of nginx's `map`.
#[derive(Debug, PartialEq)]
enum BlockEntry {
    /// The whole value; case is ignored.
    Text(String),
    Pattern {
        pattern: Pattern,
        ignores_case: bool,
    },
}

impl BlockEntry {
    /// A value with spaces must be quoted in nginx's configuration, and a backslash protects the first character of a text.
    fn parse(text: &str) -> Result<Self, String> {
        let quoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
        let text = quoted.unwrap_or(text);
        let Some(pattern) = text.strip_prefix('~') else {
            return Ok(Self::Text(text.strip_prefix('\\').unwrap_or(text).to_owned()));
        };
        let (pattern, ignores_case) = pattern.strip_prefix('*').map_or((pattern, false), |it| (it, true));
        match Pattern::new(pattern, ignores_case) {
            Ok(pattern) => Ok(Self::Pattern { pattern, ignores_case }),
            Err(error) => Err(format!("{text:?} is not a regular expression ({error})")),
        }
    }
}

fn list(reader: &mut SettingReader<'_>, key: &'static str) -> Vec<BlockEntry> {
    let items = reader.text(key).unwrap_or_default().split(',').map(str::trim);
    let (mut entries, mut invalid) = (Vec::new(), Vec::new());
    for item in items.filter(|item| !item.is_empty()) {
        match BlockEntry::parse(item) {
            Ok(entry) => entries.push(entry),
            Err(what) => invalid.push(what),
        }
    }
    let effect = if entries.is_empty() { Effect::Closed } else { Effect::LeftOut };
    if let Some(text) = reader.text(key).filter(|_| entries.is_empty() && invalid.is_empty()) {
        invalid.push(format!("{text:?} has no entry"));
    }
    for what in invalid {
        reader.problem(key, what, effect);
    }
    entries
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let blocklist = Blocklist {
        user_agents: list(reader, "block-user-agents"),
        referers: list(reader, "block-referers"),
    };
    if blocklist != Blocklist::default() {
        let mut filters = values.take::<ServerFilters>().unwrap_or_default();
        filters.push(blocklist);
        values.set(filters);
    }
}

impl Blocklist {
    fn blocks(&self, exchange: &Exchange) -> Result<bool, StepLimitExceeded> {
        Ok(has(&self.user_agents, exchange, &USER_AGENT)? || has(&self.referers, exchange, &REFERER)?)
    }
}

/// Whether a list has one of the values of a field. As in nginx an empty value matches no pattern.
fn has(entries: &[BlockEntry], exchange: &Exchange, name: &HeaderName) -> Result<bool, StepLimitExceeded> {
    if entries.is_empty() {
        return Ok(false);
    }
    let mut budget = exchange.step_budget.get();
    let mut found = Ok(false);
    // A byte that is not text must not hide the rest of the value.
    for value in exchange.header_bytes(name).filter(|value| !value.is_empty()).map(String::from_utf8_lossy) {
        for entry in entries {
            found = match entry {
                BlockEntry::Text(text) => Ok(text.eq_ignore_ascii_case(&value)),
                BlockEntry::Pattern { pattern, .. } => pattern.is_match(&value, &mut budget),
            };
            if found != Ok(false) {
                exchange.step_budget.set(budget);
                return found;
            }
        }
    }
    exchange.step_budget.set(budget);
    found
}

impl RequestFilter for Blocklist {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        match self.blocks(exchange) {
            Ok(false) => FilterOutcome::Continue,
            Ok(true) => FilterOutcome::respond(DirectResponse::status(StatusCode::FORBIDDEN)),
            Err(StepLimitExceeded) => {
                FilterOutcome::respond(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exchange::tests::get;
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: web, annotations: {app-root: /shop, force-ssl-redirect: 'true'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web], [/slash/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {limit-rps: many}}
spec: {rules: [{host: closed.example, paths: [[/, Prefix, web]]}]}
";

    fn blocking(data: &[(&str, &str)]) -> TestCluster {
        let mut cluster = TestCluster::configured(INGRESSES).services("web 80 10.0.0.1");
        cluster.configure(data);
        cluster
    }

    #[test]
    fn entries_are_texts_and_patterns() {
        for (list, value, is_blocked) in [
            ("curl", "curl", true),
            ("curl", "CURL", true),
            ("curl", "curl/8", false),
            ("a, curl/8 ,b", "curl/8", true),
            ("~curl", "x curl/8", true),
            ("~curl", "x Curl/8", false),
            ("~*curl", "x Curl/8", true),
            ("~^curl", "x curl/8", false),
            ("\"~*Mozilla/5.0 .*Bot\"", "mozilla/5.0 (x) bot", true),
            ("'Some Agent'", "some agent", true),
            ("\\~curl", "~curl", true),
            ("~.*", "", false),
            ("~.*", "x", true),
        ] {
            let cluster = blocking(&[("block-user-agents", list)]);
            assert_eq!(cluster.problems().len(), 1, "only the limit: {list}: {:?}", cluster.problems());
            let answer = cluster.ask("https://a.example/x", &[("user-agent", value)], 99);
            assert_eq!(answer, if is_blocked { "403" } else { "web" }, "{list}: {value}");
        }
    }

    #[test]
    fn every_host_refuses_before_anything_else() {
        let cluster = blocking(&[("block-user-agents", "curl"), ("block-referers", "~*seo")]);
        for (url, open) in [
            ("a.example/", "302 http://a.example/shop"),
            ("a.example/x", "308 https://a.example/x"),
            ("a.example/slash", "301 http://a.example/slash/"),
            ("https://a.example/x", "web"),
            ("closed.example/", "503"),
            ("unknown.example/", "404"),
        ] {
            assert_eq!(
                cluster.ask(url, &[("user-agent", "wget"), ("referer", "http://b/")], 99),
                open,
                "{url}"
            );
            assert_eq!(cluster.ask(url, &[("user-agent", "curl")], 99), "403", "{url}");
            assert_eq!(cluster.ask(url, &[("referer", "http://SEO.example/")], 99), "403", "{url}");
        }
    }

    #[test]
    fn a_second_field_and_bytes_that_are_not_text_hide_nothing() {
        let cluster = blocking(&[("block-user-agents", "~evil")]);
        let ask = |headers: &[(&str, &str)]| cluster.answer(&mut get("https://a.example/x", headers), 99);
        assert_eq!(ask(&[("user-agent", "nice"), ("user-agent", "evil")]), "403");
        assert_eq!(ask(&[("user-agent", "caf\u{e9} evil")]), "403");
    }

    #[test]
    fn the_steps_of_patterns_are_limited() {
        let cluster = blocking(&[("block-user-agents", "~^(?:(?=a)a+)+$")]);
        let agent = "a".repeat(64) + "b";
        assert_eq!(cluster.ask("https://a.example/x", &[("user-agent", &agent)], 99), "500");
        assert_eq!(cluster.ask("https://a.example/x", &[("user-agent", "nice")], 99), "web");
    }

    #[test]
    fn invalid_patterns_are_reported_and_a_list_without_a_valid_one_closes_everything() {
        let cluster = blocking(&[("block-referers", "~(x,good")]);
        assert_eq!(cluster.get("https://a.example/x"), "web");
        let problems = cluster.problems();
        assert!(
            problems.iter().any(|text| text.contains("block-referers") && text.contains("left out")),
            "{problems:?}"
        );
        for list in ["~(x", ",", " , "] {
            let cluster = blocking(&[("block-referers", list)]);
            assert_eq!(cluster.get("https://a.example/x"), "503", "{list}");
        }
    }
}
