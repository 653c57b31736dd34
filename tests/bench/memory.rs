//! DNS servers on a large cluster: memory use, memory use during a relist, and the time from a change to the first answer
//! that contains it.
//!
//! A real API server holds 10,000 Services and 100,000 endpoints. The control plane and this program share the load core;
//! the measured server has its own.

mod cluster;
mod servers;
mod watch;

use std::time::{Duration, Instant};

use tests::{namespace, programs};

use crate::objects;
use crate::process::Memory;
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

use cluster::Cluster;
use servers::{DnsServer, SERVERS};
use watch::SliceWatch;

/// Number of changes that are timed.
const CHANGES: usize = 400;

/// Measurements of one server.
struct MemoryResult {
    ready: Duration,
    steady: Memory,
    relist: Memory,
    /// Bytes received on the connections that were opened since the relist began: shows that there was a relist.
    relist_bytes: u64,
    /// Milliseconds from the arrival of the event at this program's watch to the first answer that contains the change.
    event_latencies: Vec<f64>,
    /// Milliseconds from the beginning of the write, which includes the time that the API server takes.
    write_latencies: Vec<f64>,
}

/// Measures all available servers, one after the other.
pub(crate) fn compare(testbed: &Testbed) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // The process cannot leave these namespaces again, so benchmarks with a control plane run last.
    namespace::enter()?;
    let folder = testbed.folder("control-plane")?;
    let cluster = Cluster::start(&binary, &folder);
    let mut table = Table::new(
        format!(
            "DNS with {} Services and {} endpoints",
            objects::SERVICES,
            objects::SERVICES * objects::ENDPOINTS
        ),
        &[
            "server",
            "ready after",
            "RSS",
            "peak RSS in a relist",
            "peak / RSS",
            "received in a relist",
            "event to answer p50",
            "p99",
            "write to answer p50",
            "p99",
        ],
    );
    let mut cluster = cluster;
    for server in SERVERS {
        match measure(testbed, &mut cluster, server) {
            Ok(result) => table.row(row(server.name, &result)),
            Err(reason) => table.note(format!("{} was not measured: {reason}", server.name)),
        }
    }
    table.note(format!("{CHANGES} changes of an EndpointSlice of a headless Service, one at a time"));
    table.note("relist: the API server is stopped, an object is changed, etcd is compacted, the API server is started");
    Ok(table)
}

fn measure(testbed: &Testbed, cluster: &mut Cluster, dns_server: &DnsServer) -> Result<MemoryResult, String> {
    let start = Instant::now();
    let mut server = (dns_server.start)(testbed, cluster)?;
    server.process.wait_until(|| cluster.is_complete())?;
    let ready = start.elapsed();
    // The allocator returns memory that was freed after the initial list within seconds, if at all.
    std::thread::sleep(Duration::from_secs(10));
    let steady = server.process.memory();

    let watch = SliceWatch::open(cluster)?;
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
    // The API server was stopped in between, so all connections to it are new.
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
