//! The one request and the one response of the run.

/// The host that every engine routes.
pub(crate) const HOST: &str = "shop.example";

/// What the backend answers.
pub(crate) const BODY: &str = "{\"id\":42,\"name\":\"sextant\",\"price\":\"129.00\",\"stock\":7,\"links\":{\"self\":\"/api/items/42\"}}";

/// A request as a browser's script sends it, without its cookies.
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

/// What has been received of a response.
pub(crate) enum ResponseState {
    /// More is to come.
    Partial,
    /// All of it, and whether it is the right one and whether the connection ends with it.
    Complete { correct: bool, closes: bool },
}

/// Looks at what a connection has received since its request.
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
