//! Headers from ConfigMaps: `custom-headers`, `add-headers` and `proxy-set-headers`.

use std::sync::Arc;

use cluster::{ConfigMap, Key};
use http::{HeaderName, HeaderValue};

use super::authentication::namespace_error;
use super::response_head;
use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{RequestHeadFilter, ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "custom headers",
    doc: "Headers from a ConfigMap, which is followed: its keys are the names, its values are sent as written. Without the \
          ConfigMap, with an entry that cannot be a header, or with a name that the key `global-allowed-response-headers` does \
          not list, the routes answer 503.",
    annotations: &[Annotation {
        name: "custom-headers",
        values: "namespace/name or the name of a ConfigMap in the namespace of the Ingress",
        doc: "Headers of all responses, in place of those of the endpoint. A ConfigMap of another namespace needs the key \
              allow-cross-namespace-resources.",
    }],
    keys: &[
        FamilyKey {
            name: "global-allowed-response-headers",
            values: "a list of header names",
            doc: "the headers that the annotation `custom-headers` may set",
        },
        FamilyKey {
            name: "add-headers",
            values: "namespace/name of a ConfigMap",
            doc: "headers of all responses, in place of those of the endpoint; variables of nginx are expanded in the values; Server needs \
                  server-tokens",
        },
        FamilyKey {
            name: "proxy-set-headers",
            values: "namespace/name of a ConfigMap",
            doc: "headers of all requests to endpoints, in place of the client's; variables of nginx are expanded in the values, and \
                  an empty value removes the header. While the ConfigMap does not exist, every request gets 503",
        },
    ],
    phases: &[Phase::UpstreamRequest, Phase::ResponseHead],
    syntax: "custom-headers: my-headers",
    read,
    read_keys,
    plan,
};

const CUSTOM: &str = "custom-headers";
const ALLOWED: &str = "global-allowed-response-headers";
const ADD: &str = "add-headers";
const SET: &str = "proxy-set-headers";

/// Names that describe the connection or the length of a message, which only the proxy knows.
const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of an Ingress.
#[derive(Clone, Debug, PartialEq)]
struct CustomHeaders {
    config_map: Key,
    /// Names and values, sorted by name.
    headers: Arc<[(String, String)]>,
}

/// The keys of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
struct GlobalHeaders {
    /// Names that [`CustomHeaders`] may have.
    allowed: Vec<String>,
    responses: HeaderTemplates,
    requests: HeaderTemplates,
}

/// Names and values with variables.
#[derive(Clone, Debug, Default, PartialEq)]
struct HeaderTemplates {
    templates: Vec<(String, Template)>,
    /// The same for all rules, if no value depends on the rule: then all routes share it.
    shared: Option<HeaderTexts>,
}

/// Names and values for the requests of a rule.
type HeaderTexts = Arc<[(String, RuleText)]>;

impl HeaderTemplates {
    fn new(templates: Vec<(String, Template)>) -> Self {
        let shared = templates.iter().map(|(name, value)| Some((name.clone(), value.without_rule()?)));
        Self { shared: shared.collect(), templates }
    }

    /// `None` if there are none.
    fn of_rule(&self, rule: &Rule<'_>) -> Option<Headers> {
        let texts = || {
            let texts = self.templates.iter();
            texts.map(|(name, value)| (name.clone(), value.of_rule(rule, None))).collect()
        };
        (!self.templates.is_empty()).then(|| Headers(self.shared.clone().unwrap_or_else(texts)))
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let Some(config_map) = config_map(reader, CUSTOM, Effect::Closed) else { return };
    let mut headers = Vec::with_capacity(config_map.data.len());
    for (name, value) in &config_map.data {
        match error(name, value).or_else(|| value.is_empty().then_some("is empty")) {
            None => headers.push((name.to_string(), value.clone())),
            Some(error) => entry_problem(reader, CUSTOM, config_map, name, error, Effect::Closed),
        }
    }
    settings.values.set(CustomHeaders { config_map: config_map.key.clone(), headers: headers.into() });
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let allowed = reader.text(ALLOWED).unwrap_or_default().split(',').map(str::trim);
    let allowed = allowed.filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect();
    let mut added = templates(reader, ADD, Effect::LeftOut);
    let (before, names_server) = (added.len(), response_head::names_server(values));
    // ingress-nginx clears the header after these have been set.
    added.retain(|(name, _)| names_server || !name.eq_ignore_ascii_case("server"));
    if added.len() < before {
        reader.problem(ADD, "Server needs server-tokens \"true\"".to_owned(), Effect::LeftOut);
    }
    let responses = HeaderTemplates::new(added);
    let requests = HeaderTemplates::new(templates(reader, SET, Effect::Closed));
    values.set(GlobalHeaders { allowed, responses, requests });
}

/// The ConfigMap that a value names. If it does not exist, `effect` is the consequence until it does.
fn config_map<'i>(
    reader: &mut SettingReader<'i>,
    key: &'static str,
    effect: Effect,
) -> Option<&'i Arc<ConfigMap>> {
    let named = reader.text(key).and_then(|value| reader.object_key(value));
    let named: Key =
        reader.value(key, "the name of a ConfigMap, or its namespace/name", effect, |_| named)?;
    let found = reader.config_map(&named);
    if found.is_none() {
        reader.problem(key, format!("ConfigMap {named} does not exist"), effect);
    }
    found
}

/// The headers of a ConfigMap that a key names. One that cannot be sent is left out. One with an unknown variable has no value:
/// a client's header of the same name must not take its place.
pub(super) fn templates(
    reader: &mut SettingReader<'_>,
    key: &'static str,
    effect: Effect,
) -> Vec<(String, Template)> {
    let Some(config_map) = config_map(reader, key, effect) else { return Vec::new() };
    let mut templates = Vec::with_capacity(config_map.data.len());
    for (name, value) in &config_map.data {
        if let Some(error) = error(name, value) {
            entry_problem(reader, key, config_map, name, error, Effect::LeftOut);
            continue;
        }
        let missing = reader.geo().missing_in(value).map(|missing| format!("is not sent: {missing}"));
        let template = Template::parse(value, None).filter(|_| missing.is_none()).unwrap_or_else(|| {
            let unknown = "has a variable that is not known; the header is not sent";
            let error = missing.as_deref().unwrap_or(unknown);
            entry_problem(reader, key, config_map, name, error, Effect::Differs);
            Template::default()
        });
        templates.push((name.to_string(), template));
    }
    templates
}

/// Why an entry cannot be a header.
fn error(name: &str, value: &str) -> Option<&'static str> {
    let Ok(parsed) = HeaderName::try_from(name) else { return Some("is not a header name") };
    if OF_THE_CONNECTION.contains(&parsed.as_str()) {
        return Some("belongs to the connection, and only the proxy sets it");
    }
    HeaderValue::try_from(value)
        .is_err()
        .then_some("has a value with a line break or another control character")
}

fn entry_problem(
    reader: &mut SettingReader<'_>,
    key: &'static str,
    config_map: &ConfigMap,
    name: &str,
    error: &str,
    effect: Effect,
) {
    reader.problem(key, format!("{name:?} of ConfigMap {} {error}", config_map.key), effect);
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let none = GlobalHeaders::default();
    let global = rule.globals.get::<GlobalHeaders>().unwrap_or(&none);
    if let Some(headers) = global.requests.of_rule(rule) {
        plan.request_head.push(Box::new(headers));
    }
    if let Some(headers) = global.responses.of_rule(rule) {
        plan.response_head.push(Box::new(headers));
    }
    let Some(CustomHeaders { config_map, headers }) = settings.values.get() else { return };
    if let Some(what) = namespace_error(rule, "ConfigMap", config_map) {
        plan.closed = Some((CUSTOM, what));
        return;
    }
    let is_allowed = |name: &str| global.allowed.iter().any(|known| known.eq_ignore_ascii_case(name));
    if let Some((name, _)) = headers.iter().find(|(name, _)| !is_allowed(name)) {
        plan.closed = Some((CUSTOM, format!("{name:?} is not listed in the key {ALLOWED} of the ConfigMap")));
    } else if !headers.is_empty() {
        plan.response_head.push(Box::new(LiteralHeaders(headers.clone())));
    }
}

/// Sets headers of requests or responses.
#[derive(Debug)]
struct Headers(HeaderTexts);

impl Headers {
    fn set<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        for (name, value) in &*self.0 {
            edits.set(name, value.bytes(exchange));
        }
    }
}

impl RequestHeadFilter for Headers {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        self.set(exchange, edits);
    }
}

impl ResponseHeadFilter for Headers {
    fn edit<'r>(&'r self, exchange: &'r Exchange, _: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        self.set(exchange, edits);
    }
}

/// Sets headers of responses to values without variables.
#[derive(Debug)]
struct LiteralHeaders(Arc<[(String, String)]>);

impl ResponseHeadFilter for LiteralHeaders {
    fn edit<'r>(&'r self, _: &'r Exchange, _: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        for (name, value) in &*self.0 {
            edits.set(name, value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster::{ConfigMap, Key, Object};

    use crate::exchange::tests::get;
    use crate::testing::{TestCluster, edited_request, edited_response};

    const INGRESS: &str = "
metadata: {name: x, annotations: {custom-headers: mine}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: y, annotations: {custom-headers: other/mine}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: z}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
";

    fn config_map(key: Key, data: &[(&str, &str)]) -> Object {
        let mut data: Vec<_> =
            data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
        data.sort_unstable();
        Object::ConfigMap(Arc::new(ConfigMap { key, data }))
    }

    fn response(cluster: &TestCluster, url: &str) -> Vec<String> {
        let head = edited_response(cluster, &get(url, &[]), 200, &[("x-app", "inner")]);
        head.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn headers_of_an_ingress_must_be_allowed() {
        let mut cluster = TestCluster::configured(INGRESS);
        let mine = |data: &[(&str, &str)]| config_map(Key::new("default", "mine"), data);
        let about = |cluster: &TestCluster| {
            let problems = cluster.problems().into_iter();
            problems.filter(|problem| problem.contains("default/x")).collect::<Vec<_>>().join("\n")
        };
        cluster.configure(&[("global-allowed-response-headers", "X-App, x-other")]);
        assert_eq!(cluster.get("a.example/"), "503");
        assert!(
            about(&cluster)
                .contains("custom-headers: ConfigMap default/mine does not exist; the routes answer 503")
        );
        cluster.apply([mine(&[("X-App", "a $b"), ("X-Other", "1")])]);
        assert_eq!((cluster.get("a.example/").as_str(), about(&cluster).as_str()), ("web", ""));
        assert_eq!(response(&cluster, "a.example/"), ["x-app: a $b", "x-other: 1"]);
        assert_eq!(response(&cluster, "c.example/"), ["x-app: inner"]);
        for (data, error) in [
            (&[("X-None", "1")][..], "\"X-None\" is not listed in the key global-allowed-response-headers"),
            (&[("X App", "1")], "\"X App\" of ConfigMap default/mine is not a header name"),
            (&[("X-App", "a\nb")], "\"X-App\" of ConfigMap default/mine has a value with a line break"),
            (&[("X-App", "")], "\"X-App\" of ConfigMap default/mine is empty"),
            (
                &[("Transfer-Encoding", "gzip")],
                "\"Transfer-Encoding\" of ConfigMap default/mine belongs to the connection",
            ),
        ] {
            cluster.apply([mine(data)]);
            assert_eq!(cluster.get("a.example/"), "503", "{data:?}");
            assert!(about(&cluster).contains(error), "{data:?}: {}", about(&cluster));
        }
        cluster.apply([mine(&[("X-App", "2")])]);
        assert_eq!(response(&cluster, "a.example/"), ["x-app: 2"]);
        cluster.configure(&[("global-allowed-response-headers", "x-other")]);
        assert_eq!(cluster.get("a.example/"), "503", "the allowed names are followed");
        cluster.apply([config_map(Key::new("other", "mine"), &[("X-Other", "1")])]);
        assert_eq!(cluster.get("b.example/"), "503", "a ConfigMap of another namespace needs a key");
        let problems = cluster.problems().join("\n");
        assert!(problems.contains("ConfigMap other/mine is in another namespace"), "{problems}");
        let allowed = ("allow-cross-namespace-resources", "true");
        cluster.configure(&[("global-allowed-response-headers", "x-other"), allowed]);
        assert_eq!(response(&cluster, "b.example/"), ["x-app: inner", "x-other: 1"]);
        cluster.configure(&[allowed]);
        assert_eq!(cluster.get("b.example/"), "503", "names must be allowed as before");
    }

    #[test]
    fn headers_of_all_responses_are_followed() {
        let mut cluster = TestCluster::configured(INGRESS);
        let added = |data: &[(&str, &str)]| config_map(Key::new("ingress", "added"), data);
        cluster.configure(&[("add-headers", "ingress/added")]);
        assert_eq!(cluster.get("c.example/"), "web", "a missing ConfigMap closes nothing");
        assert!(
            cluster
                .problems()
                .iter()
                .any(|one| one.contains("add-headers: ConfigMap ingress/added does not exist"))
        );
        cluster.apply([added(&[
            ("X-App", "$service_name of $host"),
            ("X-One", "1"),
            ("X-Two", "$none"),
            ("bad name", "1"),
        ])]);
        assert_eq!(response(&cluster, "c.example/"), ["x-app: web of c.example", "x-one: 1"]);
        assert_eq!(response(&cluster, "d.example/"), ["x-app:  of d.example", "x-one: 1"]);
        let problems = cluster.problems().join("\n");
        assert!(
            problems.contains("\"X-Two\" of ConfigMap ingress/added has a variable that is not known"),
            "{problems}"
        );
        assert!(
            problems.contains("\"bad name\" of ConfigMap ingress/added is not a header name; it is left out"),
            "{problems}"
        );
        cluster.apply([added(&[("X-App", "$scheme")])]);
        assert_eq!(response(&cluster, "c.example/"), ["x-app: http"]);
        cluster.apply([added(&[("server", "mine")])]);
        assert_eq!(response(&cluster, "c.example/"), ["x-app: inner"], "ingress-nginx clears it");
        let problems = cluster.problems().join("\n");
        assert!(
            problems.contains("add-headers: Server needs server-tokens \"true\"; it is left out"),
            "{problems}"
        );
        cluster.configure(&[("add-headers", "ingress/added"), ("server-tokens", "true")]);
        assert_eq!(response(&cluster, "c.example/"), ["x-app: inner", "server: mine"]);
    }

    #[test]
    fn headers_of_all_requests_are_followed() {
        let mut cluster = TestCluster::configured(INGRESS);
        let set = |data: &[(&str, &str)]| config_map(Key::new("ingress", "set"), data);
        cluster.configure(&[("proxy-set-headers", "ingress/set")]);
        assert_eq!(cluster.get("c.example/"), "503", "a header may protect");
        cluster.apply([set(&[("X-App", "$namespace"), ("X-Forwarded-Port", "8443"), ("X-Two", "${none}")])]);
        assert_eq!(cluster.get("c.example/"), "web");
        let fields =
            |cluster: &TestCluster| edited_request(cluster, &mut get("c.example/", &[("x-two", "forged")]));
        assert_eq!(fields(&cluster), ["X-App: default", "X-Forwarded-Port: 8443"]);
        cluster.apply([set(&[("Host", "inner.example"), ("X-App", "")])]);
        assert_eq!(fields(&cluster), ["Host: inner.example"]);
        cluster.configure(&[]);
        assert_eq!(fields(&cluster), Vec::<String>::new());
    }
}
