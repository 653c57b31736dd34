//! The load: connections that each ask again as soon as they are answered.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http::message::{Progress, progress, request};
use crate::http::wire::{Tls, Wire};
use crate::poll::Poll;
use crate::round::Tally;

/// Longer than any answer takes on loopback: what is missing then is lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections to one server, kept from round to round.
pub(crate) struct Load<'a> {
    server: SocketAddr,
    tls: Option<&'a Tls>,
    poll: Poll,
    connections: Vec<Connection>,
    request: Vec<u8>,
}

struct Connection {
    stream: Wire,
    received: Vec<u8>,
    waits: bool,
}

impl<'a> Load<'a> {
    /// Connects.
    pub(crate) fn new(server: SocketAddr, connections: usize, tls: Option<&'a Tls>) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("connections to {server}: {error}");
        let poll = Poll::new().map_err(wrong)?;
        let connect = |number| Connection::open(server, tls, &poll, number);
        let connections = (0..connections).map(connect).collect::<io::Result<_>>().map_err(wrong)?;
        Ok(Self { server, tls, poll, connections, request: request() })
    }

    /// Asks as fast as answers come, for a while.
    pub(crate) fn flood(&mut self, length: Duration) -> Tally {
        let mut tally = Tally::default();
        let start = Instant::now();
        let mut heard = start;
        for number in 0..self.connections.len() {
            self.ask(number, &mut tally);
        }
        loop {
            self.poll.wait(100);
            let now = Instant::now();
            let over = now - start > length;
            let mut index = 0;
            while let Some(number) = self.poll.ready(index) {
                index += 1;
                heard = now;
                if self.connections[number].waits {
                    self.hear(number, over, &mut tally);
                } else {
                    self.reopen(number); // the server closed it while it was idle
                }
            }
            let waiting = self.connections.iter().filter(|connection| connection.waits).count();
            if over && waiting == 0 || now - heard > PATIENCE {
                tally.lost += waiting as u64;
                break;
            }
        }
        tally.took = start.elapsed();
        tally
    }

    /// Opens one connection after the other, each for one request, for a while.
    pub(crate) fn knock(&self, length: Duration) -> Tally {
        let mut tally = Tally::default();
        let start = Instant::now();
        while start.elapsed() < length {
            match exchange(self.server, self.tls) {
                Ok(true) => tally.answers += 1,
                Ok(false) => tally.wrong += 1,
                Err(_) => tally.lost += 1,
            }
        }
        tally.took = start.elapsed();
        tally
    }

    fn ask(&mut self, number: usize, tally: &mut Tally) {
        let connection = &mut self.connections[number];
        connection.received.clear();
        connection.waits = connection.stream.write_all(&self.request).is_ok();
        if !connection.waits {
            tally.lost += 1;
            self.reopen(number);
        }
    }

    fn hear(&mut self, number: usize, over: bool, tally: &mut Tally) {
        let connection = &mut self.connections[number];
        let mut buffer = [0; 4096];
        let got = match connection.stream.read(&mut buffer) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        connection.received.extend_from_slice(&buffer[..got]);
        match progress(&connection.received) {
            Progress::Whole { right, closes } => {
                connection.waits = false;
                if right {
                    tally.answers += 1
                } else {
                    tally.wrong += 1
                }
                if closes || got == 0 {
                    self.reopen(number);
                }
                if !over {
                    self.ask(number, tally);
                }
            }
            Progress::Partial if got == 0 => {
                tally.lost += 1;
                self.reopen(number);
            }
            Progress::Partial => {}
        }
    }

    fn reopen(&mut self, number: usize) {
        if let Ok(connection) = Connection::open(self.server, self.tls, &self.poll, number) {
            self.connections[number] = connection;
        } else {
            self.connections[number].waits = false;
        }
    }
}

/// Sends the request on a connection of its own. Returns whether the response is the right one.
pub(crate) fn exchange(server: SocketAddr, tls: Option<&Tls>) -> io::Result<bool> {
    let mut stream = Wire::open(server, tls)?;
    stream.socket().set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let got = stream.read(&mut buffer)?;
        received.extend_from_slice(&buffer[..got]);
        match progress(&received) {
            Progress::Whole { right, .. } => return Ok(right),
            Progress::Partial if got == 0 => return Ok(false),
            Progress::Partial => {}
        }
    }
}

impl Connection {
    fn open(server: SocketAddr, tls: Option<&Tls>, poll: &Poll, number: usize) -> io::Result<Self> {
        let stream = Wire::open(server, tls)?;
        stream.socket().set_nonblocking(true)?;
        poll.add(&stream, number)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), waits: false })
    }
}
