//! The UDP sessions of a worker: clients' addresses, each with the socket of its endpoint.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::io::clock::Timer;
use crate::state::client_table::ClientSlot;

/// How many datagrams of a client wait for an endpoint, and the longest that does. A longer one is not sent to another endpoint.
const MAX_WAITING: usize = 4;
const MAX_WAITING_LENGTH: usize = 1500;
/// At the limit, a sixteenth of the sessions ends at once, so that not each new one has to look for the idlest.
const EVICTED_SHARE: usize = 16;

/// The key of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    /// The port of the service.
    pub(crate) port: u16,
    /// The client.
    pub(crate) client: SocketAddr,
    /// The address that it sends to.
    pub(crate) local: IpAddr,
}

/// The sessions of a worker.
#[derive(Default)]
pub(crate) struct SessionTable(pub(crate) RefCell<HashMap<SessionKey, Rc<UdpSession>, RandomState>>);

/// A session.
pub(crate) struct UdpSession {
    /// The socket that is connected to the endpoint, once one was chosen.
    pub(crate) endpoint: RefCell<Option<Rc<tokio::net::UdpSocket>>>,
    pub(crate) waiting: RefCell<WaitingDatagrams>,
    /// How many datagrams each side has sent.
    pub(crate) requests: Cell<u64>,
    pub(crate) responses: Cell<u64>,
    /// How many bytes.
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    /// The error of the endpoint's socket that sending has found.
    pub(crate) failed: RefCell<Option<io::Error>>,
    pub(crate) timer: Rc<Timer>,
    /// When the client has sent something, in milliseconds of the worker's clock.
    pub(crate) active: Cell<u64>,
    pub(crate) slot: ClientSlot,
    pub(crate) is_evicted: Cell<bool>,
    /// The proxy stops, and the timer is that of [`STOPPING`].
    pub(crate) is_shortened: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
}

/// The first datagrams of a client: they wait for an endpoint, and another one gets them, too, if the first cannot be reached.
#[derive(Debug, Default)]
pub(crate) struct WaitingDatagrams(pub(crate) Vec<Bytes>);

impl WaitingDatagrams {
    /// Adds a datagram; false if too many wait.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let has_room = self.0.len() < MAX_WAITING;
        if has_room {
            self.0.push(Bytes::copy_from_slice(bytes));
        }
        has_room
    }

    /// All of them, in order. Only those that are not too long are kept for another endpoint.
    pub(crate) fn sent(&mut self) -> Vec<Bytes> {
        let all = self.0.clone();
        self.0.retain(|bytes| bytes.len() <= MAX_WAITING_LENGTH);
        all
    }
}

impl SessionTable {
    /// The session of a client.
    pub(crate) fn get(&self, key: &SessionKey) -> Option<Rc<UdpSession>> {
        self.0.borrow().get(key).cloned()
    }

    /// Ends the sessions that have been idle longest, if there are `limit`.
    pub(crate) fn make_room(&self, limit: usize) -> usize {
        let sessions = self.0.borrow();
        if sessions.len() < limit {
            return 0;
        }
        let mut open: Vec<_> = sessions.values().filter(|session| !session.is_evicted.get()).collect();
        if open.len() < limit {
            // Enough of these sessions are ending already.
            return 0;
        }
        let count = (open.len() / EVICTED_SHARE).clamp(1, open.len());
        open.select_nth_unstable_by_key(count - 1, |session| session.active.get());
        for session in &open[..count] {
            session.is_evicted.set(true);
            session.wake();
        }
        count
    }
}

impl UdpSession {
    /// Wakes the task of the session.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_datagrams_are_limited() {
        let mut waiting = WaitingDatagrams::default();
        let long = [0; MAX_WAITING_LENGTH + 1];
        assert!(waiting.push(&long));
        assert!((1..MAX_WAITING).all(|_| waiting.push(b"x")));
        assert!(!waiting.push(b"y"));
        assert_eq!(waiting.sent().len(), MAX_WAITING);
        assert_eq!(waiting.sent().len(), MAX_WAITING - 1, "the long one is not kept");
    }
}
