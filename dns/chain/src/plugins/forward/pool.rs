//! Idle connections to an upstream.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::SocketPermit;

/// How many connections are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolLimits {
    /// A connection is closed when it was idle for this long.
    pub expire: Duration,
    /// A connection is closed at this age.
    pub max_age: Option<Duration>,
    /// The most idle connections.
    pub max_idle: usize,
}

/// How long a UDP socket, and thereby its port, is used: an attacker who forges replies must not have the time to find the
/// port (RFC 5452 §9.2). CoreDNS uses a port for as long as there are queries.
const MAX_PORT_AGE: Duration = Duration::from_secs(10);

impl PoolLimits {
    /// The limits for UDP sockets, which are replaced after [`MAX_PORT_AGE`].
    pub(super) fn for_udp(self) -> Self {
        Self { max_age: Some(self.max_age.map_or(MAX_PORT_AGE, |age| age.min(MAX_PORT_AGE))), ..self }
    }
}

/// Idle connections to one upstream. The most recently used one is reused first, so that the others expire.
pub(super) struct UpstreamPool<C> {
    kept: Mutex<Vec<PooledConnection<C>>>,
    limits: PoolLimits,
}

/// A connection with its socket permit and its age.
pub(super) struct PooledConnection<C> {
    pub connection: C,
    made: Instant,
    used: Instant,
    _permit: Option<SocketPermit>,
}

impl<C> PooledConnection<C> {
    /// A new connection.
    pub(super) fn new(connection: C, permit: Option<SocketPermit>) -> Self {
        let now = Instant::now();
        Self { connection, made: now, used: now, _permit: permit }
    }
}

impl<C> UpstreamPool<C> {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self { kept: Mutex::default(), limits }
    }

    /// A connection that has not expired.
    pub(super) fn take(&self, now: Instant) -> Option<PooledConnection<C>> {
        let mut kept = self.lock();
        while let Some(newest) = kept.pop() {
            if self.is_fresh(&newest, now) {
                return Some(newest);
            }
        }
        None
    }

    /// Keeps a connection for the next query.
    pub(super) fn put(&self, mut connection: PooledConnection<C>, now: Instant) {
        connection.used = now;
        let mut kept = self.lock();
        if kept.len() < self.limits.max_idle && self.is_fresh(&connection, now) {
            kept.push(connection);
        }
    }

    /// Closes expired connections.
    pub(super) fn close_expired(&self, now: Instant) {
        self.lock().retain(|kept| self.is_fresh(kept, now));
    }

    fn is_fresh(&self, kept: &PooledConnection<C>, now: Instant) -> bool {
        let young = self.limits.max_age.is_none_or(|most| now.saturating_duration_since(kept.made) < most);
        young && now.saturating_duration_since(kept.used) < self.limits.expire
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PooledConnection<C>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(connection: i32, start: Instant) -> PooledConnection<i32> {
        PooledConnection { connection, made: start, used: start, _permit: None }
    }

    #[test]
    fn the_connection_used_last_is_taken_first_and_old_ones_are_closed() {
        let second = Duration::from_secs(1);
        let limits = PoolLimits { expire: second * 10, max_age: Some(second * 60), max_idle: 2 };
        let idle = UpstreamPool::new(limits);
        let start = Instant::now();
        for connection in 1..=3 {
            idle.put(pooled(connection, start), start);
        }
        let taken = idle.take(start + second).map(|kept| kept.connection);
        assert_eq!(taken, Some(2), "two are kept, and the later one is reused");
        assert!(idle.take(start + second * 10).is_none(), "expired after ten seconds of idleness");

        idle.put(pooled(4, start), start + second * 59);
        assert!(idle.take(start + second * 60).is_none(), "a minute old");
        idle.put(pooled(5, start), start + second * 61);
        idle.close_expired(start + second * 61);
        assert!(idle.lock().is_empty(), "too old to be kept");
    }

    #[test]
    fn a_port_is_not_used_for_longer_than_ten_seconds() {
        let limits = PoolLimits { expire: Duration::from_secs(60), max_age: None, max_idle: 2 };
        let (idle, start) = (UpstreamPool::new(limits.for_udp()), Instant::now());
        idle.put(pooled(1, start), start);
        for second in 1..10 {
            let now = start + Duration::from_secs(second);
            let kept = idle.take(now).expect("it is young enough");
            idle.put(kept, now);
        }
        assert!(idle.take(start + Duration::from_secs(10)).is_none());
        let short = PoolLimits { max_age: Some(Duration::from_secs(5)), ..limits };
        assert_eq!(short.for_udp(), short, "a shorter configured age is kept");
    }
}
