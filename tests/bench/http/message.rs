//! The request and the response of the HTTP benchmarks.

/// The host that every proxy routes.
pub(crate) const HOST: &str = "shop.example";

/// The body of the backend's response.
pub(crate) const BODY: &str = "{\"id\":42,\"name\":\"sextant\",\"price\":\"129.00\",\"stock\":7,\"links\":{\"self\":\"/api/items/42\"}}";

/// A request as a script in a browser sends it, without cookies.
pub(crate) fn request() -> Vec<u8> {
    format!(
        "GET /api/items/42?view=short HTTP/1.1\r\nHost: {HOST}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: application/json\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate\r\n\r\n"
    )
    .into_bytes()
}

/// The backend's response.
pub(crate) fn response() -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 GMT\r\nCache-Control: no-cache\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

/// How much of a response has been received.
pub(crate) enum ResponseState {
    /// The response is incomplete.
    Partial,
    /// The response is complete. `closes`: the server closes the connection after it.
    Complete { correct: bool, closes: bool },
}

/// Parses the bytes that were received since the request was sent.
pub(crate) fn parse_response(received: &[u8]) -> ResponseState {
    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else { return ResponseState::Partial };
    let (head, body) = (&received[..end], &received[end + 4..]);
    let field = |name: &str| {
        let lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
        let mut fields = lines.filter(|line| {
            line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
        });
        fields.next().map(|line| line[name.len()..].trim_ascii())
    };
    let length =
        field("content-length:").and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
    let Some(length) = length else { return ResponseState::Complete { correct: false, closes: true } };
    if body.len() < length {
        return ResponseState::Partial;
    }
    let correct = head.starts_with(b"HTTP/1.1 200") && body == BODY.as_bytes();
    ResponseState::Complete {
        correct,
        closes: field("connection:").is_some_and(|value| value.eq_ignore_ascii_case(b"close")),
    }
}
