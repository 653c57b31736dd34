//! Many packets with one system call each way (recvmmsg(2), sendmmsg(2)).
//!
//! The one place of this crate that speaks to the kernel in pointers. All buffers are allocated once and never move.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

/// Packets of one batch. More would be waited for longer by the first.
pub(crate) const BATCH: usize = 32;
/// The longest query that is read in full; a longer one is cut and then found malformed.
const QUERY: usize = 4096;
/// Room for one packet-info message of either family.
const CONTROL: usize = 64;
/// The longest reply (RFC 1035 §4.2.2 sets the same bound over TCP).
const REPLY: usize = u16::MAX as usize;

/// Where a packet came from and where it was sent to, as the kernel gives and takes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct ReplyPath {
    name: libc::sockaddr_storage,
    name_len: libc::socklen_t,
    control: [u8; CONTROL],
    control_len: usize,
}

/// The buffers of one thread.
pub(crate) struct Batch {
    received: Box<[libc::mmsghdr]>,
    /// The vectors that `received` points to.
    _vectors: Box<[libc::iovec]>,
    reply_paths: Box<[ReplyPath]>,
    queries: Box<[[u8; QUERY]]>,
    /// How many entries of `received` the last call has changed.
    used: usize,
    /// Replies one behind the other. Pages that no reply has reached take no memory.
    replies: Box<[u8]>,
    end: usize,
    sends: Box<[libc::mmsghdr]>,
    send_vectors: Box<[libc::iovec]>,
    queued: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: all of these are plain data for which zero is a value.
        let mut reply_paths: Box<[ReplyPath]> = unsafe { zeros(BATCH) };
        // SAFETY: as above.
        let mut vectors: Box<[libc::iovec]> = unsafe { zeros(BATCH) };
        // SAFETY: as above.
        let mut received: Box<[libc::mmsghdr]> = unsafe { zeros(BATCH) };
        let mut queries: Box<[[u8; QUERY]]> = vec![[0; QUERY]; BATCH].into();
        for at in 0..BATCH {
            vectors[at] = libc::iovec { iov_base: queries[at].as_mut_ptr().cast(), iov_len: QUERY };
            let header = &mut received[at].msg_hdr;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut reply_paths[at].name).cast();
            header.msg_control = reply_paths[at].control.as_mut_ptr().cast();
        }
        // SAFETY: as above.
        let (sends, send_vectors) = unsafe { (zeros(BATCH), zeros(BATCH)) };
        let replies = vec![0; BATCH * REPLY].into();
        Self {
            received,
            _vectors: vectors,
            reply_paths,
            queries,
            used: BATCH,
            replies,
            end: 0,
            sends,
            send_vectors,
            queued: 0,
        }
    }

    /// Waits for at least one packet and takes those that are there. Returns how many.
    // Hot: 0 allocations.
    pub(crate) fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        for message in &mut self.received[..self.used] {
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_hdr.msg_controllen = CONTROL;
            message.msg_hdr.msg_flags = 0;
        }
        self.used = 0;
        (self.end, self.queued) = (0, 0);
        // SAFETY: every header points to a name, a control buffer and a vector of the lengths it states, all of them
        // owned by self and not moved since `new`.
        let count = unsafe {
            libc::recvmmsg(
                socket,
                self.received.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.used = count;
        for (reply_path, message) in self.reply_paths.iter_mut().zip(&self.received[..count]) {
            reply_path.name_len = message.msg_hdr.msg_namelen;
            reply_path.control_len = message.msg_hdr.msg_controllen;
        }
        Ok(count)
    }

    /// A packet of the last call.
    pub(crate) fn packet(&self, at: usize) -> &[u8] {
        &self.queries[at][..(self.received[at].msg_len as usize).min(QUERY)]
    }

    /// Whom the reply to a packet goes to.
    pub(crate) fn reply_path(&self, at: usize) -> &ReplyPath {
        &self.reply_paths[at]
    }

    /// Queues the reply to a packet; `write` says how much of the room it has filled, 0 for no reply.
    // Hot: 0 allocations.
    pub(crate) fn reply(&mut self, at: usize, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let room = &mut self.replies[self.end..];
        let length = write(room).min(room.len());
        if length == 0 {
            return 0;
        }
        let vector = &mut self.send_vectors[self.queued];
        *vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: length };
        let header = &mut self.sends[self.queued].msg_hdr;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        self.reply_paths[at].put(header);
        self.end += length;
        self.queued += 1;
        length
    }

    /// Sends what is queued. A reply that cannot be sent is dropped, as the network might have dropped it.
    // Hot: 0 allocations.
    pub(crate) fn send(&mut self, socket: RawFd) {
        let mut sent = 0;
        while sent < self.queued {
            let left = &mut self.sends[sent..self.queued];
            // SAFETY: every header points to a name, a control buffer and a vector that `reply` has set up, all of
            // them owned by self.
            let count = unsafe { libc::sendmmsg(socket, left.as_mut_ptr(), left.len() as libc::c_uint, 0) };
            match usize::try_from(count) {
                Ok(count) => sent += count.max(1),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The first of them cannot be sent; the others may.
                Err(_) => sent += 1,
            }
        }
        self.queued = 0;
    }
}

/// `count` zeroed values.
///
/// # Safety
/// Zero must be a value of the type.
unsafe fn zeros<T>(count: usize) -> Box<[T]> {
    // SAFETY: the caller says so.
    (0..count).map(|_| unsafe { zeroed() }).collect()
}

impl ReplyPath {
    /// Points a header of a reply back along this reply_path.
    fn put(&mut self, header: &mut libc::msghdr) {
        self.turn();
        header.msg_name = (&raw mut self.name).cast();
        header.msg_namelen = self.name_len;
        header.msg_control =
            if self.control_len == 0 { std::ptr::null_mut() } else { self.control.as_mut_ptr().cast() };
        header.msg_controllen = self.control_len;
    }

    /// Sends one packet along this way, at once or not at all.
    pub(crate) fn send(&mut self, socket: RawFd, packet: &[u8]) -> io::Result<()> {
        let mut vector = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
        // SAFETY: zero is a value of msghdr.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        self.put(&mut header);
        // SAFETY: the header points to the vector, the name and the control message, which live through the call.
        let sent = unsafe { libc::sendmsg(socket, &raw const header, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Makes of the packet info that was received the one that is sent: the address asked becomes the source. The
    /// interface is left to routing, since the way back need not be the way here; only link-local addresses mean
    /// nothing without it.
    fn turn(&mut self) {
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

    /// The address the packet was sent to, if the kernel said so.
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
        let mut header = MaybeUninit::<libc::cmsghdr>::uninit();
        // SAFETY: the control buffer is longer than a cmsghdr, which is plain data of any bytes.
        let header = unsafe {
            std::ptr::copy_nonoverlapping(
                self.control.as_ptr(),
                header.as_mut_ptr().cast::<u8>(),
                size_of::<libc::cmsghdr>(),
            );
            header.assume_init()
        };
        header.cmsg_level == libc::IPPROTO_IPV6 && header.cmsg_type == libc::IPV6_PKTINFO
    }

    /// The client's address; an IPv4 address in IPv6 clothes counts as IPv4.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        let name = (&raw const self.name).cast::<u8>();
        match i32::from(self.name.ss_family) {
            libc::AF_INET if self.name_len as usize >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the storage is larger than a sockaddr_in and the family says that it holds one.
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
