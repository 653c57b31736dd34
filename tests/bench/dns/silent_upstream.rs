//! An upstream that never answers, under many queries for it: what that costs in memory, and what it does to the answers
//! of the cluster.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::dataset::Dataset;
use super::query::{QueryKind, TestQuery, encode_name};
use super::{SERVICES, portolan, ready};
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

/// Forwarded queries per second, and for how long.
const FLOOD_RATE: u32 = 20_000;
const LENGTH: Duration = Duration::from_secs(30);
/// Queries for the cluster's names per second while latency is measured.
const PROBE_RATE: u32 = 1000;
/// Sockets of the flood.
const SOCKETS: usize = 8;

/// Measures Portolan without and with the flood.
pub(crate) fn measure(testbed: &Testbed) -> Result<Table, String> {
    // It is never read, so the kernel drops what does not fit into its queue.
    let upstream = UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("the upstream: {error}"))?;
    let address = upstream.local_addr().map_err(|error| format!("the upstream: {error}"))?;
    let dataset = Dataset::new(SERVICES);
    let server = ready(portolan::start_with(testbed, &dataset, address)?, &dataset)?;
    let queries = dataset.queries(QueryKind::Address);
    let quiet = probe(server.address, &queries, &AtomicBool::new(false), LENGTH / 3)?;
    let before = server.process.memory();
    let stop = AtomicBool::new(false);
    let (flooded, flood) = scope(|scope| {
        let flood = scope.spawn(|| {
            let sent = flood(server.address);
            stop.store(true, Relaxed);
            sent
        });
        let result = probe(server.address, &queries, &stop, LENGTH * 2);
        (result, flood.join())
    });
    let flooded = flooded?;
    let (sent, answered) = flood.map_err(|_| "the flood panicked")??;
    let after = server.process.memory();
    let mut table = Table::new(
        format!("A silent upstream at {FLOOD_RATE} queries per second for {} s", LENGTH.as_secs()),
        &["", "p50 in the cluster", "p99", "lost", "peak RSS"],
    );
    for (load, result, memory) in [("quiet", &quiet, before.peak), ("flooded", &flooded, after.peak)] {
        table.row(vec![
            load.to_owned(),
            milliseconds(&result.milliseconds, 0.5),
            milliseconds(&result.milliseconds, 0.99),
            result.lost.to_string(),
            mebibytes(memory),
        ]);
    }
    table.note(format!("{sent} queries were sent and {answered} of them answered with an error"));
    table.note(format!("more than before: {}", mebibytes(after.peak.saturating_sub(before.peak))));
    Ok(table)
}

/// How long answers took, and how many never came.
#[derive(Default)]
struct ProbeResult {
    milliseconds: Vec<f64>,
    lost: usize,
}

/// Asks for names of the cluster, one at a time, until `over` is set or the time is up.
fn probe(
    server: SocketAddr,
    queries: &[TestQuery],
    stop: &AtomicBool,
    length: Duration,
) -> Result<ProbeResult, String> {
    let socket = connect(server)?;
    let timeout = socket.set_read_timeout(Some(Duration::from_secs(1)));
    timeout.map_err(|error| format!("the probe's socket: {error}"))?;
    let (mut result, mut reply, start) = (ProbeResult::default(), [0; 512], Instant::now());
    for (number, query) in queries.iter().cycle().enumerate() {
        let due = start + Duration::from_secs(1) / PROBE_RATE * number as u32;
        sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Relaxed) || start.elapsed() > length {
            break;
        }
        let sent_at = Instant::now();
        let sent = socket.send(&query.packet);
        // An answer that comes too late for its own question is not taken for that of the next.
        let answered = sent.is_ok()
            && std::iter::from_fn(|| {
                socket.recv(&mut reply).ok().map(|length| query.answered_by(&reply[..length]))
            })
            .any(|answered| answered);
        match answered {
            true => result.milliseconds.push(sent_at.elapsed().as_secs_f64() * 1000.0),
            false => result.lost += 1,
        }
    }
    Ok(result)
}

/// Sends queries for names that only the upstream could answer. Returns how many were sent and how many answered.
fn flood(server: SocketAddr) -> Result<(u64, u64), String> {
    let sockets = (0..SOCKETS).map(|_| connect(server)).collect::<Result<Vec<_>, _>>()?;
    for socket in &sockets {
        socket.set_nonblocking(true).map_err(|error| format!("a socket of the flood: {error}"))?;
    }
    let (mut sent, mut answered, mut reply, start) = (0, 0, [0; 512], Instant::now());
    while start.elapsed() < LENGTH {
        let due = (start.elapsed().as_secs_f64() * f64::from(FLOOD_RATE)) as u64;
        while sent < due {
            let socket = &sockets[sent as usize % SOCKETS];
            let name = encode_name(&format!("n{sent}.silent.example"));
            let header = [(sent >> 8) as u8, sent as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            let _ = socket.send(&[&header[..], &name, &[0, 1, 0, 1]].concat());
            sent += 1;
            while socket.recv(&mut reply).is_ok() {
                answered += 1;
            }
        }
        sleep(Duration::from_micros(200));
    }
    Ok((sent, answered))
}

fn connect(server: SocketAddr) -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
        socket.connect(server)?;
        Ok(socket)
    });
    socket.map_err(|error| format!("a socket to {server}: {error}"))
}
