//! ClientHellos as rustls writes and reads them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ingress_wire::client_hello::{self, ClientHello};
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The first flight of a rustls client.
fn flight(name: &'static str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// What rustls reads from it; `None` if it refuses it or needs more.
fn read_by_rustls(mut bytes: &[u8]) -> Option<ClientHello> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            return Some(ClientHello {
                server_name: hello.server_name().map(str::to_ascii_lowercase),
                alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
            });
        }
    }
    None
}

#[test]
fn a_hello_of_rustls_is_read_as_rustls_reads_it() {
    let cases: [(&str, &[&[u8]]); 4] = [
        ("shop.example", &[b"h2", b"http/1.1"]),
        ("Shop.Example", &[b"acme-tls/1"]),
        ("a.b-c.example", &[]),
        ("192.0.2.1", &[b"http/1.1"]),
    ];
    for (name, alpn) in cases {
        let bytes = flight(name, alpn);
        let read = client_hello::parse(&bytes).unwrap().expect("a flight is a whole hello");
        assert_eq!(Some(&read), read_by_rustls(&bytes).as_ref(), "{name}");
        assert_eq!(read.alpn, alpn);
        assert_eq!(read.server_name.is_some(), name != "192.0.2.1", "{name}");
    }
}

#[test]
fn a_damaged_hello_that_rustls_accepts_names_the_same_server() {
    let bytes = flight("shop.example", &[b"h2"]);
    let mut accepted = 0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let Some(expected) = read_by_rustls(&damaged) else { continue };
            accepted += 1;
            // Ours may refuse what rustls ignores, such as a name with bytes that no host has.
            if let Ok(Some(read)) = client_hello::parse(&damaged) {
                assert_eq!(read, expected, "byte {at} ^ {flip:#x}");
            }
        }
    }
    assert!(accepted > 100, "{accepted} damaged hellos are accepted by rustls");
}
