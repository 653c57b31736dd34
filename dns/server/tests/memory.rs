//! The memory that waiting queries and open connections take.

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;
mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use counting_allocator::allocated_bytes;
use dns_wire::codes::rtype;
use dns_wire::{Edns, Query};
use support::{FakeUpstream, TestClient, TestService, read_framed};
use tokio::sync::Mutex;

/// Bytes are counted for the whole process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_takes_a_few_kilobytes() {
    const OPEN: usize = 200;
    let _lock = ONE_AT_A_TIME.lock().await;
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    let mut packet = [0; 512];
    let length = Query::new(0, &"me.".parse().unwrap(), rtype::A).encode(0, &mut packet);
    let message = [&(length as u16).to_be_bytes(), &packet[..length]].concat();
    let connect = || {
        let mut stream = TcpStream::connect(service.address).unwrap();
        stream.write_all(&message).unwrap();
        read_framed(&mut stream).unwrap();
        stream
    };
    // Warm-up: each thread allocates its buffers.
    let warm: Vec<_> = (0..20).map(|_| connect()).collect();
    let before = allocated_bytes();
    let open: Vec<_> = (0..OPEN).map(|_| connect()).collect();
    let each = allocated_bytes().saturating_sub(before) / OPEN;
    assert!(each < 16 << 10, "{each} bytes each");
    drop((warm, open));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_query_takes_a_few_kilobytes_even_if_it_accepts_a_long_reply() {
    const WAITING: usize = 500;
    let _lock = ONE_AT_A_TIME.lock().await;
    let upstream = FakeUpstream::start(|_, _| None);
    let forward = format!("forward . {} {{\nread_timeout 1m\n}}", upstream.address);
    let service = TestService::start(&format!(".:0 {{\n{forward}\n}}\nme:0 {{\nwhoami\n}}")).await;
    // Warm-up: enough clients to reach each thread, which then allocates its buffers.
    (0..20).for_each(|_| drop(TestClient::udp(service.address).query("me.", rtype::A)));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut query = Query::new(0, &"www.example.org.".parse().unwrap(), rtype::A);
    query.edns = Some(Edns { udp_size: u16::MAX, version: 0, dnssec_ok: false });
    let mut packet = [0; 512];
    let length = query.encode(0, &mut packet);
    let before = allocated_bytes();
    // One after the other, so that no socket queue overflows.
    for sent in 1..=WAITING {
        client.send_to(&packet[..length], service.address).unwrap();
        while upstream.query_count() < sent {
            tokio::task::yield_now().await;
        }
    }
    let each = allocated_bytes().saturating_sub(before) / WAITING;
    assert!(each < 12 << 10, "{each} bytes each");
}
