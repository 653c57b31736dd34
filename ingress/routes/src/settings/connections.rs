//! Connections of clients and to endpoints.

use std::time::Duration;

/// Connections of clients and to endpoints, named as keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionSettings {
    /// `use-http2`: HTTP/2 by ALPN and, on the HTTP port, with prior knowledge.
    pub http2: bool,
    /// `http2-max-concurrent-streams`.
    pub http2_max_concurrent_streams: u32,
    /// `keep-alive`: how long a client's connection may be idle.
    pub keep_alive: Duration,
    /// `keep-alive-requests`: how many requests it may carry.
    pub keep_alive_requests: u32,
    /// `client-header-timeout`: how long receiving a request's head may take.
    pub client_header_timeout: Duration,
    /// `client-body-timeout`: the longest pause between two pieces of a request's body.
    pub client_body_timeout: Duration,
    /// nginx's `send_timeout`, for which there is no key: the longest pause between two reads of a client from its response.
    pub client_send_timeout: Duration,
    /// `large-client-header-buffers`: the longest line and the longest head of a request in bytes.
    pub head_limits: (usize, usize),
    /// Connections to endpoints: `upstream-keepalive-*`.
    pub upstream_keep_alive: KeepAlive,
    /// `max-worker-connections`: connections of clients that a worker may have, and connections to endpoints, each. Fewer
    /// where the limit of open files allows fewer.
    pub max_worker_connections: usize,
    /// `worker-shutdown-timeout`: how long open requests may go on after the proxy was stopped.
    pub worker_shutdown_timeout: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            http2: true,
            http2_max_concurrent_streams: 128,
            keep_alive: Duration::from_secs(75),
            keep_alive_requests: 1000,
            client_header_timeout: minute,
            client_body_timeout: minute,
            client_send_timeout: minute,
            head_limits: (8 << 10, 32 << 10),
            upstream_keep_alive: KeepAlive::default(),
            max_worker_connections: 16_384,
            worker_shutdown_timeout: Duration::from_secs(240),
        }
    }
}

/// Limits of kept connections to endpoints, named as keys of the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeepAlive {
    /// `upstream-keepalive-connections`: how many idle connections a worker keeps; 0 for none.
    pub connections: usize,
    /// `upstream-keepalive-timeout`: how long a connection may be idle.
    pub timeout: Duration,
    /// `upstream-keepalive-time`: how old a connection may become.
    pub time: Duration,
    /// `upstream-keepalive-requests`: how many requests a connection may serve.
    pub requests: u32,
}

impl KeepAlive {
    /// Whether an idle connection may be used again. `now` and the times since when it is idle and open are milliseconds of one clock.
    pub fn keeps(&self, idle_since: u64, opened: u64, now: u64) -> bool {
        let age = |since: u64| Duration::from_millis(now.saturating_sub(since));
        age(idle_since) <= self.timeout && age(opened) <= self.time
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            connections: 320,
            timeout: Duration::from_secs(60),
            time: Duration::from_secs(3600),
            requests: 10_000,
        }
    }
}
