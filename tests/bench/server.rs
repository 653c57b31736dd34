//! A server that answers under an address.

use std::net::{Ipv4Addr, SocketAddr};

use crate::process::Process;

/// An engine that was started.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A process that serves a port on loopback.
    pub(crate) fn new(process: Process, port: u16) -> Self {
        Self { process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }
}
