//! Any bytes as the head of a request to routes whose annotations read header fields.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use cluster::{
    Backend, Cache, ConfigMap, Event, Ingress, IngressPath, IngressRule, Key, Kind, Object, PathType,
    PortRef, Secret, ServiceBackend,
};
use http::StatusCode;
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadLimits;

use super::PREFIX;
use crate::exchange::{Exchange, ProxiedConnection, RequestScheme};
use crate::options::RouteOptions;
use crate::plan::access::{AccessCheck, AccessStep, Services};
use crate::plan::filter::{FilterOutcome, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::pools::{Pool, PoolIndex, Pools};
use crate::table::{RouteIndex, RouteTable};
use crate::upstream::{BalancerState, UpstreamTarget};

/// Keys of the ConfigMap.
const KEYS: &[(&str, &str)] = &[
    ("allow-snippet-annotations", "true"),
    ("annotations-risk-level", "Critical"),
    ("compute-full-forwarded-for", "true"),
    ("enable-brotli", "true"),
    ("generate-request-id", "true"),
    ("proxy-real-ip-cidr", "192.0.2.0/24,10.0.0.0/8"),
    ("use-forwarded-headers", "true"),
    ("use-gzip", "true"),
];

/// Hosts, each with the annotations of its Ingress.
const INGRESSES: &[(&str, &[(&str, &str)])] = &[
    (
        "users.example",
        &[
            ("auth-realm", "users"),
            ("auth-secret", "users"),
            ("auth-type", "basic"),
            ("satisfy", "any"),
            ("whitelist-source-range", "192.0.2.0/28,2001:db8::/64"),
        ],
    ),
    (
        "auth.example",
        &[
            ("auth-cache-key", "$remote_user$http_authorization$cookie_session"),
            ("auth-signin", "https://login.example/start?rd=$escaped_request_uri"),
            ("auth-url", "http://login.example/auth?user=$arg_user&of=$cookie_session"),
        ],
    ),
    (
        "shop.example",
        &[
            ("affinity", "cookie"),
            ("cors-allow-origin", "https://*.shop.example, http://shop.example:8080"),
            ("enable-cors", "true"),
            ("from-to-www-redirect", "true"),
            ("limit-connections", "1000000"),
            ("limit-rps", "1000000"),
            ("session-cookie-name", "route"),
        ],
    ),
    (
        "text.example",
        &[
            (
                "configuration-snippet",
                "if ($http_x_version ~* \"^v([0-9]+)(.*)$\") { set $version $1; }\nadd_header X-Version $version;\n\
                 proxy_set_header X-Agent \"$http_user_agent $cookie_a $arg_b $host $request_uri\";",
            ),
            ("rewrite-target", "/new/$1$is_args$args"),
            ("upstream-hash-by", "$http_x_key$cookie_route$arg_key$uri"),
            ("use-regex", "true"),
        ],
    ),
    (
        "redirect.example",
        &[("permanent-redirect", "https://other.example$request_uri"), ("permanent-redirect-code", "308")],
    ),
];

/// A canary of the host of sessions.
const CANARY: &[(&str, &str)] = &[
    ("canary", "true"),
    ("canary-by-cookie", "canary"),
    ("canary-by-header", "x-canary"),
    ("canary-by-header-pattern", "^(a|b+)*c$"),
    ("canary-weight", "10"),
];

thread_local! {
    static ROUTES: (Arc<RouteTable>, Arc<Pools>) = routes();
}

/// A request head, which runs through all phases of its route up to the choice of an endpoint.
///
/// # Panics
/// When a field for the endpoint or the client has a line break, or when a phase panics.
pub fn request_fields(data: &[u8]) {
    let mut request = Box::<ParsedRequest>::default();
    let mut buffer = BytesMut::from(data);
    if !matches!(request.parse(&mut buffer, &HeadLimits::default()), Ok(true)) {
        return;
    }
    let peer = SocketAddr::from(([192, 0, 2, 77], 1));
    let Ok(mut exchange) = Exchange::new(request, peer, RequestScheme::Https) else { return };
    // What follows the head chooses whether the connection has a PROXY header.
    let proxied = (!buffer.is_empty()).then_some(ProxiedConnection { source: peer, destination: peer });
    ROUTES.with(|(table, pools)| serve(table, pools, &mut exchange, proxied));
}

fn serve(table: &RouteTable, pools: &Pools, exchange: &mut Exchange, proxied: Option<ProxiedConnection>) {
    exchange.identify(&table.server().identity, proxied);
    let mut found = table.find_for(exchange);
    if let FilterOutcome::Respond(response) = found.rewrite(exchange) {
        response.fields.iter().for_each(|(name, value)| assert_field(name.as_str(), value.as_bytes()));
        return;
    }
    if let Some(target) = &exchange.target {
        assert!(target.starts_with('/') && !target.contains(['\r', '\n', ' ']), "{target:?}");
    }
    let plan = &found.route().plan;
    for limit in &plan.limits {
        limit.enter(exchange, &FuzzServices);
    }
    let mut check = AccessCheck::default();
    let step = match check.run(&plan.access, exchange, &FuzzServices) {
        AccessStep::Verify(_) => check.verified(&plan.access, exchange, &FuzzServices, true),
        step => step,
    };
    match step {
        AccessStep::Respond(response) => {
            response.fields.iter().for_each(|(name, value)| assert_field(name.as_str(), value.as_bytes()));
        }
        AccessStep::Fetch(subrequest) => {
            subrequest.headers.iter().for_each(|(name, value)| assert_field(name.as_str(), value.as_bytes()));
        }
        AccessStep::Pass | AccessStep::Verify(_) => {}
    }
    let mut edits = HeadEdits::default();
    plan.edit_request_head(exchange, &mut edits);
    edits.added().for_each(|(name, value)| assert_field(name.as_str(), value));
    let response = ResponseView::with_body(StatusCode::OK, b"text/html", 100_000);
    let mut edits = HeadEdits::default();
    plan.edit_response_head(exchange, &response, &mut edits);
    if let Some(compression) = &plan.compression {
        compression.apply(exchange, &response, &mut edits, |_| Some(()));
    }
    edits.added().for_each(|(name, value)| assert_field(name.as_str(), value));
    if let Some(upstream) = &found.route().upstream {
        let chosen = upstream.choose(exchange, pools, &mut FuzzBalancer);
        if let Some(cookie) = chosen.next_endpoint(pools, &[], &mut FuzzBalancer).and_then(|next| next.cookie)
        {
            assert_field("set-cookie", cookie.as_bytes());
        }
    }
}

/// A value of a field may not begin another one (RFC 9110 §5.5).
fn assert_field(name: &str, value: &[u8]) {
    assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}: {}", value.escape_ascii());
}

fn routes() -> (Arc<RouteTable>, Arc<Pools>) {
    let key = Key::new("default", "controller");
    let data = KEYS.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
    let config_map = ConfigMap { key: key.clone(), data };
    let users = Secret {
        key: Key::new("default", "users"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("auth".into(), b"ada:{PLAIN}secret\nbob:$apr1$salt$0000000000000000000000\n"[..].into())]
            .into(),
    };
    let mut objects = vec![Object::ConfigMap(Arc::new(config_map)), Object::Secret(Arc::new(users))];
    let hosts = INGRESSES.iter().map(|(host, annotations)| ingress(host, host, annotations));
    let canary = ingress("canary", "shop.example", CANARY);
    objects.extend(hosts.chain([canary]).map(|ingress| Object::Ingress(Arc::new(ingress))));
    let mut cache = Cache::default();
    cache.apply(objects.into_iter().map(Event::Apply), 1);
    cache.apply(Kind::ALL.map(Event::Synced), 1);
    let options =
        RouteOptions { watch_ingress_without_class: true, config_map: Some(key), ..RouteOptions::default() };
    let pools = cache.project(PoolIndex::new(options.clone())).load_full();
    (cache.project(RouteIndex::new(options)).load_full(), pools)
}

fn ingress(name: &str, host: &str, annotations: &[(&str, &str)]) -> Ingress {
    let annotation = |(name, value): &(&str, &str)| (format!("{PREFIX}/{name}").into(), (*value).to_owned());
    let path = IngressPath {
        path: "/(.*)".into(),
        kind: PathType::ImplementationSpecific,
        backend: Backend::Service(ServiceBackend { name: "web".into(), port: PortRef::Number(80) }),
    };
    let is_regex = annotations.iter().any(|(name, _)| *name == "use-regex");
    let prefix = IngressPath { path: "/".into(), kind: PathType::Prefix, ..path.clone() };
    Ingress {
        key: Key::new("default", name),
        created: 0,
        annotations: annotations.iter().map(annotation).collect(),
        class: None,
        default_backend: None,
        rules: vec![IngressRule { host: host.into(), paths: [if is_regex { path } else { prefix }].into() }],
        tls: Vec::new(),
    }
}

struct FuzzServices;

impl Services for FuzzServices {
    fn now(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn request_id(&self) -> &[u8] {
        b"0123456789abcdef0123456789abcdef"
    }
}

struct FuzzBalancer;

impl BalancerState for FuzzBalancer {
    fn random_below(&mut self, bound: u32) -> u32 {
        7 % bound
    }

    fn round_robin_position(&mut self, _: &UpstreamTarget) -> usize {
        0
    }

    fn ewma_endpoint(&mut self, _: &UpstreamTarget, _: &Arc<Pool>, _: &[SocketAddr]) -> Option<SocketAddr> {
        None
    }

    fn unix_time(&self) -> Duration {
        FuzzServices.now()
    }

    fn worker_id(&self) -> u32 {
        7
    }
}
