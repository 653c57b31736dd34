//! Client certificates (`auth-tls-*`).

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ingress_routes::client_certificate::CertificateVariable;
use net::testing::{ClientCredentials, TestAuthority, client, client_as};
use rustls::{ClientConfig, HandshakeKind};
use tokio_rustls::TlsConnector;

use crate::support::{ScriptedEndpoint, TestCluster};
use crate::tls::TlsClient;

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const SECRET: (&str, &str) = ("auth-tls-secret", "default/ca");

/// A cluster with a host `shop.example` that has annotations, and a host `open.example` without; both have the endpoint.
fn world(
    annotations: &[(&str, &str)],
    authority: &TestAuthority,
    endpoint: &ScriptedEndpoint,
) -> TestCluster {
    let mut world = TestCluster::new();
    world.service("shop", &[endpoint.address]);
    world.service("open", &[endpoint.address]);
    world.authorities("ca", &authority.pem());
    world.ingress("shop", "shop.example", annotations);
    world.ingress("open", "open.example", &[]);
    world
}

fn anonymous() -> Arc<ClientConfig> {
    client(rustls::DEFAULT_VERSIONS, &[b"http/1.1"])
}

fn with(client: &ClientCredentials) -> Arc<ClientConfig> {
    client_as(rustls::DEFAULT_VERSIONS, &[b"http/1.1"], client)
}

#[test]
fn a_verified_certificate_is_required_and_endpoints_learn_about_it() {
    let (ca, stranger) = (TestAuthority::new("Test CA"), TestAuthority::new("Other CA"));
    let script = ScriptedEndpoint::always(OK);
    let pass = ("auth-tls-pass-certificate-to-upstream", "true");
    let variable = ("upstream-vhost", "$ssl_client_fingerprint.example");
    let world = world(&[SECRET, pass, variable], &ca, &script);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let response =
            TlsClient::connect(&world, &client(&[version], &[]), "shop.example").get("shop.example", "");
        assert_eq!(response.status, 400);
        assert!(
            response.body.contains("<center>No required SSL certificate was sent</center>"),
            "{}",
            response.body
        );
        let config = client_as(&[version], &[], &stranger.client("eve"));
        let response = TlsClient::connect(&world, &config, "shop.example").get("shop.example", "");
        assert_eq!(response.status, 400);
        assert!(response.body.contains("<title>400 The SSL certificate error</title>"), "{}", response.body);
        assert!(script.has_no_request());
        let config = client_as(&[version], &[], &ca.client("ann"));
        let forged = "SSL-Client-Verify: NONE\nssl-client-cert: forged\nssl-client-subject-dn: CN=root\n";
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = TlsClient::connect(&world, &config, "shop.example");
            assert_eq!(client.get("shop.example", forged).status, 200);
            assert_eq!(client.connection().handshake_kind(), Some(kind));
            let head = script.seen().head;
            assert!(head.contains("\nssl-client-verify: SUCCESS\n"), "{head}");
            assert!(head.contains("\nssl-client-subject-dn: CN=ann\n"), "{head}");
            assert!(head.contains("\nssl-client-issuer-dn: CN=Test CA\n"), "{head}");
            assert!(head.contains("\nssl-client-cert: -----BEGIN%20CERTIFICATE-----%0A"), "{head}");
            let host = head.lines().find_map(|line| line.strip_prefix("Host: ")?.strip_suffix(".example"));
            let is_sha1 = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(host.is_some_and(is_sha1), "{head}");
            assert!(!head.contains("NONE") && !head.contains("forged") && !head.contains("root"), "{head}");
        }
    }
}

#[test]
fn what_a_client_without_tls_says_about_certificates_is_removed() {
    let (ca, script) = (TestAuthority::new("Test CA"), ScriptedEndpoint::always(OK));
    let world = world(&[SECRET, ("ssl-redirect", "false")], &ca, &script);
    let request = "GET / HTTP/1.1\nHost: shop.example\nssl-client-verify: SUCCESS\nssl-client-cert: x\n\n";
    assert_eq!(world.ask(request).status, 200);
    assert!(!script.seen().head.contains("ssl-client"));
    // Trailers are merged into the fields by some servers.
    let request = "POST / HTTP/1.1\nHost: shop.example\nTransfer-Encoding: chunked\n\n0\nssl-client-verify: SUCCESS\nx-a: b\n\n";
    assert_eq!(world.ask(request).status, 200);
    assert!(!script.seen().body.contains("ssl-client"));
}

#[test]
fn modes_pages_and_subjects_decide_about_requests() {
    let (ca, other) = (TestAuthority::new("Test CA"), TestAuthority::new("Other CA"));
    let clients = [anonymous(), with(&ca.client("ann")), with(&other.client("eve"))];
    let verify = |mode| ("auth-tls-verify-client", mode);
    for (annotations, wanted, verify) in [
        (vec![verify("optional")], [200, 200, 400], "NONE"),
        (vec![verify("optional_no_ca")], [200, 200, 200], "NONE"),
        (vec![verify("off")], [200, 200, 200], "NONE"),
        (vec![("auth-tls-error-page", "https://shop.test/error")], [302, 200, 302], ""),
        (vec![("auth-tls-match-cn", "CN=ann")], [400, 200, 400], ""),
        (vec![("auth-tls-match-cn", "CN=bob")], [400, 403, 400], ""),
        (vec![verify("optional_no_ca"), ("auth-tls-match-cn", "CN=eve")], [403, 403, 200], ""),
    ] {
        let script = ScriptedEndpoint::always(OK);
        let annotations = [vec![SECRET], annotations].concat();
        let world = world(&annotations, &ca, &script);
        for (config, status) in clients.iter().zip(wanted) {
            let response = TlsClient::connect(&world, config, "shop.example").get("shop.example", "");
            assert_eq!(response.status, status, "{annotations:?}");
            match status {
                302 => assert_eq!(response.header("location"), Some("https://shop.test/error")),
                403 => assert_eq!(response.body, "client certificate unauthorized"),
                _ => {}
            }
        }
        if !verify.is_empty() {
            let head = script.seen().head;
            assert!(head.contains(&format!("\nssl-client-verify: {verify}\n")), "{annotations:?}: {head}");
        }
        if wanted == [200, 200, 200] && annotations[1].1 == "optional_no_ca" {
            script.seen();
            let head = script.seen().head;
            assert!(
                head.contains("\nssl-client-verify: FAILED:unable to verify the first certificate\n"),
                "{head}"
            );
        }
    }
}

#[test]
fn the_access_log_tells_about_the_certificate() {
    let (ca, stranger) = (TestAuthority::new("Test CA"), TestAuthority::new("Other CA"));
    let script = ScriptedEndpoint::always(OK);
    let mut world = world(&[SECRET], &ca, &script);
    let format = "$ssl_client_verify $ssl_client_fingerprint $ssl_client_escaped_cert [$ssl_client_v_start] $ssl_client_v_remain";
    world.configure(&[("log-format-upstream", format)]);
    let mut lines = 0;
    for (client, verify, status) in [
        (ca.client("ann"), "SUCCESS ", 200),
        (stranger.client("eve"), "FAILED:unable to verify the first certificate ", 400),
    ] {
        let response = TlsClient::connect(&world, &with(&client), "shop.example").get("shop.example", "");
        assert_eq!(response.status, status);
        lines += 1;
        let line = world.log(lines).remove(lines - 1);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let value = |variable: CertificateVariable| variable.value(&client.chain[0], now).unwrap();
        let wanted = format!(
            "{verify}{} {} [{}] {}",
            value(CertificateVariable::Fingerprint),
            value(CertificateVariable::EscapedPem),
            value(CertificateVariable::NotBefore),
            value(CertificateVariable::DaysLeft)
        );
        assert_eq!(line, wanted);
    }
    TlsClient::connect(&world, &anonymous(), "shop.example").get("shop.example", "");
    assert_eq!(world.log(3)[2], "NONE - - [-] -");
    world.ask("GET / HTTP/1.1\nHost: open.example\n\n");
    assert_eq!(world.log(4)[3], "- - - [-] -");
}

#[test]
fn a_certificate_is_required_before_the_length_of_a_body_is_checked() {
    let (ca, script) = (TestAuthority::new("Test CA"), ScriptedEndpoint::always(OK));
    let world = world(&[SECRET, ("proxy-body-size", "4")], &ca, &script);
    for (config, status) in [(anonymous(), 400), (with(&ca.client("ann")), 413)] {
        let mut client = TlsClient::connect(&world, &config, "shop.example");
        assert_eq!(client.get("shop.example", "Content-Length: 5\n").status, status);
    }
}

#[test]
fn a_connection_for_another_host_is_misdirected() {
    let (ca, script) = (TestAuthority::new("Test CA"), ScriptedEndpoint::always(OK));
    let mut world = world(&[SECRET, ("server-alias", "alias.example")], &ca, &script);
    world.service("more", &[script.address]);
    world.ingress("more", "more.example", &[SECRET, ("auth-tls-verify-client", "optional")]);
    world.authorities("other", &TestAuthority::new("Other CA").pem());
    world.service("other", &[script.address]);
    world.ingress(
        "other",
        "other.example",
        &[("auth-tls-secret", "default/other"), ("auth-tls-verify-client", "optional")],
    );
    let config = with(&ca.client("ann"));
    for (name, requests) in [
        (
            "open.example",
            &[("open.example", 200), ("shop.example", 421), ("other.example", 421), ("open.example", 200)][..],
        ),
        (
            "shop.example",
            &[
                ("shop.example", 200),
                ("open.example", 200),
                ("other.example", 421),
                ("more.example", 200),
                ("alias.example", 200),
            ],
        ),
        ("other.example", &[("shop.example", 421), ("unknown.example", 404)]),
        // As in nginx, a client that names no known host has shown no certificate.
        ("unknown.example", &[("other.example", 200), ("shop.example", 400)]),
        ("127.0.0.1", &[("other.example", 200), ("shop.example", 400)]),
    ] {
        let mut client = TlsClient::connect(&world, &config, name);
        for (host, status) in requests {
            assert_eq!(client.get(host, "").status, *status, "{host} over a connection to {name}");
        }
    }
}

#[test]
fn streams_for_another_host_are_misdirected() {
    let (ca, script) = (TestAuthority::new("Test CA"), ScriptedEndpoint::always(OK));
    let world = world(&[SECRET], &ca, &script);
    let config = client_as(rustls::DEFAULT_VERSIONS, &[b"h2"], &ca.client("ann"));
    for (name, hosts) in [
        ("open.example", [("open.example", 200), ("shop.example", 421)]),
        ("shop.example", [("open.example", 200), ("shop.example", 200)]),
    ] {
        world.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(world.https).await.unwrap();
            let connector = TlsConnector::from(config.clone());
            let stream = connector.connect(name.try_into().unwrap(), stream).await.unwrap();
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            for (host, status) in hosts {
                let request =
                    http::Request::get(format!("https://{host}/")).body(Empty::<Bytes>::new()).unwrap();
                assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host} at {name}");
            }
        });
    }
}

#[test]
fn other_authorities_apply_to_open_connections_and_sessions() {
    let (ca, next) = (TestAuthority::new("Test CA"), TestAuthority::new("Next CA"));
    let script = ScriptedEndpoint::always(OK);
    let mut world = world(&[SECRET], &ca, &script);
    let config = with(&ca.client("ann"));
    let mut client = TlsClient::connect(&world, &config, "shop.example");
    assert_eq!(client.get("shop.example", "").status, 200);
    world.authorities("ca", &next.pem());
    let response = client.get("shop.example", "");
    assert_eq!((response.status, response.header("connection")), (400, Some("close")));
    let mut client = TlsClient::connect(&world, &config, "shop.example");
    assert_eq!(client.get("shop.example", "").status, 400);
    assert_eq!(
        client.connection().handshake_kind(),
        Some(HandshakeKind::Full),
        "the session is one of other authorities"
    );
    world.authorities("ca", &[ca.pem(), next.pem()].concat());
    assert_eq!(TlsClient::connect(&world, &config, "shop.example").get("shop.example", "").status, 200);
    world.authorities("ca", "");
    assert_eq!(TlsClient::connect(&world, &config, "shop.example").get("shop.example", "").status, 403);
}

#[test]
fn a_session_without_a_certificate_is_not_resumed_where_one_is_required() {
    let (ca, script) = (TestAuthority::new("Test CA"), ScriptedEndpoint::always(OK));
    for tickets in ["false", "true"] {
        let mut world = world(&[], &ca, &script);
        world.configure(&[("ssl-session-tickets", tickets)]);
        let config = with(&ca.client("ann"));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = TlsClient::connect(&world, &config, "shop.example");
            assert_eq!(client.get("shop.example", "").status, 200);
            assert_eq!(client.connection().handshake_kind(), Some(kind), "tickets: {tickets}");
        }
        let mut open = TlsClient::connect(&world, &config, "shop.example");
        assert_eq!(open.get("shop.example", "").status, 200);
        world.ingress("shop", "shop.example", &[SECRET]);
        assert_eq!(open.get("shop.example", "").status, 421, "no certificate was asked for");
        let mut client = TlsClient::connect(&world, &config, "shop.example");
        assert_eq!(client.get("shop.example", "").status, 200);
        assert_eq!(client.connection().handshake_kind(), Some(HandshakeKind::Full), "tickets: {tickets}");
    }
}
