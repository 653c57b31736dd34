//! Listening TCP sockets: one per worker on the same address, so that the kernel distributes the connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait for `accept`. The kernel reduces it to `net.core.somaxconn`, the value that ingress-nginx uses.
const BACKLOG: i32 = 65_535;

/// An address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The requested address.
    pub address: SocketAddr,
    /// The error of the system call.
    pub cause: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, cause } = self;
        match cause.kind() {
            io::ErrorKind::AddrInUse => write!(f, "cannot listen on {address}: the address is in use"),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "cannot listen on {address}: this machine has no such address")
            }
            io::ErrorKind::PermissionDenied if address.port() < 1024 => {
                write!(f, "cannot listen on {address}: ports below 1024 need the capability NET_BIND_SERVICE")
            }
            _ => write!(f, "cannot listen on {address}: {cause}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Opens `count` listeners on one address. With port 0 the system chooses a port, and all of them share it.
///
/// `SO_REUSEPORT` would let a second process of the same user bind the address too and receive half of the connections without
/// an error. A first socket without that option therefore checks that the address is free.
///
/// # Errors
/// When the address is in use, is not one of this machine or may not be bound.
pub fn listen(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    if address.port() != 0 {
        probe(address).map_err(|cause| BindError { address, cause })?;
    }
    listen_beside(address, count)
}

/// Like [`listen`], without the check that the address is free: another listener of this process overlaps with it, such as one on
/// the wildcard address. The kernel prefers the listener with the more specific address.
///
/// # Errors
/// When the address is in use by another user, is not one of this machine or may not be bound.
pub fn listen_beside(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |cause| BindError { address, cause };
    let mut exact = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = open(exact).map_err(fail)?;
        socket.set_reuse_port(true).map_err(fail)?;
        socket.bind(&exact.into()).map_err(fail)?;
        socket.listen(BACKLOG).map_err(fail)?;
        let listener = TcpListener::from(socket);
        exact = listener.local_addr().map_err(fail)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// IPv6 sockets accept IPv6 only, so that `0.0.0.0` and `[::]` can be bound on the same port.
fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn workers_share_one_port() {
        let listeners = listen(ANY.parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }

    #[test]
    fn an_address_in_use_is_an_error_even_if_its_owner_set_reuse_port() {
        let held = listen(ANY.parse().unwrap(), 1).unwrap();
        let address = held[0].local_addr().unwrap();
        let error = listen(address, 2).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}: the address is in use"));
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        let error = listen("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:0: this machine has no such address");
    }

    #[test]
    fn ipv4_and_ipv6_can_have_the_same_port() {
        let v4 = listen("0.0.0.0:0".parse().unwrap(), 1).unwrap();
        let port = v4[0].local_addr().unwrap().port();
        match listen(SocketAddr::new("::".parse().unwrap(), port), 1) {
            Ok(v6) => assert_eq!(v6[0].local_addr().unwrap().port(), port),
            Err(error) => assert_ne!(error.cause.kind(), io::ErrorKind::AddrInUse, "{error}"),
        }
    }
}
