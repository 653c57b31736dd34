//! Everything that clients and endpoints can make grow, at the limit.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ingress_proxy::ProxyOptions;
use net::DescriptorShares;

use crate::frames::{Frames, PING, SETTINGS, WIDE_WINDOWS, WINDOW_UPDATE};
use crate::support::{
    ScriptedEndpoint, TEST_TIMEOUT, TestClient, TestCluster, TestOptions, one_worker, with_connections,
};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello";
const REQUEST: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

/// The value of a series on the metrics page.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

fn closed(text: &str, reason: &str) -> f64 {
    value(text, &format!("portolan_client_connections_closed_total{{reason=\"{reason}\"}}"))
}

/// One worker with this limit of connections.
fn connection_limit(clients: usize) -> TestOptions {
    TestOptions::from(one_worker()).connections(|connections| connections.max_worker_connections = clients)
}

#[test]
fn idle_connections_make_room_for_new_clients() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(connection_limit(16), &[script.address]);
    let idle: Vec<_> = (0..40).map(|_| TestClient::connect(world.http)).collect();
    let mut kept = world.client();
    for _ in 0..20 {
        assert_eq!(world.ask(REQUEST).status, 200);
        kept.send(REQUEST);
        assert_eq!(kept.response().status, 200, "a connection in use is not closed");
    }
    let text = world.metrics("idle connections are closed", |text| closed(text, "drained") >= 25.0);
    assert_eq!(closed(&text, "refused"), 0.0);
    drop(idle);
}

#[test]
fn clients_are_refused_when_every_connection_is_in_use() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        while connection.request().is_some() {
            hold();
            let _ = connection.send(OK);
        }
    });
    let world = TestCluster::serving_with(connection_limit(2), &[script.address]);
    let mut busy: Vec<_> = (0..2).map(|_| world.client()).collect();
    for client in &mut busy {
        client.send(REQUEST);
        script.seen();
    }
    assert!(world.client().is_closed());
    world.metrics("the third is refused", |text| closed(text, "refused") == 1.0);
    go.send(()).unwrap();
    go.send(()).unwrap();
    for client in &mut busy {
        assert_eq!(client.response().status, 200);
    }
    drop(busy);
}

#[test]
fn an_idle_connection_is_usable_after_its_buffers_were_released() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    for pause in [1200, 0, 1200] {
        client.send(REQUEST);
        assert_eq!(client.response().status, 200);
        // Longer than a connection keeps its buffers. There is no signal to await when they are released.
        std::thread::sleep(Duration::from_millis(pause));
    }
    client.raw(b"GET / HTTP/1.1\r\nHo");
    client.raw(b"st: shop.example\r\n\r\nGET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!((client.response().status, client.response().status), (200, 200));
    assert_eq!(script.connections(), 1);
}

#[test]
fn a_head_that_begins_together_with_the_request_before_has_the_usual_time() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let mut client = world.client();
    client.raw(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\nGET / HT");
    assert_eq!(client.response().status, 200);
    // Longer than an idle connection keeps its buffers, at which it must not be closed.
    std::thread::sleep(Duration::from_millis(1500));
    client.raw(b"TP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_connection_without_buffers_is_closed_after_the_idle_timeout() {
    let script = ScriptedEndpoint::always(OK);
    let keep_alive = Duration::from_secs(2);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.keep_alive = keep_alive),
        &[script.address],
    );
    let mut client = world.client();
    client.send(REQUEST);
    assert_eq!(client.response().status, 200);
    let start = Instant::now();
    assert!(client.is_closed());
    assert!(start.elapsed() >= keep_alive - Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn a_request_waits_for_a_connection_to_its_endpoint() {
    let (held, go) = ScriptedEndpoint::held(|connection, hold| {
        while connection.request().is_some() {
            hold();
            let _ = connection.send(OK);
        }
    });
    let other = ScriptedEndpoint::always(OK);
    let descriptors = DescriptorShares { upstreams: 1, ..one_worker().descriptors };
    let mut world = TestCluster::serving_with(ProxyOptions { descriptors, ..one_worker() }, &[held.address]);
    world.service("other", &[other.address]);
    world.ingress("other", "other.example", &[]);
    let (mut first, mut second) = (world.client(), world.client());
    first.send(REQUEST);
    held.seen();
    second.send("GET / HTTP/1.1\nHost: other.example\n\n");
    let outcome = |text: &str, outcome: &str| {
        value(text, &format!("portolan_upstream_connection_limit_total{{outcome=\"{outcome}\"}}"))
    };
    world.metrics("the second waits", |text| outcome(text, "waited") == 1.0);
    assert!(other.has_no_request());
    go.send(()).unwrap();
    assert_eq!((first.response().status, second.response().status), (200, 200));
    // The connection is idle now and is closed at once for the next request.
    let mut third = world.client();
    third.send(REQUEST);
    held.seen();
    go.send(()).unwrap();
    assert_eq!(third.response().status, 200);
    assert_eq!(outcome(&world.registry.text(), "refused"), 0.0);
}

#[test]
fn a_request_that_gets_no_connection_to_its_endpoint_is_502() {
    let (held, _go) = ScriptedEndpoint::held(|connection, hold| {
        connection.request();
        hold();
    });
    let descriptors = DescriptorShares { upstreams: 1, ..one_worker().descriptors };
    let options = TestOptions::from(ProxyOptions { descriptors, ..one_worker() });
    let world = TestCluster::serving_with(
        options.proxy(|proxy| proxy.connect_timeout = Duration::from_millis(100)),
        &[held.address],
    );
    let mut first = world.client();
    first.send(REQUEST);
    held.seen();
    assert_eq!(world.ask(REQUEST).status, 502);
    let refused = "portolan_upstream_connection_limit_total{outcome=\"refused\"}";
    world.metrics("it is counted", |text| value(text, refused) >= 1.0);
}

#[test]
fn a_flood_of_frames_ends_the_connection() {
    let world = TestCluster::serving(&[]);
    for (kind, flags, payload) in [(PING, 0, &[0; 8][..]), (SETTINGS, 0, &[]), (2, 0, &[0, 0, 0, 1, 1])] {
        let before = closed(&world.registry.text(), "h2_flood");
        let mut client = Frames::connect(world.http, &[]);
        let stream = if kind == 2 { 3 } else { 0 };
        let frames = Frames::frame(kind, flags, stream, payload).repeat(1000);
        // The proxy responds to some of these frames, and the client has to read the responses.
        let mut reader = Frames(client.0.try_clone().unwrap());
        let reading = std::thread::spawn(move || reader.is_closed());
        let ended = (0..10_000).any(|_| client.0.write_all(&frames).is_err());
        assert!(ended, "ten million frames of type {kind} were accepted");
        assert!(reading.join().unwrap());
        world.metrics("the flood is counted", |text| closed(text, "h2_flood") == before + 1.0);
    }
}

#[test]
fn a_client_that_keeps_sending_requests_after_goaway_is_closed() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.keep_alive_requests = 2),
        &[script.address],
    );
    let mut client = Frames::connect(world.http, &[]);
    client.request(1).unwrap();
    client.request(3).unwrap();
    // It acknowledges no PING and sends one request after the other.
    let (start, mut has_goaway) = (Instant::now(), false);
    for stream in (5..).step_by(2) {
        if client.request(stream).is_err() {
            break;
        }
        match client.read_response(stream) {
            Ok(goaway) => has_goaway |= goaway,
            Err(_) => break,
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "still open after {stream} streams");
    }
    assert!(has_goaway);
    world.metrics("it is counted", |text| closed(text, "goaway_ignored") == 1.0);
}

#[test]
fn a_client_that_keeps_sending_requests_does_not_delay_a_stop() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    let mut client = Frames::connect(world.http, &[]);
    let (begun, has_begun) = std::sync::mpsc::channel();
    let requesting = std::thread::spawn(move || {
        (1..).step_by(2).find(|stream| {
            let _ = begun.send(());
            client.request(*stream).is_err() || client.read_response(*stream).is_err()
        })
    });
    has_begun.recv().unwrap();
    let (proxy, start) = (world.proxy.take().unwrap(), Instant::now());
    let outcome = world.runtime.block_on(proxy.stop(Duration::ZERO));
    assert_eq!(outcome, net::DrainOutcome::Finished);
    assert!(start.elapsed() < TEST_TIMEOUT, "{:?}", start.elapsed());
    requesting.join().unwrap();
}

#[test]
fn a_silent_client_stays_connected_as_long_as_it_answers_pings() {
    const ACK: u8 = 1;
    let silent = Duration::from_millis(300);
    let world = TestCluster::serving_with(
        with_connections(|connections| connections.client_send_timeout = silent),
        &[],
    );
    let mut client = Frames::connect(world.http, &[]);
    for _ in 0..3 {
        let (_, _, _, payload) =
            std::iter::repeat_with(|| client.read_frame().unwrap()).find(|frame| frame.0 == PING).unwrap();
        client.send(PING, ACK, 0, &payload).unwrap();
    }
    assert!(client.is_closed(), "after a PING without an answer");
}

#[test]
fn empty_lines_do_not_extend_the_time_for_a_head() {
    let client_header_timeout = Duration::from_secs(1);
    let world = TestCluster::with(with_connections(|connections| {
        connections.client_header_timeout = client_header_timeout
    }));
    let mut stream = TcpStream::connect(world.http).unwrap();
    let start = Instant::now();
    while stream.write_all(b"\r\n").is_ok() {
        assert!(start.elapsed() < TEST_TIMEOUT, "the connection stays open");
        std::thread::yield_now();
    }
}

/// An endpoint whose responses never end.
fn endless() -> ScriptedEndpoint {
    ScriptedEndpoint::new(|connection| {
        connection.request();
        let piece = "x".repeat(64 * 1024);
        let _ = connection.send("HTTP/1.1 200 OK\n\n");
        while connection.send(&piece).is_ok() {}
    })
}

#[test]
fn clients_that_never_read_buffer_no_more_than_the_budget() {
    const BUDGET: usize = 1 << 20;
    let script = endless();
    let world = TestCluster::serving_with(
        ProxyOptions { max_buffered_bytes: BUDGET, ..one_worker() },
        &[script.address],
    );
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = Frames::connect(world.http, WIDE_WINDOWS);
        client.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0]).unwrap();
        for stream in 0..30 {
            client.request(2 * stream + 1).unwrap();
        }
        clients.push(client);
    }
    let text =
        world.metrics("the connections that buffer most are closed", |text| closed(text, "buffers") > 0.0);
    let buffered = value(&text, "portolan_buffered_bytes");
    // Some more is read before connections are closed. Without a budget it would be 24 MiB.
    assert!(buffered <= (4 * BUDGET) as f64, "{buffered}");
    // Other clients are served meanwhile.
    let mut client = world.client();
    client.send("GET /healthz HTTP/1.1\nHost: none.example\n\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn the_bytes_buffered_for_slow_readers_are_bounded() {
    let script = endless();
    let world = TestCluster::serving(&[script.address]);
    let mut clients: Vec<_> = (0..4).map(|_| world.client()).collect();
    clients.iter_mut().for_each(|client| client.send(REQUEST));
    let mut h2 = Frames::connect(world.http, WIDE_WINDOWS);
    h2.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0]).unwrap();
    (0..20).for_each(|stream| h2.request(2 * stream + 1).unwrap());
    let text = world.metrics("bytes are buffered", |text| value(text, "portolan_buffered_bytes") > 0.0);
    // 128 KiB for each connection, a piece of up to 64 KiB that began below the limit, and 4 KiB for each stream.
    let most = 5.0 * (128.0 + 64.0) * 1024.0 + 20.0 * 4096.0;
    assert!(value(&text, "portolan_buffered_bytes") <= most, "{text}");
}
