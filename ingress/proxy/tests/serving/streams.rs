//! TCP services: `--tcp-services-configmap`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cluster::{ConfigMap, Event, Key, Kind, Object};
use ingress_proxy::ProxyOptions;

use crate::support::{
    EndpointConnection, ScriptedEndpoint, TEST_TIMEOUT, TestClient, TestCluster, TestOptions, one_worker,
    unused_address,
};

/// Ports of services; below those that the system chooses for others.
pub const PORT: u16 = 21_001;
pub const OTHER: u16 = 21_002;

/// An address of the loopback that no other test has: the ports of a ConfigMap are fixed.
pub fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    let bytes = [127, 64 + (process >> 8) as u8 % 128, process as u8, NEXT.fetch_add(1, Relaxed)];
    IpAddr::V4(Ipv4Addr::from(bytes))
}

/// Options of a proxy with TCP and UDP services on an address.
pub fn with_streams(proxy: ProxyOptions, address: IpAddr) -> TestOptions {
    let any = vec![SocketAddr::new(address, 0)];
    let mut options = TestOptions::from(ProxyOptions { http: any.clone(), https: any, ..proxy });
    options.routes.tcp_services = Some(Key::new("ingress", "tcp"));
    options.routes.udp_services = Some(Key::new("ingress", "udp"));
    options
}

/// A cluster with a proxy on an address of its own.
pub struct StreamCluster {
    pub cluster: TestCluster,
    pub address: IpAddr,
}

impl StreamCluster {
    pub fn new() -> Self {
        Self::with(one_worker(), |options| options)
    }

    pub fn with(proxy: ProxyOptions, change: impl FnOnce(TestOptions) -> TestOptions) -> Self {
        let address = own_address();
        Self { cluster: TestCluster::with(change(with_streams(proxy, address))), address }
    }

    /// Replaces the TCP services.
    pub fn tcp(&mut self, data: &[(u16, &str)]) {
        self.services("tcp", data);
    }

    pub fn services(&mut self, name: &str, data: &[(u16, &str)]) {
        let data =
            data.iter().map(|(port, target)| (port.to_string().into(), (*target).to_owned())).collect();
        self.cluster.apply(Object::ConfigMap(Arc::new(ConfigMap { key: Key::new("ingress", name), data })));
    }

    /// Connects to a port, once it is open.
    pub fn connect(&self, port: u16) -> TestClient {
        self.wait_until(port, true);
        TestClient::connect(SocketAddr::new(self.address, port))
    }

    /// Waits until a port is open, or closed.
    pub fn wait_until(&self, port: u16, is_open: bool) {
        let start = Instant::now();
        while TcpStream::connect(SocketAddr::new(self.address, port)).is_ok() != is_open {
            assert!(start.elapsed() < TEST_TIMEOUT, "port {port} is open: {}", !is_open);
            std::thread::yield_now();
        }
    }

    /// Waits for lines in the access log. Without those of the connections of [`Self::wait_until`], which send nothing.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let is_of_test = |line: &String| {
            let words: Vec<&str> = line.split(' ').collect();
            // `[address] [time zone] protocol status sent received time`
            !matches!(words[4], "200" | "400") || words[6] != "0"
        };
        let start = Instant::now();
        loop {
            let lines: Vec<_> = self.cluster.log(0).into_iter().filter(is_of_test).collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "expected {count} lines, found {lines:?}");
            std::thread::yield_now();
        }
    }
}

/// Answers each byte with the same byte and, after the end of the input, with a dot.
fn echo() -> ScriptedEndpoint {
    named_echo("")
}

/// The same, after a name.
fn named_echo(name: &'static str) -> ScriptedEndpoint {
    ScriptedEndpoint::new(move |connection: &mut EndpointConnection| {
        let mut byte = [0];
        let _ = connection.stream.get_mut().write_all(name.as_bytes());
        while connection.stream.read_exact(&mut byte).is_ok() {
            let _ = connection.stream.get_mut().write_all(&byte);
        }
        let _ = connection.stream.get_mut().write_all(b".");
    })
}

fn exchange(client: &mut TestClient, text: &str) -> String {
    client.raw(text.as_bytes());
    receive(client, text.len())
}

fn receive(client: &mut TestClient, length: usize) -> String {
    let mut bytes = vec![0; length];
    client.stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn bytes_pass_both_ways_and_each_direction_ends_by_itself() {
    let endpoint = echo();
    let mut world = StreamCluster::new();
    world.cluster.service("db", &[endpoint.address]);
    world.tcp(&[(PORT, "default/db:80")]);
    let mut client = world.connect(PORT);
    assert_eq!(exchange(&mut client, "hello"), "hello");
    client.stream.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, ".", "the endpoint answers after the client has ended its side");
    let line = world.lines(1).remove(0);
    assert!(line.starts_with("[127.0.0.1] [") && line.contains("] TCP 200 6 5 0."), "{line}");
    let wanted = format!("portolan_streams_total{{protocol=\"tcp\",port=\"{PORT}\",status=\"200\"}}");
    let text = world.cluster.metrics("the stream is counted", |text| text.contains(&wanted));
    assert!(text.contains("portolan_stream_bytes_total"), "{text}");
}

#[test]
fn ports_open_and_close_while_streams_go_on() {
    let endpoint = echo();
    let mut world = StreamCluster::with(ProxyOptions { workers: 2, ..one_worker() }, |options| options);
    world.cluster.service("db", &[endpoint.address]);
    world.tcp(&[(PORT, "default/db:80"), (OTHER, "default/db:80")]);
    let (mut one, mut other) = (world.connect(PORT), world.connect(OTHER));
    assert_eq!((exchange(&mut one, "a"), exchange(&mut other, "b")), ("a".into(), "b".into()));
    world.tcp(&[(OTHER, "default/db:80")]);
    world.wait_until(PORT, false);
    assert_eq!((exchange(&mut one, "c"), exchange(&mut other, "d")), ("c".into(), "d".into()));
    world.tcp(&[(PORT, "default/db:80"), (OTHER, "default/db:80")]);
    let mut again = world.connect(PORT);
    assert_eq!(exchange(&mut again, "e"), "e");
    assert_eq!(exchange(&mut one, "f"), "f");
}

#[test]
fn streams_of_a_removed_entry_end_after_worker_shutdown_timeout() {
    let (endpoint, elsewhere) = (echo(), named_echo("2"));
    let mut world = StreamCluster::with(one_worker(), |options| {
        options.connections(|connections| connections.worker_shutdown_timeout = Duration::from_millis(1500))
    });
    world.cluster.service("db", &[endpoint.address]);
    world.cluster.service("new", &[elsewhere.address]);
    world.tcp(&[(PORT, "default/db:80"), (OTHER, "default/db:80")]);
    let (mut moved, mut kept) = (world.connect(PORT), world.connect(OTHER));
    assert_eq!((exchange(&mut moved, "a"), exchange(&mut kept, "b")), ("a".into(), "b".into()));
    world.tcp(&[(PORT, "default/new:80"), (OTHER, "default/db:80:PROXY")]);
    assert!(moved.is_closed(), "its port leads elsewhere");
    assert_eq!(exchange(&mut kept, "c"), "c", "its port leads to the same Service");
    assert_eq!(receive(&mut world.connect(PORT), 1), "2");
}

#[test]
fn a_port_is_closed_while_there_is_no_endpoint_and_open_streams_go_on() {
    let (endpoint, added) = (echo(), named_echo("2"));
    let mut world = StreamCluster::new();
    world.cluster.service("db", &[]);
    world.tcp(&[(PORT, "default/db:80"), (OTHER, "default/db:80")]);
    world.wait_until(PORT, false);
    world.cluster.endpoints("db", &[endpoint.address]);
    let mut client = world.connect(PORT);
    assert_eq!(exchange(&mut client, "a"), "a");
    world.cluster.endpoints("db", &[added.address]);
    assert_eq!(exchange(&mut client, "b"), "b", "the removed endpoint serves the streams that it has");
    assert_eq!(receive(&mut world.connect(PORT), 1), "2");
    world.cluster.endpoints("db", &[]);
    world.wait_until(PORT, false);
    assert_eq!(exchange(&mut client, "c"), "c");
}

#[test]
fn endpoints_take_turns_and_one_that_refuses_is_skipped() {
    let endpoints = [named_echo("1"), named_echo("2")];
    let addresses = [endpoints[0].address, unused_address(), endpoints[1].address];
    let mut world = StreamCluster::new();
    world.cluster.service("db", &addresses);
    world.tcp(&[(PORT, "default/db:80")]);
    world.wait_until(PORT, true);
    let address = SocketAddr::new(world.address, PORT);
    let answers: String = (0..6).map(|_| receive(&mut TestClient::connect(address), 1)).collect();
    assert!(answers.contains('1') && answers.contains('2'), "{answers}");
    // Without another endpoint the stream ends.
    let mut world =
        StreamCluster::with(one_worker(), |options| options.streams(|stream| stream.next_upstream = false));
    world.cluster.service("db", &[unused_address()]);
    world.tcp(&[(PORT, "default/db:80")]);
    assert!(world.connect(PORT).is_closed());
    assert!(world.lines(1)[0].contains("] TCP 502 0 0 "));
}

#[test]
fn the_proxy_header_is_read_and_written() {
    let endpoint = echo();
    let mut world = StreamCluster::with(one_worker(), |options| options);
    world.cluster.configure(&[(
        "log-format-stream",
        "$remote_addr $realip_remote_addr $proxy_protocol_port $status $bytes_received $proxy_upstream_name $upstream_addr",
    )]);
    world.cluster.service("db", &[endpoint.address]);
    world.tcp(&[(PORT, "default/db:80:PROXY:PROXY"), (OTHER, "default/db:80::PROXY")]);
    let mut client = world.connect(PORT);
    client.raw(b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\nhello");
    let header = format!("PROXY TCP4 192.0.2.7 {} 4711 {PORT}\r\nhello", world.address);
    assert_eq!(receive(&mut client, header.len()), header);
    drop(client);
    let start = Instant::now();
    let line = loop {
        let lines = world.cluster.log(0);
        if let Some(line) = lines.iter().find(|line| line.starts_with("192.0.2.7")) {
            break line.clone();
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{lines:?}");
        std::thread::yield_now();
    };
    assert_eq!(line, format!("192.0.2.7 127.0.0.1 4711 200 5 tcp-default-db-80 {}", endpoint.address));
    // Without a header in, the header out has the peer.
    let mut client = world.connect(OTHER);
    let own = client.stream.get_ref().local_addr().unwrap();
    let header = format!("PROXY TCP4 127.0.0.1 {} {} {OTHER}\r\n", world.address, own.port());
    assert_eq!(receive(&mut client, header.len()), header);
    // Something else than a header is refused.
    let mut client = world.connect(PORT);
    client.raw(b"GET / HTTP/1.1\r\n\r\n");
    assert!(client.is_closed());
}

#[test]
fn the_rules_of_a_snippet_apply_to_the_peer_unless_its_header_counts() {
    let mut world = StreamCluster::with(one_worker(), |options| options);
    // The name has no address: what is admitted ends with 502.
    let server =
        |rules: &str| format!("server {{ listen {PORT} proxy_protocol; proxy_pass db.invalid:80; {rules} }}");
    let (header_only, peer_only) =
        (server("allow 192.0.2.0/24; deny all;"), server("allow 127.0.0.0/8; deny all;"));
    for (seen, (snippet, real_ip, status)) in [
        (&header_only, "false", "403"),
        (&header_only, "true", "502"),
        (&peer_only, "false", "502"),
        (&peer_only, "true", "403"),
    ]
    .into_iter()
    .enumerate()
    {
        world.cluster.configure(&[("stream-snippet", snippet), ("enable-real-ip", real_ip)]);
        let mut client = world.connect(PORT);
        client.raw(b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\nhello");
        assert!(client.is_closed());
        let line = world.lines(seen + 1).swap_remove(seen);
        assert!(line.contains(&format!("] TCP {status} 0 ")), "{snippet} {real_ip}: {line}");
    }
}

#[test]
fn an_idle_stream_and_too_many_streams_end() {
    let endpoint = echo();
    let mut world = StreamCluster::with(one_worker(), |options| {
        options
            .streams(|stream| stream.timeout = Duration::from_millis(700))
            .connections(|connections| connections.max_worker_connections = 4)
    });
    world.cluster.service("db", &[endpoint.address]);
    world.tcp(&[(PORT, "default/db:80")]);
    world.wait_until(PORT, true);
    world.cluster.metrics("the first connection ends", |text| {
        text.contains("portolan_streams_open{protocol=\"tcp\"} 0")
    });
    let address = SocketAddr::new(world.address, PORT);
    let mut clients = [connect_in_time(address), connect_in_time(address)];
    // Half of the connections are left for requests.
    assert!(TestClient::connect(address).is_closed());
    assert!(clients.iter_mut().all(|client| receive_rest(client) == "."), "both end when they are idle");
}

/// A stream that is served. The connection that waited for the port may count until the proxy has seen its end.
fn connect_in_time(address: SocketAddr) -> TestClient {
    let start = Instant::now();
    loop {
        let mut client = TestClient::connect(address);
        client.raw(b"a");
        let mut byte = [0];
        if client.stream.read_exact(&mut byte).is_ok() {
            return client;
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "no stream is served");
    }
}

/// What is received until the end. The endpoint sends a dot when its side has ended.
fn receive_rest(client: &mut TestClient) -> String {
    let mut rest = String::new();
    let _ = client.stream.read_to_string(&mut rest);
    if rest.is_empty() { ".".into() } else { rest }
}

#[test]
fn a_port_that_another_program_has_is_reported_and_opened_when_it_is_free() {
    let endpoint = echo();
    let mut world = StreamCluster::new();
    let taken = TcpListener::bind((world.address, PORT)).unwrap();
    world.cluster.service("db", &[endpoint.address]);
    world.tcp(&[(PORT, "default/db:80"), (OTHER, "default/db:80")]);
    assert_eq!(exchange(&mut world.connect(OTHER), "a"), "a", "other ports are open");
    let problems = || -> Vec<String> {
        world.cluster.stream_problems.lock().unwrap().iter().map(ToString::to_string).collect()
    };
    let expected = format!(
        "ConfigMap ingress/tcp: {PORT}: cannot listen on {}:{PORT}: the address is in use; the port is closed there",
        world.address
    );
    assert_eq!(problems(), [expected]);
    drop(taken);
    assert_eq!(exchange(&mut world.connect(PORT), "b"), "b");
    assert_eq!(problems(), [""; 0]);
}

#[test]
fn a_stream_never_goes_to_a_port_of_the_proxy_itself() {
    // Only a connection to 127.0.0.1 has the same address at both ends; a port of this process on it.
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = 22_000 + (std::process::id() % 8000) as u16;
    let cluster = TestCluster::with(with_streams(one_worker(), address));
    let mut world = StreamCluster { cluster, address };
    world.cluster.service("db", &[SocketAddr::new(address, port)]);
    world.tcp(&[(port, "default/db:80")]);
    assert!(world.connect(port).is_closed());
    assert!(world.lines(1).iter().all(|line| line.contains("] TCP 502 0 0 ")));
    world.cluster.cache.apply([Event::Remove(Kind::ConfigMap, Key::new("ingress", "tcp"))], 9);
    world.wait_until(port, false);
}

#[test]
fn open_streams_may_end_when_the_proxy_stops() {
    let endpoint = echo();
    let mut world = StreamCluster::with(one_worker(), |options| {
        options.connections(|connections| connections.worker_shutdown_timeout = Duration::from_millis(300))
    });
    world.cluster.service("db", &[endpoint.address]);
    world.tcp(&[(PORT, "default/db:80")]);
    let mut client = world.connect(PORT);
    assert_eq!(exchange(&mut client, "a"), "a");
    let outcome = std::thread::spawn(move || world.cluster.stop(Duration::ZERO));
    assert_eq!(exchange(&mut client, "b"), "b");
    assert_eq!(outcome.join().unwrap(), net::DrainOutcome::Forced(1));
    assert!(client.is_closed());
}
