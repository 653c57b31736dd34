//! The TLS configuration for upstreams: authorities, client certificate, server names.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::options::ForwardTls;
use crate::authorities;

/// The configuration for upstreams that speak the ALPN protocol (RFC 7301).
pub(super) fn client(tls: &ForwardTls, protocol: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let roots = match &tls.authority {
        None => authorities::of_system(),
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
            authorities::of_pem(&pem)
        }
    };
    if let (Some(file), true) = (&tls.authority, roots.is_empty()) {
        return Err(format!("no certificate in {file}"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect)
                .map_err(|error| format!("{cert}: {error}"))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("{cert}: {error}"))?
        }
    };
    if !protocol.is_empty() {
        config.alpn_protocols = vec![protocol.to_vec()];
    }
    Ok(Arc::new(config))
}

/// The name that an upstream's certificate must contain.
pub(super) fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| format!("tls_servername {text:?} is no host name"))
}
