//! FastCGI applications as endpoints: `backend-protocol: FCGI`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc;

use crate::support::{EndpointConnection, ScriptedEndpoint, TEST_TIMEOUT, TestCluster, one_worker};

/// A request as an application reads it.
#[derive(Debug, Default)]
struct AppRequest {
    params: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// An application. The records of its answer are made by a function of the request.
struct Application {
    address: SocketAddr,
    requests: mpsc::Receiver<AppRequest>,
    endpoint: ScriptedEndpoint,
}

impl Application {
    fn new(answer: impl Fn(&AppRequest) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (reports, requests) = mpsc::channel();
        let reports = std::sync::Mutex::new(reports);
        let endpoint = ScriptedEndpoint::new(move |connection| {
            let Some(request) = read(connection) else { return };
            let answer = answer(&request);
            let _ = reports.lock().unwrap().send(request);
            // Fails if the proxy has refused what came before.
            let _ = connection.stream.get_mut().write_all(&answer);
        });
        Self { address: endpoint.address, requests, endpoint }
    }

    fn always(output: &'static str) -> Self {
        Self::new(move |_| [record(6, output.as_bytes()), record(3, &[0; 8])].concat())
    }

    fn seen(&self) -> AppRequest {
        self.requests.recv_timeout(TEST_TIMEOUT).expect("the application gets a request")
    }
}

fn record(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    for part in data.chunks(60_000) {
        let [high, low] = (part.len() as u16).to_be_bytes();
        // Padding of three bytes, which some applications add.
        records.extend_from_slice(&[1, kind, 0, 1, high, low, 3, 0]);
        records.extend_from_slice(part);
        records.extend_from_slice(b"pad");
    }
    records
}

fn read(connection: &mut EndpointConnection) -> Option<AppRequest> {
    let (mut pairs, mut request) = (Vec::new(), AppRequest::default());
    loop {
        let mut header = [0; 8];
        connection.stream.read_exact(&mut header).ok()?;
        let mut data = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        connection.stream.read_exact(&mut data).ok()?;
        match header[1] {
            1 => assert_eq!(data[..3], [0, 1, 0], "a responder whose connection is closed"),
            4 => pairs.extend_from_slice(&data),
            5 if data.is_empty() => break,
            5 => request.body.extend_from_slice(&data),
            kind => panic!("a record of type {kind}"),
        }
    }
    let mut rest = &pairs[..];
    while !rest.is_empty() {
        let (name, value) = (length(&mut rest), length(&mut rest));
        let mut text = |length| String::from_utf8(rest.split_off(..length).unwrap().to_vec()).unwrap();
        let known = request.params.insert(text(name), text(value));
        assert_eq!(known, None, "no parameter is sent twice");
    }
    Some(request)
}

fn length(bytes: &mut &[u8]) -> usize {
    if bytes[0] < 0x80 {
        return usize::from(bytes.split_off(..1).unwrap()[0]);
    }
    let four = bytes.split_off(..4).unwrap();
    (u32::from_be_bytes(four.try_into().unwrap()) & 0x7fff_ffff) as usize
}

fn world(application: &Application, annotations: &[(&str, &str)]) -> TestCluster {
    let mut world = TestCluster::with(one_worker());
    world.service("app", &[application.address]);
    let protocol = [("backend-protocol", "FCGI")];
    world.ingress("app", "app.example", &[&protocol[..], annotations].concat());
    world
}

#[test]
fn an_application_gets_the_parameters_of_nginx() {
    let application =
        Application::always("Status: 201 Created\r\nContent-Type: text/plain\r\n\r\nHello world!");
    let world = world(&application, &[("fastcgi-index", "index.php")]);
    let response = world.ask(
        "POST /dir%20a/?q=1 HTTP/1.1\nHost: app.example\nContent-Type: text/x\nContent-Length: 5\nX-Mine: 1\n\
         X-Forwarded-For: 192.0.2.1\nProxy: evil\n\nhello",
    );
    assert_eq!((response.status, response.body.as_str()), (201, "Hello world!"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("status"), None);
    let AppRequest { params, body } = application.seen();
    assert_eq!(body, b"hello");
    for (name, value) in [
        ("QUERY_STRING", "q=1"),
        ("REQUEST_METHOD", "POST"),
        ("CONTENT_TYPE", "text/x"),
        ("CONTENT_LENGTH", "5"),
        ("SCRIPT_NAME", "/dir a/index.php"),
        ("REQUEST_URI", "/dir%20a/?q=1"),
        ("DOCUMENT_URI", "/dir a/"),
        ("DOCUMENT_ROOT", "/usr/local/nginx/html"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_NAME", "app.example"),
        ("REDIRECT_STATUS", "200"),
        ("HTTP_HOST", "app.example"),
        ("HTTP_X_MINE", "1"),
        ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
    ] {
        assert_eq!(params.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!params.contains_key("HTTP_PROXY") && !params.contains_key("HTTPS"), "{params:?}");
    assert!(params["REMOTE_PORT"].parse::<u16>().is_ok() && params["SERVER_PORT"].parse::<u16>().is_ok());
}

#[test]
fn the_page_of_an_error_gets_the_request_without_records() {
    let application = Application::always("Status: 503 Busy\r\n\r\nbusy");
    let errors = ScriptedEndpoint::always("HTTP/1.1 418 Teapot\nContent-Length: 6\n\nteapot");
    let pages = [("custom-http-errors", "503"), ("default-backend", "errors")];
    let mut world = world(&application, &pages);
    world.service("errors", &[errors.address]);
    // The same connection is used again: what came after a request would be read as a part of the next one.
    for _ in 0..2 {
        for (request, line, body) in [
            ("GET /a HTTP/1.1\nHost: app.example\n\n", "GET / HTTP/1.1\n", ""),
            ("POST /a HTTP/1.1\nHost: app.example\nContent-Length: 5\n\nhello", "POST / HTTP/1.1\n", "hello"),
        ] {
            assert_eq!(world.ask(request).status, 418);
            assert_eq!(application.seen().body, body.as_bytes());
            let seen = errors.seen();
            assert!(seen.head.starts_with(line), "{}", seen.head);
            assert_eq!(seen.body, body);
        }
    }
    assert_eq!(errors.connections(), 1);
}

#[test]
fn a_request_without_a_body_is_ended_once_at_each_application() {
    let busy = Application::always("Status: 503 Busy\r\n\r\nbusy");
    let ready = Application::always("Content-Type: a/b\r\n\r\nok");
    let mut world = world(&busy, &[("proxy-next-upstream", "http_503")]);
    world.endpoints("app", &[busy.address, ready.address]);
    for _ in 0..4 {
        let response = world.ask("GET / HTTP/1.1\nHost: app.example\n\n");
        assert_eq!((response.status, response.body.as_str()), (200, "ok"));
        // Reads until the end of the input: the application fails on a record after it.
        assert_eq!(ready.seen().body, b"");
    }
}

#[test]
fn heads_and_bodies_of_any_form_are_read() {
    for (output, status, body) in [
        ("Content-Type: a/b\r\n\r\n", 200, ""),
        ("Location: /x\n\nmoved", 302, "moved"),
        ("Status: 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, "no"),
        ("Content-Length: 2\r\n\r\nlonger", 200, "lo"),
    ] {
        let application = Application::always(output);
        let response = world(&application, &[]).ask("GET / HTTP/1.1\nHost: app.example\n\n");
        assert_eq!((response.status, response.body.as_str()), (status, body), "{output:?}");
    }
}

#[test]
fn a_large_body_passes_in_both_directions_and_each_request_has_a_connection() {
    let application = Application::new(|request| {
        let output = [b"Content-Type: a/b\r\n\r\n", &request.body[..]].concat();
        [record(6, &output), record(3, &[0; 8])].concat()
    });
    let world = world(&application, &[("proxy-body-size", "0")]);
    let body = "x".repeat(300_000);
    for _ in 0..2 {
        let head = format!("POST / HTTP/1.1\nHost: app.example\nContent-Length: {}\n\n", body.len());
        let response = world.ask(&format!("{head}{body}"));
        assert_eq!((response.status, response.body.len()), (200, body.len()));
    }
    assert_eq!(application.endpoint.connections(), 2);
}

#[test]
fn a_body_without_length_gets_one_unless_it_is_not_received_first() {
    const POST: &str = "POST / HTTP/1.1\nHost: app.example\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n";
    let application = Application::always("\r\n");
    let mut world = world(&application, &[]);
    assert_eq!(world.ask(POST).status, 200);
    assert_eq!(application.seen().params["CONTENT_LENGTH"], "5");
    let unbuffered = [("backend-protocol", "FCGI"), ("proxy-request-buffering", "off")];
    world.ingress("app", "app.example", &unbuffered);
    assert_eq!(world.ask(POST).status, 411);
}

#[test]
fn what_is_no_response_is_502() {
    let answers: [fn(&AppRequest) -> Vec<u8>; 4] = [
        |_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        |_| record(3, &[0, 0, 0, 0, 2, 0, 0, 0]),
        |_| record(3, &[0; 8]),
        |_| Vec::new(),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let application = Application::new(answer);
        let response = world(&application, &[]).ask("GET / HTTP/1.1\nHost: app.example\n\n");
        assert_eq!(response.status, 502, "answer {at}");
    }
}

#[test]
fn a_response_that_breaks_off_is_not_complete() {
    let application = Application::new(|_| record(6, b"Content-Type: a/b\r\n\r\npart"));
    let world = world(&application, &[]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\nHost: app.example\n\n");
    let mut text = Vec::new();
    let _ = client.stream.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("part"), "{text}");
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
}

#[test]
fn the_error_stream_does_not_reach_the_client() {
    let application = Application::new(|_| {
        let noise = vec![b'e'; 100_000];
        [record(7, &noise), record(6, b"Content-Type: a/b\r\n\r\nok"), record(7, &noise), record(3, &[0; 8])]
            .concat()
    });
    let response = world(&application, &[]).ask("GET / HTTP/1.1\nHost: app.example\n\n");
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
}
