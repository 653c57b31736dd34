//! HTTP requests of the OCSP thread: small, with limits of time and size. The thread may block.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use http::Uri;
use ingress_routes::refused_address;

/// How long a request may take, name lookup excluded.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response in bytes.
const MAX_RESPONSE: u64 = 64 << 10;

/// Sends the requests.
#[derive(Clone, Copy)]
pub(super) struct Fetcher {
    /// Whether addresses that only this machine or its network segment has may be asked.
    pub(super) allow_local: bool,
}

impl Fetcher {
    /// The body of the response to a POST.
    ///
    /// # Errors
    /// Why there is none, as a clause.
    pub(super) fn post(self, url: &str, content_type: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        let fields = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        self.request("POST", url, &fields, body)
    }

    /// The body of the response to a GET.
    ///
    /// # Errors
    /// Why there is none, as a clause.
    pub(super) fn get(self, url: &str) -> Result<Vec<u8>, String> {
        self.request("GET", url, "", b"")
    }

    fn request(self, method: &str, url: &str, fields: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        let url: Uri = url.parse().map_err(|_| "the URL is malformed".to_owned())?;
        let host = url.host().ok_or("the URL has no host")?;
        let authority = url.authority().map_or(host, |authority| authority.as_str());
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let until = Instant::now() + TIMEOUT;
        let mut stream = self.connect(host, url.port_u16().unwrap_or(80), until)?;
        let head = format!("{method} {target} HTTP/1.0\r\nHost: {authority}\r\n{fields}\r\n");
        let failed = |error: std::io::Error| error.to_string();
        stream.write_all(&[head.as_bytes(), body].concat()).map_err(failed)?;
        let mut response = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("the response takes too long".to_owned());
            }
            stream.set_read_timeout(Some(left)).map_err(failed)?;
            match (&mut stream).take(MAX_RESPONSE + 1 - response.len() as u64).read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => response.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
            if is_complete(&response) {
                break;
            }
            if response.len() as u64 > MAX_RESPONSE {
                return Err("the response is too large".to_owned());
            }
        }
        body_of(&response)
    }

    fn connect(self, host: &str, port: u16, until: Instant) -> Result<TcpStream, String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
        let mut last = "the host has no address".to_owned();
        for address in addresses {
            // Certificates come from Secrets of any namespace: no request goes to this machine, or to clouds' metadata.
            if let Some(refused) = refused_address(address.ip()).filter(|_| !self.allow_local) {
                last = format!("{} may not be connected to: it is {refused}", address.ip());
                continue;
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(left)).map_err(|error| error.to_string())?;
                    return Ok(stream);
                }
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(last)
    }
}

/// The end of the head and the length of the body, if it is given.
fn framing(response: &[u8]) -> Option<(usize, Option<usize>)> {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&response[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((end, length))
}

fn is_complete(response: &[u8]) -> bool {
    framing(response).is_some_and(|(end, length)| length.is_some_and(|length| response.len() - end >= length))
}

fn body_of(response: &[u8]) -> Result<Vec<u8>, String> {
    let (end, length) = framing(response).ok_or("the response is not HTTP")?;
    let head = String::from_utf8_lossy(&response[..end]);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => {}
        (Some(version), Some(status)) if version.starts_with("HTTP/1.") => {
            return Err(format!("the server answers {status:.3}"));
        }
        _ => return Err("the response is not HTTP".to_owned()),
    }
    let body = &response[end..];
    match length {
        Some(length) if body.len() < length => Err("the response is cut".to_owned()),
        Some(length) => Ok(body[..length].to_vec()),
        None => Ok(body.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_responses_with_200_have_a_body() {
        for (response, wanted) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Ok("ab")),
            ("HTTP/1.0 200 OK\r\n\r\nabc", Ok("abc")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Err("cut")),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err("404")),
            ("SSH-2.0\r\n\r\n", Err("not HTTP")),
            ("HTTP/1.1 200 OK\r\n", Err("not HTTP")),
        ] {
            match (body_of(response.as_bytes()), wanted) {
                (Ok(body), Ok(wanted)) => assert_eq!(body, wanted.as_bytes()),
                (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{error}"),
                (found, _) => panic!("{response:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_response_that_is_too_large_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x?y", listener.local_addr().unwrap());
        let fetcher = Fetcher { allow_local: true };
        let server = std::thread::spawn(move || {
            for length in [10, 70_000] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                assert!(request.starts_with("POST /x?y HTTP/1.0\r\nHost: 127.0.0.1:"), "{request}");
                // The client closes before it has read everything.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                let _ = stream.write_all(&vec![b'x'; length]);
            }
        });
        assert_eq!(fetcher.post(&url, "text/plain", b"q").unwrap(), [b'x'; 10]);
        assert_eq!(fetcher.post(&url, "text/plain", b"q").unwrap_err(), "the response is too large");
        server.join().unwrap();
    }

    #[test]
    fn neither_this_machine_nor_link_local_addresses_are_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let fetcher = Fetcher { allow_local: false };
        for host in [
            "127.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::1]",
            "0.0.0.0",
            "localhost",
            "169.254.169.254",
            "[fe80::1]",
        ] {
            let url = format!("http://{host}:{port}/");
            let errors = [fetcher.get(&url).unwrap_err(), fetcher.post(&url, "text/plain", b"").unwrap_err()];
            assert!(
                errors.iter().all(|error| error.contains("may not be connected to")),
                "{url}: {errors:?}"
            );
        }
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
