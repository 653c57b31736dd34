//! Hashes of passwords in the forms of htpasswd and crypt(3) that nginx knows.

mod md5_crypt;
mod remembered;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

pub use self::remembered::RememberedPassword;

/// Longer passwords match nothing, as in crypt(3): the time of some kinds grows with the square of the length.
const MAX_PASSWORD: usize = 512;
/// The highest cost of bcrypt, about five seconds for a check, and the most rounds of SHA-crypt, about a second.
const MAX_BCRYPT_COST: u32 = 16;
const MAX_ROUNDS: u32 = 1_000_000;

/// A valid hash of a password.
pub(crate) struct PasswordHash {
    text: String,
    kind: HashKind,
    /// The password that matches it, once it was verified.
    pub(crate) remembered: RememberedPassword,
}

/// Hashes are compared without what is remembered of them.
impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum HashKind {
    /// `$2y$10$…`, also `$2a$` and `$2b$`.
    Bcrypt,
    /// `$5$…` and `$6$…`.
    ShaCrypt,
    /// `$apr1$…` and `$1$…`.
    Md5Crypt,
    /// `{SHA}…`.
    Sha1,
    /// `{SSHA}…`.
    SaltedSha1,
    /// `{PLAIN}…`.
    Plain,
}

impl PasswordHash {
    /// Reads a hash; `None` if its kind is not supported, it is malformed, or a check would take too long.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let kind = kind(text)?;
        Some(Self { text: text.to_owned(), kind, remembered: RememberedPassword::default() })
    }

    /// As in the Secret.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a check takes microseconds.
    pub(crate) fn is_fast(&self) -> bool {
        matches!(self.kind, HashKind::Sha1 | HashKind::SaltedSha1 | HashKind::Plain)
    }

    /// Whether it is the hash of this password.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        if password.len() > MAX_PASSWORD {
            return false;
        }
        let text = self.text.as_str();
        match self.kind {
            HashKind::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
            HashKind::ShaCrypt => ShaCrypt::default().verify_password(password, text).is_ok(),
            HashKind::Md5Crypt => md5_crypt::verify(password, text),
            HashKind::Sha1 | HashKind::SaltedSha1 => sha1_parts(text).is_some_and(|bytes| {
                let (hash, salt) = bytes.split_at(SHA1_LEN);
                let digest: [u8; SHA1_LEN] =
                    Sha1::new().chain_update(password).chain_update(salt).finalize().into();
                is_equal(&digest, hash)
            }),
            HashKind::Plain => is_equal(&text.as_bytes()[PLAIN.len()..], password),
        }
    }
}

const PLAIN: &str = "{PLAIN}";
const SHA1_LEN: usize = 20;

fn kind(text: &str) -> Option<HashKind> {
    if let Some(cost) = ["$2y$", "$2a$", "$2b$"].iter().find_map(|prefix| text.strip_prefix(prefix)) {
        let cost = cost.split('$').next()?.parse::<u32>().ok()?;
        return (text.len() == 60 && text.is_ascii() && (4..=MAX_BCRYPT_COST).contains(&cost))
            .then_some(HashKind::Bcrypt);
    }
    if let Some(rest) = text.strip_prefix("$5$") {
        return is_sha_crypt(rest, 43).then_some(HashKind::ShaCrypt);
    }
    if let Some(rest) = text.strip_prefix("$6$") {
        return is_sha_crypt(rest, 86).then_some(HashKind::ShaCrypt);
    }
    if text.starts_with("$apr1$") || text.starts_with("$1$") {
        return md5_crypt::is_valid(text).then_some(HashKind::Md5Crypt);
    }
    if text.starts_with(PLAIN) {
        return Some(HashKind::Plain);
    }
    let bytes = sha1_parts(text)?;
    Some(if text.starts_with("{SHA}") { HashKind::Sha1 } else { HashKind::SaltedSha1 })
        .filter(|kind| *kind == HashKind::SaltedSha1 || bytes.len() == SHA1_LEN)
}

/// `[rounds=N$]salt$hash`.
fn is_sha_crypt(rest: &str, length: usize) -> bool {
    let rest = match rest.strip_prefix("rounds=").map(|rest| rest.split_once('$')) {
        None => rest,
        Some(Some((rounds, rest))) if rounds.parse::<u32>().is_ok_and(|rounds| rounds <= MAX_ROUNDS) => rest,
        Some(_) => return false,
    };
    rest.split_once('$').is_some_and(|(salt, hash)| salt.len() <= 16 && is_crypt_text(hash, length))
}

/// Whether a text is the encoded hash of crypt(3), of this length.
fn is_crypt_text(text: &str, length: usize) -> bool {
    text.len() == length
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

/// The digest of `{SHA}` and `{SSHA}`, followed by the salt.
fn sha1_parts(text: &str) -> Option<Vec<u8>> {
    let encoded = text.strip_prefix("{SHA}").or_else(|| text.strip_prefix("{SSHA}"))?;
    STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() >= SHA1_LEN)
}

/// Compares in a time that depends on the lengths only.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Prints nothing of the hash.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordHash({:?})", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd`, crypt(3) and OpenSSL's digests.
    const HASHES: [(&str, &str); 13] = [
        ("$2b$05$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6", "bar"),
        ("$2y$05$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6", "bar"),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
        ("$5$rounds=10000$saltstringsaltst$KpyxcQW7OF.4dRMLIha5XdgpVhDlUVYKahtMpKqch6D", "bar"),
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
        (
            "$6$rounds=1000$abc$JDgZ2D7/c/lBfjzuM8kuN6JQTz.OJnIonQi7aW/hqTkmG4Jo6IXze07rvbqGvDZ3qTzvUb76u7QgeW6c17M2f1",
            "bar",
        ),
        ("$apr1$saltstri$aGfuB7Lcvs2TUeFTqUVfN0", "Hello world!"),
        ("$apr1$ab$eIePjsejfBGR8ITtu2z0U1", "x"),
        ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "myPassword"),
        ("$1$saltstri$YMyguxXMBpd2TEZ.vS/3q1", "Hello world!"),
        ("{SHA}Ys23Ag/5IOWqZCw9QGaVDdHwH00=", "bar"),
        ("{SSHA}aTajYe2SJsRWrbKsIV9ZttXLp9RzYWx0", "bar"),
        ("{PLAIN}bar", "bar"),
    ];

    #[test]
    fn hashes_match_their_password_only() {
        for (hash, password) in HASHES {
            let parsed = PasswordHash::parse(hash).expect(hash);
            assert!(parsed.verify(password.as_bytes()), "{hash}");
            for other in ["", "Bar", "barx", "Hello world", &"x".repeat(MAX_PASSWORD + 1)] {
                assert!(!parsed.verify(other.as_bytes()), "{hash}: {other:.20}");
            }
            assert_eq!(parsed.is_fast(), hash.starts_with('{'), "{hash}");
            assert!(!format!("{parsed:?}").contains(&hash[hash.len() - 6..]), "{hash}");
        }
    }

    #[test]
    fn other_texts_are_no_hashes() {
        for text in [
            "",
            "secret",
            "rqXexS6ZhobKA",
            "$2y$05$short",
            "$2y$17$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6",
            "$2y$xx$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6",
            "$5$saltstring$short",
            "$5$rounds=1000001$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$rounds=x$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$6$",
            "$apr1$ab",
            "$apr1$ab$eIePjsejfBGR8ITtu2z0U",
            "$apr1$ab$eIePjsejfBGR8ITtu2z0U!",
            "$y$j9T$salt$hash",
            "{SHA}!",
            "{SHA}YQ==",
            "{SHA}aTajYe2SJsRWrbKsIV9ZttXLp9RzYWx0",
            "{SSHA}YQ==",
            "{MD5}x",
        ] {
            assert!(PasswordHash::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_bcrypt_hash_that_no_decoder_takes_matches_nothing() {
        let hash = PasswordHash::parse(&format!("$2y$05${}", "!".repeat(53))).expect("the right length");
        assert!(!hash.verify(b"bar"));
    }
}
