//! The head of a request in HTTP/2 (RFC 9113 §8.3.1), from the same text that endpoints of HTTP/1 get.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

/// The request of a head. `None` if HTTP/2 cannot express it: its target or a field has bytes that are not allowed there.
pub(super) fn request(head: &Bytes, scheme: &str) -> Option<Request<()>> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let (method, target) = (Method::from_bytes(words.next()?).ok()?, words.next()?);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    let mut authority = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (HeaderName::from_bytes(&line[..colon]).ok()?, line[colon + 1..].trim_ascii());
        match name.as_str() {
            "host" => authority = Some(Authority::try_from(value).ok()?),
            // Fields of the connection (RFC 9113 §8.2.2). The length of a body in chunks is not known.
            "connection" | "upgrade" | "keep-alive" | "proxy-connection" | "transfer-encoding" => {}
            _ => {
                request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::try_from(scheme).ok()?);
    parts.authority = Some(authority?);
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_http1_is_translated() {
        let head = "POST /a.B/C?d=%20 HTTP/1.1\r\nHost: shop.example:8080\r\nConnection: upgrade\r\nUpgrade: x\r\n\
                    Transfer-Encoding: chunked\r\nTE: trailers\r\nX-A: 1\r\nX-A: 2\r\ngrpc-timeout: 1S\r\n\r\n";
        let request = request(&Bytes::from_static(head.as_bytes()), "https").unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://shop.example:8080/a.B/C?d=%20");
        let fields: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let wanted: [(&str, &[u8]); 4] =
            [("te", b"trailers"), ("x-a", b"1"), ("x-a", b"2"), ("grpc-timeout", b"1S")];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn what_http2_cannot_express_is_refused() {
        for head in ["GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", "GET"] {
            assert!(request(&Bytes::from_static(head.as_bytes()), "http").is_none(), "{head:?}");
        }
    }
}
