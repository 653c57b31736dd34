//! What a TLS handshake has agreed on, for the access log.

use ingress_routes::access_log::TlsVariable;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection};

/// Properties of a client's TLS connection.
#[derive(Clone, Debug)]
pub(crate) struct TlsDetails {
    protocol: Option<ProtocolVersion>,
    cipher: Option<CipherSuite>,
    group: Option<NamedGroup>,
    server_name: Option<Box<str>>,
    is_resumed: bool,
}

impl TlsDetails {
    /// Those of a connection whose handshake is complete.
    pub(crate) fn of(connection: &ServerConnection) -> Self {
        Self {
            protocol: connection.protocol_version(),
            cipher: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            server_name: connection.server_name().map(Into::into),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// The value of a variable, in OpenSSL's words, which are nginx's.
    pub(crate) fn value(&self, variable: TlsVariable) -> Option<&str> {
        match variable {
            TlsVariable::Protocol => match self.protocol? {
                ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
                ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
                _ => None,
            },
            TlsVariable::Cipher => cipher_name(self.cipher?),
            TlsVariable::Curve => match self.group? {
                NamedGroup::X25519 => Some("X25519"),
                NamedGroup::secp256r1 => Some("prime256v1"),
                NamedGroup::secp384r1 => Some("secp384r1"),
                NamedGroup::X25519MLKEM768 => Some("X25519MLKEM768"),
                _ => None,
            },
            TlsVariable::ServerName => self.server_name.as_deref(),
            TlsVariable::SessionReused => Some(if self.is_resumed { "r" } else { "." }),
            TlsVariable::ClientVerify => Some("NONE"),
        }
    }
}

/// OpenSSL's name of a cipher that rustls has.
fn cipher_name(cipher: CipherSuite) -> Option<&'static str> {
    Some(match cipher {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => return None,
    })
}
