//! Why a client's certificate or request is refused.

use rustls::pki_types::CertificateDer;
use webpki::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a client's certificate is not verified, in OpenSSL's words where there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateError {
    /// Its issuer is not known. `optional_no_ca` accepts it.
    UnknownIssuer(&'static str),
    /// Anything else.
    Invalid(&'static str),
}

impl CertificateError {
    pub(super) const EXPIRED: Self = Self::Invalid("certificate has expired");
    pub(super) const NOT_YET_VALID: Self = Self::Invalid("certificate is not yet valid");
    pub(super) const PURPOSE: Self = Self::Invalid("unsuitable certificate purpose");

    pub(super) fn of(error: &Error, chain: &[CertificateDer<'_>]) -> Self {
        match error {
            Error::UnknownIssuer => Self::UnknownIssuer(unknown_issuer(chain)),
            Error::CertExpired { .. } => Self::EXPIRED,
            Error::CertNotValidYet { .. } => Self::NOT_YET_VALID,
            Error::CertRevoked => Self::Invalid("certificate revoked"),
            Error::UnknownRevocationStatus => Self::Invalid("unable to get certificate CRL"),
            Error::CrlExpired { .. } => Self::Invalid("CRL has expired"),
            Error::InvalidCrlSignatureForPublicKey => Self::Invalid("CRL signature failure"),
            Error::MaximumPathDepthExceeded => Self::Invalid("certificate chain too long"),
            Error::RequiredEkuNotFoundContext(_) | Error::CaUsedAsEndEntity => Self::PURPOSE,
            Error::InvalidSignatureForPublicKey => Self::Invalid("certificate signature failure"),
            Error::PathLenConstraintViolated => Self::Invalid("path length constraint exceeded"),
            Error::NameConstraintViolation => Self::Invalid("permitted subtree violation"),
            _ => Self::Invalid("certificate not supported"),
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::UnknownIssuer(text) | Self::Invalid(text) => text,
        }
    }
}

/// OpenSSL's text for a chain that leads to no known certificate.
fn unknown_issuer(chain: &[CertificateDer<'_>]) -> &'static str {
    match chain {
        [leaf] if is_self_signed(leaf) => "self-signed certificate",
        [_] | [] => "unable to verify the first certificate",
        [.., last] if is_self_signed(last) => "self-signed certificate in certificate chain",
        _ => "unable to get local issuer certificate",
    }
}

/// Whether a certificate names itself as its issuer.
pub(super) fn is_self_signed(der: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(der);
    parsed.is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRefusal<'r> {
    /// The certificate is not verified (nginx's 495).
    InvalidCertificate,
    /// There is none (nginx's 496).
    NoCertificate,
    /// Either of them, with a page to which the client is redirected (`auth-tls-error-page`).
    ErrorPage(&'r str),
    /// The subject of the certificate does not match (`auth-tls-match-cn`).
    Unauthorized,
}
