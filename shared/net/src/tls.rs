//! Server-side TLS: versions, ALPN protocols and session resumption as in ingress-nginx; certificates are looked up by name.

use std::sync::{Arc, LazyLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

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

/// TLS settings of a listener.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// ALPN protocols in order of preference (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// Whether sessions are cached for resumption (ConfigMap `ssl-session-cache`).
    pub session_cache: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { alpn: vec![H2.to_vec(), HTTP1.to_vec()], session_cache: true }
    }
}

/// The crypto provider of the process.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}

/// Creates a server configuration that looks up the certificate by name at each handshake.
///
/// TLS 1.2 and 1.3, the server's cipher order, no stateless tickets: resumption goes through [`SessionCache`]
/// (ingress-nginx: `ssl_session_tickets off`, `ssl_session_cache shared:SSL:10m`, 10 minutes). `by_name` is called with the
/// SNI name in lower case and without a final dot, or with `None` if the client sent none. If it returns `None`, the handshake
/// fails.
pub fn server_config<F>(options: &TlsOptions, by_name: F) -> Result<Arc<ServerConfig>, TlsError>
where
    F: Fn(Option<&str>) -> Option<Arc<CertifiedKey>> + Send + Sync + 'static,
{
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(by_name)));
    config.alpn_protocols.clone_from(&options.alpn);
    config.ignore_client_order = true;
    config.send_tls13_tickets = if options.session_cache { 2 } else { 0 };
    config.session_storage = if options.session_cache {
        Arc::new(SessionCache::default())
    } else {
        Arc::new(NoServerSessionStorage {})
    };
    Ok(Arc::new(config))
}

/// A lookup of certificates by name, as that of [`server_config`].
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
