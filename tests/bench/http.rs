//! HTTP/1.1 keep-alive with small bodies, every proxy between the same load and the same backend.

mod message;

pub(crate) mod backend;
mod load;

mod haproxy;
mod nginx;
mod portolan;
pub(crate) mod pump;

use std::time::Duration;

use crate::place::Place;
use crate::round::Samples;
use crate::server::Server;
use crate::table::Table;

use load::Load;

/// Connections of the load, each with one request under way.
const CONNECTIONS: usize = 64;

/// Starts an engine in front of the backend on a port, or says why it cannot be part of this run.
type Start = fn(&Place, u16) -> Result<Server, String>;

/// The order of the table. The first is the floor.
const ENGINES: &[(&str, Start)] = &[
    ("bare epoll byte pump", pump::start),
    ("nginx", nginx::bare),
    ("nginx with a log", nginx::with_log),
    (nginx::INGRESS, nginx::as_ingress_nginx),
    ("HAProxy", haproxy::start),
    ("Portolan, log on", portolan::start),
];

/// Measures every engine that there is.
pub(crate) fn compare(place: &Place, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        format!("HTTP/1.1 keep-alive, {CONNECTIONS} connections, {} byte bodies", message::BODY.len()),
        &[
            "engine",
            "CPU µs per request",
            "least–most",
            "× pump",
            "× nginx as ingress-nginx",
            "requests/s of one core",
        ],
    );
    let backend = backend::start(place)?;
    let mut engines = Vec::new();
    for (name, start) in ENGINES {
        match start(place, backend.address.port()).and_then(ready) {
            Ok(server) => {
                let load = Load::new(server.address, CONNECTIONS)?;
                engines.push((*name, server, load, Samples::default()));
            }
            Err(why) => table.note(format!("{name} is not in this run: {why}")),
        }
    }
    for _ in 0..rounds {
        for (_, server, load, samples) in &mut engines {
            load.flood(Duration::from_millis(200));
            samples.measure(&server.process, || load.flood(length));
        }
    }
    let cost_of = |wanted: &str| {
        engines.iter().find(|(name, ..)| *name == wanted).and_then(|(.., samples)| samples.micros())
    };
    let (pump, ingress_nginx) = (cost_of(ENGINES[0].0), cost_of(nginx::INGRESS));
    for (name, _, _, samples) in &engines {
        let micros = samples.micros();
        let ratio = |to: Option<f64>| {
            micros.zip(to).map_or("–".to_owned(), |(micros, to)| format!("{:.2}", micros / to))
        };
        table.row(vec![
            (*name).to_owned(),
            micros.map_or("–".to_owned(), |micros| format!("{micros:.1}")),
            samples.spread().map_or("–".to_owned(), |(least, most)| format!("{least:.1}–{most:.1}")),
            ratio(pump),
            ratio(ingress_nginx),
            format!("{:.0}", samples.rate().unwrap_or(0.0)),
        ]);
        table.note_failures(name, "keep-alive", samples);
    }
    table.note(format!("median of {rounds} rounds of {:.1} s each, engines in turn", length.as_secs_f64()));
    table.note(
        "nginx as ingress-nginx configures it: its headers, log line and proxy settings, but none of its Lua",
    );
    Ok(table)
}

fn ready(mut server: Server) -> Result<Server, String> {
    server.process.wait(|| message::once(server.address))?;
    Ok(server)
}
