//! The path from a request to its endpoint does not allocate.

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use cluster::{
    Backend, Cache, Endpoint, EndpointPort, EndpointSlice, Event, Ingress, IngressPath, IngressRule, Key,
    Object, PathType, PortRef, Protocol, Service, ServiceBackend, ServiceKind, ServicePort,
};
use counting_allocator::allocations;
use ingress_routes::path::normalise;
use ingress_routes::{
    CertIndex, Exchange, FilterOutcome, PoolIndex, RequestScheme, RouteIndex, RouteOptions,
};
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadLimits;

fn ingress(name: &str, host: &str, path: &str, annotations: &[(&str, &str)]) -> Event {
    // The targetPort, too, names the port: an upstream of its own, with the annotations of this Ingress.
    let port = if annotations.is_empty() { 80 } else { 8080 };
    let backend = Backend::Service(ServiceBackend { name: "web".into(), port: PortRef::Number(port) });
    let path = IngressPath { path: path.into(), kind: PathType::Prefix, backend };
    Event::Apply(Object::Ingress(Arc::new(Ingress {
        key: Key::new("default", name),
        created: 0,
        annotations: annotations.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        class: None,
        default_backend: None,
        rules: vec![IngressRule { host: host.into(), paths: vec![path] }],
        tls: Vec::new(),
    })))
}

fn service() -> [Event; 2] {
    let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, target: "8080".into() };
    let key = Key::new("default", "web");
    let kind = ServiceKind::ClusterIp(std::iter::empty().collect());
    let endpoint = Endpoint {
        addresses: [[10, 0, 0, 1].into()].into_iter().collect(),
        ready: true,
        hostname: None,
        pod: None,
        zone: 0,
        hints: Default::default(),
    };
    let slice = EndpointSlice {
        import: None,
        aliases: Box::default(),
        key: Key::new("default", "web-abc"),
        service: "web".into(),
        ports: [EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: 80 }].into_iter().collect(),
        endpoints: [endpoint].into(),
        zones: [].into(),
    };
    [
        Event::Apply(Object::Service(Arc::new(Service {
            key,
            kind,
            ports: [port].into_iter().collect(),
            external: Box::default(),
            prefers_own_zone: false,
        }))),
        Event::Apply(Object::EndpointSlice(Arc::new(slice))),
    ]
}

#[test]
fn a_plain_request_finds_its_endpoint_without_an_allocation() {
    let mut cache = Cache::default();
    let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
    let table = cache.project(RouteIndex::new(options.clone()));
    let pools = cache.project(PoolIndex::new(options.clone()));
    let certs = cache.project(CertIndex::new(options));
    cache.apply(service(), 1);
    let rewrite = [("nginx.ingress.kubernetes.io/rewrite-target", "/$1")];
    cache.apply(
        [ingress("plain", "shop.example", "/shop", &[]), ingress("regex", "r.example", "/r(/.*)?", &rewrite)],
        1,
    );
    let (balanced, all_pools) = (table.clone(), pools.clone());
    let (table, pools, certs) = (table.load_full(), pools.load_full(), certs.load_full());

    assert_eq!(allocations(|| normalise("/shop/cart/items.html")), 0, "a normal path");
    assert!(allocations(|| normalise("/shop/../cart")) > 0, "the counter counts");
    // The regex engines allocate their scratch space at their first match.
    std::hint::black_box(table.find("r.example", "/r/x").route());
    for (host, path) in [
        ("shop.example", "/shop/cart"),
        ("shop.example", "/other"),
        ("a.shop.example", "/shop"),
        ("unknown.example", "/"),
        ("r.example", "/R/x"),
    ] {
        assert_eq!(allocations(|| table.find(host, path).route()), 0, "{host}{path}");
    }
    assert_eq!(allocations(|| certs.find(Some("a.shop.example"))), 0);

    let mut request = Box::<ParsedRequest>::default();
    let mut text = BytesMut::from("GET /shop/cart?x=y HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(request.parse(&mut text, &HeadLimits::default()), Ok(true));
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let mut exchange = None;
    assert_eq!(
        allocations(|| exchange = Exchange::new(request, peer, RequestScheme::Http).ok()),
        0,
        "an exchange"
    );
    let mut exchange = exchange.expect("a good request");
    assert_eq!(allocations(|| table.find_for(&exchange).route()), 0, "the route of a request");
    let mut found = table.find_for(&exchange);
    assert_eq!(
        allocations(|| assert_eq!(found.rewrite(&mut exchange), FilterOutcome::Continue)),
        0,
        "filters"
    );
    let upstream = found.route().upstream.as_ref().expect("an upstream");
    let mut balancer = First::default();
    let mut picked = || {
        let choice = upstream.choose(&exchange, &pools, &mut balancer);
        choice.next_endpoint(&pools, &[], &mut balancer).expect("an endpoint").address
    };
    assert_eq!(allocations(&mut picked), 0, "a choice");

    let annotation = |name: &str| format!("nginx.ingress.kubernetes.io/{name}");
    for (name, value) in [("load-balance", "ewma"), ("upstream-hash-by", "$request_uri-$http_x_user")] {
        cache.apply([ingress("regex", "b.example", "/", &[(&annotation(name), value)])], 1);
        let (table, pools) = (balanced.load_full(), all_pools.load_full());
        let upstream = table.find("b.example", "/").route().upstream.as_ref().expect("an upstream");
        let mut balancer = First::default();
        let mut picked = || {
            let choice = upstream.choose(&exchange, &pools, &mut balancer);
            choice.next_endpoint(&pools, &[], &mut balancer).expect("an endpoint").address
        };
        // The first request makes the table of scores or the ring.
        picked();
        assert_eq!(allocations(&mut picked), 0, "{name}");
    }
}

/// The first of everything.
#[derive(Default)]
struct First(ingress_routes::EwmaScores);

impl ingress_routes::BalancerState for First {
    fn random_below(&mut self, _: u32) -> u32 {
        0
    }

    fn round_robin_position(&mut self, _: &ingress_routes::UpstreamTarget) -> usize {
        0
    }

    fn ewma_endpoint(
        &mut self,
        _: &ingress_routes::UpstreamTarget,
        pool: &Arc<ingress_routes::Pool>,
        tried: &[SocketAddr],
    ) -> Option<SocketAddr> {
        self.0.pick(pool, tried, std::time::Duration::ZERO, |_| 0)
    }

    fn unix_time(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn worker_id(&self) -> u32 {
        1
    }
}
