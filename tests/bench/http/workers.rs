//! One worker on one core beside four workers on two cores, all for one route.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::http::message::BackendPage;
use crate::http::{CONNECTIONS, WARM_UP, add_notes, backend, load::Load, micros, portolan, ratio, ready};
use crate::samples::Samples;
use crate::table::Table;
use crate::testbed::Testbed;

/// Measures Portolan only. The load shares its core with some of the four workers; only CPU time of the server counts.
pub(crate) fn measure(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        "Workers: one hot route, HTTP/1.1 keep-alive",
        &["workers", "CPU µs per request", "lowest–highest", "× one worker"],
    );
    let backend = backend::start(testbed, Ipv4Addr::LOCALHOST)?;
    let both = [testbed.server, testbed.load];
    let mut servers = Vec::new();
    for (name, cores, workers) in [("1, one core", &both[..1], 1), ("4, two cores", &both[..], 4)] {
        let server = portolan::with_workers(testbed, cores, backend.address.port(), workers)?;
        let server = ready(server, None)?;
        let load = Load::new(server.address, CONNECTIONS, None, BackendPage::Item)?;
        servers.push((name, server, load, Samples::default()));
    }
    for _ in 0..rounds {
        for (_, server, load, samples) in &mut servers {
            load.saturate(WARM_UP);
            samples.measure(&server.process, || load.saturate(length));
        }
    }
    let one = servers.first().and_then(|(.., samples)| samples.cost());
    for (name, _, _, samples) in &servers {
        let spread = samples.spread().map_or("–".to_owned(), |(low, high)| format!("{low:.1}–{high:.1}"));
        table.row(vec![(*name).to_owned(), micros(samples), spread, ratio(samples, one)]);
        table.note_failures(name, "keep-alive", samples);
    }
    add_notes(&mut table, rounds, length);
    Ok(table)
}
