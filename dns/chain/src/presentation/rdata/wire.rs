//! Checks record data in wire form, which a zone file may have for any type (RFC 3597 §5).

use super::{Field, gateway, host_identity, parameters, prefixes};
use crate::presentation::text::name;

/// Whether data consists of these fields.
pub(super) fn is_valid(fields: &[Field], data: &[u8]) -> bool {
    let rest = fields.iter().try_fold(data, |rest, field| field.skip(rest));
    rest.is_some_and(<[u8]>::is_empty)
}

impl Field {
    /// The data after the field; `None` if it is malformed or cut off.
    fn skip(self, data: &[u8]) -> Option<&[u8]> {
        let fixed = |length: usize| data.get(length..);
        match self {
            Self::Name => data.get(name(data)?.wire().len()..),
            Self::Byte | Self::Algorithm => fixed(1),
            Self::Word | Self::Type | Self::CertificateType => fixed(2),
            Self::Long | Self::Seconds | Self::Date | Self::V4 => fixed(4),
            Self::Locator => fixed(8),
            Self::V6 | Self::Location => fixed(16),
            Self::Eui(length) => fixed(length),
            Self::Text | Self::OptionalText | Self::Salt | Self::Hash => string(data),
            Self::Texts => repeated(string(data)?, string),
            Self::Types => repeated(data, window),
            Self::Parameters => repeated(data, parameters::skip),
            Self::Prefixes => repeated(data, prefixes::skip),
            Self::Gateway => gateway::skip_key(data),
            Self::Relay => gateway::skip_relay(data),
            Self::HostIdentity => host_identity::skip(data),
            Self::LongText | Self::Base64 | Self::Hex => Some(&[]),
        }
    }
}

/// The end of data that consists of parts of one kind.
fn repeated(mut data: &[u8], part: impl Fn(&[u8]) -> Option<&[u8]>) -> Option<&[u8]> {
    while !data.is_empty() {
        data = part(data)?;
    }
    Some(data)
}

fn string(data: &[u8]) -> Option<&[u8]> {
    let (length, rest) = data.split_first()?;
    rest.get(usize::from(*length)..)
}

/// A window of a bitmap of types (RFC 4034 §4.1.2).
fn window(data: &[u8]) -> Option<&[u8]> {
    let [_, length @ 1..=32, rest @ ..] = data else { return None };
    rest.get(usize::from(*length)..)
}
