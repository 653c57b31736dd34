//! UDP services: `--udp-services-configmap`.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use cluster::{
    Endpoint, EndpointPort, EndpointSlice, Event, Key, Kind, Object, Protocol, Service, ServiceKind,
    ServicePort,
};
use ingress_proxy::ProxyOptions;

use crate::streams::{OTHER, PORT, StreamCluster};
use crate::support::{TEST_TIMEOUT, TestOptions, one_worker};

/// An endpoint that answers each datagram as its script says.
struct DatagramEndpoint {
    address: SocketAddr,
    /// The peers of the datagrams, in order.
    seen: Receiver<SocketAddr>,
}

impl DatagramEndpoint {
    /// Answers each datagram `answers` times with the text and the datagram.
    fn answering(text: &'static str, answers: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, (sender, seen)) = (socket.local_addr().unwrap(), channel());
        std::thread::spawn(move || answer(&socket, &sender, text, answers));
        Self { address, seen }
    }

    fn peer(&self) -> SocketAddr {
        self.seen.recv_timeout(TEST_TIMEOUT).expect("a datagram")
    }
}

fn answer(socket: &UdpSocket, seen: &Sender<SocketAddr>, text: &str, answers: usize) {
    let mut bytes = [0; 65_535];
    while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
        if seen.send(peer).is_err() {
            return;
        }
        for _ in 0..answers {
            let _ = socket.send_to(&[text.as_bytes(), &bytes[..length]].concat(), peer);
        }
    }
}

/// A Service with UDP port 53 and these endpoints.
fn service(world: &mut StreamCluster, name: &str, endpoints: &[SocketAddr]) {
    let key = Key::new("default", name);
    let port = ServicePort { name: "".into(), protocol: Protocol::Udp, port: 53, target: "53".into() };
    let kind = ServiceKind::ClusterIp(["10.96.0.2".parse().unwrap()].into_iter().collect());
    world.cluster.apply(Object::Service(Arc::new(Service {
        key,
        kind,
        ports: [port].into(),
        external: Box::default(),
        prefers_own_zone: false,
    })));
    for at in 0..4 {
        let key = Key::new("default", format!("{name}-{at}"));
        let Some(address) = endpoints.get(at) else {
            world.cluster.cache.apply([Event::Remove(Kind::EndpointSlice, key)], 3);
            continue;
        };
        let port = EndpointPort { name: "".into(), protocol: Protocol::Udp, port: address.port() };
        let endpoint = Endpoint {
            addresses: [address.ip()].into_iter().collect(),
            ready: true,
            hostname: None,
            pod: None,
            zone: 0,
            hints: Default::default(),
        };
        world.cluster.apply(Object::EndpointSlice(Arc::new(EndpointSlice {
            import: None,
            aliases: Box::default(),
            key,
            service: name.into(),
            ports: [port].into(),
            endpoints: [endpoint].into(),
            zones: Box::default(),
        })));
    }
}

/// A cluster with the UDP service `dns` on [`PORT`].
fn serving(endpoints: &[SocketAddr], change: impl FnOnce(TestOptions) -> TestOptions) -> StreamCluster {
    let mut world = StreamCluster::with(one_worker(), change);
    service(&mut world, "dns", endpoints);
    world.services("udp", &[(PORT, "default/dns:53")]);
    world
}

struct Client(UdpSocket);

impl Client {
    fn new(world: &StreamCluster, port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect((world.address, port)).unwrap();
        Self(socket)
    }

    /// Sends a datagram until it is answered: the port may not be open yet.
    fn ask(&self, text: &str) -> String {
        let start = Instant::now();
        self.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        loop {
            // Fails with the error of an earlier datagram.
            let _ = self.0.send(text.as_bytes());
            let mut bytes = [0; 65_535];
            if let Ok(length) = self.0.recv(&mut bytes) {
                return String::from_utf8_lossy(&bytes[..length]).into_owned();
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "no answer to {text}");
        }
    }

    fn receive(&self) -> String {
        self.0.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        let mut bytes = [0; 65_535];
        let length = self.0.recv(&mut bytes).expect("an answer");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }
}

#[test]
fn each_datagram_is_a_session_that_ends_with_its_answer() {
    let endpoint = DatagramEndpoint::answering("re: ", 1);
    let world = serving(&[endpoint.address], |options| options);
    let client = Client::new(&world, PORT);
    assert_eq!(client.ask("one"), "re: one");
    let first = endpoint.peer();
    let large = "x".repeat(20_000);
    assert_eq!(client.ask(&large), format!("re: {large}"));
    assert_ne!(endpoint.peer(), first, "another session");
    let line = world.lines(1).remove(0);
    assert!(line.starts_with("[127.0.0.1] [") && line.contains("] UDP 200 7 3 0.0"), "{line}");
    world.cluster.metrics("both sessions have ended", |text| {
        text.contains("portolan_streams_open{protocol=\"udp\"} 0")
            && text.contains(&format!(
                "portolan_streams_total{{protocol=\"udp\",port=\"{PORT}\",status=\"200\"}} 2"
            ))
    });
}

#[test]
fn a_session_lasts_as_long_as_answers_are_expected() {
    let endpoint = DatagramEndpoint::answering("", 2);
    let world = serving(&[endpoint.address], |options| options.streams(|stream| stream.responses = 3));
    let client = Client::new(&world, PORT);
    assert_eq!(client.ask("a"), "a");
    assert_eq!(client.receive(), "a");
    client.0.send(b"b").unwrap();
    assert_eq!(client.receive(), "b");
    assert_eq!(endpoint.peer(), endpoint.peer(), "the same session");
    // Another client has a session of its own.
    let other = Client::new(&world, PORT);
    assert_eq!(other.ask("c"), "c");
    world
        .cluster
        .metrics("two sessions are open", |text| text.contains("portolan_streams_open{protocol=\"udp\"} 2"));
}

#[test]
fn a_session_without_an_answer_ends_at_its_timeout() {
    let endpoint = DatagramEndpoint::answering("", 0);
    let world = serving(&[endpoint.address], |options| {
        options.streams(|stream| stream.timeout = Duration::from_millis(300))
    });
    let client = Client::new(&world, PORT);
    let start = Instant::now();
    while endpoint.seen.try_recv().is_err() {
        let _ = client.0.send(b"x");
        assert!(start.elapsed() < TEST_TIMEOUT);
        std::thread::yield_now();
    }
    world.cluster.metrics("the session has ended", |text| {
        text.contains("status=\"502\"} 1") && text.contains("portolan_streams_open{protocol=\"udp\"} 0")
    });
}

#[test]
fn a_datagram_that_expects_no_answer_is_a_session_of_its_own() {
    let endpoint = DatagramEndpoint::answering("", 0);
    let world = serving(&[endpoint.address], |options| options.streams(|stream| stream.responses = 0));
    let client = Client::new(&world, PORT);
    let start = Instant::now();
    while endpoint.seen.try_recv().is_err() {
        let _ = client.0.send(b"log line");
        assert!(start.elapsed() < TEST_TIMEOUT);
        std::thread::yield_now();
    }
    world.cluster.metrics("the sessions have ended", |text| {
        text.contains("status=\"200\"}") && text.contains("portolan_streams_open{protocol=\"udp\"} 0")
    });
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_skipped() {
    let endpoint = DatagramEndpoint::answering("", 1);
    // A port that stays bound, and refuses datagrams of others.
    let unreachable = UdpSocket::bind("127.0.0.1:0").unwrap();
    unreachable.connect(unreachable.local_addr().unwrap()).unwrap();
    let addresses = [unreachable.local_addr().unwrap(), endpoint.address];
    let world = serving(&addresses, |options| options);
    for text in ["a", "b", "c", "d"] {
        assert_eq!(Client::new(&world, PORT).ask(text), text);
    }
    let text = world.cluster.metrics("all sessions have ended", |text| {
        text.contains("portolan_streams_open{protocol=\"udp\"} 0")
    });
    assert!(!text.contains("status=\"502\""), "{text}");
}

#[test]
fn sessions_go_on_while_their_port_leads_elsewhere() {
    let (old, new) = (DatagramEndpoint::answering("old ", 1), DatagramEndpoint::answering("new ", 1));
    let mut world = serving(&[old.address], |options| options.streams(|stream| stream.responses = 100));
    service(&mut world, "new", &[new.address]);
    let client = Client::new(&world, PORT);
    assert_eq!(client.ask("a"), "old a");
    world.services("udp", &[(PORT, "default/new:53"), (OTHER, "default/new:53")]);
    assert_eq!(Client::new(&world, OTHER).ask("b"), "new b");
    assert_eq!(client.ask("c"), "old c", "worker-shutdown-timeout has not passed");
    assert_eq!(Client::new(&world, PORT).ask("d"), "new d");
    // A port that is closed and opened again serves new clients, though an old session is open on it.
    world.services("udp", &[]);
    assert_eq!(client.ask("e"), "old e");
    world.services("udp", &[(PORT, "default/new:53")]);
    assert_eq!(Client::new(&world, PORT).ask("f"), "new f");
    assert_eq!(client.ask("g"), "old g");
}

#[test]
fn the_number_of_sessions_is_bounded_and_those_idle_longest_end() {
    let endpoint = DatagramEndpoint::answering("", 1);
    let mut world = StreamCluster::with(ProxyOptions { ..one_worker() }, |options| {
        options
            .streams(|stream| stream.responses = 100)
            .connections(|connections| connections.max_worker_connections = 8)
    });
    service(&mut world, "dns", &[endpoint.address]);
    world.services("udp", &[(PORT, "default/dns:53")]);
    let clients: Vec<_> = (0..6).map(|_| Client::new(&world, PORT)).collect();
    for client in &clients {
        assert_eq!(client.ask("a"), "a");
    }
    let text = world
        .cluster
        .metrics("sessions were ended", |text| text.contains("portolan_stream_sessions_evicted_total 2"));
    assert!(text.contains("portolan_streams_open{protocol=\"udp\"} 4"), "{text}");
    assert_eq!(clients[0].ask("again"), "again", "it gets a new session");
}
