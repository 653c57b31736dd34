//! Limits on DNS over TCP, reached by clients that hold many connections or do not read their replies.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use dns_server::TcpLimits;
use dns_wire::codes::rtype;
use dns_wire::{Owner, Query, Reply, Section};
use socket2::{Domain, Socket, Type};
use support::{FakeCluster, FakeUpstream, TestClient, TestService, address, read_framed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMITS: TcpLimits =
    TcpLimits { connections: 100, connections_per_client: 100, buffered_bytes: 1 << 20 };

async fn start_service(lines: &str, limits: TcpLimits) -> TestService {
    let corefile = format!(".:0 {{\n{lines}\n}}");
    let loopback = [Ipv4Addr::LOCALHOST.into()];
    TestService::with_limits(&corefile, FakeCluster::listed(), &loopback, limits)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A query with its length.
fn framed(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = [0; 512];
    let length = Query::new(id, &name.parse().unwrap(), qtype).encode(id, &mut packet);
    [&(length as u16).to_be_bytes(), &packet[..length]].concat()
}

fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.into()
}

/// Whether a query is answered; false if the connection was closed.
fn is_answered(stream: &mut TcpStream) -> bool {
    stream.write_all(&framed(7, "a.", rtype::A)).is_ok() && read_framed(stream).is_some()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0)) || stream.take_error().is_ok_and(|error| error.is_some())
}

fn count(service: &TestService, metric: &str) -> String {
    let text = service.metrics.text();
    let line = text.lines().find_map(|line| line.strip_prefix(metric));
    line.unwrap_or("no line").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_connection_makes_room_for_a_new_one() {
    let service = start_service("whoami", TcpLimits { connections: 3, ..LIMITS }).await;
    let mut open: Vec<TcpStream> = Vec::new();
    for last in 1..=3 {
        let mut stream = connect([127, 0, 0, last], service.address);
        assert!(is_answered(&mut stream));
        open.push(stream);
        // Idle times have a resolution of a millisecond.
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(2) {
            tokio::task::yield_now().await;
        }
    }
    // The first connection is now the most recently used one.
    assert!(is_answered(&mut open[0]));
    assert!(is_answered(&mut connect([127, 0, 0, 4], service.address)));
    assert!(is_closed(&mut open[1]), "idle for the longest time");
    assert!(is_answered(&mut open[0]) && is_answered(&mut open[2]));
    assert_eq!(count(&service, "portolan_dns_tcp_connections_closed_total{reason=\"evicted\"}"), "1");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_its_limit_loses_its_own_idle_connections() {
    let service = start_service("whoami", TcpLimits { connections_per_client: 4, ..LIMITS }).await;
    let mut other = connect([127, 0, 0, 2], service.address);
    assert!(is_answered(&mut other));
    let mut flood: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = connect([127, 0, 0, 1], service.address);
            assert!(is_answered(&mut stream));
            stream
        })
        .collect();
    assert_eq!(count(&service, "portolan_dns_tcp_connections_closed_total{reason=\"evicted\"}"), "8");
    assert_eq!(count(&service, "portolan_dns_tcp_connections "), "5");
    assert!(is_answered(&mut other));
    assert_eq!(flood.iter_mut().filter_map(|stream| is_answered(stream).then_some(())).count(), 4);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_is_rejected_while_all_others_are_in_use() {
    let (upstream, received, release) = FakeUpstream::blocking();
    let limits = TcpLimits { connections: 1, ..LIMITS };
    let service = start_service(&format!("forward . {}", upstream.address), limits).await;
    let mut waiting = connect([127, 0, 0, 1], service.address);
    waiting.write_all(&framed(1, "www.example.org.", rtype::A)).unwrap();
    received.recv().unwrap();
    assert!(!is_answered(&mut connect([127, 0, 0, 2], service.address)));
    assert_eq!(count(&service, "portolan_dns_tcp_connections_rejected_total{limit=\"connections\"}"), "1");
    release.send(()).unwrap();
    assert!(read_framed(&mut waiting).is_some());
    service.stop().await;
}

/// A message of 60,000 bytes.
fn large(query: &Query, _: bool) -> Option<Reply> {
    let mut reply = address(query, [192, 0, 2, 1], 60);
    if query.qtype == rtype::TXT {
        reply.records_mut().clear();
        for _ in 0..250 {
            let text = [&[239][..], &[b'x'; 239]].concat();
            reply.push(Section::Answer, Owner::Question, rtype::TXT, 60, &text);
        }
    }
    Some(reply)
}

#[tokio::test]
async fn a_client_that_never_reads_its_replies_is_disconnected() {
    let upstream = FakeUpstream::start(large);
    let lines = format!("cache\nforward . {} {{\nforce_tcp\n}}", upstream.address);
    let service = start_service(&lines, LIMITS).await;
    let client = TestClient::tcp(service.address);
    let answered = tokio::task::spawn_blocking(move || client.query("large.example.org.", rtype::TXT)).await;
    assert_eq!(answered.unwrap().1.records().len(), 250, "the reply is in the cache");
    // From here on time is paused: it advances when no task can run.
    tokio::time::pause();
    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    // More queries than the kernel buffers. Their replies would be 60 GB.
    let queries = framed(1, "large.example.org.", rtype::TXT).repeat(1000);
    let mut written = 0;
    while written < 1000 && stream.write_all(&queries).await.is_ok() {
        written += 1;
    }
    assert!(written < 1000, "the server stopped reading and closed the connection");
    assert_eq!(count(&service, "portolan_dns_tcp_connections_closed_total{reason=\"unread\"}"), "1");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_every_reply() {
    let upstream = FakeUpstream::start(large);
    let lines = format!("cache\nforward . {} {{\nforce_tcp\n}}", upstream.address);
    let service = start_service(&lines, LIMITS).await;
    let mut stream = connect([127, 0, 0, 1], service.address);
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for id in 0..300 {
            writer.write_all(&framed(id, "large.example.org.", rtype::TXT)).unwrap();
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut seen = [false; 300];
    while let Some(reply) = read_framed(&mut stream) {
        assert!(reply.len() > 60_000);
        seen[usize::from(u16::from_be_bytes([reply[0], reply[1]]))] = true;
    }
    assert!(seen.iter().all(|seen| *seen));
    sender.join().unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_queries_are_held_up_to_a_limit() {
    let service = start_service("whoami", TcpLimits { buffered_bytes: 100_000, ..LIMITS }).await;
    let part = [&u16::MAX.to_be_bytes()[..], &[0; 60_000]].concat();
    let mut first = connect([127, 0, 0, 1], service.address);
    first.write_all(&part).unwrap();
    let mut second = connect([127, 0, 0, 2], service.address);
    // The bytes of the first connection may not have been read yet.
    let closed = |service: &TestService| {
        count(service, "portolan_dns_tcp_connections_closed_total{reason=\"memory\"}") == "1"
    };
    let _ = second.write_all(&part);
    while !closed(&service) {
        tokio::task::yield_now().await;
    }
    assert!(is_answered(&mut connect([127, 0, 0, 3], service.address)));
    service.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_query_sent_byte_by_byte_does_not_keep_the_connection_open() {
    let service = start_service("whoami", LIMITS).await;
    let start = tokio::time::Instant::now();
    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    let query = framed(1, "a.", rtype::A);
    stream.write_all(&query).await.unwrap();
    let mut reply = [0; 2];
    stream.read_exact(&mut reply).await.unwrap();
    for byte in query.iter().take(query.len() - 1) {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!((10..=query.len() as u64).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(count(&service, "portolan_dns_tcp_connections_closed_total{reason=\"idle\"}"), "1");
    service.stop().await;
}
