//! Server-side TLS: versions, ALPN protocols, ciphers and session resumption as in ingress-nginx; certificates are looked up by name.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use crate::client_certificate::AnyCertificate;
use crate::session_cache::SessionCache;

/// ALPN identifier of HTTP/2 over TLS (RFC 9113 §3.2).
pub const H2: &[u8] = b"h2";
/// ALPN identifier of HTTP/1.1 over TLS (RFC 7301 §6).
pub const HTTP1: &[u8] = b"http/1.1";

/// Why TLS cannot be set up.
#[derive(Debug)]
pub enum TlsError {
    /// rustls refused a certificate, a key or a setting.
    Rustls(rustls::Error),
    /// The self-signed certificate could not be created.
    SelfSigned(rcgen::Error),
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rustls(error) => write!(f, "TLS: {error}"),
            Self::SelfSigned(error) => write!(f, "cannot create the default certificate: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

/// Settings of TLS connections.
pub struct TlsOptions {
    /// ALPN protocols in order of preference (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// The versions that are offered.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// IANA's numbers of the suites of TLS 1.2 in order of preference; `None` for all. Those of TLS 1.3 are always offered.
    pub ciphers: Option<Arc<[u16]>>,
    /// IANA's numbers of the groups of key exchange in order of preference; `None` for those of rustls.
    pub groups: Option<Arc<[u16]>>,
    /// The order of the client decides which cipher is used, and not that of the server.
    pub prefers_client_order: bool,
    /// Names of certificate authorities: the handshake asks for a client certificate, and accepts any whose key the client has.
    pub client_authorities: Option<Arc<[DistinguishedName]>>,
    /// Where sessions are kept; `None` for nowhere.
    pub sessions: Option<Arc<dyn StoresServerSessions>>,
    /// Makes session tickets, in place of `sessions`.
    pub tickets: Option<Arc<dyn ProducesTickets>>,
}

/// Those of ingress-nginx: TLS 1.2 and 1.3, HTTP/2, the server's cipher order, a session cache (`ssl_session_cache shared:SSL:10m`, 10 minutes) and no
/// session tickets.
impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            alpn: vec![H2.to_vec(), HTTP1.to_vec()],
            versions: rustls::ALL_VERSIONS,
            ciphers: None,
            groups: None,
            prefers_client_order: false,
            client_authorities: None,
            sessions: Some(Arc::new(SessionCache::default())),
            tickets: None,
        }
    }
}

/// The crypto provider of the process.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}

/// Creates the configuration of a listener.
///
/// # Errors
/// When rustls refuses the settings.
pub fn server_config(
    options: TlsOptions,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut provider = match &options.ciphers {
        None => provider().clone(),
        Some(ciphers) => Arc::new(with_ciphers(provider(), ciphers)),
    };
    if let Some(groups) = &options.groups {
        let known = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
        let find = |number: &u16| known.iter().find(|group| u16::from(group.name()) == *number);
        Arc::make_mut(&mut provider).kx_groups = groups.iter().filter_map(find).copied().collect();
    }
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(options.versions)?;
    let builder = match options.client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            builder.with_client_cert_verifier(Arc::new(AnyCertificate { authorities, provider }))
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = options.alpn;
    config.ignore_client_order = !options.prefers_client_order;
    config.send_tls13_tickets = if options.sessions.is_some() || options.tickets.is_some() { 2 } else { 0 };
    config.session_storage = options.sessions.unwrap_or_else(|| Arc::new(NoServerSessionStorage {}));
    if let Some(tickets) = options.tickets {
        config.ticketer = tickets;
    }
    Ok(Arc::new(config))
}

/// A provider with the suites of TLS 1.3, and these of TLS 1.2.
fn with_ciphers(provider: &CryptoProvider, ciphers: &[u16]) -> CryptoProvider {
    let suites = &provider.cipher_suites;
    let of_tls13 = suites.iter().filter(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
    let find = |number: &u16| suites.iter().find(|suite| u16::from(suite.suite()) == *number);
    let cipher_suites = of_tls13.chain(ciphers.iter().filter_map(find)).copied().collect();
    CryptoProvider { cipher_suites, ..provider.clone() }
}

/// Looks up the certificate by name at each handshake. `find` is called with the SNI name in lower case and without a final dot, or with
/// `None` if the client sent none. If it returns `None`, the handshake fails.
pub fn by_name<F>(find: F) -> Arc<dyn ResolvesServerCert>
where
    F: Fn(Option<&str>) -> Option<Arc<CertifiedKey>> + Send + Sync + 'static,
{
    Arc::new(ByName(find))
}

struct ByName<F>(F);

impl<F> std::fmt::Debug for ByName<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByName")
    }
}

impl<F> ResolvesServerCert for ByName<F>
where
    F: Fn(Option<&str>) -> Option<Arc<CertifiedKey>> + Send + Sync,
{
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return (self.0)(None) };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return (self.0)(Some(&name.to_ascii_lowercase()));
        }
        (self.0)(Some(name))
    }
}

#[cfg(test)]
mod tests;
