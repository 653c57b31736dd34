//! Builds the TLS configuration of an admin listener.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls::{ProtocolVersion, RootCertStore, SupportedCipherSuite};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::file::{ClientAuth, Curve, PemFiles, TlsServerConfig, TlsVersion};

/// CBC cipher suites, which Go supports and rustls does not.
const UNSUPPORTED_SUITES: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// The cipher suites of TLS 1.3. They cannot be disabled, as in Go.
const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Builds the TLS configuration.
pub(super) fn server(tls: &TlsServerConfig, pem: &PemFiles) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(tls)?);
    let oldest = tls.min_version.unwrap_or(TlsVersion::Tls12);
    let newest = tls.max_version.unwrap_or(TlsVersion::Tls13);
    let has_suites = |version| provider.cipher_suites.iter().any(|suite| suite.version() == version);
    let versions: Vec<_> = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)]
        .into_iter()
        .filter(|(version, served)| (oldest..=newest).contains(version) && has_suites(*served))
        .map(|(_, served)| served)
        .collect();
    if versions.is_empty() {
        return Err("min_version, max_version and cipher_suites leave no version from TLS12 to TLS13".into());
    }
    let chain = CertificateDer::pem_slice_iter(&pem.certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate: no PEM certificate found".into());
    }
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| format!("the key: {error}"))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = match clients(tls, pem, &provider)? {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("the certificate and its key: {error}"))?;
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Descriptions of the settings that are not supported, for warnings.
pub(super) fn unsupported(tls: &TlsServerConfig) -> Vec<String> {
    let suites = tls.cipher_suites.iter().filter(|name| UNSUPPORTED_SUITES.contains(&name.as_str()));
    let mut unsupported: Vec<String> = suites.map(|name| format!("cipher suite {name}")).collect();
    if tls.curve_preferences.contains(&Curve::P521) {
        unsupported.push("CurveP521".into());
    }
    if tls.min_version.is_some_and(|oldest| oldest < TlsVersion::Tls12) {
        unsupported.push("TLS before 1.2".into());
    }
    unsupported
}

/// A crypto provider with the configured cipher suites and groups, as far as they are supported.
fn provider(tls: &TlsServerConfig) -> Result<CryptoProvider, String> {
    let mut provider = default_provider();
    if !tls.cipher_suites.is_empty() {
        let is_new = |suite: &SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_3;
        let (mut suites, old): (Vec<_>, Vec<_>) = provider.cipher_suites.into_iter().partition(is_new);
        for name in &tls.cipher_suites {
            let known = UNSUPPORTED_SUITES.contains(&name.as_str()) || TLS13_SUITES.contains(&name.as_str());
            match old.iter().find(|suite| suite.suite().as_str() == Some(name)) {
                Some(suite) => suites.push(*suite),
                None if known => {}
                None => return Err(format!("unknown cipher: {name}")),
            }
        }
        provider.cipher_suites = suites;
    }
    if !tls.curve_preferences.is_empty() {
        let group = |curve: &Curve| match curve {
            Curve::X25519 => Some(kx_group::X25519),
            Curve::P256 => Some(kx_group::SECP256R1),
            Curve::P384 => Some(kx_group::SECP384R1),
            Curve::P521 => None,
        };
        provider.kx_groups = tls.curve_preferences.iter().filter_map(group).collect();
        if provider.kx_groups.is_empty() {
            return Err("curve_preferences should name X25519, CurveP256 or CurveP384".into());
        }
    }
    Ok(provider)
}

fn clients(
    tls: &TlsServerConfig,
    pem: &PemFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<ClientCertPolicy>, String> {
    let wanted = tls.client_auth_type.unwrap_or(ClientAuth::NoClientCert);
    if wanted == ClientAuth::NoClientCert {
        // Go ignores these without a client_auth_type, which would serve the page without authentication.
        return match (&pem.authorities, &tls.client_allowed_sans) {
            (None, None) => Ok(None),
            _ => Err("client_ca and client_allowed_sans need a client_auth_type".into()),
        };
    }
    let checked =
        matches!(wanted, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert);
    let chain = checked.then(|| {
        let roots = match &pem.authorities {
            Some(pem) => authorities(CertificateDer::pem_slice_iter(pem).flatten()),
            None => authorities(rustls_native_certs::load_native_certs().certs),
        };
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        builder.build().map_err(|error| format!("client_ca: {error}"))
    });
    let required =
        matches!(wanted, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert);
    Ok(Some(ClientCertPolicy {
        // A client without a certificate cannot have an allowed name.
        required: required || tls.client_allowed_sans.is_some(),
        chain: chain.transpose()?,
        names: tls.client_allowed_sans.clone(),
        provider: provider.clone(),
    }))
}

/// Verifies the certificates of clients.
#[derive(Debug)]
struct ClientCertPolicy {
    required: bool,
    /// Verifies the certificate chain; `None` if any certificate is accepted.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    names: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for ClientCertPolicy {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(certificate, intermediates, now)?;
        }
        if let Some(allowed) = &self.names {
            let names = names(certificate).ok_or(CertificateError::BadEncoding)?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The subject alternative names of a certificate: host names, mail addresses, IP addresses, URIs (RFC 5280 §4.2.1.6).
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let Some(names) = certificate.subject_alternative_name().ok()? else { return Some(Vec::new()) };
    let text = |name: &GeneralName<'_>| match *name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some(text.to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|ip| ip.to_canonical().to_string())
        }
        _ => None,
    };
    Some(names.value.general_names.iter().filter_map(text).collect())
}

/// Collects CA certificates. Entries that are not certificates are ignored, as in Go.
fn authorities(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    roots
}
