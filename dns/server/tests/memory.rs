//! The memory that waiting queries and open connections take.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;
mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use counting_allocator::allocated_bytes;
use dns_chain::PartialReplies;
use dns_server::TcpLimits;
use dns_wire::codes::{rcode, rtype};
use dns_wire::{Edns, Owner, Query, Reply, Section};
use support::{FakeCluster, FakeUpstream, TestClient, TestService, context, read_framed};
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

/// The value of a metric, summed over its labels.
fn metric(text: &str, name: &str) -> usize {
    let of_name = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    let values = text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap() as usize).sum()
}

/// An answer of 55,000 bytes.
fn long_answer(_: &Query, _: bool) -> Option<Reply> {
    let mut reply = Reply::default();
    for number in 0..250_u8 {
        let mut text = [b'x'; 201];
        (text[0], text[1]) = (200, number);
        reply.push(Section::Answer, Owner::Question, rtype::TXT, 600, &text);
    }
    Some(reply)
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_of_many_names_take_no_more_than_the_bytes_of_the_cache() {
    /// Bytes that 4,096 entries may take, which is more than there are names.
    const LIMIT: usize = 8 << 20;
    const NAMES: usize = 480;
    const CLIENTS: usize = 8;
    let _lock = ONE_AT_A_TIME.lock().await;
    let upstream = FakeUpstream::start(long_answer);
    let lines = format!("prometheus 127.0.0.1:0\ncache {{\nsuccess 4096\n}}\nforward . {}", upstream.address);
    let service = TestService::start(&format!(".:0 {{\n{lines}\n}}")).await;
    let client = TestClient::tcp(service.address);
    let ask = move |number: usize| {
        let (_, reply) = client.query(&format!("n{number}.example.org."), rtype::TXT);
        assert_eq!(reply.section(Section::Answer).count(), 250, "{number}");
    };
    // Warm-up: buffers of threads and connections.
    (0..CLIENTS).for_each(ask);
    let before = allocated_bytes();
    let most = Arc::new(AtomicUsize::new(0));
    let asking: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let most = most.clone();
            std::thread::spawn(move || {
                for number in (client..NAMES).step_by(CLIENTS) {
                    ask(number);
                    most.fetch_max(allocated_bytes(), SeqCst);
                }
            })
        })
        .collect();
    asking.into_iter().for_each(|thread| thread.join().unwrap());

    let text = service.metrics.text();
    let bytes = metric(&text, "portolan_cache_bytes");
    assert!((LIMIT * 3 / 4..=LIMIT).contains(&bytes), "{bytes} bytes of {LIMIT}");
    let (entries, evicted) =
        (metric(&text, "coredns_cache_entries"), metric(&text, "portolan_cache_evictions_for_bytes_total"));
    assert_eq!(entries + evicted, NAMES, "each answer is stored or evicted: {text}");
    assert!(evicted > NAMES / 2, "{evicted} evicted");
    assert_eq!(metric(&text, "portolan_forward_partial_reply_bytes"), 0);
    // Besides the cache: replies in flight, in the server, its upstream and the clients.
    let most = most.load(SeqCst).saturating_sub(before);
    assert!(most < LIMIT + CLIENTS * (1 << 20), "{most} bytes");
    // The newest answers are cached.
    let asked = upstream.query_count();
    ask(NAMES - 1);
    assert_eq!(upstream.query_count(), asked);
    service.stop().await;
}

/// An upstream over TCP that begins a reply of 64 KiB to each query and does not end it. Counts the replies.
fn endless_upstream() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, begun) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = begun.clone();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if read_framed(&mut stream).is_none() {
                continue;
            }
            let _ = stream.write_all(&[&u16::MAX.to_be_bytes()[..], &[0; 60_000]].concat());
            open.push(stream);
            count.fetch_add(1, SeqCst);
        }
    });
    (address, begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_do_not_end_take_no_more_than_their_limit() {
    // 64 replies.
    const LIMIT: usize = 4 << 20;
    const QUERIES: usize = 90;
    let _lock = ONE_AT_A_TIME.lock().await;
    let (address, begun) = endless_upstream();
    let lines = format!("forward . {address} {{\nforce_tcp\nread_timeout 1m\nmax_fails 0\n}}");
    let mut context = context(FakeCluster::listed());
    context.limits.partial_replies = PartialReplies::new(&context.metrics, LIMIT);
    let corefile = format!(".:0 {{\n{lines}\n}}\nme:0 {{\nwhoami\n}}");
    let loopback = [[127, 0, 0, 1].into()];
    let service = TestService::in_context(&corefile, context, &loopback, TcpLimits::default()).await.unwrap();
    // Warm-up: enough clients to reach each thread, which then allocates its buffers.
    (0..20).for_each(|_| drop(TestClient::udp(service.address).query("me.", rtype::A)));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut packet = [0; 512];
    let length = Query::new(7, &"www.example.org.".parse().unwrap(), rtype::A).encode(7, &mut packet);
    let before = allocated_bytes();
    for sent in 1..=QUERIES {
        client.send_to(&packet[..length], service.address).unwrap();
        while begun.load(SeqCst) < sent {
            tokio::task::yield_now().await;
        }
    }
    // The queries whose replies are over the limit fail at once.
    let mut reply = [0; 512];
    let length = client.recv(&mut reply).unwrap();
    assert_eq!((length > 12, u16::from(reply[3] & 15)), (true, rcode::SERVFAIL));
    let taken = allocated_bytes().saturating_sub(before);
    // A waiting query takes up to 12 KiB besides.
    assert!(taken < LIMIT + QUERIES * (12 << 10), "{taken} bytes");
    let text = service.metrics.text();
    let held = metric(&text, "portolan_forward_partial_reply_bytes");
    assert!((LIMIT * 3 / 4..=LIMIT).contains(&held), "{held} bytes");
    assert!(metric(&text, "portolan_forward_partial_replies_rejected_total") > 0, "{text}");
}
