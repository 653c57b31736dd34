//! One connection that all queries to an upstream share.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use telemetry::metrics::Counter;
use tokio::time::{timeout, timeout_at};

use super::connect::timed_out;
use super::pool::PoolLimits;

/// The longest a new connection may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A connection, made when first needed.
pub(super) struct SharedConnection<C> {
    open: Mutex<Option<Open<C>>>,
    /// Held by the query that makes one; the others wait for it.
    making: tokio::sync::Mutex<()>,
    is_closed: fn(&C) -> bool,
    limits: PoolLimits,
    hits: Counter,
    misses: Counter,
}

/// The connection, when it was made (no two at once, so that tells them apart) and when it was last used.
#[derive(Clone)]
struct Open<C> {
    connection: C,
    made: Instant,
    used: Instant,
}

impl<C: Clone> SharedConnection<C> {
    pub(super) fn new(limits: PoolLimits, hits: Counter, misses: Counter, is_closed: fn(&C) -> bool) -> Self {
        Self { open: Mutex::new(None), making: Default::default(), is_closed, limits, hits, misses }
    }

    /// Has `send` send a query and wait for its reply, over a connection that `dial` has made. One that fails, or on
    /// which nothing comes in time, is not used again; if it was an old one, the other end may have closed it, and the
    /// query goes over another. An error of invalid data is an answer: the connection works.
    pub(super) async fn exchange<D, S>(
        &self,
        patience: Duration,
        dial: impl Fn() -> D,
        send: impl Fn(C) -> S,
    ) -> io::Result<Vec<u8>>
    where
        D: Future<Output = io::Result<C>>,
        S: Future<Output = io::Result<Vec<u8>>>,
    {
        let end = tokio::time::Instant::now() + patience;
        loop {
            let connection = timeout_at(end, self.connection(&dial)).await;
            let (Open { connection, made, .. }, kept) = connection.map_err(|_| timed_out("dial"))??;
            let sent = timeout_at(end, send(connection)).await;
            let error = match sent.unwrap_or_else(|_| Err(timed_out("read"))) {
                Err(error) if error.kind() != io::ErrorKind::InvalidData => error,
                answered => return answered,
            };
            // That one, and not what another query that failed with it has made meanwhile.
            self.lock().take_if(|open| open.made == made);
            if !kept || error.kind() == io::ErrorKind::TimedOut {
                return Err(error);
            }
        }
    }

    /// Closes it if it has been idle for too long.
    pub(super) fn tidy(&self, now: Instant) {
        self.lock().take_if(|open| !self.is_fresh(open, now));
    }

    /// The open connection or a new one, and whether it was open already.
    async fn connection<D>(&self, dial: impl Fn() -> D) -> io::Result<(Open<C>, bool)>
    where
        D: Future<Output = io::Result<C>>,
    {
        if let Some(kept) = self.kept() {
            return Ok((kept, true));
        }
        let _turn = self.making.lock().await;
        // Somebody else's turn may have been before.
        if let Some(kept) = self.kept() {
            return Ok((kept, true));
        }
        self.misses.inc();
        let connection = timeout(HANDSHAKE, dial()).await.unwrap_or_else(|_| Err(timed_out("dial")))?;
        let now = Instant::now();
        let open = Open { connection, made: now, used: now };
        *self.lock() = Some(open.clone());
        Ok((open, false))
    }

    fn kept(&self) -> Option<Open<C>> {
        let (mut open, now) = (self.lock(), Instant::now());
        let kept = open.as_mut().filter(|open| self.is_fresh(open, now))?;
        kept.used = now;
        self.hits.inc();
        Some(kept.clone())
    }

    fn is_fresh(&self, open: &Open<C>, now: Instant) -> bool {
        let young = self.limits.max_age.is_none_or(|most| now.saturating_duration_since(open.made) < most);
        let idle = now.saturating_duration_since(open.used);
        young && idle < self.limits.expire && !(self.is_closed)(&open.connection)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open<C>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
