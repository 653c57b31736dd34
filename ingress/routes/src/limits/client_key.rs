//! By what limits tell clients apart.

use std::net::IpAddr;

use crate::digest::md5;

/// A client: its address, or the digest of a text. A client that finds another text with the same digest shares its own counts only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey([u8; 16]);

impl ClientKey {
    /// The key of a text; `None` for an empty one, which as in nginx is not counted.
    pub fn of_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(md5(&[text])))
    }
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().octets()),
            IpAddr::V6(address) => Self(address.octets()),
        }
    }
}
