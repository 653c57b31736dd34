//! A process that has no free descriptor when a client connects.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ingress_proxy::ProxyOptions;
use net::DescriptorShares;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{ScriptedEndpoint, TEST_TIMEOUT, TestClient, TestCluster, options};

/// The limit of the process with the proxy, and more clients than it allows.
const DESCRIPTORS: u64 = 100;
const CLIENTS: usize = 160;

/// How long accepting pauses after a failure.
const PAUSE: Duration = Duration::from_millis(100);

const REQUEST: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

/// Serves in a process of its own until its input ends; each line of it is answered with the metrics. Run by the test below.
#[test]
#[ignore = "run by another test in a process of its own"]
fn serves_without_descriptors() {
    let Ok(endpoint) = std::env::var("ENDPOINT") else { return };
    // The limits of connections would keep descriptors free.
    let descriptors = DescriptorShares { clients: 10_000, upstreams: 10_000 };
    let world =
        TestCluster::serving_with(ProxyOptions { descriptors, ..options() }, &[endpoint.parse().unwrap()]);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, hard).unwrap();
    println!("\nserving {}", world.http);
    for _ in std::io::stdin().lines() {
        let text = world.registry.text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or("0").to_owned()
        };
        let drained = value("portolan_client_connections_closed_total{reason=\"drained\"}");
        println!("\ncounts {} {drained}", value("portolan_accept_failures_total"));
    }
}

/// The process with the proxy.
struct LimitedProxy {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl LimitedProxy {
    fn start(endpoint: SocketAddr) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "descriptors::serves_without_descriptors", "--ignored", "--nocapture"])
            .env("ENDPOINT", endpoint.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The rest of the next line that begins with this word.
    fn read(&mut self, word: &str) -> String {
        let lines = self.output.by_ref().lines();
        let mut found =
            lines.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix(word)?.to_owned()));
        found.next().expect("the process writes this line")
    }

    /// How often accepting failed, and how many idle connections were closed.
    fn counts(&mut self) -> (f64, f64) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let counts = self.read("counts ");
        let (failures, drained) = counts.split_once(' ').unwrap();
        (failures.parse().unwrap(), drained.parse().unwrap())
    }
}

#[test]
fn accepting_pauses_and_idle_connections_are_closed_while_no_descriptor_is_free() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let mut proxy = LimitedProxy::start(script.address);
    let address: SocketAddr = proxy.read("serving ").parse().unwrap();
    let start = Instant::now();
    let idle: Vec<_> = (0..CLIENTS).map(|_| TestClient::connect(address)).collect();
    // All of them were accepted once: those that did not fit have displaced earlier ones.
    let most = DESCRIPTORS as f64;
    while proxy.counts().1 < CLIENTS as f64 - most {
        assert!(start.elapsed() < TEST_TIMEOUT, "{:?}", proxy.counts());
        std::thread::yield_now();
    }
    let (failures, drained) = proxy.counts();
    let pauses = start.elapsed().as_secs_f64() / PAUSE.as_secs_f64();
    // Each of the two workers fails once before its first pause.
    assert!(failures >= 1.0 && failures <= 2.0 * (pauses + 1.0), "{failures} failures in {pauses} pauses");
    assert!(drained <= CLIENTS as f64, "{drained}");
    for _ in 0..20 {
        let mut client = TestClient::connect(address);
        client.send(REQUEST);
        assert_eq!(client.response().status, 200, "clients are served as idle ones are closed");
    }
    drop(idle);
    let mut client = TestClient::connect(address);
    for _ in 0..20 {
        client.send(REQUEST);
        assert_eq!(client.response().status, 200);
    }
    drop(proxy.process.stdin.take());
    assert!(proxy.process.wait().unwrap().success());
}
