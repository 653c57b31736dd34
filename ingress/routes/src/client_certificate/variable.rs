//! Properties of a client's certificate: nginx's variables `$ssl_client_*`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::MAX_CERTIFICATE;
use crate::path::encode_component;

/// A property of a client's certificate, verified or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateVariable {
    /// `$ssl_client_raw_cert`: the certificate in PEM.
    Pem,
    /// `$ssl_client_cert`: the same without the last line feed, and with a tab before every line but the first.
    IndentedPem,
    /// `$ssl_client_escaped_cert`: in PEM, percent-encoded.
    EscapedPem,
    /// `$ssl_client_serial`: the serial number in hexadecimal digits.
    Serial,
    /// `$ssl_client_fingerprint`: the SHA-1 of the certificate in hexadecimal digits.
    Fingerprint,
    /// `$ssl_client_v_start`: `Jan  5 00:00:01 2026 GMT`.
    NotBefore,
    /// `$ssl_client_v_end`: the same for its end.
    NotAfter,
    /// `$ssl_client_v_remain`: the whole days until then.
    DaysLeft,
}

impl CertificateVariable {
    /// The variable of a name without its dollar sign.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("ssl_client_")? {
            "raw_cert" => Self::Pem,
            "cert" => Self::IndentedPem,
            "escaped_cert" => Self::EscapedPem,
            "serial" => Self::Serial,
            "fingerprint" => Self::Fingerprint,
            "v_start" => Self::NotBefore,
            "v_end" => Self::NotAfter,
            "v_remain" => Self::DaysLeft,
            _ => return None,
        })
    }

    /// The value for a certificate in DER at a Unix time. `None` if the certificate is too long or cannot be read.
    pub fn value(self, der: &[u8], now: Duration) -> Option<String> {
        if der.len() > MAX_CERTIFICATE {
            return None;
        }
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(match self {
            Self::Pem => pem(der),
            Self::IndentedPem => pem(der).trim_end().replace('\n', "\n\t"),
            Self::EscapedPem => escaped_pem(der),
            Self::Serial => serial(certificate.raw_serial()),
            Self::Fingerprint => hex::encode(Sha1::digest(der)),
            Self::NotBefore => time(&validity.not_before),
            Self::NotAfter => time(&validity.not_after),
            Self::DaysLeft => {
                let left = validity.not_after.timestamp().saturating_sub_unsigned(now.as_secs());
                (left.max(0) / 86_400).to_string()
            }
        })
    }
}

/// A certificate in PEM.
fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut out = String::with_capacity(encoded.len() * 66 / 64 + 60);
    out.push_str("-----BEGIN CERTIFICATE-----");
    for (at, character) in encoded.chars().enumerate() {
        if at % 64 == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    out
}

/// A certificate in PEM, percent-encoded.
pub(super) fn escaped_pem(der: &[u8]) -> String {
    encode_component(&pem(der))
}

/// A number as OpenSSL prints it: two digits for each byte, without the zero byte that says that it is positive.
fn serial(bytes: &[u8]) -> String {
    hex::encode_upper(bytes.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(bytes))
}

/// A time as OpenSSL prints it.
fn time(time: &ASN1Time) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = time.to_datetime();
    let month = MONTHS[usize::from(u8::from(at.month())) - 1];
    let (hour, minute, second) = at.to_hms();
    format!("{month} {:2} {hour:02}:{minute:02}:{second:02} {} GMT", at.day(), at.year())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBCDCBrwIGCrHC0+T1MAoGCCqGSM49BAMCMA4xDDAKBgNVBAMMA2FubjAeFw0y
NjAxMDUwMDAwMDFaFw0zNjAyMTExMzE0MTVaMA4xDDAKBgNVBAMMA2FubjBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABIL9GM+1E/g8vNLqEvjzDpLd0lnmD1Y97LUN
dLts+oVV3bJM7XGXzuefMQ6BOtSna1o/VNoHZ6OnAHONZs0HC4EwCgYIKoZIzj0E
AwIDSAAwRQIgeCfgb++rQipfAIOo7U62OK/TI7bL9uPtjdtvhiiT5v4CIQD/yOg4
yFWS16QRPab7QsiaUW7u5Wx+RA6A/KdaFLChsg==
-----END CERTIFICATE-----
";

    #[test]
    fn values_are_those_that_openssl_prints() {
        let der = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        // 2036-02-01T13:14:14Z, ten days and a second before the end.
        let now = Duration::from_secs(2_085_484_454);
        let indented = CERTIFICATE.trim_end().replace('\n', "\n\t");
        for (variable, wanted) in [
            (CertificateVariable::Pem, CERTIFICATE),
            (CertificateVariable::IndentedPem, &indented),
            // `openssl x509 -noout -serial -fingerprint -sha1 -dates`
            (CertificateVariable::Serial, "0AB1C2D3E4F5"),
            (CertificateVariable::Fingerprint, "951eb73b6dfd434c3c23ab6903f3ef3279985a4e"),
            (CertificateVariable::NotBefore, "Jan  5 00:00:01 2026 GMT"),
            (CertificateVariable::NotAfter, "Feb 11 13:14:15 2036 GMT"),
            (CertificateVariable::DaysLeft, "10"),
        ] {
            assert_eq!(variable.value(&der, now).as_deref(), Some(wanted), "{variable:?}");
        }
        let days = |now| CertificateVariable::DaysLeft.value(&der, Duration::from_secs(now));
        assert_eq!(days(2_085_484_456), Some("9".into()));
        assert_eq!(days(3_000_000_000), Some("0".into()));
        let escaped = CertificateVariable::EscapedPem.value(&der, now).unwrap();
        assert!(escaped.starts_with("-----BEGIN%20CERTIFICATE-----%0AMIIBCDCBrwIGCrHC0%2BT1"), "{escaped}");
        assert!(escaped.ends_with("FLChsg%3D%3D%0A-----END%20CERTIFICATE-----%0A"), "{escaped}");
    }

    #[test]
    fn numbers_are_printed_without_their_sign() {
        for (bytes, text) in [(&[0][..], "00"), (&[0, 0x80], "80"), (&[7], "07"), (&[1, 0], "0100")] {
            assert_eq!(serial(bytes), text);
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_has_no_values() {
        let now = Duration::ZERO;
        assert_eq!(CertificateVariable::Pem.value(&[1, 2, 3], now), None);
        assert_eq!(CertificateVariable::Pem.value(&vec![0; MAX_CERTIFICATE + 1], now), None);
    }
}
