//! The access log.

use std::io::{Read, Write};
use std::sync::Arc;

use ingress_routes::{GeoDatabase, GeoDatabases, GeoEdition};

use crate::support::{ScriptedEndpoint, TestCluster, TestOptions, one_worker, options};

#[test]
fn the_access_log_is_that_of_ingress_nginx() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello");
    let world = TestCluster::serving(&[script.address]);
    let request = "POST /a?b HTTP/1.1\nHost: shop.example\nReferer: \"r\"\nUser-Agent: curl\nX-Request-ID: id\n\
                   Authorization: Basic Zm9vOmJhcg==\nContent-Length: 2\n\nhi";
    world.ask(request);
    let line = world.log(1).remove(0);
    let length = request.replace('\n', "\r\n").len();
    // Times differ from run to run.
    let mut parts: Vec<&str> = line.split(' ').collect();
    let (day, zone) = (parts[3], parts[4]);
    assert!(day.starts_with('[') && day.len() == 21 && zone.len() == 6 && zone.ends_with(']'), "{line}");
    for at in [3, 4, 13, 18] {
        let time = parts[at];
        assert!(
            at < 5 || time.parse::<f64>().unwrap() < 10.0 && time.split('.').next_back().unwrap().len() == 3,
            "{line}"
        );
        parts[at] = "T";
    }
    assert_eq!(
        parts.join(" "),
        format!(
            "127.0.0.1 - foo T T \"POST /a?b HTTP/1.1\" 200 5 \"\\x22r\\x22\" \"curl\" {length} T \
             [default-shop-80] [] {} 5 T 200 id",
            script.address
        )
    );
}

#[test]
fn requests_without_a_route_are_logged_with_the_default_backend() {
    let world = TestCluster::new();
    world.ask("GET /healthz HTTP/1.1\nHost: other.example\n\n");
    world.ask("GET /x HTTP/1.1\nHost: other.example\nX-Request-ID: id\n\n");
    let line = world.log(1).remove(0);
    assert!(line.contains("\"GET /x HTTP/1.1\" 404 "), "the health check is not logged: {line}");
    assert!(line.ends_with(" [upstream-default-backend] [] - - - - id"), "{line}");
}

#[test]
fn requests_that_no_ingress_covers_are_not_logged_by_default() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let options = TestOptions::from(one_worker()).logging_default_backend(false);
    let world = TestCluster::serving_with(options, &[script.address]);
    world.ask("GET /unknown-host HTTP/1.1\nHost: other.example\n\n");
    world.ask("nonsense\n\n");
    world.ask("GET /known-host HTTP/1.1\nHost: shop.example\n\n");
    let log = world.log(2);
    assert!(log[0].contains("\"nonsense\" 400 ") && log[1].contains("/known-host"), "{log:?}");
}

#[test]
fn a_tls_handshake_on_the_plain_port_is_answered_and_logged() {
    let world = TestCluster::new();
    let mut client = world.client();
    client.raw(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03");
    assert_eq!(client.response().status, 400);
    let log = world.log(1);
    assert!(log[0].contains("\"\\x16\\x03\\x01\\x00\\xA5\\x01") && log[0].contains("\" 400 150 "), "{log:?}");
}

#[test]
fn the_built_in_page_replaces_a_default_backend_without_endpoints() {
    // [controller.go getDefaultUpstream: the endpoint of the built-in page where the Service has none]
    let fallback = cluster::Key::new("default", "fallback");
    let mut with_fallback = TestOptions::from(options());
    with_fallback.routes.default_backend_service = Some(fallback);
    let mut world = TestCluster::with(with_fallback);
    let ask = |world: &TestCluster| world.ask("GET / HTTP/1.1\nHost: other.example\n\n").status;
    assert_eq!(ask(&world), 404, "no such Service");
    world.service("fallback", &[]);
    assert_eq!(ask(&world), 404, "a Service without endpoints");
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    world.endpoints("fallback", &[script.address]);
    assert_eq!(ask(&world), 200);
}

#[test]
fn a_refused_head_leaves_its_first_line_in_the_access_log() {
    let world = TestCluster::new();
    let rows = [
        (
            "GET /a HTTP/1.1\nHost: shop.example\nContent-Length: 1\nContent-Length: 1\n\nx",
            "\"GET /a HTTP/1.1\" 400 150 ",
        ),
        ("GET /\u{1}b HTTP/1.1\nHost: shop.example\n\n", "\"GET /\\x01b HTTP/1.1\" 400 150 "),
    ];
    for (count, (request, logged)) in (1..).zip(rows) {
        world.ask(request);
        let line = world.log(count).pop().unwrap();
        assert!(line.contains(logged), "{request:?}: {line}");
    }
}

#[test]
fn a_head_that_does_not_arrive_leaves_a_line_as_in_nginx() {
    let mut world = TestCluster::new();
    let send = |world: &TestCluster, head: &[u8]| {
        let mut client = world.client();
        client.raw(head);
        client
    };
    drop(send(&world, b"GET /left HTTP/1.1\r\nHost: shop.ex"));
    assert!(world.log(1)[0].contains("\"GET /left HTTP/1.1\" 400 0 "), "{:?}", world.log(1));
    drop(send(&world, b"GET /le"));
    assert!(world.log(2)[1].contains(" \"\" 400 0 "), "{:?}", world.log(2));
    world.configure(&[("client-header-timeout", "1")]);
    drop(send(&world, b"\r\n"));
    let _nothing = send(&world, b"");
    let slow = send(&world, b"GET /slow HTTP/1.1\r\nHost: shop.ex");
    assert!(world.log(3)[2].contains("\"GET /slow HTTP/1.1\" 408 0 "), "{:?}", world.log(3));
    drop(slow);
}

#[test]
fn the_format_follows_the_configmap() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\nETag: \"1\"\nX-App: a\n\n");
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let mut client = world.client();
    let mut get = |path: &str| {
        client.send(&format!("GET {path} HTTP/1.1\nHost: shop.example\nHeader3: \"x\"\n\n"));
        assert_eq!(client.response().status, 200);
    };
    let format = r#"{"h":"$http_header3","n":"$http_header4","e":"$sent_http_etag","a":"$upstream_http_x_app","r":"$request_uri"} $ingress_name $sent_http_content_length $connection_requests"#;
    world.configure(&[("log-format-upstream", format)]);
    get("/1");
    world.configure(&[("log-format-upstream", format), ("log-format-escape-json", "true")]);
    get("/2");
    world.configure(&[("log-format-upstream", "$status $none $request_uri $http2")]);
    get("/3");
    let log = world.log(3);
    let ingress = log[0].rsplit(' ').nth(2).unwrap();
    assert_eq!(
        log[0],
        format!(r#"{{"h":"\x22x\x22","n":"-","e":"\x221\x22","a":"a","r":"/1"}} {ingress} 0 1"#)
    );
    assert_eq!(log[1], format!(r#"{{"h":"\"x\"","n":"","e":"\"1\"","a":"a","r":"/2"}} {ingress} 0 2"#));
    assert_eq!(log[2], "200 - /3 ", "an unknown variable has no value, and HTTP/1 no name of HTTP/2");
}

/// [settings/geoip2.go] The databases may change at any time.
#[test]
fn lines_have_the_variables_of_geoip_databases() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let format = "$geoip2_city_country_code/$geoip2_city/$geoip2_latitude $remote_addr";
    let mut client = world.client();
    let mut get = |address: &str| {
        client.send(&format!("GET / HTTP/1.1\nHost: shop.example\nX-Forwarded-For: {address}\n\n"));
        assert_eq!(client.response().status, 200);
    };
    let keys = [("log-format-upstream", format), ("use-forwarded-headers", "true"), ("use-geoip2", "true")];
    world.configure(&keys);
    get("192.0.2.7");
    let file = include_bytes!("../../../routes/src/geo/databases/GeoLite2-City.mmdb").as_slice();
    let database = GeoDatabase::parse(GeoEdition::DEFAULT[0], file.into()).unwrap();
    world.views().geo.store(Arc::new(GeoDatabases::new(vec![Arc::new(database)])));
    get("192.0.2.7");
    get("198.51.100.1");
    get("203.0.113.1");
    let lines = [
        "-/-/- 192.0.2.7",
        "GB/London/51.51420 192.0.2.7",
        "BR/S\\xC3\\xA3o Paulo/- 198.51.100.1",
        "-/-/- 203.0.113.1",
    ];
    assert_eq!(world.log(4), lines);
}

#[test]
fn the_details_of_tls_connections_are_logged() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let format =
        "$scheme $https $ssl_protocol $ssl_cipher $ssl_server_name $ssl_session_reused $ssl_client_verify";
    world.configure(&[("log-format-upstream", format)]);
    let config = net::testing::client(&[&rustls::version::TLS13], &[b"http/1.1"]);
    let mut client = rustls::ClientConnection::new(config, "shop.example".try_into().unwrap()).unwrap();
    let mut socket = std::net::TcpStream::connect(world.https).unwrap();
    let mut stream = rustls::Stream::new(&mut client, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let line = world.log(1).remove(0);
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!([&words[..3], &words[4..]].concat(), ["https", "on", "TLSv1.3", "shop.example", ".", "NONE"]);
    assert!(words[3].starts_with("TLS_"), "{line}");
}

#[test]
fn requests_that_are_not_logged_have_no_line() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    world.ingress("quiet", "quiet.example", &[("enable-access-log", "false")]);
    world.service("quiet", &[script.address]);
    world.configure(&[("skip-access-log-urls", "/health,~^/live")]);
    for (host, path) in [
        ("shop.example", "/health"),
        ("shop.example", "/live/now"),
        ("quiet.example", "/quiet"),
        ("shop.example", "/health?x"),
        ("shop.example", "/other"),
    ] {
        let request = format!("GET {path} HTTP/1.1\nHost: {host}\n\n");
        assert_eq!(world.ask(&request).status, 200, "{path}");
    }
    let log = world.log(2);
    assert!(log.len() == 2 && log[0].contains("/health?x") && log[1].contains("/other"), "{log:?}");
}
