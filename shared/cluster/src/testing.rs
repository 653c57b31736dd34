//! Random histories of a small cluster, and the check of the law of projections.
//!
//! There are few names and few addresses, so that objects collide, change owners and reappear.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::cache::Cache;
use crate::event::{Event, Object};
use crate::key::{CompactString, Key};
use crate::kind::Kind;
use crate::objects::*;
use crate::projection::Projection;

/// Batches of events of all kinds: additions, updates, removals, lists that begin and end, in any order.
pub fn histories() -> impl Strategy<Value = Vec<Vec<Event>>> {
    vec(vec(event(), 0..12), 0..12)
}

/// Applies a history and checks the law of projections after every batch: advancing equals building anew.
///
/// # Panics
/// When the law does not hold.
pub fn check_projection<P>(make: impl Fn() -> P, history: Vec<Vec<Event>>)
where
    P: Projection + 'static,
    P::View: PartialEq + Debug,
{
    let mut cache = Cache::default();
    let current = cache.project(make());
    let reference = make();
    for (now, batch) in (1..).zip(history) {
        let events = format!("{batch:?}");
        cache.apply(batch, now);
        let built = reference.build(cache.snapshot());
        assert_eq!(
            **current.load(),
            built,
            "advanced (left) and built (right) differ after batch {now}: {events}"
        );
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => object().prop_map(Event::Apply),
        4 => (kind(), key()).prop_map(|(kind, key)| Event::Remove(kind, scoped(kind, key))),
        1 => (kind(), key()).prop_map(|(kind, key)| Event::Keep(kind, scoped(kind, key))),
        1 => kind().prop_map(Event::Restart),
        2 => kind().prop_map(Event::Synced),
        1 => kind().prop_map(Event::Forget),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    select(Kind::ALL.as_slice())
}

fn scoped(kind: Kind, key: Key) -> Key {
    if kind.namespaced() { key } else { Key::cluster(key.namespace) }
}

fn key() -> impl Strategy<Value = Key> {
    (name(&["default", "shop"]), name(&["web", "db", "api"]))
        .prop_map(|(namespace, name)| Key { namespace, name })
}

fn name(names: &'static [&'static str]) -> impl Strategy<Value = CompactString> {
    select(names).prop_map(CompactString::from)
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        1 => namespace().prop_map(|object| Object::Namespace(Arc::new(object))),
        4 => service().prop_map(|object| Object::Service(Arc::new(object))),
        5 => slice().prop_map(|object| Object::EndpointSlice(Arc::new(object))),
        2 => pod().prop_map(|object| Object::Pod(Arc::new(object))),
        4 => ingress().prop_map(|object| Object::Ingress(Arc::new(object))),
        1 => key().prop_map(|key| Object::IngressStatus(Arc::new(status(key)))),
        1 => class().prop_map(|object| Object::IngressClass(Arc::new(object))),
        2 => secret().prop_map(|object| Object::Secret(Arc::new(object))),
        1 => config_map().prop_map(|object| Object::ConfigMap(Arc::new(object))),
        3 => import().prop_map(|object| Object::ServiceImport(Arc::new(object))),
        1 => node().prop_map(|object| Object::Node(Arc::new(object))),
    ]
}

fn status(key: Key) -> IngressStatus {
    IngressStatus { key, uid: CompactString::default(), addresses: Box::default() }
}

fn namespace() -> impl Strategy<Value = Namespace> {
    (name(&["default", "shop"]), option::of(name(&["prod", "test"]))).prop_map(|(name, stage)| Namespace {
        key: Key::cluster(name),
        labels: stage.map(|stage| ("stage".into(), stage)).into_iter().collect(),
    })
}

fn cluster_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1..4_u8).prop_map(|last| Ipv4Addr::new(10, 96, 0, last).into()),
        (1..3_u16).prop_map(|last| Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, last).into()),
    ]
}

fn pod_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        4 => (1..6_u8).prop_map(|last| IpAddr::from(Ipv4Addr::new(10, 244, 0, last))),
        1 => (0..3_u16).prop_map(|last| IpAddr::from(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, last))),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select([Protocol::Tcp, Protocol::Udp].as_slice())
}

fn service_port() -> impl Strategy<Value = ServicePort> {
    (
        name(&["http", "https", ""]),
        protocol(),
        select([80_u16, 443, 53].as_slice()),
        name(&["80", "8080", "web"]),
    )
        .prop_map(|(name, protocol, port, target)| ServicePort { name, protocol, port, target })
}

fn service() -> impl Strategy<Value = Service> {
    let kind = prop_oneof![
        3 => vec(cluster_ip(), 0..3).prop_map(|ips| ServiceKind::ClusterIp(ips.into())),
        2 => Just(ServiceKind::Headless),
        1 => name(&["example.org", "web.default.svc.cluster.local", "10.0.0.1", "UPPER.example"])
            .prop_map(ServiceKind::ExternalName),
    ];
    let external = vec(name(&["192.0.2.1", "fd00:1::1", "lb.example.org"]), 0..2);
    (key(), kind, vec(service_port(), 0..3), external, any::<bool>()).prop_map(
        |(key, kind, ports, external, prefers_own_zone)| Service {
            key,
            kind,
            ports: ports.into(),
            external: external.into(),
            prefers_own_zone,
        },
    )
}

fn import() -> impl Strategy<Value = ServiceImport> {
    let kind = prop_oneof![
        vec(cluster_ip(), 0..3).prop_map(|ips| ServiceKind::ClusterIp(ips.into())),
        Just(ServiceKind::Headless),
    ];
    (key(), kind, vec(service_port(), 0..3)).prop_map(|(key, kind, ports)| ServiceImport {
        key,
        kind,
        ports: ports.into(),
    })
}

fn node() -> impl Strategy<Value = Node> {
    let hostname = option::of(name(&["host-1", "Host-2"]));
    (name(&["default", "shop"]), vec(pod_ip(), 0..3), hostname).prop_map(|(name, addresses, hostname)| Node {
        key: Key::cluster(name),
        addresses: addresses.into(),
        hostnames: hostname.into_iter().collect(),
    })
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoint = (
        vec(pod_ip(), 0..3),
        any::<bool>(),
        option::of(select(["web-0", "web-1"].as_slice())),
        option::of(select(["pod-a", "pod-b"].as_slice())),
        0..3_u8,
        vec(1..3_u8, 0..3),
    )
        .prop_map(|(addresses, ready, hostname, pod, zone, hints)| Endpoint {
            addresses: addresses.into(),
            ready,
            hostname: hostname.map(Into::into),
            pod: pod.map(Into::into),
            zone,
            hints: hints.into(),
        });
    let port = (name(&["http", "https", ""]), protocol(), select([8080_u16, 8443].as_slice()))
        .prop_map(|(name, protocol, port)| EndpointPort { name, protocol, port });
    let alias = (name(&["example.org", "web.default.svc.cluster.local"]), option::of(Just("web-0")))
        .prop_map(|(name, hostname)| FqdnEndpoint { name, hostname: hostname.map(Into::into) });
    let endpoints = prop_oneof![
        5 => vec(endpoint, 0..4).prop_map(|endpoints| (endpoints.into(), Box::default())),
        1 => vec(alias, 0..3).prop_map(|aliases| (EndpointList::default(), aliases.into())),
    ];
    let service = name(&["web", "db", "api", ""]);
    let import = (name(&["web", "db"]), name(&["east", "west", ""]))
        .prop_map(|(service, cluster)| Box::new(Import { service, cluster }));
    (key(), service, option::weighted(0.4, import), vec(port, 0..3), endpoints).prop_map(
        |(key, service, import, ports, (endpoints, aliases))| {
            let zones = ["east".into(), "west".into()].into();
            let ports = ports.into();
            EndpointSlice { key, service, import, ports, endpoints, aliases, zones }
        },
    )
}

fn pod() -> impl Strategy<Value = Pod> {
    (key(), vec(pod_ip(), 1..3)).prop_map(|(key, addresses)| Pod { key, addresses: addresses.into() })
}

fn backend() -> impl Strategy<Value = Backend> {
    let port = prop_oneof![
        select([80_u16, 443].as_slice()).prop_map(PortRef::Number),
        name(&["http", "web"]).prop_map(PortRef::Name),
    ];
    prop_oneof![
        9 => (name(&["web", "db", "api"]), port).prop_map(|(name, port)| Backend::Service(ServiceBackend { name, port })),
        1 => Just(Backend::Resource("StorageBucket/static".into())),
    ]
}

/// Annotations that change routes: a canary, an affinity, a rewrite, a redirect, an access rule, an invalid value.
const ANNOTATIONS: &[(&str, &str)] = &[
    ("nginx.ingress.kubernetes.io/affinity", "cookie"),
    ("nginx.ingress.kubernetes.io/canary", "true"),
    ("nginx.ingress.kubernetes.io/canary-weight", "30"),
    ("nginx.ingress.kubernetes.io/permanent-redirect", "https://example.org/"),
    ("nginx.ingress.kubernetes.io/rewrite-target", "/$1"),
    ("nginx.ingress.kubernetes.io/ssl-redirect", "maybe"),
    ("nginx.ingress.kubernetes.io/use-regex", "true"),
    ("nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"),
];

fn ingress() -> impl Strategy<Value = Ingress> {
    let path = (
        name(&["/", "/shop", "/shop/", "/api/(.*)", ""]),
        select([PathType::Exact, PathType::Prefix, PathType::ImplementationSpecific].as_slice()),
        backend(),
    )
        .prop_map(|(path, kind, backend)| IngressPath { path, kind, backend });
    let rule = (name(&["shop.example", "*.example", "Api.Example", ""]), vec(path, 0..3))
        .prop_map(|(host, paths)| IngressRule { host, paths });
    let tls = (vec(name(&["shop.example", "*.example"]), 0..2), name(&["web", "db", ""]))
        .prop_map(|(hosts, secret)| IngressTls { hosts, secret });
    let annotations = proptest::sample::subsequence(ANNOTATIONS, 0..3)
        .prop_map(|chosen| chosen.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
    (
        key(),
        0..4_i64,
        annotations,
        option::of(name(&["default", "shop"])),
        option::of(backend()),
        vec(rule, 0..3),
        vec(tls, 0..2),
    )
        .prop_map(|(key, created, annotations, class, default_backend, rules, tls)| Ingress {
            key,
            created,
            annotations,
            class,
            default_backend,
            rules,
            tls,
        })
}

fn class() -> impl Strategy<Value = IngressClass> {
    (name(&["default", "shop"]), name(&["k8s.io/ingress-nginx", "example.com/other"]), any::<bool>())
        .prop_map(|(name, controller, default)| IngressClass { key: Key::cluster(name), controller, default })
}

fn secret() -> impl Strategy<Value = Secret> {
    (key(), name(&["", "not PEM"])).prop_map(|(key, bytes)| Secret {
        key,
        certificate: bytes.as_bytes().into(),
        private_key: bytes.as_bytes().into(),
        other: [("auth".into(), bytes.as_bytes().into())].into(),
    })
}

fn config_map() -> impl Strategy<Value = ConfigMap> {
    (key(), option::of(name(&["on", "off"]))).prop_map(|(key, value)| ConfigMap {
        key,
        data: value.map(|value| ("hsts".into(), value.to_string())).into_iter().collect(),
    })
}
