//! Switching protocols (101).

use std::io::{Read, Write};
use std::time::Duration;

use net::DrainOutcome;

use crate::support::{
    EndpointConnection, ScriptedEndpoint, TestClient, TestCluster, with_connections, with_proxy,
};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\nHost: shop.example\nConnection: keep-alive, Upgrade\n\
                         Upgrade: websocket\nSec-WebSocket-Key: x\n\n";

/// Accepts the handshake, then echoes.
fn echo(connection: &mut EndpointConnection) {
    connection.request();
    let _ =
        connection.send("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n\nhi ");
    let mut buffer = [0; 1024];
    while let Ok(length) = connection.stream.read(&mut buffer) {
        if length == 0 || connection.stream.get_mut().write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn read(client: &mut TestClient, length: usize) -> String {
    let mut text = vec![0; length];
    client.stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn upgraded(world: &TestCluster) -> TestClient {
    let mut client = world.client();
    client.send(HANDSHAKE);
    let response = client.response();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection"), Some("upgrade"));
    assert_eq!(read(&mut client, 3), "hi ");
    client
}

#[test]
fn bytes_pass_both_ways_after_an_upgrade() {
    let script = ScriptedEndpoint::new(echo);
    let world = TestCluster::serving(&[script.address]);
    let mut client = upgraded(&world);
    let head = script.seen().head;
    assert!(head.contains("\nUpgrade: websocket\nConnection: upgrade\n"), "{head}");
    assert!(head.contains("\nSec-WebSocket-Key: x\n"), "{head}");
    for text in ["one", "another"] {
        client.raw(text.as_bytes());
        assert_eq!(read(&mut client, text.len()), text);
    }
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed());
    let log = world.log(1);
    assert!(log[0].contains("\"GET /ws HTTP/1.1\" 101 13 "), "{log:?}");
}

#[test]
fn an_upgrade_that_is_refused_is_a_plain_response() {
    let script = ScriptedEndpoint::always("HTTP/1.1 426 Upgrade Required\nContent-Length: 2\n\nno");
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    for _ in 0..2 {
        client.send(HANDSHAKE);
        assert_eq!(client.response().status, 426);
    }
}

#[test]
fn an_upgrade_without_a_request_for_it_is_502() {
    let script =
        ScriptedEndpoint::always("HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: upgrade\n\n");
    let world = TestCluster::serving(&[script.address]);
    assert_eq!(world.ask("GET / HTTP/1.1\nHost: shop.example\n\n").status, 502);
}

#[test]
fn silent_streams_are_closed() {
    let script = ScriptedEndpoint::new(echo);
    let short = Duration::from_millis(200);
    let world = TestCluster::serving_with(
        with_proxy(|proxy| (proxy.read_timeout, proxy.send_timeout) = (short, short)),
        &[script.address],
    );
    assert!(upgraded(&world).is_closed());
}

#[test]
fn a_stop_waits_for_streams_and_then_closes_them() {
    let script = ScriptedEndpoint::new(echo);
    let mut world = TestCluster::serving_with(
        with_connections(|connections| connections.worker_shutdown_timeout = Duration::from_millis(300)),
        &[script.address],
    );
    let mut client = upgraded(&world);
    let proxy = world.proxy.take().unwrap();
    assert_eq!(world.runtime.block_on(proxy.stop(Duration::ZERO)), DrainOutcome::Forced(1));
    assert!(client.is_closed());
    let log = world.log(1);
    assert!(log[0].contains("\"GET /ws HTTP/1.1\" 101 3 "), "the transferred bytes are logged: {log:?}");
}

#[test]
fn a_stop_ends_when_the_last_stream_does() {
    let script = ScriptedEndpoint::new(echo);
    let world = TestCluster::serving(&[script.address]);
    let mut client = upgraded(&world);
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    client.raw(b"still");
    assert_eq!(read(&mut client, 5), "still");
    drop(client);
    assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
}
