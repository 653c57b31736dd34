//! Connections to upstreams, and the texts of their errors.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// Connects, from the source address if one is configured.
pub(super) async fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let failed = |call, error| operation_failed("dial tcp", to, call, error);
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| failed("socket", error))?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| failed("bind", error))?;
    }
    let stream = socket.connect(to).await.map_err(|error| failed("connect", error))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A UDP socket that sends to an address and receives only from it.
pub(super) async fn connect_udp(to: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let failed = |call, error| operation_failed("dial udp", to, call, error);
    let any = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).await.map_err(|error| failed("bind", error))?;
    socket.connect(to).await.map_err(|error| failed("connect", error))?;
    Ok(socket)
}

/// A failed operation in the words of Go, which the patterns of `errors` match: `read udp 10.0.0.1:53: i/o timeout`. The own address,
/// which Go adds, is left out: its port is another one for each query, so that equal failures would have different texts.
#[derive(Debug)]
struct OperationError(String);

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OperationError {}

/// The error of an operation such as `read udp`, whose system call has failed. Other errors stay as they are.
pub(super) fn operation_failed(operation: &str, to: SocketAddr, call: &str, error: io::Error) -> io::Error {
    if error.raw_os_error().is_none() {
        return error;
    }
    let text = format!("{operation} {to}: {call}: {}", net::error_text(&error));
    io::Error::new(error.kind(), OperationError(text))
}

/// The error of an operation such as `read udp` that has taken too long.
pub(super) fn operation_timed_out(operation: &str, to: SocketAddr) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, OperationError(format!("{operation} {to}: i/o timeout")))
}

/// A timeout of a connection that is shared, worded as in Go.
pub(super) fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what}: i/o timeout"))
}

/// The text of a failed exchange, which names the upstream.
pub(super) fn failure_text(to: &str, error: &io::Error) -> String {
    match error.get_ref().is_some_and(|inner| inner.is::<OperationError>()) {
        true => error.to_string(),
        false => format!("{to}: {}", net::error_text(error)),
    }
}
