//! TLS settings of the whole server.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::tls_versions::TlsVersions;

/// TLS settings of the whole server, named as keys of the ConfigMap. They apply to new connections.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// `ssl-protocols`.
    pub versions: TlsVersions,
    /// `ssl-ciphers`: IANA's numbers of the suites of TLS 1.2, in order of preference; `None` for all that rustls has.
    pub ciphers: Option<Arc<[u16]>>,
    /// `ssl-ecdh-curve`: IANA's numbers of the groups of key exchange, in order of preference; `None` for those of rustls.
    pub groups: Option<Arc<[u16]>>,
    /// `enable-ocsp`: OCSP responses are stapled to certificates.
    pub staples: bool,
    /// `ssl-session-cache`.
    pub session_cache: bool,
    /// `ssl-session-timeout`: how long a session can be resumed.
    pub session_timeout: Duration,
    /// `ssl-session-tickets`: the client keeps the session, encrypted.
    pub session_tickets: bool,
    /// `ssl-session-ticket-key`; `None` for a random one.
    pub ticket_key: Option<TicketKey>,
    /// `ssl-reject-handshake`: names that no host has get no certificate.
    pub rejects_unknown_names: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            versions: TlsVersions::Both,
            ciphers: None,
            groups: None,
            staples: false,
            session_cache: true,
            session_timeout: Duration::from_secs(600),
            session_tickets: false,
            ticket_key: None,
            rejects_unknown_names: false,
        }
    }
}

/// The key of session tickets: 48 or 80 bytes, as for nginx.
#[derive(Clone, PartialEq)]
pub struct TicketKey(Arc<[u8]>);

impl TicketKey {
    /// `None` for another length.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        matches!(bytes.len(), 48 | 80).then(|| Self(bytes.into()))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Never prints the key.
impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKey({})", hex::encode(&Sha256::digest(&self.0)[..4]))
    }
}
