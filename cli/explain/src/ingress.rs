//! Why a request goes to its endpoint.

mod balancing;
mod settings;

use std::net::IpAddr;
use std::time::Duration;

use cluster::{Current, Ingress, Key, PathType};
use ingress_routes::plan::access::{AccessCheck, AccessStep, Services};
use ingress_routes::{
    Certs, DirectResponse, Exchange, FilterOutcome, GeoDatabases, HostReason, PathReason, Pools, RequestId,
    RequestScheme, Route, RouteMatch, RouteTable,
};

use self::balancing::FixedRandom;
pub(crate) use self::balancing::members;
pub(crate) use self::settings::of_phase;
use crate::request::ExplainedRequest;
use crate::tree::Tree;

/// The views that a request is explained with.
#[derive(Clone, Copy)]
pub struct IngressViews<'v> {
    /// Routes.
    pub table: &'v RouteTable,
    /// Endpoints.
    pub pools: &'v Pools,
    /// Certificates.
    pub certs: &'v Certs,
    /// What is known about addresses of clients.
    pub geo: &'v Current<GeoDatabases>,
    /// An Ingress of the cluster by its key.
    pub ingress: &'v dyn Fn(&Key) -> Option<Ingress>,
    /// `--annotations-prefix`.
    pub prefix: &'v str,
    /// `--http-port` and `--https-port`.
    pub ports: (u16, u16),
    /// The time since the Unix epoch.
    pub now: Duration,
}

/// The whole way of a request.
pub fn explain(request: &ExplainedRequest, views: &IngressViews<'_>) -> Tree {
    let ExplainedRequest { method, from, .. } = request;
    let tree = Tree::new(format!("{method} {} from {from}", request.url()));
    let mut exchange = match request.exchange() {
        Ok(exchange) => exchange,
        Err(error) => return tree.with(format!("answer: 400, before a route is looked for: {error}")),
    };
    exchange.began = views.now;
    exchange.identify(&views.table.server().identity, None);
    exchange.geo = views.table.server().geo.is_enabled.then(|| views.geo.local().load());
    exchange.request_id = RequestId::of(Some(&exchange.request), || 0);
    let found = views.table.find_for(&exchange);
    let covers = |host: &str| views.certs.covers(exchange.host(), host);
    let mut found =
        if found.alias_of().is_some_and(|host| !covers(host)) { found.without_certificate() } else { found };
    let route = found.route().clone();
    if !route.plan.heads.makes_request_ids {
        exchange.request_id.drop_own();
    }
    let mut tree = tree
        .with(request_line(&exchange, *from))
        .with(host(&found, &exchange, views))
        .with(path(&found, &exchange));
    let ingress = route.ingress.as_ref().and_then(|key| (views.ingress)(key));
    if let Some(ingress) = &ingress {
        tree = tree.with_all(settings::of_ingress(ingress, views.prefix));
    }
    let before = exchange.target.clone();
    if let FilterOutcome::Respond(response) = found.rewrite(&mut exchange) {
        return tree.with(direct("rewrite phase", &response, found.route()));
    }
    // A snippet may have changed the path, and with it the rule.
    let route = found.route().clone();
    if exchange.target != before
        && let Some(target) = &exchange.target
    {
        tree = tree.with(format!("rewrite: the endpoint gets {target}"));
    }
    let mut balancer = FixedRandom { random: 0, now: views.now };
    if route.is_without_endpoints(&exchange, views.pools, &mut balancer) && !route.plan.is_open() {
        return tree
            .with(balancing::endpoints_of(&route, views))
            .with("answer: 503, because there is no endpoint");
    }
    match enter(&route, &mut exchange, views) {
        Ok(parts) => tree = tree.with_all(parts),
        Err(parts) => return tree.with_all(parts),
    }
    let Some(upstream) = &route.upstream else {
        return tree.with("answer: 404, because no rule and no default backend has the request");
    };
    let (parts, has_endpoint) = balancing::explain(upstream, &exchange, views);
    tree = tree.with_all(parts);
    if !has_endpoint {
        return tree.with("answer: 503, because there is no endpoint");
    }
    tree.with(sent(&route, &exchange, views)).with(settings::of_response(&route, &exchange))
}

/// The request as routing reads it.
fn request_line(exchange: &Exchange, from: IpAddr) -> Tree {
    let mut tree = Tree::new(format!("request: host {:?}, path {:?}", exchange.host(), exchange.path()));
    let sent = exchange.request_target().split('?').next().unwrap_or_default();
    if sent != exchange.path() {
        tree = tree
            .with(format!("the path {sent:?} is normalised: percent-encoding, dots and repeated slashes"));
    }
    if exchange.client_ip() != from.to_canonical() {
        tree = tree.with(format!("the client is {}, by a header of a trusted proxy", exchange.client_ip()));
    }
    tree
}

/// Why the name leads to its host, and the certificate of a TLS connection.
fn host(found: &RouteMatch<'_>, exchange: &Exchange, views: &IngressViews<'_>) -> Tree {
    let name = exchange.host();
    let text = match found.host_reason() {
        HostReason::Name => format!("host: the rules of {name}"),
        HostReason::Wildcard(wildcard) => {
            format!("host: the rules of {wildcard}, which covers {name}; no rule has the name itself")
        }
        HostReason::Alias(host) => {
            format!("host: the rules of {}; {name} is an alias of it (server-alias)", shown(host))
        }
        HostReason::Counterpart(host) => {
            format!("host: {name} redirects to {} (from-to-www-redirect)", shown(host))
        }
        HostReason::CatchAll => {
            format!("host: no rule has {name:?}: rules without a host, then the default backend")
        }
    };
    let tree = Tree::new(text);
    if exchange.scheme == RequestScheme::Http {
        return tree;
    }
    let certificate = match found.alias_of() {
        Some(host) => views.certs.find_for(name, host),
        None => views.certs.find(Some(name)),
    };
    tree.with(match certificate {
        Some(_) => "TLS: the certificate of the host, or the default one of --default-ssl-certificate",
        None => "TLS: the self-signed certificate of the proxy, because no Secret covers the name",
    })
}

/// A host key: a name, or a wildcard as `.example`.
fn shown(host: &str) -> String {
    if host.starts_with('.') { format!("*{host}") } else { host.to_owned() }
}

/// Which rule covers the path, and which others it won against.
fn path(found: &RouteMatch<'_>, exchange: &Exchange) -> Tree {
    let route = found.route();
    let rule = rule(route);
    let text = match found.path_reason() {
        PathReason::Covered => format!("path: {rule}"),
        PathReason::MissingSlash => format!("path: only {rule} with a slash at its end: a redirect to it"),
        PathReason::StepLimit => {
            format!("path: the regular expressions of the host take too many steps at {rule}")
        }
    };
    let others = found.other_routes(exchange.path());
    let why = if found.has_patterns() {
        "a regular expression on this host: the longest text is tried first"
    } else {
        "Exact comes before Prefix, then the longest path"
    };
    let mut tree = Tree::new(text);
    if !others.is_empty() {
        let lost = others.iter().map(|other| self::rule(other));
        tree =
            tree.with(Tree::new(format!("it won against others that cover the path ({why})")).with_all(lost));
    }
    tree
}

/// A rule in words.
fn rule(route: &Route) -> String {
    let kind = match route.kind {
        PathType::Exact => "Exact",
        PathType::Prefix => "Prefix",
        PathType::ImplementationSpecific => "ImplementationSpecific",
    };
    let service = match &route.service {
        Some((name, port)) => format!(", Service {name}:{port}"),
        None => String::new(),
    };
    match &route.ingress {
        Some(key) => format!("{kind} {} of Ingress {key}{service}", route.path),
        None => format!("the default backend{service}"),
    }
}

/// A response that the proxy makes itself.
fn direct(phase: &str, response: &DirectResponse, route: &Route) -> Tree {
    let location = response.location().and_then(|location| location.to_str().ok());
    let to = location.map(|location| format!(" to {location}")).unwrap_or_default();
    let mut tree = Tree::new(format!("answer: {}{to}, from the {phase}", response.status.as_u16()));
    if let Some(reason) = &route.denied {
        tree = tree.with(format!("the rule is closed: {reason}"));
    }
    tree
}

/// Limits and access rules: what they say, or the response that they make.
fn enter(route: &Route, exchange: &mut Exchange, views: &IngressViews<'_>) -> Result<Vec<Tree>, Vec<Tree>> {
    let services = ExplainServices { now: views.now, id: exchange.request_id.clone() };
    let mut parts = Vec::new();
    for limit in &route.plan.limits {
        if let FilterOutcome::Respond(response) = limit.enter(exchange, &services) {
            parts.push(direct("limits", &response, route));
            return Err(parts);
        }
    }
    if !route.plan.limits.is_empty() {
        parts.push(Tree::new(format!(
            "limits: {} rules; a first request of this client passes",
            route.plan.limits.len()
        )));
    }
    match AccessCheck::default().run(&route.plan.access, exchange, &services) {
        AccessStep::Pass if route.plan.access.rules.is_empty() => {}
        AccessStep::Pass => parts.push(Tree::new("access: allowed")),
        AccessStep::Respond(response) => {
            parts.push(direct("access rules", &response, route));
            return Err(parts);
        }
        AccessStep::Fetch(request) => {
            parts.push(Tree::new(format!(
                "access: {} decides; the rest holds if it allows the request",
                request.url
            )));
        }
        AccessStep::Verify(check) => parts.push(Tree::new(format!(
            "access: the password of {:?} is compared with its hash; the rest holds if it is right",
            check.user()
        ))),
    }
    Ok(parts)
}

/// The request as the endpoint would get it.
fn sent(route: &Route, exchange: &Exchange, views: &IngressViews<'_>) -> Tree {
    let port = match exchange.scheme {
        RequestScheme::Http => views.ports.0,
        RequestScheme::Https => views.ports.1,
    };
    let head = ingress_proxy::explain::upstream_head(exchange, route, views.table.server(), port, false);
    let head = String::from_utf8_lossy(&head);
    let lines = head.split("\r\n").filter(|line| !line.is_empty());
    // The identifier is a new one for each request.
    let id = String::from_utf8_lossy(exchange.request_id.as_bytes());
    let is_own = matches!(exchange.request_id, RequestId::Own(_));
    let lines = lines
        .map(|line| if is_own { line.replace(&*id, "<32 hexadecimal digits>") } else { line.to_owned() });
    Tree::new("the endpoint gets").with_all(lines)
}

struct ExplainServices {
    now: Duration,
    id: RequestId,
}

impl Services for ExplainServices {
    fn now(&self) -> Duration {
        self.now
    }

    fn request_id(&self) -> &[u8] {
        self.id.as_bytes()
    }
}

#[cfg(test)]
mod tests;
