//! A host: the rules that all its Ingresses make, in order of precedence.
//!
//! A host depends on the Ingresses that name it and, for affinity, on who else uses their Services. Both are indexes
//! of the table, so that a change rebuilds only the hosts it touches.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use cluster::{Backend, PathType, ServiceBackend, Text};
use foldhash::fast::RandomState;

use super::paths::{Entry, Paths, flaw};
use super::route::{DEFAULT_UPSTREAM, Route};
use super::taken::{RuleOf, Taken};
use crate::affinity::Affinity;
use crate::annotations::{self, AppRoot, Rule, Settings};
use crate::hsts::Hsts;
use crate::options::{Options, PoolKey};
use crate::pattern::Patterns;
use crate::precedence::{CATCH_ALL, host_name};
use crate::problem::{Outcome, Problem};
use crate::upstream::{Canary, Target, Upstream};

/// The routes of one host.
#[derive(Debug, PartialEq)]
pub struct Host {
    /// By precedence.
    pub(super) members: Box<[Arc<Taken>]>,
    /// Canaries alone make no host.
    pub(super) alive: bool,
    /// Some Ingress of the host has a `tls` section (§3.4).
    pub(super) tls: bool,
    pub(super) app_root: Option<AppRoot>,
    pub(super) root: Arc<Route>,
    pub(super) paths: Paths,
    pub(super) problems: Vec<Problem>,
}

/// What hosts are built with.
pub(super) struct Context<'c> {
    pub(super) options: &'c Options,
    pub(super) patterns: &'c Patterns,
    /// The affinity that rules without their own follow, by upstream.
    pub(super) followed: &'c dyn Fn(&PoolKey) -> Option<Arc<Affinity>>,
}

/// A rule that has won its path.
struct Draft<'t> {
    owner: Option<&'t Arc<Taken>>,
    settings: Cow<'t, Settings>,
    path: Text,
    kind: PathType,
    backend: Option<&'t ServiceBackend>,
    /// The `/` that every host has until a rule takes it (§3.1).
    implicit: bool,
    canaries: Vec<(&'t Arc<Taken>, &'t ServiceBackend)>,
}

impl Host {
    /// The host under a key, from its Ingresses in order of precedence.
    pub(super) fn new(key: &Text, members: Box<[Arc<Taken>]>, context: &Context<'_>) -> Self {
        let mut sheet = Sheet::new(key, &members);
        for taken in members.iter().filter(|taken| !taken.is_canary()) {
            taken.rules_of(key).for_each(|rule| sheet.add(taken, &rule));
        }
        for taken in members.iter().filter(|taken| taken.is_canary()) {
            taken.rules_of(key).for_each(|rule| sheet.add_canary(taken, &rule));
            if let Some(Backend::Service(backend)) =
                taken.ingress.default_backend.as_ref().filter(|_| *key == CATCH_ALL)
            {
                sheet.attach(0, taken, backend, "spec.defaultBackend");
            }
        }
        let Sheet { drafts, mut problems, .. } = sheet;
        let name = host_name(key);
        let regex_host = drafts.iter().any(Draft::is_regex);
        let mut entries = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let flaw = regex_host.then(|| flaw(&draft.path, context.patterns)).flatten();
            let flaw = flaw.map(|flaw| format!("{:?} is no regular expression ({flaw})", draft.path));
            if let (Some(owner), Some(what)) = (draft.owner, &flaw) {
                let place = format!("path of host {name}");
                problems.push(problem(owner, place, what.clone(), Outcome::Denied));
            }
            let route = Arc::new(draft.route(&name, flaw, context));
            entries.push(Entry { route, regex: draft.is_regex() });
        }
        let primaries =
            || members.iter().filter(|taken| !taken.is_canary() && !taken.ingress.rules.is_empty());
        let app_root = primaries().find_map(|taken| taken.settings.app_root.clone()).map(AppRoot);
        let tls = *key != CATCH_ALL && primaries().any(|taken| !taken.ingress.tls.is_empty());
        let alive = primaries().next().is_some();
        let root = entries[0].route.clone();
        Self { alive, tls, app_root, root, paths: Paths::new(entries, context.patterns), problems, members }
    }
}

/// The rules of a host while they are collected.
struct Sheet<'t> {
    key: &'t Text,
    /// The first is that of `/` (Prefix).
    drafts: Vec<Draft<'t>>,
    at: HashMap<(&'t str, PathType), usize, RandomState>,
    problems: Vec<Problem>,
}

impl<'t> Sheet<'t> {
    fn new(key: &'t Text, members: &'t [Arc<Taken>]) -> Self {
        let root = if *key == CATCH_ALL { Draft::of_catch_all(members) } else { Draft::of_root(members) };
        let at = [(("/", PathType::Prefix), 0)].into_iter().collect();
        Self { key, drafts: vec![root], at, problems: Vec::new() }
    }

    /// The first rule of a path and kind has it.
    fn add(&mut self, taken: &'t Arc<Taken>, rule: &RuleOf<'t>) {
        let backend = match rule.backend() {
            Backend::Service(service) => Some(service),
            Backend::Resource(resource) => {
                let what = format!("a resource backend ({resource}) cannot be served, only Services can");
                self.problems.push(problem(taken, rule.place(), what, Outcome::NotFound));
                None
            }
        };
        let draft = Draft {
            owner: Some(taken),
            settings: Cow::Borrowed(&taken.settings),
            path: rule.path().into(),
            kind: rule.kind(),
            backend,
            implicit: false,
            canaries: Vec::new(),
        };
        match self.at.get(&(rule.path(), rule.kind())) {
            None => {
                self.at.insert((rule.path(), rule.kind()), self.drafts.len());
                self.drafts.push(draft);
            }
            Some(&at) if self.drafts[at].implicit => self.drafts[at] = draft,
            Some(&at) => {
                let owner =
                    self.drafts[at].owner.map(|owner| owner.ingress.key.to_string()).unwrap_or_default();
                let what = format!(
                    "host {} and path {} belong to {owner}, which is older",
                    host_name(self.key),
                    rule.path()
                );
                self.problems.push(problem(taken, rule.place(), what, Outcome::LeftOut));
            }
        }
    }

    /// A canary doubles the rule of the same path, as text, and kind.
    fn add_canary(&mut self, taken: &'t Arc<Taken>, rule: &RuleOf<'t>) {
        match (self.at.get(&(rule.path(), rule.kind())), rule.backend()) {
            (Some(&at), Backend::Service(backend)) => self.attach(at, taken, backend, &rule.place()),
            (_, Backend::Resource(_)) => {
                let what = "a canary leads to a Service, not to a resource".into();
                self.problems.push(problem(taken, rule.place(), what, Outcome::LeftOut));
            }
            (None, _) => self.lonely(taken, &rule.place()),
        }
    }

    fn attach(&mut self, at: usize, taken: &'t Arc<Taken>, backend: &'t ServiceBackend, place: &str) {
        let draft = &mut self.drafts[at];
        let (Some(owner), Some(primary)) = (draft.owner, draft.backend) else {
            return self.lonely(taken, place);
        };
        if owner.pool(primary) == taken.pool(backend) {
            let what =
                format!("leads to the same Service as the rule of {} that it doubles", owner.ingress.key);
            return self.problems.push(problem(taken, place.into(), what, Outcome::LeftOut));
        }
        let known =
            |(other, known): &(&Arc<Taken>, &ServiceBackend)| other.pool(known) == taken.pool(backend);
        if !draft.canaries.iter().any(known) {
            draft.canaries.push((taken, backend));
        }
    }

    fn lonely(&mut self, taken: &Taken, place: &str) {
        let what = format!("no Ingress has this path on host {} for a canary to double", host_name(self.key));
        self.problems.push(problem(taken, place.into(), what, Outcome::LeftOut));
    }
}

impl<'t> Draft<'t> {
    /// `/` of a named host carries the annotations of its first Ingress and leads to the default backend of that.
    fn of_root(members: &'t [Arc<Taken>]) -> Self {
        let owner = members.iter().find(|taken| !taken.is_canary());
        let settings = owner.map(|owner| Cow::Borrowed(&owner.settings)).unwrap_or_default();
        Self { settings, ..Self::root(owner) }
    }

    /// `/` of the catch-all belongs to the first Ingress with a default backend and no rules, but for its redirects
    /// and rewrites; else to nobody.
    fn of_catch_all(members: &'t [Arc<Taken>]) -> Self {
        let mut rule_less =
            members.iter().filter(|taken| !taken.is_canary() && taken.ingress.rules.is_empty());
        let owner =
            rule_less.find(|taken| matches!(taken.ingress.default_backend, Some(Backend::Service(_))));
        let settings = Cow::Owned(owner.map(|owner| owner.settings.of_default_backend()).unwrap_or_default());
        Self { settings, implicit: owner.is_none(), ..Self::root(owner) }
    }

    fn root(owner: Option<&'t Arc<Taken>>) -> Self {
        let backend = match owner.and_then(|owner| owner.ingress.default_backend.as_ref()) {
            Some(Backend::Service(service)) => Some(service),
            _ => None,
        };
        Self {
            owner,
            settings: Cow::default(),
            path: "/".into(),
            kind: PathType::Prefix,
            backend,
            implicit: true,
            canaries: Vec::new(),
        }
    }

    fn is_regex(&self) -> bool {
        let rewrite = self.settings.rewrite.as_ref();
        self.settings.use_regex || rewrite.is_some_and(|rewrite| rewrite.changes(&self.path))
    }

    fn route(&self, host: &Text, flaw: Option<String>, context: &Context<'_>) -> Route {
        let rule = Rule { path: &self.path, patterns: context.patterns };
        let mut filters = annotations::filters(&self.settings, &rule);
        filters.push(Box::new(Hsts));
        Route {
            host: host.clone(),
            path: self.path.clone(),
            kind: self.kind,
            ingress: self.owner.map(|owner| owner.ingress.key.clone()),
            service: self.backend.map(|backend| (backend.name.clone(), backend.port.clone())),
            denied: self.settings.denied.clone().or(flaw),
            filters: filters.into(),
            upstream: self.upstream(context),
        }
    }

    fn upstream(&self, context: &Context<'_>) -> Option<Upstream> {
        let (Some(owner), Some(backend)) = (self.owner, self.backend) else {
            return default_upstream(context.options).filter(|_| self.implicit);
        };
        let pool = owner.pool(backend);
        let affinity = self.settings.affinity.clone().or_else(|| (context.followed)(&pool));
        let canaries = self.canaries.iter().filter_map(|(taken, backend)| {
            let policy = taken.settings.canary.clone()?;
            let legacy = taken.settings.legacy_canary_affinity;
            let affinity = if legacy { taken.settings.affinity.clone() } else { affinity.clone() };
            let target = Target::new(taken.pool(backend), affinity, &self.path);
            Some(Canary { ingress: taken.ingress.key.clone(), policy, target })
        });
        let canaries = canaries.collect();
        Some(Upstream { primary: Target::new(pool, affinity, &self.path), canaries })
    }
}

/// `--default-backend-service`.
fn default_upstream(options: &Options) -> Option<Upstream> {
    let service = options.default_backend_service.clone()?;
    let pool = PoolKey { service, port: cluster::PortRef::Name(Text::default()) };
    let mut primary = Target::new(pool, None, &"/".into());
    primary.name = DEFAULT_UPSTREAM.into();
    Some(Upstream { primary, canaries: Box::default() })
}

fn problem(taken: &Taken, place: String, what: String, outcome: Outcome) -> Problem {
    Problem { ingress: taken.ingress.key.clone(), place, what, outcome }
}
