//! UDP sockets that share a port, one per thread.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use net::BindError;
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes that the kernel may queue for a socket while its thread is busy. Capped at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Opens `count` sockets on one address. With port 0 the system chooses one port for all of them.
///
/// The unspecified IPv6 address receives IPv4 too; on a system without IPv6 the unspecified IPv4 address is used. `beside` if other
/// sockets of this process overlap, such as those of the wildcard address; the kernel prefers the more specific address.
pub(crate) fn open(address: SocketAddr, count: usize, beside: bool) -> Result<Vec<Socket>, BindError> {
    match open_shared(address, count, beside) {
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED && !has_ipv6() => {
            open_shared(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), count, beside)
        }
        opened => opened,
    }
}

fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))
        .and_then(|socket| socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()))
        .is_ok()
}

fn open_shared(address: SocketAddr, count: usize, beside: bool) -> Result<Vec<Socket>, BindError> {
    let fail = |cause| BindError { address, cause };
    if address.port() != 0 && !beside {
        // With SO_REUSEPORT a second process of the same user would silently receive half of the queries. A first
        // socket without the option checks that the port is free.
        bind(address, false).map_err(fail)?;
    }
    let mut exact = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = bind(exact, true).map_err(fail)?;
        exact = local(&socket).map_err(fail)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn bind(address: SocketAddr, reuse: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_port(reuse)?;
    if address.ip().is_unspecified() {
        request_packet_info(&socket, address.is_ipv6())?;
    }
    // If the size cannot be set, the kernel's default applies.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Makes the kernel report the destination address of each packet, so that the reply can be sent from it.
fn request_packet_info(socket: &Socket, ipv6: bool) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the value is a c_int that outlives the call, and its size is given.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The address that a socket is bound to.
pub(crate) fn local(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_reported_even_if_its_owner_set_reuse_port() {
        let held = open("127.0.0.1:0".parse().unwrap(), 2, false).unwrap();
        let address = local(&held[0]).unwrap();
        assert_eq!(local(&held[1]).unwrap(), address, "one port for both");
        let error = open(address, 1, false).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}: the address is in use"));
        let wildcard = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
        assert!(open(wildcard, 1, false).is_err());
        assert!(open(wildcard, 1, true).is_ok(), "the wildcard address beside it");
    }
}
