//! The TLS configuration for upstreams: authorities, client certificate, server names.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::options::ForwardTls;
use crate::authorities;

/// The configuration for upstreams that speak the ALPN protocol (RFC 7301).
pub(super) fn client(tls: &ForwardTls, protocol: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let identity = tls.identity.as_ref().map(|(cert, key)| (cert.into(), key.into()));
    let authority = tls.authority.as_ref().map(Path::new);
    let mut config = authorities::client_config(authority, identity.as_ref())?;
    if !protocol.is_empty() {
        config.alpn_protocols = vec![protocol.to_vec()];
    }
    Ok(Arc::new(config))
}

/// The name that an upstream's certificate must contain.
pub(super) fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| format!("tls_servername {text:?} is no host name"))
}
