//! Receives and sends many packets with one system call each (recvmmsg(2), sendmmsg(2)).
//!
//! This is the only file of the crate that passes pointers to the kernel. All buffers of a thread are allocated once, in two
//! allocations that a [`Batch`] owns through raw pointers. The pointers inside the message headers and every reference to a
//! buffer are derived from these two pointers, and a reference covers only one element and lives only within one method. So
//! no reference to an element exists while the kernel uses it, and none invalidates the pointers in the headers.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem::{offset_of, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr::NonNull;

/// Packets of one batch. In a larger batch the reply to the first packet would wait longer.
pub(crate) const BATCH: usize = 32;
/// The longest query that is received in full. A longer one is cut and then found to be malformed.
const QUERY: usize = 4096;
/// Space for one packet-info message of either address family.
const CONTROL: usize = 64;
/// The longest reply (RFC 1035 §4.2.2 sets the same limit over TCP).
const REPLY: usize = u16::MAX as usize;
/// Space for the replies of one batch.
const REPLIES: usize = BATCH * REPLY;

/// Where a packet came from and which address it was sent to, in the kernel's form. The reply is sent along it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct ReplyPath {
    /// One control message. First, so that it is aligned like the `cmsghdr` it begins with.
    control: [u8; CONTROL],
    name: libc::sockaddr_storage,
    name_len: libc::socklen_t,
    control_len: usize,
}

/// Buffers that the kernel reads and writes. Zero is a valid value of each.
struct Buffers {
    received: [libc::mmsghdr; BATCH],
    receive_vectors: [libc::iovec; BATCH],
    reply_paths: [ReplyPath; BATCH],
    queries: [[u8; QUERY]; BATCH],
    sends: [libc::mmsghdr; BATCH],
    send_vectors: [libc::iovec; BATCH],
}

/// The buffers of one thread: the packets of the last [`Batch::receive`] and the replies to be sent.
pub(crate) struct Batch {
    /// Owned; allocated with `Layout::new::<Buffers>()`.
    buffers: NonNull<Buffers>,
    /// Owned; the replies one after the other. Pages that were never written take no memory.
    replies: NonNull<[u8; REPLIES]>,
    /// How many entries of `received` the kernel has changed in the last call.
    used: usize,
    /// Where the next reply begins.
    end: usize,
    /// Replies to be sent.
    queued: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: zero is a valid value of both types.
        let (buffers, replies) = unsafe { (allocate_zeroed::<Buffers>(), allocate_zeroed()) };
        let this = buffers.as_ptr();
        for at in 0..BATCH {
            // SAFETY: `this` is valid, owned and not otherwise in use. Only raw pointers to its elements are created, and they
            // stay valid as long as the allocation.
            unsafe {
                let query = (&raw mut (*this).queries[at]).cast();
                let vector = &raw mut (*this).receive_vectors[at];
                vector.write(libc::iovec { iov_base: query, iov_len: QUERY });
                let header = &raw mut (*this).received[at].msg_hdr;
                (*header).msg_iov = vector;
                (*header).msg_iovlen = 1;
                (*header).msg_name = (&raw mut (*this).reply_paths[at].name).cast();
                (*header).msg_control = (&raw mut (*this).reply_paths[at].control).cast();
            }
        }
        Self { buffers, replies, used: BATCH, end: 0, queued: 0 }
    }

    /// Waits for at least one packet and receives those that are queued. Returns how many.
    // Hot: 0 allocations.
    pub(crate) fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        self.receive_by(|messages| {
            // SAFETY: see `receive_by`.
            unsafe {
                libc::recvmmsg(
                    socket,
                    messages,
                    BATCH as libc::c_uint,
                    libc::MSG_WAITFORONE,
                    std::ptr::null_mut(),
                )
            }
        })
    }

    /// Passes [`BATCH`] message headers to `call`, which acts like recvmmsg(2). Each header points to a name, a control
    /// buffer and a vector of the lengths that it states. They are valid for writes, and nothing refers to them during the
    /// call.
    fn receive_by(&mut self, call: impl FnOnce(*mut libc::mmsghdr) -> libc::c_int) -> io::Result<usize> {
        let this = self.buffers.as_ptr();
        for at in 0..self.used {
            // SAFETY: `this` is valid and owned, and nothing else refers to the header.
            let header = unsafe { &mut (*this).received[at].msg_hdr };
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_controllen = CONTROL;
            header.msg_flags = 0;
        }
        (self.used, self.end, self.queued) = (0, 0, 0);
        // SAFETY: a raw pointer to the first element of the array, valid for all of it.
        let count = call(unsafe { (&raw mut (*this).received).cast() });
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.used = count.min(BATCH);
        for at in 0..self.used {
            // SAFETY: the call has ended: nothing else refers to the header and the path, which are different fields.
            let (header, path) = unsafe { (&(*this).received[at].msg_hdr, &mut (*this).reply_paths[at]) };
            path.name_len = header.msg_namelen;
            path.control_len = header.msg_controllen;
        }
        Ok(self.used)
    }

    /// A packet of the last call.
    pub(crate) fn packet(&self, at: usize) -> &[u8] {
        let this = self.buffers.as_ptr();
        // SAFETY: `this` is valid and owned, `self` is borrowed for as long as the result, and no method that takes `&self`
        // writes to it.
        let (header, query) = unsafe { (&(*this).received[at], &(*this).queries[at]) };
        &query[..(header.msg_len as usize).min(QUERY)]
    }

    /// The path of the reply to a packet.
    pub(crate) fn reply_path(&self, at: usize) -> &ReplyPath {
        // SAFETY: as in `packet`.
        unsafe { &(*self.buffers.as_ptr()).reply_paths[at] }
    }

    /// Queues the reply to a packet. `write` returns its length, 0 for no reply. At most one for each packet of the batch.
    // Hot: 0 allocations.
    pub(crate) fn reply(&mut self, at: usize, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
        // SAFETY: the slice is within the allocation, behind all replies that the queued vectors point to. Nothing else
        // refers to it.
        let room = unsafe {
            let start = self.replies.as_ptr().cast::<u8>().add(self.end);
            std::slice::from_raw_parts_mut(start, (REPLIES - self.end).min(REPLY))
        };
        let length = write(room).min(room.len());
        if length == 0 {
            return 0;
        }
        let (this, to) = (self.buffers.as_ptr(), self.queued);
        // SAFETY: `this` is valid and owned. The only reference is to the path, and it is not used after `reverse`.
        unsafe {
            let path = &mut (*this).reply_paths[at];
            path.reverse();
            let vector = &raw mut (*this).send_vectors[to];
            let start = self.replies.as_ptr().cast::<u8>().add(self.end);
            vector.write(libc::iovec { iov_base: start.cast(), iov_len: length });
            let header = &raw mut (*this).sends[to].msg_hdr;
            (*header).msg_iov = vector;
            (*header).msg_iovlen = 1;
            ReplyPath::address(&raw mut (*this).reply_paths[at], header);
        }
        self.end += length;
        self.queued += 1;
        length
    }

    /// Sends the queued replies. One that cannot be sent is dropped; the client retries, as after a loss in the network.
    // Hot: 0 allocations.
    pub(crate) fn send(&mut self, socket: RawFd) {
        self.send_by(|messages, count| {
            // SAFETY: see `send_by`.
            unsafe { libc::sendmmsg(socket, messages, count as libc::c_uint, 0) }
        });
    }

    /// Passes the headers of the queued replies to `call`, which acts like sendmmsg(2), until all are sent or dropped. Each
    /// header points to a name, a control buffer and a vector that [`Batch::reply`] has set; nothing refers to them during
    /// the call.
    fn send_by(&mut self, mut call: impl FnMut(*mut libc::mmsghdr, usize) -> libc::c_int) {
        let mut sent = 0;
        while sent < self.queued {
            // SAFETY: `sent` is below the length of the array.
            let messages = unsafe { &raw mut (*self.buffers.as_ptr()).sends[sent] };
            match usize::try_from(call(messages, self.queued - sent)) {
                Ok(count) => sent += count.max(1),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The first of them cannot be sent; the others may.
                Err(_) => sent += 1,
            }
        }
        self.queued = 0;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts, and nothing refers to them any more. They hold plain data.
        unsafe {
            dealloc(self.buffers.as_ptr().cast(), Layout::new::<Buffers>());
            dealloc(self.replies.as_ptr().cast(), Layout::new::<[u8; REPLIES]>());
        }
    }
}

/// A zeroed value on the heap.
///
/// # Safety
/// Zero must be a valid value of the type, and its size must not be 0.
unsafe fn allocate_zeroed<T>() -> NonNull<T> {
    let layout = Layout::new::<T>();
    // SAFETY: the size is not 0.
    let allocated = unsafe { alloc_zeroed(layout) };
    NonNull::new(allocated.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

impl ReplyPath {
    /// Points the header of a reply to this path.
    ///
    /// # Safety
    /// Both pointers must be valid. The header may be used as long as the path is neither moved nor referred to by a reference.
    unsafe fn address(path: *mut Self, header: *mut libc::msghdr) {
        // SAFETY: the caller guarantees that both are valid.
        unsafe {
            (*header).msg_name = (&raw mut (*path).name).cast();
            (*header).msg_namelen = (*path).name_len;
            (*header).msg_control = match (*path).control_len {
                0 => std::ptr::null_mut(),
                _ => (&raw mut (*path).control).cast(),
            };
            (*header).msg_controllen = (*path).control_len;
        }
    }

    /// Sends one packet along this path, at once or not at all.
    pub(crate) fn send(&mut self, socket: RawFd, packet: &[u8]) -> io::Result<()> {
        self.reverse();
        let mut vector = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
        // SAFETY: zero is a valid value of msghdr.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        // SAFETY: both live until the end of this function and are not touched before the call below. The kernel reads the
        // vector, the name and the control message, and writes none of them.
        let sent = unsafe {
            Self::address(self, &raw mut header);
            libc::sendmsg(socket, &raw const header, libc::MSG_DONTWAIT)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Converts the packet info of the query to that of the reply: the destination address becomes the source address. The
    /// interface is cleared, because routing may choose another one for the reply; only link-local addresses need it.
    fn reverse(&mut self) {
        if self.control_len == 0 {
            return;
        }
        let data = size_of::<libc::cmsghdr>();
        match self.destination() {
            // in_pktinfo: interface, local address, header destination (ip(7)).
            Some(IpAddr::V4(_)) if !self.is_ipv6_info() => self.control[data..data + 4].fill(0),
            // in6_pktinfo: address, interface (ipv6(7)).
            Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {}
            Some(_) => self.control[data + 16..data + 20].fill(0),
            None => self.control_len = 0,
        }
    }

    /// The address that the packet was sent to, if the kernel reported it.
    pub(crate) fn destination(&self) -> Option<IpAddr> {
        if self.control_len < size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>() {
            return None;
        }
        let data = &self.control[size_of::<libc::cmsghdr>()..];
        if self.is_ipv6_info() {
            let address: [u8; 16] = *data.first_chunk()?;
            return Some(Ipv6Addr::from(address).into());
        }
        let address: [u8; 4] = *data.get(4..)?.first_chunk()?;
        Some(Ipv4Addr::from(address).into())
    }

    fn is_ipv6_info(&self) -> bool {
        let field = |at: usize| self.control.get(at..).and_then(|bytes| bytes.first_chunk().copied());
        let level = field(offset_of!(libc::cmsghdr, cmsg_level)).map(i32::from_ne_bytes);
        let kind = field(offset_of!(libc::cmsghdr, cmsg_type)).map(i32::from_ne_bytes);
        level == Some(libc::IPPROTO_IPV6) && kind == Some(libc::IPV6_PKTINFO)
    }

    /// The client's address. An IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        let name = (&raw const self.name).cast::<u8>();
        match i32::from(self.name.ss_family) {
            libc::AF_INET if self.name_len as usize >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the storage is larger than a sockaddr_in and aligned like it; the family says that it holds one.
                let address = unsafe { name.cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                Some((ip, u16::from_be(address.sin_port)).into())
            }
            libc::AF_INET6 if self.name_len as usize >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: as above.
                let address = unsafe { name.cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(address.sin6_addr.s6_addr).to_canonical();
                Some((ip, u16::from_be(address.sin6_port)).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Acts as the kernel's recvmmsg(2), so that Miri, which has no system calls, can check the pointers.
    fn receive(batch: &mut Batch, packets: &[&[u8]]) -> usize {
        let received = batch.receive_by(|messages| {
            for (at, packet) in packets.iter().enumerate() {
                // SAFETY: `receive_by` passes BATCH valid headers and buffers.
                unsafe {
                    let message = &mut *messages.add(at);
                    let header = &message.msg_hdr;
                    std::ptr::copy_nonoverlapping(
                        packet.as_ptr(),
                        (*header.msg_iov).iov_base.cast(),
                        packet.len(),
                    );
                    let mut from: libc::sockaddr_in = zeroed();
                    from.sin_family = libc::AF_INET as libc::sa_family_t;
                    from.sin_port = (1000 + at as u16).to_be();
                    header.msg_name.cast::<libc::sockaddr_in>().write(from);
                    header.msg_control.cast::<u8>().write_bytes(0, CONTROL);
                    message.msg_len = packet.len() as libc::c_uint;
                    message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                    message.msg_hdr.msg_controllen = 0;
                }
            }
            packets.len() as libc::c_int
        });
        received.unwrap()
    }

    /// Acts as the kernel's sendmmsg(2), which accepts `at_once` replies in each call. Returns the client's port and the
    /// message of each reply.
    fn send(batch: &mut Batch, at_once: usize) -> Vec<(u16, Vec<u8>)> {
        let mut sent = Vec::new();
        batch.send_by(|messages, count| {
            let count = count.min(at_once);
            for at in 0..count {
                // SAFETY: `send_by` passes `count` valid headers.
                unsafe {
                    let header = &(*messages.add(at)).msg_hdr;
                    let to = header.msg_name.cast::<libc::sockaddr_in>().read();
                    let vector = *header.msg_iov;
                    let bytes = std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len);
                    sent.push((u16::from_be(to.sin_port), bytes.to_vec()));
                }
            }
            count as libc::c_int
        });
        sent
    }

    #[test]
    fn each_reply_goes_to_its_client_over_several_batches() {
        // Moved, as it is moved into the worker that uses it.
        let mut batch = *Box::new(Batch::new());
        for packets in [&[b"a" as &[u8], b"bc", b"def"][..], &[b"g"], &[b"hi", b"jk"]] {
            let count = receive(&mut batch, packets);
            assert_eq!(count, packets.len());
            let mut expected = Vec::new();
            for (at, sent) in packets.iter().enumerate() {
                let packet = batch.packet(at).to_vec();
                assert_eq!(packet, *sent);
                let port = batch.reply_path(at).client().unwrap().port();
                assert_eq!(port, 1000 + at as u16);
                // The second one gets no reply.
                let length = if at == 1 { 0 } else { packet.len() };
                batch.reply(at, |out| {
                    out[..packet.len()].copy_from_slice(&packet);
                    length
                });
                if length > 0 {
                    expected.push((port, packet));
                }
            }
            assert_eq!(send(&mut batch, 1 + packets.len() % 2), expected);
            assert_eq!(send(&mut batch, 1), [], "sent once");
        }
    }

    #[test]
    fn the_longest_replies_of_a_whole_batch_fit() {
        let mut batch = Batch::new();
        let packets = [b"x" as &[u8]; BATCH];
        let count = receive(&mut batch, &packets);
        for at in 0..count {
            assert_eq!(batch.reply(at, |out| out.len()), REPLY, "{at}");
        }
        assert!(send(&mut batch, BATCH).iter().all(|(_, message)| message.len() == REPLY));
    }
}
