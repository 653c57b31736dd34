//! HTTP/2 over TLS, 1 KiB bodies, 32 concurrent streams for each connection, with h2load as the load.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::http::message::{BackendPage, HOST};
use crate::http::stream::LoadTls;
use crate::http::{PROXIES, backend, cost_ratio, micros, nginx, portolan, ready};
use crate::samples::{LoadResult, Samples};
use crate::table::Table;
use crate::testbed::{Testbed, find};

pub(super) const CONNECTIONS: &str = "4";
pub(super) const STREAMS: &str = "32";
/// Requests of one run of h2load. It does not reconnect, and servers end a connection after 1,000 requests.
pub(super) const REQUESTS: &str = "3900";

/// The load generator.
pub(super) fn h2load() -> Result<PathBuf, String> {
    let found = find("h2load", "H2LOAD");
    found.ok_or_else(|| "h2load is not installed (Debian package nghttp2-client)".to_owned())
}

/// Measures the proxies that serve HTTP/2.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        format!("HTTP/2 over TLS, {CONNECTIONS} connections with {STREAMS} streams, bodies of 1 KiB"),
        &["server", "CPU µs per request", "× nginx as ingress-nginx", "requests/s on one core"],
    );
    let program = h2load()?;
    let (backend, tls) = (backend::start(testbed, Ipv4Addr::LOCALHOST)?, LoadTls::new()?);
    let mut proxies = Vec::new();
    for (name, start) in PROXIES.iter().filter(|(name, _)| *name != portolan::ANNOTATED) {
        match start(testbed, backend.address.port(), Some(&tls)).and_then(|server| ready(server, Some(&tls)))
        {
            Ok(server) => proxies.push((*name, server, Samples::default())),
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    for _ in 0..rounds {
        for (_, server, samples) in &mut proxies {
            let target = BackendPage::Kibibyte.target();
            samples.measure(&server.process, || load_for(&program, server.address, target, &[], length));
        }
    }
    let baseline = proxies.iter().find(|(name, ..)| *name == nginx::INGRESS).map(|(.., samples)| samples);
    for (name, _, samples) in &proxies {
        let rate = format!("{:.0}", samples.rate().unwrap_or(0.0));
        table.row(vec![(*name).to_owned(), micros(samples), cost_ratio(samples, baseline), rate]);
        table.note_failures(name, "h2", samples);
    }
    table.note(format!("median of {rounds} rounds of {:.1} s each, servers in turn", length.as_secs_f64()));
    table.note(format!("h2load with {REQUESTS} requests at a time; its handshakes are part of a round"));
    Ok(table)
}

/// Runs h2load at least once, and again until `length` is over.
pub(super) fn load_for(
    program: &Path,
    server: SocketAddr,
    target: &str,
    options: &[&str],
    length: Duration,
) -> LoadResult {
    let mut all = LoadResult::default();
    let start = Instant::now();
    loop {
        let one = load(program, server, target, options);
        all.answers += one.answers;
        all.wrong += one.wrong;
        all.lost += one.lost;
        if start.elapsed() >= length {
            break;
        }
    }
    all.took = start.elapsed();
    all
}

/// Runs h2load once and reads the counts of its summary.
fn load(program: &Path, server: SocketAddr, target: &str, options: &[&str]) -> LoadResult {
    let output = Command::new(program)
        .args(["-c", CONNECTIONS, "-m", STREAMS, "-t", "1"])
        .args(["-n", REQUESTS])
        .arg(format!("--connect-to={server}"))
        .args(options)
        .arg(format!("https://{HOST}{target}"))
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    summary(&text)
}

/// Counts of h2load's lines `status codes:` and `requests:`.
fn summary(text: &str) -> LoadResult {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let count = |line: &str, of: &str| {
        let part = line.split(',').find(|part| part.trim_end().ends_with(of));
        part.and_then(|part| part.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let (codes, requests) = (line("status codes:"), line("requests:"));
    LoadResult {
        answers: count(codes, "2xx"),
        wrong: count(codes, "3xx") + count(codes, "4xx") + count(codes, "5xx"),
        lost: count(requests, "failed"),
        took: Duration::ZERO,
    }
}
