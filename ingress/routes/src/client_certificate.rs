//! Client certificates (`auth-tls-*`): what a host asks for, and what is known about the certificate of a connection.
//!
//! A handshake asks for a certificate and accepts any whose key the client has. Whether the certificate is good is decided afterwards,
//! as in nginx, where a request without a good one gets a page and not a broken connection. A resumed session is verified again,
//! because the authorities may have changed since.

mod authority;
mod distinguished_name;
mod refusal;
mod variable;

use std::borrow::Cow;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::authority::ClientAuthority;
use self::refusal::CertificateError;
pub use self::refusal::ClientRefusal;
pub use self::variable::CertificateVariable;
use self::variable::escaped_pem;
use crate::pattern::{Pattern, StepBudget};

/// The longest certificate of a client, in bytes. It is sent to endpoints with every request, at three times this length.
const MAX_CERTIFICATE: usize = 16 << 10;
/// The longest chain of a client.
const MAX_CHAIN: usize = 100;

/// `auth-tls-verify-client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyClient {
    /// No certificate is asked for.
    Off,
    /// A verified certificate is required.
    On,
    /// A certificate is not required; one that is sent must be verified.
    Optional,
    /// A certificate is not required, and one of an unknown authority is accepted as not verified.
    OptionalNoCa,
}

/// The client certificates of a host.
#[derive(Debug, PartialEq)]
pub struct ClientCertificateRules {
    /// `auth-tls-secret`.
    pub authority: ClientAuthority,
    /// `auth-tls-verify-client`.
    pub verify: VerifyClient,
    /// `auth-tls-verify-depth`: how many certificates may be between that of the client and a self-signed one.
    pub depth: usize,
    /// `auth-tls-error-page`.
    pub error_page: Option<String>,
    /// `auth-tls-pass-certificate-to-upstream`.
    pub passes_certificate: bool,
    /// `auth-tls-match-cn`.
    pub subject: Option<Pattern>,
}

/// What is known about the certificate of a client by the rules of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    status: CertificateStatus,
    /// nginx's `$ssl_client_verify`; empty without TLS.
    pub verify: String,
    /// `$ssl_client_s_dn`.
    pub subject: String,
    /// `$ssl_client_i_dn`.
    pub issuer: String,
    /// The certificate in DER; empty if there is none, or if the client is refused because of it.
    der: Box<[u8]>,
    /// `$ssl_client_escaped_cert`, if endpoints get it.
    escaped: String,
    /// `auth-tls-match-cn` is found in the subject. True without the annotation.
    is_subject_allowed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CertificateStatus {
    #[default]
    NoTls,
    Missing,
    Verified,
    /// Not verified, and accepted nevertheless.
    Accepted,
    Invalid,
}

impl ClientCertificateRules {
    /// Whether the handshake asks for a certificate.
    pub fn asks(&self) -> bool {
        self.verify != VerifyClient::Off
    }

    /// Whether a handshake by either has the same result.
    pub fn negotiates_as(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.asks() && other.asks() && self.authority == other.authority
    }

    /// Verifies the chain of a TLS connection, which is empty if the client has sent none.
    pub fn check(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> ClientCertificate {
        let Some(leaf) = chain.first().filter(|_| self.asks()) else {
            return ClientCertificate {
                status: CertificateStatus::Missing,
                verify: "NONE".into(),
                ..self.without_tls()
            };
        };
        let result = match leaf.len() > MAX_CERTIFICATE || chain.len() > MAX_CHAIN {
            true => Err(CertificateError::Invalid("certificate too long")),
            false => self.authority.verify(chain, self.depth, now),
        };
        let (status, verify) = match result {
            Ok(()) => (CertificateStatus::Verified, "SUCCESS".to_owned()),
            Err(error @ CertificateError::UnknownIssuer(_)) if self.verify == VerifyClient::OptionalNoCa => {
                (CertificateStatus::Accepted, format!("FAILED:{}", error.text()))
            }
            Err(error) => {
                let verify = format!("FAILED:{}", error.text());
                return ClientCertificate {
                    status: CertificateStatus::Invalid,
                    verify,
                    ..ClientCertificate::default()
                };
            }
        };
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
            let verify = "FAILED:certificate not supported".to_owned();
            return ClientCertificate {
                status: CertificateStatus::Invalid,
                verify,
                ..ClientCertificate::default()
            };
        };
        let subject = distinguished_name::text(parsed.subject());
        ClientCertificate {
            status,
            verify,
            is_subject_allowed: self.allows_subject(&subject),
            subject,
            issuer: distinguished_name::text(parsed.issuer()),
            der: Box::from(&**leaf),
            escaped: if self.passes_certificate { escaped_pem(leaf) } else { String::new() },
        }
    }

    /// What is known about a client without TLS.
    pub fn without_tls(&self) -> ClientCertificate {
        ClientCertificate { is_subject_allowed: self.allows_subject(""), ..ClientCertificate::default() }
    }

    /// Whether `auth-tls-match-cn` allows a subject. A pattern that needs too many steps for it does not.
    fn allows_subject(&self, subject: &str) -> bool {
        let Some(pattern) = &self.subject else { return true };
        pattern.is_match(subject, &mut StepBudget::default()).unwrap_or(false)
    }

    /// Why a request of a client with this certificate is not served.
    pub fn refusal(&self, certificate: &ClientCertificate) -> Option<ClientRefusal<'_>> {
        let refusal = match (certificate.status, self.verify) {
            (CertificateStatus::Invalid, _) => Some(ClientRefusal::InvalidCertificate),
            (CertificateStatus::Missing, VerifyClient::On) => Some(ClientRefusal::NoCertificate),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return Some(self.error_page.as_deref().map_or(refusal, ClientRefusal::ErrorPage));
        }
        (!certificate.is_subject_allowed).then_some(ClientRefusal::Unauthorized)
    }
}

impl ClientCertificate {
    /// The value of one of nginx's variables about the certificate at a Unix time; `None` without a certificate. Parses it, or makes its
    /// PEM, at each call: few configurations use these variables.
    pub fn variable(&self, variable: CertificateVariable, now: Duration) -> Option<Cow<'_, str>> {
        match variable {
            _ if self.der.is_empty() => None,
            CertificateVariable::EscapedPem if !self.escaped.is_empty() => Some(Cow::Borrowed(&self.escaped)),
            variable => variable.value(&self.der, now).map(Cow::Owned),
        }
    }

    /// The fields about the certificate that endpoints and authentication servers get. A field with an empty value is removed: the
    /// client has sent it.
    pub fn fields(&self) -> [(&'static str, &str); 4] {
        [
            ("ssl-client-verify", &self.verify),
            ("ssl-client-subject-dn", &self.subject),
            ("ssl-client-issuer-dn", &self.issuer),
            ("ssl-client-cert", &self.escaped),
        ]
    }
}

#[cfg(test)]
mod tests;
