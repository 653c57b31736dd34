//! Shutdown: open requests finish, and no new ones begin.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use net::DrainOutcome;

use crate::support::{ScriptedEndpoint, TestClient, TestCluster, read_head, with_connections};

#[test]
fn requests_in_flight_finish_and_idle_connections_close() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        hold();
        let _ = connection.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    });
    let world = TestCluster::serving(&[script.address]);
    let healthy = world.proxy.as_ref().unwrap().health();
    assert!(healthy());
    let mut idle = world.client();
    idle.send("GET /healthz HTTP/1.1\nHost: x\n\n");
    assert_eq!(idle.response().status, 200);
    let mut busy = world.client();
    busy.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    script.seen();
    let address = world.http;
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    assert!(idle.is_closed());
    assert!(!healthy());
    assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    go.send(()).unwrap();
    let response = busy.response();
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
}

/// Stops the proxy in the background, and returns when it has stopped listening.
fn stop_now(world: TestCluster) -> std::thread::JoinHandle<DrainOutcome> {
    let address = world.http;
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    stopping
}

#[test]
fn a_request_during_a_stop_is_answered_with_connection_close() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let world = TestCluster::serving(&[script.address]);
    let mut clients: Vec<_> = (0..8).map(|_| world.client()).collect();
    let get = "GET / HTTP/1.1\nHost: shop.example\n\n";
    // Half of them are idle after a request, half have sent nothing yet.
    for client in &mut clients[..4] {
        client.send(get);
        assert_eq!(client.response().header("connection"), None);
    }
    let stopping = stop_now(world);
    for client in &mut clients {
        client.send(get);
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
    assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
}

/// Responses of many lengths, so that for some of them the last piece cannot be written at once. Each client stops reading
/// until the proxy only waits for it.
struct Slow(Vec<(TestClient, usize)>);

impl Slow {
    const LENGTHS: std::ops::Range<usize> = 60..72;

    /// Answers `/N` with N times 100,000 bytes.
    fn script() -> ScriptedEndpoint {
        ScriptedEndpoint::new(|connection| {
            while let Some(request) = connection.request() {
                let path = request.head.split([' ', '/']).nth(2).unwrap();
                let length = path.parse::<usize>().unwrap() * 100_000;
                let _ = connection.send(&format!("HTTP/1.1 200 OK\nContent-Length: {length}\n\n"));
                let _ = connection.send(&"x".repeat(length));
            }
        })
    }

    fn clients(world: &TestCluster) -> Self {
        let client = |length| {
            let mut client = world.client();
            client.send(&format!("GET /{length} HTTP/1.1\nHost: shop.example\n\n"));
            read_head(&mut client.stream).unwrap();
            let mut left = length * 100_000;
            // No request is open once hyper has the last piece.
            while !world.registry.text().contains("state=\"writing\"} 0") {
                left -= client.stream.read(&mut [0; 64 * 1024]).unwrap();
            }
            (client, left)
        };
        Self(Self::LENGTHS.map(client).collect())
    }

    fn read_the_rest(self) {
        for (mut client, left) in self.0 {
            let mut rest = Vec::new();
            client.stream.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), left);
        }
    }
}

#[test]
fn a_stop_waits_until_clients_have_read_the_rest_of_a_response() {
    let script = Slow::script();
    let mut world = TestCluster::serving(&[script.address]);
    let slow = Slow::clients(&world);
    let mut idle = world.client();
    idle.send("GET /healthz HTTP/1.1\nHost: x\n\n");
    assert_eq!(idle.response().status, 200);
    let proxy = world.proxy.take().unwrap();
    let stopping = world.runtime.spawn(proxy.stop(Duration::ZERO));
    assert!(idle.is_closed(), "idle connections are closed while slow ones are open");
    slow.read_the_rest();
    assert_eq!(world.runtime.block_on(stopping).unwrap(), DrainOutcome::Finished);
}

#[test]
fn the_idle_timeout_begins_when_the_client_has_read_the_response() {
    let script = Slow::script();
    let keep_alive = Duration::from_millis(150);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.keep_alive = keep_alive),
        &[script.address],
    );
    let slow = Slow::clients(&world);
    for _ in 0..3 {
        let mut idle = world.client();
        idle.send("GET /healthz HTTP/1.1\nHost: x\n\n");
        assert_eq!(idle.response().status, 200);
        assert!(idle.is_closed());
    }
    slow.read_the_rest();
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_never_begins_its_handshake() {
    let world = TestCluster::new();
    let mut silent = TestClient::connect(world.https);
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    assert!(silent.is_closed());
    assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
}

#[test]
fn connections_that_the_kernel_has_completed_are_served_after_a_stop() {
    for _ in 0..10 {
        let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
        let world = TestCluster::serving(&[script.address]);
        let mut clients: Vec<_> = (0..50).map(|_| world.client()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
        }
        let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
    }
}

/// RFC 9113 §6.8: a first GOAWAY that refuses nothing, and the last stream's number after a round trip.
#[test]
fn a_stop_sends_goaway_twice() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.raw(&frame(SETTINGS, 0, 0, &[]));
    await_frame(&mut client, SETTINGS);
    client.raw(&frame(SETTINGS, ACK, 0, &[]));
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    let last_stream = |payload: &[u8]| u32::from_be_bytes(payload[..4].try_into().unwrap());
    assert_eq!(last_stream(&await_frame(&mut client, GOAWAY)), 0x7fff_ffff);
    let ping = await_frame(&mut client, PING);
    // This stream was on its way when the first GOAWAY came. Indexed: GET, http, /; a literal for the authority.
    let head = [&[0x82, 0x86, 0x84, 0x01, 12][..], b"shop.example"].concat();
    client.raw(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head));
    client.raw(&frame(PING, ACK, 0, &ping));
    assert_eq!(last_stream(&await_frame(&mut client, GOAWAY)), 1);
    // `:status: 200` is number 8 of the static table.
    assert_eq!(await_frame(&mut client, HEADERS)[0], 0x88);
    assert_eq!(await_frame(&mut client, DATA), b"ok");
    assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
}

/// Answers with 20,000 bytes.
fn long_response() -> ScriptedEndpoint {
    ScriptedEndpoint::new(|connection| {
        connection.request();
        let body = "x".repeat(20_000);
        let _ = connection.send(&format!("HTTP/1.1 200 OK\nContent-Length: 20000\n\n{body}"));
    })
}

/// A client of HTTP/2 that has opened the stream 1 with a window of this many bytes and has read the head of the response.
fn slow_client(world: &TestCluster, window: u32) -> TestClient {
    let mut client = world.client();
    client.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    client.raw(&frame(SETTINGS, 0, 0, &settings));
    await_frame(&mut client, SETTINGS);
    client.raw(&frame(SETTINGS, ACK, 0, &[]));
    let head = [&[0x82, 0x86, 0x84, 0x01, 12][..], b"shop.example"].concat();
    client.raw(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head));
    assert_eq!(await_frame(&mut client, HEADERS)[0], 0x88);
    client
}

/// A response whose end h2 has, while the client has opened its window for a part of it only: longer than the time that a connection
/// without requests has after GOAWAY.
#[test]
fn a_client_of_http2_gets_the_rest_of_a_response_after_goaway() {
    let script = long_response();
    let world = TestCluster::serving(&[script.address]);
    let mut client = slow_client(&world, 1000);
    let mut length = await_frame(&mut client, DATA).len();
    assert_eq!(length, 1000);
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    await_frame(&mut client, GOAWAY);
    let ping = await_frame(&mut client, PING);
    client.raw(&frame(PING, ACK, 0, &ping));
    // The connection was closed after the grace period of a second and five more. There is no signal for "it was not closed".
    std::thread::sleep(Duration::from_secs(8));
    assert!(!stopping.is_finished());
    client.raw(&frame(WINDOW_UPDATE, 0, 1, &19_000_u32.to_be_bytes()));
    while length < 20_000 {
        length += await_frame(&mut client, DATA).len();
    }
    assert_eq!(stopping.join().unwrap(), DrainOutcome::Finished);
}

#[test]
fn a_stream_whose_end_its_client_does_not_read_is_reset() {
    let script = long_response();
    let timeout = Duration::from_secs(1);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.client_send_timeout = timeout),
        &[script.address],
    );
    let mut client = slow_client(&world, 1000);
    await_frame(&mut client, DATA);
    // It takes a byte before the time is over, and is alive afterwards.
    client.raw(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()));
    assert_eq!(await_frame(&mut client, DATA).len(), 1);
    let error = loop {
        match read_frame(&mut client) {
            (PING, 0, payload) => client.raw(&frame(PING, ACK, 0, &payload)),
            (RST_STREAM, _, error) => break error,
            (kind, ..) => assert_ne!(kind, DATA),
        }
    };
    assert_eq!(error, 8_u32.to_be_bytes(), "CANCEL");
    world.metrics("its buffers are free", |text| text.contains("portolan_buffered_bytes 0\n"));
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The type, the flags and the payload of the next frame.
fn read_frame(client: &mut TestClient) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    client.stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    client.stream.read_exact(&mut payload).unwrap();
    (head[3], head[4], payload)
}

/// The payload of the next frame of a type. Other frames are skipped.
fn await_frame(client: &mut TestClient, wanted: u8) -> Vec<u8> {
    loop {
        let (kind, flags, payload) = read_frame(client);
        if kind == wanted && (wanted != SETTINGS || flags & ACK == 0) {
            return payload;
        }
    }
}

#[test]
fn requests_are_served_during_the_grace_period() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let mut world = TestCluster::serving(&[script.address]);
    let proxy = world.proxy.take().unwrap();
    let healthy = proxy.health();
    // Longer than the test.
    let stopping = world.runtime.spawn(proxy.stop(Duration::from_secs(600)));
    while healthy() {
        std::thread::yield_now();
    }
    let response = world.ask("GET / HTTP/1.1\nHost: shop.example\n\n");
    assert_eq!((response.status, response.header("connection")), (200, None));
    stopping.abort();
}

#[test]
fn an_address_in_use_is_named_and_nothing_is_left_running() {
    let world = TestCluster::new();
    let views = world.views();
    let options = ingress_proxy::ProxyOptions {
        http: vec!["127.0.0.1:0".parse().unwrap()],
        https: vec![world.http],
        ..crate::support::options()
    };
    let telemetry = ingress_proxy::Telemetry {
        registry: telemetry::metrics::Registry::new(),
        access: None,
        stream_access: None,
        stapling_problems: std::sync::Arc::new(|_| {}),
        worker_failed: std::sync::Arc::new(|_| {}),
        stream_problems: std::sync::Arc::new(|_| {}),
        listen_problems: std::sync::Arc::new(|_| {}),
    };
    let error = ingress_proxy::Proxy::start(options, views, &telemetry).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {}: the address is in use", world.http));
}
