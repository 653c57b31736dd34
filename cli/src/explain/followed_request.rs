//! Sends the request of `portolan explain --trace`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use explain::ExplainedRequest;
use ingress_routes::RequestScheme;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// How long the connection and each read may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the response that are read; then the connection is closed.
const MAX_RESPONSE: u64 = 1 << 20;

/// Sends a request with a secret to an address, or to that of its URL if it is empty, and reads its response. The certificate is not
/// verified: nothing secret is sent but the secret itself, which is good for one report.
///
/// # Errors
/// When there is no response.
pub(super) fn send(request: &ExplainedRequest, address: &str, secret: &str) -> Result<(), String> {
    let is_tls = request.scheme == RequestScheme::Https;
    let (host, has_port) = host(&request.authority);
    let address = match address {
        "" if has_port => request.authority.clone(),
        "" => format!("{}:{}", request.authority, if is_tls { 443 } else { 80 }),
        given => given.to_owned(),
    };
    let failed = |error: io::Error| format!("{address}: {error}");
    let mut found = address.to_socket_addrs().map_err(failed)?;
    let found = found.next().ok_or_else(|| format!("{address}: the host has no address"))?;
    let stream = TcpStream::connect_timeout(&found, TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    let head = head(request, secret)?;
    if !is_tls {
        return exchange(stream, &head).map_err(failed);
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let client =
        ClientConnection::new(net::tls_client::unverified(), name).map_err(|error| error.to_string())?;
    exchange(StreamOwned::new(client, stream), &head).map_err(failed)
}

/// The host of an authority without brackets, and whether a port follows it.
fn host(authority: &str) -> (&str, bool) {
    let (host, has_port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !authority.ends_with(']') => (host, true),
        _ => (authority, false),
    };
    (host.trim_matches(['[', ']']), has_port)
}

fn head(request: &ExplainedRequest, secret: &str) -> Result<String, String> {
    let ExplainedRequest { method, target, authority, headers, .. } = request;
    let is_host = |header: &String| header.to_ascii_lowercase().starts_with("host:");
    let mut lines = vec![format!("{method} {target} HTTP/1.1")];
    if !headers.iter().any(is_host) {
        lines.push(format!("Host: {authority}"));
    }
    lines.extend(headers.iter().cloned());
    if !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE") {
        lines.push("Content-Length: 0".to_owned());
    }
    lines.extend([format!("X-Portolan-Follow: {secret}"), "Connection: close".to_owned()]);
    match lines.iter().find(|line| line.contains(char::is_control)) {
        Some(line) => Err(format!("{line:?} has a control character")),
        None => Ok(lines.join("\r\n") + "\r\n\r\n"),
    }
}

fn exchange(mut stream: impl Read + Write, head: &str) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let read = io::copy(&mut stream.take(MAX_RESPONSE), &mut io::sink());
    match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        // A server that closes without a closing TLS message has answered nevertheless, and the report tells more.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_carries_the_secret_and_no_line_of_another() {
        let mut request = ExplainedRequest::get("http://shop.test:8080/a?b").unwrap();
        request.method = "POST".to_owned();
        request.headers.push("Cookie: a=b".to_owned());
        assert_eq!(
            head(&request, "s").unwrap(),
            "POST /a?b HTTP/1.1\r\nHost: shop.test:8080\r\nCookie: a=b\r\nContent-Length: 0\r\n\
             X-Portolan-Follow: s\r\nConnection: close\r\n\r\n"
        );
        request.headers.push("X: a\r\nY: b".to_owned());
        assert!(head(&request, "s").is_err());
    }

    #[test]
    fn a_port_is_not_part_of_the_host() {
        for (authority, wanted) in [
            ("shop.test", ("shop.test", false)),
            ("shop.test:8080", ("shop.test", true)),
            ("[::1]", ("::1", false)),
            ("[::1]:80", ("::1", true)),
        ] {
            assert_eq!(host(authority), wanted, "{authority}");
        }
    }
}
