//! The options of an OPT record (RFC 6891 §6.1.2): reading, adding, removing, and whether they are well-formed.

/// EDNS options whose length is checked: RFC 8764 §3.2, RFC 9664 §4, RFC 7871 §6, RFC 7314 §2, RFC 7828 §3.1, RFC 8914 §2.
const LONG_LIVED: u16 = 1;
const UPDATE_LEASE: u16 = 2;
const CLIENT_SUBNET: u16 = 8;
const EXPIRE: u16 = 9;
const KEEPALIVE: u16 = 11;
const EXTENDED_ERROR: u16 = 15;

/// Bytes of an option before its data: code and length.
pub(crate) const HEADER: usize = 4;

/// The code and data of each option, up to the first that is cut off.
pub(crate) fn each(mut options: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([c0, c1, l0, l1], rest) = options.split_first_chunk::<HEADER>()?;
        let (data, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        options = after;
        Some((u16::from_be_bytes([*c0, *c1]), data))
    })
}

/// Appends an option. Data beyond 64 KiB is cut off.
pub(crate) fn push(options: &mut Vec<u8>, code: u16, data: &[u8]) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    options.extend_from_slice(&code.to_be_bytes());
    options.extend_from_slice(&length.to_be_bytes());
    options.extend_from_slice(&data[..usize::from(length)]);
}

/// Removes all options with a code. Returns whether there were any.
pub(crate) fn remove(options: &mut Vec<u8>, code: u16) -> bool {
    if each(options).all(|(known, _)| known != code) {
        return false;
    }
    let before = std::mem::take(options);
    for (known, data) in each(&before).filter(|(known, _)| *known != code) {
        push(options, known, data);
    }
    true
}

/// The options, if they fill the record exactly.
pub(crate) fn whole_options(data: &[u8]) -> Option<&[u8]> {
    let mut rest = data;
    while !rest.is_empty() {
        let [_, _, l0, l1] = *rest.first_chunk::<4>()?;
        rest = rest.get(4 + usize::from(u16::from_be_bytes([l0, l1]))..)?;
    }
    Some(data)
}

/// Whether each of the options is well-formed. As in CoreDNS the number of address octets of a client subnet is not checked.
pub(crate) fn are_well_formed_options(options: &[u8]) -> bool {
    let mut rest = options;
    while let Some(([c0, c1, l0, l1], data)) = rest.split_first_chunk::<4>() {
        let Some((data, after)) = data.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1]))) else {
            return false;
        };
        let length = data.len();
        let well_formed = match u16::from_be_bytes([*c0, *c1]) {
            LONG_LIVED => length >= 18,
            UPDATE_LEASE => matches!(length, 4 | 8),
            CLIENT_SUBNET => is_subnet(data),
            EXPIRE => length == 0 || length >= 4,
            KEEPALIVE => matches!(length, 0 | 2),
            EXTENDED_ERROR => length >= 2,
            _ => true,
        };
        if !well_formed {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Whether a client subnet has a known family and prefixes that fit it (RFC 7871 §6 and §7.1.2).
fn is_subnet(data: &[u8]) -> bool {
    match data {
        [0, 0, source, _, ..] => *source == 0,
        [0, 1, source, scope, ..] => *source <= 32 && *scope <= 32,
        [0, 2, source, scope, ..] => *source <= 128 && *scope <= 128,
        _ => false,
    }
}
