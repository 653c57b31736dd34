//! The request to the authentication server, and what becomes of its response.

use std::sync::Arc;

use cluster::{ConfigMap, Key, Object, Secret};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::exchange::Exchange;
use crate::exchange::tests::{get, request};
use crate::plan::access::{AccessCheck, AccessStep, Services};
use crate::plan::subrequest::{Subrequest, SubrequestResponse};
use crate::snippet::SnippetState;
use crate::testing::{FixedServices, TestCluster, edited_request, edited_response};

const INGRESSES: &str = "
metadata: {name: plain, annotations: {auth-url: 'http://auth.example:8080/check?from=$host'}}
spec: {rules: [{host: plain.example, paths: [[/, Prefix, web], [/.well-known/acme-challenge, Prefix, acme]]}]}
---
metadata: {name: full, annotations: {auth-url: 'https://auth.example/', auth-method: POST, auth-response-headers: 'X-User, x-groups',
  auth-request-redirect: 'https://$host/', auth-proxy-set-headers: sent, auth-always-set-cookie: 'true',
  auth-cache-key: $remote_user, auth-cache-duration: 200 1m, auth-keepalive: '4', auth-keepalive-timeout: '9',
  auth-keepalive-requests: '-1'}}
spec: {rules: [{host: full.example, paths: [[/a, Prefix, web]]}]}
---
metadata: {name: open}
spec: {rules: [{host: open.example, paths: [[/, Prefix, web], [/.well-known/acme-challenge, Prefix, acme]]}]}
---
metadata: {name: out, annotations: {enable-global-auth: 'false'}}
spec: {rules: [{host: out.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: far, annotations: {auth-url: 'http://auth.example/', auth-proxy-set-headers: other/sent}}
spec: {rules: [{host: far.example, paths: [[/, Prefix, web]]}]}
";

fn cluster() -> TestCluster {
    let mut cluster = TestCluster::configured(INGRESSES);
    for namespace in ["default", "other"] {
        let key = Key::new(namespace, "sent");
        let data =
            vec![("X-Sent-From".into(), "$ingress_name".to_owned()), ("X-Zone".into(), "eu".to_owned())];
        cluster.apply([Object::ConfigMap(Arc::new(ConfigMap { key, data }))]);
    }
    cluster
}

/// The request to the server.
fn asked(cluster: &TestCluster, exchange: &mut Exchange) -> Subrequest {
    let table = cluster.table.load();
    let plan = &table.find(exchange.host(), exchange.path()).route().plan;
    match AccessCheck::default().run(&plan.access, exchange, &FixedServices) {
        AccessStep::Fetch(request) => *request,
        step => panic!("{step:?}"),
    }
}

fn text(request: &Subrequest) -> Vec<String> {
    let fields = request.headers.iter();
    let mut lines: Vec<_> =
        fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort_unstable();
    lines.insert(0, format!("{} {}", request.method, request.url));
    lines
}

/// The status of the decision after a response with these fields; 200 if the request may pass.
fn decided(
    cluster: &TestCluster,
    exchange: &mut Exchange,
    status: u16,
    fields: &[(&str, &str)],
) -> (u16, HeaderMap) {
    let table = cluster.table.load();
    let access = &table.find(exchange.host(), exchange.path()).route().plan.access;
    let mut check = AccessCheck::default();
    let mut response = SubrequestResponse::status(StatusCode::from_u16(status).unwrap());
    for (name, value) in fields {
        response.headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    assert!(matches!(check.run(access, exchange, &FixedServices), AccessStep::Fetch(_)));
    match check.resume(access, exchange, &FixedServices, &Arc::new(response)) {
        AccessStep::Pass => (200, HeaderMap::new()),
        AccessStep::Respond(response) => (response.status.as_u16(), response.fields.into_iter().collect()),
        step => panic!("{step:?}"),
    }
}

#[test]
fn the_server_gets_the_fields_of_the_request_and_those_of_nginx() {
    let mut exchange = request(
        "POST",
        "plain.example:81/p/q?x=1",
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "1.2.3.4"),
            ("content-length", "5"),
            ("connection", "keep-alive"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("authorization", "Bearer t"),
            ("x_under", "dropped"),
            ("accept", "x"),
            ("accept", "y"),
        ],
    );
    assert_eq!(
        text(&asked(&cluster(), &mut exchange)),
        [
            "GET http://auth.example:8080/check?from=plain.example",
            "accept: x",
            "accept: y",
            "authorization: Bearer t",
            "cookie: a=1; b=2",
            "host: auth.example",
            "x-auth-request-redirect: /p/q?x=1",
            "x-forwarded-for: 192.0.2.7",
            "x-original-method: POST",
            "x-original-url: http://plain.example:81/p/q?x=1",
            "x-real-ip: 192.0.2.7",
            "x-request-id: 0123456789abcdef0123456789abcdef",
            "x-sent-from: nginx-ingress-controller",
        ]
    );
}

#[test]
fn annotations_change_the_request_to_the_server() {
    let cluster = cluster();
    let mut exchange = get("full.example/a/b", &[("authorization", "Basic YW5uOnNlY3JldA==")]);
    let asked = asked(&cluster, &mut exchange);
    assert_eq!(
        text(&asked),
        [
            "POST https://auth.example/",
            "authorization: Basic YW5uOnNlY3JldA==",
            "host: auth.example",
            "x-auth-request-redirect: https://full.example/",
            "x-forwarded-for: 192.0.2.7",
            "x-original-method: GET",
            "x-original-uri: /a/b",
            "x-original-url: http://full.example/a/b",
            "x-real-ip: 192.0.2.7",
            "x-request-id: 0123456789abcdef0123456789abcdef",
            "x-scheme: http",
            "x-sent-from: full",
            "x-zone: eu",
        ]
    );
    let keep_alive = asked.keep_alive.expect("auth-keepalive");
    let limits = (keep_alive.connections, keep_alive.requests, keep_alive.timeout.as_secs());
    assert_eq!(limits, (4, 1000, 9), "a limit that is not positive is the default");
    let cache = asked.cache.expect("a cache rule");
    assert_eq!(cache.key, "full.example\nPrefix /a\nPOST https://auth.example/\nann");
    assert_eq!(cache.validity[0].time.as_secs(), 60);
}

#[test]
fn responses_to_a_path_and_to_those_below_it_are_kept_apart() {
    let cluster = cluster();
    let key = |target: &str| {
        let mut exchange = get(&format!("http://full.example{target}"), &[]);
        asked(&cluster, &mut exchange).cache.expect("auth-cache-key").key
    };
    assert_eq!(key("/a/"), key("/a/b"));
    assert_eq!(key("/a"), key("/a?b"));
    assert_ne!(key("/a"), key("/a/"));
}

/// Services that have an earlier response for every key.
struct CachingServices(Arc<SubrequestResponse>);

impl Services for CachingServices {
    fn now(&self) -> std::time::Duration {
        FixedServices.now()
    }

    fn request_id(&self) -> &[u8] {
        b""
    }

    fn cached(&self, key: &str) -> Option<Arc<SubrequestResponse>> {
        assert_eq!(key, "full.example\nPrefix /a\nPOST https://auth.example/\n=\n");
        Some(self.0.clone())
    }
}

#[test]
fn an_earlier_response_decides_before_a_subrequest_is_made() {
    let cluster = cluster();
    let table = cluster.table.load();
    for (status, wanted) in [(200, 200), (401, 401), (403, 403), (302, 500)] {
        let mut exchange = get("full.example/a", &[]);
        let access = &table.find(exchange.host(), exchange.path()).route().plan.access;
        let response = SubrequestResponse::status(StatusCode::from_u16(status).unwrap());
        let services = CachingServices(Arc::new(response));
        match AccessCheck::default().run(access, &mut exchange, &services) {
            AccessStep::Pass => assert_eq!(wanted, 200, "{status}"),
            AccessStep::Respond(response) => assert_eq!(response.status, wanted, "{status}"),
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn groups_of_regular_expressions_are_empty_in_the_url() {
    let cluster = TestCluster::configured(
        "
metadata: {name: main, annotations: {auth-url: 'http://auth.example/$1/x?a=$29&b=$host'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
",
    );
    let asked = asked(&cluster, &mut get("http://a.example/b", &[]));
    assert_eq!(asked.url, "http://auth.example//x?a=9&b=a.example");
    let problems = cluster.problems();
    assert!(problems.iter().any(|problem| problem.contains("$1 to $9 are empty in it")), "{problems:?}");
}

#[test]
fn the_status_of_the_server_decides() {
    let cluster = cluster();
    for (status, wanted) in [
        (200, 200),
        (204, 200),
        (299, 200),
        (401, 401),
        (403, 403),
        (302, 500),
        (404, 500),
        (502, 500),
        (504, 500),
    ] {
        let mut exchange = get("plain.example/", &[]);
        assert_eq!(decided(&cluster, &mut exchange, status, &[]).0, wanted, "{status}");
    }
    let fields = [("www-authenticate", "Bearer realm=\"api\""), ("x-other", "1")];
    let (_, head) = decided(&cluster, &mut get("plain.example/", &[]), 401, &fields);
    assert_eq!((head.len(), head["www-authenticate"].to_str().unwrap()), (1, "Bearer realm=\"api\""));
    assert_eq!(decided(&cluster, &mut get("plain.example/", &[]), 403, &fields).1.len(), 0);
}

#[test]
fn clients_without_a_session_are_redirected_to_sign_in() {
    for (sign_in, wanted) in [
        (
            "http://$host/auth/start",
            "http://plain.example/auth/start?rd=http://plain.example:81%2F%3Fa%3Db%26c%3Dd",
        ),
        ("https://x/?app=1", "https://x/?app=1&rd=http://plain.example:81%2F%3Fa%3Db%26c%3Dd"),
        ("https://x/?rd=https://y", "https://x/?rd=https://y"),
        ("https://x/?", "https://x/?rd=http://plain.example:81%2F%3Fa%3Db%26c%3Dd"),
        (
            "/start?to=$escaped_request_uri",
            "http://plain.example/start?to=%2F%3Fa%3Db%26c%3Dd&rd=http://plain.example:81%2F%3Fa%3Db%26c%3Dd",
        ),
    ] {
        let ingress = format!(
            "metadata: {{name: plain, annotations: {{auth-url: 'http://auth.example/', auth-signin: '{sign_in}'}}}}\n\
             spec: {{rules: [{{host: plain.example, paths: [[/, Prefix, web]]}}]}}"
        );
        let cluster = TestCluster::configured(&ingress);
        let mut exchange = get("plain.example:81/?a=b&c=d", &[]);
        let (status, head) = decided(&cluster, &mut exchange, 401, &[("www-authenticate", "Basic")]);
        assert_eq!((status, head["location"].to_str().unwrap()), (302, wanted), "{sign_in}");
        assert_eq!(decided(&cluster, &mut exchange, 403, &[]).0, 403, "{sign_in}");
    }
}

#[test]
fn endpoints_get_the_headers_of_the_server_and_never_those_of_the_client() {
    let cluster = cluster();
    let headers = [("x-user", "forged"), ("x-groups", "forged")];
    let mut exchange = get("full.example/a", &headers);
    let fields = [("x-user", "ann"), ("x-other", "1"), ("set-cookie", "s=1")];
    assert_eq!(decided(&cluster, &mut exchange, 200, &fields).0, 200);
    assert_eq!(edited_request(&cluster, &mut exchange), ["X-User: ann"]);
    let table = cluster.table.load();
    let mut edits = crate::plan::head_edits::HeadEdits::default();
    table.find("full.example", "/a").route().plan.edit_request_head(&exchange, &mut edits);
    assert!(edits.replace("x-user") && edits.replace("x-groups"));
}

#[test]
fn auth_request_set_takes_values_of_the_servers_response() {
    let mut cluster = TestCluster::configured(
        "
metadata: {name: one, annotations: {auth-url: 'http://auth.example/', configuration-snippet: '
  auth_request_set $user $upstream_http_x_user; auth_request_set $all \"$user;$upstream_status;$upstream_cookie_session;$host;$arg_a\";
  proxy_set_header X-Who $user; more_set_headers \"X-All: $all\" \"X-Groups: $groups\";'}}
spec: {rules: [{host: one.example, paths: [[/, Prefix, web]]}]}
",
    );
    cluster.configure(&[
        ("allow-snippet-annotations", "true"),
        ("annotations-risk-level", "Critical"),
        ("location-snippet", "auth_request_set $groups $upstream_http_x_groups;"),
    ]);
    // Of the annotation, `$groups` is a variable of the other snippet, which it does not know.
    assert!(cluster.problems().iter().any(|one| one.contains("$groups is not a known variable")));
    let annotation = "more_set_headers \"X-All: $all\"";
    let mut exchange = get("one.example/?a=b", &[("x-who", "forged")]);
    let fields =
        [("x-user", "ann"), ("x-groups", "a"), ("x-groups", "b"), ("set-cookie", "Session=s1; Path=/")];
    assert_eq!(decided(&cluster, &mut exchange, 200, &fields).0, 200);
    assert_eq!(edited_request(&cluster, &mut exchange), ["X-Who: ann"], "{annotation}");
    // Also for a response that refuses the request.
    let mut exchange = get("one.example/", &[]);
    assert_eq!(decided(&cluster, &mut exchange, 403, &fields[..1]).0, 403);
    assert_eq!(SnippetState::of(&exchange).variable("all"), "ann;403;;one.example;");
    // Without the field, and before the server has answered, it is empty.
    let mut exchange = get("one.example/", &[("x-who", "forged")]);
    assert_eq!(decided(&cluster, &mut exchange, 200, &[]).0, 200);
    assert_eq!(SnippetState::of(&exchange).variable("user"), "");
    assert_eq!(edited_request(&cluster, &mut exchange), [""; 0], "the field of the client is removed");
}

#[test]
fn cookies_of_the_server_reach_the_client() {
    let cluster = cluster();
    // After a response of the server with one status, in a response to the client with another.
    let cookies = |url: &str, of_server: u16, status: u16| -> Vec<String> {
        let mut exchange = get(url, &[]);
        decided(&cluster, &mut exchange, of_server, &[("set-cookie", "a=1"), ("set-cookie", "b=2")]);
        let head = edited_response(&cluster, &exchange, status, &[("set-cookie", "own=1")]);
        head.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(cookies("plain.example/", 200, 200), ["own=1", "a=1", "b=2"]);
    assert_eq!(cookies("plain.example/", 200, 302), ["own=1", "a=1", "b=2"]);
    assert_eq!(cookies("plain.example/", 200, 503), ["own=1"]);
    assert_eq!(cookies("full.example/a", 200, 503), ["own=1", "a=1", "b=2"]);
    for (of_server, status) in [(401, 401), (403, 403), (302, 500), (418, 500), (503, 500)] {
        assert_eq!(cookies("plain.example/", of_server, status), ["own=1"], "{of_server}");
        assert_eq!(cookies("full.example/a", of_server, status), ["own=1", "a=1", "b=2"], "{of_server}");
    }
}

#[test]
fn the_keys_apply_to_ingresses_without_their_own_url() {
    let mut cluster = cluster();
    let own = "fetch http://auth.example:8080/check?from=plain.example";
    let all = |cluster: &TestCluster| {
        ["plain", "open", "out", "unknown"].map(|host| cluster.get(&format!("{host}.example/")))
    };
    assert_eq!(all(&cluster), [own, "web", "web", "404"]);
    cluster.configure(&[("global-auth-url", "http://all.example/")]);
    assert_eq!(all(&cluster), [own, "fetch http://all.example/", "web", "404"]);
    assert_eq!(cluster.get("plain.example/.well-known/acme-challenge/x"), "acme");
    cluster.configure(&[("global-auth-url", "http://all.example/"), ("no-auth-locations", "/x,/")]);
    assert_eq!(all(&cluster), ["web", "web", "web", "404"]);
    let lines = "proxy_set_header X-One \"a b\"; proxy_set_header X-Sent-From $namespace;";
    cluster.configure(&[("global-auth-url", "http://all.example/"), ("global-auth-snippet", lines)]);
    let sent = text(&asked(&cluster, &mut get("open.example/", &[])));
    assert!(
        sent.contains(&"x-one: a b".to_owned()) && sent.contains(&"x-sent-from: default".to_owned()),
        "{sent:?}"
    );
    let bad = [("global-auth-url", "http://all.example/"), ("global-auth-snippet", "deny all;")];
    cluster.configure(&bad);
    assert_eq!(cluster.get("open.example/"), "503");
    cluster.configure(&[]);
    assert_eq!(all(&cluster), [own, "web", "web", "404"]);
}

#[test]
fn an_invalid_key_closes_only_what_it_would_protect() {
    let hosts = |cluster: &TestCluster| {
        let requests = [
            "plain.example/",
            "open.example/",
            "out.example/",
            "open.example/.well-known/acme-challenge/x",
            "unknown.example/",
        ];
        requests.map(|request| cluster.get(request))
    };
    let (own, asked) =
        ("fetch http://auth.example:8080/check?from=plain.example", "fetch http://all.example/");
    let url = ("global-auth-url", "http://all.example/");
    let mut cluster = cluster();
    for (keys, open, expected) in [
        (
            &[("global-auth-url", "all.example")][..],
            "503",
            "global-auth-url: \"all.example\" should be an http or https URL; a name \
          after $ must be a known variable; the routes that it protects answer 503",
        ),
        (&[("global-auth-url", "http://$nothing/")], "503", "the routes that it protects answer 503"),
        (&[url, ("global-auth-snippet", "deny all;")], "503", "the routes that it protects answer 503"),
        (
            &[url, ("global-auth-method", "get")],
            asked,
            "global-auth-method: \"get\" should be a method such as GET or POST; its default is used",
        ),
        (&[url, ("global-auth-signin", "a b")], asked, "its default is used"),
        (&[url, ("global-auth-signin-redirect-param", "a b")], asked, "its default is used"),
        (&[url, ("global-auth-request-redirect", "$nothing")], asked, "its default is used"),
        (&[url, ("global-auth-always-set-cookie", "yes")], asked, "its default is used"),
        (&[url, ("global-auth-cache-key", "$nothing")], asked, "its default is used"),
        (&[url, ("global-auth-cache-duration", "long")], asked, "its default is used"),
        (
            &[url, ("global-auth-response-headers", "X-User, a b")],
            asked,
            "global-auth-response-headers: \"a b\" should be the name of a header; it is left out",
        ),
    ] {
        cluster.configure(keys);
        assert_eq!(hosts(&cluster), [own, open, "web", "acme", "404"], "{keys:?}");
        let problems = cluster.problems();
        let of_keys: Vec<_> = problems.iter().filter(|problem| problem.starts_with("ConfigMap")).collect();
        assert!(matches!(of_keys[..], [one] if one.ends_with(expected)), "{keys:?}: {problems:?}");
        assert!(!problems.iter().any(|problem| problem.contains("default/open")), "{problems:?}");
    }
    let mut exchange = get("open.example/", &[("x-user", "forged")]);
    cluster.configure(&[url, ("global-auth-response-headers", "X-User, a b")]);
    assert_eq!(decided(&cluster, &mut exchange, 200, &[]).0, 200);
    let table = cluster.table.load();
    let mut edits = crate::plan::head_edits::HeadEdits::default();
    table.find("open.example", "/").route().plan.edit_request_head(&exchange, &mut edits);
    assert!(edits.replace("x-user"), "the valid name is kept");
}

#[test]
fn a_configmap_of_another_namespace_needs_the_key() {
    let mut cluster = cluster();
    assert_eq!(cluster.get("far.example/"), "503");
    cluster.configure(&[("allow-cross-namespace-resources", "true")]);
    assert_eq!(cluster.get("far.example/"), "fetch http://auth.example/");
}

#[test]
fn only_who_runs_the_proxy_may_name_local_addresses() {
    for (url, kind) in [
        ("http://127.0.0.1:4180/oauth2/auth", Some("a loopback address")),
        ("http://[::1]/", Some("a loopback address")),
        ("https://localhost/", Some("a loopback address")),
        ("http://169.254.169.254/", Some("a link-local address")),
        ("http://10.0.0.1:80/", None),
        ("http://auth.example?to=127.0.0.1", None),
        ("https://$host/oauth2/auth", None),
    ] {
        let ingress = format!(
            "metadata: {{name: plain, annotations: {{auth-url: '{url}'}}}}\n\
             spec: {{rules: [{{host: plain.example, paths: [[/, Prefix, web]]}}]}}"
        );
        let cluster = TestCluster::configured(&ingress);
        let problems = cluster.problems();
        assert_eq!(problems.len(), usize::from(kind.is_some()), "{url}: {problems:?}");
        assert!(kind.is_none_or(|kind| problems[0].contains(kind)), "{url}: {problems:?}");
        assert!(!asked(&cluster, &mut get("plain.example/", &[])).allow_local, "{url}");
    }
    let mut cluster = cluster();
    for (url, allow_local) in [("http://127.0.0.1:4180/a?b=$host", true), ("http://$host:4180/a", false)] {
        cluster.configure(&[("global-auth-url", url)]);
        assert_eq!(asked(&cluster, &mut get("open.example/", &[])).allow_local, allow_local, "{url}");
    }
}

#[test]
fn a_wrong_password_is_not_sent_to_the_server() {
    let ingress = "
metadata: {name: both, annotations: {auth-url: 'http://auth.example/', auth-type: basic, auth-secret: users}}
spec: {rules: [{host: both.example, paths: [[/, Prefix, web]]}]}";
    let mut cluster = TestCluster::configured(ingress);
    let secret = Secret {
        key: Key::new("default", "users"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("auth".into(), b"ann:{PLAIN}secret".as_slice().into())].into(),
    };
    cluster.apply([Object::Secret(Arc::new(secret))]);
    let right = "Basic YW5uOnNlY3JldA==";
    for (credentials, wanted) in
        [("", "401"), ("Basic YW5uOm5v", "401"), (right, "fetch http://auth.example/")]
    {
        let mut exchange = get("both.example/", &[("authorization", credentials)]);
        assert_eq!(cluster.answer(&mut exchange, 99), wanted, "{credentials}");
    }
}

#[test]
fn the_server_gets_all_addresses_if_endpoints_do() {
    let mut cluster = cluster();
    let headers = [("x-forwarded-for", "1.2.3.4, 5.6.7.8"), ("x-forwarded-for", "9.9.9.9")];
    let keys = [("use-forwarded-headers", "true"), ("compute-full-forwarded-for", "true")];
    for (keys, wanted) in [
        (&keys[..1], "x-forwarded-for: 192.0.2.7"),
        (&keys[1..], "x-forwarded-for: 192.0.2.7"),
        (&keys[..], "x-forwarded-for: 1.2.3.4, 5.6.7.8, 9.9.9.9, 192.0.2.7"),
    ] {
        cluster.configure(keys);
        let sent = text(&asked(&cluster, &mut get("plain.example/", &headers)));
        assert!(sent.iter().any(|line| line == wanted), "{wanted}: {sent:?}");
    }
}

#[test]
fn headers_of_a_snippet_are_sent_if_the_config_map_allows_snippets() {
    let ingress = "
metadata: {name: web, annotations: {auth-url: 'http://auth.example/', auth-snippet: \"proxy_set_header X-Forwarded-Host $http_host;\\n\"}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: free}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}";
    let mut cluster = TestCluster::configured(ingress);
    let keys = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    let high = [keys[0], ("annotations-risk-level", "High")];
    for (keys, answer) in
        [(&keys[..0], "404"), (&keys[..1], "404"), (&keys[1..], "fetch http://auth.example/"), (&high, "404")]
    {
        cluster.configure(keys);
        assert_eq!(
            (cluster.get("a.example/"), cluster.get("b.example/")),
            (answer.into(), "web".into()),
            "{keys:?}"
        );
        let problems = cluster.problems();
        assert!(
            problems.iter().any(|it| it.contains("default/web") && it.contains("auth-snippet")),
            "{problems:?}"
        );
    }
    cluster.configure(&keys[1..]);
    let sent = text(&asked(&cluster, &mut get("a.example:81/", &[])));
    assert!(!sent.iter().any(|line| line.starts_with("x-forwarded-host")), "it is ignored: {sent:?}");
    cluster.configure(&[keys[0], ("annotations-risk-level", "critical")]);
    assert_eq!(cluster.get("a.example/"), "fetch http://auth.example/", "the letter case does not matter");
    cluster.configure(&keys);
    let sent = text(&asked(&cluster, &mut get("a.example:81/", &[("x-forwarded-host", "forged")])));
    assert!(sent.contains(&"x-forwarded-host: a.example:81".to_owned()), "{sent:?}");
    assert!(!cluster.problems().iter().any(|problem| problem.contains("default/web")));
}
