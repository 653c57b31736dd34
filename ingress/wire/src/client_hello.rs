//! The ClientHello (RFC 8446 §4.1.2) as far as SNI (RFC 6066 §3) and ALPN (RFC 7301 §3.1) need it: for TLS passthrough, which
//! has to know the name before anything is decrypted.
//!
//! rustls's `Acceptor` is not used: it consumes the bytes, which passthrough forwards unchanged; it refuses clients whose
//! versions, names or extensions rustls itself does not support, while the endpoint may; and this crate stays free of
//! cryptography. A connection that is not passed through is read by rustls from its first byte, as before.

/// The longest record payload in plain text (RFC 8446 §5.1).
const MAX_RECORD: usize = 1 << 14;
/// The longest ClientHello that is accepted. Browsers send less than 2 KiB, with post-quantum key shares.
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;
/// The most records of one ClientHello. A record may hold a single byte, and costs five.
const MAX_RECORDS: usize = 64;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// The parameters that a client offers in its ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host name in lower case without a trailing dot; `None` if the client names none.
    pub server_name: Option<String>,
    /// The protocols in the client's order, GREASE values (RFC 8701) included.
    pub alpn: Vec<Vec<u8>>,
}

/// Why the input is no usable ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidClientHello {
    /// The connection does not begin with a TLS handshake.
    NotTls,
    /// Lengths contradict each other, or a value is not allowed.
    Malformed,
    /// It is longer than [`MAX_CLIENT_HELLO`], or cut into too many records.
    TooLong,
}

/// Reads a ClientHello from the records at the start of a connection. `None` while more input is needed.
///
/// # Errors
/// When the input is not a TLS handshake, is malformed, or exceeds a limit.
pub fn parse(input: &[u8]) -> Result<Option<ClientHello>, InvalidClientHello> {
    let Some(message) = message(input)? else { return Ok(None) };
    hello(&message).ok_or(InvalidClientHello::Malformed).map(Some)
}

/// The body of the first handshake message, without record and message headers.
fn message(mut input: &[u8]) -> Result<Option<Vec<u8>>, InvalidClientHello> {
    let mut message = Vec::new();
    for _ in 0..MAX_RECORDS {
        match input.first() {
            None => return Ok(None),
            Some(&HANDSHAKE) => {}
            Some(_) if message.is_empty() => return Err(InvalidClientHello::NotTls),
            Some(_) => return Err(InvalidClientHello::Malformed),
        }
        // Every version of TLS has the major version 3 in its records.
        if input.get(1).is_some_and(|major| *major != 3) {
            return Err(InvalidClientHello::NotTls);
        }
        let Some([_, _, _, high, low]) = input.first_chunk::<5>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > MAX_RECORD {
            return Err(InvalidClientHello::Malformed);
        }
        let rest = &input[5..];
        let available = &rest[..length.min(rest.len())];
        message.extend_from_slice(available);
        if let Some([kind, high, middle, low]) = message.first_chunk::<4>() {
            if *kind != CLIENT_HELLO {
                return Err(InvalidClientHello::Malformed);
            }
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if length > MAX_CLIENT_HELLO {
                return Err(InvalidClientHello::TooLong);
            }
            if let Some(body) = message.get(4..4 + length) {
                return Ok(Some(body.to_vec()));
            }
        }
        if available.len() < length {
            return Ok(None);
        }
        input = &rest[length..];
    }
    Err(InvalidClientHello::TooLong)
}

/// The rest of a message, of which values are taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1).map(|byte| usize::from(byte[0]))
    }

    fn u16(&mut self) -> Option<usize> {
        self.take(2).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    }

    /// A vector with a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length)
    }

    /// A vector with a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length)
    }
}

fn hello(message: &[u8]) -> Option<ClientHello> {
    let mut message = Reader(message);
    let mut hello = ClientHello::default();
    // legacy_version, random, legacy_session_id, cipher_suites, legacy_compression_methods
    message.take(2 + 32)?;
    message.short()?;
    message.long()?;
    message.short()?;
    if message.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(message.long()?);
    if !message.0.is_empty() {
        return None;
    }
    let (mut has_name, mut has_alpn) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()? as u16;
        let data = extensions.long()?;
        match kind {
            // An extension must not be repeated (RFC 8446 §4.2): two servers might read different names.
            SERVER_NAME if has_name => return None,
            ALPN if has_alpn => return None,
            SERVER_NAME => {
                has_name = true;
                hello.server_name = Some(server_name(data)?);
            }
            ALPN => {
                has_alpn = true;
                hello.alpn = alpn(data)?;
            }
            _ => {}
        }
    }
    Some(hello)
}

/// The only name of the list. Its only type is `host_name`; a second name of that type is not allowed.
fn server_name(data: &[u8]) -> Option<String> {
    let mut data = Reader(data);
    let mut list = Reader(data.long()?);
    let kind = list.u8()?;
    let name = list.long()?;
    if kind != 0 || !list.0.is_empty() || !data.0.is_empty() {
        return None;
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    let host_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_host = !name.is_empty() && name.len() <= 253 && name.iter().all(host_byte);
    let name = is_host.then(|| std::str::from_utf8(name).ok()).flatten()?;
    Some(name.to_ascii_lowercase())
}

fn alpn(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut data = Reader(data);
    let mut list = Reader(data.long()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.short().filter(|name| !name.is_empty())?.to_vec());
    }
    (!protocols.is_empty() && data.0.is_empty()).then_some(protocols)
}

#[cfg(test)]
mod tests;
