//! DNS with clusters of two sizes: memory, CPU time until all objects are served, and the time from an event to the first answer that
//! contains it.
//!
//! The API server is part of this program: it streams a list over TLS as a real one does, and sends events at exact times. A real one
//! with 100,000 Services and a million endpoints would take longer to fill than all other benchmarks.

mod api_server;
mod manifests;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::dns::query::{QueryKind, TestQuery};
use crate::dns::service::Service;
use crate::process::Process;
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::{NO_PORTOLAN, Testbed, free_port, portolan, write};

use api_server::ScaledApiServer;

/// Numbers of Services; each has [`manifests::ENDPOINTS`] endpoints.
const SIZES: [usize; 2] = [10_000, 100_000];

/// Number of changes that are timed at each pace, and the pause between two of them.
const CHANGES: usize = 400;
const PACES: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(10)];

/// How long to wait until a change is visible.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Measures Portolan with each size.
pub(crate) fn measure(testbed: &Testbed) -> Result<Table, String> {
    let mut table = Table::new(
        "DNS with clusters of two sizes",
        &[
            "Services / endpoints",
            "ready after",
            "CPU until ready",
            "RSS",
            "peak / RSS in a relist",
            "25 changes/s: p50",
            "p99",
            "100 changes/s: p50",
            "p99",
        ],
    );
    for services in SIZES {
        table.row(measure_size(testbed, services)?);
    }
    table.note(format!(
        "event to answer: {CHANGES} changes of a headless Service at each pace, from the event's last byte to the first answer with it; the client asks again {PROBE_PAUSE:?} after each answer"
    ));
    Ok(table)
}

fn measure_size(testbed: &Testbed, services: usize) -> Result<Vec<String>, String> {
    let folder = testbed.folder(&format!("scale-{services}"))?;
    let api = ScaledApiServer::start(&folder, services)?;
    let port = free_port()?;
    write(&folder.join("Corefile"), &corefile(port, &api)?)?;
    let mut command = Command::new(portolan().ok_or(NO_PORTOLAN)?);
    command.arg("dns").arg("-conf").arg(folder.join("Corefile"));
    let start = Instant::now();
    let mut process = Process::start_server(testbed, &mut command, &folder)?;
    let probe = Probe::new(port)?;
    process.wait_until(|| probe.answers(&manifests::last(services)))?;
    let (ready, cpu) = (start.elapsed(), process.cpu());
    // The allocator returns memory that was freed after the list within seconds.
    sleep(Duration::from_secs(10));
    let steady = process.memory();

    let mut latencies = Vec::new();
    for (round, pace) in PACES.into_iter().enumerate() {
        let mut result = Vec::new();
        let begun = Instant::now();
        for number in 0..CHANGES {
            sleep((begun + pace * number as u32).saturating_duration_since(Instant::now()));
            let address = Ipv4Addr::new(10, 1 + round as u8, (number / 250) as u8, (number % 250) as u8 + 1);
            let sent = api.change(address)?;
            let answered = probe.wait_for(&manifests::changing(address))?;
            result.push(answered.saturating_duration_since(sent).as_secs_f64() * 1e3);
        }
        latencies.push(result);
    }
    process.reset_peak()?;
    api.force_relist()?;
    sleep(Duration::from_secs(2));
    let relist = process.memory();
    let mut row = vec![
        format!("{services} / {}", services * manifests::ENDPOINTS),
        format!("{:.1} s", ready.as_secs_f64()),
        format!("{:.2} s", cpu.as_secs_f64()),
        mebibytes(steady.rss),
        format!("{:.2}", relist.peak as f64 / steady.rss as f64),
    ];
    for result in &latencies {
        row.extend([milliseconds(result, 0.5), milliseconds(result, 0.99)]);
    }
    Ok(row)
}

/// Pause between an answer and the next query. Server and queries share a core: without a pause, queries would take more of it than the
/// change that they wait for.
const PROBE_PAUSE: Duration = Duration::from_micros(20);

/// How long an answer may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Queries the server, one query at a time. It polls for the answer: waking up a thread that waits takes longer than the answer does.
struct Probe(UdpSocket);

impl Probe {
    fn new(port: u16) -> Result<Self, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
            socket.connect(("127.0.0.1", port))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        socket.map(Self).map_err(|error| format!("a socket to port {port}: {error}"))
    }

    /// Whether the address of the Service is answered.
    fn answers(&self, service: &Service) -> bool {
        let query = TestQuery::new(7, QueryKind::Address, service);
        let mut reply = [0; 4096];
        let sent = Instant::now();
        if self.0.send(&query.packet).is_err() {
            return false;
        }
        loop {
            match self.0.recv(&mut reply) {
                Ok(length) => return query.answered_by(&reply[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock && sent.elapsed() < PROBE_TIMEOUT => {}
                Err(_) => return false,
            }
        }
    }

    /// Queries until the address of the Service is answered. Returns the time of the answer.
    fn wait_for(&self, service: &Service) -> Result<Instant, String> {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            if self.answers(service) {
                return Ok(Instant::now());
            }
            // Shorter than what a sleeping thread needs to wake up.
            let next = Instant::now() + PROBE_PAUSE;
            while Instant::now() < next {
                std::hint::spin_loop();
            }
        }
        Err(format!("{} was not answered within {TIMEOUT:?}", service.address))
    }
}

/// kubeadm's Corefile without `forward` and `loop`, because there is no upstream, and without `cache`, which would delay changes.
fn corefile(port: u16, api: &ScaledApiServer) -> Result<String, String> {
    Ok(format!(
        ".:{port} {{
    errors
    health 127.0.0.1:{}
    ready 127.0.0.1:{}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:{}
    reload
    loadbalance
}}
",
        free_port()?,
        free_port()?,
        api.kubeconfig.display(),
        free_port()?,
    ))
}
