//! TLS to endpoints: `backend-protocol` HTTPS and AUTO_HTTP, `proxy-ssl-*`.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

use cluster::{Key, Object, Secret};
use net::testing::{TestCertificate, certificate};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{TEST_TIMEOUT, TestCluster, one_worker, read_body, read_head};

/// A request as an endpoint saw it.
#[derive(Debug)]
struct SeenRequest {
    head: String,
    /// The server name that the proxy has sent.
    name: Option<String>,
    has_certificate: bool,
}

/// An endpoint that speaks HTTP over TLS and answers every request with 200.
struct TlsEndpoint {
    address: SocketAddr,
    requests: mpsc::Receiver<SeenRequest>,
    connections: Arc<Mutex<usize>>,
}

impl TlsEndpoint {
    /// `clients`: the certificate that a client must present.
    fn new(own: &TestCertificate, clients: Option<&TestCertificate>) -> Self {
        let config = server_config(own, clients);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (reports, requests) = mpsc::channel();
        let connections = Arc::new(Mutex::new(0));
        let count = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *count.lock().unwrap() += 1;
                let (config, reports) = (config.clone(), reports.clone());
                std::thread::spawn(move || serve(stream, config, &reports));
            }
        });
        Self { address, requests, connections }
    }

    fn seen(&self) -> SeenRequest {
        self.requests.recv_timeout(TEST_TIMEOUT).expect("the endpoint gets a request")
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

pub fn server_config(own: &TestCertificate, clients: Option<&TestCertificate>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(vec![own.der.clone()], key).unwrap())
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, reports: &mpsc::Sender<SeenRequest>) {
    let stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream) {
        let request = crate::support::Response { status: 0, head: head.clone(), body: String::new() };
        let body = read_body(&mut stream, &request).unwrap_or_default();
        let tls = &stream.get_ref().conn;
        let _ = reports.send(SeenRequest {
            head,
            name: tls.server_name().map(str::to_owned),
            has_certificate: tls.peer_certificates().is_some(),
        });
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.get_mut().write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// A Secret for `proxy-ssl-secret`: a client certificate, and an authority.
fn secret(world: &mut TestCluster, client: Option<&TestCertificate>, authority: &TestCertificate) {
    let text = |text: Option<&String>| text.map_or_else(Box::default, |text| text.as_bytes().into());
    world.apply(Object::Secret(Arc::new(Secret {
        key: Key::new("default", "ends"),
        certificate: text(client.map(|client| &client.certificate)),
        private_key: text(client.map(|client| &client.key)),
        other: [("ca.crt".into(), text(Some(&authority.certificate)))].into(),
    })));
}

const GET: &str = "GET /a HTTP/1.1\nHost: shop.example\n\n";
const POST: &str = "POST /a HTTP/1.1\nHost: shop.example\nContent-Length: 5\n\nhello";

fn world(endpoint: &TlsEndpoint, annotations: &[(&str, &str)]) -> TestCluster {
    let mut world = TestCluster::with(one_worker());
    world.service("shop", &[endpoint.address]);
    world.ingress("shop", "shop.example", annotations);
    world
}

#[test]
fn endpoints_get_requests_over_tls_on_kept_connections_without_a_name() {
    let endpoint = TlsEndpoint::new(&certificate("inner.example"), None);
    let world = world(&endpoint, &[("backend-protocol", "https")]);
    for _ in 0..3 {
        let response = world.ask(POST);
        assert_eq!((response.status, response.body.as_str()), (200, "hello"));
        let seen = endpoint.seen();
        assert!(seen.head.starts_with("POST /a HTTP/1.1\n"), "{}", seen.head);
        assert_eq!((seen.name, seen.has_certificate), (None, false));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn an_endpoint_without_tls_is_502() {
    let plain = crate::support::ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let mut world = TestCluster::with(one_worker());
    world.service("shop", &[plain.address]);
    world.ingress("shop", "shop.example", &[("backend-protocol", "HTTPS")]);
    assert_eq!(world.ask(GET).status, 502);
}

#[test]
fn auto_http_follows_the_client() {
    let endpoint = TlsEndpoint::new(&certificate("inner.example"), None);
    let world = world(&endpoint, &[("backend-protocol", "AUTO_HTTP")]);
    assert_eq!(world.ask(GET).status, 502, "the endpoint reads a request in the clear as a broken handshake");
    let (status, _) = crate::tls::get(&world, "shop.example", "/a");
    assert_eq!(status, 200);
    assert!(endpoint.seen().head.contains("X-Forwarded-Proto: https"));
}

#[test]
fn the_client_certificate_and_the_name_of_the_settings_are_sent() {
    let client = certificate("proxy.example");
    let endpoint = TlsEndpoint::new(&certificate("inner.example"), Some(&client));
    let mut world = world(
        &endpoint,
        &[
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "default/ends"),
            ("proxy-ssl-name", "inner.example"),
            ("proxy-ssl-server-name", "on"),
        ],
    );
    assert_eq!(world.ask(GET).status, 503, "the Secret is missing");
    secret(&mut world, Some(&client), &client);
    assert_eq!(world.ask(GET).status, 200);
    let seen = endpoint.seen();
    assert_eq!((seen.name.as_deref(), seen.has_certificate), (Some("inner.example"), true));
}

#[test]
fn an_endpoint_that_cannot_be_verified_is_502() {
    let own = certificate("inner.example");
    let endpoint = TlsEndpoint::new(&own, None);
    let verified = |name: &'static str| {
        [
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "default/ends"),
            ("proxy-ssl-verify", "on"),
            ("proxy-ssl-name", name),
        ]
    };
    let mut world = world(&endpoint, &verified("inner.example"));
    secret(&mut world, None, &certificate("inner.example"));
    assert_eq!(world.ask(GET).status, 502, "another authority");
    secret(&mut world, None, &own);
    assert_eq!(world.ask(GET).status, 200);
    world.ingress("shop", "shop.example", &verified("other.example"));
    assert_eq!(world.ask(GET).status, 502, "another name; the verified connection is not used");
}

#[test]
fn a_connection_serves_only_routes_with_the_same_settings() {
    let client = certificate("proxy.example");
    let endpoint = TlsEndpoint::new(&certificate("inner.example"), None);
    let mut world = world(&endpoint, &[("backend-protocol", "HTTPS")]);
    let secured = [("backend-protocol", "HTTPS"), ("proxy-ssl-secret", "default/ends")];
    secret(&mut world, Some(&client), &client);
    for (host, annotations) in
        [("same.example", &secured[..1]), ("one.example", &secured), ("two.example", &secured)]
    {
        world.ingress_with(host, host, "/", 80, annotations, None);
        world.service(host, &[endpoint.address]);
    }
    for (host, connections) in [
        ("shop.example", 1),
        ("same.example", 1),
        ("one.example", 2),
        ("two.example", 2),
        ("shop.example", 2),
    ] {
        assert_eq!(world.ask(&format!("GET / HTTP/1.1\nHost: {host}\n\n")).status, 200, "{host}");
        assert_eq!(endpoint.connections(), connections, "{host}");
    }
}
