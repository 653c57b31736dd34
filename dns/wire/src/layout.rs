//! The positions of names in record data (RFC 1035 §3.3, RFC 3597 §4).

use crate::codes::rtype;

/// Record data that contains names: some bytes, some names, then opaque bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) before: usize,
    pub(crate) names: usize,
    /// Whether names may be compressed when sent: only in the types of RFC 1035 (RFC 3597 §4).
    pub(crate) compress: bool,
}

/// The layout of a type's data; `None` if it contains no name that could be compressed. `data` begins with
/// the record data, which may be empty whatever the type (RFC 2136 §2.4).
pub(crate) fn layout(kind: u16, data: &[u8]) -> Option<Layout> {
    if data.is_empty() {
        return None;
    }
    let (before, names, compress) = match kind {
        rtype::NS | rtype::MD | rtype::MF | rtype::CNAME | rtype::MB | rtype::MG | rtype::MR | rtype::PTR => {
            (0, 1, true)
        }
        rtype::SOA | rtype::MINFO => (0, 2, true),
        rtype::MX => (2, 1, true),
        rtype::RP => (0, 2, false),
        rtype::AFSDB | rtype::RT | rtype::KX => (2, 1, false),
        rtype::PX => (2, 2, false),
        rtype::SRV => (6, 1, false),
        rtype::DNAME => (0, 1, false),
        rtype::NAPTR => (strings(data, 4, 3)?, 1, false),
        _ => return None,
    };
    Some(Layout { before, names, compress })
}

/// The end of `count` character strings (RFC 1035 §3.3) that begin at `at`.
fn strings(data: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        at += 1 + usize::from(*data.get(at)?);
    }
    Some(at)
}
