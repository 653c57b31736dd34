//! Snippets as clients and endpoints see them.

use crate::support::{ScriptedEndpoint, TestCluster, one_worker};

const OK: &str = "HTTP/1.1 200 OK\nServer: apache\nX-Hidden-A: 1\nX-Powered-By: php\nSet-Cookie: k=1; Path=/\nContent-Length: 2\n\nok";

/// A cluster whose Ingress for shop.example has a `configuration-snippet`.
fn serving(script: &ScriptedEndpoint, annotations: &[(&str, &str)]) -> TestCluster {
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    world.configure(&[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")]);
    world.ingress("shop", "shop.example", annotations);
    world
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\nHost: shop.example\nX-Request-ID: abc\nX-Auth-User: forged\n\n")
}

#[test]
fn heads_are_changed_on_the_wire() {
    let script = ScriptedEndpoint::always(OK);
    let snippet = "more_set_headers \"Request-Id: $req_id\";
        more_clear_headers 'X-Hidden-*';
        proxy_hide_header X-Powered-By;
        proxy_cookie_path / \"/; Secure\";
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Uri $uri;
        more_clear_input_headers 'X-Auth-*';
        if ($arg_x = 1) { add_header X-One 1; }";
    let world = serving(&script, &[("configuration-snippet", snippet)]);
    let response = world.ask(&get("/a%0ab?x=1"));
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    assert_eq!(response.header("request-id"), Some("abc"));
    assert_eq!(response.header("set-cookie"), Some("k=1; Path=/; Secure"));
    assert_eq!(response.header("x-one"), Some("1"));
    for name in ["x-hidden-a", "x-powered-by", "server"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    let head = script.seen().head;
    assert!(head.starts_with("GET /a%0ab?x=1 HTTP/1.1\n"), "{head}");
    assert_eq!(head.matches("X-Forwarded-Proto: ").count(), 1, "{head}");
    assert!(head.contains("X-Forwarded-Proto: https\n") && head.contains("X-Uri: /a%0Ab\n"), "{head}");
    assert!(!head.contains("forged"), "{head}");
    assert_eq!(world.ask(&get("/")).header("x-one"), None);
}

#[test]
fn responses_of_the_proxy_itself_have_the_headers_too() {
    let script = ScriptedEndpoint::always(OK);
    let snippet = "more_set_headers 'X-A: 1' 'Content-Type: text/plain';
        add_header X-B 2;
        if ($uri = /text) { return 200 'it is $host'; }
        if ($uri = /gone) { return 410; }
        if ($uri = /absent) { return 404 ''; }
        if ($uri = /nothing) { return 200 ''; }
        if ($uri = /moved) { return 301 /new; }";
    let world = serving(&script, &[("configuration-snippet", snippet)]);
    let text = world.ask(&get("/text"));
    assert_eq!((text.status, text.body.as_str()), (200, "it is shop.example"));
    assert_eq!((text.header("x-a"), text.header("x-b")), (Some("1"), Some("2")));
    assert_eq!(text.header("content-type"), Some("text/plain"));
    let gone = world.ask(&get("/gone"));
    assert_eq!((gone.status, gone.header("x-a"), gone.header("x-b")), (410, Some("1"), None));
    let absent = world.ask(&get("/absent"));
    assert!(absent.status == 404 && absent.body.contains("404 Not Found"), "nginx's page: {}", absent.body);
    let nothing = world.ask(&get("/nothing"));
    assert_eq!((nothing.status, nothing.body.as_str()), (200, ""));
    let moved = world.ask(&get("/moved"));
    assert_eq!((moved.status, moved.header("location")), (301, Some("http://shop.example/new")));
    assert_eq!(script.connections(), 0);
}

#[test]
fn a_rewrite_chooses_the_rule_of_the_new_path() {
    let (shop, other) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let snippet = "rewrite ^/old/(.*)$ /new/$1?from=old last;";
    let mut world = serving(&shop, &[("server-snippet", snippet)]);
    world.ingress_with("other", "shop.example", "/new", 80, &[], None);
    world.service("other", &[other.address]);
    world.ask(&get("/old/a%20b?c"));
    assert_eq!(shop.connections(), 0);
    assert!(other.seen().head.starts_with("GET /new/a%20b?from=old&c HTTP/1.1\n"));
}

#[test]
fn status_444_closes_the_connection_without_a_response() {
    let script = ScriptedEndpoint::always(OK);
    let world = serving(&script, &[("configuration-snippet", "if ($uri = /drop) { return 444; }")]);
    let mut client = world.client();
    client.send(&get("/drop"));
    assert!(client.is_closed());
    assert!(world.log(1)[0].contains("\" 444 0 "), "{:?}", world.log(1));
    assert_eq!(world.ask(&get("/")).status, 200);
}
