//! Batched UDP: several datagrams per system call.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const PACKET: usize = 1500;

/// Buffers for a batch of datagrams and their peer addresses.
pub(crate) struct Batch {
    packets: Vec<[u8; PACKET]>,
    addresses: Vec<libc::sockaddr_storage>,
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
            addresses: vec![name; size],
            lengths: vec![0; size],
            vectors: vec![vector; size],
            headers: vec![header; size],
        }
    }

    /// Receives the datagrams that are available; with `wait`, blocks until there is at least one and stores the senders'
    /// addresses.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> usize {
        let size = self.packets.len();
        self.lengths.fill(PACKET);
        self.set_headers(size, wait);
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: `point` made every header refer to buffers of this value, which outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                size as u32,
                flags,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).unwrap_or(0);
        for index in 0..received {
            self.lengths[index] = (self.headers[index].msg_len as usize).min(PACKET);
        }
        received
    }

    /// The content of a received datagram.
    pub(crate) fn packet(&self, index: usize) -> &[u8] {
        &self.packets[index][..self.lengths[index]]
    }

    /// The buffer and the length of a received datagram, for turning it into a reply in place.
    pub(crate) fn packet_mut(&mut self, index: usize) -> (&mut [u8; PACKET], &mut usize) {
        (&mut self.packets[index], &mut self.lengths[index])
    }

    /// Copies a datagram into the batch.
    pub(crate) fn copy_in(&mut self, index: usize, packet: &[u8]) {
        self.packets[index][..packet.len()].copy_from_slice(packet);
        self.lengths[index] = packet.len();
    }

    /// Sends the first `count` datagrams over a connected socket.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize) -> usize {
        self.set_headers(count, false);
        self.send_prepared(socket, count)
    }

    /// Sends the first `count` datagrams to the addresses that they were received from.
    pub(crate) fn send_back(&mut self, socket: &UdpSocket, count: usize) -> usize {
        self.set_headers(count, true);
        self.send_prepared(socket, count)
    }

    fn send_prepared(&mut self, socket: &UdpSocket, count: usize) -> usize {
        // SAFETY: `point` made these headers refer to buffers of this value, which outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as u32, 0) };
        usize::try_from(sent).unwrap_or(0)
    }

    fn set_headers(&mut self, count: usize, with_addresses: bool) {
        for index in 0..count {
            self.vectors[index] = libc::iovec {
                iov_base: self.packets[index].as_mut_ptr().cast(),
                iov_len: self.lengths[index],
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_name =
                if with_addresses { (&raw mut self.addresses[index]).cast() } else { std::ptr::null_mut() };
            // All addresses are IPv4, and sendmmsg requires the exact length.
            header.msg_namelen = if with_addresses { size_of::<libc::sockaddr_in>() as u32 } else { 0 };
        }
    }
}
