//! Several datagrams per system call.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const PACKET: usize = 1500;

/// Buffers for a batch of datagrams, each with the address it came from and goes back to.
pub(crate) struct Batch {
    packets: Vec<[u8; PACKET]>,
    names: Vec<libc::sockaddr_storage>,
    lengths: Vec<usize>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Batch {
    /// Buffers for up to `size` datagrams.
    pub(crate) fn new(size: usize) -> Self {
        // SAFETY: all three are plain C structures for which zero means empty.
        let (name, vector, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            packets: vec![[0; PACKET]; size],
            names: vec![name; size],
            lengths: vec![0; size],
            vectors: vec![vector; size],
            headers: vec![header; size],
        }
    }

    /// Receives what is there; with `wait` at least one. The sender's address is kept.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> usize {
        let size = self.packets.len();
        self.lengths.fill(PACKET);
        self.point(size, wait);
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: `point` made every header refer to buffers of this value, which outlive the call.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                size as u32,
                flags,
                std::ptr::null_mut(),
            )
        };
        let got = usize::try_from(got).unwrap_or(0);
        for index in 0..got {
            self.lengths[index] = (self.headers[index].msg_len as usize).min(PACKET);
        }
        got
    }

    /// A datagram that was received.
    pub(crate) fn packet(&self, index: usize) -> &[u8] {
        &self.packets[index][..self.lengths[index]]
    }

    /// Room to turn a received datagram into its answer, and the length it has.
    pub(crate) fn packet_mut(&mut self, index: usize) -> (&mut [u8; PACKET], &mut usize) {
        (&mut self.packets[index], &mut self.lengths[index])
    }

    /// Lays a datagram in place for a connected socket.
    pub(crate) fn put(&mut self, index: usize, packet: &[u8]) {
        self.packets[index][..packet.len()].copy_from_slice(packet);
        self.lengths[index] = packet.len();
    }

    /// Sends the first `count` over a connected socket, or with `send_back` to where they came from.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize) -> usize {
        self.point(count, false);
        self.send_pointed(socket, count)
    }

    /// Sends the first `count` to where they came from.
    pub(crate) fn send_back(&mut self, socket: &UdpSocket, count: usize) -> usize {
        self.point(count, true);
        self.send_pointed(socket, count)
    }

    fn send_pointed(&mut self, socket: &UdpSocket, count: usize) -> usize {
        // SAFETY: `point` made these headers refer to buffers of this value, which outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as u32, 0) };
        usize::try_from(sent).unwrap_or(0)
    }

    fn point(&mut self, count: usize, with_names: bool) {
        for index in 0..count {
            self.vectors[index] = libc::iovec {
                iov_base: self.packets[index].as_mut_ptr().cast(),
                iov_len: self.lengths[index],
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_name =
                if with_names { (&raw mut self.names[index]).cast() } else { std::ptr::null_mut() };
            // Only IPv4 comes and goes here, and sending wants the length exact.
            header.msg_namelen = if with_names { size_of::<libc::sockaddr_in>() as u32 } else { 0 };
        }
    }
}
