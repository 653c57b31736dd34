//! HTTPS: certificates by name, protocols, headers.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::support::{Client, Script, World};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// Takes any certificate: these tests look at which one is shown.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        net::tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

pub fn client_config(alpn: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(net::tls::provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

fn connect(world: &World, name: &str) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(world.https).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let name = name.to_owned().try_into().unwrap();
    StreamOwned::new(ClientConnection::new(client_config(b"http/1.1"), name).unwrap(), stream)
}

/// The leaf that is shown for a name.
fn shown(world: &World, name: &str) -> CertificateDer<'static> {
    let mut stream = connect(world, name);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn pair(name: &str) -> (String, String, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().clone())
}

#[test]
fn certificates_are_found_by_name_and_follow_their_secrets() {
    let mut world = World::new();
    world.service("shop", &[]);
    world.ingress_with("shop", "shop.example", "/", 80, &[], Some("cert"));
    let own = shown(&world, "shop.example");
    assert_eq!(shown(&world, "other.example"), own, "one self-made certificate for all");
    for _ in 0..2 {
        let (certificate, key, der) = pair("shop.example");
        world.secret("cert", &certificate, &key);
        assert_eq!(shown(&world, "shop.example"), der);
        assert_eq!(shown(&world, "other.example"), own);
    }
    let text = world.registry.text();
    let expiry = text
        .lines()
        .find(|line| line.starts_with("nginx_ingress_controller_ssl_expire_time_seconds{"))
        .unwrap();
    let labels =
        "{namespace=\"default\",class=\"k8s.io/ingress-nginx\",host=\"shop.example\",secret_name=\"cert\",";
    assert!(expiry.contains(labels), "{expiry}");
}

#[test]
fn endpoints_and_clients_are_told_that_it_is_https() {
    let script = Script::always(OK);
    let world = World::serving(&[script.address]);
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
fn a_request_without_tls_is_told_so() {
    let world = World::new();
    let mut client = Client::connect(world.https);
    client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    let response = client.response();
    assert_eq!(response.status, 400);
    assert!(response.body.contains("The plain HTTP request was sent to HTTPS port"), "{}", response.body);
}
