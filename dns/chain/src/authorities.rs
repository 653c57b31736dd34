//! The authorities that certificates are checked against.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Where systems keep the authorities they trust, as Go looks for them.
const SYSTEM: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Those that the system trusts; none on a system that has no such list.
pub(crate) fn of_system() -> RootCertStore {
    let files = std::env::var("SSL_CERT_FILE").into_iter().chain(SYSTEM.map(str::to_owned));
    let mut found = files.filter_map(|file| std::fs::read(file).ok()).map(|pem| of_pem(&pem));
    found.find(|roots| !roots.is_empty()).unwrap_or_else(RootCertStore::empty)
}

/// Those in a PEM text; what is no certificate is passed over, as Go does it.
pub(crate) fn of_pem(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    roots
}
