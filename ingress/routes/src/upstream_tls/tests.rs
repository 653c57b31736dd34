use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use super::*;

/// An endpoint's configuration.
fn endpoint() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["inner.example".into()]).unwrap().self_signed(&key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// Whether the session with an endpoint at this address was resumed.
fn is_resumed(tls: &UpstreamTls, endpoint: &Arc<ServerConfig>, address: u32) -> bool {
    let name = tls.server_name(IpAddr::V4(address.into()));
    let mut client = ClientConnection::new(tls.config(false).clone(), name).unwrap();
    let mut server = ServerConnection::new(endpoint.clone()).unwrap();
    loop {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets().unwrap();
        let sent = bytes.len();
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets().unwrap();
        if sent + bytes.len() == 0 {
            return client.handshake_kind() == Some(HandshakeKind::Resumed);
        }
    }
}

#[test]
fn sessions_of_endpoints_are_limited() {
    // TLS 1.2, because its sessions are used more than once.
    let settings = UpstreamTlsSettings { versions: TlsVersions::Only12, ..UpstreamTlsSettings::default() };
    let (tls, endpoint) = (UpstreamTls::new(settings).unwrap(), endpoint());
    assert!(!is_resumed(&tls, &endpoint, 0));
    assert!(is_resumed(&tls, &endpoint, 0), "the first session is kept");
    for address in 1..=2 * SESSIONS as u32 {
        assert!(!is_resumed(&tls, &endpoint, address), "{address} has no session of another endpoint");
    }
    assert!(!is_resumed(&tls, &endpoint, 0), "newer sessions have replaced it");
}
