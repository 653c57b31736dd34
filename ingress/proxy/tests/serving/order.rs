//! The order in which requests are refused and redirected, which is that of nginx's phases.

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
