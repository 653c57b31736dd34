//! Messages of HTTP/1 as a test reads them, and a client that reads and writes bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for an event before it fails.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A message as received.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Status line or request line, and headers, with LF.
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub fn read_head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if &head[before..] == "\r\n" {
            return Some(head.replace("\r\n", "\n"));
        }
    }
}

pub fn read_response(stream: &mut impl BufRead, is_head: bool) -> Option<Response> {
    let head = read_head(stream)?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let mut response = Response { status, head, body: String::new() };
    if !is_head && !matches!(status, 100..=199 | 204 | 304) {
        let closes =
            response.header("content-length").is_none() && response.header("transfer-encoding").is_none();
        response.body = if closes {
            let mut body = String::new();
            stream.read_to_string(&mut body).ok()?;
            body
        } else {
            read_body(stream, &response)?
        };
    }
    Some(response)
}

/// Reads a body by its length or its chunks.
pub fn read_body(stream: &mut impl BufRead, message: &Response) -> Option<String> {
    let mut body = Vec::new();
    if let Some(length) = message.header("content-length") {
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    } else if message.header("transfer-encoding").is_some() {
        while let Some(chunk) = read_chunk(stream) {
            if chunk.is_empty() {
                break;
            }
            body.extend_from_slice(&chunk);
        }
    }
    String::from_utf8(body).ok()
}

/// Reads a chunk; the last one is empty, and the trailers are skipped.
pub fn read_chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim(), 16).ok()?;
    let mut chunk = vec![0; length];
    stream.read_exact(&mut chunk).ok()?;
    line.clear();
    if length > 0 {
        stream.read_line(&mut line).ok()?;
    } else {
        read_head(stream);
    }
    Some(chunk)
}

/// A client that reads and writes bytes.
pub struct TestClient {
    pub stream: BufReader<TcpStream>,
    head: bool,
}

impl TestClient {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), head: false }
    }

    /// Sends a text written with LF.
    pub fn send(&mut self, text: &str) {
        self.head = text.starts_with("HEAD ");
        self.raw(text.replace('\n', "\r\n").as_bytes());
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub fn response(&mut self) -> Response {
        read_response(&mut self.stream, self.head).expect("a response")
    }

    /// Waits until the proxy closes the connection; false if it sends anything before.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
