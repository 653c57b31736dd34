//! UDP sockets of servers: one per worker on the same address, and replies from the address that a client has sent to.
//!
//! On a host with several addresses a reply from a socket on the wildcard address would have the address of the route to the client as its
//! source, and the client would ignore it. The kernel therefore reports the destination of each datagram (`IP_PKTINFO`, ip(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, send, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, Ready};

use crate::listen::BindError;

/// Opens `count` sockets on one address. With port 0 the system chooses a port, and all of them share it. The kernel sends all datagrams
/// of a client to the same socket.
///
/// # Errors
/// When the address is in use, is not one of this machine or may not be bound.
pub fn open(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, BindError> {
    if address.port() != 0 {
        bind(address, false).map_err(|cause| BindError { address, cause })?;
    }
    open_beside(address, count)
}

/// Like [`open`], without the check that the address is free: sockets of this process have it still.
///
/// # Errors
/// When the address is in use by another user, is not one of this machine or may not be bound.
pub fn open_beside(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, BindError> {
    let fail = |cause| BindError { address, cause };
    let mut exact = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = bind(exact, true).map_err(fail)?;
        exact = socket.local_addr().map_err(fail)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A UDP socket that knows the destination of each datagram.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: tokio::net::UdpSocket,
    address: SocketAddr,
}

/// A received datagram; its bytes are in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// How many bytes it has. A longer one than the buffer is cut.
    pub length: usize,
    /// The sender.
    pub peer: SocketAddr,
    /// The address that it was sent to.
    pub local: IpAddr,
}

impl DatagramSocket {
    /// Takes a socket that [`open`] has opened. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, address })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a datagram may have arrived.
    ///
    /// # Errors
    /// When the runtime is shut down.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives a datagram, if one has arrived; otherwise the error is [`io::ErrorKind::WouldBlock`].
    ///
    /// # Errors
    /// When the system call fails.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        if !self.address.ip().is_unspecified() {
            let (length, peer) = self.socket.try_recv_from(buffer)?;
            return Ok(Datagram { length, peer, local: self.address.ip() });
        }
        self.socket.try_io(Interest::READABLE, || self.receive_with_destination(buffer))
    }

    fn receive_with_destination(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let peer = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::InvalidData)?;
        let destination = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::from(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        Ok(Datagram { length: message.bytes, peer, local: destination.unwrap_or(self.address.ip()) })
    }

    /// Sends a datagram from an address of this host, if the socket has room for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it has none, or when the system call fails.
    pub fn try_send(&self, bytes: &[u8], peer: SocketAddr, local: IpAddr) -> io::Result<()> {
        let (parts, peer) = ([IoSlice::new(bytes)], SockaddrStorage::from(peer));
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(self.socket.as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT, Some(&peer))
        };
        match local {
            _ if !self.address.ip().is_unspecified() || local.is_unspecified() => send(&[]),
            IpAddr::V4(ip) => {
                let source = libc::in_addr { s_addr: u32::from(ip).to_be() };
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: source,
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            IpAddr::V6(ip) => {
                let info =
                    libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: ip.octets() } };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])
            }
        }?;
        Ok(())
    }
}

/// Sends a datagram on a connected socket, if it has room for it. tokio would refuse to send on a socket whose readiness it does not know
/// yet.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when it has none, or when the system call fails.
pub fn try_send(socket: &tokio::net::UdpSocket, bytes: &[u8]) -> io::Result<()> {
    send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// Waits until a connected socket may have received a datagram. tokio alone does not end the wait when the socket has an error.
///
/// # Errors
/// The error of the socket, such as that the peer's port is closed (ICMP).
pub async fn readable(socket: &tokio::net::UdpSocket) -> io::Result<()> {
    let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
    take_error(socket, ready).map_or(Ok(()), Err)
}

/// The error of a connected socket that is ready, such as that the peer's port is closed.
pub fn take_error(socket: &tokio::net::UdpSocket, ready: Ready) -> Option<io::Error> {
    if !ready.is_error() {
        return None;
    }
    let error = socket.take_error().ok().flatten();
    // The socket is not ready again before its next error.
    let _: io::Result<()> = socket.try_io(Interest::ERROR, || Err(io::ErrorKind::WouldBlock.into()));
    error
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_an_error_even_if_its_owner_shares_it() {
        let held = open("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = held[0].local_addr().unwrap();
        assert_eq!(held[1].local_addr().unwrap(), address, "one port for both");
        let error = open(address, 1).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}: the address is in use"));
        assert!(open_beside(address, 1).is_ok());
    }

    #[tokio::test]
    async fn a_closed_port_ends_the_wait_for_a_reply() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(closed).await.unwrap();
        for _ in 0..2 {
            client.send(b"question").await.unwrap();
            let error = readable(&client).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[tokio::test]
    async fn a_reply_comes_from_the_address_that_the_client_has_sent_to() {
        for (listener, server, client) in [
            ("0.0.0.0:0", "127.0.0.9", "127.0.0.1:0"),
            ("127.0.0.8:0", "127.0.0.8", "127.0.0.1:0"),
            ("[::]:0", "::1", "[::1]:0"),
        ] {
            let (server, client): (IpAddr, SocketAddr) = (server.parse().unwrap(), client.parse().unwrap());
            if server.is_ipv6() && UdpSocket::bind(client).is_err() {
                eprintln!("this machine has no IPv6: {listener} is not tested");
                continue;
            }
            let socket = DatagramSocket::new(open(listener.parse().unwrap(), 1).unwrap().remove(0)).unwrap();
            let client = tokio::net::UdpSocket::bind(client).await.unwrap();
            client.connect((server, socket.address().port())).await.unwrap();
            client.send(b"question").await.unwrap();
            let mut buffer = [0; 100];
            socket.readable().await.unwrap();
            let datagram = socket.try_receive(&mut buffer).unwrap();
            assert_eq!(&buffer[..datagram.length], b"question", "{listener}");
            let expected = Datagram { length: 8, peer: client.local_addr().unwrap(), local: server };
            assert_eq!(datagram, expected, "{listener}");
            socket.try_send(b"answer", datagram.peer, datagram.local).unwrap();
            // The connected socket receives only what has the server's address as its source.
            assert_eq!(client.recv(&mut buffer).await.unwrap(), 6, "{listener}");
        }
    }
}
