//! A thin wrapper around level-triggered `epoll`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A set of sockets, each identified by a number.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
}

impl Epoll {
    /// Creates an empty set.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was opened by the call above and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256], ready: 0 })
    }

    /// Registers a socket for readability. Closing the socket removes it.
    pub(crate) fn add(&self, socket: &impl AsRawFd, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        // SAFETY: the event outlives the call, which copies it.
        let done = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until sockets are ready, for at most `milliseconds` (-1: without a limit).
    pub(crate) fn wait(&mut self, milliseconds: i32) {
        let (events, room) = (self.events.as_mut_ptr(), self.events.len() as i32);
        // SAFETY: the buffer has space for `room` events.
        let ready = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events, room, milliseconds) };
        self.ready = usize::try_from(ready).unwrap_or(0);
    }

    /// The number of the ready socket at `index`, or `None` past the last one.
    pub(crate) fn ready(&self, index: usize) -> Option<usize> {
        self.events[..self.ready].get(index).map(|event| event.u64 as usize)
    }
}
