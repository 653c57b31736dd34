//! Clients behind load balancers: PROXY headers, `X-Forwarded-*`, and what endpoints and the access log see of them.

use std::io::{Read, Write};

use rustls::{ClientConnection, StreamOwned};

use crate::support::{Response, ScriptedEndpoint, TestClient, TestCluster, one_worker};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const GET: &str = "GET / HTTP/1.1\nHost: shop.example\n\n";

/// The fields that the proxy writes about the client, as `name: value` lines, without the request's id.
fn identity(request: &Response) -> String {
    let lines = request.head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        name == "host" || name.starts_with("x-") && name != "x-request-id"
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The fields for this client, host, port and scheme.
fn fields(client: &str, forwarded_for: &str, host: &str, port: &str, scheme: &str) -> String {
    format!(
        "Host: {host}\nX-Real-IP: {client}\nX-Forwarded-For: {forwarded_for}\nX-Forwarded-Host: {host}\n\
         X-Forwarded-Port: {port}\nX-Forwarded-Proto: {scheme}\nX-Forwarded-Scheme: {scheme}\nX-Scheme: {scheme}"
    )
}

/// The bytes of a PROXY header of version 2 for TCP over IPv4, or without addresses.
fn version2(addresses: Option<([u8; 4], [u8; 4], u16, u16)>) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    match addresses {
        None => header.extend([0x20, 0x00, 0, 0]),
        Some((source, destination, from, to)) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(source.into_iter().chain(destination));
            header.extend(from.to_be_bytes().into_iter().chain(to.to_be_bytes()));
        }
    }
    header
}

#[test]
fn forwarded_headers_of_trusted_peers_name_the_client() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let port = world.http.port().to_string();
    let request = "GET / HTTP/1.1\nHost: shop.example\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\nX-Forwarded-Proto: myproto\n\
                   X-Forwarded-Host: myhost:81, other.example\nX-Forwarded-Port: 1234\n\n";
    let originals =
        "\nX-Original-Forwarded-For: 1.2.3.4, 5.6.7.8\nX-Original-Forwarded-Host: myhost:81, other.example";
    let here = fields("127.0.0.1", "127.0.0.1", "shop.example", &port, "http");
    let trusted = fields("1.2.3.4", "1.2.3.4", "myhost:81", "1234", "myproto");
    for (keys, wanted) in [
        (&[][..], here.clone()),
        (&[("use-forwarded-headers", "true")], trusted),
        (&[("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "10.0.0.0/8")], here),
        (
            &[("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8")],
            fields("5.6.7.8", "5.6.7.8", "myhost:81", "1234", "myproto"),
        ),
        (
            &[("use-forwarded-headers", "true"), ("compute-full-forwarded-for", "true")],
            fields("1.2.3.4", "1.2.3.4, 5.6.7.8, 127.0.0.1", "myhost:81", "1234", "myproto"),
        ),
        (&[("enable-real-ip", "true")], fields("1.2.3.4", "1.2.3.4", "shop.example", &port, "http")),
    ] {
        world.configure(keys);
        world.ask(request);
        assert_eq!(identity(&script.seen()), format!("{wanted}{originals}"), "{keys:?}");
    }
    let clients: Vec<_> =
        world.log(6).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(clients, ["127.0.0.1", "1.2.3.4", "127.0.0.1", "5.6.7.8", "1.2.3.4", "1.2.3.4"]);
}

#[test]
fn the_access_log_has_the_host_and_port_that_trusted_peers_report() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let format = ("log-format-upstream", "$http_host $best_http_host $pass_port");
    let (on, far) = (("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "10.0.0.0/8"));
    for keys in [&[format][..], &[format, on, far], &[format, on]] {
        world.configure(keys);
        world.ask(
            "GET / HTTP/1.1\nHost: shop.example\nX-Forwarded-Host: outer.example:81\nX-Forwarded-Port: 1234\n\n",
        );
    }
    let here = format!("shop.example shop.example {}", world.http.port());
    assert_eq!(world.log(3), [&here, &here, "shop.example outer.example:81 1234"]);
}

#[test]
fn another_header_may_name_the_client() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&[("use-forwarded-headers", "true"), ("forwarded-for-header", "CF-Connecting-IP")]);
    world.ask("GET / HTTP/1.1\nHost: shop.example\nX-Forwarded-For: 1.2.3.4\nCF-Connecting-IP: 5.6.7.8\n\n");
    let seen = script.seen();
    assert_eq!(seen.header("x-real-ip"), Some("5.6.7.8"));
    assert_eq!(seen.header("x-forwarded-for"), Some("5.6.7.8"));
    assert_eq!(seen.header("x-original-forwarded-for"), Some("5.6.7.8"));
    assert_eq!(seen.head.matches("1.2.3.4").count(), 0);
}

#[test]
fn a_proxy_header_names_the_client_of_all_requests_of_a_connection() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let port = world.http.port().to_string();
    world.configure(&[("use-proxy-protocol", "true")]);
    let lines: [(Vec<u8>, String); 5] = [
        (
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 1234\r\n".to_vec(),
            fields("192.168.0.1", "192.168.0.1", "shop.example", "1234", "http"),
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n".to_vec(),
            fields("2001:db8::1", "2001:db8::1", "shop.example", "443", "https"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), fields("127.0.0.1", "127.0.0.1", "shop.example", &port, "http")),
        (
            version2(Some(([203, 0, 113, 5], [192, 0, 2, 1], 4000, 80))),
            fields("203.0.113.5", "203.0.113.5", "shop.example", "80", "http"),
        ),
        (version2(None), fields("127.0.0.1", "127.0.0.1", "shop.example", &port, "http")),
    ];
    for (header, wanted) in lines {
        let mut client = world.client();
        client.raw(&header);
        for _ in 0..2 {
            client.send(GET);
            assert_eq!(client.response().status, 200);
            assert_eq!(identity(&script.seen()), wanted);
        }
    }
    let log = world.log(10);
    assert!(log[0].starts_with("192.168.0.1 - ") && log[2].starts_with("2001:db8::1 - "), "{log:?}");
    // Before the client address of a header counts, that of the PROXY header must be trusted.
    world.configure(&[
        ("use-proxy-protocol", "true"),
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8,203.0.113.0/24"),
    ]);
    for (source, wanted) in [("203.0.113.9", "1.2.3.4"), ("198.51.100.9", "198.51.100.9")] {
        let mut client = world.client();
        client.send(&format!(
            "PROXY TCP4 {source} 192.0.2.1 4000 80\n{}",
            GET.replace("\n\n", "\nX-Forwarded-For: 1.2.3.4\n\n")
        ));
        client.response();
        assert_eq!(script.seen().header("x-real-ip"), Some(wanted), "{source}");
    }
}

#[test]
fn the_access_log_has_the_addresses_of_the_proxy_header() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    let format =
        "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
    world.configure(&[("use-proxy-protocol", "true"), ("log-format-upstream", format)]);
    let mut lines = Vec::new();
    for (header, line) in [
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 1234", "192.168.0.1 56324 192.168.0.11 1234"),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443", "2001:db8::1 56324 2001:db8::2 443"),
        ("PROXY UNKNOWN", "- - - -"),
    ] {
        let mut client = world.client();
        client.send(&format!("{header}\n{GET}"));
        assert_eq!(client.response().status, 200);
        lines.push(line);
        assert_eq!(world.log(lines.len()), lines);
    }
}

#[test]
fn a_proxy_header_comes_before_the_tls_handshake() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&[("use-proxy-protocol", "true")]);
    let mut stream = std::net::TcpStream::connect(world.https).unwrap();
    stream.set_read_timeout(Some(crate::support::TEST_TIMEOUT)).unwrap();
    // In two pieces: the header may arrive in several.
    stream.write_all(b"PROXY TCP4 192.168.0.1 ").unwrap();
    stream.write_all(b"192.168.0.11 56324 1234\r\n").unwrap();
    let config = net::testing::client(rustls::DEFAULT_VERSIONS, &[b"http/1.1"]);
    let name = "shop.example".try_into().unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let wanted = fields("192.168.0.1", "192.168.0.1", "shop.example", "1234", "https");
    assert_eq!(identity(&script.seen()), wanted);
}

#[test]
fn connections_without_a_valid_proxy_header_are_closed() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&[("use-proxy-protocol", "true"), ("proxy-protocol-header-timeout", "200ms")]);
    let long = vec![b'1'; 200];
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec(),
        b"PROXY TCP4 x y 1 2\r\n".to_vec(),
        [b"PROXY TCP4 ".to_vec(), long].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
        // Too slow.
        b"PROXY TCP4 192.".to_vec(),
        b"".to_vec(),
    ] {
        let mut client = TestClient::connect(world.http);
        client.raw(&bytes);
        assert!(client.is_closed(), "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert!(script.has_no_request());
    let mut client = world.client();
    client.send(&format!("PROXY UNKNOWN\n{GET}"));
    assert_eq!(client.response().status, 200);
    world.configure(&[]);
    assert_eq!(world.ask(GET).status, 200, "new connections follow the ConfigMap");
}

#[test]
fn limits_on_connections_count_open_requests_of_a_client() {
    let (script, go) = ScriptedEndpoint::held(|connection, hold| {
        while connection.request().is_some() {
            hold();
            let _ = connection.send(OK);
        }
    });
    let mut world = TestCluster::serving_with(one_worker(), &[script.address]);
    world.ingress("shop", "shop.example", &[("limit-connections", "2")]);
    world.configure(&[("use-forwarded-headers", "true"), ("limit-conn-status-code", "429")]);
    let from = |address: &str| GET.replace("\n\n", &format!("\nX-Forwarded-For: {address}\n\n"));
    let mut open: Vec<_> = (0..2).map(|_| world.client()).collect();
    for client in &mut open {
        client.send(&from("1.2.3.4"));
        script.seen();
    }
    assert_eq!(world.ask(&from("1.2.3.4")).status, 429);
    let mut other = world.client();
    other.send(&from("1.2.3.5"));
    script.seen();
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    assert_eq!([open[0].response().status, open[1].response().status, other.response().status], [200; 3]);
    world.log(4);
    go.send(()).unwrap();
    assert_eq!(world.ask(&from("1.2.3.4")).status, 200, "the requests have ended");
    // A client that goes away ends its request, too.
    let mut gone: Vec<_> = (0..2).map(|_| world.client()).collect();
    for client in &mut gone {
        client.send(&from("1.2.3.4"));
        script.seen();
    }
    drop(gone);
    world.log(7);
    let mut client = world.client();
    client.send(&from("1.2.3.4"));
    script.seen();
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    assert_eq!(client.response().status, 200);
}

#[test]
fn limits_on_rates_answer_at_once_and_outlive_a_change_of_the_routes() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.ingress("shop", "shop.example", &[("limit-rpm", "1"), ("limit-burst-multiplier", "2")]);
    // Connections go to both workers, which share the count.
    let statuses: Vec<_> = (0..6).map(|_| world.ask(GET).status).collect();
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503]);
    world.configure(&[("limit-req-status-code", "429")]);
    assert_eq!(world.ask(GET).status, 429);
}

#[test]
fn blocked_agents_get_403_on_every_host() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&[("block-user-agents", "~*bad")]);
    for (host, agent, status) in [
        ("shop.example", "Good", 200),
        ("shop.example", "Bad/1", 403),
        ("x.example", "Bad/1", 403),
        ("x.example", "Good", 404),
    ] {
        let request = format!("GET / HTTP/1.1\nHost: {host}\nUser-Agent: {agent}\n\n");
        assert_eq!(world.ask(&request).status, status, "{host} {agent}");
    }
}
