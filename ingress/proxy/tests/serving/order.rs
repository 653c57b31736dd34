//! The order in which requests are refused and redirected, which is that of nginx's phases.

use cluster::{Key, Object, Secret};

use crate::support::{ScriptedEndpoint, TestCluster, one_worker};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

#[test]
fn a_body_that_is_too_long_is_refused_after_the_checks_of_the_host_and_before_redirects() {
    let endpoint = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    world.configure(&[("block-user-agents", "~*bad")]);
    let annotations = [("proxy-body-size", "4"), ("app-root", "/a/")];
    world.ingress_with("shop", "shop.example", "/a/", 80, &annotations, None);
    for (target, lines, body, status) in [
        ("/a/", "User-Agent: bad\n", "hello", 403),
        ("/", "User-Agent: bad\n", "hello", 403),
        ("/", "", "hello", 302),
        ("/a", "", "hello", 413),
        ("/a", "", "hell", 301),
        ("/a/", "", "hello", 413),
        ("/a/", "", "hell", 200),
    ] {
        let length = body.len();
        let request =
            format!("POST {target} HTTP/1.1\nHost: shop.example\n{lines}Content-Length: {length}\n\n{body}");
        assert_eq!(world.ask(&request).status, status, "{target} {lines} {body}");
    }
    let redirects = [("proxy-body-size", "4"), ("permanent-redirect", "https://other.example/")];
    world.ingress("shop", "shop.example", &redirects);
    let request = "POST / HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";
    assert_eq!(world.ask(request).status, 413, "redirects of a rule come after the limit");
}

#[test]
fn a_service_without_endpoints_is_found_before_limits_and_authentication() {
    let (endpoint, errors) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let mut world = TestCluster::serving_with(one_worker(), &[]);
    let users = Secret {
        key: Key::new("default", "users"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("auth".into(), b"ann:{PLAIN}bar\n".as_slice().into())].into(),
    };
    world.apply(Object::Secret(users.into()));
    let ask = |world: &TestCluster| world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status;
    let basic = [("auth-type", "basic"), ("auth-secret", "users")];
    for (rules, status) in [
        (&basic[..], 401),
        (&[("denylist-source-range", "127.0.0.1")], 403),
        (&[("limit-rpm", "1"), ("limit-burst-multiplier", "1"), ("auth-url", "http://127.0.0.1:1/")], 500),
    ] {
        world.ingress("shop", "shop.example", rules);
        world.endpoints("shop", &[]);
        for _ in 0..4 {
            assert_eq!(ask(&world), 503, "{rules:?}");
        }
        world.endpoints("shop", &[endpoint.address]);
        assert_eq!(ask(&world), status, "limits have not counted the others: {rules:?}");
    }
    world.ingress("shop", "shop.example", &[&basic[..], &[("default-backend", "errors")]].concat());
    world.service("errors", &[errors.address]);
    world.endpoints("shop", &[]);
    assert_eq!(ask(&world), 401, "the default backend of the Ingress has endpoints");
    world.ingress(
        "shop",
        "shop.example",
        &[&basic[..], &[("default-backend", "errors"), ("custom-http-errors", "503")]].concat(),
    );
    world.endpoints("errors", &[]);
    assert_eq!(ask(&world), 404, "the built-in page of errors");
    assert!(endpoint.has_no_request() && errors.has_no_request());
}
