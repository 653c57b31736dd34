//! Versions, ciphers, session resumption, and names without a host.

use net::testing::client;
use rustls::{CipherSuite, HandshakeKind};

use crate::support::{ScriptedEndpoint, TestCluster};
use crate::tls::TlsClient;

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
/// 80 bytes.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk=";

#[test]
fn ciphers_of_a_host_and_of_the_server_are_offered() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    let config = client(&[&rustls::version::TLS12], &[]);
    let cipher = |world: &TestCluster| {
        let mut client = TlsClient::connect(world, &config, "shop.example");
        assert_eq!(client.get("shop.example", "").status, 200);
        client.connection().negotiated_cipher_suite().unwrap().suite()
    };
    let default = cipher(&world);
    assert_eq!(default, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    world.configure(&[
        ("ssl-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("ssl-session-cache", "false"),
    ]);
    assert_eq!(cipher(&world), CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
    world.ingress("shop", "shop.example", &[("ssl-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:AES256-SHA")]);
    assert_eq!(cipher(&world), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    // The client prefers AES with 256 bits.
    let list = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    world.ingress("shop", "shop.example", &[("ssl-ciphers", list)]);
    assert_eq!(cipher(&world), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    world.ingress("shop", "shop.example", &[("ssl-ciphers", list), ("ssl-prefer-server-ciphers", "false")]);
    assert_eq!(cipher(&world), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
}

#[test]
fn the_versions_of_the_key_are_offered() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    // A list of ciphers concerns TLS 1.2 only.
    world.ingress("shop", "shop.example", &[("ssl-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")]);
    for (list, tls12, tls13) in [
        ("", true, true),
        ("TLSv1.2", true, false),
        ("TLSv1.3", false, true),
        ("TLSv1 TLSv1.1 TLSv1.3", false, true),
        ("TLSv1.3 TLSv1.2", true, true),
    ] {
        world.configure(&[("ssl-protocols", list)]);
        for (version, is_offered) in [(&rustls::version::TLS12, tls12), (&rustls::version::TLS13, tls13)] {
            let mut client = TlsClient::connect(&world, &client(&[version], &[]), "shop.example");
            assert_eq!(client.try_get("shop.example").is_ok(), is_offered, "{list:?} {version:?}");
        }
    }
}

#[test]
fn sessions_are_resumed_as_the_keys_say() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (keys, kind) in [
            (&[][..], HandshakeKind::Resumed),
            (&[("ssl-session-cache", "false")], HandshakeKind::Full),
            (&[("ssl-session-cache", "false"), ("ssl-session-tickets", "true")], HandshakeKind::Resumed),
        ] {
            world.configure(keys);
            let config = client(&[version], &[]);
            let handshake = || {
                let mut client = TlsClient::connect(&world, &config, "shop.example");
                assert_eq!(client.get("shop.example", "").status, 200);
                client.connection().handshake_kind()
            };
            assert_eq!((handshake(), handshake()), (Some(HandshakeKind::Full), Some(kind)), "{keys:?}");
        }
    }
}

#[test]
fn replicas_with_the_same_ticket_key_resume_the_sessions_of_each_other() {
    let script = ScriptedEndpoint::always(OK);
    let replica = |key: Option<&str>| {
        let mut world = TestCluster::serving(&[script.address]);
        let tickets = ("ssl-session-tickets", "true");
        match key {
            Some(key) => world.configure(&[("ssl-session-ticket-key", key), tickets]),
            None => world.configure(&[tickets]),
        }
        world
    };
    for (keys, kind) in [
        ([Some(KEY), Some(KEY)], HandshakeKind::Resumed),
        ([None, None], HandshakeKind::Full),
        ([Some(KEY), None], HandshakeKind::Full),
    ] {
        let [one, other] = keys.map(replica);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = client(&[version], &[]);
            assert_eq!(TlsClient::connect(&one, &config, "shop.example").get("shop.example", "").status, 200);
            let mut client = TlsClient::connect(&other, &config, "shop.example");
            assert_eq!(client.get("shop.example", "").status, 200);
            assert_eq!(client.connection().handshake_kind(), Some(kind), "{keys:?} {version:?}");
        }
    }
}

#[test]
fn names_without_a_host_can_be_rejected() {
    let script = ScriptedEndpoint::always(OK);
    let mut world = TestCluster::serving(&[script.address]);
    world.configure(&[("ssl-reject-handshake", "true")]);
    let config = client(rustls::DEFAULT_VERSIONS, &[]);
    assert_eq!(TlsClient::connect(&world, &config, "shop.example").get("shop.example", "").status, 200);
    assert!(TlsClient::connect(&world, &config, "other.example").try_get("shop.example").is_err());
}
