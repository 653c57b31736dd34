//! Responses of 1 MiB over plain HTTP/1.1.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::http::message::BackendPage;
use crate::http::{PROXIES, WARM_UP, add_notes, backend, load::Load, micros, nginx, portolan, ratio, ready};
use crate::samples::Samples;
use crate::table::Table;
use crate::testbed::Testbed;

/// Client connections: few, because each has up to 1 MiB on its way.
const CONNECTIONS: usize = 8;

/// Measures all proxies but Portolan's second configuration, which reads the same bytes.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        format!("HTTP/1.1 keep-alive, {CONNECTIONS} connections, bodies of 1 MiB"),
        &["server", "CPU µs per response", "× nginx", "responses/s on one core"],
    );
    let backend = backend::start(testbed, Ipv4Addr::LOCALHOST)?;
    let mut proxies = Vec::new();
    for (name, start) in PROXIES.iter().filter(|(name, _)| *name != portolan::ANNOTATED) {
        match start(testbed, backend.address.port(), None).and_then(|server| ready(server, None)) {
            Ok(server) => {
                let load = Load::new(server.address, CONNECTIONS, None, BackendPage::Mebibyte)?;
                proxies.push((*name, server, load, Samples::default()));
            }
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    for _ in 0..rounds {
        for (_, server, load, samples) in &mut proxies {
            load.saturate(WARM_UP);
            samples.measure(&server.process, || load.saturate(length));
        }
    }
    let bare =
        proxies.iter().find(|(name, ..)| *name == nginx::BARE).and_then(|(.., samples)| samples.cost());
    for (name, _, _, samples) in &proxies {
        let rate = format!("{:.0}", samples.rate().unwrap_or(0.0));
        table.row(vec![(*name).to_owned(), micros(samples), ratio(samples, bare), rate]);
        table.note_failures(name, "1 MiB", samples);
    }
    add_notes(&mut table, rounds, length);
    Ok(table)
}
