//! A flood of idle TCP connections must not take the descriptors that forwarding needs.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use dns_wire::codes::{rcode, rtype};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{FakeUpstream, TestClient, TestService, address};

/// More than the process may have descriptors.
const CONNECTIONS: usize = 1500;

/// Opens connections in a process of its own and holds them until its input ends. Run by the test below.
#[test]
#[ignore = "run by another test in a process of its own"]
fn flood() {
    let Ok(target) = std::env::var("FLOOD_TARGET") else { return };
    let target: SocketAddr = target.parse().unwrap();
    net::descriptors::raise_limit().unwrap();
    let open: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(target)).collect();
    println!("open");
    let _ = std::io::stdin().read(&mut [0]);
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_leave_descriptors_for_forward() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1024), hard).unwrap();
    let upstream = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 0)));
    let service = TestService::start(&format!(".:0 {{\nforward . {}\n}}", upstream.address)).await;
    let mut flood = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "flood", "--ignored", "--nocapture"])
        .env("FLOOD_TARGET", service.address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(flood.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("open") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0);
    }
    for client in [TestClient::udp(service.address), TestClient::tcp(service.address)] {
        let (_, reply) = client.query("www.example.org.", rtype::A);
        assert_eq!(reply.rcode, rcode::NOERROR, "{client:?}");
    }
    drop(flood.stdin.take());
    flood.wait().unwrap();
    service.stop().await;
}
