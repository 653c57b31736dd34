//! The socket of a UDP port on one worker, and the buffer that all of them share.

use std::cell::RefCell;

use net::datagram::DatagramSocket;
use tokio::sync::Notify;

/// The longest datagram that IP can carry.
const MAX_DATAGRAM: usize = 65_535;

thread_local! {
    /// The buffer of all sockets of a worker, so that none holds one while it waits.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_DATAGRAM].into());
}

/// Passes the buffer on that all sockets of this worker receive into.
pub(super) fn with_buffer<T>(receive: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| receive(buffer))
}

/// The socket that the clients of a port send to, and that they get their answers from.
pub(super) struct UdpListener {
    pub(super) socket: DatagramSocket,
    pub(super) port: u16,
    /// Notified when a session has ended.
    pub(super) ended: Notify,
}
