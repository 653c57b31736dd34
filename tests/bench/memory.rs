//! The DNS side at size: memory, memory through a relist, and how soon a change is in the answers.
//!
//! Against a real API server that holds 10,000 Services and 100,000 endpoints. The control plane and this program share
//! the core of the load; the server that is measured has its own.

mod cluster;
mod engine;
mod watch;

use std::time::{Duration, Instant};

use tests::{namespace, programs};

use crate::place::Place;
use crate::process::Memory;
use crate::table::{Table, mebibytes, milliseconds};

use cluster::Cluster;
use engine::{ENGINES, Engine};
use watch::Watch;

/// Changes whose way into the answers is timed.
const CHANGES: usize = 400;

/// What one engine showed.
struct Figures {
    ready: Duration,
    steady: Memory,
    relist: Memory,
    /// Bytes that came in on the connections opened since the relist began: the proof that there was one.
    listed: u64,
    /// From the arrival of the event at a watch of our own to the first answer that shows it, in milliseconds.
    seen: Vec<f64>,
    /// From the write's beginning, the API server's own work included.
    whole: Vec<f64>,
}

/// Measures every engine that there is, one after the other.
pub(crate) fn compare(place: &Place) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // There is no way back out of it, which is why the parts with a control plane come last in a run.
    namespace::enter()?;
    let folder = place.folder("control-plane")?;
    let cluster = Cluster::start(&binary, &folder);
    let mut table = Table::new(
        format!(
            "DNS at {} Services and {} endpoints",
            cluster::SERVICES,
            cluster::SERVICES * cluster::ENDPOINTS
        ),
        &[
            "engine",
            "ready after",
            "RSS",
            "peak in a relist",
            "×",
            "received in it",
            "event to answer p50",
            "p99",
            "write to answer p50",
            "p99",
        ],
    );
    let mut cluster = cluster;
    for engine in ENGINES {
        match measure(place, &mut cluster, engine) {
            Ok(figures) => table.row(row(engine.name, &figures)),
            Err(why) => table.note(format!("{} is not in this run: {why}", engine.name)),
        }
    }
    table.note(format!("{CHANGES} changes of an EndpointSlice of a headless Service, one at a time"));
    table.note("relist: API server stopped, an object changed meanwhile, etcd compacted, API server started");
    Ok(table)
}

fn measure(place: &Place, cluster: &mut Cluster, engine: &Engine) -> Result<Figures, String> {
    let start = Instant::now();
    let mut server = (engine.start)(place, cluster)?;
    server.process.wait(|| cluster.answers())?;
    let ready = start.elapsed();
    // What was freed after the first list goes back to the system within seconds, or not at all.
    std::thread::sleep(Duration::from_secs(10));
    let steady = server.process.memory();

    let watch = Watch::open(cluster)?;
    let (mut seen, mut whole) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let address = cluster::changed_address(number);
        let written = Instant::now();
        cluster.change(&address);
        let answered = cluster.wait_for(&address)?;
        let arrived = watch.arrival(&address)?;
        seen.push(answered.saturating_duration_since(arrived).as_secs_f64() * 1e3);
        whole.push((answered - written).as_secs_f64() * 1e3);
    }

    server.process.forget_peak()?;
    cluster.force_relist()?;
    std::thread::sleep(Duration::from_secs(10));
    let relist = server.process.memory();
    // The API server went away in between: every connection to it is a new one.
    let listed = server.process.received()?;
    Ok(Figures { ready, steady, relist, listed, seen, whole })
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let Figures { ready, steady, relist, listed, seen, whole } = figures;
    vec![
        name.to_owned(),
        format!("{:.1} s", ready.as_secs_f64()),
        mebibytes(steady.now),
        mebibytes(relist.peak),
        format!("{:.2}", relist.peak as f64 / steady.now as f64),
        mebibytes(*listed),
        milliseconds(seen, 0.5),
        milliseconds(seen, 0.99),
        milliseconds(whole, 0.5),
        milliseconds(whole, 0.99),
    ]
}
