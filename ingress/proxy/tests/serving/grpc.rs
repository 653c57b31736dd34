//! HTTP/2 to endpoints: `backend-protocol` GRPC and GRPCS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use cluster::{Event, Key, Kind};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response, StatusCode};
use net::DescriptorShares;
use net::testing::certificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use ingress_proxy::ProxyOptions;

use crate::support::{TEST_TIMEOUT, TestCluster, TestOptions, one_worker, with_proxy};

/// What an endpoint has to tell.
#[derive(Debug)]
enum Report {
    Request(Box<Request<()>>),
    /// The proxy has reset a stream.
    Reset(Reason),
    /// How many bytes of an endless response could be sent before the proxy took no more.
    Sent(usize),
}

/// An endpoint of HTTP/2. The path of a request says how it is answered.
struct H2Endpoint {
    address: SocketAddr,
    reports: mpsc::Receiver<Report>,
    connections: Arc<AtomicUsize>,
}

/// Properties of an endpoint.
#[derive(Clone, Default)]
struct EndpointOptions {
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    max_streams: Option<u32>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl H2Endpoint {
    fn new() -> Self {
        Self::with(EndpointOptions::default())
    }

    fn with(options: EndpointOptions) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, reports) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        // Ends with the process: a test has one endpoint.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                accept(TcpListener::from_std(listener).unwrap(), options, sender, count).await
            });
        });
        Self { address, reports, connections }
    }

    fn report(&self) -> Report {
        self.reports.recv_timeout(TEST_TIMEOUT).expect("the endpoint reports something")
    }

    fn seen(&self) -> Request<()> {
        match self.report() {
            Report::Request(request) => *request,
            other => panic!("{other:?} instead of a request"),
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    options: EndpointOptions,
    reports: mpsc::Sender<Report>,
    count: Arc<AtomicUsize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        count.fetch_add(1, SeqCst);
        let (options, reports) = (options.clone(), reports.clone());
        tokio::spawn(async move {
            match &options.tls {
                None => serve(stream, &options, reports).await,
                Some(tls) => {
                    let stream = TlsAcceptor::from(tls.clone()).accept(stream).await.unwrap();
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                    serve(stream, &options, reports).await;
                }
            }
        });
    }
}

async fn serve<S>(stream: S, options: &EndpointOptions, reports: mpsc::Sender<Report>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = server::Builder::new();
    if let Some(most) = options.max_streams {
        builder.max_concurrent_streams(most);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let leaves = request.uri().path() == "/goaway";
        let reports = reports.clone();
        tokio::spawn(async move { answer(request, respond, &reports).await });
        if leaves {
            connection.graceful_shutdown();
        }
    }
}

fn ok() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    reports: &mpsc::Sender<Report>,
) {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let _ = reports.send(Report::Request(Box::new(Request::from_parts(parts, ()))));
    match path.as_str() {
        "/trailers-only" => {
            let mut head = ok();
            head.headers_mut().extend(grpc_status("5"));
            respond.send_response(head, true).unwrap();
        }
        "/hang" => {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            let _ = reports.send(Report::Reset(reset.unwrap()));
        }
        "/reset" => {
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_data(Bytes::from_static(b"part"), false).unwrap();
            tokio::task::yield_now().await;
            stream.send_reset(Reason::ENHANCE_YOUR_CALM);
        }
        "/refuse" => respond.send_reset(Reason::REFUSED_STREAM),
        "/early" => {
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_trailers(grpc_status("8")).unwrap();
        }
        "/large-head" => {
            let mut head = ok();
            for at in 0..70 {
                let name = http::HeaderName::try_from(format!("x-{at}")).unwrap();
                head.headers_mut().insert(name, "x".repeat(1000).parse().unwrap());
            }
            let _ = respond.send_response(head, true);
        }
        "/endless" => {
            let mut stream = respond.send_response(ok(), false).unwrap();
            let sent = send_endlessly(&mut stream).await;
            let _ = reports.send(Report::Sent(sent));
            let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            let _ = reports.send(Report::Reset(reset.unwrap()));
        }
        _ => {
            let mut stream = respond.send_response(ok(), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                let _ = stream.send_data(data, false);
            }
            let _ = stream.send_trailers(grpc_status("0"));
        }
    }
}

/// Sends until the other side has taken nothing for a while, and returns how much it took.
async fn send_endlessly(stream: &mut SendStream<Bytes>) -> usize {
    let mut sent = 0;
    loop {
        stream.reserve_capacity(16_384);
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        // The time only decides how long the test takes: a slower proxy takes less.
        match tokio::time::timeout(Duration::from_millis(500), capacity).await {
            Ok(Some(Ok(length))) => {
                stream.send_data(vec![b'x'; length].into(), false).unwrap();
                sent += length;
            }
            _ => return sent,
        }
    }
}

fn world(options: impl Into<TestOptions>, endpoint: &H2Endpoint, protocol: &str) -> TestCluster {
    let mut world = TestCluster::with(options);
    world.service("shop", &[endpoint.address]);
    world.ingress("shop", "shop.example", &[("backend-protocol", protocol)]);
    world
}

async fn connect(world: &TestCluster) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(world.http).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn post(path: &str) -> Request<()> {
    let request = Request::post(format!("http://shop.example{path}")).header("te", "trailers");
    request.header("grpc-timeout", "1S").header("content-type", "application/grpc").body(()).unwrap()
}

/// Sends a request with a body and returns status, body and trailers.
async fn call(
    sender: &mut client::SendRequest<Bytes>,
    path: &str,
    message: &'static str,
) -> Result<(StatusCode, Bytes, Option<HeaderMap>), h2::Error> {
    let (response, mut stream) = sender.send_request(post(path), false)?;
    // Fails if the response has come already.
    let _ = stream.send_data(Bytes::from_static(message.as_bytes()), true);
    let (head, mut body) = response.await?.into_parts();
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        received.extend_from_slice(&data);
    }
    let mut trailers = body.trailers().await?;
    if head.headers.contains_key("grpc-status") {
        trailers = Some(head.headers);
    }
    Ok((head.status, received.into(), trailers))
}

/// The status, the body and `grpc-status`.
type Called = (u16, String, Option<String>);

fn called(world: &TestCluster, path: &str) -> Result<Called, h2::Error> {
    world.runtime.block_on(async {
        let (status, body, trailers) = call(&mut connect(world).await, path, "hello").await?;
        let code = trailers.and_then(|map| Some(map.get("grpc-status")?.to_str().unwrap().to_owned()));
        Ok((status.as_u16(), String::from_utf8(body.to_vec()).unwrap(), code))
    })
}

#[test]
fn messages_and_trailers_pass_and_the_deadline_is_passed_on() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "grpc");
    for _ in 0..3 {
        assert_eq!(called(&world, "/echo.Echo/Say").unwrap(), (200, "hello".into(), Some("0".into())));
        let seen = endpoint.seen();
        let uri = seen.uri();
        assert_eq!(
            (seen.method().as_str(), uri.to_string().as_str()),
            ("POST", "http://shop.example/echo.Echo/Say")
        );
        for (name, value) in [("te", "trailers"), ("grpc-timeout", "1S"), ("x-forwarded-proto", "http")] {
            assert_eq!(seen.headers()[name], value, "{name}");
        }
    }
    assert_eq!(endpoint.connections(), 1, "the connection is kept");
}

#[test]
fn a_response_of_trailers_only_passes() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    assert_eq!(called(&world, "/trailers-only").unwrap(), (200, String::new(), Some("5".into())));
}

#[test]
fn an_endpoint_may_answer_before_the_request_has_ended() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    assert_eq!(called(&world, "/early").unwrap(), (200, String::new(), Some("8".into())));
}

#[test]
fn streams_in_both_directions_run_side_by_side_on_one_connection() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(sender.send_request(post("/chat"), false).unwrap());
        }
        let mut bodies = Vec::new();
        for (response, stream) in streams {
            bodies.push((response.await.unwrap().into_body(), stream));
        }
        for message in ["one", "two"] {
            for (body, stream) in &mut bodies {
                stream.send_data(Bytes::from_static(message.as_bytes()), false).unwrap();
                // The echo arrives before the next message is sent.
                assert_eq!(body.data().await.unwrap().unwrap(), message);
            }
        }
    });
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_stream_continues_when_its_route_and_endpoint_change() {
    let endpoint = H2Endpoint::new();
    let mut world = world(one_worker(), &endpoint, "GRPC");
    let (mut sender, mut body, mut stream) = world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let (response, stream) = sender.send_request(post("/chat"), false).unwrap();
        (sender, response.await.unwrap().into_body(), stream)
    });
    let mut echo = |world: &TestCluster, message: &'static str| {
        world.runtime.block_on(async {
            stream.send_data(Bytes::from_static(message.as_bytes()), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), message);
        });
    };
    echo(&world, "one");
    world.ingress("shop", "shop.example", &[("backend-protocol", "GRPC"), ("proxy-read-timeout", "50")]);
    world.configure(&[("proxy-send-timeout", "50")]);
    echo(&world, "two");
    let again = world.runtime.block_on(call(&mut sender, "/echo.Echo/Say", "hello")).unwrap();
    assert_eq!(again.0, 200);
    assert_eq!(endpoint.connections(), 1, "the connection is used for the new route, too");
    world.endpoints("shop", &[]);
    world.cache.apply([Event::Remove(Kind::Ingress, Key::new("default", "shop"))], 9);
    echo(&world, "three");
}

#[test]
fn a_client_that_cancels_cancels_at_the_endpoint() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let (response, mut stream) = sender.send_request(post("/hang"), false).unwrap();
        endpoint.seen();
        stream.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
    });
    assert!(matches!(endpoint.report(), Report::Reset(Reason::CANCEL)));
}

#[test]
fn a_reset_of_the_endpoint_reaches_the_client_with_its_code() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    let error = called(&world, "/reset").unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn a_refused_stream_is_tried_again_within_the_limit_of_attempts() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    let (status, ..) = called(&world, "/refuse").unwrap();
    assert_eq!(status, 502);
    for _ in 0..3 {
        // proxy-next-upstream-tries
        endpoint.seen();
    }
    assert!(endpoint.reports.try_recv().is_err());
    assert_eq!(endpoint.connections(), 1, "a reset does not cost the connection");
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_504_and_its_stream_is_reset() {
    let endpoint = H2Endpoint::new();
    let options = with_proxy(|proxy| {
        proxy.read_timeout = Duration::from_millis(200);
        proxy.next_upstream_tries = 1;
    });
    let world = world(options, &endpoint, "GRPC");
    let (status, ..) = called(&world, "/hang").unwrap();
    assert_eq!(status, 504);
    endpoint.seen();
    assert!(matches!(endpoint.report(), Report::Reset(Reason::CANCEL)));
}

#[test]
fn an_endpoint_that_refuses_connections_is_502() {
    let mut world = TestCluster::with(one_worker());
    world.service("shop", &[crate::support::unused_address()]);
    world.ingress("shop", "shop.example", &[("backend-protocol", "GRPC")]);
    assert_eq!(called(&world, "/a").unwrap().0, 502);
}

#[test]
fn the_page_of_an_error_gets_the_body_in_chunks() {
    // Without chunks, the default backend would read the rest as another request.
    const BODY: &str = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let errors = crate::support::ScriptedEndpoint::always("HTTP/1.1 418 Teapot\nContent-Length: 0\n\n");
    let mut world = TestCluster::with(one_worker());
    world.service("shop", &[crate::support::unused_address()]);
    world.service("errors", &[errors.address]);
    let pages = [("custom-http-errors", "502"), ("default-backend", "errors")];
    world.ingress("shop", "shop.example", &[&[("backend-protocol", "GRPC")], &pages[..]].concat());
    let called = world.runtime.block_on(async { call(&mut connect(&world).await, "/a", BODY).await });
    assert_eq!(called.unwrap().0, 418);
    let seen = errors.seen();
    assert!(seen.head.starts_with("POST / HTTP/1.1\n"), "{}", seen.head);
    assert_eq!((seen.header("transfer-encoding"), seen.body.as_str()), (Some("chunked"), BODY));
    assert!(errors.has_no_request());
}

#[test]
fn an_endpoint_of_http1_is_502() {
    let plain = crate::support::ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = TestCluster::with(one_worker());
    world.service("shop", &[plain.address]);
    world.ingress("shop", "shop.example", &[("backend-protocol", "GRPC")]);
    assert_eq!(called(&world, "/a").unwrap().0, 502);
}

#[test]
fn clients_of_http1_get_the_trailers_after_chunks() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    let mut client = world.client();
    client.send(
        "POST /a HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\nConnection: close\n\n2\nhi\n0\n\n",
    );
    let mut text = String::new();
    std::io::Read::read_to_string(&mut client.stream, &mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n"), "{text}");
}

#[test]
fn grpcs_is_http2_over_tls() {
    let own = certificate("inner.example");
    let mut tls = rustls::ServerConfig::clone(&crate::upstream_tls::server_config(&own, None));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let endpoint = H2Endpoint::with(EndpointOptions { tls: Some(Arc::new(tls)), ..Default::default() });
    let world = world(one_worker(), &endpoint, "GRPCS");
    assert_eq!(called(&world, "/a").unwrap(), (200, "hello".into(), Some("0".into())));
    assert_eq!(endpoint.seen().uri().scheme_str(), Some("https"));
}

#[test]
fn a_connection_has_no_more_streams_than_its_endpoint_allows() {
    let endpoint = H2Endpoint::with(EndpointOptions { max_streams: Some(2), ..Default::default() });
    let world = world(one_worker(), &endpoint, "GRPC");
    assert_eq!(called(&world, "/a").unwrap().0, 200, "the endpoint's settings are known from here on");
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let mut open = Vec::new();
        for _ in 0..5 {
            let (response, stream) = sender.send_request(post("/chat"), false).unwrap();
            open.push((response.await.unwrap(), stream));
        }
    });
    assert_eq!(endpoint.connections(), 3);
}

#[test]
fn a_connection_that_the_endpoint_leaves_is_replaced() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    assert_eq!(called(&world, "/goaway").unwrap().0, 200);
    for _ in 0..3 {
        assert_eq!(called(&world, "/a").unwrap().0, 200);
    }
    assert_eq!(endpoint.connections(), 2);
}

#[test]
fn a_head_of_more_than_64_kib_is_502() {
    let endpoint = H2Endpoint::new();
    let world = world(with_proxy(|proxy| proxy.next_upstream_tries = 1), &endpoint, "GRPC");
    assert_eq!(called(&world, "/large-head").unwrap().0, 502);
}

#[test]
fn an_endpoint_can_send_no_more_than_client_and_window_take() {
    let endpoint = H2Endpoint::new();
    let world = world(one_worker(), &endpoint, "GRPC");
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        // Nothing of the response is read, and the client's window is 64 KiB.
        let (response, _) = sender.send_request(post("/endless"), true).unwrap();
        let response = response.await.unwrap();
        endpoint.seen();
        let Report::Sent(sent) = endpoint.report() else { panic!("the endpoint reports what it sent") };
        assert!(sent <= 256 * 1024, "{sent}");
        drop(response);
    });
    assert!(matches!(endpoint.report(), Report::Reset(Reason::CANCEL)));
}

#[test]
fn a_client_can_send_no_more_than_endpoint_and_windows_take() {
    let endpoint = H2Endpoint::new();
    let options = TestOptions::from(one_worker()).proxy(|proxy| proxy.body_size = 0);
    let world = world(options, &endpoint, "GRPC");
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let (_response, mut stream) = sender.send_request(post("/hang"), false).unwrap();
        // The client's window is 512 KiB, the endpoint's 64 KiB, and 32 KiB wait between them.
        let sent = send_endlessly(&mut stream).await;
        assert!(sent <= 768 * 1024, "{sent}");
    });
}

#[test]
fn without_keep_alive_an_idle_connection_is_not_used_again() {
    let endpoint = H2Endpoint::new();
    let options = TestOptions::from(one_worker())
        .connections(|connections| connections.upstream_keep_alive.connections = 0);
    let world = world(options, &endpoint, "GRPC");
    for connections in 1..=2 {
        assert_eq!(called(&world, "/a").unwrap().0, 200);
        assert_eq!(endpoint.connections(), connections);
    }
}

#[test]
fn a_connection_that_becomes_idle_is_closed_for_a_request_that_waits() {
    let (first, second) = (H2Endpoint::new(), H2Endpoint::new());
    let descriptors = DescriptorShares { upstreams: 1, ..one_worker().descriptors };
    let mut world = world(ProxyOptions { descriptors, ..one_worker() }, &first, "GRPC");
    world.service("other", &[second.address]);
    world.ingress("other", "other.example", &[("backend-protocol", "GRPC")]);
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let (response, mut open) = sender.send_request(post("/chat"), false).unwrap();
        let mut open_response = response.await.unwrap().into_body();
        let other = Request::post("http://other.example/a").body(()).unwrap();
        let (waiting, _) = sender.send_request(other, true).unwrap();
        world.metrics("the second waits", |text| {
            text.contains("portolan_upstream_connection_limit_total{outcome=\"waited\"} 1")
        });
        open.send_data(Bytes::new(), true).unwrap();
        assert!(open_response.trailers().await.unwrap().is_some());
        assert_eq!(waiting.await.unwrap().status(), 200);
    });
    // Now the other connection is idle and makes room.
    assert_eq!(called(&world, "/a").unwrap().0, 200);
    assert_eq!((first.connections(), second.connections()), (2, 1));
}
