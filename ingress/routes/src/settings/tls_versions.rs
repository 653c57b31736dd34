//! Versions of TLS, of those that rustls has.

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};

static ONLY12: [&SupportedProtocolVersion; 1] = [&TLS12];
static ONLY13: [&SupportedProtocolVersion; 1] = [&TLS13];

/// The versions that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersions {
    /// TLS 1.2 and TLS 1.3.
    Both,
    /// TLS 1.2.
    Only12,
    /// TLS 1.3.
    Only13,
}

impl TlsVersions {
    /// The expected list of versions, for reports.
    pub(crate) const WANTED: &'static str = "TLSv1.2, TLSv1.3 or both, between spaces";

    /// Reads a list of nginx's `ssl_protocols`, with the versions in it that are not offered because they are obsolete (RFC 8996). `None`
    /// if it has an unknown word, or neither TLS 1.2 nor TLS 1.3.
    pub(crate) fn parse(list: &str) -> Option<(Self, Vec<&str>)> {
        const OBSOLETE: &[&str] = &["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"];
        let (mut tls12, mut tls13, mut obsolete) = (false, false, Vec::new());
        for word in list.split_ascii_whitespace() {
            match word {
                _ if word.eq_ignore_ascii_case("TLSv1.2") => tls12 = true,
                _ if word.eq_ignore_ascii_case("TLSv1.3") => tls13 = true,
                _ if OBSOLETE.iter().any(|known| word.eq_ignore_ascii_case(known)) => obsolete.push(word),
                _ => return None,
            }
        }
        let versions = match (tls12, tls13) {
            (true, true) => Self::Both,
            (true, false) => Self::Only12,
            (false, true) => Self::Only13,
            (false, false) => return None,
        };
        Some((versions, obsolete))
    }

    /// These versions, for rustls.
    pub fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Both => ALL_VERSIONS,
            Self::Only12 => &ONLY12,
            Self::Only13 => &ONLY13,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_versions() {
        for (list, wanted) in [
            ("TLSv1.2 TLSv1.3", Some((TlsVersions::Both, vec![]))),
            ("TLSv1.3  TLSv1.2", Some((TlsVersions::Both, vec![]))),
            ("tlsv1.3", Some((TlsVersions::Only13, vec![]))),
            ("TLSv1.2", Some((TlsVersions::Only12, vec![]))),
            ("SSLv3 TLSv1 TLSv1.1 TLSv1.2", Some((TlsVersions::Only12, vec!["SSLv3", "TLSv1", "TLSv1.1"]))),
            ("TLSv1 TLSv1.1", None),
            ("TLSv1.2 TLSv1_3", None),
            ("TLSv1.2,TLSv1.3", None),
            ("", None),
        ] {
            assert_eq!(TlsVersions::parse(list), wanted, "{list}");
        }
    }
}
