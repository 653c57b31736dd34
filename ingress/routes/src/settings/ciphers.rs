//! Cipher lists of OpenSSL (`ssl-ciphers`), as far as rustls has the ciphers.

/// A cipher suite of TLS 1.2 that rustls has.
struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    /// IANA's number.
    number: u16,
    /// The words of OpenSSL that select it.
    words: &'static [&'static str],
}

/// In OpenSSL's order: by strength, then ECDSA before RSA.
const SUITES: &[Suite] = &[
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        number: 0xc02c,
        words: &["ECDSA", "AECDSA", "AES", "AES256", "AESGCM"],
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        number: 0xc030,
        words: &["ARSA", "AES", "AES256", "AESGCM"],
    },
    Suite { name: "ECDHE-ECDSA-CHACHA20-POLY1305", number: 0xcca9, words: &["ECDSA", "AECDSA", "CHACHA20"] },
    Suite { name: "ECDHE-RSA-CHACHA20-POLY1305", number: 0xcca8, words: &["ARSA", "CHACHA20"] },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        number: 0xc02b,
        words: &["ECDSA", "AECDSA", "AES", "AES128", "AESGCM"],
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        number: 0xc02f,
        words: &["ARSA", "AES", "AES128", "AESGCM"],
    },
];

/// Words that select every suite of [`SUITES`].
const ALL: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "KECDHE", "KEECDH", "ECDH", "TLSV1.2", "AEAD", "FIPS"];

/// The suites of TLS 1.3, which a list does not affect.
const OF_TLS13: &[&str] = &[
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
];

/// A parsed list.
#[derive(Debug, PartialEq)]
pub(crate) struct CipherList {
    /// IANA's numbers, in order of preference; not empty.
    pub(crate) suites: Vec<u16>,
    /// Ciphers of the list that are not offered.
    pub(crate) missing: Vec<String>,
}

/// Reads a list. `None` if it contains something else than words, or no cipher that can be offered.
pub(crate) fn parse(list: &str) -> Option<CipherList> {
    let is_word = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'=' | b'@' | b'!')
    };
    let (mut active, mut killed, mut missing) = (Vec::<usize>::new(), Vec::new(), Vec::new());
    for element in list.split([':', ',', ';', ' ']).filter(|element| !element.is_empty()) {
        if !element.bytes().all(is_word) {
            return None;
        }
        let (operator, words) = match element.as_bytes()[0] {
            operator @ (b'!' | b'-' | b'+' | b'@') => (operator, &element[1..]),
            _ => (b' ', element),
        };
        let selected: Vec<usize> = (0..SUITES.len()).filter(|at| is_selected(&SUITES[*at], words)).collect();
        match operator {
            b'!' => {
                active.retain(|at| !selected.contains(at));
                killed.extend(selected);
            }
            b'-' => active.retain(|at| !selected.contains(at)),
            b'+' => {
                let (moved, kept): (Vec<_>, Vec<_>) =
                    active.into_iter().partition(|at| selected.contains(at));
                active = [kept, moved].concat();
            }
            // By strength: 256 bits before 128.
            b'@' if words == "STRENGTH" => active.sort_by_key(|at| SUITES[*at].name.contains("128")),
            b'@' => {}
            _ => {
                if selected.is_empty() && !OF_TLS13.contains(&words) {
                    missing.push(words.to_owned());
                }
                let added = selected.into_iter().filter(|at| !active.contains(at) && !killed.contains(at));
                let added: Vec<_> = added.collect();
                active.extend(added);
            }
        }
    }
    let suites: Vec<u16> = active.into_iter().map(|at| SUITES[at].number).collect();
    (!suites.is_empty()).then_some(CipherList { suites, missing })
}

/// Whether all words between plus signs select a suite.
fn is_selected(suite: &Suite, words: &str) -> bool {
    words.split('+').all(|word| {
        let upper = word.to_ascii_uppercase();
        word == suite.name || ALL.contains(&&*upper) || suite.words.contains(&&*upper)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_select_ciphers_as_openssl_does() {
        const ALL: [u16; 6] = [0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc02b, 0xc02f];
        for (list, suites, missing) in [
            ("HIGH:!aNULL:!MD5", &ALL[..], &[][..]),
            ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", &[0xc02f, 0xc030], &[]),
            ("EECDH+AESGCM EDH+AESGCM", &[0xc02c, 0xc030, 0xc02b, 0xc02f], &["EDH+AESGCM"]),
            ("ALL:!AES128,!CHACHA20", &[0xc02c, 0xc030], &[]),
            ("ALL:-AES:ECDHE-RSA-AES128-GCM-SHA256", &[0xcca9, 0xcca8, 0xc02f], &[]),
            ("ALL:!AES:ECDHE-RSA-AES128-GCM-SHA256", &[0xcca9, 0xcca8], &[]),
            ("ALL:+CHACHA20:!ECDSA", &[0xc030, 0xc02f, 0xcca8], &[]),
            ("AES128:AES256:!ECDSA:@STRENGTH:@SECLEVEL=1", &[0xc030, 0xc02f], &[]),
            ("ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA:TLS_AES_128_GCM_SHA256", &[0xc02f], &["AES256-SHA"]),
        ] {
            let missing = missing.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(parse(list), Some(CipherList { suites: suites.to_vec(), missing }), "{list}");
        }
        for list in ["", "AES256-SHA", "ALL:!ALL", "ALL\u{e9}", "ALL\"", "!ALL:ALL"] {
            assert_eq!(parse(list), None, "{list}");
        }
    }
}
