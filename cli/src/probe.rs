//! `portolan probe`: sends requests to an HTTP or DNS server until one succeeds. For `helm test` and exec probes: the image has no other
//! program.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::command_error::CommandError;
use crate::output;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// The URL: `http://HOST[:PORT]/PATH` or `dns://HOST[:PORT]/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeUrl {
    /// A GET request, which a status of 200 to 399 answers.
    Http {
        /// Host and port.
        host: (String, u16),
        /// The path.
        path: String,
    },
    /// A query for A records over UDP and over TCP, which NOERROR with a record answers.
    Dns {
        /// Host and port.
        host: (String, u16),
        /// The name.
        name: String,
    },
}

impl FromStr for ProbeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?}: wanted http://HOST[:PORT]/PATH or dns://HOST[:PORT]/NAME");
        let (scheme, rest) = text.split_once("://").ok_or_else(wanted)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = |default| parse_host(authority, default).ok_or_else(wanted);
        match scheme {
            "http" => Ok(Self::Http { host: host(80)?, path: format!("/{path}") }),
            "dns" if !path.is_empty() => Ok(Self::Dns { host: host(53)?, name: path.to_owned() }),
            _ => Err(wanted()),
        }
    }
}

/// Splits a host and a port. An IPv6 address may lack its brackets if there is no port: environment variables of Services have none.
fn parse_host(authority: &str, default: u16) -> Option<(String, u16)> {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_owned();
    let is_address = bare(authority).parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !is_address => (bare(host), port.parse().ok()?),
        _ => (bare(authority), default),
    };
    (!host.is_empty()).then_some((host, port))
}

/// Asks until there is the right answer, at most for `timeout`.
///
/// # Errors
/// The reason of the last failure.
pub fn run(url: &ProbeUrl, timeout: Duration) -> Result<(), CommandError> {
    let start = Instant::now();
    loop {
        match ask(url) {
            Ok(answer) => {
                output::print(format!("{answer}\n"));
                return Ok(());
            }
            Err(reason) if start.elapsed() + PAUSE > timeout => return Err(CommandError::outside(reason)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn ask(url: &ProbeUrl) -> Result<String, String> {
    let (ProbeUrl::Http { host, .. } | ProbeUrl::Dns { host, .. }) = url;
    let mut addresses =
        (host.0.as_str(), host.1).to_socket_addrs().map_err(|error| format!("{}: {error}", host.0))?;
    let address = addresses.next().ok_or_else(|| format!("{}: no address", host.0))?;
    let asked = match url {
        ProbeUrl::Http { host, path } => request(address, &host.0, path),
        ProbeUrl::Dns { name, .. } => lookup(address, name),
    };
    asked.map_err(|reason| format!("{address}: {reason}"))
}

fn request(address: SocketAddr, host: &str, path: &str) -> Result<String, String> {
    let mut stream = connect(address)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: portolan-probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).map_err(|error| error.to_string())?;
    // `HTTP/1.1 200`.
    let mut line = [0; 12];
    stream.read_exact(&mut line).map_err(|error| format!("no response: {error}"))?;
    let status: u16 =
        std::str::from_utf8(&line[9..]).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    match status {
        200..400 => Ok(format!("{path}: status {status}")),
        _ => Err(format!("{path}: status {status}")),
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&address, ATTEMPT).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(ATTEMPT)).map_err(|error| error.to_string())?;
    Ok(stream)
}

fn lookup(address: SocketAddr, name: &str) -> Result<String, String> {
    let query = query(name)?;
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let mut reply = [0; 4096];
    let mut udp = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(ATTEMPT))?;
        socket.send(&query)?;
        socket.recv(&mut reply)
    };
    let length = udp().map_err(|error| format!("UDP: {}", describe(&error)))?;
    check(&query, &reply[..length]).map_err(|reason| format!("UDP: {name}: {reason}"))?;

    let mut stream = connect(address).map_err(|reason| format!("TCP: {reason}"))?;
    let mut length = [0; 2];
    let mut tcp = || -> std::io::Result<Vec<u8>> {
        stream.write_all(&[&[0, query.len() as u8], &query[..]].concat())?;
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply)?;
        Ok(reply)
    };
    let reply = tcp().map_err(|error| format!("TCP: {}", describe(&error)))?;
    check(&query, &reply).map_err(|reason| format!("TCP: {name}: {reason}"))?;
    Ok(format!("{name}: NOERROR over UDP and TCP"))
}

/// The error in words; a timeout of a socket is `WouldBlock`.
fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("no reply within {} s", ATTEMPT.as_secs()),
        _ => error.to_string(),
    }
}

/// A query for the A records of a name (RFC 1035 §4.1), with recursion desired. It is shorter than 256 bytes.
fn query(name: &str) -> Result<Vec<u8>, String> {
    let id = (std::process::id() as u16).to_be_bytes();
    let mut query = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(format!("{name:?} is not a name"));
        }
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    if query.len() < 256 { Ok(query) } else { Err(format!("{name:?} is too long")) }
}

/// Whether a message is a reply to the query with NOERROR and a record.
fn check(query: &[u8], reply: &[u8]) -> Result<(), String> {
    match reply {
        [a, b, flags, code, _, _, c, d, ..] if [*a, *b] == query[..2] && flags & 0x80 != 0 => {
            match (code & 0xf, c | d) {
                (0, 1..) => Ok(()),
                (0, 0) => Err("no record".to_owned()),
                (3, _) => Err("NXDOMAIN".to_owned()),
                (2, _) => Err("SERVFAIL".to_owned()),
                (code, _) => Err(format!("response code {code}")),
            }
        }
        _ => Err("the reply is to another query".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn urls_name_the_protocol_the_server_and_the_question() {
        let host = |name: &str, port| (name.to_owned(), port);
        let (path, name) = ("/healthz".to_owned(), "web.example.test".to_owned());
        for (text, wanted) in [
            ("http://web.shop/healthz", ProbeUrl::Http { host: host("web.shop", 80), path: path.clone() }),
            (
                "http://[fd00::1]:8080/healthz",
                ProbeUrl::Http { host: host("fd00::1", 8080), path: path.clone() },
            ),
            ("http://web.shop", ProbeUrl::Http { host: host("web.shop", 80), path: "/".to_owned() }),
            (
                "dns://10.96.0.10/web.example.test",
                ProbeUrl::Dns { host: host("10.96.0.10", 53), name: name.clone() },
            ),
            (
                "dns://fd00::10/web.example.test",
                ProbeUrl::Dns { host: host("fd00::10", 53), name: name.clone() },
            ),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        for text in ["", "web.shop", "https://web.shop/", "dns://10.96.0.10", "dns:///name", "http://web:x/"]
        {
            assert!(text.parse::<ProbeUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_status_from_200_to_399_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).unwrap();
                assert!(head[..length].starts_with(b"GET /healthz HTTP/1.1\r\nHost: web.shop\r\n"));
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
            }
        });
        assert_eq!(request(address, "web.shop", "/healthz"), Ok("/healthz: status 200".to_owned()));
        assert_eq!(request(address, "web.shop", "/healthz"), Err("/healthz: status 503".to_owned()));
        server.join().unwrap();
    }

    #[test]
    fn only_a_record_in_a_reply_to_the_query_is_an_answer() {
        let query = query("web.example.test.").unwrap();
        assert_eq!(&query[12..], b"\x03web\x07example\x04test\0\0\x01\0\x01");
        let reply = |flags: u8, code: u8, records: u8| {
            [query[0], query[1], flags, code, 0, 1, 0, records, 0, 0, 0, 0]
        };
        for (reply, wanted) in [
            (reply(0x81, 0x80, 1), Ok(())),
            (reply(0x81, 0x80, 0), Err("no record")),
            (reply(0x81, 0x83, 0), Err("NXDOMAIN")),
            (reply(0x81, 0x82, 0), Err("SERVFAIL")),
            (reply(0x01, 0x80, 1), Err("the reply is to another query")),
        ] {
            assert_eq!(check(&query, &reply), wanted.map_err(str::to_owned), "{reply:?}");
        }
        assert!(check(&query, &[]).is_err());
        assert!(super::query("a..b").is_err() && super::query(&"a".repeat(64)).is_err());
    }
}
