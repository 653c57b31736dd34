//! What the ConfigMap closes and reports, also after changes.

use std::sync::Arc;

use cluster::testing::{check_projection, histories};
use cluster::{ConfigMap, Event, Namespace, Object};
use proptest::prelude::{ProptestConfig, proptest};

use super::*;
use crate::table::RouteIndex;
use crate::testing::TestCluster;

const INGRESSES: &str = "
metadata: {name: web}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web], [/.well-known/acme-challenge/x, Exact, acme]]}]}
---
metadata: {name: out, annotations: {enable-modsecurity: 'false', force-ssl-redirect: 'false'}}
spec: {rules: [{host: out.example, paths: [[/, Prefix, out]]}]}
---
metadata: {name: tls}
spec: {rules: [{host: tls.example, paths: [[/, Prefix, tls]]}], tls: [{hosts: [tls.example]}]}
---
metadata: {name: risky, annotations: {permanent-redirect: /x, enable-rewrite-log: 'true'}}
spec: {rules: [{host: risky.example, paths: [[/, Prefix, risky]]}]}
";

/// The answers for the hosts above and for one that is unknown, in this order.
const URLS: [&str; 8] = [
    "a.example/",
    "https://a.example/",
    "a.example/.well-known/acme-challenge/x",
    "out.example/",
    "https://tls.example/",
    "tls.example/",
    "risky.example/",
    "unknown.example/",
];

/// Keys and values of a ConfigMap.
type Data<'d> = &'d [(&'d str, &'d str)];

type Answers = [&'static str; 8];

const OPEN: Answers =
    ["web", "web", "acme", "out", "tls", "308 https://tls.example", "301 http://risky.example/x", "404"];

fn options() -> RouteOptions {
    RouteOptions {
        watch_ingress_without_class: true,
        config_map: Some(Key::new("ingress", "controller")),
        ..RouteOptions::default()
    }
}

fn config_map(data: Data<'_>) -> Object {
    let mut data: Vec<_> = data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
    data.sort_unstable();
    Object::ConfigMap(Arc::new(ConfigMap { key: Key::new("ingress", "controller"), data }))
}

fn test_cluster() -> TestCluster {
    let mut cluster = TestCluster::with(options(), INGRESSES);
    cluster.sync();
    cluster
}

fn answers(cluster: &TestCluster) -> [String; 8] {
    URLS.map(|url| cluster.get(url))
}

#[test]
fn a_protecting_key_closes_exactly_the_routes_that_it_would_protect() {
    let closed = |at: &[usize]| {
        let mut answers = OPEN;
        at.iter().for_each(|at| answers[*at] = "503");
        answers
    };
    let everything = closed(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let rows: &[(Data<'_>, Answers)] = &[
        (&[("block-user-agents", "~(")], everything),
        (&[("block-referers", "~*(,~[")], everything),
        (&[("proxy-set-headers", "ingress/headers")], everything),
        (&[("bind-address", "eth0")], everything),
        (&[("bind-address", "127.0.0.1"), ("disable-ipv6", "true")], OPEN),
        (&[("http-snippet", "auth_basic x;")], everything),
        (&[("server-snippet", "auth_basic x;")], everything),
        (&[("location-snippet", "auth_basic x;")], everything),
        (&[("whitelist-source-range", "not an address")], everything),
        (&[("enable-modsecurity", "true")], closed(&[0, 1, 2, 4, 5, 6, 7])),
        (&[("global-auth-url", "auth.example")], closed(&[0, 1, 3, 4, 5, 6])),
        (&[("ssl-protocols", "TLSv1.1")], closed(&[1, 4])),
        (&[("ssl-protocols", "TLSv1.2 TLSv1_3")], closed(&[1, 4])),
        (&[("ssl-protocols", "TLSv1.3")], OPEN),
    ];
    let mut cluster = test_cluster();
    assert_eq!(answers(&cluster), OPEN, "without a ConfigMap");
    for (data, wanted) in rows {
        cluster.apply([config_map(data)]);
        assert_eq!(answers(&cluster), *wanted, "{data:?}");
        cluster.apply([config_map(&[])]);
        assert_eq!(answers(&cluster), OPEN, "without {data:?}");
    }
}

#[test]
fn redirects_to_https_follow_the_configmap() {
    let with = |changes: &[(usize, &'static str)]| {
        let mut answers = OPEN;
        changes.iter().for_each(|(at, answer)| answers[*at] = answer);
        answers
    };
    let rows: &[(Data<'_>, Answers)] = &[
        (&[("ssl-redirect", "false")], with(&[(5, "tls")])),
        (&[("force-ssl-redirect", "true")], with(&[(0, "308 https://a.example")])),
        (
            &[("force-ssl-redirect", "true"), ("http-redirect-code", "302")],
            with(&[(0, "302 https://a.example"), (5, "302 https://tls.example")]),
        ),
        (&[("http-redirect-code", "300")], OPEN),
        (&[("preserve-trailing-slash", "true")], with(&[(5, "308 https://tls.example/")])),
        (&[("use-port-in-redirects", "true")], with(&[(5, "308 https://tls.example:443")])),
        (&[("relative-redirects", "true")], with(&[(6, "301 /x")])),
        (&[("no-tls-redirect-locations", "/a, /")], with(&[(5, "tls")])),
        (
            &[("force-ssl-redirect", "true"), ("no-tls-redirect-locations", "")],
            with(&[(0, "308 https://a.example"), (2, "308 https://a.example/.well-known/acme-challenge/x")]),
        ),
        (
            &[("force-ssl-redirect", "true"), ("no-tls-redirect-locations", "/other")],
            with(&[(0, "308 https://a.example"), (2, "308 https://a.example/.well-known/acme-challenge/x")]),
        ),
    ];
    let mut cluster = test_cluster();
    for (data, wanted) in rows {
        cluster.apply([config_map(data)]);
        assert_eq!(answers(&cluster), *wanted, "{data:?}");
    }
    cluster.apply([config_map(&[])]);
    assert_eq!(answers(&cluster), OPEN);
}

#[test]
fn every_guard_key_has_a_neutral_value_and_closes_something_otherwise() {
    let mut cluster = test_cluster();
    for key in KEYS {
        let KeySupport::Unsupported { setting, guard, .. } = key.support else { continue };
        assert_eq!(setting.level == Level::Closed, guard.is_some(), "{}", key.name);
        cluster.apply([config_map(&[(key.name, " ")])]);
        assert_eq!(answers(&cluster), OPEN, "{} is empty", key.name);
        assert_eq!(cluster.problems().len(), 1, "{} is empty: {:?}", key.name, cluster.problems());
        // No key has this value.
        cluster.apply([config_map(&[(key.name, "ewma")])]);
        assert_eq!(answers(&cluster) != OPEN, guard.is_some(), "{}", key.name);
    }
}

#[test]
fn neutral_values_close_nothing_and_are_not_reported() {
    let mut cluster = test_cluster();
    let own = cluster.problems();
    for data in [
        [("enable-modsecurity", "false"), ("force-ssl-redirect", "f")],
        [("whitelist-source-range", "0.0.0.0/0,::/0"), ("ssl-protocols", "TLSv1.2 TLSv1.3")],
        [("annotations-risk-level", "High"), ("proxy-body-size", "1m")],
        [("reuse-port", "false"), ("use-geoip", "true")],
    ] {
        cluster.apply([config_map(&data)]);
        assert_eq!(
            (answers(&cluster), cluster.problems()),
            (OPEN.map(String::from), own.clone()),
            "{data:?}"
        );
    }
}

#[test]
fn unsupported_keys_are_reported_with_their_consequence() {
    let mut cluster = test_cluster();
    let own = cluster.problems();
    cluster.apply([config_map(&[
        ("main-snippet", "x;"),
        ("server-snippet", "auth_y;"),
        ("error-log-path", "/var/log/error.log"),
        ("proxy-body-sise", "0"),
        ("ssl-protocols", "TLSv1 TLSv1.2"),
    ])]);
    let mut problems = cluster.problems();
    problems.retain(|problem| !own.contains(problem));
    assert_eq!(
        problems,
        [
            "ConfigMap ingress/controller: error-log-path \"/var/log/error.log\" is not honoured: messages go to standard error and not into a file",
            "ConfigMap ingress/controller: main-snippet: line 1, column 1: x is not a known directive; it is left out",
            "ConfigMap ingress/controller: proxy-body-sise: is not known; did you mean proxy-body-size?",
            "ConfigMap ingress/controller: server-snippet: line 1, column 1: auth_y is not a known directive",
            "ConfigMap ingress/controller: ssl-protocols: TLSv1: obsolete (RFC 8996) and not offered; the other versions are",
        ]
    );
    let levels = |level| {
        let table = cluster.table.load_full();
        let problems =
            table.problems(std::time::Duration::ZERO).filter(|problem| problem.kind == Kind::ConfigMap);
        problems.filter(|problem| problem.effect.level() == level).count()
    };
    assert_eq!([Level::Closed, Level::Differs, Level::Cosmetic].map(levels), [1, 3, 1]);
    cluster.apply([config_map(&[])]);
    assert_eq!(cluster.problems(), own);
}

#[test]
fn everything_is_closed_until_config_maps_are_listed() {
    let mut cluster = TestCluster::with(options(), INGRESSES);
    assert_eq!(answers(&cluster), ["503"; 8]);
    cluster.sync();
    assert_eq!(answers(&cluster), OPEN, "a ConfigMap that does not exist has the defaults");
    let options = RouteOptions { config_map: None, ..options() };
    assert_eq!(answers(&TestCluster::with(options, INGRESSES)), OPEN, "no ConfigMap is configured");
}

#[test]
fn only_ingresses_of_selected_namespaces_are_served() {
    let options = RouteOptions {
        watch_ingress_without_class: true,
        namespace_selector: Some("stage in (prod)".parse().expect("a selector")),
        ..RouteOptions::default()
    };
    let namespace = |stage: &str| {
        let labels = [("stage".into(), stage.into())].into();
        Object::Namespace(Arc::new(Namespace { key: Key::cluster("default"), labels }))
    };
    let mut cluster = TestCluster::with(options, INGRESSES);
    assert_eq!(cluster.get("a.example/"), "404", "the namespace is not known");
    for (stage, answer) in [("test", "404"), ("prod", "web"), ("test", "404")] {
        cluster.apply([namespace(stage)]);
        assert_eq!(cluster.get("a.example/"), answer, "{stage}");
    }
}

#[test]
fn every_key_of_ingress_nginx_is_listed_once_and_has_a_consequence() {
    let mut listed: Vec<_> = keys().map(|key| key.name).collect();
    let mut wanted: Vec<_> = NAMES.split_whitespace().collect();
    listed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);
    for key in keys() {
        let consequence = match key.support {
            KeySupport::Honoured(text) | KeySupport::NotNeeded(text) => text,
            KeySupport::Unsupported { setting, .. } => setting.consequence,
        };
        assert!(!consequence.is_empty(), "{}", key.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn advancing_equals_building_with_a_config_map_and_a_selector(history in histories()) {
        let options = RouteOptions {
            config_map: Some(Key::new("default", "web")),
            namespace_selector: Some("stage=prod".parse().expect("a selector")),
            ..options()
        };
        // The ConfigMaps of the history have an unknown key; rename it to one that closes routes.
        let guard = |event: Event| match event {
            Event::Apply(Object::ConfigMap(config_map)) => {
                let rename = |(_, value): &(_, String)| ("server-snippet".into(), value.clone());
                let data = config_map.data.iter().map(rename).collect();
                Event::Apply(Object::ConfigMap(Arc::new(ConfigMap { key: config_map.key.clone(), data })))
            }
            event => event,
        };
        let history: Vec<Vec<_>> =
            history.into_iter().map(|batch| batch.into_iter().map(guard).collect()).collect();
        check_projection(|| RouteIndex::new(options.clone()), history.clone());
        check_projection(|| crate::PoolIndex::new(options.clone()), history.clone());
        check_projection(|| crate::CertIndex::new(options.clone()), history);
    }
}

/// The 194 keys of ingress-nginx 1.15.1.
const NAMES: &str = "
    allow-snippet-annotations annotations-risk-level annotation-value-word-blocklist
    allow-cross-namespace-resources strict-validate-path-type global-allowed-response-headers
    whitelist-source-range denylist-source-range block-cidrs block-user-agents block-referers
    no-auth-locations no-tls-redirect-locations use-forwarded-headers enable-real-ip
    compute-full-forwarded-for forwarded-for-header forwarded-host-header forwarded-for-proxy-protocol-header
    proxy-real-ip-cidr use-proxy-protocol proxy-protocol-header-timeout proxy-add-original-uri-header
    generate-request-id proxy-set-headers add-headers hide-headers allow-backend-server-header server-tokens
    enable-underscores-in-headers ignore-invalid-headers ssl-redirect force-ssl-redirect http-redirect-code
    preserve-trailing-slash use-port-in-redirects relative-redirects app-root custom-http-errors
    disable-proxy-intercept-errors default-type service-upstream load-balance upstream-hash-by
    upstream-hash-by-subset upstream-hash-by-subset-size proxy-body-size client-body-buffer-size
    proxy-connect-timeout proxy-send-timeout proxy-read-timeout proxy-next-upstream
    proxy-next-upstream-timeout proxy-next-upstream-tries retry-non-idempotent proxy-request-buffering
    proxy-buffering proxy-buffers-number proxy-buffer-size proxy-busy-buffers-size proxy-max-temp-file-size
    proxy-http-version proxy-cookie-domain proxy-cookie-path proxy-redirect-from proxy-redirect-to
    proxy-ssl-location-only limit-rate limit-rate-after limit-req-status-code limit-conn-status-code
    limit-conn-zone-variable grpc-buffer-size-kb global-auth-url global-auth-method global-auth-signin
    global-auth-signin-redirect-param global-auth-response-headers global-auth-request-redirect
    global-auth-always-set-cookie global-auth-cache-key global-auth-cache-duration global-auth-snippet
    keep-alive keep-alive-requests client-header-timeout client-body-timeout client-header-buffer-size
    large-client-header-buffers use-http2 http2-max-concurrent-streams http2-max-field-size
    http2-max-header-size http2-max-requests upstream-keepalive-connections upstream-keepalive-time
    upstream-keepalive-timeout upstream-keepalive-requests bind-address disable-ipv6 disable-ipv6-dns
    ssl-protocols ssl-ciphers ssl-ecdh-curve ssl-dh-param ssl-early-data ssl-session-cache
    ssl-session-cache-size ssl-session-tickets ssl-session-ticket-key ssl-session-timeout ssl-buffer-size
    ssl-reject-handshake enable-ocsp hsts hsts-include-subdomains hsts-max-age hsts-preload use-gzip
    gzip-level gzip-min-length gzip-types gzip-disable enable-brotli brotli-level brotli-min-length
    brotli-types proxy-stream-timeout proxy-stream-next-upstream proxy-stream-next-upstream-timeout
    proxy-stream-next-upstream-tries proxy-stream-responses access-log-path http-access-log-path
    stream-access-log-path access-log-params enable-access-log-for-default-backend enable-auth-access-log
    disable-access-log disable-http-access-log disable-stream-access-log skip-access-log-urls
    log-format-upstream log-format-escape-json log-format-escape-none log-format-stream error-log-path
    error-log-level enable-syslog syslog-host syslog-port enable-opentelemetry
    opentelemetry-trust-incoming-span opentelemetry-operation-name opentelemetry-config otlp-collector-host
    otlp-collector-port otel-service-name otel-sampler otel-sampler-ratio otel-sampler-parent-based
    otel-schedule-delay-millis otel-max-export-batch-size otel-max-queuesize worker-processes
    worker-shutdown-timeout max-worker-connections max-worker-open-files worker-cpu-affinity
    enable-serial-reloads reuse-port enable-multi-accept enable-aio-write map-hash-bucket-size
    server-name-hash-max-size server-name-hash-bucket-size proxy-headers-hash-max-size
    proxy-headers-hash-bucket-size variables-hash-max-size variables-hash-bucket-size lua-shared-dicts
    debug-connections nginx-status-ipv4-whitelist nginx-status-ipv6-whitelist use-geoip2
    geoip2-autoreload-in-minutes enable-modsecurity enable-owasp-modsecurity-crs modsecurity-snippet
    main-snippet http-snippet server-snippet stream-snippet location-snippet
";
