//! An Ingress of ours with its annotations parsed, and the paths of its rules.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::sync::Arc;

use cluster::{Backend, CompactString, Ingress, IngressRule, PathType, ServiceBackend, Snapshot};
use smallvec::SmallVec;

use crate::annotations::{self, Reference, Settings};
use crate::globals::Globals;
use crate::options::{PoolKey, RouteOptions};
use crate::precedence::{CATCH_ALL, host_error, host_key, precedence};
use crate::problem::{Effect, RoutingProblem};

/// An Ingress of ours with its parsed annotations. Built once for each version of the object.
#[derive(Debug, PartialEq)]
pub(crate) struct ParsedIngress {
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) settings: Settings,
    pub(crate) problems: Vec<RoutingProblem>,
    /// The Secrets and ConfigMaps that its annotations name, whether they exist or not.
    pub(crate) references: Box<[Reference]>,
    /// The whole Ingress is ignored: it has a default backend, and `--disable-catch-all` is set, or the ConfigMap forbids an annotation.
    excluded: bool,
}

impl ParsedIngress {
    pub(crate) fn new(
        ingress: Arc<Ingress>,
        options: &RouteOptions,
        globals: &Globals,
        cluster: &Snapshot,
    ) -> Self {
        let (settings, findings) =
            annotations::read(&ingress, &options.annotations_prefix, cluster, globals.values());
        let (mut problems, references) = (findings.problems, findings.references);
        if let Some(Backend::Resource(resource)) = &ingress.default_backend {
            let what = format!("a resource backend ({resource}) cannot be served, only Services can");
            problems.push(default_backend_problem(&ingress, what, Effect::Ignored));
        }
        let prefix = &options.annotations_prefix;
        let forbidden = annotations::left_out(globals.values(), &ingress, prefix);
        let is_catch_all = options.disable_catch_all && ingress.default_backend.is_some();
        let excluded = is_catch_all || forbidden.is_some();
        if let Some((name, what)) = forbidden {
            let field = format!("{prefix}/{name}");
            problems = vec![RoutingProblem::of_ingress(&ingress.key, field, what, Effect::IngressLeftOut)];
        }
        if is_catch_all {
            let what = "default backends are disabled (--disable-catch-all)";
            problems.push(default_backend_problem(&ingress, what, Effect::IngressLeftOut));
        }
        problems
            .extend((0..).zip(&ingress.rules).filter_map(|(n, rule)| host_problem(&ingress, n, &rule.host)));
        Self { ingress, settings, problems, references, excluded }
    }

    pub(crate) fn is_canary(&self) -> bool {
        self.settings.canary.is_some()
    }

    /// The rules whose host can be served, with their numbers.
    fn rules(&self) -> impl Iterator<Item = (usize, &IngressRule)> {
        self.ingress.rules.iter().enumerate().filter(|(_, rule)| host_error(&rule.host).is_none())
    }

    /// The keys of its hosts, each once; see [`host_key`].
    pub(crate) fn hosts(&self) -> SmallVec<[CompactString; 2]> {
        if self.excluded {
            return SmallVec::new();
        }
        let mut hosts: SmallVec<[CompactString; 2]> =
            self.rules().map(|(_, rule)| host_key(&rule.host)).collect();
        if self.serves_catch_all() && self.ingress.default_backend.is_some() {
            hosts.push(CATCH_ALL);
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// The upstreams of its backends, each once.
    pub(crate) fn pools(&self) -> SmallVec<[PoolKey; 2]> {
        let mut pools = SmallVec::<[PoolKey; 2]>::new();
        if self.excluded {
            return pools;
        }
        let backends = self.ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.backend);
        for backend in self.ingress.default_backend.iter().chain(backends) {
            if let Backend::Service(service) = backend {
                let pool = self.pool(service);
                if !pools.contains(&pool) {
                    pools.push(pool);
                }
            }
        }
        pools
    }

    /// The upstream of a backend.
    pub(crate) fn pool(&self, backend: &ServiceBackend) -> PoolKey {
        let namespace = self.ingress.key.namespace.clone();
        let service = cluster::Key { namespace, name: backend.name.clone() };
        PoolKey { service, port: backend.port.clone() }
    }

    /// Every path of its rules, by host, and `/` of the catch-all for its default backend.
    pub(crate) fn rule_paths(self: &Arc<Self>) -> impl Iterator<Item = (CompactString, RulePath)> {
        let rules = self.rules().filter(|_| !self.excluded);
        let paths = rules.flat_map(move |(n, rule)| {
            let (host, rule_number) = (host_key(&rule.host), NonZeroU32::MIN.saturating_add(n as u32));
            let rule_path =
                move |path| RulePath { parsed: self.clone(), rule: Some(rule_number), path: path as u32 };
            (0..rule.paths.len()).map(move |path| (host.clone(), rule_path(path)))
        });
        let default = (self.serves_catch_all()
            && matches!(self.ingress.default_backend, Some(Backend::Service(_))))
        .then(|| (CATCH_ALL, RulePath { parsed: self.clone(), rule: None, path: 0 }));
        paths.chain(default)
    }

    /// Host and path of its rules with this upstream. Its default backend serves the root of its hosts.
    pub(crate) fn paths_to(
        self: &Arc<Self>,
        pool: &PoolKey,
    ) -> impl Iterator<Item = (CompactString, CompactString)> {
        let is_upstream = |backend: Option<&Backend>| matches!(backend, Some(Backend::Service(service)) if self.pool(service) == *pool);
        let roots =
            if is_upstream(self.ingress.default_backend.as_ref()) { self.hosts() } else { SmallVec::new() };
        let roots = roots.into_iter().map(|host| (host, "/".into()));
        let rule_paths = self.rule_paths().filter(move |(_, rule_path)| is_upstream(rule_path.backend()));
        roots.chain(rule_paths.map(|(host, rule_path)| (host, rule_path.path().0.into())))
    }

    /// Its default backend serves the catch-all: it has no rules, or it is a canary.
    fn serves_catch_all(&self) -> bool {
        !self.excluded && (self.ingress.rules.is_empty() || self.is_canary())
    }
}

/// The problem of a rule's host.
fn host_problem(ingress: &Ingress, rule: usize, host: &str) -> Option<RoutingProblem> {
    let field = format!("spec.rules[{rule}].host");
    if let Some(error) = host_error(host) {
        return Some(RoutingProblem::of_ingress(
            &ingress.key,
            field,
            format!("{host:?} {error}"),
            Effect::LeftOut,
        ));
    }
    let lower_case = host.to_ascii_lowercase();
    let what =
        format!("{host:?} has capital letters, which the API server refuses; it is served as {lower_case}");
    (lower_case != host).then(|| RoutingProblem::of_ingress(&ingress.key, field, what, Effect::Cosmetic))
}

fn default_backend_problem(ingress: &Ingress, what: impl Into<String>, effect: Effect) -> RoutingProblem {
    RoutingProblem::of_ingress(&ingress.key, "spec.defaultBackend", what, effect)
}

/// A path of a rule. Several Ingresses may have the same host and path; the first one owns it, and canaries belong to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RulePath {
    pub(crate) parsed: Arc<ParsedIngress>,
    /// The number of the rule, from 1; `None` for `spec.defaultBackend`.
    rule: Option<NonZeroU32>,
    /// The number of the path in it, from 0.
    path: u32,
}

impl RulePath {
    /// The path, and whether it is exact.
    pub(crate) fn path(&self) -> (&str, PathType) {
        let Some(rule) = self.rule else { return ("/", PathType::Prefix) };
        let path = &self.parsed.ingress.rules[rule.get() as usize - 1].paths[self.path as usize];
        let kind = match path.kind {
            PathType::Exact => PathType::Exact,
            PathType::Prefix | PathType::ImplementationSpecific => PathType::Prefix,
        };
        (if path.path.is_empty() { "/" } else { &path.path }, kind)
    }

    /// Its backend.
    pub(crate) fn backend(&self) -> Option<&Backend> {
        let ingress = &self.parsed.ingress;
        let Some(rule) = self.rule else { return ingress.default_backend.as_ref() };
        Some(&ingress.rules[rule.get() as usize - 1].paths[self.path as usize].backend)
    }

    /// The settings that apply to it.
    pub(crate) fn settings(&self) -> Cow<'_, Settings> {
        match self.rule {
            Some(_) => Cow::Borrowed(&self.parsed.settings),
            None => Cow::Owned(self.parsed.settings.of_default_backend()),
        }
    }

    /// Its field in the manifest.
    pub(crate) fn field(&self) -> String {
        match self.rule {
            Some(rule) => format!("spec.rules[{}].http.paths[{}]", rule.get() - 1, self.path),
            None => "spec.defaultBackend".into(),
        }
    }

    /// The default backend of an Ingress without rules comes first, then the precedence of the Ingresses decides, then the
    /// order within one.
    pub(crate) fn precedence(&self, other: &Self) -> Ordering {
        let is_first = |rule_path: &Self| rule_path.rule.is_none() && !rule_path.parsed.is_canary();
        is_first(other)
            .cmp(&is_first(self))
            .then_with(|| precedence(&self.parsed.ingress, &other.parsed.ingress))
            .then_with(|| (self.rule, self.path).cmp(&(other.rule, other.path)))
    }
}
