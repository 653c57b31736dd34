//! Idle connections of a worker to servers of subrequests (`auth-keepalive`).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use crate::upstream::limit::UpstreamSlot;
use crate::upstream::subrequest_connection::SubrequestConnection;

/// How many connections may be idle, to all servers. There are few servers.
const MAX_IDLE: usize = 64;

/// The idle connections, in the order in which they became idle.
#[derive(Default)]
pub(crate) struct SubrequestPool(RefCell<Vec<SubrequestConnection>>);

impl SubrequestPool {
    /// Takes the connection to one of these addresses that became idle last, if the server has not closed it.
    pub(crate) fn take(
        &self,
        addresses: &[SocketAddr],
        tls_name: Option<&str>,
        now: u64,
    ) -> Option<SubrequestConnection> {
        let mut idle = self.0.borrow_mut();
        loop {
            let at = idle.iter().rposition(|connection| {
                let server = &connection.server;
                server.tls_name.as_deref() == tls_name && addresses.contains(&server.address)
            })?;
            let mut connection = idle.remove(at);
            if is_usable(&mut connection, now) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for another request, if its rules allow it. Of more idle connections to a server than its rules allow, or of too
    /// many in all, the one that has been idle longest is closed.
    pub(crate) fn put(&self, mut connection: SubrequestConnection, now: u64) {
        let rules = connection.rules;
        let is_wanted = connection.slot.as_ref().is_some_and(UpstreamSlot::is_wanted);
        let is_used_up = connection.served >= rules.requests || age(connection.opened, now) > rules.time;
        if !connection.is_reusable || is_wanted || is_used_up || rules.connections == 0 {
            return;
        }
        let mut idle = self.0.borrow_mut();
        let same = |other: &SubrequestConnection| other.server == connection.server;
        if idle.iter().filter(|other| same(other)).count() >= rules.connections {
            let oldest = idle.iter().position(same).expect("there is one");
            idle.remove(oldest);
        } else if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        connection.idle_since = now;
        idle.push(connection);
    }

    /// Closes the connection that has been idle longest; false if none is idle.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut idle = self.0.borrow_mut();
        let is_any = !idle.is_empty();
        if is_any {
            idle.remove(0);
        }
        is_any
    }

    /// Closes connections that have been idle too long or were closed by the server.
    pub(crate) fn sweep(&self, now: u64) {
        self.0.borrow_mut().retain_mut(|connection| is_usable(connection, now));
    }
}

fn is_usable(connection: &mut SubrequestConnection, now: u64) -> bool {
    connection.rules.keeps(connection.idle_since, connection.opened, now) && connection.is_quiet()
}

fn age(since: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use ingress_routes::KeepAlive;
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::upstream::subrequest_connection::tests::{connection, server};

    fn rules(connections: usize) -> KeepAlive {
        KeepAlive { connections, requests: 2, timeout: Duration::from_secs(1), ..KeepAlive::default() }
    }

    /// A connection that has just served a request.
    fn used(last: u8, connections: usize) -> (SubrequestConnection, DuplexStream) {
        let (mut connection, far) = connection(server(last));
        (connection.rules, connection.is_reusable, connection.served) = (rules(connections), true, 1);
        (connection, far)
    }

    fn take(pool: &SubrequestPool, last: u8, now: u64) -> Option<SubrequestConnection> {
        pool.take(&[server(last).address], None, now)
    }

    #[tokio::test]
    async fn a_connection_is_reused_within_its_time_and_for_its_server_only() {
        let (pool, (connection, _far)) = (SubrequestPool::default(), used(1, 1));
        pool.put(connection, 5);
        assert!(take(&pool, 2, 5).is_none());
        assert!(pool.take(&[server(1).address], Some("auth.example"), 5).is_none());
        let mut connection = take(&pool, 1, 1005).expect("idle for a second");
        pool.put(connection, 5);
        assert!(take(&pool, 1, 1006).is_none(), "idle for longer");
        connection = used(1, 1).0;
        connection.served = 2;
        pool.put(connection, 5);
        assert!(take(&pool, 1, 5).is_none(), "it has served as many requests as allowed");
        let (mut connection, _far) = used(1, 1);
        connection.is_reusable = false;
        pool.put(connection, 5);
        assert!(take(&pool, 1, 5).is_none());
    }

    #[tokio::test]
    async fn connections_that_the_server_closed_or_wrote_to_are_not_used() {
        let pool = SubrequestPool::default();
        let ((closed, far), (noisy, mut other)) = (used(1, 2), used(1, 2));
        other.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("written");
        drop(far);
        pool.put(closed, 1);
        pool.put(noisy, 1);
        assert!(take(&pool, 1, 1).is_none());
        let (closed, far) = used(1, 1);
        drop(far);
        pool.put(closed, 1);
        pool.sweep(1);
        assert!(!pool.close_oldest(), "the sweep has closed it");
    }

    #[tokio::test]
    async fn idle_connections_are_limited_for_each_server_and_in_all() {
        let pool = SubrequestPool::default();
        let mut far = Vec::new();
        for (server, connections) in std::iter::repeat_n((1, 2), 5).chain((2..=255).map(|last| (last, 1))) {
            let (connection, other) = used(server, connections);
            far.push(other);
            pool.put(connection, 1);
            let same = pool.0.borrow().iter().filter(|idle| idle.server == self::server(1)).count();
            assert!(same <= 2, "{same}");
        }
        assert_eq!(pool.0.borrow().len(), MAX_IDLE);
        assert!(take(&pool, 1, 1).is_none() && take(&pool, 255, 1).is_some());
        while pool.close_oldest() {}
        assert!(take(&pool, 254, 1).is_none());
    }
}
