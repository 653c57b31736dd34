//! The addresses of HTTP and HTTPS that are open.

use std::net::SocketAddr;

/// The addresses that are listened on, with the ports that the system has chosen.
#[derive(Debug, Default)]
pub(crate) struct ListeningAddresses {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
}

impl ListeningAddresses {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SocketAddr> {
        self.http.iter().chain(&self.https)
    }
}
