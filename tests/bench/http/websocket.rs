//! WebSocket: each connection sends a message as soon as its last one has come back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::epoll::Epoll;
use crate::http::message::HOST;
use crate::http::{
    CONNECTIONS, PROXIES, add_notes, backend, cost_ratio, envoy, haproxy, micros, nginx, portolan, pump,
    ready,
};
use crate::samples::{LoadResult, Samples};
use crate::table::Table;
use crate::testbed::Testbed;

/// A masked text frame with 32 bytes. The proxies do not read frames, so the backend echoes it as it is.
const FRAME: [u8; 38] = {
    let mut frame = [b'w'; 38];
    frame[0] = 0x81;
    frame[1] = 0x80 | 32;
    frame
};

/// Messages without an echo after this time count as lost.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Measures the proxies that are configured for upgrades.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        format!("WebSocket echo, {CONNECTIONS} connections, messages of 32 bytes"),
        &["server", "CPU µs per message", "× nginx as ingress-nginx", "messages/s on one core"],
    );
    let backend = backend::start(testbed, Ipv4Addr::LOCALHOST)?;
    let upgrading = [pump::NAME, haproxy::NAME, envoy::NAME, nginx::INGRESS, portolan::NAME];
    let mut proxies = Vec::new();
    for (name, start) in PROXIES.iter().filter(|(name, _)| upgrading.contains(name)) {
        match start(testbed, backend.address.port(), None).and_then(|server| ready(server, None)) {
            Ok(server) => {
                let echo = Echo::new(server.address).map_err(|error| format!("{name}: {error}"))?;
                proxies.push((*name, server, echo, Samples::default()));
            }
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    for _ in 0..rounds {
        for (_, server, echo, samples) in &mut proxies {
            samples.measure(&server.process, || echo.run(length));
        }
    }
    let baseline = proxies.iter().find(|(name, ..)| *name == nginx::INGRESS).map(|(.., samples)| samples);
    for (name, _, _, samples) in &proxies {
        let rate = format!("{:.0}", samples.rate().unwrap_or(0.0));
        table.row(vec![(*name).to_owned(), micros(samples), cost_ratio(samples, baseline), rate]);
        table.note_failures(name, "echo", samples);
    }
    add_notes(&mut table, rounds, length);
    Ok(table)
}

/// Upgraded connections to one server.
struct Echo {
    epoll: Epoll,
    connections: Vec<(TcpStream, usize)>,
}

impl Echo {
    fn new(server: SocketAddr) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            let stream = upgraded(server)?;
            epoll.add(&stream, number)?;
            connections.push((stream, 0));
        }
        Ok(Self { epoll, connections })
    }

    fn run(&mut self, length: Duration) -> LoadResult {
        let mut result = LoadResult::default();
        let start = Instant::now();
        let mut last_event = start;
        let mut waiting = 0;
        for (stream, received) in &mut self.connections {
            *received = 0;
            waiting += usize::from(stream.write_all(&FRAME).is_ok());
        }
        while waiting > 0 && last_event.elapsed() < TIMEOUT {
            self.epoll.wait(100);
            let mut index = 0;
            while let Some(number) = self.epoll.ready(index) {
                index += 1;
                last_event = Instant::now();
                let (stream, received) = &mut self.connections[number];
                let mut buffer = [0; 256];
                match stream.read(&mut buffer) {
                    Ok(got @ 1..) => *received += got,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    // A connection that ended has an echo less; the others go on.
                    _ => {
                        waiting -= 1;
                        result.lost += 1;
                        continue;
                    }
                }
                if *received < FRAME.len() {
                    continue;
                }
                *received = 0;
                result.answers += 1;
                if last_event - start > length || stream.write_all(&FRAME).is_err() {
                    waiting -= 1;
                }
            }
        }
        result.lost += waiting as u64;
        result.took = start.elapsed();
        result
    }
}

/// Opens a connection and upgrades it.
fn upgraded(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut received = Vec::new();
    let mut byte = [0];
    while !received.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || received.len() > 4096 {
            return Err(io::Error::other("no complete response to the upgrade"));
        }
        received.push(byte[0]);
    }
    if !received.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::other(String::from_utf8_lossy(&received).into_owned()));
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}
