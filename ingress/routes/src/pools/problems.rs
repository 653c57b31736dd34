//! The problems of the backends that Ingresses refer to.

use cluster::{Backend, Ingress, Key, PortRef};

use super::{Pools, ReferencedPort, Referrer, named_service};
use crate::options::PoolKey;
use crate::problem::{Effect, RoutingProblem};

impl Pools {
    /// The problems of the backends that Ingresses refer to.
    pub fn problems(&self) -> impl Iterator<Item = RoutingProblem> {
        let services = self.services.iter().filter(|_| self.synced);
        let ports = services.flat_map(|(service, ports)| ports.iter().map(move |port| (service, port)));
        ports.flat_map(move |(service, port)| {
            port.ingresses.iter().filter_map(move |referrer| self.problem(service, port, referrer))
        })
    }

    /// The problem of a port, for an Ingress that refers to it.
    fn problem(&self, service: &Key, port: &ReferencedPort, referrer: &Referrer) -> Option<RoutingProblem> {
        let Referrer { ingress, is_canary, service_upstream: _ } = referrer;
        let error = match port.pool.error() {
            Some(error) => error.to_string(),
            None if port.pool.is_empty() => "has no ready endpoint".into(),
            None if port.pool.lacks_cluster_ip() => {
                let field = format!("backend.service {}:{}", service.name, port.name);
                let what = format!("Service {service} has no cluster IP, so service-upstream has no effect");
                return Some(RoutingProblem::of_ingress(&ingress.key, field, what, Effect::Differs));
            }
            None => return None,
        };
        let (consequence, effect) = if PoolKey::is_first(&port.name) {
            return Some(default_backend_problem(service, &error, ingress));
        } else if *is_canary {
            (", so the canary takes no requests".into(), Effect::Differs)
        } else if let Some(fallback) = self.fallback(ingress) {
            let paths = paths_to(ingress, service, &port.name);
            (format!(", needed for {paths}; Service {fallback} of default-backend responds"), Effect::Differs)
        } else {
            (format!(", needed for {}", paths_to(ingress, service, &port.name)), Effect::Closed)
        };
        let field = format!("backend.service {}:{}", service.name, port.name);
        let what = format!("Service {service} {error}{consequence}");
        Some(RoutingProblem::of_ingress(&ingress.key, field, what, effect))
    }

    /// The Service of `default-backend`, if it has endpoints: it responds for a Service that has none.
    fn fallback(&self, ingress: &Ingress) -> Option<Key> {
        let (_, name) = default_backend_annotation(ingress)?;
        let upstream = PoolKey::first_port(named_service(&ingress.key.namespace, name.trim())?);
        let pool = self.get(&upstream)?;
        (pool.error().is_none() && !pool.is_empty()).then_some(upstream.service)
    }
}

/// The problem of the Service that `default-backend` of an Ingress names.
fn default_backend_problem(service: &Key, error: &str, ingress: &Ingress) -> RoutingProblem {
    let field = default_backend_annotation(ingress).map(|(name, _)| name).unwrap_or_default();
    let what = format!("Service {service} {error}, so it makes no responses to errors");
    RoutingProblem::of_ingress(&ingress.key, field, what, Effect::Differs)
}

/// The annotation `default-backend` with its prefix, and its value.
fn default_backend_annotation(ingress: &Ingress) -> Option<(&str, &str)> {
    let mut annotations = ingress.annotations.iter();
    let (name, value) = annotations.find(|(name, _)| name.ends_with("/default-backend"))?;
    Some((name, value))
}

/// The first path of an Ingress with this port of a Service as backend, and how many more there are.
fn paths_to(ingress: &Ingress, service: &Key, port: &PortRef) -> String {
    let is_backend = |backend: &Backend| match backend {
        Backend::Service(backend) => backend.name == service.name && backend.port == *port,
        Backend::Resource(_) => false,
    };
    let paths = ingress.rules.iter().flat_map(|rule| rule.paths.iter().map(move |path| (&rule.host, path)));
    let mut paths = paths.filter(|(_, path)| is_backend(&path.backend));
    let Some((host, first)) = paths.next() else { return "spec.defaultBackend".into() };
    let host = if host.is_empty() { "*" } else { host };
    match paths.count() {
        0 => format!("{host}{}", first.path),
        more => format!("{host}{} and {more} more", first.path),
    }
}
