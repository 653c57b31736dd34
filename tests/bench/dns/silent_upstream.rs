//! Many forwarded queries while the upstream never answers: memory use, and the latency of answers from the cluster
//! zone.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::dataset::Dataset;
use super::query::{QueryKind, TestQuery, encode_name};
use super::{SERVICES, portolan, ready};
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

/// Forwarded queries per second, and how long they are sent.
const FLOOD_RATE: u32 = 20_000;
const LENGTH: Duration = Duration::from_secs(30);
/// Queries per second for names of the cluster, whose latency is measured.
const PROBE_RATE: u32 = 1000;
/// Number of sockets that send forwarded queries.
const SOCKETS: usize = 8;

/// Measures Portolan without and with the flood.
pub(crate) fn measure(testbed: &Testbed) -> Result<Table, String> {
    // This socket is never read: the kernel drops datagrams once its receive buffer is full.
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
        &["load", "p50 of cluster names", "p99", "lost", "peak RSS"],
    );
    for (load, result, memory) in [("none", &quiet, before.peak), ("flood", &flooded, after.peak)] {
        table.row(vec![
            load.to_owned(),
            milliseconds(&result.milliseconds, 0.5),
            milliseconds(&result.milliseconds, 0.99),
            result.lost.to_string(),
            mebibytes(memory),
        ]);
    }
    table.note(format!(
        "{sent} forwarded queries were sent, {answered} of them were answered (with an error)"
    ));
    table.note(format!("increase of peak RSS: {}", mebibytes(after.peak.saturating_sub(before.peak))));
    Ok(table)
}

/// Latencies of the answers, and the number of queries without an answer.
#[derive(Default)]
struct ProbeResult {
    milliseconds: Vec<f64>,
    lost: usize,
}

/// Queries names of the cluster, one at a time, until `stop` is set or `length` has passed.
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
        // Skips late answers to earlier queries.
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

/// Sends queries for names outside the cluster. Returns how many were sent and how many were answered.
fn flood(server: SocketAddr) -> Result<(u64, u64), String> {
    let sockets = (0..SOCKETS).map(|_| connect(server)).collect::<Result<Vec<_>, _>>()?;
    for socket in &sockets {
        socket.set_nonblocking(true).map_err(|error| format!("socket for forwarded queries: {error}"))?;
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
