//! Readiness of sockets: `epoll` as thin as it goes, level-triggered.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A set of sockets, each known by a number.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
}

impl Epoll {
    /// An empty set.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above opened it, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256], ready: 0 })
    }

    /// Watches a socket for something to read. Closing it ends that.
    pub(crate) fn add(&self, socket: &impl AsRawFd, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        // SAFETY: the event outlives the call, which copies it.
        let done = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits, for up to so many milliseconds (-1: for ever), until some are ready.
    pub(crate) fn wait(&mut self, milliseconds: i32) {
        let (events, room) = (self.events.as_mut_ptr(), self.events.len() as i32);
        // SAFETY: the buffer is as long as the room that is named.
        let ready = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events, room, milliseconds) };
        self.ready = usize::try_from(ready).unwrap_or(0);
    }

    /// Who is ready, by index from 0.
    pub(crate) fn ready(&self, index: usize) -> Option<usize> {
        self.events[..self.ready].get(index).map(|event| event.u64 as usize)
    }
}
