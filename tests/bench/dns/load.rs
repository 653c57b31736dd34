//! Load generator for DNS: sends batches of queries from several sockets and checks every answer.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::dns::LoadMode;
use crate::dns::batch::Batch;
use crate::dns::query::TestQuery;
use crate::samples::LoadResult;

const SOCKETS: usize = 8;
/// Queries in flight per socket. In total they keep a server busy without overflowing its receive buffer.
const WINDOW: usize = 16;
/// A query without an answer after this time counts as lost. Much longer than any answer takes on loopback.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A load generator for one server.
pub(crate) struct Load {
    sockets: Vec<ClientSocket>,
    incoming: Batch,
    outgoing: Batch,
}

struct ClientSocket {
    socket: UdpSocket,
    in_flight: usize,
}

impl Load {
    /// Opens the sockets.
    pub(crate) fn new(server: SocketAddr) -> Result<Self, String> {
        let socket = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            SockRef::from(&socket).set_recv_buffer_size(1 << 20)?;
            Ok(ClientSocket { socket, in_flight: 0 })
        };
        let sockets = (0..SOCKETS).map(socket).collect::<std::io::Result<_>>();
        let sockets = sockets.map_err(|error| format!("sockets to {server}: {error}"))?;
        Ok(Self { sockets, incoming: Batch::new(WINDOW), outgoing: Batch::new(WINDOW) })
    }

    /// Sends queries for `length`.
    pub(crate) fn run(&mut self, queries: &[TestQuery], mode: LoadMode, length: Duration) -> LoadResult {
        match mode {
            LoadMode::Saturate => self.saturate(queries, length),
            LoadMode::FixedRate(rate) => self.fixed_rate(queries, rate, length),
        }
    }

    /// Sends queries as fast as answers arrive, for `length`.
    pub(crate) fn saturate(&mut self, queries: &[TestQuery], length: Duration) -> LoadResult {
        let mut result = LoadResult::default();
        let mut next = 0;
        let start = Instant::now();
        let mut last_reply = start;
        loop {
            let now = Instant::now();
            let is_over = now - start > length;
            let mut idle = true;
            for socket in &mut self.sockets {
                let received = socket.receive(&mut self.incoming, queries, &mut result);
                idle &= received == 0;
                if !is_over {
                    next = socket.fill(&mut self.outgoing, queries, next);
                }
            }
            if !idle {
                last_reply = now;
            }
            let in_flight = self.in_flight();
            if is_over && in_flight == 0 {
                break;
            }
            if now - last_reply > TIMEOUT {
                self.count_lost(&mut result);
                last_reply = now;
            }
        }
        result.took = start.elapsed();
        result
    }

    /// Sends `rate` queries per second, one at a time, without waiting for answers.
    fn fixed_rate(&mut self, queries: &[TestQuery], rate: u32, length: Duration) -> LoadResult {
        let mut result = LoadResult::default();
        let interval = Duration::from_secs(1) / rate;
        let start = Instant::now();
        let mut due = start;
        let mut next = 0;
        while start.elapsed() < length {
            let socket = &mut self.sockets[next % SOCKETS];
            socket.receive(&mut self.incoming, queries, &mut result);
            if Instant::now() >= due {
                // At 20,000/s a socket is used again after 400 µs: by then its answer has arrived.
                if socket.socket.send(&queries[next % queries.len()].packet).is_ok() {
                    socket.in_flight += 1;
                }
                next += 1;
                due += interval;
            }
        }
        result.took = start.elapsed();
        let deadline = Instant::now() + TIMEOUT;
        while self.in_flight() > 0 && Instant::now() < deadline {
            for socket in &mut self.sockets {
                socket.receive(&mut self.incoming, queries, &mut result);
            }
        }
        self.count_lost(&mut result);
        result
    }

    /// Sends one query and waits. Returns whether the correct answer arrives.
    pub(crate) fn query_once(&mut self, query: &TestQuery) -> bool {
        let socket = &self.sockets[0].socket;
        if socket.send(&query.packet).is_err() {
            return false;
        }
        let deadline = Instant::now() + TIMEOUT;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            if let Ok(length) = socket.recv(&mut buffer)
                && query.answered_by(&buffer[..length])
            {
                return true;
            }
        }
        false
    }

    fn in_flight(&self) -> usize {
        self.sockets.iter().map(|socket| socket.in_flight).sum()
    }

    fn count_lost(&mut self, result: &mut LoadResult) {
        result.lost += self.in_flight() as u64;
        self.sockets.iter_mut().for_each(|socket| socket.in_flight = 0);
    }
}

impl ClientSocket {
    fn receive(&mut self, batch: &mut Batch, queries: &[TestQuery], result: &mut LoadResult) -> usize {
        if self.in_flight == 0 {
            return 0;
        }
        let received = batch.receive(&self.socket, false);
        for index in 0..received {
            let reply = batch.packet(index);
            let id = reply.get(..2).map_or(0, |id| usize::from(u16::from_be_bytes([id[0], id[1]])));
            let correct = queries.get(id).is_some_and(|query| query.answered_by(reply));
            if correct { result.answers += 1 } else { result.wrong += 1 }
        }
        self.in_flight = self.in_flight.saturating_sub(received);
        received
    }

    /// Sends queries up to the window in one system call, once half of it is free: with one call for each packet the load
    /// generator would be slower than the server.
    fn fill(&mut self, batch: &mut Batch, queries: &[TestQuery], mut next: usize) -> usize {
        let free = WINDOW - self.in_flight;
        if free < WINDOW / 2 {
            return next;
        }
        for index in 0..free {
            batch.copy_in(index, &queries[(next + index) % queries.len()].packet);
        }
        let sent = batch.send(&self.socket, free);
        self.in_flight += sent;
        next += sent;
        next
    }
}
