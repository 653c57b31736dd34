//! The projection that makes [`Streams`].

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{
    CompactString, ConfigMap, Ingress, Key, Kind, Kinds, ObjectChange, PortRef, Projection, Protocol,
    Snapshot,
};

use super::target::{StreamTarget, WANTED};
use super::{SNIPPET, StreamService, Streams, rank};
use crate::annotations::{allows_snippets, left_out};
use crate::class::Classes;
use crate::globals::Globals;
use crate::options::{PoolKey, RouteOptions};
use crate::pools::{Pool, PoolError};
use crate::precedence::precedence;
use crate::problem::{Effect, RoutingProblem};
use crate::snippet::{SnippetServer, StreamAddressRules, read_servers};

/// How many ports a ConfigMap may open, and all snippets together. Each worker has a socket for each of them.
const MAX_PORTS: usize = 1000;

/// The projection that makes [`Streams`].
#[derive(Debug)]
pub struct StreamIndex {
    options: RouteOptions,
    /// The full name of the annotation.
    annotation: String,
}

impl StreamIndex {
    /// A projection with the options of the command line.
    pub fn new(options: RouteOptions) -> Self {
        let annotation = format!("{}/{SNIPPET}", options.annotations_prefix);
        Self { options, annotation }
    }

    /// The text of the annotation.
    fn snippet<'i>(&self, ingress: &'i Ingress) -> Option<&'i str> {
        ingress.annotation(&self.annotation).filter(|text| !text.trim().is_empty())
    }

    /// The ConfigMaps, each with its protocol and flag.
    fn config_maps(&self) -> impl Iterator<Item = (Protocol, &Key, &'static str)> {
        let tcp =
            self.options.tcp_services.iter().map(|key| (Protocol::Tcp, key, "--tcp-services-configmap"));
        let udp =
            self.options.udp_services.iter().map(|key| (Protocol::Udp, key, "--udp-services-configmap"));
        tcp.chain(udp)
    }

    /// Builds the view. Services that are the same as in `last` are shared with it, so that readers see by the pointer what has
    /// changed.
    fn build_with(&self, cluster: &Snapshot, last: &Streams) -> Streams {
        if !cluster.synced(self.kinds()) {
            return Streams::default();
        }
        let mut found = StreamReader {
            options: &self.options,
            cluster,
            services: BTreeMap::new(),
            of_snippets: 0,
            problems: Vec::new(),
        };
        for (protocol, key, flag) in self.config_maps() {
            match cluster.get::<ConfigMap>(key) {
                Some(config_map) => found.read(protocol, config_map),
                None => {
                    let what = format!("does not exist; {flag} opens no port");
                    found.report(key, "", what, Effect::Differs);
                }
            }
        }
        if let Some(config_map) =
            self.options.config_map.as_ref().and_then(|key| cluster.get::<ConfigMap>(key))
        {
            found.read_snippet(config_map);
        }
        let with_snippet = |ingress: &&Arc<Ingress>| self.snippet(ingress).is_some();
        let ingresses: Vec<_> = match self.options.config_map {
            Some(_) => cluster.iter::<Ingress>().filter(with_snippet).collect(),
            // Without a ConfigMap no snippet is allowed.
            None => Vec::new(),
        };
        let has_snippets = !ingresses.is_empty();
        if has_snippets {
            self.read_ingresses(ingresses, &mut found);
        }
        let share = |service: StreamService| match last.get(service.protocol, service.port) {
            Some(known) if **known == service => known.clone(),
            _ => Arc::new(service),
        };
        let services = found.services.into_values().map(share).collect();
        Streams { services, problems: found.problems.into(), is_synced: true, has_snippets }
    }

    /// Reads the snippets of Ingresses if the ConfigMap allows them. Problems that the routes report, too, are left to them.
    fn read_ingresses(&self, mut ingresses: Vec<&Arc<Ingress>>, found: &mut StreamReader<'_>) {
        let (classes, globals) =
            (Classes::of(found.cluster, &self.options), Globals::of(found.cluster, &self.options));
        if !allows_snippets(globals.values()) {
            return;
        }
        let prefix = &self.options.annotations_prefix;
        ingresses.retain(|ingress| {
            let is_catch_all = self.options.disable_catch_all && ingress.default_backend.is_some();
            classes.take(ingress, &self.options)
                && !is_catch_all
                && left_out(globals.values(), ingress, prefix).is_none()
        });
        ingresses.sort_by(|one, other| precedence(one, other));
        for ingress in ingresses {
            let (servers, _) = read_servers(self.snippet(ingress).unwrap_or_default());
            found.open_servers((Kind::Ingress, &ingress.key), &self.annotation, servers);
        }
    }

    /// Whether a change may affect the view.
    fn is_touched_by(&self, last: &Streams, change: &ObjectChange) -> bool {
        // Also entries without an endpoint are in the view, so that it knows every Service that matters.
        let leads_to = |key: &Key| last.iter().any(|service| service.target.service == *key);
        match change {
            ObjectChange::ConfigMap(_) => {
                let (changed, _) = change.summary();
                self.config_maps().any(|(_, key, _)| *key == changed)
                    || self.options.config_map.as_ref() == Some(&changed)
            }
            ObjectChange::Ingress(change) if self.options.config_map.is_some() => {
                change.sides().any(|ingress| self.snippet(ingress).is_some())
            }
            ObjectChange::IngressClass(_) | ObjectChange::Namespace(_) => last.has_snippets,
            ObjectChange::Service(change) => change.sides().any(|service| leads_to(&service.key)),
            ObjectChange::EndpointSlice(change) => change.sides().any(|slice| leads_to(&slice.service_key())),
            _ => false,
        }
    }
}

impl Projection for StreamIndex {
    type View = Streams;

    fn kinds(&self) -> Kinds {
        if self.config_maps().next().is_none() && self.options.config_map.is_none() {
            return Kinds::default();
        }
        let kinds = Kinds::of(&[Kind::ConfigMap, Kind::Service, Kind::EndpointSlice]);
        if self.options.config_map.is_none() {
            return kinds;
        }
        kinds.union(Kinds::of(&[Kind::Ingress])).union(Classes::kinds(&self.options))
    }

    fn build(&self, cluster: &Snapshot) -> Streams {
        self.build_with(cluster, &Streams::default())
    }

    fn advance(&self, last: &Streams, cluster: &Snapshot, touched: &[ObjectChange]) -> Streams {
        if cluster.synced(self.kinds()) == last.is_synced
            && !touched.iter().any(|change| self.is_touched_by(last, change))
        {
            return last.clone();
        }
        self.build_with(cluster, last)
    }
}

/// Reads ConfigMaps of services.
struct StreamReader<'c> {
    options: &'c RouteOptions,
    cluster: &'c Snapshot,
    services: BTreeMap<(u8, u16), StreamService>,
    /// How many of them are servers of snippets.
    of_snippets: usize,
    problems: Vec<RoutingProblem>,
}

impl StreamReader<'_> {
    /// Reads the entries of a ConfigMap. An invalid one is reported, and the others are served.
    fn read(&mut self, protocol: Protocol, config_map: &ConfigMap) {
        for (at, (name, value)) in config_map.data.iter().enumerate() {
            if at == MAX_PORTS {
                let left = config_map.data.len() - at;
                let what =
                    format!("{left} entries are more than the {MAX_PORTS} ports that a ConfigMap may open");
                return self.report(&config_map.key, name, what, Effect::LeftOut);
            }
            match self.entry(protocol, &config_map.key, name, value) {
                Ok(service) => drop(self.services.insert(service.rank(), service)),
                Err(what) => self.report(&config_map.key, name, what, Effect::LeftOut),
            }
        }
    }

    /// Reads the servers of `stream-snippet`.
    fn read_snippet(&mut self, config_map: &ConfigMap) {
        let Some((_, text)) = config_map.data.iter().find(|(name, _)| name == SNIPPET) else { return };
        let source = (Kind::ConfigMap, &config_map.key);
        let (servers, mistakes) = read_servers(text);
        for mistake in mistakes {
            let what = format!("{}: {}", mistake.at, mistake.what);
            self.report_of(source, SNIPPET, what, Effect::LeftOut);
        }
        self.open_servers(source, SNIPPET, servers);
    }

    /// Opens the ports of the servers of a snippet. A port that has an entry already is left out.
    fn open_servers(&mut self, source: (Kind, &Key), field: &str, servers: Vec<SnippetServer>) {
        for server in servers {
            let at = server.at;
            let service = match self.of_snippets {
                0..MAX_PORTS => self.of_snippet(source, server),
                _ => Err(format!("{MAX_PORTS} ports of stream-snippet are open already")),
            };
            match service {
                Ok(service) => {
                    self.of_snippets += 1;
                    self.services.insert(service.rank(), service);
                }
                Err(what) => self.report_of(source, field, format!("{at}: {what}"), Effect::LeftOut),
            }
        }
    }

    fn of_snippet(&self, (kind, key): (Kind, &Key), server: SnippetServer) -> Result<StreamService, String> {
        let SnippetServer { at: _, protocol, port, decodes_proxy, encodes_proxy, target, rules } = server;
        self.check_port(protocol, port)?;
        let (host, target_port) = target;
        // Names a target that is no Service, for logs and metrics.
        let target = PoolKey { service: Key::new(SNIPPET, host.clone()), port: PortRef::Number(target_port) };
        let pool = Pool::of_host(upstream_name(protocol, &target), &host, target_port);
        if let Some(error) = pool.error() {
            return Err(match error {
                PoolError::ExternalName(error) => format!("proxy_pass: {host} is {error}"),
                error => format!("{host} {error}"),
            });
        }
        let (source, pool) = ((kind, key.clone()), Arc::new(pool));
        Ok(StreamService { protocol, port, source, target, decodes_proxy, encodes_proxy, rules, pool })
    }

    /// Whether a port may be opened.
    fn check_port(&self, protocol: Protocol, port: u16) -> Result<(), String> {
        if let Some(flag) = self.reserved(port) {
            return Err(format!("{port} is the port of {flag} of the proxy itself"));
        }
        match self.services.contains_key(&rank(protocol, port)) {
            true => Err(format!("port {port} has another entry")),
            false => Ok(()),
        }
    }

    /// The service of an entry.
    ///
    /// # Errors
    /// Why it cannot be served.
    fn entry(
        &mut self,
        protocol: Protocol,
        config_map: &Key,
        name: &str,
        value: &str,
    ) -> Result<StreamService, String> {
        let port = name.parse::<u16>().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| format!("{name:?} should be a port number from 1 to 65535"))?;
        self.check_port(protocol, port)?;
        let target = StreamTarget::parse(value, protocol);
        let target = target.ok_or_else(|| format!("{value:?} should be {WANTED}"))?;
        if let Some(ignored) = target.ignored {
            self.report(config_map, name, ignored, Effect::Differs);
        }
        let upstream = upstream_name(protocol, &target.pool);
        let pool = Pool::of_stream(upstream, self.cluster, &target.pool, protocol, self.options);
        let service = StreamService {
            protocol,
            port,
            source: (Kind::ConfigMap, config_map.clone()),
            target: target.pool,
            decodes_proxy: target.decodes_proxy,
            encodes_proxy: target.encodes_proxy,
            rules: StreamAddressRules::default(),
            pool: Arc::new(pool),
        };
        if !service.is_open() {
            let what = format!("{}; the port is closed", self.why_closed(&service));
            self.report(config_map, name, what, Effect::Differs);
        }
        Ok(service)
    }

    /// The flag of the proxy's own listener on a port.
    fn reserved(&self, port: u16) -> Option<&'static str> {
        let RouteOptions { http_port, https_port, health_port, .. } = self.options;
        let own = [(http_port, "--http-port"), (https_port, "--https-port"), (health_port, "--healthz-port")];
        own.into_iter().find_map(|(own, flag)| (*own == port).then_some(flag))
    }

    /// Why there is no endpoint.
    fn why_closed(&self, service: &StreamService) -> String {
        let named = &service.target.service;
        let namespace =
            self.options.watch_namespace.as_ref().filter(|namespace| **namespace != named.namespace);
        match (service.pool.error(), namespace) {
            (Some(_), Some(watched)) => {
                format!("Service {named} is not in the namespace {watched} of --watch-namespace")
            }
            (Some(error), None) => format!("Service {named} {error}"),
            (None, _) => format!("Service {named} has no ready endpoint"),
        }
    }

    fn report(&mut self, key: &Key, field: &str, what: String, effect: Effect) {
        self.report_of((Kind::ConfigMap, key), field, what, effect);
    }

    fn report_of(&mut self, (kind, key): (Kind, &Key), field: &str, what: String, effect: Effect) {
        let (key, field) = (key.clone(), field.to_owned());
        self.problems.push(RoutingProblem { kind, key, field, what, effect });
    }
}

/// The name of the upstream of a service, as in ingress-nginx.
pub(super) fn upstream_name(protocol: Protocol, target: &PoolKey) -> CompactString {
    compact_str::format_compact!("{}-{}", protocol.label(), target.upstream_name())
}
