//! HIP: host identities (RFC 8005).

use dns_wire::Name;

use super::{base64, hexadecimal, number};
use crate::presentation::text::name;
use crate::presentation::tokens::ZoneToken;

/// Appends `ALGORITHM TAG KEY [SERVER…]`: the tag in hexadecimal, the key in base64 (RFC 8005 §6).
pub(super) fn read(tokens: &[ZoneToken<'_>], origin: &Name, data: &mut Vec<u8>) -> Result<(), String> {
    let [algorithm, tag, key, servers @ ..] = tokens else {
        return Err("fewer fields than the type has".to_owned());
    };
    let algorithm = number(algorithm)?;
    let tag = hexadecimal(std::slice::from_ref(tag))?;
    let key = base64(key.text)?;
    data.extend_from_slice(&[
        u8::try_from(tag.len()).map_err(|_| "a tag of more than 255 bytes")?,
        algorithm,
    ]);
    data.extend_from_slice(
        &u16::try_from(key.len()).map_err(|_| "a key of more than 65535 bytes")?.to_be_bytes(),
    );
    data.extend_from_slice(&tag);
    data.extend_from_slice(&key);
    for server in servers {
        data.extend_from_slice(server.name(origin)?.wire());
    }
    Ok(())
}

/// What follows the data in wire form.
pub(super) fn skip(data: &[u8]) -> Option<&[u8]> {
    let [tag, _, high, low, rest @ ..] = data else { return None };
    let mut servers = rest.get(usize::from(*tag) + usize::from(u16::from_be_bytes([*high, *low]))..)?;
    while !servers.is_empty() {
        servers = servers.get(name(servers)?.wire().len()..)?;
    }
    Some(servers)
}
