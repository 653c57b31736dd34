//! Dumps of what is served, in the form of ingress-nginx's `/configuration/backends` where it has one, for `portolan dbg`. Private keys and
//! Secrets are in none of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster::ConfigMap;
use http::StatusCode;
use ingress_routes::canary::{CanaryHeader, CanaryPolicy};
use ingress_routes::pools::PoolMembers;
use ingress_routes::{Balancing, Pools, UpstreamTarget};
use serde_json::{Map, Value, json};
use telemetry::AdminResponse;

use super::explanation::{field, fields};
use super::{LiveIngress, json as json_response};

/// Keys of the ConfigMap whose values are secret: this one encrypts session tickets of TLS.
const SECRET_KEYS: [&str; 1] = ["ssl-session-ticket-key"];

/// Makes a page from a query.
pub type MakeDump = fn(&LiveIngress, &str) -> AdminResponse;

/// The pages by path.
pub const PAGES: &[(&str, MakeDump)] = &[
    ("/configuration/backends", |live, _| json_response(backends(live).to_string())),
    ("/configuration/general", |live, _| json_response(general(live).to_string())),
    ("/configuration/certs", certificate),
    ("/configuration/conf", |live, _| AdminResponse::ok(configuration(live))),
];

/// A page of the proxy; 404 without one.
pub fn respond(ingress: Option<&LiveIngress>, make: MakeDump, query: &str) -> AdminResponse {
    match ingress {
        Some(live) => make(live, query),
        None => AdminResponse::text(StatusCode::NOT_FOUND, "this process serves no Ingresses\n"),
    }
}

/// The backends of all routes by name.
fn backends(live: &LiveIngress) -> Value {
    let (table, pools) = (live.views.table.load_full(), live.views.pools.load_full());
    let mut found = BTreeMap::new();
    for upstream in table.routes().filter_map(|route| route.upstream.as_ref()) {
        let alternatives: Vec<&str> =
            upstream.canary.iter().map(|canary| canary.target.name.as_str()).collect();
        let main = found
            .entry(upstream.primary.name.to_string())
            .or_insert_with(|| backend(&upstream.primary, &pools));
        if !alternatives.is_empty() {
            main.insert("alternativeBackends".to_owned(), json!(alternatives));
        }
        if let Some(canary) = &upstream.canary {
            let mut other = backend(&canary.target, &pools);
            other.insert("noServer".to_owned(), json!(true));
            other.insert("trafficShapingPolicy".to_owned(), shaping(&canary.policy));
            found.entry(canary.target.name.to_string()).or_insert(other);
        }
    }
    Value::Array(found.into_values().map(Value::Object).collect())
}

fn backend(target: &UpstreamTarget, pools: &Pools) -> Map<String, Value> {
    let endpoints = match pools.get(&target.pool).map(|pool| pool.members()) {
        Some(PoolMembers::Endpoints(addresses)) => addresses
            .iter()
            .map(|address| json!({ "address": address.ip().to_string(), "port": address.port().to_string() }))
            .collect(),
        Some(PoolMembers::External { host, port }) => {
            vec![json!({ "address": host.as_str(), "port": port.to_string() })]
        }
        None => Vec::new(),
    };
    let service = &target.pool.service;
    let mut backend = Map::new();
    let mut set = |name: &str, value: Value| backend.insert(name.to_owned(), value);
    set("name", json!(target.name.as_str()));
    set(
        "service",
        json!({ "metadata": { "namespace": service.namespace.as_str(), "name": service.name.as_str() } }),
    );
    set("port", json!(target.pool.port.to_string()));
    set("endpoints", Value::Array(endpoints));
    set(
        "sessionAffinityConfig",
        match target.affinity() {
            Some(affinity) => json!({
                "name": "cookie",
                "mode": format!("{:?}", affinity.mode).to_lowercase(),
                "cookieSessionAffinity": { "name": affinity.name.as_str() },
            }),
            None => json!({ "name": "", "mode": "", "cookieSessionAffinity": { "name": "" } }),
        },
    );
    set(
        "load-balance",
        json!(match target.balancing {
            Balancing::RoundRobin => "round_robin",
            Balancing::Ewma => "ewma",
            Balancing::Hash(_) => "chash",
        }),
    );
    set("noServer", json!(false));
    backend
}

fn shaping(policy: &CanaryPolicy) -> Value {
    let (value, pattern) = match &policy.value {
        CanaryHeader::Equals(value) => (value.clone(), String::new()),
        CanaryHeader::Matches(pattern) => (String::new(), pattern.text().to_owned()),
        CanaryHeader::Keyword | CanaryHeader::Invalid => Default::default(),
    };
    json!({
        "weight": policy.weight,
        "weightTotal": policy.total,
        "header": policy.header.as_ref().map(|header| header.as_str()).unwrap_or_default(),
        "headerValue": value,
        "headerPattern": pattern,
        "cookie": policy.cookie.as_deref().unwrap_or_default(),
    })
}

/// The settings given by flags.
fn general(live: &LiveIngress) -> Value {
    let options = &live.options;
    let table = live.views.table.load();
    let shown = |key: &Option<cluster::Key>| key.as_ref().map(ToString::to_string);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "controllerClass": options.controller_class.as_str(),
        "ingressClass": options.ingress_class.as_str(),
        "watchNamespace": options.watch_namespace.as_ref().map(|namespace| namespace.as_str()),
        "annotationsPrefix": options.annotations_prefix.as_str(),
        "configMap": shown(&options.config_map),
        "tcpServices": shown(&options.tcp_services),
        "udpServices": shown(&options.udp_services),
        "httpPort": options.http_port,
        "httpsPort": options.https_port,
        "sslPassthrough": options.ssl_passthrough,
        "ingresses": table.ingresses(),
    })
}

/// The certificate chain of `?hostname=…` in PEM. The key is never part of it.
fn certificate(live: &LiveIngress, query: &str) -> AdminResponse {
    let fields = fields(query);
    let Some(host) = field(&fields, "hostname").map(str::to_ascii_lowercase) else {
        return AdminResponse::text(StatusCode::BAD_REQUEST, "wanted hostname=shop.example\n");
    };
    let certs = live.views.certs.load();
    let Some(found) = certs.find(Some(&host)) else {
        let text =
            format!("no Secret has a certificate for {host:?}: the self-signed one of the proxy is served\n");
        return AdminResponse::text(StatusCode::NOT_FOUND, text);
    };
    let mut text = String::new();
    for certificate in &found.cert {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    AdminResponse::ok(text)
}

/// The keys of the ConfigMap, the routes and the TCP and UDP services, as text.
fn configuration(live: &LiveIngress) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    if let Some(key) = &live.options.config_map {
        let map = live.cluster.read(|snapshot| snapshot.get::<ConfigMap>(key).cloned());
        let _ = writeln!(text, "# ConfigMap {key}{}", if map.is_none() { ": not known" } else { "" });
        for (name, value) in map.iter().flat_map(|map| &map.data) {
            let _ = match SECRET_KEYS.contains(&name.as_str()) {
                true => writeln!(text, "{name}: (set, {} bytes)", value.len()),
                false => writeln!(text, "{name}: {value:?}"),
            };
        }
    }
    let _ = writeln!(text, "# Routes: host, path, its type, Ingress, backend");
    let table = live.views.table.load();
    let mut routes: Vec<_> = table.routes().filter(|route| route.ingress.is_some()).collect();
    routes.sort_by(|one, other| (&one.host, &one.path).cmp(&(&other.host, &other.path)));
    for route in routes {
        let ingress = route.ingress.as_ref().map(ToString::to_string).unwrap_or_default();
        let closed = if route.denied.is_some() { " (closed)" } else { "" };
        let _ = writeln!(
            text,
            "{} {} {:?} {ingress} {}{closed}",
            route.host,
            route.path,
            route.kind,
            route.upstream_name()
        );
    }
    let _ = writeln!(text, "# TCP and UDP services: port, backend, endpoints");
    for stream in live.views.streams.load().iter() {
        let endpoints: Vec<String> = stream.pool.endpoints().iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "{}:{} {} {}",
            stream.protocol.label(),
            stream.port,
            stream.upstream_name(),
            endpoints.join(" ")
        );
    }
    text
}
