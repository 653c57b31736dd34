//! Idle connections of a worker, by endpoint.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use ingress_routes::KeepAlive;

use crate::upstream::connection::{ConnectionKey, UpstreamConnection};
use crate::upstream::limit::UpstreamSlot;

/// The idle connections of a worker. The most recently used one is taken first, so that surplus ones expire.
#[derive(Debug)]
pub(crate) struct ConnectionPool {
    rules: Cell<KeepAlive>,
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the connection")]
    by_key: RefCell<HashMap<ConnectionKey, Vec<Box<UpstreamConnection>>, foldhash::fast::RandomState>>,
    count: Cell<usize>,
    /// The next number for a connection that becomes idle; the numbers give their order.
    sequence: Cell<u64>,
}

/// A full pool closes one in so many connections at once, so that the search for the oldest is rare.
const EVICTED_SHARE: usize = 16;

impl ConnectionPool {
    pub(crate) fn new(rules: KeepAlive) -> Self {
        let rules = Cell::new(rules);
        Self { rules, by_key: RefCell::default(), count: Cell::new(0), sequence: Cell::new(0) }
    }

    /// Sets other limits. They apply to a connection when it becomes idle, and at the next sweep.
    pub(crate) fn set_rules(&self, rules: KeepAlive) {
        self.rules.set(rules);
    }

    /// Takes an idle connection; skips those that have been idle too long, or on which the endpoint has sent something or closed. Hot: one
    /// look-up, no system call.
    pub(crate) fn take(&self, key: &ConnectionKey, now: u64) -> Option<Box<UpstreamConnection>> {
        let rules = self.rules.get();
        let mut by_key = self.by_key.borrow_mut();
        let waiting = by_key.get_mut(key)?;
        while let Some(mut connection) = waiting.pop() {
            self.count.set(self.count.get() - 1);
            let is_kept = rules.keeps(connection.idle_since, connection.opened, now);
            if is_kept && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for reuse unless it has reached one of its limits. When the pool is full, those that have been idle
    /// longest are closed, whatever their address, as with nginx's `keepalive`.
    pub(crate) fn put(&self, mut connection: Box<UpstreamConnection>, now: u64) {
        if connection.slot.as_ref().is_some_and(UpstreamSlot::is_wanted) {
            return;
        }
        let rules = self.rules.get();
        let is_expired = connection.served >= rules.requests || now - connection.opened > millis(rules.time);
        if is_expired || rules.connections == 0 {
            return;
        }
        if self.count.get() >= rules.connections {
            self.evict_oldest();
        }
        connection.idle_since = now;
        connection.idle_sequence = self.sequence.get();
        self.sequence.set(connection.idle_sequence + 1);
        self.count.set(self.count.get() + 1);
        let mut by_key = self.by_key.borrow_mut();
        match by_key.get_mut(&connection.key) {
            Some(waiting) => waiting.push(connection),
            None => {
                by_key.insert(connection.key.clone(), vec![connection]);
            }
        }
    }

    /// Closes the connection that has been idle longest, of all endpoints; false if none is idle.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut by_key = self.by_key.borrow_mut();
        let oldest = by_key
            .values_mut()
            .filter(|waiting| !waiting.is_empty())
            .min_by_key(|waiting| waiting[0].idle_sequence);
        let Some(waiting) = oldest else { return false };
        waiting.remove(0);
        self.count.set(self.count.get() - 1);
        true
    }

    fn evict_oldest(&self) {
        let mut by_key = self.by_key.borrow_mut();
        let mut ages: Vec<u64> = by_key.values().flatten().map(|it| it.idle_sequence).collect();
        if ages.is_empty() {
            return;
        }
        let last = ages.len() / EVICTED_SHARE;
        let (_, newest_evicted, _) = ages.select_nth_unstable(last);
        let newest_evicted = *newest_evicted;
        by_key.retain(|_, waiting| {
            waiting.retain(|connection| connection.idle_sequence > newest_evicted);
            !waiting.is_empty()
        });
        self.count.set(self.count.get().saturating_sub(last + 1));
    }

    /// Closes connections that have been idle too long, were closed by the endpoint, or whose endpoint no longer exists
    /// (`belongs` is false).
    pub(crate) fn sweep(&self, now: u64, belongs: impl Fn(&UpstreamConnection) -> bool) {
        let (mut count, rules) = (0, self.rules.get());
        self.by_key.borrow_mut().retain(|_, waiting| {
            waiting.retain_mut(|connection| {
                let is_kept = rules.keeps(connection.idle_since, connection.opened, now);
                is_kept && connection.is_quiet() && belongs(connection)
            });
            count += waiting.len();
            !waiting.is_empty()
        });
        self.count.set(count);
    }

    /// How many connections are idle.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.count.get()
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::io::transport_stream::TransportStream;

    /// Waits until the endpoint has sent something or closed the connection.
    async fn readable(connection: &UpstreamConnection) {
        let TransportStream::Plain(stream) = &connection.stream else { unreachable!("made by `pair`") };
        stream.readable().await.unwrap();
    }

    /// A connection and the endpoint's side of it.
    async fn pair() -> (Box<UpstreamConnection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let near = TcpStream::connect(address).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let key = ConnectionKey { address, tls: None };
        (UpstreamConnection::new(TransportStream::Plain(near), key, None, "endpoint".into(), 0), peer)
    }

    #[tokio::test]
    async fn a_connection_is_reused_unless_the_endpoint_has_sent_something() {
        let idle = ConnectionPool::new(KeepAlive::default());
        let (connection, mut peer) = pair().await;
        let address = connection.key.clone();
        idle.put(connection, 1);
        let connection = idle.take(&address, 1).unwrap();
        assert!(idle.take(&address, 1).is_none());
        peer.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        readable(&connection).await;
        idle.put(connection, 2);
        assert!(idle.take(&address, 2).is_none());
        assert_eq!(idle.count(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_has_been_idle_too_long_is_not_used_before_the_next_sweep() {
        let idle = ConnectionPool::new(KeepAlive { timeout: Duration::from_secs(1), ..KeepAlive::default() });
        let ((first, _peer1), (second, _peer2)) = (pair().await, pair().await);
        let addresses = [first.key.clone(), second.key.clone()];
        idle.put(first, 1);
        idle.put(second, 1);
        assert!(idle.take(&addresses[0], 1_001).is_some());
        assert!(idle.take(&addresses[1], 1_002).is_none());
    }

    #[tokio::test]
    async fn connections_that_are_too_old_too_used_or_too_many_are_closed() {
        let rules = KeepAlive { connections: 1, requests: 2, ..KeepAlive::default() };
        let idle = ConnectionPool::new(rules);
        let (mut used, _peer) = pair().await;
        used.served = 2;
        idle.put(used, 1);
        assert_eq!(idle.count(), 0, "it has served as many requests as allowed");
        let (old, _peer) = pair().await;
        idle.put(old, 3_600_001);
        assert_eq!(idle.count(), 0, "it is older than allowed");
        let ((one, _peer1), (two, _peer2)) = (pair().await, pair().await);
        let (first, second) = (one.key.clone(), two.key.clone());
        idle.put(one, 1);
        idle.put(two, 1);
        assert!(idle.take(&first, 1).is_none(), "it was closed to make room for the other one");
        assert!(idle.take(&second, 1).is_some());
    }

    #[tokio::test]
    async fn the_connections_idle_longest_are_closed_first_whatever_their_address() {
        let pool = ConnectionPool::new(KeepAlive { connections: 32, ..KeepAlive::default() });
        let mut peer = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..33 {
            let (near, other) = pair().await;
            addresses.push(near.key.clone());
            peer.push(other);
            pool.put(near, 1);
        }
        assert_eq!(pool.count(), 30, "three of 32 were closed before another one was added");
        let kept: Vec<bool> = addresses.iter().map(|address| pool.take(address, 1).is_some()).collect();
        assert_eq!(kept.iter().position(|kept| *kept), Some(3));
        assert!(kept[3..].iter().all(|kept| *kept));
    }

    #[tokio::test]
    async fn close_oldest_closes_the_connection_that_was_idle_longest() {
        let idle = ConnectionPool::new(KeepAlive::default());
        assert!(!idle.close_oldest());
        let ((older, _peer1), (newer, _peer2)) = (pair().await, pair().await);
        let (first, second) = (older.key.clone(), newer.key.clone());
        idle.put(older, 1);
        idle.put(newer, 1);
        assert!(idle.close_oldest());
        assert_eq!(
            (idle.count(), idle.take(&first, 1).is_none(), idle.take(&second, 1).is_some()),
            (1, true, true)
        );
    }

    #[tokio::test]
    async fn a_sweep_closes_connections_that_are_idle_too_long_closed_or_of_removed_endpoints() {
        let idle = ConnectionPool::new(KeepAlive::default());
        let ((kept, _peer1), (gone, _peer2), (closed, peer3)) = (pair().await, pair().await, pair().await);
        let (kept_address, gone_address) = (kept.key.clone(), gone.key.clone());
        drop(peer3);
        readable(&closed).await;
        for connection in [kept, gone, closed] {
            idle.put(connection, 1);
        }
        idle.sweep(2, |connection| connection.key != gone_address);
        assert_eq!(idle.count(), 1);
        idle.sweep(60_001, |_| true);
        assert_eq!(idle.count(), 1);
        idle.sweep(60_002, |_| true);
        assert!(idle.take(&kept_address, 1).is_none());
    }
}
