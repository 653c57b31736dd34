//! Basic and external authentication of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use ingress_proxy::ProxyOptions;

use crate::support::{ScriptedEndpoint, TestCluster, name_server, one_worker, unused_address};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const BCRYPT: &str = "ann:$2b$05$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6\n";

/// A request of `shop.example` with these further lines.
fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\nHost: shop.example\n{lines}\n")
}

/// A cluster whose Ingress has these annotations.
fn guarded(annotations: &[(&str, &str)], endpoint: &ScriptedEndpoint) -> TestCluster {
    let mut world = TestCluster::serving_with(one_worker(), &[endpoint.address]);
    world.ingress("shop", "shop.example", annotations);
    world
}

/// An authentication server that answers with a status that the test sets.
fn auth_server() -> (ScriptedEndpoint, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let shown = status.clone();
    let server = ScriptedEndpoint::new(move |connection| {
        connection.request();
        let status = shown.load(SeqCst);
        let fields = "WWW-Authenticate: Bearer\nX-User: ann\nSet-Cookie: s=1\nContent-Length: 0";
        let _ = connection.send(&format!("HTTP/1.1 {status} X\n{fields}\n\n"));
    });
    (server, status)
}

#[test]
fn requests_with_a_password_are_served_and_the_endpoint_does_not_get_it() {
    let endpoint = ScriptedEndpoint::always(OK);
    let annotations = [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "shop")];
    let mut world = guarded(&annotations, &endpoint);
    let right = get("/", "Authorization: Basic YW5uOmJhcg==\n");
    assert_eq!(world.ask(&right).status, 503, "the Secret is missing");
    world.users("users", BCRYPT);
    for _ in 0..2 {
        assert_eq!(world.ask(&right).status, 200);
        assert_eq!(endpoint.seen().header("authorization"), None);
    }
    let wrong = world.ask(&get("/", "Authorization: Basic YW5uOmJheg==\n"));
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, Some("Basic realm=\"shop\"")));
    assert!(wrong.body.contains("401 Authorization Required"), "{}", wrong.body);
    assert_eq!(world.ask(&get("/", "")).status, 401);
    assert!(endpoint.has_no_request());
    let counted = |outcome: &str, value: u32| {
        format!("portolan_password_checks_total{{outcome=\"{outcome}\"}} {value}")
    };
    let text = world.registry.text();
    assert!(text.contains(&counted("verified", 2)) && text.contains(&counted("remembered", 1)), "{text}");
    world.users("users", "ann:{PLAIN}other\n");
    assert_eq!(world.ask(&right).status, 401, "a remembered password belongs to its hash");
}

#[test]
fn another_server_decides_about_requests() {
    let endpoint = ScriptedEndpoint::always(OK);
    let (server, status) = auth_server();
    let url = format!("http://{}/check", server.address);
    let world = guarded(&[("auth-url", &url), ("auth-response-headers", "X-User, X-None")], &endpoint);
    let request =
        "POST /p?q HTTP/1.1\nHost: shop.example\nX-User: forged\nX-None: forged\nContent-Length: 5\n\nhello";
    let response = world.ask(request);
    assert_eq!((response.status, response.header("set-cookie")), (200, Some("s=1")));
    let asked = server.seen();
    assert!(asked.head.starts_with("GET /check HTTP/1.1\n"), "{}", asked.head);
    assert_eq!((asked.header("x-original-method"), asked.header("content-length")), (Some("POST"), None));
    assert_eq!(asked.header("x-original-url"), Some("http://shop.example/p?q"));
    let seen = endpoint.seen();
    assert_eq!(
        (seen.header("x-user"), seen.header("x-none"), seen.body.as_str()),
        (Some("ann"), None, "hello")
    );
    assert_eq!(asked.header("x-request-id"), seen.header("x-request-id"));
    for (answer, wanted) in [(401, 401), (403, 403), (302, 500), (500, 500)] {
        status.store(answer, SeqCst);
        let response = world.ask(&get("/", ""));
        assert_eq!(response.status, wanted, "{answer}");
        assert_eq!(response.header("www-authenticate"), (wanted == 401).then_some("Bearer"), "{answer}");
        assert_eq!(response.header("set-cookie"), None, "{answer}");
    }
    assert!(endpoint.has_no_request());
}

#[test]
fn a_dead_or_slow_server_lets_nothing_pass() {
    let endpoint = ScriptedEndpoint::always(OK);
    let dead = format!("http://{}/", unused_address());
    let silent = ScriptedEndpoint::new(|connection| {
        connection.request();
        // Until the proxy gives up.
        connection.request();
    });
    let slow = format!("http://{}/", silent.address);
    let garbage = ScriptedEndpoint::always("nonsense\n\n");
    let garbage = format!("http://{}/", garbage.address);
    for url in [&dead, &slow, &garbage] {
        let annotations =
            [("auth-url", url.as_str()), ("proxy-read-timeout", "1"), ("proxy-connect-timeout", "1")];
        let world = guarded(&annotations, &endpoint);
        assert_eq!(world.ask(&get("/", "")).status, 500, "{url}");
    }
    assert!(endpoint.has_no_request());
}

#[test]
fn answers_of_the_server_are_used_again_as_long_as_the_key_says() {
    let endpoint = ScriptedEndpoint::always(OK);
    let server = ScriptedEndpoint::new(|connection| {
        connection.request();
        let _ = connection.send("HTTP/1.1 200 OK\nX-User: ann\nContent-Length: 0\n\n");
    });
    let url = format!("http://{}/", server.address);
    let annotations =
        [("auth-url", url.as_str()), ("auth-cache-key", "$cookie_s"), ("auth-response-headers", "x-user")];
    let world = guarded(&annotations, &endpoint);
    for cookie in ["a", "b", "a", "b", "a"] {
        assert_eq!(world.ask(&get("/", &format!("Cookie: s={cookie}\n"))).status, 200);
        assert_eq!(endpoint.seen().header("x-user"), Some("ann"));
    }
    assert_eq!(server.all_seen().len(), 2);
    let text = world.registry.text();
    for (outcome, count) in [("hit", 3), ("miss", 2)] {
        assert!(
            text.contains(&format!("portolan_auth_cache_total{{outcome=\"{outcome}\"}} {count}")),
            "{text}"
        );
    }
}

#[test]
fn with_satisfy_any_one_way_in_is_enough() {
    let endpoint = ScriptedEndpoint::always(OK);
    let (server, status) = auth_server();
    let url = format!("http://{}/", server.address);
    let annotations = [
        ("satisfy", "any"),
        ("auth-type", "basic"),
        ("auth-secret", "users"),
        ("auth-url", &url),
        ("auth-signin", "http://$host/start"),
    ];
    let mut world = guarded(&annotations, &endpoint);
    world.users("users", BCRYPT);
    let right = get("/", "Authorization: Basic YW5uOmJhcg==\n");
    status.store(401, SeqCst);
    assert_eq!(world.ask(&right).status, 200);
    let refused = world.ask(&get("/?a=b", ""));
    let location = Some("http://shop.example/start?rd=http://shop.example%2F%3Fa%3Db");
    assert_eq!((refused.status, refused.header("location")), (302, location));
    status.store(200, SeqCst);
    assert_eq!(world.ask(&get("/", "")).status, 200);
}

#[test]
fn with_satisfy_any_the_browser_is_asked_for_the_password_whatever_the_server_says() {
    let endpoint = ScriptedEndpoint::always(OK);
    let server = ScriptedEndpoint::always("HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n");
    let url = format!("http://{}/", server.address);
    let annotations =
        [("satisfy", "any"), ("auth-type", "basic"), ("auth-secret", "users"), ("auth-url", &url)];
    let mut world = guarded(&annotations, &endpoint);
    world.users("users", BCRYPT);
    let refused = world.ask(&get("/", ""));
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Basic realm=\"\"")));
}

#[test]
fn connections_to_the_server_are_kept_as_the_annotation_says() {
    let endpoint = ScriptedEndpoint::always(OK);
    // Answers two requests on each connection, then closes it without a word.
    let server = ScriptedEndpoint::new(|connection| {
        for _ in 0..2 {
            if connection.request().is_none() {
                return;
            }
            let _ = connection.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
        }
    });
    let url = format!("http://{}/", server.address);
    let world = guarded(&[("auth-url", url.as_str()), ("auth-keepalive", "1")], &endpoint);
    for _ in 0..6 {
        assert_eq!(world.ask(&get("/", "")).status, 200);
    }
    let asked = server.all_seen();
    assert_eq!((asked.len(), server.connections()), (6, 3));
    assert!(asked.iter().all(|request| request.header("connection").is_none()));
}

#[test]
fn an_authentication_server_behind_the_proxy_itself_is_asked_and_a_loop_ends() {
    let endpoint = ScriptedEndpoint::always(OK);
    let options =
        ProxyOptions { name_servers: vec![name_server(&["127.0.0.1".parse().unwrap()])], ..one_worker() };
    let mut world = TestCluster::serving_with(options, &[endpoint.address]);
    let own = format!("http://auth.example:{}/check", world.http.port());
    let annotations = [("auth-url", own.as_str())];
    let auth_request = get("/", "").replace("shop.example", "auth.example");
    world.ingress("shop", "auth.example", &annotations);
    assert_eq!(world.ask(&auth_request).status, 500, "each request to the server needs another one");
    assert!(endpoint.has_no_request());
    world.ingress("shop", "auth.example", &[]);
    world.service("front", &[endpoint.address]);
    world.ingress("front", "front.example", &annotations);
    assert_eq!(world.ask(&get("/", "").replace("shop.example", "front.example")).status, 200);
    let seen = [endpoint.seen(), endpoint.seen()].map(|it| it.header("cdn-loop").map(str::to_owned));
    assert_eq!(seen, [Some("portolan".to_owned()), None], "the request to the server, and the client's");
}

#[test]
fn requests_to_authentication_servers_are_logged_if_the_config_map_asks_for_it() {
    let endpoint = ScriptedEndpoint::always(OK);
    let (server, status) = auth_server();
    let url = format!("http://{}/check", server.address);
    let mut world = guarded(&[("auth-url", &url)], &endpoint);
    assert_eq!(world.ask(&get("/quiet", "")).status, 200);
    world.configure(&[("enable-auth-access-log", "true")]);
    assert_eq!(world.ask(&get("/a", "")).status, 200);
    status.store(401, SeqCst);
    assert_eq!(world.ask(&get("/b", "")).status, 401);
    let lines = world.log(5);
    let (asked, served) = (format!("] [] {} 0 ", server.address), format!("] [] {} ", endpoint.address));
    assert!(lines[0].contains("GET /quiet ") && lines[0].contains(&served), "{lines:?}");
    assert!(lines[1].contains("GET /a HTTP/1.1\" 200 0 ") && lines[1].contains(&asked), "{lines:?}");
    assert!(lines[2].contains("GET /a HTTP/1.1\" 200 2 ") && lines[2].contains(&served), "{lines:?}");
    assert!(lines[3].contains("GET /b HTTP/1.1\" 401 0 ") && lines[3].contains(&asked), "{lines:?}");
    assert!(lines[4].contains("GET /b HTTP/1.1\" 401 ") && lines[4].contains("] [] - - - - "), "{lines:?}");
}
