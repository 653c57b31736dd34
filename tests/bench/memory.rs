//! The DNS side at size: memory, memory through a relist, and how soon a change is in the answers.
//!
//! Against a real API server that holds 10,000 Services and 100,000 endpoints. The control plane and this program share
//! the core of the load; the server that is measured has its own.

mod cluster;
mod engine;
mod watch;

use std::time::{Duration, Instant};

use tests::{namespace, programs};

use crate::process::Memory;
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

use cluster::Cluster;
use engine::{ENGINES, Engine};
use watch::Watch;

/// Changes whose way into the answers is timed.
const CHANGES: usize = 400;

/// What one engine showed.
struct MemoryResult {
    ready: Duration,
    steady: Memory,
    relist: Memory,
    /// Bytes that came in on the connections opened since the relist began: the proof that there was one.
    relist_bytes: u64,
    /// From the arrival of the event at a watch of our own to the first answer that shows it, in milliseconds.
    event_latencies: Vec<f64>,
    /// From the write's beginning, the API server's own work included.
    write_latencies: Vec<f64>,
}

/// Measures every engine that there is, one after the other.
pub(crate) fn compare(testbed: &Testbed) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // There is no way back out of it, which is why the parts with a control plane come last in a run.
    namespace::enter()?;
    let folder = testbed.folder("control-plane")?;
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
        match measure(testbed, &mut cluster, engine) {
            Ok(result) => table.row(row(engine.name, &result)),
            Err(reason) => table.note(format!("{} is not in this run: {reason}", engine.name)),
        }
    }
    table.note(format!("{CHANGES} changes of an EndpointSlice of a headless Service, one at a time"));
    table.note("relist: API server stopped, an object changed meanwhile, etcd compacted, API server started");
    Ok(table)
}

fn measure(testbed: &Testbed, cluster: &mut Cluster, engine: &Engine) -> Result<MemoryResult, String> {
    let start = Instant::now();
    let mut server = (engine.start)(testbed, cluster)?;
    server.process.wait_until(|| cluster.is_complete())?;
    let ready = start.elapsed();
    // What was freed after the first list goes back to the system within seconds, or not at all.
    std::thread::sleep(Duration::from_secs(10));
    let steady = server.process.memory();

    let watch = Watch::open(cluster)?;
    let (mut event_latencies, mut write_latencies) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let address = cluster::changed_address(number);
        let written = Instant::now();
        cluster.change(&address);
        let answered = cluster.wait_for(&address)?;
        let arrived = watch.arrival(&address)?;
        event_latencies.push(answered.saturating_duration_since(arrived).as_secs_f64() * 1e3);
        write_latencies.push((answered - written).as_secs_f64() * 1e3);
    }

    server.process.reset_peak()?;
    cluster.force_relist()?;
    std::thread::sleep(Duration::from_secs(10));
    let relist = server.process.memory();
    // The API server went away in between: every connection to it is a new one.
    let relist_bytes = server.process.bytes_received()?;
    Ok(MemoryResult { ready, steady, relist, relist_bytes, event_latencies, write_latencies })
}

fn row(name: &str, result: &MemoryResult) -> Vec<String> {
    let MemoryResult { ready, steady, relist, relist_bytes, event_latencies, write_latencies } = result;
    vec![
        name.to_owned(),
        format!("{:.1} s", ready.as_secs_f64()),
        mebibytes(steady.rss),
        mebibytes(relist.peak),
        format!("{:.2}", relist.peak as f64 / steady.rss as f64),
        mebibytes(*relist_bytes),
        milliseconds(event_latencies, 0.5),
        milliseconds(event_latencies, 0.99),
        milliseconds(write_latencies, 0.5),
        milliseconds(write_latencies, 0.99),
    ]
}
