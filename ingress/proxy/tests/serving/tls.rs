//! HTTPS: certificates by name, protocols, headers.

use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use net::testing::{TestCertificate, certificate, certificate_of};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::{Response, ScriptedEndpoint, TestClient, TestCluster, read_response};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

pub fn client_config(alpn: &[u8]) -> Arc<ClientConfig> {
    net::testing::client(rustls::DEFAULT_VERSIONS, &[alpn])
}

/// A client over TLS that reads and writes bytes.
pub struct TlsClient(BufReader<StreamOwned<ClientConnection, std::net::TcpStream>>);

impl TlsClient {
    /// Connects with a server name.
    pub fn connect(world: &TestCluster, config: &Arc<ClientConfig>, name: &str) -> Self {
        let stream = std::net::TcpStream::connect(world.https).unwrap();
        stream.set_read_timeout(Some(crate::support::TEST_TIMEOUT)).unwrap();
        let connection = ClientConnection::new(config.clone(), name.to_owned().try_into().unwrap()).unwrap();
        Self(BufReader::new(StreamOwned::new(connection, stream)))
    }

    /// Sends a GET with header lines, and reads the response.
    pub fn get(&mut self, host: &str, lines: &str) -> Response {
        let request = format!("GET / HTTP/1.1\nHost: {host}\n{lines}\n").replace('\n', "\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        read_response(&mut self.0, false).expect("a response")
    }

    /// Sends a GET; fails if the handshake does.
    pub fn try_get(&mut self, host: &str) -> std::io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        stream.read_exact(&mut [0])
    }

    pub fn connection(&self) -> &ClientConnection {
        &self.0.get_ref().conn
    }
}

fn connect(world: &TestCluster, name: &str) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(world.https).unwrap();
    stream.set_read_timeout(Some(crate::support::TEST_TIMEOUT)).unwrap();
    let name = name.to_owned().try_into().unwrap();
    StreamOwned::new(ClientConnection::new(client_config(b"http/1.1"), name).unwrap(), stream)
}

/// The status and head of the response to a GET over TLS.
pub fn get(world: &TestCluster, host: &str, path: &str) -> (u16, String) {
    let mut stream = connect(world, host);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status line"), text)
}

/// The leaf certificate that is served for a name.
fn served(world: &TestCluster, name: &str) -> CertificateDer<'static> {
    let mut stream = connect(world, name);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn certificates_are_found_by_name_and_updated_with_their_secrets() {
    let mut world = TestCluster::new();
    world.service("shop", &[]);
    world.ingress_with("shop", "shop.example", "/", 80, &[], Some("cert"));
    let own = served(&world, "shop.example");
    assert_eq!(served(&world, "other.example"), own, "the self-signed certificate is served for every name");
    for _ in 0..2 {
        let TestCertificate { certificate, key, der } = certificate("shop.example");
        world.secret("cert", &certificate, &key);
        assert_eq!(served(&world, "shop.example"), der);
        assert_eq!(served(&world, "other.example"), own);
    }
    let text = world.registry.text();
    for (namespace, host, secret) in [("default", "shop.example", "cert"), ("", "_", "")] {
        let start = format!(
            "nginx_ingress_controller_ssl_expire_time_seconds{{namespace=\"{namespace}\",class=\"k8s.io/ingress-nginx\",host=\"{host}\",\
             secret_name=\"{secret}\","
        );
        let expiry = text.lines().find(|line| line.starts_with(&start));
        let seconds = expiry.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 1e9), "{start}: {expiry:?}");
    }
}

#[test]
fn https_is_visible_to_endpoints_and_clients() {
    let script = ScriptedEndpoint::always(OK);
    let world = TestCluster::serving(&[script.address]);
    let mut stream = connect(&world, "shop.example");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(
        text.contains("\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\nok"), "{text}");
    let head = script.seen().head;
    assert!(
        head.contains(
            "\nX-Forwarded-Port: 443\nX-Forwarded-Proto: https\nX-Forwarded-Scheme: https\nX-Scheme: https\n"
        ),
        "{head}"
    );
}

#[test]
fn a_request_without_tls_gets_400() {
    let world = TestCluster::new();
    let mut client = TestClient::connect(world.https);
    client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    let response = client.response();
    assert_eq!(response.status, 400);
    assert!(response.body.contains("The plain HTTP request was sent to HTTPS port"), "{}", response.body);
}

#[test]
fn further_names_of_a_host_get_its_certificate_if_it_covers_them() {
    let mut world = TestCluster::new();
    world.service("shop", &[]);
    let annotations = [("server-alias", "alias.example,other.example"), ("from-to-www-redirect", "true")];
    world.ingress_with("shop", "shop.example", "/", 80, &annotations, Some("cert"));
    let own = served(&world, "other.example");
    let cert = certificate_of(&["shop.example", "alias.example", "www.shop.example"]);
    world.secret("cert", &cert.certificate, &cert.key);
    for (name, is_covered) in [
        ("shop.example", true),
        ("alias.example", true),
        ("www.shop.example", true),
        ("other.example", false),
    ] {
        assert_eq!(served(&world, name), if is_covered { cert.der.clone() } else { own.clone() }, "{name}");
    }
    // Only names with a certificate are redirected to https.
    for (name, status) in [("alias.example", 308), ("other.example", 503)] {
        assert_eq!(world.ask(&format!("GET / HTTP/1.1\nHost: {name}\n\n")).status, status, "{name}");
    }
}
