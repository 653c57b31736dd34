//! The user name and password that a request carries (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;

use crate::exchange::Exchange;

/// nginx accepts base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The user name and password of basic authentication. Not printed: there is no `Debug`.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Credentials {
    /// Bytes that are not UTF-8 are replaced: no user has such a name.
    pub(crate) user: String,
    pub(crate) password: Vec<u8>,
}

impl Credentials {
    /// Those of a request; `None` if it has none, or malformed ones.
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        let (scheme, encoded) = exchange.header(&AUTHORIZATION)?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':').filter(|at| *at > 0)?;
        let user = String::from_utf8_lossy(&decoded[..colon]).into_owned();
        Some(Self { user, password: decoded[colon + 1..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::get;

    #[test]
    fn credentials_are_read_as_by_nginx() {
        for (header, wanted) in [
            ("Basic Zm9vOmJhcg==", Some(("foo", "bar"))),
            ("basic  Zm9vOmJhcg", Some(("foo", "bar"))),
            ("BASIC Zm9vOmI6YQ==", Some(("foo", "b:a"))),
            ("Basic Zm9vOg==", Some(("foo", ""))),
            ("Basic OmJhcg==", None),
            ("Basic Zm9v", None),
            ("Basic", None),
            ("Basic ?", None),
            ("Bearer Zm9vOmJhcg==", None),
        ] {
            let read = Credentials::of(&get("a.example/", &[("authorization", header)]));
            let read = read.as_ref().map(|it| (it.user.as_str(), std::str::from_utf8(&it.password).unwrap()));
            assert_eq!(read, wanted, "{header}");
        }
        assert!(Credentials::of(&get("a.example/", &[])).is_none());
    }
}
