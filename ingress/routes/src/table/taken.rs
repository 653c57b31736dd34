//! An Ingress of ours, its annotations read.

use std::sync::Arc;

use cluster::{Backend, Ingress, IngressPath, PathType, ServiceBackend, Text};
use smallvec::SmallVec;

use crate::annotations::{self, Settings};
use crate::options::{Options, PoolKey};
use crate::precedence::{CATCH_ALL, host_key};
use crate::problem::{Outcome, Problem};

/// An Ingress whose class is ours, with what its annotations ask for. Made once for each version of the object.
#[derive(Debug, PartialEq)]
pub(crate) struct Taken {
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) settings: Settings,
    pub(crate) problems: Vec<Problem>,
    /// `--disable-catch-all` leaves the whole Ingress out.
    left_out: bool,
}

impl Taken {
    pub(crate) fn new(ingress: Arc<Ingress>, options: &Options) -> Self {
        let (settings, mut problems) = annotations::read(&ingress, &options.annotations_prefix);
        let left_out = options.disable_catch_all && ingress.default_backend.is_some();
        if left_out {
            problems.push(Problem {
                ingress: ingress.key.clone(),
                place: "spec.defaultBackend".into(),
                what: "default backends are disabled (--disable-catch-all), and with them the whole Ingress"
                    .into(),
                outcome: Outcome::LeftOut,
            });
        }
        Self { ingress, settings, problems, left_out }
    }

    pub(crate) fn is_canary(&self) -> bool {
        self.settings.canary.is_some()
    }

    /// The keys of the hosts that it has a say in, each once; see [`host_key`].
    pub(crate) fn hosts(&self) -> SmallVec<[Text; 2]> {
        if self.left_out {
            return SmallVec::new();
        }
        let mut hosts: SmallVec<[Text; 2]> =
            self.ingress.rules.iter().map(|rule| host_key(&rule.host)).collect();
        let rule_less = self.ingress.rules.is_empty() || self.is_canary();
        if rule_less && self.ingress.default_backend.is_some() {
            hosts.push(CATCH_ALL);
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// The upstreams that its rules lead to, each once.
    pub(crate) fn pools(&self) -> SmallVec<[PoolKey; 2]> {
        let mut pools = SmallVec::<[PoolKey; 2]>::new();
        if self.left_out {
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

    /// The rules of one host: field path, path, backend.
    pub(crate) fn rules_of<'t>(&'t self, host: &'t str) -> impl Iterator<Item = RuleOf<'t>> {
        let rules =
            self.ingress.rules.iter().enumerate().filter(move |(_, rule)| host_key(&rule.host) == host);
        rules.flat_map(|(rule, of)| {
            of.paths.iter().enumerate().map(move |(n, path)| RuleOf { at: (rule, n), path })
        })
    }
}

/// A path of a rule.
pub(crate) struct RuleOf<'t> {
    at: (usize, usize),
    path: &'t IngressPath,
}

impl<'t> RuleOf<'t> {
    pub(crate) fn path(&self) -> &'t str {
        if self.path.path.is_empty() { "/" } else { &self.path.path }
    }

    pub(crate) fn kind(&self) -> PathType {
        match self.path.kind {
            PathType::Exact => PathType::Exact,
            PathType::Prefix | PathType::ImplementationSpecific => PathType::Prefix,
        }
    }

    pub(crate) fn backend(&self) -> &'t Backend {
        &self.path.backend
    }

    pub(crate) fn place(&self) -> String {
        format!("spec.rules[{}].http.paths[{}]", self.at.0, self.at.1)
    }
}
