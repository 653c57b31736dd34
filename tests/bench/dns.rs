//! DNS over UDP: answers from the cluster zone, with the same records in every server.

pub(crate) mod service;

pub(crate) mod query;
mod batch;
mod dataset;

mod load;

pub(crate) mod bare_loop;
mod coredns;
mod knot;
mod portolan;

pub(crate) mod kinds;
pub(crate) mod silent_upstream;

use std::time::Duration;

use crate::samples::Samples;
use crate::server::Server;
use crate::table::Table;
use crate::testbed::Testbed;

use dataset::Dataset;
use load::Load;
use query::{QueryKind, TestQuery};

/// Number of Services, as in a medium-sized cluster.
const SERVICES: usize = 2000;

/// A rate of queries per second at which a receive batch holds one or two packets.
const LOW_RATE: u32 = 20_000;

/// Starts a server, or returns why it cannot be measured.
type Start = fn(&Testbed, &Dataset) -> Result<Server, String>;

/// The servers in the order of the table. The first is the baseline.
const SERVERS: &[(&str, Start)] = &[
    ("bare recvmmsg loop", bare_loop::start),
    ("Knot DNS", knot::start),
    ("CoreDNS", coredns::start),
    ("Portolan", portolan::start),
    ("Portolan, two threads", portolan::start_two_threads),
    ("Portolan, wildcard address", portolan::start_wildcard),
];

/// How the load generator paces its queries.
#[derive(Clone, Copy)]
enum LoadMode {
    /// As fast as answers arrive.
    Saturate,
    /// Queries per second.
    FixedRate(u32),
}

const COLUMNS: &[(&str, QueryKind, LoadMode)] = &[
    ("A", QueryKind::Address, LoadMode::Saturate),
    ("NXDOMAIN", QueryKind::Missing, LoadMode::Saturate),
    ("SRV", QueryKind::Port, LoadMode::Saturate),
    ("A at 20,000/s", QueryKind::Address, LoadMode::FixedRate(LOW_RATE)),
];

/// Measures all available servers.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let dataset = Dataset::new(SERVICES);
    let mut table = Table::new(
        format!(
            "DNS over UDP, {SERVICES} Services: CPU µs per answer (× bare loop), and answers per second on one core"
        ),
        &["server", "A", "NXDOMAIN", "SRV", "A at 20,000/s", "A/s", "NXDOMAIN/s"],
    );
    let mut servers = Vec::new();
    for (name, start) in SERVERS {
        match start(testbed, &dataset).and_then(|server| ready(server, &dataset)) {
            Ok(server) => servers.push((*name, server, vec![Samples::default(); COLUMNS.len()])),
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    for _ in 0..rounds {
        for (column, (_, kind, mode)) in COLUMNS.iter().enumerate() {
            let queries = dataset.queries(*kind);
            for (_, server, samples) in &mut servers {
                let mut load = Load::new(server.address)?;
                load.saturate(&queries, Duration::from_millis(100));
                samples[column].measure(&server.process, || load.run(&queries, *mode, length));
            }
        }
    }
    let baseline: Vec<_> = servers.first().map(|(_, _, samples)| samples.clone()).unwrap_or_default();
    for (name, _, samples) in &servers {
        let mut row = vec![(*name).to_owned()];
        for ((column, ..), (samples, baseline)) in COLUMNS.iter().zip(samples.iter().zip(&baseline)) {
            row.push(cost_cell(samples, baseline));
            table.note_failures(name, column, samples);
        }
        row.extend(samples[..2].iter().map(|samples| format!("{:.0}", samples.rate().unwrap_or(0.0))));
        table.row(row);
    }
    table.note(format!("median of {rounds} rounds of {:.1} s each, servers in turn", length.as_secs_f64()));
    table.note(
        "all servers have one socket on 127.0.0.1; with two threads, one shares the core of the load generator; on the wildcard \
         address the kernel also reports and takes the server's address of each packet",
    );
    Ok(table)
}

fn cost_cell(samples: &Samples, baseline: &Samples) -> String {
    match (samples.cost(), baseline.cost()) {
        (Some(micros), Some(baseline)) => format!("{micros:.2} ({:.2}×)", micros / baseline),
        _ => "–".to_owned(),
    }
}

/// Waits until the server answers every kind of query correctly.
fn ready(mut server: Server, dataset: &Dataset) -> Result<Server, String> {
    let queries: Vec<TestQuery> = [QueryKind::Address, QueryKind::Missing, QueryKind::Port]
        .iter()
        .flat_map(|kind| dataset.queries(*kind).into_iter().take(2))
        .collect();
    let mut load = Load::new(server.address)?;
    server.process.wait_until(|| queries.iter().all(|query| load.query_once(query)))?;
    Ok(server)
}
