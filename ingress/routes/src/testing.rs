//! Clusters for tests: Ingresses as manifests, Services as lines, requests as URLs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use cluster::{
    Backend, Cache, ConfigMap, Current, Endpoint as SliceEndpoint, EndpointPort, EndpointSlice, Event,
    Ingress, IngressClass, IngressPath, IngressRule, IngressTls, Key, Kind, Object, PathType, PortRef,
    Protocol, Service, ServiceBackend, ServiceKind, ServicePort, Snapshot,
};
use http::{HeaderMap, StatusCode};
use ingress_wire::known_header::KnownSet;
use ingress_wire::response::{MAX_RESPONSE_HEAD, ParsedResponse};
use serde::Deserialize;

use crate::annotations::SettingReader;
use crate::exchange::tests::get;
use crate::family_values::{FamilyValue, FamilyValues};
use crate::plan::access::{AccessCheck, AccessStep, Services};
use crate::plan::filter::{DirectResponse, FilterOutcome, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::upstream::{
    BalancerState, EwmaScores, SelectedEndpoint, SelectedTarget, UpstreamAddress, UpstreamTarget,
};
use crate::{CertIndex, Certs, Exchange, Pool, PoolIndex, Pools, RouteIndex, RouteOptions, RouteTable};

pub(crate) const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// The value that a family reads from the keys of a ConfigMap, and the problems of the keys.
pub(crate) fn key_value<T: FamilyValue + Clone>(
    read_keys: fn(&mut SettingReader<'_>, &mut FamilyValues),
    data: &[(&str, &str)],
) -> (T, Vec<String>) {
    let data = data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
    let config_map = ConfigMap { key: Key::new("ingress", "controller"), data };
    let (cluster, mut values) = <(Snapshot, FamilyValues)>::default();
    let mut reader = SettingReader::of_config_map(&config_map, &cluster);
    read_keys(&mut reader, &mut values);
    let problems = reader.done().problems.iter().map(ToString::to_string).collect();
    (values.take().expect("the family has the value"), problems)
}

/// A cluster with its three views.
pub(crate) struct TestCluster {
    cache: Cache,
    pub(crate) table: Current<RouteTable>,
    pub(crate) pools: Current<Pools>,
    pub(crate) certs: Current<Certs>,
}

impl TestCluster {
    /// A cluster in which Ingresses without a class are ours.
    pub(crate) fn new(ingresses: &str) -> Self {
        let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
        Self::with(options, ingresses)
    }

    pub(crate) fn with(options: RouteOptions, ingresses: &str) -> Self {
        let mut cache = Cache::default();
        let table = cache.project(RouteIndex::new(options.clone()));
        let pools = cache.project(PoolIndex::new(options.clone()));
        let certs = cache.project(CertIndex::new(options));
        let mut world = Self { cache, table, pools, certs };
        world.apply(manifests(ingresses).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))));
        world
    }

    /// A cluster with a ConfigMap and all first lists, in which Ingresses without a class are ours.
    pub(crate) fn configured(ingresses: &str) -> Self {
        let options = RouteOptions {
            watch_ingress_without_class: true,
            config_map: Some(Key::new("ingress", "controller")),
            ..RouteOptions::default()
        };
        let mut cluster = Self::with(options, ingresses);
        cluster.sync();
        cluster
    }

    /// Replaces the keys of the ConfigMap.
    pub(crate) fn configure(&mut self, data: &[(&str, &str)]) {
        let mut data: Vec<_> =
            data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
        data.sort_unstable();
        let config_map = ConfigMap { key: Key::new("ingress", "controller"), data };
        self.apply([Object::ConfigMap(Arc::new(config_map))]);
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.cache.snapshot()
    }

    pub(crate) fn apply(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.cache.apply(objects.into_iter().map(Event::Apply), 1);
    }

    pub(crate) fn remove(&mut self, kind: Kind, key: Key) {
        self.cache.apply([Event::Remove(kind, key)], 1);
    }

    /// Completes the first list of every kind.
    pub(crate) fn sync(&mut self) {
        self.cache.apply(Kind::ALL.into_iter().map(Event::Synced), 1);
    }

    /// Completes the first list of every kind but this one.
    pub(crate) fn sync_but(&mut self, kind: Kind) {
        self.cache.apply(Kind::ALL.into_iter().filter(|one| *one != kind).map(Event::Synced), 1);
    }

    /// Services of the namespace `default`, one a line: `web 80:http 10.0.0.1 10.0.0.2`. Endpoints listen on 8080.
    pub(crate) fn services(mut self, lines: &str) -> Self {
        for line in lines.lines() {
            let (service, slice) = service(line);
            self.apply([Object::Service(Arc::new(service)), Object::EndpointSlice(Arc::new(slice))]);
        }
        self
    }

    /// The outcome of a GET: `web` (the Service), `web /target` if rewritten, `301 http://…`, `404`.
    pub(crate) fn get(&self, url: &str) -> String {
        self.ask(url, &[], 99)
    }

    pub(crate) fn ask(&self, url: &str, headers: &[(&str, &str)], number: u32) -> String {
        self.answer(&mut get(url, headers), number)
    }

    /// The outcome of a request.
    pub(crate) fn answer(&self, exchange: &mut Exchange, number: u32) -> String {
        let table = self.table.load();
        exchange.identify(&table.server().identity, None);
        let mut found = table.find_for(exchange);
        let respond = |response: &DirectResponse| {
            let location = response.location().map(|location| location.to_str().expect("text"));
            [Some(response.status.as_str()), location].into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        if let FilterOutcome::Respond(response) = found.rewrite(exchange) {
            return respond(&response);
        }
        let route = found.route();
        for limit in &route.plan.limits {
            if let FilterOutcome::Respond(response) = limit.enter(exchange, &FixedServices) {
                return respond(&response);
            }
        }
        let access = AccessCheck::default().run(&route.plan.access, exchange, &FixedServices);
        match access {
            AccessStep::Respond(response) => return respond(&response),
            AccessStep::Fetch(request) => return format!("fetch {}", request.url),
            AccessStep::Verify(check) => return format!("verify {}", check.user()),
            AccessStep::Pass => {}
        }
        let Some(upstream) = &route.upstream else { return "404".to_owned() };
        let choice = upstream.choose(exchange, &self.pools.load(), &mut FixedBalancer::number(number));
        let name = choice.target.pool.service.name.to_string();
        exchange.target.iter().fold(name, |name, target| format!("{name} {target}"))
    }

    /// One attempt of a request: the endpoint, and the cookie that is set.
    pub(crate) fn pick(
        &self,
        exchange: &Exchange,
        tried: &[&str],
        draw: &mut FixedBalancer,
    ) -> (String, String) {
        let table = self.table.load();
        let upstream =
            table.find(exchange.host(), exchange.path()).route().upstream.as_ref().expect("an upstream");
        let pools = self.pools.load();
        let choice = upstream.choose(exchange, &pools, draw);
        picked(&choice, &pools, tried, draw)
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems_at(Duration::ZERO)
    }

    /// The problems at a Unix time.
    pub(crate) fn problems_at(&self, now: Duration) -> Vec<String> {
        let mut problems: Vec<_> =
            self.table.load().problems(now).map(|problem| problem.to_string()).collect();
        problems.sort_unstable();
        problems
    }
}

/// The head of an endpoint's response after the filters of its route.
pub(crate) fn edited_response(
    cluster: &TestCluster,
    exchange: &Exchange,
    status: u16,
    fields: &[(&str, &str)],
) -> HeaderMap {
    let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.collect::<String>());
    let mut response = ParsedResponse::default();
    let parsed = response.parse(&mut BytesMut::from(text.as_str()), true, MAX_RESPONSE_HEAD);
    assert_eq!(parsed, Ok(true), "{text}");
    let head = response.head();
    let table = cluster.table.load();
    let plan = &table.find(exchange.host(), exchange.path()).route().plan;
    let mut edits = HeadEdits::default();
    let status = StatusCode::from_u16(status).expect("a status");
    plan.edit_response_head(exchange, &ResponseView::of_endpoint(status, head), &mut edits);
    let mut edited = head.header_map();
    edits.apply(&mut edited, KnownSet::EMPTY);
    edited
}

/// The fields that the filters of a route add to a request, as `Name: value`.
pub(crate) fn edited_request(cluster: &TestCluster, exchange: &mut Exchange) -> Vec<String> {
    let table = cluster.table.load();
    let mut found = table.find(exchange.host(), exchange.path());
    assert_eq!(found.rewrite(exchange), FilterOutcome::Continue);
    let mut edits = HeadEdits::default();
    found.route().plan.edit_request_head(exchange, &mut edits);
    let text = |value| String::from_utf8_lossy(value).into_owned();
    edits.added().map(|(name, value)| format!("{name}: {}", text(value))).collect()
}

fn picked(
    choice: &SelectedTarget<'_>,
    pools: &Pools,
    tried: &[&str],
    draw: &mut FixedBalancer,
) -> (String, String) {
    let tried: Vec<SocketAddr> = tried.iter().map(|tried| tried.parse().expect("an address")).collect();
    let Some(SelectedEndpoint { address, cookie }) = choice.next_endpoint(pools, &tried, draw) else {
        return ("none".into(), String::new());
    };
    let endpoint = match address {
        UpstreamAddress::Socket(address) => address.to_string(),
        UpstreamAddress::Host { host, port } => format!("{host}:{port}"),
    };
    (endpoint, cookie.map(|cookie| cookie.to_str().expect("text").to_owned()).unwrap_or_default())
}

/// Always the same random number, positions that count up, and a fixed time.
pub(crate) struct FixedBalancer {
    number: u32,
    turn: usize,
    scores: EwmaScores,
}

impl FixedBalancer {
    pub(crate) fn number(number: u32) -> Self {
        Self { number, turn: 0, scores: EwmaScores::default() }
    }
}

impl BalancerState for FixedBalancer {
    fn random_below(&mut self, bound: u32) -> u32 {
        self.number % bound
    }

    fn round_robin_position(&mut self, _: &UpstreamTarget) -> usize {
        self.turn += 1;
        self.turn - 1
    }

    fn ewma_endpoint(
        &mut self,
        _: &UpstreamTarget,
        pool: &Arc<Pool>,
        tried: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let number = self.number;
        self.scores.pick(pool, tried, self.unix_time(), |bound| number % bound)
    }

    fn unix_time(&self) -> Duration {
        Duration::from_millis(1_594_287_612_345)
    }

    fn worker_id(&self) -> u32 {
        7
    }
}

/// A Service and its slice from `name port:portname address…`, of TCP or, as `name port/udp address…`, of UDP; `name external=host`
/// for an ExternalName.
pub(crate) fn service(line: &str) -> (Service, EndpointSlice) {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a name");
    let second = words.next().expect("a port");
    let key = Key::new("default", name);
    let slice_key = Key::new("default", format!("{name}-abc"));
    if let Some(host) = second.strip_prefix("external=") {
        let kind = ServiceKind::ExternalName(host.into());
        let slice = EndpointSlice {
            import: None,
            aliases: Box::default(),
            key: slice_key,
            service: "".into(),
            ports: Vec::new().into(),
            endpoints: [].into(),
            zones: [].into(),
        };
        return (
            Service {
                key,
                kind,
                ports: Vec::new().into(),
                external: Box::default(),
                prefers_own_zone: false,
            },
            slice,
        );
    }
    let protocol = if second.ends_with("/udp") { Protocol::Udp } else { Protocol::Tcp };
    let second = second.trim_end_matches("/udp");
    let (port, port_name) = second.split_once(':').unwrap_or((second, ""));
    let port = ServicePort {
        name: port_name.into(),
        protocol,
        port: port.parse().expect("a port"),
        target: "8080".into(),
    };
    let endpoints = words.map(|word| SliceEndpoint {
        ready: !word.starts_with('!'),
        addresses: [word.trim_start_matches('!').parse().expect("an address")].into(),
        hostname: None,
        pod: None,
        zone: 0,
        hints: Default::default(),
    });
    let slice = EndpointSlice {
        import: None,
        aliases: Box::default(),
        key: slice_key,
        service: name.into(),
        ports: [EndpointPort { name: port_name.into(), protocol, port: 8080 }].into(),
        endpoints: endpoints.collect(),
        zones: [].into(),
    };
    let kind = ServiceKind::ClusterIp([].into_iter().collect());
    (Service { key, kind, ports: [port].into(), external: Box::default(), prefers_own_zone: false }, slice)
}

pub(crate) fn class(name: &str, controller: &str, default: bool) -> Object {
    Object::IngressClass(Arc::new(IngressClass {
        key: Key::cluster(name),
        controller: controller.into(),
        default,
    }))
}

/// Ingresses from manifests with only `metadata` and `spec`. Annotations without a slash get the prefix; `created` is a number.
pub(crate) fn manifests(text: &str) -> Vec<Ingress> {
    let parse = |document: &str| serde_saphyr::from_str::<Manifest>(document).expect(document).into();
    text.split("---\n").filter(|document| !document.trim().is_empty()).map(parse).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    ingress_class_name: Option<String>,
    #[serde(default)]
    default_backend: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    tls: Vec<Tls>,
}

/// `paths` are `[path, type, backend]`; a backend is `service:port`, or `resource=name`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    host: String,
    #[serde(default)]
    paths: Vec<(String, String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    secret: String,
}

fn backend(text: &str) -> Backend {
    if let Some(resource) = text.strip_prefix("resource=") {
        return Backend::Resource(resource.into());
    }
    let (name, port) = text.split_once(':').unwrap_or((text, "80"));
    let port = port.parse().map_or_else(|_| PortRef::Name(port.into()), PortRef::Number);
    Backend::Service(ServiceBackend { name: name.into(), port })
}

impl From<Manifest> for Ingress {
    fn from(Manifest { metadata, spec }: Manifest) -> Self {
        let full = |name: String| if name.contains('/') { name } else { format!("{PREFIX}/{name}") };
        let mut annotations: Vec<_> =
            metadata.annotations.into_iter().map(|(name, value)| (full(name).into(), value)).collect();
        annotations.sort_unstable();
        let path = |(path, kind, to): (String, String, String)| IngressPath {
            path: path.into(),
            kind: match kind.as_str() {
                "Exact" => PathType::Exact,
                "Prefix" => PathType::Prefix,
                _ => PathType::ImplementationSpecific,
            },
            backend: backend(&to),
        };
        let rule = |rule: Rule| IngressRule {
            host: rule.host.into(),
            paths: rule.paths.into_iter().map(path).collect(),
        };
        let tls = |tls: Tls| IngressTls {
            hosts: tls.hosts.into_iter().map(Into::into).collect(),
            secret: tls.secret.into(),
        };
        Self {
            key: Key::new(metadata.namespace.unwrap_or_else(|| "default".into()), metadata.name),
            created: metadata.created,
            annotations,
            class: spec.ingress_class_name.map(Into::into),
            default_backend: spec.default_backend.as_deref().map(backend),
            rules: spec.rules.into_iter().map(rule).collect(),
            tls: spec.tls.into_iter().map(tls).collect(),
        }
    }
}

/// Services at a time that does not change.
pub(crate) struct FixedServices;

impl Services for FixedServices {
    fn now(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn request_id(&self) -> &[u8] {
        b"0123456789abcdef0123456789abcdef"
    }
}
