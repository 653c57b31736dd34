//! The memory that waiting queries and open connections take.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use dns_wire::codes::rtype;
use dns_wire::{Edns, Query};
use support::{FakeUpstream, TestClient, TestService, read_framed};
use tokio::sync::Mutex;

/// Counts the allocated bytes.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = ALLOCATED.load(SeqCst);
    let open: Vec<_> = (0..OPEN).map(|_| connect()).collect();
    let each = ALLOCATED.load(SeqCst).saturating_sub(before) / OPEN;
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
    let before = ALLOCATED.load(SeqCst);
    // One after the other, so that no socket queue overflows.
    for sent in 1..=WAITING {
        client.send_to(&packet[..length], service.address).unwrap();
        while upstream.query_count() < sent {
            tokio::task::yield_now().await;
        }
    }
    let each = ALLOCATED.load(SeqCst).saturating_sub(before) / WAITING;
    assert!(each < 12 << 10, "{each} bytes each");
}
