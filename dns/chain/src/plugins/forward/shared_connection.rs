//! A connection that all queries to an upstream share.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use telemetry::metrics::Counter;
use tokio::time::{timeout, timeout_at};

use super::connect::timed_out;
use super::pool::PoolLimits;
use crate::limits::LimitReached;

/// The maximum time to establish a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is established when first needed.
pub(super) struct SharedConnection<C> {
    open: Mutex<Option<Open<C>>>,
    /// Held by the query that establishes the connection. The others wait for it.
    establishing: tokio::sync::Mutex<()>,
    is_closed: fn(&C) -> bool,
    limits: PoolLimits,
    hits: Counter,
    misses: Counter,
}

/// The connection, when it was established (which identifies it) and when it was last used.
#[derive(Clone)]
struct Open<C> {
    connection: C,
    established: Instant,
    used: Instant,
}

impl<C: Clone> SharedConnection<C> {
    pub(super) fn new(limits: PoolLimits, hits: Counter, misses: Counter, is_closed: fn(&C) -> bool) -> Self {
        Self { open: Mutex::new(None), establishing: Default::default(), is_closed, limits, hits, misses }
    }

    /// Calls `send`, which sends a query and waits for its reply, with a connection that `dial` has established. After a
    /// failure or timeout the connection is not used again. If it was an idle one, the upstream may have closed it, and the
    /// query is sent again over a new one. After an invalid reply (an error of kind `InvalidData`), and if a limit of this process
    /// is reached, the connection is kept.
    pub(super) async fn exchange<D, S>(
        &self,
        limit: Duration,
        dial: impl Fn() -> D,
        send: impl Fn(C) -> S,
    ) -> io::Result<Vec<u8>>
    where
        D: Future<Output = io::Result<C>>,
        S: Future<Output = io::Result<Vec<u8>>>,
    {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let connection = timeout_at(end, self.connection(&dial)).await;
            let (Open { connection, established, .. }, reused) =
                connection.map_err(|_| timed_out("dial"))??;
            let sent = timeout_at(end, send(connection)).await;
            let error = match sent.unwrap_or_else(|_| Err(timed_out("read"))) {
                Err(error) if error.kind() != io::ErrorKind::InvalidData && !LimitReached::caused(&error) => {
                    error
                }
                answered => return answered,
            };
            // Only this connection: another query may have established a new one meanwhile.
            self.lock().take_if(|open| open.established == established);
            if !reused || error.kind() == io::ErrorKind::TimedOut {
                return Err(error);
            }
        }
    }

    /// Closes the connection if it has been idle for too long.
    pub(super) fn close_expired(&self, now: Instant) {
        self.lock().take_if(|open| !self.is_fresh(open, now));
    }

    /// The open connection or a new one, and whether it was open before.
    async fn connection<D>(&self, dial: impl Fn() -> D) -> io::Result<(Open<C>, bool)>
    where
        D: Future<Output = io::Result<C>>,
    {
        if let Some(reused) = self.reuse() {
            return Ok((reused, true));
        }
        let _establishing = self.establishing.lock().await;
        // Another query may have established it while this one waited for the lock.
        if let Some(reused) = self.reuse() {
            return Ok((reused, true));
        }
        self.misses.inc();
        let connection =
            timeout(HANDSHAKE_TIMEOUT, dial()).await.unwrap_or_else(|_| Err(timed_out("dial")))?;
        let now = Instant::now();
        let open = Open { connection, established: now, used: now };
        *self.lock() = Some(open.clone());
        Ok((open, false))
    }

    fn reuse(&self) -> Option<Open<C>> {
        let (mut open, now) = (self.lock(), Instant::now());
        let reused = open.as_mut().filter(|open| self.is_fresh(open, now))?;
        reused.used = now;
        self.hits.inc();
        Some(reused.clone())
    }

    fn is_fresh(&self, open: &Open<C>, now: Instant) -> bool {
        let young =
            self.limits.max_age.is_none_or(|most| now.saturating_duration_since(open.established) < most);
        let idle = now.saturating_duration_since(open.used);
        young && idle < self.limits.expire && !(self.is_closed)(&open.connection)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open<C>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
