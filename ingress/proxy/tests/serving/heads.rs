//! Heads as annotations and the ConfigMap change them.

use std::sync::Arc;

use cluster::{ConfigMap, Key, Object};

use crate::support::{ScriptedEndpoint, TestCluster, TestOptions, options};

const GET: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

/// A cluster with the Ingress `shop` and a ConfigMap.
fn configured(endpoint: &ScriptedEndpoint) -> TestCluster {
    let mut options = TestOptions::from(options());
    options.routes.config_map = Some(Key::new("ingress", "controller"));
    let mut world = TestCluster::with(options);
    world.shop(&[endpoint.address]);
    world
}

fn configure(world: &mut TestCluster, data: &[(&str, &str)]) {
    let mut data: Vec<_> = data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
    data.sort_unstable();
    world.apply(Object::ConfigMap(Arc::new(ConfigMap { key: Key::new("ingress", "controller"), data })));
}

#[test]
fn a_preflight_request_is_answered_by_the_proxy() {
    let script = ScriptedEndpoint::always("HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n");
    let mut world = TestCluster::serving(&[script.address]);
    world.ingress(
        "shop",
        "shop.example",
        &[("enable-cors", "true"), ("cors-allow-origin", "https://*.one.example"), ("cors-max-age", "5")],
    );
    let ask = |method: &str, origin: &str| {
        world.ask(&format!("{method} / HTTP/1.1\nHost: shop.example\nOrigin: {origin}\n\n"))
    };
    let preflight = ask("OPTIONS", "https://a.one.example");
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://a.one.example"));
    assert_eq!(preflight.header("access-control-max-age"), Some("5"));
    assert_eq!(preflight.header("content-type"), Some("text/plain charset=UTF-8"));
    assert_eq!(preflight.header("content-length"), None);
    assert_eq!(script.connections(), 0);
    let refused = ask("GET", "https://a.one.example");
    assert_eq!((refused.status, refused.header("access-control-max-age")), (403, Some("5")));
    let other = ask("OPTIONS", "https://one.example");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (403, None));
}

#[test]
fn the_config_map_changes_the_headers_of_requests() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = configured(&script);
    let request = "GET /a?b HTTP/1.1\nHost: shop.example\nunder_score: 1\nodd!: 2\n\n";
    let mut lines = |data: &[(&str, &str)]| {
        configure(&mut world, data);
        world.ask(request);
        let head = script.seen().head;
        ["under_score: 1", "odd!: 2", "X-Request-ID: ", "X-Original-URI: /a?b"]
            .map(|line| head.lines().any(|sent| sent.starts_with(line)))
    };
    assert_eq!(lines(&[]), [false, false, true, false]);
    assert_eq!(lines(&[("enable-underscores-in-headers", "true")]), [true, false, true, false]);
    let others = [("ignore-invalid-headers", "false"), ("generate-request-id", "false")];
    assert_eq!(lines(&others), [true, true, false, false]);
    assert_eq!(lines(&[("proxy-add-original-uri-header", "true")]), [false, false, true, true]);
    let log = world.log(4);
    let without_id = log.iter().filter(|line| line.ends_with(" -")).count();
    assert_eq!(without_id, 1, "{log:?}");
}

#[test]
fn the_config_map_changes_the_headers_of_responses() {
    let script = ScriptedEndpoint::always(
        "HTTP/1.1 200 OK\nServer: apache\nX-Secret: 1\nX-Open: 2\nContent-Length: 0\n\n",
    );
    let mut world = configured(&script);
    let mut fields = |data: &[(&str, &str)]| {
        configure(&mut world, data);
        let response = world.ask(GET);
        ["server", "x-secret", "x-open"].map(|name| response.header(name).map(str::to_owned))
    };
    let own = |value: &str| Some(value.to_owned());
    assert_eq!(fields(&[]), [None, own("1"), own("2")]);
    assert_eq!(fields(&[("hide-headers", "X-Secret")]), [None, None, own("2")]);
    assert_eq!(fields(&[("allow-backend-server-header", "true")]), [own("apache"), own("1"), own("2")]);
    let [server, ..] = fields(&[("server-tokens", "true")]);
    assert!(server.as_deref().is_some_and(|server| server.starts_with("portolan/")), "{server:?}");
    let page = world.ask("GET / HTTP/1.1\nHost: unknown.example\n\n");
    assert_eq!((page.status, page.header("server")), (404, server.as_deref()));
}

#[test]
fn redirects_and_cookies_of_endpoints_are_rewritten() {
    let script = ScriptedEndpoint::always(
        "HTTP/1.1 302 Found\nLocation: http://inner.example/a\nSet-Cookie: a=1; Domain=inner.example; Path=/in/x\n\
         Set-Cookie: b=2\nContent-Length: 0\n\n",
    );
    let mut world = TestCluster::serving(&[script.address]);
    let annotations = [
        ("proxy-redirect-from", "http://inner.example/"),
        ("proxy-redirect-to", "/out/"),
        ("proxy-cookie-domain", "inner.example $host"),
        ("proxy-cookie-path", "/in /out"),
        ("upstream-vhost", "$service_name.$namespace.svc"),
        ("connection-proxy-header", "close"),
        ("affinity", "cookie"),
    ];
    world.ingress("shop", "shop.example", &annotations);
    let response = world.ask(GET);
    assert_eq!(response.header("location"), Some("http://shop.example/out/a"));
    let cookies: Vec<_> =
        response.head.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")).collect();
    assert_eq!(cookies[..2], ["a=1; Domain=shop.example; Path=/out/x", "b=2"]);
    assert!(cookies.len() == 3 && cookies[2].starts_with("INGRESSCOOKIE="), "{cookies:?}");
    let head = script.seen().head;
    assert!(head.contains("\nHost: shop.default.svc\n") && head.contains("\nConnection: close\n"), "{head}");
    assert!(head.contains("\nX-Forwarded-Host: shop.example\n"), "{head}");
}
