//! The MD5-based hash of crypt(3) and its variant of Apache, which differs in the prefix only.

use md5::{Digest, Md5};

use super::{is_crypt_text, is_equal};

/// The alphabet of crypt(3).
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: usize = 1000;
/// The bytes of the digest that each group of four characters stands for.
const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Prefix, salt and hash of `$apr1$salt$hash` or `$1$salt$hash`.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let prefix = ["$apr1$", "$1$"].into_iter().find(|prefix| text.starts_with(prefix))?;
    let (salt, hash) = text[prefix.len()..].split_once('$')?;
    (salt.len() <= 8).then_some((prefix, salt, hash))
}

/// Whether a text is such a hash.
pub(super) fn is_valid(text: &str) -> bool {
    parts(text).is_some_and(|(_, _, hash)| is_crypt_text(hash, 22))
}

/// Whether it is the hash of this password.
pub(super) fn verify(password: &[u8], text: &str) -> bool {
    parts(text).is_some_and(|(prefix, salt, hash)| {
        let digest = digest(password, prefix.as_bytes(), salt.as_bytes());
        is_equal(encoded(&digest).as_bytes(), hash.as_bytes())
    })
}

fn digest(password: &[u8], prefix: &[u8], salt: &[u8]) -> [u8; 16] {
    let mixed: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(prefix).chain_update(salt);
    for start in (0..password.len()).step_by(16) {
        first.update(&mixed[..(password.len() - start).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let is_odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if is_odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if is_odd { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    digest
}

fn encoded(digest: &[u8; 16]) -> String {
    let mut text = String::with_capacity(22);
    let mut push = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            text.push(ALPHABET[(value & 63) as usize] as char);
            value >>= 6;
        }
    };
    for [high, middle, low] in GROUPS {
        let byte = |at: usize| u32::from(digest[at]);
        push(byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    push(u32::from(digest[11]), 2);
    text
}
