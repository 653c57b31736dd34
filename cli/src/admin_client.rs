//! Reads pages of the admin address of a running instance.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use telemetry::AdminAddress;

use crate::command_error::CommandError;

/// How long a connection and each read may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest response that is read.
const MAX_RESPONSE: u64 = 256 << 20;

/// A client of one admin address.
#[derive(Clone, Debug)]
pub struct AdminClient(pub AdminAddress);

impl AdminClient {
    /// The body of a page. `target` has the path and the query.
    ///
    /// # Errors
    /// When there is no response, or one whose status is not 200 (exit code 1).
    pub fn get(&self, target: &str) -> Result<Vec<u8>, CommandError> {
        let failed = |reason: String| CommandError::outside(format!("{}: {reason}", self.0));
        self.get_with(target, "").map_err(failed)
    }

    /// The body of a page. `lines` are more lines of the head, each with CRLF.
    pub fn get_with(&self, target: &str, lines: &str) -> Result<Vec<u8>, String> {
        let (status, body) = self.exchange(target, lines)?;
        match status {
            200 => Ok(body),
            _ => Err(format!("status {status}: {}", String::from_utf8_lossy(&body).trim_end())),
        }
    }

    /// Sends a request, and returns status and body of its response.
    fn exchange(&self, target: &str, lines: &str) -> Result<(u16, Vec<u8>), String> {
        let authority = self.0.authority();
        let mut addresses =
            (self.0.host(), self.0.port()).to_socket_addrs().map_err(|error| error.to_string())?;
        let address = addresses.next().ok_or("the host has no address")?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| error.to_string())?;
        let mut exchange = || {
            stream.set_read_timeout(Some(TIMEOUT))?;
            let head =
                format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n{lines}Connection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let mut response = Vec::new();
            (&stream).take(MAX_RESPONSE).read_to_end(&mut response)?;
            Ok(response)
        };
        let response = exchange().map_err(|error: std::io::Error| error.to_string())?;
        split(&response).ok_or_else(|| "the response is not one of an admin address".to_owned())
    }
}

/// Status and body of a response with a length, which ends with the connection.
fn split(response: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&response[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map(|(_, value)| value.trim().parse().ok()).next()??;
    let body = response.get(end + 4..end + 4 + length)?;
    Some((status, body.to_vec()))
}

/// A value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_status_and_a_body_of_its_length() {
        let response = |text: &str| split(text.as_bytes());
        assert_eq!(response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Some((200, b"ok".to_vec())));
        assert_eq!(response("HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n"), Some((404, Vec::new())));
        for cut in [
            "",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            "SSH-2.0\r\n\r\n",
        ] {
            assert_eq!(response(cut), None, "{cut:?}");
        }
    }
}
