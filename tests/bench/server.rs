//! A started server and its address.

use std::net::{Ipv4Addr, SocketAddr};

use crate::process::Process;

/// A started server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A process that serves `port` on 127.0.0.1.
    pub(crate) fn new(process: Process, port: u16) -> Self {
        Self { process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }
}
