//! An upstream that never answers, under many queries for it: what that costs in memory, and what it does to the answers
//! of the cluster.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::ask::{Ask, Question, wire};
use super::names::Names;
use super::{SERVICES, portolan, ready};
use crate::place::Place;
use crate::table::{Table, mebibytes, milliseconds};

/// Forwarded queries per second, and for how long.
const RATE: u32 = 20_000;
const LENGTH: Duration = Duration::from_secs(30);
/// Queries for the cluster's names per second while latency is measured.
const PROBES: u32 = 1000;
/// Sockets of the flood.
const LANES: usize = 8;

/// Measures Portolan without and with the flood.
pub(crate) fn measure(place: &Place) -> Result<Table, String> {
    // It is never read, so the kernel drops what does not fit into its queue.
    let upstream = UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("the upstream: {error}"))?;
    let address = upstream.local_addr().map_err(|error| format!("the upstream: {error}"))?;
    let names = Names::new(SERVICES);
    let server = ready(portolan::start_with(place, &names, address)?, &names)?;
    let questions = names.questions(Ask::Address);
    let quiet = probe(server.address, &questions, &AtomicBool::new(false), LENGTH / 3)?;
    let before = server.process.memory();
    let over = AtomicBool::new(false);
    let (flooded, flood) = scope(|scope| {
        let flood = scope.spawn(|| {
            let sent = flood(server.address);
            over.store(true, Relaxed);
            sent
        });
        let probes = probe(server.address, &questions, &over, LENGTH * 2);
        (probes, flood.join())
    });
    let flooded = flooded?;
    let (sent, answered) = flood.map_err(|_| "the flood panicked")??;
    let after = server.process.memory();
    let mut table = Table::new(
        format!("A silent upstream at {RATE} queries per second for {} s", LENGTH.as_secs()),
        &["", "p50 in the cluster", "p99", "lost", "peak RSS"],
    );
    for (what, probes, memory) in [("quiet", &quiet, before.peak), ("flooded", &flooded, after.peak)] {
        table.row(vec![
            what.to_owned(),
            milliseconds(&probes.milliseconds, 0.5),
            milliseconds(&probes.milliseconds, 0.99),
            probes.lost.to_string(),
            mebibytes(memory),
        ]);
    }
    table.note(format!("{sent} queries were sent and {answered} of them answered with an error"));
    table.note(format!("more than before: {}", mebibytes(after.peak.saturating_sub(before.peak))));
    Ok(table)
}

/// How long answers took, and how many never came.
#[derive(Default)]
struct Probes {
    milliseconds: Vec<f64>,
    lost: usize,
}

/// Asks for names of the cluster, one at a time, until `over` is set or the time is up.
fn probe(
    server: SocketAddr,
    questions: &[Question],
    over: &AtomicBool,
    length: Duration,
) -> Result<Probes, String> {
    let socket = connect(server)?;
    let timeout = socket.set_read_timeout(Some(Duration::from_secs(1)));
    timeout.map_err(|error| format!("the probe's socket: {error}"))?;
    let (mut probes, mut reply, start) = (Probes::default(), [0; 512], Instant::now());
    for (number, question) in questions.iter().cycle().enumerate() {
        let due = start + Duration::from_secs(1) / PROBES * number as u32;
        sleep(due.saturating_duration_since(Instant::now()));
        if over.load(Relaxed) || start.elapsed() > length {
            break;
        }
        let asked = Instant::now();
        let sent = socket.send(&question.packet);
        // An answer that comes too late for its own question is not taken for that of the next.
        let answered = sent.is_ok()
            && std::iter::from_fn(|| {
                socket.recv(&mut reply).ok().map(|length| question.answered_by(&reply[..length]))
            })
            .any(|answered| answered);
        match answered {
            true => probes.milliseconds.push(asked.elapsed().as_secs_f64() * 1000.0),
            false => probes.lost += 1,
        }
    }
    Ok(probes)
}

/// Sends queries for names that only the upstream could answer. Returns how many were sent and how many answered.
fn flood(server: SocketAddr) -> Result<(u64, u64), String> {
    let sockets = (0..LANES).map(|_| connect(server)).collect::<Result<Vec<_>, _>>()?;
    for socket in &sockets {
        socket.set_nonblocking(true).map_err(|error| format!("a socket of the flood: {error}"))?;
    }
    let (mut sent, mut answered, mut reply, start) = (0, 0, [0; 512], Instant::now());
    while start.elapsed() < LENGTH {
        let due = (start.elapsed().as_secs_f64() * f64::from(RATE)) as u64;
        while sent < due {
            let socket = &sockets[sent as usize % LANES];
            let name = wire(&format!("n{sent}.silent.example"));
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
