//! Admin pages, requested by a client.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use tokio::net::TcpStream;

use super::*;
use crate::admin::access::{AccessDecision, AdminStream, BoxFuture};
use crate::metrics::Registry;

fn admin() -> AdminServer {
    AdminServer::new(&Registry::new())
}

async fn pages() -> AdminListener {
    admin().listen("127.0.0.1:0").await.unwrap()
}

/// Sends bytes and returns the status line and the body.
async fn send(pages: &AdminListener, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    (head.lines().next().unwrap_or_default().to_owned(), body.trim_end().to_owned())
}

async fn get(pages: &AdminListener, path: &str) -> (String, String) {
    send(pages, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn requests_get_their_status_and_body() {
    let pages = pages().await;
    let _health =
        pages.route("/health", |request| AdminResponse::ok(request.uri.query().unwrap_or("OK").to_owned()));
    for (request, status, body) in [
        ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK", "OK"),
        ("GET /health?verbose HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK", "verbose"),
        ("GET /health HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK", "OK"),
        ("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK", ""),
        ("GET /health/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found", "404 page not found"),
        ("POST /health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 Method Not Allowed", "Method Not Allowed"),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request", ""),
    ] {
        assert_eq!(send(&pages, request).await, (status.to_owned(), body.to_owned()), "{request:?}");
    }
}

#[tokio::test]
async fn the_latest_route_of_a_path_answers_until_it_is_dropped() {
    let pages = pages().await;
    let old = pages.route("/ready", |_| AdminResponse::ok("old"));
    let failed = pages.route("/ready", |_| AdminResponse::ok("failed"));
    assert_eq!(get(&pages, "/ready").await.1, "failed");
    drop(failed);
    assert_eq!(get(&pages, "/ready").await.1, "old");
    let _new = pages.route("/ready", |_| AdminResponse::ok("new"));
    drop(old);
    assert_eq!(get(&pages, "/ready").await.1, "new");
}

#[tokio::test]
async fn a_listener_closes_when_its_last_owner_is_dropped() {
    let admin = admin();
    let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = probe.local_addr().unwrap().to_string();
    let error = admin.listen(&address).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), format!("cannot listen on {address}: the address is in use"));
    drop(probe);
    let health = admin.listen(&address).await.unwrap().route("/health", |_| AdminResponse::ok("OK"));
    let pages = admin.listen(&address).await.unwrap();
    let ready = pages.route("/ready", |_| AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, "kubernetes"));
    drop(health);
    assert_eq!(get(&pages, "/health").await.0, "HTTP/1.1 404 Not Found");
    assert_eq!(get(&pages, "/ready").await, ("HTTP/1.1 503 Service Unavailable".into(), "kubernetes".into()));
    drop((pages, ready));
    let again = admin.listen(&address).await.unwrap();
    let _health = again.route("/health", |_| AdminResponse::ok("OK"));
    assert_eq!(get(&again, "/ready").await.0, "HTTP/1.1 404 Not Found", "a new listener");
}

#[tokio::test]
async fn ready_lists_the_closed_gates() {
    let pages = pages().await;
    let gates = crate::ReadinessGates::new();
    let _ready = pages.route("/ready", gates.page(crate::Monitor::UntilReady));
    let (zone, etcd) = (gates.gate("kubernetes"), gates.gate("etcd"));
    let unready = |names: &str| ("HTTP/1.1 503 Service Unavailable".to_owned(), names.to_owned());
    assert_eq!(get(&pages, "/ready").await, unready("etcd,kubernetes"));
    zone.open();
    assert_eq!(get(&pages, "/ready").await, unready("etcd"));
    drop(etcd);
    assert_eq!(get(&pages, "/ready").await, ("HTTP/1.1 200 OK".into(), "OK".into()));
}

/// Requires the query `sesame`, and adds its name as a header. Refuses the first connection if the flag is set.
struct QueryPolicy(&'static str, std::sync::atomic::AtomicBool);

impl AccessPolicy for QueryPolicy {
    fn accept(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<Box<dyn AdminStream>>> {
        let refused = self.1.swap(false, Relaxed);
        Box::pin(async move {
            if refused { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Box::new(stream) as _) }
        })
    }

    fn authorize<'a>(&'a self, request: &'a AdminRequest) -> BoxFuture<'a, AccessDecision> {
        let response = (request.uri.query() != Some("sesame"))
            .then(|| AdminResponse::text(StatusCode::FORBIDDEN, self.0));
        let headers = [(http::header::SERVER, HeaderValue::from_static(self.0))].into_iter().collect();
        Box::pin(std::future::ready(AccessDecision { headers, response }))
    }
}

fn policy(name: &'static str, refuses: bool) -> Arc<dyn AccessPolicy> {
    Arc::new(QueryPolicy(name, refuses.into()))
}

#[tokio::test]
async fn a_connection_that_the_policy_refuses_affects_no_other() {
    let pages = pages().await;
    let _route = pages.route("/", |_| AdminResponse::ok("here"));
    let _policy = pages.require(policy("first", true));
    let mut refused = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(get(&pages, "/?sesame").await.1, "here");
}

#[tokio::test]
async fn the_latest_policy_is_in_force_until_it_is_dropped() {
    let pages = pages().await;
    let _route = pages.route("/", |_| AdminResponse::ok("here"));
    assert_eq!(get(&pages, "/").await.1, "here");
    let first = pages.require(policy("first", false));
    let failed = pages.require(policy("second", false));
    assert_eq!(get(&pages, "/").await, ("HTTP/1.1 403 Forbidden".into(), "second".into()));
    drop(failed);
    assert_eq!(get(&pages, "/").await.1, "first");
    let _second = pages.require(policy("second", false));
    drop(first);
    assert_eq!(get(&pages, "/").await.1, "second");
    assert_eq!(get(&pages, "/?sesame").await.1, "here");
    assert_eq!(get(&pages, "/none?sesame").await.0, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn a_new_policy_closes_earlier_connections() {
    let pages = pages().await;
    let _route = pages.route("/", |_| AdminResponse::ok("here"));
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"here") {
        assert_ne!(stream.read_buf(&mut response).await.unwrap(), 0, "kept alive");
    }
    let _policy = pages.require(policy("first", false));
    assert_eq!(stream.read_buf(&mut response).await.unwrap(), 0, "closed");
}

#[tokio::test]
async fn a_port_without_a_host_listens_on_all_addresses() {
    let pages = admin().listen(":0").await.unwrap();
    let _route = pages.route("/", |_| AdminResponse::ok("here"));
    let port = pages.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        TcpStream::connect((host, port)).await.unwrap();
    }
}

/// Opens `count` connections that send nothing.
async fn connect_idle(pages: &AdminListener, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(TcpStream::connect(pages.local_addr().unwrap()).await.unwrap());
    }
    streams
}

#[tokio::test]
async fn idle_connections_do_not_block_a_probe() {
    let registry = Registry::new();
    let pages = AdminServer::new(&registry).listen("127.0.0.1:0").await.unwrap();
    let _health = pages.route("/healthz", |_| AdminResponse::ok("ok"));
    let mut idle = connect_idle(&pages, MAX_CONNECTIONS + 10).await;
    assert_eq!(get(&pages, "/healthz").await.1, "ok");
    // The oldest were evicted for the newest and the probe.
    assert_eq!(idle[0].read(&mut [0]).await.unwrap(), 0);
    assert!(registry.text().contains("portolan_admin_connections_evicted_total 11\n"), "{}", registry.text());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let timeouts = Timeouts { response: Duration::from_millis(200), ..Timeouts::default() };
    let admin = AdminServer::with_timeouts(&Registry::new(), timeouts);
    let pages = admin.listen("127.0.0.1:0").await.unwrap();
    let _large = pages.route_large("/metrics", |_| AdminResponse::ok(vec![b'x'; 64 << 20]));
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The permit of a large response is released when its connection is closed.
    let permits = admin.0.shared.large_responses.clone();
    while permits.available_permits() == MAX_LARGE_RESPONSES {
        tokio::task::yield_now().await;
    }
    let _all = permits.acquire_many(MAX_LARGE_RESPONSES as u32).await.unwrap();
    let mut response = Vec::new();
    let read = stream.read_to_end(&mut response).await;
    assert!(read.is_err() || response.len() < 64 << 20, "{} bytes", response.len());
}

/// The length of a body that no buffer of the system holds.
const LARGE: usize = 64 << 20;

/// Reads the head of a response and this many bytes of its body.
async fn read_part(stream: &mut TcpStream, length: usize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&head));
    let mut body = stream.take(length as u64);
    assert_eq!(tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap(), length as u64);
}

const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_large_response_holds_its_permit_until_it_has_been_sent() {
    let admin = admin();
    let pages = admin.listen("127.0.0.1:0").await.unwrap();
    let _large = pages.route_large("/metrics", |_| AdminResponse::ok(vec![b'x'; LARGE]));
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(METRICS).await.unwrap();
    let permits = &admin.0.shared.large_responses;
    read_part(&mut stream, LARGE / 2).await;
    assert_eq!(permits.available_permits(), MAX_LARGE_RESPONSES - 1);
    let mut rest = (&mut stream).take((LARGE / 2) as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.unwrap();
    // The connection stays open.
    let _all = permits.acquire_many(MAX_LARGE_RESPONSES as u32).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_part(&mut stream, 0).await;
}

#[tokio::test]
async fn a_connection_that_sends_a_response_is_not_idle() {
    let pages = pages().await;
    let _large = pages.route_large("/metrics", |_| AdminResponse::ok(vec![b'x'; LARGE]));
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(METRICS).await.unwrap();
    read_part(&mut stream, 1).await;
    let mut idle = connect_idle(&pages, MAX_CONNECTIONS).await;
    assert_eq!(idle[0].read(&mut [0]).await.unwrap(), 0, "the oldest idle connection is evicted");
    let mut rest = (&mut stream).take(LARGE as u64 - 1);
    assert_eq!(tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.unwrap(), LARGE as u64 - 1);
}

#[tokio::test]
async fn a_response_is_made_when_the_one_before_it_was_sent() {
    let pages = pages().await;
    let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = made.clone();
    let _large = pages.route_large("/metrics", move |_| {
        count.fetch_add(1, Relaxed);
        AdminResponse::ok(vec![b'x'; LARGE])
    });
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(&METRICS.repeat(3)).await.unwrap();
    read_part(&mut stream, LARGE / 2).await;
    assert_eq!(made.load(Relaxed), 1);
    let mut rest = (&mut stream).take((LARGE / 2) as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.unwrap();
    read_part(&mut stream, LARGE / 2).await;
    assert_eq!(made.load(Relaxed), 2);
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_disconnected() {
    let timeouts = Timeouts { header: Duration::from_millis(10), ..Timeouts::default() };
    let admin = AdminServer::with_timeouts(&Registry::new(), timeouts);
    let pages = admin.listen("127.0.0.1:0").await.unwrap();
    let _health = pages.route("/healthz", |_| AdminResponse::ok("ok"));
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn requests_for_large_pages_wait_for_a_permit() {
    let timeouts = Timeouts { large_response_wait: Duration::from_millis(10), ..Timeouts::default() };
    let admin = AdminServer::with_timeouts(&Registry::new(), timeouts);
    let pages = admin.listen("127.0.0.1:0").await.unwrap();
    let _routes = [
        pages.route_large("/metrics", |_| AdminResponse::ok("all")),
        pages.route("/ready", |_| AdminResponse::ok("OK")),
    ];
    let all =
        admin.0.shared.large_responses.clone().acquire_many_owned(MAX_LARGE_RESPONSES as u32).await.unwrap();
    assert_eq!(get(&pages, "/metrics").await.0, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(get(&pages, "/ready").await.1, "OK", "probes do not wait");
    drop(all);
    assert_eq!(get(&pages, "/metrics").await.1, "all");
}

#[tokio::test]
async fn every_listener_has_an_index_and_the_common_pages() {
    let admin = admin();
    let pages = admin.listen("127.0.0.1:0").await.unwrap();
    admin.add_common_page("/problems", |_| AdminResponse::ok("none"));
    let _ready = pages.route("/ready", |_| AdminResponse::ok("OK"));
    assert_eq!(get(&pages, "/problems").await.1, "none");
    let index = send(&pages, "GET / HTTP/1.0\r\n\r\n").await.1;
    let paths: Vec<_> = index.lines().skip(2).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(paths, ["/problems", "/ready"], "{index}");
    let _own = pages.route("/problems", |_| AdminResponse::ok("own"));
    assert_eq!(get(&pages, "/problems").await.1, "own");
}

/// Reads from a stream of events until it has sent so many.
async fn read_events(stream: &mut TcpStream, count: usize) -> String {
    let mut text = Vec::new();
    while String::from_utf8_lossy(&text).matches("\n\n").count() < count {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "the stream ended");
    }
    String::from_utf8(text).unwrap()
}

async fn open_events(pages: &AdminListener) -> TcpStream {
    let mut stream = TcpStream::connect(pages.local_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream
}

#[tokio::test]
async fn events_are_sent_until_the_client_disconnects() {
    let pages = pages().await;
    let _events = pages.route_events("/events", Duration::from_millis(5), |_| {
        let mut number = 0;
        Ok(Box::new(move || {
            number += 1;
            number.to_string()
        }))
    });
    let mut stream = open_events(&pages).await;
    let text = read_events(&mut stream, 3).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("text/event-stream"), "{text}");
    assert!(text.contains("data: 1\n\n") && text.contains("data: 2\n\n"), "{text}");
}

#[tokio::test]
async fn streams_of_events_are_limited_and_give_their_places_back() {
    let pages = pages().await;
    let _events =
        pages.route_events("/events", Duration::from_millis(5), |_| Ok(Box::new(|| "x".to_owned())));
    let mut open = Vec::new();
    for _ in 0..MAX_EVENT_STREAMS {
        let mut stream = open_events(&pages).await;
        read_events(&mut stream, 1).await;
        open.push(stream);
    }
    assert_eq!(get(&pages, "/events").await.0, "HTTP/1.1 503 Service Unavailable");
    drop(open);
    // The server notices at its next event that the clients have gone.
    loop {
        let mut stream = open_events(&pages).await;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        if &begin == b"HTTP/1.1 200" {
            break;
        }
    }
}

#[tokio::test]
async fn a_browser_gets_the_live_page_at_the_root_and_a_page_knows_its_client() {
    let admin = admin();
    admin.add_common_page("/live", |request| {
        let peer = request.extensions.get::<crate::AdminPeer>().map(|peer| peer.0.to_string());
        AdminResponse::ok(peer.unwrap_or_default())
    });
    let pages = admin.listen("127.0.0.1:0").await.unwrap();
    let _health = pages.route("/health", |_| AdminResponse::ok("OK"));
    let browser = "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html,*/*\r\nConnection: close\r\n\r\n";
    assert_eq!(send(&pages, browser).await.1, "127.0.0.1");
    assert!(get(&pages, "/").await.1.starts_with("Portolan: pages"));
}
