//! TLS that is passed through to endpoints (`ssl-passthrough`).

use std::io::{Read, Write};
use std::time::Duration;

use ingress_proxy::ProxyOptions;
use net::testing::client;
use rustls::ClientConnection;

use crate::support::{
    EndpointConnection, ScriptedEndpoint, TestClient, TestCluster, TestOptions, one_worker,
};
use crate::tls::TlsClient;

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

fn options(proxy: ProxyOptions) -> TestOptions {
    let mut options = TestOptions::from(ProxyOptions { ssl_passthrough: true, ..proxy });
    options.routes.ssl_passthrough = true;
    options
}

/// The bytes that a client sends first.
fn hello(name: &str) -> Vec<u8> {
    let config = client(rustls::DEFAULT_VERSIONS, &[b"http/1.1"]);
    let mut connection = ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// Answers each piece of `length` bytes with the same bytes.
fn echo(length: usize) -> ScriptedEndpoint {
    ScriptedEndpoint::new(move |connection: &mut EndpointConnection| {
        let mut bytes = vec![0; length];
        while connection.stream.read_exact(&mut bytes).is_ok() {
            let _ = connection.stream.get_mut().write_all(&bytes);
        }
    })
}

fn pass(world: &mut TestCluster, endpoint: &ScriptedEndpoint) {
    world.service("raw", &[endpoint.address]);
    world.ingress("raw", "raw.example", &[("ssl-passthrough", "true"), ("permanent-redirect", "/x")]);
}

#[test]
fn the_bytes_of_a_connection_go_to_the_endpoint_as_they_are() {
    let (hello, script) = (hello("raw.example"), ScriptedEndpoint::always(OK));
    let endpoint = echo(hello.len());
    let mut world = TestCluster::serving_with(options(one_worker()), &[script.address]);
    pass(&mut world, &endpoint);
    let mut client = TestClient::connect(world.https);
    // The name is found although it arrives in two pieces.
    client.raw(&hello[..20]);
    client.raw(&hello[20..]);
    let mut bytes = vec![0; hello.len()];
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, hello);
    client.raw(&bytes);
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, hello);
    // Other names are decrypted here.
    let config = net::testing::client(rustls::DEFAULT_VERSIONS, &[]);
    assert_eq!(TlsClient::connect(&world, &config, "shop.example").get("shop.example", "").status, 200);
}

#[test]
fn without_the_flag_tls_ends_at_the_proxy() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::new();
    pass(&mut world, &script);
    let config = client(rustls::DEFAULT_VERSIONS, &[]);
    assert_eq!(TlsClient::connect(&world, &config, "raw.example").get("raw.example", "").status, 301);
}

#[test]
fn a_connection_without_an_endpoint_is_closed() {
    let mut world = TestCluster::with(options(one_worker()));
    world.service("raw", &[crate::support::unused_address()]);
    world.ingress("raw", "raw.example", &[("ssl-passthrough", "true")]);
    let mut client = TestClient::connect(world.https);
    client.raw(&hello("raw.example"));
    assert!(client.is_closed());
}

#[test]
fn idle_and_too_many_connections_are_closed() {
    let hello = hello("raw.example");
    let endpoint = echo(hello.len());
    let idle = ProxyOptions { passthrough_idle: Some(Duration::from_millis(300)), ..one_worker() };
    let mut world =
        TestCluster::with(options(idle).connections(|connections| connections.max_worker_connections = 4));
    pass(&mut world, &endpoint);
    let mut clients: Vec<_> = (0..2).map(|_| TestClient::connect(world.https)).collect();
    for client in &mut clients {
        client.raw(&hello);
        client.stream.read_exact(&mut vec![0; hello.len()]).unwrap();
    }
    // Half of the connections are left for others.
    let mut third = TestClient::connect(world.https);
    third.raw(&hello);
    assert!(third.is_closed());
    assert!(clients.iter_mut().all(TestClient::is_closed), "both end when they are idle");
    let mut again = TestClient::connect(world.https);
    again.raw(&hello);
    again.stream.read_exact(&mut vec![0; hello.len()]).unwrap();
}
