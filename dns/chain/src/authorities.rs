//! Certificate authorities that upstreams are verified against, and the TLS configuration of clients.

mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use verifier::AuthorityVerifier;

/// The configuration of a client: verifies servers with the authorities in a PEM file, else with those of the system, and has the
/// identity in two PEM files, its certificate and key. An error names the file.
pub(crate) fn client_config(
    authority: Option<&Path>,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match authority {
        None => builder.with_root_certificates(of_system()),
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let (authorities, roots) = of_pem(&pem);
            if roots.is_empty() {
                return Err(format!("no certificate in {}", file.display()));
            }
            let verifier = AuthorityVerifier::new(authorities, roots, &provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let Some((cert, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let named = |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| named(cert, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| named(cert, &error))
}

/// The authorities that the system trusts; empty if the system has no list.
fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The authorities in a PEM text, as they are and as trust anchors. Entries that are not certificates are ignored, as Go does.
fn of_pem(pem: &[u8]) -> (Vec<CertificateDer<'static>>, RootCertStore) {
    let authorities: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().collect();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    (authorities, roots)
}
