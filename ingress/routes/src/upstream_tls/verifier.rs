//! Verifies the certificates of endpoints as nginx does (`proxy_ssl_verify`).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::UpstreamTlsSettings;
use crate::certificate::{covers, names_of};

/// Verifies endpoints against authorities, or accepts any certificate, also one that webpki cannot read (version 1).
#[derive(Debug)]
pub(super) struct EndpointVerifier {
    /// `None`: any certificate is accepted.
    trust: Option<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Trust {
    roots: RootCertStore,
    /// The same as certificates: OpenSSL accepts one of them as the endpoint's own, too.
    authorities: Vec<CertificateDer<'static>>,
    /// How many intermediate certificates a chain may have.
    depth: usize,
    name: ServerName<'static>,
}

impl EndpointVerifier {
    /// # Errors
    /// When an authority is not a certificate.
    pub(super) fn new(
        settings: &UpstreamTlsSettings,
        authorities: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let algorithms = provider.signature_verification_algorithms;
        if !settings.verify {
            return Ok(Self { trust: None, algorithms });
        }
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots
                .add(authority.clone())
                .map_err(|error| format!("ca.crt has an unusable certificate: {error}"))?;
        }
        let trust = Trust { roots, authorities, depth: settings.depth, name: settings.name.clone() };
        Ok(Self { trust: Some(trust), algorithms })
    }
}

impl Trust {
    fn verify(
        &self,
        endpoint: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(endpoint)?;
        if self.authorities.iter().any(|authority| authority == endpoint) {
            check_validity(endpoint, now)?;
        } else {
            let within = within_depth(endpoint, intermediates, self.depth);
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, &within, now, algorithms.all)?;
        }
        self.check_name(endpoint, &parsed)
    }

    /// Without DNS names in the certificate its common name counts, as in OpenSSL.
    fn check_name(&self, endpoint: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> Result<(), Error> {
        let error = match verify_server_name(parsed, &self.name) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match &self.name {
            ServerName::DnsName(name) if covers(&names_of(endpoint), name.as_ref()) => Ok(()),
            _ => Err(error),
        }
    }
}

fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    match now <= parsed.validity().not_after.timestamp() {
        true => Ok(()),
        false => Err(Error::InvalidCertificate(CertificateError::Expired)),
    }
}

/// The intermediates that a chain of at most `depth` of them can have: those whose subject is the issuer of the endpoint's certificate,
/// then those that issued these, and so on.
fn within_depth<'c>(
    endpoint: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'c>],
    depth: usize,
) -> Vec<CertificateDer<'c>> {
    let parsed: Vec<_> =
        intermediates.iter().filter_map(|der| Some((der, X509Certificate::from_der(der).ok()?.1))).collect();
    let Ok((_, endpoint)) = X509Certificate::from_der(endpoint) else { return Vec::new() };
    let (mut issuers, mut within) = (vec![endpoint.issuer().as_raw()], Vec::new());
    // A chain has no certificate twice, so that no depth makes more rounds than there are certificates.
    for _ in 0..depth.min(parsed.len()) {
        let issued = parsed.iter().filter(|(der, certificate)| {
            issuers.contains(&certificate.subject().as_raw()) && !within.contains(*der)
        });
        let issued: Vec<_> = issued.collect();
        issuers = issued.iter().map(|(_, certificate)| certificate.issuer().as_raw()).collect();
        let issued: Vec<CertificateDer<'c>> = issued.iter().map(|(der, _)| (*der).clone()).collect();
        within.extend(issued);
    }
    within
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        endpoint: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.verify(endpoint, intermediates, now, &self.algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.trust {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(_) => verify_tls12_signature(message, certificate, signed, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.trust {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(_) => verify_tls13_signature(message, certificate, signed, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
