//! The user name and password that a request carries (`Authorization: Basic`, RFC 7617), decoded as by nginx.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;
use smallvec::SmallVec;

use crate::exchange::Exchange;

/// nginx accepts Base64 with and without padding, and ignores the bits that are left over at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A user name, which is not empty, and a password, in which colons are allowed. Not printed: there is no `Debug`.
pub(crate) struct BasicCredentials {
    decoded: SmallVec<[u8; 192]>,
    colon: usize,
}

impl BasicCredentials {
    /// Those of an `Authorization` field; `None` for another scheme and for a malformed value. As in nginx the scheme may be in any case,
    /// and what follows the padding is ignored. Hot: allocates only for one that is very long.
    pub(crate) fn decode(authorization: &[u8]) -> Option<Self> {
        let encoded = encoded(authorization)?;
        let mut decoded = SmallVec::from_elem(0, base64::decoded_len_estimate(encoded.len()));
        let length = BASE64.decode_slice(encoded, &mut decoded).ok()?;
        decoded.truncate(length);
        let colon = decoded.iter().position(|byte| *byte == b':').filter(|at| *at > 0)?;
        Some(Self { decoded, colon })
    }

    /// Those of a request.
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        Self::decode(exchange.header_bytes(&AUTHORIZATION).next()?)
    }

    /// The user name.
    pub(crate) fn user(&self) -> &[u8] {
        &self.decoded[..self.colon]
    }

    /// The password.
    pub(crate) fn password(&self) -> &[u8] {
        &self.decoded[self.colon + 1..]
    }
}

/// The Base64 of an `Authorization` field, without its padding.
fn encoded(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let start = encoded.iter().position(|byte| *byte != b' ')?;
    encoded[start..].split(|byte| *byte == b'=').next()
}

/// The user name of credentials, without the password. Hot: decodes to the colon and checks the characters after it;
/// allocates only for a name of more than 64 bytes.
pub fn basic_user(authorization: &[u8]) -> Option<SmallVec<[u8; 64]>> {
    let encoded = encoded(authorization)?;
    let mut user = SmallVec::new();
    for (at, group) in encoded.chunks(4).enumerate() {
        let (bytes, length) = decoded_group(group)?;
        let bytes = &bytes[..length];
        let Some(colon) = bytes.iter().position(|byte| *byte == b':') else {
            user.extend_from_slice(bytes);
            continue;
        };
        user.extend_from_slice(&bytes[..colon]);
        let rest = encoded.get(at * 4 + 4..).unwrap_or_default();
        let is_valid = encoded.len() % 4 != 1 && rest.iter().all(|byte| SEXTETS[usize::from(*byte)] != NONE);
        return (is_valid && !user.is_empty()).then_some(user);
    }
    None
}

/// The bytes of up to four characters of Base64, and how many there are.
fn decoded_group(group: &[u8]) -> Option<([u8; 3], usize)> {
    let mut bits = 0_u32;
    for (at, byte) in group.iter().enumerate() {
        let sextet = SEXTETS[usize::from(*byte)];
        if sextet == NONE {
            return None;
        }
        bits |= u32::from(sextet) << (26 - 6 * at);
    }
    let [first, second, third, _] = bits.to_be_bytes();
    // One character has no whole byte.
    (group.len() > 1).then_some(([first, second, third], group.len() - 1))
}

/// No character of Base64.
const NONE: u8 = 0xff;

/// The bits that each character of Base64 stands for.
const SEXTETS: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut sextets = [NONE; 256];
    let mut at = 0;
    while at < alphabet.len() {
        sextets[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    sextets
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_by_nginx() {
        for (header, wanted) in [
            ("Basic Zm9vOmJhcg==", Some(("foo", "bar"))),
            ("basic  Zm9vOmJhcg", Some(("foo", "bar"))),
            ("BASIC Zm9vOmI6YQ== ", Some(("foo", "b:a"))),
            // The last character has bits that no byte needs.
            ("Basic Zm9vOmJhch==", Some(("foo", "bar"))),
            ("Basic Zm9vOmJhcg=junk", Some(("foo", "bar"))),
            ("Basic Zm9vOg==", Some(("foo", ""))),
            ("Basic OmJhcg==", None),
            ("Basic Zm9v", None),
            ("Basic Zm9vOmJhc", None),
            ("Basic Zm9v OmJh", None),
            ("Basic", None),
            ("Basic ", None),
            ("Basic ?", None),
            ("Basic\tZm9vOmJhcg==", None),
            ("Bearer Zm9vOmJhcg==", None),
        ] {
            let read = BasicCredentials::decode(header.as_bytes());
            let read = read.as_ref().map(|it| (it.user(), it.password()));
            assert_eq!(
                read,
                wanted.map(|(user, password)| (user.as_bytes(), password.as_bytes())),
                "{header}"
            );
        }
    }

    #[test]
    fn the_user_alone_is_that_of_the_credentials() {
        let check = |header: &[u8]| {
            let whole = BasicCredentials::decode(header);
            let user = basic_user(header);
            assert_eq!(
                user.as_deref(),
                whole.as_ref().map(BasicCredentials::user),
                "{}",
                header.escape_ascii()
            );
            user.is_some()
        };
        let mut valid = 0;
        for plain in [
            "foo:bar",
            "f:",
            ":",
            "a:b:c",
            "no colon",
            "\u{e4}\u{f6}:x",
            &"n".repeat(100),
            &format!("{}:p", "u".repeat(99)),
        ] {
            for padding in 0..4 {
                let text = format!("{plain}{}", "x".repeat(padding));
                let header = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
                for end in 0..=header.len() {
                    valid += usize::from(check(&header.as_bytes()[..end]));
                }
                for at in 0..header.len() {
                    for byte in [b'=', b' ', b':', b'?', b'/', b'-', b'A', b'\n', 0, 0xff] {
                        let mut changed = header.clone().into_bytes();
                        changed[at] = byte;
                        valid += usize::from(check(&changed));
                    }
                }
            }
        }
        assert!(valid > 1000, "{valid} have a user");
    }
}
