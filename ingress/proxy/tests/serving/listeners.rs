//! The addresses of the listeners: `bind-address`.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use ingress_proxy::ProxyOptions;

use crate::streams::{PORT, StreamCluster, own_address};
use crate::support::{ScriptedEndpoint, TEST_TIMEOUT, TestClient, TestCluster, options};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const GET: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

/// Waits until the proxy serves HTTP on an address, and returns it with its port.
fn wait_for(world: &TestCluster, ip: IpAddr) -> SocketAddr {
    let start = Instant::now();
    loop {
        let open = world.proxy.as_ref().unwrap().http();
        if let [address] = open[..]
            && address.ip() == ip
        {
            return address;
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{open:?} is not {ip}");
        std::thread::yield_now();
    }
}

fn wait_for_problems(world: &TestCluster, wanted: &[&str]) {
    let start = Instant::now();
    loop {
        let problems = world.listen_problems.lock().unwrap().clone();
        let texts: Vec<String> = problems.iter().map(|one| format!("{}: {}", one.key, one.what)).collect();
        if texts.len() == wanted.len() && texts.iter().zip(wanted).all(|(text, wanted)| text.contains(wanted))
        {
            return;
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{texts:?}");
        std::thread::yield_now();
    }
}

fn get(address: SocketAddr) -> u16 {
    let mut client = TestClient::connect(address);
    client.send(GET);
    client.response().status
}

#[test]
fn listeners_follow_bind_address_and_open_connections_stay() {
    let script = ScriptedEndpoint::always(OK);
    let any: IpAddr = "127.0.0.1".parse().unwrap();
    let mut world = TestCluster::serving(&[script.address]);
    let mut kept = world.client();
    kept.send(GET);
    assert_eq!(kept.response().status, 200);

    let other = own_address();
    world.configure(&[("bind-address", &other.to_string())]);
    let moved = wait_for(&world, other);
    assert_eq!(get(moved), 200);
    let start = Instant::now();
    while TcpStream::connect(world.http).is_ok() {
        assert!(start.elapsed() < TEST_TIMEOUT, "the address of before is closed");
    }
    kept.send(GET);
    assert_eq!(kept.response().status, 200, "a connection to the address of before");

    // This machine has no such address.
    world.configure(&[("bind-address", "192.0.2.1")]);
    wait_for_problems(
        &world,
        &["bind-address: cannot listen on 192.0.2.1:0: this machine has no such address"; 2],
    );
    assert_eq!(get(moved), 200);

    world.configure(&[("worker-processes", "7")]);
    let back = wait_for(&world, any);
    assert_eq!(get(back), 200);
    wait_for_problems(&world, &["worker-processes: takes effect at the next start"]);
    world.configure(&[]);
    wait_for_problems(&world, &[]);
}

/// RFC 5737: no machine has this address.
#[test]
fn an_address_that_is_missing_does_not_close_the_others() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    let other = own_address();
    world.configure(&[("bind-address", &format!("{other},192.0.2.1"))]);
    wait_for_problems(&world, &["bind-address: cannot listen on 192.0.2.1:0"; 2]);
    let open = world.proxy.as_ref().unwrap().http();
    let [new, before] = open[..] else { panic!("{open:?}") };
    assert_eq!((new.ip(), before), (other, world.http), "the new one, and that of before");
    let mut waiting = TestClient::connect(new);
    assert_eq!((get(new), get(before)), (200, 200));

    // Changed again, so the addresses are opened again: those that are open stay.
    world.configure(&[("bind-address", &format!("{other},198.51.100.1"))]);
    wait_for_problems(&world, &["bind-address: cannot listen on 198.51.100.1:0"; 2]);
    assert_eq!(world.proxy.as_ref().unwrap().http(), [new, before], "with the same ports");

    world.configure(&[("bind-address", &other.to_string())]);
    assert_eq!(wait_for(&world, other), new);
    wait_for_problems(&world, &[]);
    waiting.send(GET);
    assert_eq!(waiting.response().status, 200);
}

#[test]
fn a_value_without_an_address_closes_everything() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&[("bind-address", "eth0")]);
    assert_eq!(get(world.http), 503);
    world.configure(&[]);
    assert_eq!(get(world.http), 200);
}

#[test]
fn an_address_may_overlap_with_the_one_before() {
    let script = ScriptedEndpoint::always(OK);
    let all = vec!["0.0.0.0:0".parse().unwrap()];
    let mut world = TestCluster::serving_with(
        ProxyOptions { http: all.clone(), https: all, ..options() },
        &[script.address],
    );
    let other = own_address();
    world.configure(&[("bind-address", &other.to_string())]);
    assert_eq!(get(wait_for(&world, other)), 200);
    world.configure(&[("disable-ipv6", "true")]);
    let all = wait_for(&world, "0.0.0.0".parse().unwrap());
    assert_eq!(get(SocketAddr::new(other, all.port())), 200);
}

#[test]
fn ports_of_tcp_services_follow_bind_address() {
    let echo = ScriptedEndpoint::always(OK);
    let mut world = StreamCluster::new();
    let before = world.address;
    world.cluster.service("db", &[echo.address]);
    world.tcp(&[(PORT, "default/db:80")]);
    let mut kept = world.connect(PORT);
    let other = own_address();
    world.cluster.configure(&[("bind-address", &other.to_string())]);
    world.address = other;
    world.connect(PORT);
    world.address = before;
    world.wait_until(PORT, false);
    kept.send(GET);
    assert_eq!(kept.response().status, 200, "a stream to the address of before");
    world.cluster.configure(&[]);
    world.connect(PORT);
}
