//! HTTP and WebSocket, every proxy with the same load and the same backend.

mod message;
mod stream;

pub(crate) mod backend;
mod load;

pub(crate) mod bodies;
pub(crate) mod grpc;
pub(crate) mod http2;
pub(crate) mod idle;
pub(crate) mod instructions;
pub(crate) mod websocket;
pub(crate) mod workers;

mod envoy;
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
use message::BackendPage;
use stream::LoadTls;

/// Client connections, each with one request in flight.
const CONNECTIONS: usize = 64;

/// Load before each round, which is not measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// Starts a proxy in front of the backend, or returns why it cannot be measured.
type Start = fn(&Testbed, u16, Option<&LoadTls>) -> Result<Server, String>;

/// The proxies in the order of the tables. The first is the baseline.
const PROXIES: &[(&str, Start)] = &[
    (pump::NAME, pump::start),
    (nginx::BARE, nginx::without_log),
    ("nginx with a log", nginx::with_log),
    (nginx::INGRESS, nginx::as_ingress_nginx),
    (haproxy::NAME, haproxy::start),
    (envoy::NAME, envoy::start),
    (portolan::NAME, portolan::start),
    (portolan::ANNOTATED, portolan::with_twenty_annotations),
];

/// A running proxy and its measurements.
struct Proxy<'a> {
    name: &'static str,
    server: Server,
    load: Load<'a>,
    keep_alive: Samples,
    /// Requests that each open a connection of their own.
    handshakes: Samples,
}

/// Measures all available proxies without TLS.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        format!("HTTP/1.1 keep-alive, {CONNECTIONS} connections, bodies of {} bytes", message::ITEM.len()),
        &[
            "server",
            "CPU µs per request",
            "lowest–highest",
            "× pump",
            "× nginx as ingress-nginx",
            "requests/s on one core",
        ],
    );
    let backend = backend::start(testbed, Ipv4Addr::LOCALHOST)?;
    let mut proxies = start(testbed, &backend, None, BackendPage::Item, &mut table)?;
    for _ in 0..rounds {
        for proxy in &mut proxies {
            proxy.measure_keep_alive(length);
        }
    }
    let pump = cost_of(&proxies, pump::NAME, |proxy| &proxy.keep_alive);
    let ingress_nginx = cost_of(&proxies, nginx::INGRESS, |proxy| &proxy.keep_alive);
    for Proxy { name, keep_alive, .. } in &proxies {
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

/// Measures over TLS: keep-alive connections, and connections that are opened for one request.
pub(crate) fn compare_tls(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        "HTTPS: CPU µs per request",
        &[
            "server",
            "keep-alive",
            "× nginx as ingress-nginx",
            "full handshake and one request",
            "× nginx as ingress-nginx",
        ],
    );
    let (backend, tls) = (backend::start(testbed, Ipv4Addr::LOCALHOST)?, LoadTls::new()?);
    let mut proxies = start(testbed, &backend, Some(&tls), BackendPage::Item, &mut table)?;
    for _ in 0..rounds {
        for proxy in &mut proxies {
            proxy.measure_keep_alive(length);
            proxy.handshakes.measure(&proxy.server.process, || proxy.load.one_request_per_connection(length));
        }
    }
    let nginx_keep_alive = cost_of(&proxies, nginx::INGRESS, |proxy| &proxy.keep_alive);
    let nginx_handshakes = cost_of(&proxies, nginx::INGRESS, |proxy| &proxy.handshakes);
    for Proxy { name, keep_alive, handshakes, .. } in &proxies {
        table.row(vec![
            (*name).to_owned(),
            micros(keep_alive),
            ratio(keep_alive, nginx_keep_alive),
            micros(handshakes),
            ratio(handshakes, nginx_handshakes),
        ]);
        table.note_failures(name, "keep-alive", keep_alive);
        table.note_failures(name, "handshakes", handshakes);
    }
    table.note("TLS 1.3, X25519, AES-128-GCM, P-256 certificate, no session resumption");
    add_notes(&mut table, rounds, length);
    Ok(table)
}

impl Proxy<'_> {
    fn measure_keep_alive(&mut self, length: Duration) {
        self.load.saturate(WARM_UP);
        self.keep_alive.measure(&self.server.process, || self.load.saturate(length));
    }
}

fn start<'a>(
    testbed: &Testbed,
    backend: &Server,
    tls: Option<&'a LoadTls>,
    page: BackendPage,
    table: &mut Table,
) -> Result<Vec<Proxy<'a>>, String> {
    let mut proxies = Vec::new();
    for (name, start) in PROXIES {
        match start(testbed, backend.address.port(), tls).and_then(|server| ready(server, tls)) {
            Ok(server) => {
                let load = Load::new(server.address, CONNECTIONS, tls, page)?;
                let (keep_alive, handshakes) = (Samples::default(), Samples::default());
                proxies.push(Proxy { name, server, load, keep_alive, handshakes });
            }
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    Ok(proxies)
}

fn ready(mut server: Server, tls: Option<&LoadTls>) -> Result<Server, String> {
    server.process.wait_until(|| load::exchange(server.address, tls).is_ok_and(|correct| correct))?;
    Ok(server)
}

fn cost_of(proxies: &[Proxy<'_>], name: &str, of: for<'e> fn(&'e Proxy<'_>) -> &'e Samples) -> Option<f64> {
    proxies.iter().find(|proxy| proxy.name == name).and_then(|proxy| of(proxy).cost())
}

fn micros(samples: &Samples) -> String {
    samples.cost().map_or("–".to_owned(), |micros| format!("{micros:.1}"))
}

fn ratio(samples: &Samples, to: Option<f64>) -> String {
    samples.cost().zip(to).map_or("–".to_owned(), |(micros, to)| format!("{:.2}", micros / to))
}

/// Cost as a multiple of a baseline's.
fn cost_ratio(samples: &Samples, baseline: Option<&Samples>) -> String {
    ratio(samples, baseline.and_then(Samples::cost))
}

fn add_notes(table: &mut Table, rounds: usize, length: Duration) {
    table.note(format!("median of {rounds} rounds of {:.1} s each, servers in turn", length.as_secs_f64()));
    table.note(
        "nginx as ingress-nginx: the headers, log format and proxy settings of ingress-nginx's template, without its Lua",
    );
}
