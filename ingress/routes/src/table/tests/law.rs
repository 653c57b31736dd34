//! The law of projections: advancing equals building. And after any history, a path matches the same rule as in a simple
//! implementation of nginx's order.

use std::sync::{Arc, LazyLock};

use cluster::testing::{check_projection, histories};
use cluster::{
    Backend, Cache, Event, Ingress, IngressPath, IngressRule, Object, PathType, PortRef, Secret,
    ServiceBackend,
};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::sample::{select, subsequence};

use super::*;
use crate::pattern::{Pattern, StepBudget};
use crate::precedence::precedence;
use crate::testing::PREFIX;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn advancing_equals_building(history in histories()) {
        let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
        check_projection(|| RouteIndex::new(options.clone()), history);
    }

    #[test]
    fn advancing_equals_building_by_class(history in histories()) {
        check_projection(|| RouteIndex::new(RouteOptions::default()), history);
    }

    #[test]
    fn advancing_equals_building_on_a_crowded_host(history in crowds()) {
        let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
        check_projection(|| RouteIndex::new(options.clone()), history);
    }

    #[test]
    fn a_crowded_host_is_matched_in_the_order_of_nginx(history in crowds(), paths in vec(segments(), 24)) {
        let mut cache = Cache::default();
        let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
        let table = cache.project(RouteIndex::new(options));
        (1..).zip(history).for_each(|(now, batch)| drop(cache.apply(batch, now)));
        let host = plain_host(cache.snapshot().iter::<Ingress>().cloned().collect());
        let table = table.load();
        for path in &paths {
            let found = table.find(HOST, path);
            let route = found.route();
            let found = match found.path_match {
                PathMatch::Route(_) => (route.path.as_str(), route.kind),
                // It makes no difference which of two locations the redirect is for.
                PathMatch::MissingSlash(_) => ("slash", PathType::Prefix),
                PathMatch::StepLimit(_) => unreachable!("none of these patterns is slow"),
            };
            let wanted = host.find(path).unwrap_or(("/", PathType::Prefix));
            assert_eq!(found, wanted, "{path} among {:?}", host.rules);
        }
    }
}

const HOST: &str = "crowd.example";

/// Batches of changes to a few Ingresses of different ages that share one host with many paths. Ingresses are created, changed
/// and removed; some are canaries, some have patterns, some ask for client certificates of a Secret that comes and goes.
fn crowds() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let event = prop_oneof![
        4 => ingress().prop_map(|ingress| Event::Apply(Object::Ingress(Arc::new(ingress)))),
        1 => name().prop_map(|name| Event::Remove(Kind::Ingress, Key::new("default", name))),
        1 => select([true, false].as_slice()).prop_map(authorities),
    ];
    vec(vec(event, 1..6), 1..12)
}

/// Adds or removes the Secret with certificate authorities.
fn authorities(exists: bool) -> Event {
    static AUTHORITY: LazyLock<String> = LazyLock::new(|| {
        rcgen::generate_simple_self_signed(["ca".to_owned()]).expect("a certificate").cert.pem()
    });
    let key = Key::new("default", "ca");
    if !exists {
        return Event::Remove(Kind::Secret, key);
    }
    let other = [("ca.crt".into(), AUTHORITY.as_bytes().into())].into();
    Event::Apply(Object::Secret(Arc::new(Secret {
        key,
        certificate: Box::default(),
        private_key: Box::default(),
        other,
    })))
}

fn name() -> impl Strategy<Value = &'static str> {
    select(["a", "b", "c", "d", "e", "f", "g"].as_slice())
}

fn ingress() -> impl Strategy<Value = Ingress> {
    let rule = |paths| IngressRule { host: HOST.into(), paths };
    let service = |name: &str| ServiceBackend { name: name.into(), port: PortRef::Number(80) };
    let backend =
        select(["web", "db", "api"].as_slice()).prop_map(move |name| Backend::Service(service(name)));
    let kind = select([PathType::Exact, PathType::Prefix, PathType::ImplementationSpecific].as_slice());
    let path = (path(), kind, backend.clone()).prop_map(|(path, kind, backend)| IngressPath {
        path: path.into(),
        kind,
        backend,
    });
    // Few use patterns: one of them makes all paths of the host patterns.
    const ANNOTATIONS: &[(&str, &str)] = &[
        ("affinity", "cookie"),
        ("app-root", "/a"),
        ("auth-tls-secret", "default/ca"),
        ("auth-tls-secret", "other/ca"),
        ("canary", "true"),
        ("canary-weight", "30"),
        ("from-to-www-redirect", "true"),
        ("permanent-redirect", "/b"),
        ("server-alias", "alias.example,other.example"),
        ("session-cookie-name", "other"),
    ];
    const PATTERNS: &[(&str, &str)] =
        &[("rewrite-target", "/a"), ("rewrite-target", "/$1"), ("use-regex", "true")];
    let annotations = prop_oneof![
        6 => subsequence(ANNOTATIONS, 0..3),
        6 => Just(Vec::new()),
        1 => select(PATTERNS).prop_map(|pattern| vec![pattern]),
    ];
    let default = proptest::option::weighted(0.2, backend);
    (name(), 0..3_i64, annotations, default, vec(vec(path, 0..9), 0..3)).prop_map(
        move |(name, created, annotations, default_backend, rules)| Ingress {
            key: Key::new("default", name),
            created,
            annotations: annotations
                .into_iter()
                .map(|(name, value)| (format!("{PREFIX}/{name}").into(), value.into()))
                .collect(),
            class: None,
            default_backend,
            rules: rules.into_iter().map(rule).collect(),
            tls: Vec::new(),
        },
    )
}

/// Paths of rules, with segments that sort before and after a slash and that are prefixes of each other.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => segments(),
        1 => select(["", "/a/(.*)", "/[ab]+", "/a|/b", "/(?!a)b", "/a(b|$)", "/b("].as_slice()).prop_map(String::from),
    ]
}

fn segments() -> impl Strategy<Value = String> {
    let segment = select(["a", "b", "ab", "a-b", "A", "a!", "caf\u{e9}"].as_slice());
    (vec(segment, 0..4), select([true, false].as_slice())).prop_map(|(segments, slash)| {
        let end = if slash || segments.is_empty() { "/" } else { "" };
        segments.iter().fold(String::new(), |path, segment| format!("{path}/{segment}")) + end
    })
}

/// A host implemented simply, without regard to speed.
struct PlainHost {
    /// By precedence, `/` first, each path and kind once.
    rules: Vec<PlainRule>,
    regex: bool,
}

#[derive(Clone, Debug)]
struct PlainRule {
    path: String,
    kind: PathType,
    regex: bool,
}

fn plain_host(mut ingresses: Vec<Arc<Ingress>>) -> PlainHost {
    let has =
        |ingress: &Ingress, name: &str| ingress.annotation(&format!("{PREFIX}/{name}")).map(str::to_owned);
    ingresses.retain(|ingress| has(ingress, "canary").is_none() && !ingress.rules.is_empty());
    ingresses.sort_by(|one, other| precedence(one, other));
    let rule = |ingress: &Ingress, path: &str, kind| {
        let rewritten = has(ingress, "rewrite-target").is_some_and(|target| target != path);
        let kind = if kind == PathType::Exact { PathType::Exact } else { PathType::Prefix };
        PlainRule { path: path.into(), kind, regex: rewritten || has(ingress, "use-regex").is_some() }
    };
    let mut rules: Vec<PlainRule> = Vec::new();
    for ingress in &ingresses {
        for path in ingress.rules.iter().flat_map(|rule| &rule.paths) {
            let rule = rule(ingress, if path.path.is_empty() { "/" } else { &path.path }, path.kind);
            if !rules.iter().any(|known| known.path == rule.path && known.kind == rule.kind) {
                rules.push(rule);
            }
        }
    }
    let root = |rule: &PlainRule| rule.path == "/" && rule.kind == PathType::Prefix;
    let root = match rules.iter().position(root) {
        Some(at) => Some(rules.remove(at)),
        None => ingresses.first().map(|first| rule(first, "/", PathType::Prefix)),
    };
    rules.splice(0..0, root);
    PlainHost { regex: rules.iter().any(|rule| rule.regex), rules }
}

impl PlainHost {
    fn find(&self, path: &str) -> Option<(&str, PathType)> {
        let found = |rule: &PlainRule| {
            self.rules.iter().find(|known| known.path == rule.path && known.kind == rule.kind)
        };
        let mut rules = self.rules.clone();
        rules.sort_by(|one, other| other.path.cmp(&one.path));
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.path.len()));
        let path_match = if self.regex {
            rules.iter().find(|rule| {
                let exact = |other: &PlainRule| other.path == rule.path && other.kind == PathType::Exact;
                let below = !rule.regex
                    && rule.kind == PathType::Prefix
                    && rule.path != "/"
                    && rules.iter().any(exact);
                let slash = if below && !rule.path.ends_with('/') { "/" } else { "" };
                // A path that is not a valid pattern covers all paths that begin with its literal prefix.
                let bad = || format!("^{}", crate::pattern::literal_prefix(&rule.path));
                let pattern = Pattern::new(&format!("^{}{slash}", rule.path), true);
                let pattern = pattern.or_else(|_| Pattern::new(&bad(), true)).expect("plain text");
                pattern.is_match(path, &mut StepBudget::default()) == Ok(true)
            })
        } else {
            let slashed = format!("{path}/");
            let covers = |rule: &&PlainRule| {
                let prefix =
                    if rule.path.ends_with('/') { rule.path.clone() } else { format!("{}/", rule.path) };
                rule.kind == PathType::Prefix && path.starts_with(&prefix)
            };
            let exact = rules.iter().find(|rule| rule.path == path && rule.kind == PathType::Exact);
            let exact = exact.or_else(|| rules.iter().find(|rule| rule.path == path));
            if exact.is_none() && rules.iter().any(|rule| rule.path == slashed) {
                return Some(("slash", PathType::Prefix));
            }
            exact.or_else(|| rules.iter().find(covers))
        };
        path_match.and_then(found).map(|rule| (rule.path.as_str(), rule.kind))
    }
}
