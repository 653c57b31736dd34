//! Cipher lists of OpenSSL (`man openssl-ciphers`), as far as rustls has the ciphers of TLS 1.2. They do not concern TLS 1.3.

/// A cipher suite of TLS 1.2 that rustls has.
struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    /// IANA's number.
    number: u16,
    /// The words of OpenSSL that select it, besides those of [`ALL`].
    words: &'static [&'static str],
}

/// In OpenSSL's order: by strength, then ECDSA before RSA.
const SUITES: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        number: 0xc02c,
        words: &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        number: 0xc030,
        words: &["aRSA", "AES", "AES256", "AESGCM", "FIPS"],
    },
    Suite { name: "ECDHE-ECDSA-CHACHA20-POLY1305", number: 0xcca9, words: &["ECDSA", "aECDSA", "CHACHA20"] },
    Suite { name: "ECDHE-RSA-CHACHA20-POLY1305", number: 0xcca8, words: &["aRSA", "CHACHA20"] },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        number: 0xc02b,
        words: &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        number: 0xc02f,
        words: &["aRSA", "AES", "AES128", "AESGCM", "FIPS"],
    },
];

/// Words that select every suite of [`SUITES`].
const ALL: &[&str] = &["ALL", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "TLSv1.2"];

/// Beginnings of lists that stand for the whole list (RFC 6460), with the suites that they select.
const SUITE_B: &[(&str, &[u16])] = &[
    ("SUITEB128ONLY", &[0xc02b]),
    ("SUITEB128C2", &[0xc02c]),
    ("SUITEB128", &[0xc02b, 0xc02c]),
    ("SUITEB192", &[0xc02c]),
];

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
    /// Elements of the list that select no suite which can be offered.
    pub(crate) missing: Vec<String>,
}

/// OpenSSL's list while elements are applied: all suites that are not excluded for good, each with whether it is selected. Suites that
/// were removed keep their order at the front.
struct SelectedSuites(Vec<(&'static Suite, bool)>);

impl SelectedSuites {
    /// Moves the suites that satisfy a condition to the end, selected.
    fn select(&mut self, is_meant: impl Fn(&Suite, bool) -> bool) {
        let (meant, mut list): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|(suite, is_selected)| is_meant(suite, *is_selected));
        list.extend(meant.into_iter().map(|(suite, _)| (suite, true)));
        self.0 = list;
    }

    /// Moves selected suites to the front, no longer selected.
    fn remove(&mut self, is_meant: impl Fn(&Suite) -> bool) {
        let (meant, list): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|(suite, is_selected)| *is_selected && is_meant(suite));
        self.0 = meant.into_iter().map(|(suite, _)| (suite, false)).chain(list).collect();
    }
}

/// Reads a list. `None` if OpenSSL refuses it, or if it selects no cipher that can be offered. Words are case-sensitive; as in OpenSSL
/// an unknown one selects nothing.
pub(crate) fn parse(list: &str) -> Option<CipherList> {
    if let Some((_, suites)) = SUITE_B.iter().find(|(start, _)| list.starts_with(start)) {
        return Some(CipherList { suites: suites.to_vec(), missing: Vec::new() });
    }
    let mut selection = SelectedSuites(SUITES.iter().map(|suite| (suite, false)).collect());
    let (mut missing, mut security_level) = (Vec::new(), 0);
    let mut rest = list;
    // A word only at the start of a list; then it need not end with a separator.
    if let Some(after) = rest.strip_prefix("DEFAULT") {
        selection.select(|_, _| true);
        rest = after;
    }
    loop {
        rest = rest.trim_start_matches(is_separator);
        if rest.is_empty() {
            break;
        }
        let operator = rest.chars().next().filter(|first| matches!(first, '!' | '-' | '+' | '@'));
        rest = &rest[operator.map_or(0, char::len_utf8)..];
        if operator == Some('@') {
            let command;
            (command, rest) = rest.split_at(rest.find(is_separator).unwrap_or(rest.len()));
            // What follows a command up to the separator is ignored.
            match &command[..word_length(command)] {
                // Those of 256 bits before those of 128.
                "STRENGTH" => selection.0.sort_by_key(|(suite, _)| suite.name.contains("128")),
                level => {
                    security_level =
                        level.strip_prefix("SECLEVEL=")?.parse().ok().filter(|level| *level <= 5)?
                }
            }
            continue;
        }
        let words;
        (words, rest) = rest.split_at(element_length(rest)?);
        let is_meant = |suite: &Suite| is_selected_by(suite, words);
        match operator {
            Some('!') => selection.0.retain(|(suite, _)| !is_meant(suite)),
            Some('-') => selection.remove(is_meant),
            Some('+') => selection.select(|suite, is_selected| is_selected && is_meant(suite)),
            _ => {
                if !SUITES.iter().any(is_meant) && !OF_TLS13.contains(&words) {
                    missing.push(words.to_owned());
                }
                selection.select(|suite, is_selected| !is_selected && is_meant(suite));
            }
        }
    }
    // Level 4 asks for 192 bits.
    let is_allowed = |suite: &Suite| security_level < 4 || !suite.name.contains("128");
    let selected = selection.0.into_iter().filter(|(suite, is_selected)| *is_selected && is_allowed(suite));
    let suites: Vec<u16> = selected.map(|(suite, _)| suite.number).collect();
    (!suites.is_empty()).then_some(CipherList { suites, missing })
}

fn is_separator(character: char) -> bool {
    matches!(character, ':' | ',' | ';' | ' ')
}

/// The length of words between plus signs at the start of a text. `None` if a word is empty.
fn element_length(text: &str) -> Option<usize> {
    let mut length = 0;
    loop {
        let word = word_length(&text[length..]);
        length += word;
        match text.as_bytes().get(length) {
            _ if word == 0 => return None,
            Some(b'+') => length += 1,
            _ => return Some(length),
        }
    }
}

/// The length of a word at the start of a text.
fn word_length(text: &str) -> usize {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    text.bytes().take_while(is_word).count()
}

/// Whether every word selects a suite. To OpenSSL `FIPS` and `HIGH` are strengths, and no suite has both.
fn is_selected_by(suite: &Suite, words: &str) -> bool {
    let has = |name: &str| words.split('+').any(|word| word == name);
    let is_one = |word: &str| word == suite.name || ALL.contains(&word) || suite.words.contains(&word);
    words.split('+').all(is_one) && !(has("FIPS") && has("HIGH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists with what `openssl ciphers -s -tls1_2` of OpenSSL 3.0 prints of the suites that rustls has, without `ECDHE-`, `-GCM` and
    /// the hash.
    const LISTS: &[(&str, &str)] = &[
        ("ALL", "ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES128 RSA-AES128"),
        ("DEFAULT", "ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES128 RSA-AES128"),
        ("HIGH:!aNULL:!MD5", "ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES128 RSA-AES128"),
        ("kEECDH:FOO", "ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES128 RSA-AES128"),
        ("FIPS", "ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128"),
        ("FIPS+HIGH:CHACHA20", "ECDSA-CHACHA20 RSA-CHACHA20"),
        ("HIGH:!FIPS", "ECDSA-CHACHA20 RSA-CHACHA20"),
        ("aRSA", "RSA-AES256 RSA-CHACHA20 RSA-AES128"),
        ("AES128+ECDHE+aRSA", "RSA-AES128"),
        ("AES+ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA-AES128"),
        ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", "RSA-AES128 RSA-AES256"),
        ("EECDH+AESGCM EDH+AESGCM", "ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128"),
        ("ALL;!AES128,!CHACHA20", "ECDSA-AES256 RSA-AES256"),
        ("ALL!AES", "ECDSA-CHACHA20 RSA-CHACHA20"),
        ("ALL:!AES:AES", "ECDSA-CHACHA20 RSA-CHACHA20"),
        ("ALL:-AES:AES", "ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128"),
        (
            "CHACHA20:AES128:-ALL:ALL",
            "ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES128 RSA-AES128 ECDSA-AES256 RSA-AES256",
        ),
        (
            "AES256:AES128:-AES256:CHACHA20:AES",
            "ECDSA-AES128 RSA-AES128 ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES256 RSA-AES256",
        ),
        ("ALL:+AES256", "ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES128 RSA-AES128 ECDSA-AES256 RSA-AES256"),
        ("aRSA:+AES256:!ECDSA", "RSA-CHACHA20 RSA-AES128 RSA-AES256"),
        ("+ECDSA:AES256", "ECDSA-AES256 RSA-AES256"),
        (
            "AES128:CHACHA20:AES256:@STRENGTH",
            "ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128",
        ),
        ("@SECLEVEL=4:ALL", "ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20 RSA-CHACHA20"),
        ("FIPS@SECLEVEL=4!aRSA", "ECDSA-AES256 RSA-AES256"),
        ("AES128:@SECLEVEL=1", "ECDSA-AES128 RSA-AES128"),
        ("DEFAULT:-AES", "ECDSA-CHACHA20 RSA-CHACHA20"),
        ("DEFAULT+AES", "ECDSA-CHACHA20 RSA-CHACHA20 ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128"),
        ("DEFAULT!AES", "ECDSA-CHACHA20 RSA-CHACHA20"),
        ("AES128:DEFAULT", "ECDSA-AES128 RSA-AES128"),
        ("SUITEB128:ALL", "ECDSA-AES128 ECDSA-AES256"),
        ("TLS_AES_128_GCM_SHA256:AES128", "ECDSA-AES128 RSA-AES128"),
        // OpenSSL knows these, but rustls has none of their ciphers.
        ("AES256-SHA:RSA:SHA384:SHA256", ""),
        // OpenSSL refuses these.
        ("", ""),
        ("all", ""),
        ("ecdhe-rsa-aes128-gcm-sha256", ""),
        ("TLSV1.2", ""),
        ("AEAD", ""),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ""),
        ("ALL:!ALL", ""),
        ("!ALL:ALL", ""),
        ("!AES:DEFAULT", ""),
        ("ALL:@FOO", ""),
        ("ALL:@SECLEVEL=9", ""),
        ("ECDHE+", ""),
        ("ALL:+", ""),
        ("ALL\"", ""),
        ("ALL\u{e9}", ""),
    ];

    #[test]
    fn lists_select_ciphers_as_openssl_does() {
        for (list, selected) in LISTS {
            let suites = parse(list).map(|list| list.suites).unwrap_or_default();
            let name = |number| SUITES.iter().find(|suite| suite.number == number).unwrap().name;
            let short = |number| name(number).splitn(4, '-').skip(1).take(2).collect::<Vec<_>>().join("-");
            assert_eq!(suites.into_iter().map(short).collect::<Vec<_>>().join(" "), *selected, "{list}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_selects_each_suite_once_or_none(
            list in "(ALL|DEFAULT|AES|CHACHA20|aRSA|@STRENGTH|@SECLEVEL=[0-9]|[+!@:, =\\-\"\u{e9}]){0,12}"
        ) {
            let mut suites = parse(&list).map(|list| list.suites).unwrap_or_default();
            let count = suites.len();
            suites.sort_unstable();
            suites.dedup();
            proptest::prop_assert_eq!(suites.len(), count);
        }
    }

    #[test]
    fn elements_without_a_cipher_are_named() {
        let missing = |list| parse(list).map(|list| list.missing).unwrap();
        assert_eq!(missing("ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA:EDH+AES:!MD5"), ["AES256-SHA", "EDH+AES"]);
        assert_eq!(missing("ALL:TLS_AES_128_GCM_SHA256"), [""; 0]);
    }
}
