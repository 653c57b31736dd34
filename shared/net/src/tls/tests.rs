use std::sync::Mutex;
use std::time::SystemTime;

use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use super::*;
use crate::certificate::self_signed;
use crate::testing::client;

/// Performs a handshake in memory, until neither side has more to send.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let mut server = ServerConnection::new(server.clone())?;
    let mut client = ClientConnection::new(client.clone(), name.to_owned().try_into().unwrap())?;
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut back = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        let mut unread = back.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
        if wire.is_empty() && back.is_empty() {
            return Ok((server, client));
        }
    }
}

#[test]
fn the_certificate_is_looked_up_by_name() {
    let lookups = Arc::new(Mutex::new(Vec::new()));
    let (shop, rest) = (self_signed(SystemTime::now()).unwrap(), self_signed(SystemTime::now()).unwrap());
    let (recorded, keys) = (lookups.clone(), (shop.clone(), rest.clone()));
    let certificates = by_name(move |name| {
        recorded.lock().unwrap().push(name.map(str::to_owned));
        Some(if name == Some("shop.example") { keys.0.clone() } else { keys.1.clone() })
    });
    let config = server_config(TlsOptions::default(), certificates).unwrap();
    let client = client(&[&rustls::version::TLS13], &[]);
    for (name, shown) in [("shop.example", &shop), ("other.example", &rest), ("127.0.0.1", &rest)] {
        let (_, end) = handshake(&config, &client, name).unwrap();
        assert_eq!(end.peer_certificates().unwrap()[0], shown.cert[0], "{name}");
    }
    let lookups = lookups.lock().unwrap();
    assert_eq!(*lookups, [Some("shop.example".into()), Some("other.example".into()), None]);
}

#[test]
fn a_name_without_a_certificate_fails_the_handshake() {
    let config = server_config(TlsOptions::default(), by_name(|_| None)).unwrap();
    let client = client(&[&rustls::version::TLS13], &[]);
    assert!(handshake(&config, &client, "shop.example").is_err());
}

#[test]
fn versions_protocols_and_resumption_are_those_of_ingress_nginx() {
    let shown = self_signed(SystemTime::now()).unwrap();
    let config = server_config(TlsOptions::default(), by_name(move |_| Some(shown.clone()))).unwrap();
    assert!(!config.ticketer.enabled());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (offered, chosen) in
            [(&[HTTP1, H2][..], Some(H2)), (&[HTTP1][..], Some(HTTP1)), (&[][..], None::<&[u8]>)]
        {
            let client = client(&[version], offered);
            let (server, _) = handshake(&config, &client, "shop.example").unwrap();
            assert_eq!(server.protocol_version(), Some(version.version));
            assert_eq!(server.alpn_protocol(), chosen);
            assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
            let (again, _) = handshake(&config, &client, "shop.example").unwrap();
            assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?} {offered:?}");
        }
    }
}

#[test]
fn without_a_session_cache_every_handshake_is_full() {
    let shown = self_signed(SystemTime::now()).unwrap();
    let options = TlsOptions { sessions: None, ..TlsOptions::default() };
    let config = server_config(options, by_name(move |_| Some(shown.clone()))).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = client(&[version], &[]);
        for _ in 0..2 {
            let (server, _) = handshake(&config, &client, "shop.example").unwrap();
            assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
        }
    }
}
