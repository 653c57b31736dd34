//! Every family loads its own example, and the lists are complete.

use cluster::{Cache, ConfigMap, Event, Object, Secret};

use super::*;
use crate::affinity::AffinityMode;
use crate::canary::CanaryHeader;
use crate::plan::head_options::HeadOptions;
use crate::problem::{Effect, RoutingProblem};
use crate::testing::{PREFIX, manifests};

fn read_lines(lines: &str) -> (Settings, Vec<RoutingProblem>) {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("metadata:\n  name: x\n  annotations:\n{indented}");
    let ingress = manifests(&text).pop().expect("one manifest");
    let globals = FAMILIES.iter().find(|family| family.name == "snippets").expect("it has the key");
    let globals = read_key_lines(globals, NEEDED_KEYS).0;
    let (settings, findings) = read(&ingress, PREFIX, named_objects().snapshot(), &globals);
    (settings, findings.problems)
}

/// The objects that examples name.
fn named_objects() -> Cache {
    let key = Key::new("default", "my-headers");
    let headers = ConfigMap { key, data: vec![("X-App".into(), "shop".into())] };
    let key = rcgen::KeyPair::generate().unwrap();
    let authority =
        rcgen::CertificateParams::new(vec!["ca.example".into()]).unwrap().self_signed(&key).unwrap();
    let endpoints = Secret {
        key: Key::new("default", "endpoints"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("ca.crt".into(), authority.pem().into_bytes().into())].into(),
    };
    let mut cache = Cache::default();
    let users = Secret {
        key: Key::new("default", "users"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("ann".into(), b"{PLAIN}secret".as_slice().into())].into(),
    };
    let php = ConfigMap { key: Key::new("default", "php"), data: Vec::new() };
    let authority = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
    let authorities = Secret {
        key: Key::new("default", "ca"),
        other: [("ca.crt".into(), authority.into_bytes().into())].into(),
        ..users.clone()
    };
    let objects = [
        Object::ConfigMap(Arc::new(headers)),
        Object::ConfigMap(Arc::new(php)),
        Object::Secret(Arc::new(users)),
        Object::Secret(Arc::new(authorities)),
        Object::Secret(Arc::new(endpoints)),
    ];
    cache.apply(objects.map(Event::Apply), 1);
    cache
}

#[test]
fn every_example_loads_and_uses_each_annotation() {
    for family in FAMILIES.iter().filter(|family| !family.annotations.is_empty()) {
        let (settings, problems) = read_lines(family.syntax);
        // The ports of streams are no setting of a route.
        let is_setting = family.name != "streams";
        assert_eq!(
            settings != Settings::default(),
            is_setting,
            "{}: the example asks for something",
            family.name
        );
        // A canary's pattern next to a value is ignored without a problem.
        assert_eq!(problems, [], "{}", family.name);
        for annotation in family.annotations {
            let line = format!("{}: ", annotation.name);
            assert!(family.syntax.lines().any(|known| known.starts_with(&line)), "{line}");
            assert!(!annotation.doc.is_empty() && !annotation.values.is_empty(), "{line}");
        }
    }
}

/// Reads keys of the ConfigMap that a family has.
fn read_key_lines(family: &AnnotationFamily, lines: &str) -> (FamilyValues, ReaderFindings) {
    let pairs = lines.lines().filter_map(|line| line.split_once(": "));
    let mut data: Vec<_> =
        pairs.map(|(name, value)| (name.into(), value.trim_matches('\'').to_owned())).collect();
    data.sort_unstable();
    let config_map = ConfigMap { key: Key::new("ingress", "controller"), data };
    let cluster = Snapshot::default();
    let mut reader = SettingReader::of_config_map(&config_map, &cluster);
    let mut values = FamilyValues::default();
    (family.read_keys)(&mut reader, &mut values);
    (values, reader.done())
}

#[test]
fn every_example_of_a_family_without_annotations_is_a_config_map() {
    let has_keys_only = |family: &&AnnotationFamily| family.annotations.is_empty() && !family.keys.is_empty();
    for family in FAMILIES.iter().filter(has_keys_only) {
        let (values, findings) = read_key_lines(family, family.syntax);
        assert_eq!(findings, ReaderFindings::default(), "{}", family.name);
        assert_ne!(values, FamilyValues::default(), "{}: the example asks for something", family.name);
        for key in family.keys {
            let line = format!("{}: ", key.name);
            assert!(family.syntax.lines().any(|known| known.starts_with(&line)), "{line}");
        }
    }
}

/// The keys without which examples of annotations have no effect.
const NEEDED_KEYS: &str = "allow-snippet-annotations: true
annotations-risk-level: Critical
global-allowed-response-headers: X-App";

/// The phases that the plan and the settings of an example have something for.
fn phases_of_example(family: &AnnotationFamily) -> Vec<Phase> {
    let (settings, globals) = match family.annotations {
        [] => (Settings::default(), read_key_lines(family, family.syntax).0),
        _ => (read_lines(family.syntax).0, read_key_lines(family, NEEDED_KEYS).0),
    };
    let (ingress, patterns, zones) =
        (Key::new("default", "x"), PatternCache::default(), LimitZones::default());
    let rule = Rule {
        globals: &globals,
        host: "a.example",
        ingress: Some(&ingress),
        service: None,
        path: "/x",
        kind: PathType::Prefix,
        default_backend: None,
        patterns: &patterns,
        zones: &zones,
        host_snippet: settings.values.get::<HostSnippet>(),
        port_in_redirects: None,
        http_port: 80,
        https_port: 443,
    };
    let (mut plan, empty) = (Plan::default(), Plan::default());
    (family.plan)(&settings, &rule, &mut plan);
    let heads = HeadOptions { passes_server: empty.heads.passes_server, ..plan.heads };
    let has_pages = plan.error_pages.is_some();
    let changes_requests = !plan.request_head.is_empty()
        || heads != empty.heads
        || plan.proxy != empty.proxy
        || plan.upstream.is_some()
        || plan.mirror.is_some()
        || has_pages;
    let changes_responses = !plan.response_head.is_empty() || heads != plan.heads;
    [
        (Phase::Server, settings.values.get::<AppRoot>().is_some() || !plan.server_rewrite.is_empty()),
        (Phase::Rewrite, !plan.rewrite.is_empty()),
        (Phase::Limits, !plan.limits.is_empty()),
        (Phase::Access, !plan.access.rules.is_empty() || plan.access.any),
        (
            Phase::Balance,
            settings.canary.is_some() || settings.values.get::<AffinitySettings>().is_some() || has_pages,
        ),
        (Phase::UpstreamRequest, changes_requests),
        (Phase::ResponseHead, changes_responses || plan.compression.is_some()),
        (Phase::ResponseBody, plan.response_rate.is_some() || plan.compression.is_some()),
        (Phase::Log, plan.is_not_logged || plan.tracing.is_some()),
    ]
    .into_iter()
    .filter_map(|(phase, is_found)| is_found.then_some(phase))
    .collect()
}

/// Phases of families whose example does not show them in the plan.
const NOT_IN_EXAMPLES: &[(&str, &[Phase])] = &[
    // The key `proxy-set-headers`.
    ("custom headers", &[Phase::UpstreamRequest]),
    // The cookie of the chosen endpoint.
    ("affinity", &[Phase::ResponseHead]),
    // The settings of the server are not in the plan.
    ("server", &[Phase::Server]),
    ("listeners", &[Phase::Server]),
    ("geoip", &[Phase::Server]),
    ("log outputs", &[Phase::Log]),
    // It belongs to the upstream.
    ("load balancing", &[Phase::Balance]),
    ("streams", &[Phase::Server]),
    // `backend-protocol` takes the settings of TLS over.
    ("upstream TLS", &[Phase::UpstreamRequest]),
    ("fastcgi", &[Phase::UpstreamRequest]),
    // The key `block-cidrs`.
    ("source range", &[Phase::Rewrite]),
    ("client identity", &[Phase::Server, Phase::UpstreamRequest]),
    ("blocklist", &[Phase::Server]),
    ("ingress filter", &[Phase::Server]),
    // These belong to hosts, and the fields about a certificate to the request.
    ("host names", &[Phase::Server]),
    ("client certificates", &[Phase::Server, Phase::UpstreamRequest]),
    ("tls", &[Phase::Server]),
];

#[test]
fn a_family_names_its_phases() {
    for family in FAMILIES {
        let mut found = phases_of_example(family);
        let others = NOT_IN_EXAMPLES.iter().filter(|(name, _)| *name == family.name);
        found.extend(others.flat_map(|(_, phases)| *phases));
        found.sort_unstable();
        assert_eq!(found, family.phases, "{}", family.name);
        assert!(!found.is_empty(), "{}: see `NOT_IN_EXAMPLES`", family.name);
    }
}

#[test]
fn the_reference_table_is_covered() {
    let honoured: usize = FAMILIES.iter().map(|family| family.annotations.len()).sum();
    assert_eq!((honoured, honoured + UNSUPPORTED.len()), (127, 138), "annotations of ingress-nginx 1.15");
}

#[test]
fn values_become_settings() {
    let canary = |lines: &str| read_lines(&format!("canary: 'true'\n{lines}")).0.canary.expect("a canary");
    assert_eq!(canary("canary-weight: '30'").weight, 30);
    assert_eq!(canary("canary-weight-total: '50'").total, 100);
    assert_eq!(canary("canary-by-header-value: x").value, CanaryHeader::Equals("x".into()));
    assert_eq!(canary("canary-by-header-pattern: '['").value, CanaryHeader::Invalid);
    let cookie =
        |lines: &str| read_lines(lines).0.values.get().and_then(|of: &AffinitySettings| of.cookie.clone());
    let affinity = |lines: &str| cookie(&format!("affinity: cookie\n{lines}")).expect("affinity");
    assert_eq!(affinity("affinity-mode: persistent").mode, AffinityMode::Persistent);
    assert_eq!(affinity("affinity-mode: odd").mode, AffinityMode::Balanced);
    assert_eq!(affinity("").name, "INGRESSCOOKIE");
    assert_eq!(affinity("session-cookie-name: 'a b'").name, "INGRESSCOOKIE");
    assert_eq!(affinity("session-cookie-samesite: lax").same_site, None);
    assert_eq!(affinity("session-cookie-max-age: '-1'").max_age, Some(-1));
    assert_eq!(affinity("session-cookie-domain: 'x; Path=/'").domain, None);
    assert_eq!(cookie("affinity: ip"), None);
}

#[test]
fn invalid_values_are_reported_with_their_effect() {
    for (line, effect) in [
        ("app-root: http://x/", Effect::DefaultUsed),
        ("app-root: \"/a\\nb\"", Effect::DefaultUsed),
        ("use-regex: maybe", Effect::DefaultUsed),
        ("ssl-redirect: 'yes'", Effect::DefaultUsed),
        ("force-ssl-redirect: 'on'", Effect::DefaultUsed),
        ("rewrite-target: /$-x", Effect::Closed),
        ("rewrite-target: '/${x'", Effect::Closed),
        ("rewrite-target: /$0", Effect::Closed),
        ("rewrite-target: \"/a\\r\\nX: y\"", Effect::Closed),
        ("permanent-redirect: https://x/$request_uri", Effect::Closed),
        ("permanent-redirect: x", Effect::LeftOut),
        ("temporal-redirect: /path", Effect::LeftOut),
        ("temporal-redirect: https://", Effect::Closed),
        ("temporal-redirect-code: '308'", Effect::DefaultUsed),
        ("canary: 'yes'", Effect::LeftOut),
        ("canary-weight: 5%", Effect::DefaultUsed),
        ("canary-by-header: 'x y'", Effect::DefaultUsed),
        ("canary-by-cookie: 'x;y'", Effect::DefaultUsed),
        ("affinity: ip", Effect::DefaultUsed),
        ("affinity-mode: sticky", Effect::DefaultUsed),
        ("affinity-canary-behavior: x", Effect::DefaultUsed),
        ("session-cookie-expires: 1h", Effect::DefaultUsed),
        ("session-cookie-secure: 'on'", Effect::DefaultUsed),
        ("whitelist-source-range: 10.0.0.0/x", Effect::Closed),
        ("auth-tls-secret: default/missing", Effect::ClosesOthers),
        ("auth-tls-verify-client: 'on'", Effect::Differs),
        ("ssl-ciphers: AES256-SHA", Effect::DefaultUsed),
        ("ssl-ciphers: ALL:AES256-SHA", Effect::Differs),
        ("server-alias: 'a b'", Effect::LeftOut),
        ("configuration-snippet: 'deny x;'", Effect::Closed),
        ("configuration-snippet: 'x;'", Effect::LeftOut),
        ("configuration-snippet: 'proxy_buffering on;'", Effect::Cosmetic),
        ("server-snippet: 'auth_basic x;'", Effect::Closed),
        ("limit-rps: many", Effect::Closed),
        ("limit-connections: 1.5", Effect::Closed),
        ("limit-burst-multiplier: x", Effect::DefaultUsed),
        ("limit-allowlist: x", Effect::LeftOut),
        ("enable-modsecurity: 'true'", Effect::Closed),
        ("load-balance: ip_hash", Effect::DefaultUsed),
        ("upstream-hash-by: $none", Effect::DefaultUsed),
        ("upstream-hash-by: $1", Effect::DefaultUsed),
        ("upstream-hash-by: $host\nupstream-hash-by-subset: x", Effect::DefaultUsed),
        ("upstream-hash-by: $host\nupstream-hash-by-subset-size: '-1'", Effect::DefaultUsed),
        ("upstream-hash-by-subset: 'true'", Effect::Differs),
        ("service-upstream: 'yes'", Effect::DefaultUsed),
        ("mirror-target: m.example", Effect::DefaultUsed),
        ("mirror-target: http://m.example/$none", Effect::DefaultUsed),
        ("mirror-host: m.example", Effect::Differs),
        ("enable-cors: 'yes'", Effect::DefaultUsed),
        ("force-ssl-redirect: ' true'", Effect::DefaultUsed),
        ("limit-connections: '-1'", Effect::Ignored),
        ("cors-allow-methods: 'GET;'", Effect::DefaultUsed),
        ("cors-max-age: 1h", Effect::DefaultUsed),
        ("cors-allow-origin: shop.example", Effect::LeftOut),
        ("custom-headers: missing", Effect::Closed),
        ("auth-type: digest\nauth-secret: users", Effect::Closed),
        ("auth-type: Basic\nauth-secret: users", Effect::Closed),
        ("auth-type: basic", Effect::Closed),
        ("auth-type: basic\nauth-secret: missing", Effect::Closed),
        ("auth-type: basic\nauth-secret: a/b/c", Effect::Closed),
        ("auth-type: basic\nauth-secret: users", Effect::Closed),
        ("auth-type: basic\nauth-secret: users\nauth-secret-type: file", Effect::Closed),
        ("auth-secret: users", Effect::Differs),
        ("auth-realm: x", Effect::Differs),
        ("satisfy: one", Effect::DefaultUsed),
        ("auth-url: auth.example", Effect::Closed),
        ("auth-url: ftp://auth.example", Effect::Closed),
        ("auth-url: http:///check", Effect::Closed),
        ("auth-url: http://a..b/check", Effect::Closed),
        ("auth-url: http://auth.example/a b", Effect::Closed),
        ("auth-url: http://auth.example/$none", Effect::Closed),
        ("auth-url: 'http://auth.example/\";}'", Effect::Closed),
        ("auth-url: http://a/\nauth-method: get", Effect::Closed),
        ("auth-url: http://a/\nauth-response-headers: X User", Effect::Closed),
        ("auth-url: http://a/\nauth-proxy-set-headers: missing", Effect::Closed),
        ("auth-url: http://a/\nauth-signin: 'http://b/ c'", Effect::DefaultUsed),
        ("auth-url: http://a/\nauth-signin: http://b/$none", Effect::DefaultUsed),
        ("auth-url: http://a/\nauth-signin-redirect-param: 'a&b'", Effect::DefaultUsed),
        ("auth-url: http://a/\nauth-request-redirect: $", Effect::DefaultUsed),
        ("auth-url: http://a/\nauth-cache-key: $none", Effect::DefaultUsed),
        ("auth-url: http://a/\nauth-cache-duration: 5 minutes", Effect::DefaultUsed),
        ("auth-url: http://a/\nauth-always-set-cookie: 'yes'", Effect::DefaultUsed),
        ("auth-signin: http://b/", Effect::Differs),
        ("auth-url: http://a/\nauth-keepalive: many", Effect::DefaultUsed),
        ("auth-url: http://127.0.0.1/", Effect::Differs),
        ("auth-url: http://a/\nauth-snippet: 'proxy_set_header A b; deny all;'", Effect::Closed),
        ("auth-url: http://a/\nauth-snippet: 'proxy_set_header A $none;'", Effect::Closed),
        ("auth-snippet: 'proxy_set_header A b;'", Effect::Differs),
        ("custom-headers: a/b/c", Effect::Closed),
        ("upstream-vhost: '$none'", Effect::DefaultUsed),
        ("x-forwarded-prefix: /$1", Effect::DefaultUsed),
        ("connection-proxy-header: upgrade", Effect::DefaultUsed),
        ("proxy-cookie-domain: one", Effect::DefaultUsed),
        ("proxy-cookie-path: ~( /", Effect::DefaultUsed),
        ("proxy-redirect-from: ~(", Effect::DefaultUsed),
        ("proxy-redirect-to: $", Effect::DefaultUsed),
        ("http2-push-preload: 'true'", Effect::Cosmetic),
        ("no-such-thing: x", Effect::Differs),
        ("proxy-ssl-verify: 'yes'", Effect::Closed),
        ("proxy-ssl-verify: 'on'", Effect::Differs),
        ("proxy-ssl-secret: default/missing", Effect::Closed),
        ("proxy-ssl-secret: without-namespace", Effect::Closed),
        ("proxy-ssl-name: 'a b'", Effect::Closed),
        ("proxy-ssl-ciphers: RC4", Effect::DefaultUsed),
        ("proxy-ssl-protocols: TLSv1", Effect::DefaultUsed),
        ("fastcgi-params-configmap: missing", Effect::Closed),
        ("fastcgi-index: 'a b'", Effect::DefaultUsed),
        ("backend-protocol: SPDY", Effect::DefaultUsed),
    ] {
        let (settings, problems) = read_lines(line);
        let found: Vec<_> = problems.iter().map(|problem| problem.effect).collect();
        assert!(found.contains(&effect), "{line}: {problems:?}");
        assert_eq!(settings.denied.is_some(), effect == Effect::Closed, "{line}");
    }
    for harmless in [
        "limit-rps: '0'",
        "satisfy: all",
        "enable-cors: 'false'",
        "enable-global-auth: 'true'",
        "backend-protocol: Http",
        "auth-url: ''",
        "session-cookie-hash: md5",
    ] {
        assert_eq!(read_lines(harmless), (Settings::default(), vec![]), "{harmless}");
    }
}

#[test]
fn protecting_annotations_of_a_canary_do_not_close_it() {
    let (settings, _) = read_lines("canary: 'true'\nauth-url: http://auth.example/");
    assert_eq!(settings.denied, None);
}
