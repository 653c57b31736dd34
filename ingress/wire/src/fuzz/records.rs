//! PROXY protocol headers, ClientHellos and FastCGI records.

use crate::client_hello::{self, MAX_CLIENT_HELLO};
use crate::fastcgi::request;
use crate::fastcgi::response::decode_in_steps;
use crate::proxy_protocol::{self, MAX_V1, MAX_V2, ProxiedAddresses};

/// How many prefixes of an input are tried.
const MAX_PREFIXES: usize = 600;

/// Arbitrary bytes as a PROXY protocol header.
///
/// # Panics
/// When the result depends on how the input is cut, or when the addresses change as they are written and read again.
pub fn proxy_protocol(data: &[u8]) {
    let whole = proxy_protocol::parse(data);
    for end in 0..=data.len().min(MAX_PREFIXES) {
        match (proxy_protocol::parse(&data[..end]), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (part, whole) => assert_eq!(part, *whole, "the result depends on the cut at {end}"),
        }
    }
    let Ok(Some(header)) = whole else { return };
    assert!(header.length <= data.len() && header.length <= MAX_V2.max(MAX_V1));
    let ProxiedAddresses::Tcp { source, destination } = header.addresses else { return };
    for write in [proxy_protocol::write_v1, proxy_protocol::write_v2] {
        let mut out = Vec::new();
        write(source, destination, &mut out);
        let again = proxy_protocol::parse(&out).expect("it was written").expect("it is whole");
        assert_eq!((&again.addresses, again.length), (&header.addresses, out.len()));
    }
}

/// Arbitrary bytes as the beginning of a TLS connection.
///
/// # Panics
/// When the result depends on how the input is cut, or when a name is no host name.
pub fn client_hello(data: &[u8]) {
    let whole = client_hello::parse(data);
    for end in 0..=data.len().min(MAX_PREFIXES) {
        match (client_hello::parse(&data[..end]), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (part, whole) => assert_eq!(part, *whole, "the result depends on the cut at {end}"),
        }
    }
    let Ok(Some(hello)) = whole else { return };
    if let Some(name) = hello.server_name {
        assert!(!name.is_empty() && name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
    assert!(hello.alpn.iter().map(Vec::len).sum::<usize>() <= MAX_CLIENT_HELLO);
}

/// Arbitrary bytes as the records of a FastCGI response, and as the parameters and body of a request.
///
/// # Panics
/// When the result depends on how the input is cut, or when a written request is not made of whole records.
pub fn fastcgi(data: &[u8]) {
    let whole = decode_in_steps(data, data.len().max(1));
    for step in [1, 5] {
        assert_eq!(decode_in_steps(data, step), whole, "the result depends on the cut");
    }
    let middle = data.len() / 2;
    let mut out = Vec::new();
    request::begin(true, [(&data[..middle], &data[middle..])], &mut out);
    request::body(data, &mut out);
    request::end(&mut out);
    let (params, body) = streams(&out);
    assert_eq!(body, data);
    assert_eq!(
        params.len(),
        data.len()
            + [middle, data.len() - middle].map(|part| if part < 0x80 { 1 } else { 4 }).iter().sum::<usize>()
    );
    assert!(params.ends_with(data));
}

/// The parameters and the body of a written request.
fn streams(mut records: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut params, mut body) = (Vec::new(), Vec::new());
    while let Some((header, rest)) = records.split_first_chunk::<8>() {
        let [version, kind, _, id, high, low, padding, _] = *header;
        assert_eq!((version, id, padding), (1, 1, 0));
        let (data, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])));
        match kind {
            4 => params.extend_from_slice(data),
            5 => body.extend_from_slice(data),
            _ => assert_eq!((kind, data.len()), (1, 8)),
        }
        records = rest;
    }
    assert!(records.is_empty());
    (params, body)
}
