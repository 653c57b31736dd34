//! The load: batches of questions from several sockets, every answer checked.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::dns::ask::Question;
use crate::dns::batch::Batch;
use crate::round::Tally;

const LANES: usize = 8;
/// Questions under way per socket: together they keep a server busy without overflowing its buffer.
const WINDOW: usize = 16;
/// Longer than any answer takes on loopback: what is missing then is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sockets to one server.
pub(crate) struct Load {
    lanes: Vec<Lane>,
    incoming: Batch,
    outgoing: Batch,
}

struct Lane {
    socket: UdpSocket,
    under_way: usize,
}

impl Load {
    /// Opens the sockets.
    pub(crate) fn new(server: SocketAddr) -> Result<Self, String> {
        let lane = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            SockRef::from(&socket).set_recv_buffer_size(1 << 20)?;
            Ok(Lane { socket, under_way: 0 })
        };
        let lanes = (0..LANES).map(lane).collect::<std::io::Result<_>>();
        let lanes = lanes.map_err(|error| format!("sockets to {server}: {error}"))?;
        Ok(Self { lanes, incoming: Batch::new(WINDOW), outgoing: Batch::new(WINDOW) })
    }

    /// Asks as fast as answers come, for a while.
    pub(crate) fn flood(&mut self, questions: &[Question], length: Duration) -> Tally {
        let mut tally = Tally::default();
        let mut next = 0;
        let start = Instant::now();
        let mut heard = start;
        loop {
            let now = Instant::now();
            let over = now - start > length;
            let mut quiet = true;
            for lane in &mut self.lanes {
                let got = lane.receive(&mut self.incoming, questions, &mut tally);
                quiet &= got == 0;
                if !over {
                    next = lane.fill(&mut self.outgoing, questions, next);
                }
            }
            if !quiet {
                heard = now;
            }
            let under_way = self.under_way();
            if over && under_way == 0 {
                break;
            }
            if now - heard > PATIENCE {
                self.give_up(&mut tally);
                heard = now;
            }
        }
        tally.took = start.elapsed();
        tally
    }

    /// Asks one question at a time, so many a second, and never waits for an answer before the next.
    pub(crate) fn steady(&mut self, questions: &[Question], rate: u32, length: Duration) -> Tally {
        let mut tally = Tally::default();
        let gap = Duration::from_secs(1) / rate;
        let start = Instant::now();
        let mut due = start;
        let mut next = 0;
        while start.elapsed() < length {
            let lane = &mut self.lanes[next % LANES];
            lane.receive(&mut self.incoming, questions, &mut tally);
            if Instant::now() >= due {
                // A lane is asked again 400 µs later at 20,000/s: by then its answer is here.
                if lane.socket.send(&questions[next % questions.len()].packet).is_ok() {
                    lane.under_way += 1;
                }
                next += 1;
                due += gap;
            }
        }
        tally.took = start.elapsed();
        let patience = Instant::now() + PATIENCE;
        while self.under_way() > 0 && Instant::now() < patience {
            for lane in &mut self.lanes {
                lane.receive(&mut self.incoming, questions, &mut tally);
            }
        }
        self.give_up(&mut tally);
        tally
    }

    /// Whether one question gets its answer now.
    pub(crate) fn once(&mut self, question: &Question) -> bool {
        let socket = &self.lanes[0].socket;
        if socket.send(&question.packet).is_err() {
            return false;
        }
        let patience = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < patience {
            if let Ok(length) = socket.recv(&mut buffer)
                && question.answered_by(&buffer[..length])
            {
                return true;
            }
        }
        false
    }

    fn under_way(&self) -> usize {
        self.lanes.iter().map(|lane| lane.under_way).sum()
    }

    fn give_up(&mut self, tally: &mut Tally) {
        tally.lost += self.under_way() as u64;
        self.lanes.iter_mut().for_each(|lane| lane.under_way = 0);
    }
}

impl Lane {
    fn receive(&mut self, batch: &mut Batch, questions: &[Question], tally: &mut Tally) -> usize {
        if self.under_way == 0 {
            return 0;
        }
        let got = batch.receive(&self.socket, false);
        for index in 0..got {
            let reply = batch.packet(index);
            let id = reply.get(..2).map_or(0, |id| usize::from(u16::from_be_bytes([id[0], id[1]])));
            let right = questions.get(id).is_some_and(|question| question.answered_by(reply));
            if right { tally.answers += 1 } else { tally.wrong += 1 }
        }
        self.under_way = self.under_way.saturating_sub(got);
        got
    }

    /// Sends up to the window, in one call, once half of it is free: a call for each packet would make the load the slower side.
    fn fill(&mut self, batch: &mut Batch, questions: &[Question], mut next: usize) -> usize {
        let free = WINDOW - self.under_way;
        if free < WINDOW / 2 {
            return next;
        }
        for index in 0..free {
            batch.put(index, &questions[(next + index) % questions.len()].packet);
        }
        let sent = batch.send(&self.socket, free);
        self.under_way += sent;
        next += sent;
        next
    }
}
