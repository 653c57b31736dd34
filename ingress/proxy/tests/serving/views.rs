//! Views that change while requests are open.

use cluster::{Event, Key, Kind};

use crate::support::{ScriptedEndpoint, TestCluster, one_worker, read_chunk, read_head};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const GET: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

#[test]
fn an_open_request_continues_when_its_route_and_endpoint_are_removed() {
    let (script, go) = ScriptedEndpoint::in_two_chunks();
    let mut world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send(GET);
    read_head(&mut client.stream).unwrap();
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"first");
    world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", "shop"))], 9);
    world.endpoints("shop", &[]);
    assert_eq!(world.ask(GET).status, 404);
    go.send(()).unwrap();
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"last");
    assert!(read_chunk(&mut client.stream).unwrap().is_empty());
    client.send(GET);
    assert_eq!(client.response().status, 404, "the connection itself is kept");
}

#[test]
fn endpoints_are_used_in_turn_and_updated_with_their_service() {
    let scripts = [ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK)];
    let addresses = scripts.each_ref().map(|script| script.address);
    let mut world = TestCluster::serving_with(one_worker(), &addresses[..2]);
    let counts = |scripts: &[ScriptedEndpoint; 3]| scripts.each_ref().map(|script| script.all_seen().len());
    for _ in 0..6 {
        assert_eq!(world.ask(GET).status, 200);
    }
    assert_eq!(counts(&scripts), [3, 3, 0]);
    world.endpoints("shop", &addresses[1..]);
    for _ in 0..6 {
        assert_eq!(world.ask(GET).status, 200);
    }
    assert_eq!(counts(&scripts), [0, 3, 3]);
    world.endpoints("shop", &[]);
    assert_eq!(world.ask(GET).status, 503);
}

/// Answers every request, and reports when the proxy has closed the connection.
fn reports_its_end() -> ScriptedEndpoint {
    ScriptedEndpoint::new(|connection| {
        while connection.request().is_some() {
            let _ = connection.send(OK);
        }
        connection.report(crate::support::Response { status: 0, head: "closed".into(), body: String::new() });
    })
}

#[test]
fn idle_connections_to_removed_endpoints_are_closed() {
    let script = reports_its_end();
    let mut world = TestCluster::serving(&[script.address]);
    assert_eq!(world.ask(GET).status, 200);
    script.seen();
    world.endpoints("shop", &[]);
    assert_eq!(script.seen().head, "closed");
}

#[test]
fn a_connection_that_was_in_use_while_others_were_closed_is_kept() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        while connection.request().is_some() {
            hold();
            let _ = connection.send(OK);
        }
    });
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let sweep = |world: &mut TestCluster, name: &str| {
        let other = reports_its_end();
        world.service(name, &[other.address]);
        world.ingress(name, "other.example", &[]);
        assert_eq!(world.ask("GET / HTTP/1.1\nHost: other.example\n\n").status, 200);
        other.seen();
        world.endpoints(name, &[]);
        assert_eq!(other.seen().head, "closed");
        world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", name))], 9);
    };
    let mut client = world.client();
    client.send(GET);
    script.seen();
    sweep(&mut world, "while-in-use");
    go.send(()).unwrap();
    assert_eq!(client.response().status, 200);
    sweep(&mut world, "while-idle");
    client.send(GET);
    script.seen();
    go.send(()).unwrap();
    assert_eq!(client.response().status, 200);
    assert_eq!(script.connections(), 1);
}

/// Changes everything that a request to the host depends on, without a difference for it: annotations of its Ingress, endpoints
/// beside those that there are, a certificate, and a default of the ConfigMap, which rebuilds all routes.
fn change_around(world: &mut TestCluster, endpoints: &[std::net::SocketAddr], annotations: &[(&str, &str)]) {
    let changed: Vec<_> = annotations.iter().copied().chain([("proxy-read-timeout", "50")]).collect();
    world.ingress("shop", "shop.example", &changed);
    world.endpoints("shop", endpoints);
    world.secret("unrelated", "", "");
    world.configure(&[("proxy-send-timeout", "50")]);
}

#[test]
fn a_connection_to_an_unchanged_endpoint_is_used_again_after_a_change() {
    let (script, other) = (ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK));
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    assert_eq!(world.ask(GET).status, 200);
    change_around(&mut world, &[script.address, other.address], &[]);
    for _ in 0..4 {
        assert_eq!(world.ask(GET).status, 200);
    }
    assert!(!other.has_no_request(), "the new endpoint is in use");
    assert_eq!(script.connections(), 1);
}

#[test]
fn a_session_keeps_its_endpoint_over_changes() {
    let scripts = [ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK)];
    let addresses = scripts.each_ref().map(|script| script.address);
    let affinity = [("affinity", "cookie"), ("affinity-mode", "persistent")];
    let mut world = TestCluster::serving(&addresses[..2]);
    world.ingress("shop", "shop.example", &affinity);
    let cookie = world.ask(GET).header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let first = scripts.iter().position(|script| !script.has_no_request()).unwrap();
    scripts[first].all_seen();
    change_around(&mut world, &addresses, &affinity);
    for _ in 0..4 {
        let response = world.ask(&format!("GET / HTTP/1.1\nHost: shop.example\nCookie: {cookie}\n\n"));
        assert_eq!((response.status, response.header("set-cookie")), (200, None));
    }
    assert_eq!(scripts[first].all_seen().len(), 4);
}

#[test]
fn counters_go_on_over_changes() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    assert_eq!(world.ask(GET).status, 200);
    change_around(&mut world, &[script.address], &[]);
    assert_eq!(world.ask(GET).status, 200);
    let is_two = |line: &str| {
        line.starts_with("nginx_ingress_controller_requests{")
            && line.contains("ingress=\"shop\"")
            && line.ends_with(" 2")
    };
    world.metrics("two requests of the Ingress", |text| text.lines().any(is_two));
}

#[test]
fn a_websocket_continues_when_its_route_and_endpoint_are_removed() {
    use std::io::{Read, Write};
    let script = ScriptedEndpoint::new(|connection| {
        connection.request();
        let _ = connection
            .send("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n\nhi ");
        let mut byte = [0];
        while connection.stream.read_exact(&mut byte).is_ok() {
            if connection.stream.get_mut().write_all(&byte).is_err() {
                return;
            }
        }
    });
    let mut world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.send("GET /ws HTTP/1.1\nHost: shop.example\nConnection: Upgrade\nUpgrade: websocket\n\n");
    assert_eq!(client.response().status, 101);
    let read = |client: &mut crate::support::TestClient, wanted: &str| {
        let mut text = vec![0; wanted.len()];
        client.stream.read_exact(&mut text).unwrap();
        assert_eq!(text, wanted.as_bytes());
    };
    read(&mut client, "hi ");
    change_around(&mut world, &[script.address], &[]);
    client.raw(b"one");
    read(&mut client, "one");
    world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", "shop"))], 9);
    world.endpoints("shop", &[]);
    assert_eq!(world.ask(GET).status, 404);
    client.raw(b"two");
    read(&mut client, "two");
}
