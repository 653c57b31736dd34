//! The pages of the HTTP benchmarks: what clients request and what the backend answers.

/// The host that every proxy routes.
pub(crate) const HOST: &str = "shop.example";

/// The body of most benchmarks: 87 bytes.
pub(crate) const ITEM: &str = "{\"id\":42,\"name\":\"sextant\",\"price\":\"129.00\",\"stock\":7,\"links\":{\"self\":\"/api/items/42\"}}";

/// A page of the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BackendPage {
    /// A small JSON document: [`ITEM`].
    Item,
    /// 1 KiB.
    Kibibyte,
    /// 1 MiB.
    Mebibyte,
}

impl BackendPage {
    const ALL: [Self; 3] = [Self::Item, Self::Kibibyte, Self::Mebibyte];

    /// Path and query of the request.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Item => "/api/items/42?view=short",
            Self::Kibibyte => "/files/kibibyte",
            Self::Mebibyte => "/files/mebibyte",
        }
    }

    /// The body of the response.
    pub(crate) fn body(self) -> Vec<u8> {
        match self {
            Self::Item => ITEM.as_bytes().to_vec(),
            Self::Kibibyte => letters(1 << 10),
            Self::Mebibyte => letters(1 << 20),
        }
    }

    /// A request as a script in a browser sends it, without cookies.
    pub(crate) fn request(self) -> Vec<u8> {
        format!(
            "GET {} HTTP/1.1\r\nHost: {HOST}\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
             Accept: application/json\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate\r\n\r\n",
            self.target()
        )
        .into_bytes()
    }

    /// The backend's response.
    pub(crate) fn response(self) -> Vec<u8> {
        let body = self.body();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Date: Sat, 21 Nov 2026 08:00:00 GMT\r\nCache-Control: no-cache\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    /// The page that a request asks for: [`BackendPage::Item`] unless it names another.
    pub(crate) fn requested(request: &[u8]) -> Self {
        let names =
            |page: &Self| memchr::memmem::find(request, page.target().as_bytes()) == Some("GET ".len());
        Self::ALL.into_iter().find(names).unwrap_or(Self::Item)
    }
}

/// The alphabet, again and again.
fn letters(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

/// How much of a response has been received.
pub(crate) enum ResponseState {
    /// The response is incomplete.
    Partial,
    /// The response is complete. `closes`: the server closes the connection after it.
    Complete { correct: bool, closes: bool },
}

/// Parses the bytes that were received since the request was sent, and compares the body with the expected one.
pub(crate) fn parse_response(received: &[u8], expected: &[u8]) -> ResponseState {
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
    ResponseState::Complete {
        correct: head.starts_with(b"HTTP/1.1 200") && body == expected,
        closes: field("connection:").is_some_and(|value| value.eq_ignore_ascii_case(b"close")),
    }
}
