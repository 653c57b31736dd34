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
pub struct BasicCredentials {
    decoded: SmallVec<[u8; 192]>,
    colon: usize,
}

impl BasicCredentials {
    /// Those of an `Authorization` field; `None` for another scheme and for a malformed value. As in nginx the scheme may be in any case,
    /// and what follows the padding is ignored. Hot: allocates only for one that is very long.
    pub fn decode(authorization: &[u8]) -> Option<Self> {
        let (scheme, encoded) = authorization.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let start = encoded.iter().position(|byte| *byte != b' ')?;
        let encoded = encoded[start..].split(|byte| *byte == b'=').next().unwrap_or_default();
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
    pub fn user(&self) -> &[u8] {
        &self.decoded[..self.colon]
    }

    /// The password.
    pub fn password(&self) -> &[u8] {
        &self.decoded[self.colon + 1..]
    }
}

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
}
