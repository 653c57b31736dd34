//! Errors that a default backend responds to (`custom-http-errors`, `default-backend`).

use cluster::{Key, Object, Secret};

use crate::support::{ScriptedEndpoint, TestCluster, TestOptions, one_worker, unused_address};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\nContent-Length: 4\n\nbusy";
const TEAPOT: &str = "HTTP/1.1 418 Teapot\nContent-Length: 6\nX-Page: yes\n\nteapot";
/// The annotations of an Ingress with pages for some errors.
const PAGES: [(&str, &str); 2] =
    [("custom-http-errors", "401,403,404,413,502,503"), ("default-backend", "errors")];

/// The Ingress `shop`, whose errors the Service `errors` responds to, and further annotations.
fn with_pages(endpoint: &ScriptedEndpoint, errors: &ScriptedEndpoint, more: &[(&str, &str)]) -> TestCluster {
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    world.service("errors", &[errors.address]);
    world.ingress("shop", "shop.example", &[&PAGES, more].concat());
    world
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\nHost: shop.example\n\n")
}

/// The Secret `users` with the user `ann`.
fn users() -> Object {
    let secret = Secret {
        key: Key::new("default", "users"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("auth".into(), b"ann:{PLAIN}bar\n".as_slice().into())].into(),
    };
    Object::Secret(secret.into())
}

#[test]
fn the_default_backend_responds_instead_of_an_endpoint() {
    let (endpoint, errors) = (ScriptedEndpoint::always(UNAVAILABLE), ScriptedEndpoint::always(TEAPOT));
    let world = with_pages(&endpoint, &errors, &[("upstream-vhost", "internal")]);
    let request = "POST /a/b?c=d HTTP/1.1\nHost: shop.example:80\nAccept: text/html\nX-Code: 200\nX-Request-ID: id\n\
                   Content-Length: 5\n\nhello";
    let response = world.ask(request);
    assert_eq!((response.status, &*response.body), (418, "teapot"), "{}", response.head);
    assert_eq!(response.header("x-page"), Some("yes"));
    assert_eq!(endpoint.seen().header("x-code"), Some("200"));
    let seen = errors.seen();
    assert!(seen.head.starts_with("POST /?c=d HTTP/1.1\n"), "{}", seen.head);
    assert_eq!(seen.body, "hello");
    for (name, value) in [
        ("host", "shop.example:80"),
        ("x-code", "503"),
        ("x-format", "text/html"),
        ("x-original-uri", "/a/b?c=d"),
        ("x-namespace", "default"),
        ("x-ingress-name", "shop"),
        ("x-service-name", "shop"),
        ("x-service-port", "80"),
        ("x-request-id", "id"),
        ("x-forwarded-for", "127.0.0.1"),
        ("content-length", "5"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let line = world.log(1).remove(0);
    let upstream = "[custom-default-backend-default-errors] []";
    let addresses = format!("{} : {} 0 : 6 ", endpoint.address, errors.address);
    assert!(line.contains("\" 418 6 \"") && line.contains(&format!("{upstream} {addresses}")), "{line}");
    assert!(line.ends_with(" 503 : 418 id"), "{line}");
}

#[test]
fn connections_are_kept_after_a_small_response_that_was_replaced() {
    for (length, connections) in [(4, 1), (300_000, 3)] {
        let endpoint = ScriptedEndpoint::new(move |connection| {
            let body = "x".repeat(length);
            let response = format!("HTTP/1.1 503 Service Unavailable\nContent-Length: {length}\n\n{body}");
            while connection.request().is_some() && connection.send(&response).is_ok() {}
        });
        let errors = ScriptedEndpoint::always(TEAPOT);
        let world = with_pages(&endpoint, &errors, &[]);
        let mut client = world.client();
        for _ in 0..3 {
            client.send(&get("/"));
            assert_eq!(client.response().status, 418);
        }
        assert_eq!((endpoint.connections(), errors.connections()), (connections, 1), "{length}");
    }
}

#[test]
fn errors_of_the_proxy_have_pages_too() {
    let endpoint = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let errors = ScriptedEndpoint::always(TEAPOT);
    let mut world = with_pages(&endpoint, &errors, &[("proxy-body-size", "4")]);
    let post = "POST /x HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";
    assert_eq!(world.ask(post).status, 418);
    let seen = errors.seen();
    assert_eq!((seen.header("x-code"), seen.header("content-length")), (Some("413"), Some("0")));
    assert_eq!(world.ask(&get("/")).status, 200);
    world.endpoints("shop", &[unused_address()]);
    assert_eq!(world.ask(&get("/")).status, 418);
    assert_eq!(errors.seen().header("x-code"), Some("502"));
    world.ingress("shop", "shop.example", &[&PAGES[..], &[("denylist-source-range", "127.0.0.1")]].concat());
    assert_eq!(world.ask(post).status, 418);
    let seen = errors.seen();
    assert_eq!((seen.header("x-code"), &*seen.body), (Some("403"), "hello"));
}

#[test]
fn a_page_for_401_keeps_the_challenge() {
    let endpoint = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let errors = ScriptedEndpoint::always("HTTP/1.1 401 Unauthorized\nContent-Length: 5\n\nlogin");
    let auth = [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "shop")];
    let mut world = with_pages(&endpoint, &errors, &auth);
    world.apply(users());
    let response = world.ask(&get("/"));
    assert_eq!((response.status, &*response.body), (401, "login"), "{}", response.head);
    assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"shop\""));
    assert!(endpoint.has_no_request());
}

#[test]
fn the_default_backend_does_not_get_the_fields_that_the_route_removes_or_sets() {
    let (endpoint, errors) = (ScriptedEndpoint::always(UNAVAILABLE), ScriptedEndpoint::always(TEAPOT));
    let server = ScriptedEndpoint::always("HTTP/1.1 200 OK\nX-User: ann\nContent-Length: 0\n\n");
    let url = format!("http://{}/", server.address);
    let certificates = [("auth-tls-secret", "default/ca"), ("ssl-redirect", "false")];
    let basic = [("auth-type", "basic"), ("auth-secret", "users")];
    let external = [("auth-url", &*url), ("auth-response-headers", "X-User"), ("upstream-vhost", "internal")];
    let mut world = with_pages(&endpoint, &errors, &[&certificates[..], &basic, &external].concat());
    world.authorities("ca", &net::testing::TestAuthority::new("Test CA").pem());
    world.apply(users());
    let request = "GET / HTTP/1.1\nHost: shop.example\nAuthorization: Basic YW5uOmJhcg==\nX-User: root\n\
                   ssl-client-verify: SUCCESS\nssl-client-subject-dn: CN=root\nX-Other: kept\n\n";
    assert_eq!(world.ask(request).status, 418);
    assert_eq!(endpoint.seen().header("x-user"), Some("ann"));
    let seen = errors.seen();
    for name in ["authorization", "x-user", "ssl-client-verify", "ssl-client-subject-dn"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    for (name, value) in
        [("x-code", "503"), ("x-other", "kept"), ("host", "shop.example"), ("x-forwarded-for", "127.0.0.1")]
    {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[test]
fn an_error_of_the_default_backend_is_not_replaced() {
    let endpoint = ScriptedEndpoint::always(UNAVAILABLE);
    let errors = ScriptedEndpoint::always("HTTP/1.1 404 Not Found\nContent-Length: 4\n\nnone");
    let mut world = with_pages(&endpoint, &errors, &[]);
    let response = world.ask(&get("/"));
    assert_eq!((response.status, &*response.body), (404, "none"));
    assert_eq!(errors.all_seen().len(), 1);
    world.endpoints("errors", &[unused_address()]);
    let response = world.ask(&get("/"));
    assert_eq!(response.status, 502);
    assert!(response.body.contains("<h1>502 Bad Gateway</h1>"), "{}", response.body);
}

#[test]
fn responses_of_endpoints_pass_where_they_are_not_intercepted() {
    let (endpoint, errors) = (ScriptedEndpoint::always(UNAVAILABLE), ScriptedEndpoint::always(TEAPOT));
    let mut world = with_pages(&endpoint, &errors, &[("disable-proxy-intercept-errors", "true")]);
    assert_eq!(world.ask(&get("/")).body, "busy");
    world.endpoints("shop", &[]);
    // The default backend gets the request itself, and is not described to itself as an error.
    assert_eq!(world.ask(&get("/")).body, "teapot");
    assert!(errors.seen().head.starts_with("GET / "));
}

#[test]
fn the_default_backend_gets_requests_while_a_service_has_no_endpoint() {
    let errors = ScriptedEndpoint::always(TEAPOT);
    let mut world = TestCluster::serving_with(one_worker(), &[]);
    world.ingress("shop", "shop.example", &[("default-backend", "errors")]);
    assert_eq!(world.ask(&get("/")).status, 503, "the Service does not exist");
    world.service("errors", &[errors.address]);
    assert_eq!(world.ask(&get("/a?b")).status, 418);
    let seen = errors.seen();
    assert!(seen.head.starts_with("GET /a?b HTTP/1.1\n"), "{}", seen.head);
    assert_eq!((seen.header("x-code"), seen.header("x-service-name")), (Some("503"), Some("shop")));
    assert_eq!(seen.header("x-original-uri"), None);
    world.endpoints("errors", &[]);
    assert_eq!(world.ask(&get("/")).status, 503);
    let log = world.log(3);
    assert!(log[1].contains("[custom-default-backend-default-errors]"), "{log:?}");
    assert!(log[2].contains("[default-shop-80]"), "{log:?}");
}

#[test]
fn without_a_default_backend_the_page_is_404() {
    // [controller.go getDefaultUpstream: the built-in page answers instead]
    let endpoint = ScriptedEndpoint::always(UNAVAILABLE);
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    world.configure(&[("custom-http-errors", "503")]);
    let response = world.ask(&get("/"));
    assert_eq!(response.status, 404);
    assert!(response.body.contains("<h1>404 Not Found</h1>"), "{}", response.body);
}

#[test]
fn the_list_of_the_config_map_uses_the_default_backend_of_all() {
    let (endpoint, errors) = (ScriptedEndpoint::always(UNAVAILABLE), ScriptedEndpoint::always(TEAPOT));
    let mut options = TestOptions::from(one_worker());
    options.routes.default_backend_service = Some(Key::new("default", "errors"));
    let mut world = TestCluster::serving_with(options, &[endpoint.address]);
    world.service("errors", &[errors.address]);
    assert_eq!(world.ask(&get("/")).status, 503);
    world.configure(&[("custom-http-errors", "503,418")]);
    assert_eq!(world.ask(&get("/")).status, 418);
    assert_eq!(errors.seen().header("x-code"), Some("503"));
    // A host that no Ingress covers: the default backend gets the request, and then its error.
    assert_eq!(world.ask("GET /x HTTP/1.1\nHost: other.example\n\n").status, 418);
    let seen = errors.all_seen();
    let heads: Vec<_> = seen.iter().map(|seen| (seen.head.lines().next(), seen.header("x-code"))).collect();
    assert_eq!(heads, [(Some("GET /x HTTP/1.1"), None), (Some("GET / HTTP/1.1"), Some("418"))]);
    assert!(world.log(3)[1].contains("[upstream-default-backend] []"), "{:?}", world.log(3));
}

#[test]
fn a_replaced_response_may_follow_attempts_at_other_endpoints() {
    let [one, other] = ScriptedEndpoint::pair(UNAVAILABLE);
    let errors = ScriptedEndpoint::always(TEAPOT);
    let mut world = with_pages(
        &one,
        &errors,
        &[("proxy-next-upstream", "error http_503"), ("proxy-next-upstream-tries", "2")],
    );
    world.endpoints("shop", &[one.address, other.address]);
    world.endpoints("errors", &[unused_address(), errors.address]);
    assert_eq!(world.ask(&get("/")).status, 418);
    let statuses = world.log(1)[0].rsplit(' ').skip(1).take(5).collect::<Vec<_>>().join(" ");
    assert!(
        statuses.starts_with("418 : 503 503,") || statuses.starts_with("418 502, : 503 503,"),
        "{statuses}"
    );
}

#[test]
fn a_body_that_was_not_kept_is_left_out() {
    let (endpoint, errors) = (ScriptedEndpoint::always(UNAVAILABLE), ScriptedEndpoint::always(TEAPOT));
    let world = with_pages(&endpoint, &errors, &[("proxy-body-size", "0")]);
    let post = |size: usize| {
        format!("POST / HTTP/1.1\nHost: shop.example\nContent-Length: {size}\n\n{}", "x".repeat(size))
    };
    assert_eq!(world.ask(&post(2_000_000)).status, 418);
    assert_eq!(errors.seen().header("content-length"), Some("0"));
    assert_eq!(world.ask(&post(300_000)).status, 418);
    assert_eq!(errors.seen().body.len(), 300_000, "received before it was sent");
    let chunked = "POST / HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n";
    assert_eq!(world.ask(chunked).status, 418);
    assert_eq!(errors.seen().body, "hello");
}

#[test]
fn the_page_of_an_error_has_no_body_for_head() {
    let endpoint = ScriptedEndpoint::always("HTTP/1.1 503 Service Unavailable\nContent-Length: 4\n\n");
    let errors = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 6\n\n");
    let world = with_pages(&endpoint, &errors, &[]);
    let mut client = world.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\nHost: shop.example\n\n");
        let head = client.response();
        assert!(head.head.starts_with("HTTP/1.1 200 OK\n"), "{}", head.head);
        assert_eq!(head.header("content-length"), Some("6"));
    }
}
