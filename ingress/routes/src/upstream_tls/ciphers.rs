//! OpenSSL's cipher lists (`man openssl-ciphers`), for the suites of TLS 1.2 that rustls has.

use rustls::CipherSuite;

/// The suites by preference, each with its name and the words of lists that select it.
const SUITES: &[(CipherSuite, &[&str])] = &[
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        &["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        &["ECDHE-RSA-AES256-GCM-SHA384", "aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        &["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDSA", "aECDSA", "CHACHA20"],
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        &["ECDHE-RSA-CHACHA20-POLY1305", "aRSA", "CHACHA20"],
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        &["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        &["ECDHE-RSA-AES128-GCM-SHA256", "aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    ),
];

/// Words that select every suite.
const ALL: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "TLSv1.2", "AEAD"];

/// The suites that a list selects, by preference. `None` if it selects none of rustls. As in OpenSSL, unknown words select nothing.
pub(crate) fn select(list: &str) -> Option<Vec<CipherSuite>> {
    let mut selected = Vec::new();
    let mut excluded = Vec::new();
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let (operator, word) = match word.split_at_checked(1) {
            Some((operator @ ("!" | "-" | "+"), word)) => (operator, word),
            _ => ("", word),
        };
        let matching = SUITES.iter().filter(|(_, words)| matches(words, word)).map(|(suite, _)| *suite);
        let matching: Vec<CipherSuite> = matching.collect();
        match operator {
            "" => {
                let is_new = |suite: &CipherSuite| !selected.contains(suite) && !excluded.contains(suite);
                let new: Vec<_> = matching.into_iter().filter(is_new).collect();
                selected.extend(new);
            }
            "+" => {
                // Stable: the others keep their order.
                selected.sort_by_key(|suite| matching.contains(suite));
            }
            _ => {
                selected.retain(|suite| !matching.contains(suite));
                if operator == "!" {
                    excluded.extend(matching);
                }
            }
        }
    }
    (!selected.is_empty()).then_some(selected)
}

/// Whether every part of `A+B` selects a suite.
fn matches(words: &[&str], word: &str) -> bool {
    word.split('+').all(|part| ALL.contains(&part) || words.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> String {
        let selected = select(list).unwrap_or_default();
        let name = |suite: &CipherSuite| SUITES.iter().find(|(known, _)| known == suite).unwrap().1[0];
        selected.iter().map(|suite| name(suite).trim_start_matches("ECDHE-")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_select_suites_as_in_openssl() {
        for (list, selected) in [
            ("ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA", "RSA-AES128-GCM-SHA256"),
            ("ECDHE+AESGCM:!ECDSA", "RSA-AES256-GCM-SHA384 RSA-AES128-GCM-SHA256"),
            ("CHACHA20:AES128+aRSA", "ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 RSA-AES128-GCM-SHA256"),
            ("HIGH:-AES:!aNULL:!MD5", "ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305"),
            ("aRSA:+AES256", "RSA-CHACHA20-POLY1305 RSA-AES128-GCM-SHA256 RSA-AES256-GCM-SHA384"),
            ("!aRSA:SHA384:@STRENGTH", "ECDSA-AES256-GCM-SHA384"),
            ("AES256-SHA:RC4", ""),
            ("", ""),
        ] {
            assert_eq!(names(list), selected, "{list}");
        }
        assert_eq!(select("DEFAULT").map(|all| all.len()), Some(SUITES.len()));
        assert_eq!(select("RC4"), None);
    }
}
