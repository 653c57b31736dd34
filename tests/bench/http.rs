//! HTTP/1.1 with small bodies, every proxy between the same load and the same backend.

mod message;
mod wire;

pub(crate) mod backend;
mod load;

mod haproxy;
mod nginx;
mod portolan;
pub(crate) mod pump;

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::place::Place;
use crate::round::Samples;
use crate::server::Server;
use crate::table::Table;

use load::Load;
use wire::Tls;

/// Connections of the load, each with one request under way.
const CONNECTIONS: usize = 64;

/// Before each round.
const WARM_UP: Duration = Duration::from_millis(200);

/// Starts an engine in front of the backend, or says why it cannot be part of this run.
type Start = fn(&Place, u16, Option<&Tls>) -> Result<Server, String>;

/// The order of the tables. The first is the floor.
const ENGINES: &[(&str, Start)] = &[
    ("bare epoll byte pump", pump::start),
    ("nginx", nginx::bare),
    ("nginx with a log", nginx::with_log),
    (nginx::INGRESS, nginx::as_ingress_nginx),
    ("HAProxy", haproxy::start),
    ("Portolan, log on", portolan::start),
];

/// An engine in a run, and what it cost.
struct Engine<'a> {
    name: &'static str,
    server: Server,
    load: Load<'a>,
    kept: Samples,
    /// One connection for each request.
    opened: Samples,
}

/// Measures every engine that there is, in the clear.
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
    let backend = backend::start(place, Ipv4Addr::LOCALHOST)?;
    let mut engines = start(place, &backend, None, &mut table)?;
    for _ in 0..rounds {
        for engine in &mut engines {
            engine.keep_asking(length);
        }
    }
    let pump = cost_of(&engines, ENGINES[0].0, |engine| &engine.kept);
    let ingress_nginx = cost_of(&engines, nginx::INGRESS, |engine| &engine.kept);
    for Engine { name, kept, .. } in &engines {
        table.row(vec![
            (*name).to_owned(),
            micros(kept),
            kept.spread().map_or("–".to_owned(), |(least, most)| format!("{least:.1}–{most:.1}")),
            ratio(kept, pump),
            ratio(kept, ingress_nginx),
            format!("{:.0}", kept.rate().unwrap_or(0.0)),
        ]);
        table.note_failures(name, "keep-alive", kept);
    }
    conclude(&mut table, rounds, length);
    Ok(table)
}

/// The same over TLS: kept connections, and connections that are opened for one request.
pub(crate) fn compare_tls(place: &Place, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        "HTTPS: CPU µs per request",
        &[
            "engine",
            "kept connections",
            "× nginx as ingress-nginx",
            "full handshake and one request",
            "× nginx as ingress-nginx",
        ],
    );
    let (backend, tls) = (backend::start(place, Ipv4Addr::LOCALHOST)?, Tls::new()?);
    let mut engines = start(place, &backend, Some(&tls), &mut table)?;
    for _ in 0..rounds {
        for engine in &mut engines {
            engine.keep_asking(length);
            engine.opened.measure(&engine.server.process, || engine.load.knock(length));
        }
    }
    let kept_by_nginx = cost_of(&engines, nginx::INGRESS, |engine| &engine.kept);
    let opened_by_nginx = cost_of(&engines, nginx::INGRESS, |engine| &engine.opened);
    for Engine { name, kept, opened, .. } in &engines {
        table.row(vec![
            (*name).to_owned(),
            micros(kept),
            ratio(kept, kept_by_nginx),
            micros(opened),
            ratio(opened, opened_by_nginx),
        ]);
        table.note_failures(name, "kept connections", kept);
        table.note_failures(name, "handshakes", opened);
    }
    table.note("TLS 1.3, X25519, AES-128-GCM, certificate on P-256, no session resumed");
    conclude(&mut table, rounds, length);
    Ok(table)
}

impl Engine<'_> {
    fn keep_asking(&mut self, length: Duration) {
        self.load.flood(WARM_UP);
        self.kept.measure(&self.server.process, || self.load.flood(length));
    }
}

fn start<'a>(
    place: &Place,
    backend: &Server,
    tls: Option<&'a Tls>,
    table: &mut Table,
) -> Result<Vec<Engine<'a>>, String> {
    let mut engines = Vec::new();
    for (name, start) in ENGINES {
        match start(place, backend.address.port(), tls).and_then(|server| ready(server, tls)) {
            Ok(server) => {
                let load = Load::new(server.address, CONNECTIONS, tls)?;
                let (kept, opened) = (Samples::default(), Samples::default());
                engines.push(Engine { name, server, load, kept, opened });
            }
            Err(why) => table.note(format!("{name} is not in this run: {why}")),
        }
    }
    Ok(engines)
}

fn ready(mut server: Server, tls: Option<&Tls>) -> Result<Server, String> {
    server.process.wait(|| load::exchange(server.address, tls).is_ok_and(|right| right))?;
    Ok(server)
}

fn cost_of(engines: &[Engine<'_>], name: &str, of: for<'e> fn(&'e Engine<'_>) -> &'e Samples) -> Option<f64> {
    engines.iter().find(|engine| engine.name == name).and_then(|engine| of(engine).micros())
}

fn micros(samples: &Samples) -> String {
    samples.micros().map_or("–".to_owned(), |micros| format!("{micros:.1}"))
}

fn ratio(samples: &Samples, to: Option<f64>) -> String {
    samples.micros().zip(to).map_or("–".to_owned(), |(micros, to)| format!("{:.2}", micros / to))
}

fn conclude(table: &mut Table, rounds: usize, length: Duration) {
    table.note(format!("median of {rounds} rounds of {:.1} s each, engines in turn", length.as_secs_f64()));
    table.note(
        "nginx as ingress-nginx configures it: its headers, log line and proxy settings, but none of its Lua",
    );
}
