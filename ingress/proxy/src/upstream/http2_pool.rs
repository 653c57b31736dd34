//! The HTTP/2 connections of a worker to endpoints.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ingress_routes::KeepAlive;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::upstream::connection::ConnectionKey;
use crate::upstream::http2_connection::{Http2Connection, StreamSlot};

/// The HTTP/2 connections of a worker that further requests may use.
#[derive(Default)]
pub(crate) struct Http2Pool {
    connections: RefCell<HashMap<ConnectionKey, Vec<Rc<Http2Connection>>, foldhash::fast::RandomState>>,
    /// Connections that are being opened: requests that come meanwhile wait for them instead of opening one each.
    opening: RefCell<HashMap<ConnectionKey, std::sync::Arc<Notify>, foldhash::fast::RandomState>>,
}

/// The next step of a request that has no connection.
pub(crate) enum OpeningTurn<'p> {
    /// Open one.
    Own(OpeningGuard<'p>),
    /// Wait for the one that is being opened, and try again.
    Other(OwnedNotified),
}

/// Says that a connection is being opened, until it is dropped.
pub(crate) struct OpeningGuard<'p> {
    pool: &'p Http2Pool,
    key: ConnectionKey,
}

impl Http2Pool {
    /// A place on a connection that has room for another request.
    pub(crate) fn take(&self, key: &ConnectionKey, now: u64, rules: &KeepAlive) -> Option<StreamSlot> {
        let connections = self.connections.borrow();
        connections.get(key)?.iter().find(|one| one.has_room(now, rules)).map(Http2Connection::stream)
    }

    /// Whether this request may open a connection, or has to wait for another one that does.
    pub(crate) fn turn(&self, key: &ConnectionKey) -> OpeningTurn<'_> {
        let mut opening = self.opening.borrow_mut();
        if let Some(opened) = opening.get(key) {
            return OpeningTurn::Other(opened.clone().notified_owned());
        }
        opening.insert(key.clone(), Default::default());
        OpeningTurn::Own(OpeningGuard { pool: self, key: key.clone() })
    }

    /// Adds a new connection and returns a place on it.
    pub(crate) fn add(&self, connection: Rc<Http2Connection>) -> StreamSlot {
        let slot = connection.stream();
        self.connections.borrow_mut().entry(connection.key.clone()).or_default().push(connection);
        slot
    }

    /// Closes the connection that has been idle longest; false if none is idle.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut connections = self.connections.borrow_mut();
        let idle = connections.values_mut().flat_map(|list| {
            let oldest = list.iter().enumerate().filter_map(|(at, one)| Some((one.idle_since()?, at))).min();
            oldest.map(|(since, at)| (since, at, list))
        });
        let Some((_, at, list)) = idle.min_by_key(|(since, ..)| *since) else { return false };
        list.remove(at).close();
        true
    }

    /// Removes connections from the pool that may not be kept, or whose endpoint no longer exists (`belongs` is false). They close after their last
    /// request.
    pub(crate) fn sweep(&self, now: u64, rules: &KeepAlive, belongs: impl Fn(&Http2Connection) -> bool) {
        self.connections.borrow_mut().retain(|_, list| {
            list.retain(|connection| connection.is_fresh(now, rules) && belongs(connection));
            !list.is_empty()
        });
    }
}

impl Drop for OpeningGuard<'_> {
    fn drop(&mut self) {
        if let Some(opened) = self.pool.opening.borrow_mut().remove(&self.key) {
            opened.notify_waiters();
        }
    }
}
