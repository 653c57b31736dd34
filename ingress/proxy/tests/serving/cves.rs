//! The vulnerabilities of ingress-nginx, each with its attack against the running proxy and the verdict of the admission webhook. Those of
//! the webhook itself are tested beside it, in `ingress-controller`.

use std::sync::Arc;

use cluster::{
    Backend, ConfigMap, Ingress, IngressPath, IngressRule, Key, Object, PathType, PortRef, Secret,
    ServiceBackend, Snapshot,
};
use ingress_routes::RouteOptions;

use crate::support::{Response, ScriptedEndpoint, TestCluster};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// A folder with a file that stands for the token of a service account.
const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
/// A text of that file.
const SECRET: &str = "[package]";

/// A cluster in which `shop.example` belongs to the attacker and `other.example` to another tenant.
struct AttackedCluster {
    world: TestCluster,
    endpoint: ScriptedEndpoint,
}

/// What closes the context of a value in a configuration file of nginx, and serves the secret.
fn injected() -> String {
    format!(";}} location /leak/ {{ alias {FOLDER}/; add_header X-Injected yes; }} #")
}

/// An Ingress of the attacker.
fn attack(path: &str, annotations: &[(&str, &str)]) -> Ingress {
    let backend = Backend::Service(ServiceBackend { name: "shop".into(), port: PortRef::Number(80) });
    let path = IngressPath { path: path.into(), kind: PathType::ImplementationSpecific, backend };
    let name = |name: &str| format!("nginx.ingress.kubernetes.io/{name}").into();
    let mut annotations: Vec<_> =
        annotations.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect();
    annotations.sort_unstable();
    Ingress {
        key: Key::new("default", "attack"),
        created: 2,
        annotations,
        class: Some("nginx".into()),
        default_backend: None,
        rules: vec![IngressRule { host: "shop.example".into(), paths: vec![path] }],
        tls: Vec::new(),
    }
}

impl AttackedCluster {
    fn new() -> Self {
        let endpoint = ScriptedEndpoint::always(OK);
        let mut world = TestCluster::new();
        world.service("shop", &[endpoint.address]);
        world.ingress_with("shop", "other.example", "/", 80, &[], None);
        Self { world, endpoint }
    }

    /// The statuses of the attacked host for `/` and of what the attack wants to serve, once the Ingress is there. Nothing of the attack has
    /// an effect anywhere else.
    fn after(&mut self, ingress: Ingress) -> [u16; 2] {
        self.world.apply(Object::Ingress(Arc::new(ingress)));
        let [own, leaked, other] =
            [("shop", "/"), ("shop", "/leak/Cargo.toml"), ("other", "/leak/Cargo.toml")].map(
                |(host, path)| self.world.ask(&format!("GET {path} HTTP/1.1\nHost: {host}.example\n\n")),
            );
        for response in [&own, &leaked, &other] {
            assert!(is_harmless(response), "{response:?}");
        }
        assert_eq!((other.status, &*other.body), (200, "ok"), "the other host is served as before");
        for request in self.endpoint.all_seen() {
            assert!(!request.head.to_ascii_lowercase().contains("x-injected"), "{}", request.head);
        }
        [own.status, leaked.status]
    }

    /// What the webhook says, if it refuses the Ingress.
    fn refusal(&self, ingress: &Ingress) -> Option<String> {
        let table = self.world.views().table.load_full();
        let verdict =
            table.review(&Arc::new(ingress.clone()), &RouteOptions::default(), &Snapshot::default());
        (!verdict.refusals.is_empty()).then(|| verdict.refusals.join("; "))
    }

    /// An attack with one annotation on `/`.
    fn annotation(&mut self, name: &str, value: &str, other: &[(&str, &str)]) -> ([u16; 2], Option<String>) {
        let annotations: Vec<_> = [(name, value)].into_iter().chain(other.iter().copied()).collect();
        let ingress = attack("/", &annotations);
        (self.after(ingress.clone()), self.refusal(&ingress))
    }
}

fn is_harmless(response: &Response) -> bool {
    !response.body.contains(SECRET) && response.header("x-injected").is_none()
}

#[test]
fn cve_2020_8553_secrets_of_other_namespaces_never_share_users() {
    let mut attacked = AttackedCluster::new();
    let world = &mut attacked.world;
    // In ingress-nginx the users of both were in the file `a-b-c-….passwd`.
    let places = [("a", "b-c", "one"), ("a-b", "c", "two")];
    for (namespace, name, password) in places {
        let secret = Secret {
            key: Key::new(namespace, name),
            certificate: Box::default(),
            private_key: Box::default(),
            other: [("auth".into(), format!("ann:{{PLAIN}}{password}").as_bytes().into())].into(),
        };
        world.apply(Object::Secret(Arc::new(secret)));
        let mut ingress = attack("/", &[("auth-type", "basic"), ("auth-secret", name)]);
        ingress.key = Key::new(namespace, name);
        ingress.rules[0].host = format!("{namespace}.example").into();
        ingress.default_backend = None;
        world.service_in(namespace, "shop", &[attacked.endpoint.address]);
        world.apply(Object::Ingress(Arc::new(ingress)));
    }
    // ann:one, ann:two
    for (namespace, credentials, status) in [
        ("a", "YW5uOm9uZQ==", 200),
        ("a", "YW5uOnR3bw==", 401),
        ("a-b", "YW5uOm9uZQ==", 401),
        ("a-b", "YW5uOnR3bw==", 200),
    ] {
        let head =
            format!("GET / HTTP/1.1\nHost: {namespace}.example\nAuthorization: Basic {credentials}\n\n");
        assert_eq!(world.ask(&head).status, status, "{namespace} {credentials}");
    }
}

#[test]
fn cve_2021_25742_snippets_read_no_file() {
    let mut attacked = AttackedCluster::new();
    let snippets = [
        ("server-snippet", format!("location /leak/ {{ alias {FOLDER}/; }}")),
        ("configuration-snippet", format!("alias {FOLDER}/;")),
        ("configuration-snippet", format!("root {FOLDER}; try_files /Cargo.toml =404;")),
        (
            "configuration-snippet",
            format!("content_by_lua_block {{ ngx.say(io.open('{FOLDER}/Cargo.toml'):read()) }}"),
        ),
        ("configuration-snippet", "proxy_pass https://kubernetes.default.svc;".to_owned()),
    ];
    let allowed = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    for (name, text) in &snippets {
        attacked.world.configure(&[]);
        let (statuses, refusal) = attacked.annotation(name, text, &[]);
        assert_eq!(statuses, [404, 404], "the Ingress is not served: {text}");
        assert!(refusal.unwrap().contains(name));
        attacked.world.configure(&allowed);
        // The annotation is served without it, or closes its routes.
        let statuses = attacked.annotation(name, text, &[]).0;
        assert!(statuses == [200, 200] || statuses == [503, 503], "{text}: {statuses:?}");
    }
}

#[test]
fn cve_2021_25745_a_path_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    let ingress = attack(&format!("/x{}", injected()), &[]);
    assert!(attacked.refusal(&ingress).unwrap().contains("would be nginx configuration"));
    assert_eq!(attacked.after(ingress), [404, 404]);
}

#[test]
fn cve_2021_25746_values_of_annotations_are_no_configuration() {
    let mut attacked = AttackedCluster::new();
    let mut served = Vec::new();
    for (name, others) in [
        ("upstream-vhost", &[][..]),
        ("connection-proxy-header", &[]),
        ("x-forwarded-prefix", &[("rewrite-target", "/x")]),
        ("auth-realm", &[("auth-type", "basic"), ("auth-secret", "missing")]),
        ("app-root", &[]),
        ("proxy-cookie-domain", &[]),
        ("proxy-redirect-from", &[]),
        ("session-cookie-path", &[("affinity", "cookie")]),
        ("upstream-hash-by", &[]),
        ("ssl-ciphers", &[]),
        ("server-alias", &[]),
        ("fastcgi-index", &[]),
        ("auth-tls-error-page", &[]),
        ("limit-rps", &[]),
        ("whitelist-source-range", &[]),
    ] {
        let (statuses, _) = attacked.annotation(name, &format!("x{}", injected()), others);
        served.push(format!("{name} {} {}", statuses[0], statuses[1]));
    }
    // Values that protect close the routes; of the others the default is used.
    assert_eq!(
        served,
        [
            "upstream-vhost 200 200",
            "connection-proxy-header 200 200",
            "x-forwarded-prefix 200 200",
            "auth-realm 503 503",
            "app-root 200 200",
            "proxy-cookie-domain 200 200",
            "proxy-redirect-from 200 200",
            "session-cookie-path 200 200",
            "upstream-hash-by 200 200",
            "ssl-ciphers 200 200",
            "server-alias 200 200",
            "fastcgi-index 200 200",
            "auth-tls-error-page 200 200",
            "limit-rps 503 503",
            "whitelist-source-range 503 503",
        ]
    );
}

#[test]
fn cve_2021_25748_a_line_break_in_a_path_hides_nothing() {
    let mut attacked = AttackedCluster::new();
    for line_break in ["\n", "\r", "\r\n"] {
        let ingress = attack(&format!("/x{line_break}{{alias {FOLDER}/;}}"), &[]);
        assert!(attacked.refusal(&ingress).is_some());
        assert_eq!(attacked.after(ingress), [404, 404], "{line_break:?}");
    }
}

#[test]
fn cve_2022_4886_a_path_of_any_type_writes_no_file() {
    let mut attacked = AttackedCluster::new();
    let file = std::env::temp_dir().join(format!("cve-2022-4886-{}", std::process::id()));
    let directives = format!("/x{{}} log_format a '$http_a'; access_log {} a;", file.display());
    assert_eq!(attacked.after(attack(&directives, &[])), [404, 404]);
    assert!(!file.exists());
}

#[test]
fn cve_2023_5043_a_snippet_is_parsed_and_never_inserted() {
    let mut attacked = AttackedCluster::new();
    attacked
        .world
        .configure(&[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")]);
    for text in [
        format!("more_set_headers \"A: b\"{}", injected()),
        "}}} events { worker_connections 1; }".to_owned(),
    ] {
        let statuses = attacked.annotation("configuration-snippet", &text, &[]).0;
        assert!(statuses == [200, 200] || statuses == [503, 503], "{text}: {statuses:?}");
    }
}

#[test]
fn cve_2023_5044_the_url_of_a_redirect_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    for name in ["permanent-redirect", "temporal-redirect"] {
        let (statuses, refusal) =
            attacked.annotation(name, &format!("https://a.example/{}", injected()), &[]);
        assert_eq!(statuses, [503, 503], "{name}");
        assert!(refusal.unwrap().contains(name));
    }
}

#[test]
fn cve_2024_7646_a_carriage_return_hides_nothing() {
    let mut attacked = AttackedCluster::new();
    for (name, status) in
        [("upstream-vhost", 200), ("permanent-redirect", 503), ("rewrite-target", 503), ("app-root", 200)]
    {
        let (statuses, refusal) = attacked.annotation(name, &format!("/x\r{}", injected()), &[]);
        assert_eq!(statuses, [status, status], "{name}");
        assert!(refusal.unwrap().contains(name), "{name}");
    }
}

#[test]
fn cve_2025_1097_a_pattern_of_subjects_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    attacked.world.authorities("ca", "");
    let value = format!("CN=a #(\n){{}}\n }}}} {} ssl_engine /tmp/engine;", injected());
    let (statuses, refusal) =
        attacked.annotation("auth-tls-match-cn", &value, &[("auth-tls-secret", "default/ca")]);
    assert_eq!(statuses, [403, 403], "the host is closed");
    assert!(refusal.unwrap().contains("auth-tls-match-cn"));
}

#[test]
fn cve_2025_1098_the_names_of_a_mirror_are_no_configuration() {
    let mut attacked = AttackedCluster::new();
    let value = format!("a.example{}", injected());
    let (statuses, _) =
        attacked.annotation("mirror-host", &value, &[("mirror-target", "http://mirror.example/")]);
    assert_eq!(statuses, [200, 200]);
    let (statuses, _) = attacked.annotation("mirror-target", &format!("http://{value}"), &[]);
    assert_eq!(statuses, [200, 200]);
}

#[test]
fn cve_2025_24513_the_name_of_a_secret_is_no_path() {
    let mut attacked = AttackedCluster::new();
    for name in ["../../etc/passwd", "default/../passwd", "/etc/passwd", "..", "default/a\0b"] {
        let (statuses, _) = attacked.annotation("auth-secret", name, &[("auth-type", "basic")]);
        assert_eq!(statuses, [503, 503], "{name}");
        let (statuses, refusal) = attacked.annotation("proxy-ssl-secret", name, &[]);
        assert!(statuses == [503, 503] || name == "..", "{name}: {statuses:?}");
        assert!(refusal.is_some() || name == "..", "{name}");
    }
}

#[test]
fn cve_2025_24514_the_url_of_an_authentication_server_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    for value in [
        format!("http://auth.example/#{}", injected()),
        format!("http://auth.example/x{}", injected()),
        "http://auth.example/#;}}}\n\nssl_engine /tmp/engine;\n\n".to_owned(),
    ] {
        let (statuses, refusal) = attacked.annotation("auth-url", &value, &[]);
        assert_eq!(statuses, [503, 503], "{value}");
        assert!(refusal.unwrap().contains("auth-url"));
    }
}

#[test]
fn cve_2025_15566_headers_for_an_authentication_server_are_no_configuration() {
    let mut attacked = AttackedCluster::new();
    let server = ScriptedEndpoint::always(OK);
    attacked.world.service("auth", &[server.address]);
    let url = format!("http://{}/", server.address);
    for (name, value) in [
        ("X-A", format!("b\";{}", injected())),
        ("X-A", "b\r\nX-Injected: yes".to_owned()),
        ("X-A: b\r\nX-Injected", "yes".to_owned()),
        ("X-A b;}", "yes".to_owned()),
    ] {
        let data = vec![(name.into(), value.clone())];
        let config_map = ConfigMap { key: Key::new("default", "sent"), data };
        attacked.world.apply(Object::ConfigMap(Arc::new(config_map)));
        let (statuses, _) = attacked.annotation("auth-proxy-set-headers", "sent", &[("auth-url", &url)]);
        // Served with the text as a value, or closed.
        assert!(statuses == [200, 200] || statuses == [503, 503], "{name} {value}: {statuses:?}");
    }
    for request in server.all_seen() {
        assert!(!request.head.to_ascii_lowercase().contains("\nx-injected"), "{}", request.head);
    }
}

#[test]
fn cve_2026_1580_a_method_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    for value in [format!("GET{}", injected()), "GET\nX-Injected: yes".to_owned(), "get".to_owned()] {
        let (statuses, _) =
            attacked.annotation("auth-method", &value, &[("auth-url", "http://auth.example/")]);
        assert_eq!(statuses, [503, 503], "{value}");
    }
}

#[test]
fn cve_2026_24512_a_rule_path_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    let regex = ("use-regex", "true");
    for path in [format!("/x\"{}", injected()), format!("/x'{}", injected()), format!("/x\\\"{}", injected())]
    {
        for annotations in [&[][..], &[regex], &[("rewrite-target", "/y")]] {
            let [own, leaked] = attacked.after(attack(&path, annotations));
            assert!([own, leaked].iter().all(|status| matches!(status, 404 | 503)), "{path}: {own} {leaked}");
        }
    }
}

#[test]
fn cve_2026_24513_a_refused_request_never_reaches_the_service() {
    let mut attacked = AttackedCluster::new();
    let world = &mut attacked.world;
    // A default backend that ignores X-Code, as in the advisory.
    let errors = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 5\n\nerror");
    let protected = ScriptedEndpoint::always(OK);
    world.service("errors", &[errors.address]);
    world.service("shop", &[protected.address]);
    let secret = Secret {
        key: Key::new("default", "users"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("auth".into(), b"ann:{PLAIN}one".as_slice().into())].into(),
    };
    world.apply(Object::Secret(Arc::new(secret)));
    let pages = [("custom-http-errors", "401,403,500,503"), ("default-backend", "errors")];
    for guard in [
        &[("auth-type", "basic"), ("auth-secret", "users")][..],
        // Without an answer.
        &[("auth-url", "http://192.0.2.1:1/"), ("proxy-connect-timeout", "1")],
        &[("auth-url", "http://127.0.0.1:1/")],
    ] {
        let annotations: Vec<_> = pages.iter().chain(guard).copied().collect();
        world.apply(Object::Ingress(Arc::new(attack("/", &annotations))));
        let response = world.ask("GET / HTTP/1.1\nHost: shop.example\n\n");
        assert_eq!(response.body, "error", "{guard:?}");
        assert!(protected.has_no_request(), "{guard:?}");
    }
    assert_eq!(errors.all_seen().len(), 3);
}

#[test]
fn cve_2026_3288_the_target_of_a_rewrite_is_no_configuration() {
    let mut attacked = AttackedCluster::new();
    for value in [
        format!("/x\"{}", injected()),
        format!("/x{}", injected()),
        "/x break; return 200 \"a\"; #".to_owned(),
    ] {
        let (statuses, refusal) = attacked.annotation("rewrite-target", &value, &[]);
        assert!(refusal.is_some_and(|refusal| refusal.contains("rewrite-target")), "{value}");
        // As a target it is a path like any other.
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{value}: {statuses:?}");
    }
}

#[test]
fn cve_2026_4342_a_comment_sign_cuts_nothing_off() {
    let mut attacked = AttackedCluster::new();
    let access = ("allowlist-source-range", "192.0.2.1/32");
    for (name, value) in [
        ("rewrite-target", "/x #"),
        ("x-forwarded-prefix", "/x #"),
        ("upstream-vhost", "a#b"),
        ("app-root", "/x#y"),
        ("proxy-cookie-path", "/ /x;#"),
        ("auth-realm", "a\" #"),
        ("configuration-snippet", "# deny all;"),
    ] {
        let (statuses, _) = attacked.annotation(name, value, &[access]);
        // Whatever the value does, the rule that follows it in a template of nginx is in effect.
        assert!(
            statuses.iter().all(|status| matches!(status, 302 | 403 | 404 | 503)),
            "{name}: {statuses:?}"
        );
    }
    assert!(
        attacked.endpoint.all_seen().iter().all(|request| request.head.contains("Host: other.example\n"))
    );
    let (statuses, _) = attacked.annotation("rewrite-target", "/x", &[("use-regex", "true"), access]);
    assert_eq!(statuses, [403, 403]);
}

#[test]
fn cve_2026_42945_rewrites_of_long_paths_fit_their_buffers() {
    let mut attacked = AttackedCluster::new();
    let groups = "/$1?first=$1&second=$2";
    attacked.world.apply(Object::Ingress(Arc::new(attack("/a/(.*)/b/(.*)", &[("rewrite-target", groups)]))));
    // Characters that are escaped in the query take three times the bytes that they have in the path.
    for (piece, sent) in [("%20", "%20"), ("%25", "%25"), ("%3F", "%3F"), ("+", "+"), ("é", "%C3%A9")] {
        for count in [1, 100, 1000] {
            let text = piece.repeat(count);
            let response =
                attacked.world.ask(&format!("GET /a/{text}/b/{text} HTTP/1.1\nHost: shop.example\n\n"));
            let seen = match response.status {
                200 => attacked.endpoint.seen().head,
                status => panic!("{status} for {piece} {count} times"),
            };
            let line = seen.lines().next().unwrap();
            assert!(
                line.starts_with(&format!("GET /{}?first=", sent.repeat(count))),
                "{piece} {count}: {line:.80}"
            );
            assert!(line.ends_with(" HTTP/1.1") && !line.contains('\0'), "{piece} {count}: {line:.80}");
        }
    }
}
