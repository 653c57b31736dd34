//! Settings of TCP and UDP services.

use std::time::Duration;

/// How streams and UDP sessions are passed on; named as keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSettings {
    /// `proxy-stream-timeout`: how long neither side may send anything.
    pub timeout: Duration,
    /// `proxy-stream-next-upstream`: another endpoint is tried when one cannot be connected to.
    pub next_upstream: bool,
    /// `proxy-stream-next-upstream-timeout`: no attempt begins later than this after the first one; zero for no limit.
    pub next_upstream_timeout: Duration,
    /// `proxy-stream-next-upstream-tries`: how many endpoints are tried; 0 for each of them.
    pub next_upstream_tries: u32,
    /// `proxy-stream-responses`: how many datagrams an endpoint sends for each datagram of a client. The session ends with the last
    /// one.
    pub responses: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            next_upstream: true,
            next_upstream_timeout: Duration::from_secs(600),
            next_upstream_tries: 3,
            responses: 1,
        }
    }
}
