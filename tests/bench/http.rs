//! HTTP/1.1 with small bodies, every proxy between the same load and the same backend.

mod message;
mod stream;

pub(crate) mod backend;
mod load;

mod haproxy;
mod nginx;
mod portolan;
pub(crate) mod pump;

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::samples::Samples;
use crate::server::Server;
use crate::table::Table;
use crate::testbed::Testbed;

use load::Load;
use stream::TlsSettings;

/// Connections of the load, each with one request under way.
const CONNECTIONS: usize = 64;

/// Before each round.
const WARM_UP: Duration = Duration::from_millis(200);

/// Starts an engine in front of the backend, or says why it cannot be part of this run.
type Start = fn(&Testbed, u16, Option<&TlsSettings>) -> Result<Server, String>;

/// The order of the tables. The first is the floor.
const ENGINES: &[(&str, Start)] = &[
    ("bare epoll byte pump", pump::start),
    ("nginx", nginx::without_log),
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
    keep_alive: Samples,
    /// One connection for each request.
    handshakes: Samples,
}

/// Measures every engine that there is, in the clear.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
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
    let backend = backend::start(testbed, Ipv4Addr::LOCALHOST)?;
    let mut engines = start(testbed, &backend, None, &mut table)?;
    for _ in 0..rounds {
        for engine in &mut engines {
            engine.measure_keep_alive(length);
        }
    }
    let pump = cost_of(&engines, ENGINES[0].0, |engine| &engine.keep_alive);
    let ingress_nginx = cost_of(&engines, nginx::INGRESS, |engine| &engine.keep_alive);
    for Engine { name, keep_alive, .. } in &engines {
        table.row(vec![
            (*name).to_owned(),
            micros(keep_alive),
            keep_alive.spread().map_or("–".to_owned(), |(least, most)| format!("{least:.1}–{most:.1}")),
            ratio(keep_alive, pump),
            ratio(keep_alive, ingress_nginx),
            format!("{:.0}", keep_alive.rate().unwrap_or(0.0)),
        ]);
        table.note_failures(name, "keep-alive", keep_alive);
    }
    add_notes(&mut table, rounds, length);
    Ok(table)
}

/// The same over TLS: kept connections, and connections that are opened for one request.
pub(crate) fn compare_tls(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
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
    let (backend, tls) = (backend::start(testbed, Ipv4Addr::LOCALHOST)?, TlsSettings::new()?);
    let mut engines = start(testbed, &backend, Some(&tls), &mut table)?;
    for _ in 0..rounds {
        for engine in &mut engines {
            engine.measure_keep_alive(length);
            engine
                .handshakes
                .measure(&engine.server.process, || engine.load.one_request_per_connection(length));
        }
    }
    let nginx_keep_alive = cost_of(&engines, nginx::INGRESS, |engine| &engine.keep_alive);
    let nginx_handshakes = cost_of(&engines, nginx::INGRESS, |engine| &engine.handshakes);
    for Engine { name, keep_alive, handshakes, .. } in &engines {
        table.row(vec![
            (*name).to_owned(),
            micros(keep_alive),
            ratio(keep_alive, nginx_keep_alive),
            micros(handshakes),
            ratio(handshakes, nginx_handshakes),
        ]);
        table.note_failures(name, "kept connections", keep_alive);
        table.note_failures(name, "handshakes", handshakes);
    }
    table.note("TLS 1.3, X25519, AES-128-GCM, certificate on P-256, no session resumed");
    add_notes(&mut table, rounds, length);
    Ok(table)
}

impl Engine<'_> {
    fn measure_keep_alive(&mut self, length: Duration) {
        self.load.saturate(WARM_UP);
        self.keep_alive.measure(&self.server.process, || self.load.saturate(length));
    }
}

fn start<'a>(
    testbed: &Testbed,
    backend: &Server,
    tls: Option<&'a TlsSettings>,
    table: &mut Table,
) -> Result<Vec<Engine<'a>>, String> {
    let mut engines = Vec::new();
    for (name, start) in ENGINES {
        match start(testbed, backend.address.port(), tls).and_then(|server| ready(server, tls)) {
            Ok(server) => {
                let load = Load::new(server.address, CONNECTIONS, tls)?;
                let (keep_alive, handshakes) = (Samples::default(), Samples::default());
                engines.push(Engine { name, server, load, keep_alive, handshakes });
            }
            Err(reason) => table.note(format!("{name} is not in this run: {reason}")),
        }
    }
    Ok(engines)
}

fn ready(mut server: Server, tls: Option<&TlsSettings>) -> Result<Server, String> {
    server.process.wait_until(|| load::exchange(server.address, tls).is_ok_and(|correct| correct))?;
    Ok(server)
}

fn cost_of(engines: &[Engine<'_>], name: &str, of: for<'e> fn(&'e Engine<'_>) -> &'e Samples) -> Option<f64> {
    engines.iter().find(|engine| engine.name == name).and_then(|engine| of(engine).cost())
}

fn micros(samples: &Samples) -> String {
    samples.cost().map_or("–".to_owned(), |micros| format!("{micros:.1}"))
}

fn ratio(samples: &Samples, to: Option<f64>) -> String {
    samples.cost().zip(to).map_or("–".to_owned(), |(micros, to)| format!("{:.2}", micros / to))
}

fn add_notes(table: &mut Table, rounds: usize, length: Duration) {
    table.note(format!("median of {rounds} rounds of {:.1} s each, engines in turn", length.as_secs_f64()));
    table.note(
        "nginx as ingress-nginx configures it: its headers, log line and proxy settings, but none of its Lua",
    );
}
