//! Requests of HTTP/1 as bytes, in clear text and over TLS.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::{ClientConnection, StreamOwned};

use crate::message::{TEST_TIMEOUT, read_response};

/// What a client gets.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status, or how the stream or the connection has ended.
    pub(super) outcome: String,
    /// What the endpoint has got: its name, the head, an empty line and the body. Only with status 200.
    pub(super) seen: String,
}

impl Answer {
    pub(super) fn ended(outcome: impl Into<String>) -> Self {
        Self { outcome: outcome.into(), seen: String::new() }
    }

    pub(super) fn of(status: u16, body: String) -> Self {
        Self { outcome: status.to_string(), seen: if status == 200 { body } else { String::new() } }
    }

    /// The name of the Service.
    pub(super) fn service(&self) -> &str {
        self.seen.lines().next().unwrap_or_default()
    }

    /// The request line and the fields that the endpoint has got.
    pub(super) fn head(&self) -> Vec<&str> {
        self.seen.lines().skip(1).take_while(|line| !line.is_empty()).collect()
    }

    /// The body that the endpoint has got.
    pub(super) fn body(&self) -> &str {
        self.seen.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

/// Sends bytes on a new connection and reads the first response.
pub(super) fn ask(address: SocketAddr, bytes: &[u8]) -> Answer {
    let stream = connect(address);
    answer(&mut BufReader::new(stream), bytes)
}

/// The same over TLS, with this server name (none if it is an IP address).
pub(super) fn ask_over_tls(address: SocketAddr, name: &'static str, bytes: &[u8]) -> Answer {
    let config = net::testing::client(rustls::DEFAULT_VERSIONS, &[b"http/1.1"]);
    let connection = ClientConnection::new(config, name.try_into().unwrap()).unwrap();
    answer(&mut BufReader::new(StreamOwned::new(connection, connect(address))), bytes)
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn answer<S: std::io::Read + Write>(stream: &mut BufReader<S>, bytes: &[u8]) -> Answer
where
    BufReader<S>: BufRead,
{
    // The server may have closed the connection before it has read all.
    let _ = stream.get_mut().write_all(bytes);
    match read_response(stream, false) {
        Some(response) => Answer::of(response.status, response.body),
        None => Answer::ended("closed"),
    }
}

/// A text of a request as a cell of a table.
pub(super) fn shown(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| format!("`{}`", line.escape_debug().to_string().replace("\\\"", "\"")))
        .collect();
    lines.join(" ")
}
