//! How an address is listened on.

use std::time::Duration;

/// How the addresses of a server block are listened on. `None` for the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerSettings {
    /// UDP sockets per address, each with a thread of its own.
    pub sockets: Option<usize>,
    /// How long the first query of a TCP connection may take.
    pub read: Option<Duration>,
    /// How long the client may take to read replies.
    pub write: Option<Duration>,
    /// How long a further query may take.
    pub idle: Option<Duration>,
    /// Queries that one TCP connection may send.
    pub tcp_queries: Option<u32>,
}

impl ListenerSettings {
    /// These settings, and those of another server block at the same address where they set nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            sockets: self.sockets.or(other.sockets),
            read: self.read.or(other.read),
            write: self.write.or(other.write),
            idle: self.idle.or(other.idle),
            tcp_queries: self.tcp_queries.or(other.tcp_queries),
        }
    }
}
