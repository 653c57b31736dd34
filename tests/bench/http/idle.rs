//! Resident memory of idle client connections, silent ones and those that have had one response.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::http::load::request_and_keep;
use crate::http::stream::{LoadStream, LoadTls};
use crate::http::{PROXIES, backend, haproxy, nginx, portolan, ready};
use crate::table::Table;
use crate::testbed::Testbed;

/// Connections for one figure. Below the usual limit of 20,000 descriptors on both sides.
const CONNECTIONS: usize = 4000;

/// After this time servers have given back what an idle connection does not need: Portolan its buffers after one second, and the
/// allocator its pages after another.
const SETTLED: Duration = Duration::from_secs(4);

/// Measures memory for each idle connection of the proxies in kibibytes.
pub(crate) fn measure(testbed: &Testbed) -> Result<Table, String> {
    let mut table = Table::new(
        format!("Idle client connections: RSS in KiB for each of {CONNECTIONS}"),
        &["server", "plain, silent", "plain, after a request", "TLS, silent", "TLS, after a request"],
    );
    let (backend, tls) = (backend::start(testbed, Ipv4Addr::LOCALHOST)?, LoadTls::new()?);
    let measured = [haproxy::NAME, nginx::INGRESS, portolan::NAME];
    for (name, start) in PROXIES.iter().filter(|(name, _)| measured.contains(name)) {
        let mut cells = vec![(*name).to_owned()];
        for tls in [None, Some(&tls)] {
            for requests in [false, true] {
                let server = start(testbed, backend.address.port(), tls).and_then(|it| ready(it, tls))?;
                let rss = || {
                    std::thread::sleep(SETTLED);
                    server.process.rss()
                };
                // Memory that any first connections need (thread caches, pools) is not counted.
                let warm = open(server.address, tls, requests, CONNECTIONS / 8)?;
                let before = rss();
                let connections = open(server.address, tls, requests, CONNECTIONS)?;
                let kibibytes = rss().saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64;
                drop((warm, connections));
                cells.push(format!("{kibibytes:.1}"));
            }
        }
        table.row(cells);
    }
    table.note(format!("after {} s; kernel memory of sockets is not in RSS", SETTLED.as_secs()));
    Ok(table)
}

fn open(
    server: SocketAddr,
    tls: Option<&LoadTls>,
    requests: bool,
    count: usize,
) -> Result<Vec<LoadStream>, String> {
    let one = |_| {
        if requests { request_and_keep(server, tls) } else { LoadStream::open(server, tls) }
    };
    (0..count).map(one).collect::<std::io::Result<_>>().map_err(|error| format!("{server}: {error}"))
}
