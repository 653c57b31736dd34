//! DNS over UDP: answers from the cluster's zone, every engine with the same names.

mod service;

mod ask;
mod batch;
mod names;

mod load;

pub(crate) mod bare;
mod coredns;
mod knot;
mod portolan;

pub(crate) mod silent;

use std::time::Duration;

use crate::place::Place;
use crate::round::Samples;
use crate::server::Server;
use crate::table::Table;

use ask::{Ask, Question};
use load::Load;
use names::Names;

/// As many Services as a mid-sized cluster has.
const SERVICES: usize = 2000;

/// Questions per second at which batches hold one or two packets.
const LOW_RATE: u32 = 20_000;

/// Starts an engine, or says why it cannot be part of this run.
type Start = fn(&Place, &Names) -> Result<Server, String>;

/// The order of the table.
const ENGINES: &[(&str, Start)] = &[
    ("bare recvmmsg loop", bare::start),
    ("Knot DNS", knot::start),
    ("CoreDNS", coredns::start),
    ("Portolan", portolan::start),
];

/// How a column loads the servers.
#[derive(Clone, Copy)]
enum Pace {
    /// As fast as answers come.
    Flood,
    /// So many questions a second.
    Steady(u32),
}

const COLUMNS: &[(&str, Ask, Pace)] = &[
    ("A", Ask::Address, Pace::Flood),
    ("NXDOMAIN", Ask::Missing, Pace::Flood),
    ("SRV", Ask::Port, Pace::Flood),
    ("A at 20,000/s", Ask::Address, Pace::Steady(LOW_RATE)),
];

/// Measures every engine that there is.
pub(crate) fn compare(place: &Place, rounds: usize, length: Duration) -> Result<Table, String> {
    let names = Names::new(SERVICES);
    let mut table = Table::new(
        format!(
            "DNS over UDP, {SERVICES} Services: CPU µs per answer (× bare loop), answers per second of one core"
        ),
        &["engine", "A", "NXDOMAIN", "SRV", "A at 20,000/s", "A/s", "NXDOMAIN/s"],
    );
    let mut engines = Vec::new();
    for (name, start) in ENGINES {
        match start(place, &names).and_then(|server| ready(server, &names)) {
            Ok(server) => engines.push((*name, server, vec![Samples::default(); COLUMNS.len()])),
            Err(why) => table.note(format!("{name} is not in this run: {why}")),
        }
    }
    for _ in 0..rounds {
        for (column, (_, ask, pace)) in COLUMNS.iter().enumerate() {
            let questions = names.questions(*ask);
            for (_, server, samples) in &mut engines {
                let mut load = Load::new(server.address)?;
                load.flood(&questions, Duration::from_millis(100));
                samples[column].measure(&server.process, || match pace {
                    Pace::Flood => load.flood(&questions, length),
                    Pace::Steady(rate) => load.steady(&questions, *rate, length),
                });
            }
        }
    }
    let floor: Vec<_> = engines.first().map(|(_, _, samples)| samples.clone()).unwrap_or_default();
    for (name, _, samples) in &engines {
        let mut row = vec![(*name).to_owned()];
        for ((column, ..), (samples, floor)) in COLUMNS.iter().zip(samples.iter().zip(&floor)) {
            row.push(cost(samples, floor));
            table.note_failures(name, column, samples);
        }
        row.extend(samples[..2].iter().map(|samples| format!("{:.0}", samples.rate().unwrap_or(0.0))));
        table.row(row);
    }
    table.note(format!("median of {rounds} rounds of {:.1} s each, engines in turn", length.as_secs_f64()));
    Ok(table)
}

fn cost(samples: &Samples, floor: &Samples) -> String {
    match (samples.micros(), floor.micros()) {
        (Some(micros), Some(floor)) => format!("{micros:.2} ({:.2}×)", micros / floor),
        _ => "–".to_owned(),
    }
}

/// Waits until the engine answers every kind of question rightly.
fn ready(mut server: Server, names: &Names) -> Result<Server, String> {
    let questions: Vec<Question> = [Ask::Address, Ask::Missing, Ask::Port]
        .iter()
        .flat_map(|ask| names.questions(*ask).into_iter().take(2))
        .collect();
    let mut load = Load::new(server.address)?;
    server.process.wait(|| questions.iter().all(|question| load.once(question)))?;
    Ok(server)
}
