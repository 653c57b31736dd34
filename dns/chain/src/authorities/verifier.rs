//! Verifies the certificates of servers against the authorities in a file, as Go does.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Verifies servers with webpki, and accepts the certificate of a server that is itself one of the authorities.
///
/// `openssl req -x509` makes a self-signed certificate with `CA:TRUE`. Private resolvers present it, and their clients have the same file
/// as authority. webpki refuses it (`CaUsedAsEndEntity`), where Go's `x509.Certificate.Verify` builds no chain if the pool of roots contains
/// the certificate. This is no weaker: the operator trusts this very certificate, byte for byte, for whatever it signs, and the handshake
/// proves that the server has its key. Validity, names, extended key usage and unknown critical extensions are checked as for every
/// other certificate. A certificate that only has the subject or the key of an authority is left to webpki.
#[derive(Debug)]
pub(super) struct AuthorityVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    authorities: Vec<CertificateDer<'static>>,
}

impl AuthorityVerifier {
    /// # Errors
    /// When no certificate can be used as an authority.
    pub(super) fn new(
        authorities: Vec<CertificateDer<'static>>,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Ok(Self { webpki: webpki.map_err(|error| error.to_string())?, authorities })
    }
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.authorities.contains(server) {
            return self.webpki.verify_server_cert(server, intermediates, name, ocsp, now);
        }
        // Fails for a critical extension that is not known.
        let parsed = ParsedCertificate::try_from(server)?;
        check_validity_and_usage(server, now)?;
        verify_server_name(&parsed, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Checks that the certificate is valid now and may be that of a server (RFC 5280 §4.1.2.5, §4.2.1.12).
fn check_validity_and_usage(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let bad = |error| Error::InvalidCertificate(error);
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| bad(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < certificate.validity().not_before.timestamp() {
        return Err(bad(CertificateError::NotValidYet));
    }
    if now > certificate.validity().not_after.timestamp() {
        return Err(bad(CertificateError::Expired));
    }
    let usage = certificate.extended_key_usage().map_err(|_| bad(CertificateError::BadEncoding))?;
    match usage.is_none_or(|usage| usage.value.any || usage.value.server_auth) {
        true => Ok(()),
        false => Err(bad(CertificateError::InvalidPurpose)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rustls::ClientConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::super::client_config;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// What `openssl req -x509` makes for `dns.test`, valid from these many days ago for two days.
    fn params(days: u32) -> CertificateParams {
        let mut params = CertificateParams::new(["dns.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let from = SystemTime::now() - DAY * days;
        (params.not_before, params.not_after) = (from.into(), (from + DAY * 2).into());
        params
    }

    /// A client's configuration with these certificates as authorities.
    fn trusting(certificates: &[&Certificate]) -> ClientConfig {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, certificates.iter().map(|certificate| certificate.pem()).collect::<String>())
            .unwrap();
        client_config(Some(&file), None).unwrap()
    }

    /// Handshakes with a server that has this certificate and key; the error is the client's.
    async fn handshake(
        config: ClientConfig,
        certificate: &Certificate,
        key: &KeyPair,
        name: &str,
    ) -> Result<(), String> {
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let server = rustls::ServerConfig::builder_with_provider(net::tls::provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let accept = TlsAcceptor::from(Arc::new(server)).accept(theirs);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let (connected, _) = tokio::join!(TlsConnector::from(Arc::new(config)).connect(name, ours), accept);
        connected.map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn a_server_may_present_an_authority_itself_if_name_validity_and_usage_are_right() {
        let client_only = |mut params: CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params
        };
        for (params, name, error) in [
            (params(1), "dns.test", ""),
            (params(1), "other.test", "NotValidForName"),
            (params(1), "127.0.0.1", "NotValidForName"),
            (params(3), "dns.test", "Expired"),
            (client_only(params(1)), "dns.test", "InvalidPurpose"),
        ] {
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let found = handshake(trusting(&[&certificate]), &certificate, &key, name).await;
            let found = found.err().unwrap_or_default();
            assert!(
                found.contains(error) && found.is_empty() == error.is_empty(),
                "{name}, {error}: {found}"
            );
        }
    }

    #[tokio::test]
    async fn a_certificate_that_only_resembles_an_authority_is_refused() {
        // The same key and subject, and so signed by the authority, too.
        let key = KeyPair::generate().unwrap();
        let authority = params(1).self_signed(&key).unwrap();
        let mut twin = params(1);
        twin.serial_number = Some(7.into());
        let twin = twin.self_signed(&key).unwrap();
        let error = handshake(trusting(&[&authority]), &twin, &key, "dns.test").await.unwrap_err();
        assert!(error.contains("CaUsedAsEndEntity"), "{error}");

        // The same subject with another key.
        let other = KeyPair::generate().unwrap();
        let own = params(1).self_signed(&other).unwrap();
        assert!(handshake(trusting(&[&authority]), &own, &other, "dns.test").await.is_err());
    }

    #[tokio::test]
    async fn a_certificate_that_an_authority_has_issued_is_accepted_as_before() {
        let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = params(1).self_signed(&key).unwrap();
        let mut issued = params(1);
        issued.is_ca = IsCa::NoCa;
        let issued = issued.signed_by(&own, &Issuer::new(params(1), &key)).unwrap();
        handshake(trusting(&[&authority]), &issued, &own, "dns.test").await.unwrap();
        assert!(handshake(trusting(&[&authority]), &issued, &own, "other.test").await.is_err());
    }
}
