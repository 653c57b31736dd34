//! Upstreams that send wrong, long or no replies, and more queries for them than they bear.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};
use support::{FakeUpstream, TestClient, TestService, address, answers, read_framed};

/// How an upstream answers the message of a query over UDP and over TCP.
type RawAnswer = fn(&[u8]) -> Vec<u8>;

/// An upstream that sends any bytes. A TCP connection is closed after them.
fn raw_upstream(over_udp: RawAnswer, over_tcp: RawAnswer) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let at = udp.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut packet) {
            let _ = udp.send_to(&over_udp(&packet[..length]), client);
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let Some(query) = read_framed(&mut stream) else { continue };
            let _ = stream.write_all(&over_tcp(&query));
        }
    });
    at
}

/// The header and question of a query as a reply, with these counts of records and bytes after them.
fn reply_with(query: &[u8], answers: u8, more: &[u8]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    (reply[7], reply[11]) = (answers, 0);
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
    reply.truncate(end);
    reply.extend_from_slice(more);
    reply
}

fn framed(message: Vec<u8>) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], &message].concat()
}

/// An address record of the queried name.
const RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_no_message_reaches_no_client() {
    let cases: [(&str, RawAnswer); 6] = [
        ("only an ID", |query| query[..2].to_vec()),
        ("fewer records than announced", |query| reply_with(query, 2, &RECORD)),
        ("a name that points to itself", |query| reply_with(query, 1, &[0xc0, 29, 0, 1, 0, 1])),
        ("a name beyond the end", |query| reply_with(query, 1, &[0xff, 0xff, 0, 1, 0, 1])),
        ("a record of the wrong length", |query| {
            let mut record = RECORD;
            record[11] = 3;
            reply_with(query, 1, &record[..15])
        }),
        ("bytes without meaning", |query| [&query[..2], &[0xa5; 500]].concat()),
    ];
    for (case, over_udp) in cases {
        let at = raw_upstream(over_udp, |_| Vec::new());
        let service = TestService::start(&format!(
            ".:0 {{\nforward . {at} {{\nread_timeout 200ms\nmax_fails 0\n}}\n}}"
        ))
        .await;
        let (query, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
        assert_eq!(answers(&reply, &query), "", "{case}");
        // What may be cut off is asked again over TCP, which fails here.
        assert!(reply.truncated || reply.rcode == rcode::SERVFAIL || reply.rcode == rcode::FORMERR, "{case}");
        let (_, reply) = TestClient::tcp(service.address).query("www.example.org.", rtype::A);
        assert_eq!(reply.rcode, rcode::SERVFAIL, "{case}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_closes_in_the_middle_of_a_reply_is_left_for_the_next() {
    let good = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    let cases: [(&str, RawAnswer); 3] = [
        ("half a length", |_| vec![0]),
        ("half a reply", |query| framed(reply_with(query, 1, &RECORD))[..20].to_vec()),
        ("another ID, then nothing", |query| {
            let mut reply = reply_with(query, 1, &RECORD);
            reply[0] ^= 0xff;
            framed(reply)
        }),
    ];
    for (case, over_tcp) in cases {
        let bad = raw_upstream(|_| Vec::new(), over_tcp);
        let lines =
            format!("forward . {bad} {} {{\npolicy sequential\nforce_tcp\nread_timeout 1s\n}}", good.address);
        let service = TestService::start(&format!(".:0 {{\n{lines}\n}}")).await;
        let (query, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
        assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{case}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_longer_than_the_client_accepts_is_truncated() {
    // Without regard to the size in the query: 200 records.
    let at = raw_upstream(
        |query| reply_with(query, 200, &RECORD.repeat(200)),
        |query| framed(reply_with(query, 200, &RECORD.repeat(200))),
    );
    let service = TestService::start(&format!(".:0 {{\nforward . {at}\n}}")).await;
    let (_, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
    assert!(reply.truncated);
    let (query, reply) = TestClient::tcp(service.address).query("www.example.org.", rtype::A);
    assert!(!reply.truncated);
    assert_eq!(answers(&reply, &query).split(", ").count(), 200);
    service.stop().await;
}

/// Aliases of an upstream that lead to each other are those of its reply: nothing follows them.
#[tokio::test(flavor = "multi_thread")]
async fn aliases_that_lead_to_each_other_cost_one_query() {
    let upstream = FakeUpstream::start(|query, _| {
        let mut reply = Reply::default();
        let other = if query.name()[1] == b'a' { b"\x01b\x07example\x00" } else { b"\x01a\x07example\x00" };
        reply.push(Section::Answer, Owner::Question, rtype::CNAME, 60, other);
        Some(reply)
    });
    let service = TestService::start(&format!(".:0 {{\ncache\nforward . {}\n}}", upstream.address)).await;
    let (query, reply) = TestClient::udp(service.address).query("a.example.", rtype::A);
    assert_eq!(answers(&reply, &query), "CNAME b.example.");
    assert_eq!(upstream.query_count(), 1);
    service.stop().await;
}

/// Sends queries for external names over one socket until `ends` is set, whatever the replies are.
fn flood(to: SocketAddr, ends: Arc<AtomicBool>, sent: Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut packet, mut reply) = ([0; 512], [0; 512]);
    for number in 0_u64.. {
        if ends.load(SeqCst) {
            return;
        }
        let query = Query::new(number as u16, &format!("n{number}.example.org.").parse().unwrap(), rtype::A);
        let length = query.encode(number as u16, &mut packet);
        if socket.send(&packet[..length]).is_ok() {
            sent.fetch_add(1, SeqCst);
        }
        while socket.recv(&mut reply).is_ok() {}
        // Without a pause it would take the processor from the server: a thousand a second, for ever.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_forwards_than_upstreams_bear_cost_no_cluster_name() {
    // The upstream never answers, so that a query is in progress for half a second: more than four times the queries that
    // may be in progress arrive meanwhile.
    let silent = FakeUpstream::start(|_, _| None);
    let service = TestService::start(&format!(
        ".:0 {{\nprometheus 127.0.0.1:0\nkubernetes cluster.local\nforward . {} {{\nmax_concurrent 100\nread_timeout 500ms\nmax_fails 0\n}}\n}}",
        silent.address
    ))
    .await;
    let (ends, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flooding = {
        let (to, ends, sent) = (service.address, ends.clone(), sent.clone());
        std::thread::spawn(move || flood(to, ends, sent))
    };
    while sent.load(SeqCst) < 400 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let client = TestClient::udp(service.address);
    let ask = move |_| {
        let begun = Instant::now();
        let (query, reply) = client.query("web.default.svc.cluster.local.", rtype::A);
        assert_eq!(answers(&reply, &query), "A 10.96.0.10");
        begun.elapsed()
    };
    let asking = tokio::task::spawn_blocking(move || (0..500).map(ask).collect::<Vec<Duration>>());
    let mut took = asking.await.unwrap();
    ends.store(true, SeqCst);
    flooding.join().unwrap();
    // A query that waited for an upstream would take half a second or more. The median, because this machine may be busy.
    took.sort();
    assert!(took[250] < Duration::from_millis(450), "{took:?}");
    let metrics = service.metrics.text();
    let rejected = metrics
        .lines()
        .find_map(|line| line.strip_prefix("coredns_forward_max_concurrent_rejects_total "))
        .and_then(|count| count.parse::<usize>().ok());
    assert!(rejected.is_some_and(|count| count > 100), "{rejected:?} of {}", sent.load(SeqCst));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_upstream_delays_no_name_of_another() {
    let silent = FakeUpstream::start(|_, _| None);
    let good = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    let service = TestService::start(&format!(
        ".:0 {{\nkubernetes cluster.local\nforward slow.test {} {{\nread_timeout 4s\nmax_fails 0\n}}\nforward . {}\n}}",
        silent.address, good.address
    ))
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(service.address).unwrap();
    let mut packet = [0; 512];
    for id in 0..300 {
        let query = Query::new(id, &format!("n{id}.slow.test.").parse().unwrap(), rtype::A);
        let length = query.encode(id, &mut packet);
        socket.send(&packet[..length]).unwrap();
    }
    while silent.query_count() < 300 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    for transport in [TestClient::udp, TestClient::tcp] {
        let client = transport(service.address);
        let (query, reply) = client.query("www.example.org.", rtype::A);
        assert_eq!(answers(&reply, &query), "A 192.0.2.1");
        let (query, reply) = client.query("web.default.svc.cluster.local.", rtype::A);
        assert_eq!(answers(&reply, &query), "A 10.96.0.10");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    service.stop().await;
}
