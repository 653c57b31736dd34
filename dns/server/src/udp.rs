//! DNS over UDP: one thread and one socket per processor.
//!
//! Queries that can be answered from memory are answered here, a batch at a time. A query that has to wait moves to the
//! async runtime together with its reply path.

mod batch;
mod drops;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use dns_chain::run::{self, PendingQuery};
use dns_chain::{Answer, Request, Transport, ZoneRoutes};
use dns_wire::Rejection;
use dns_wire::codes::rcode;
use futures_util::FutureExt;
use net::BindError;
use socket2::Socket;
use telemetry::ThreadSlot;

use crate::listener_state::{ListenerState, encode_message};
use crate::name_samples::NameSampler;
use crate::supervise::restart_thread_on_panic;
use batch::{Batch, ReplyPath};

pub(crate) use drops::DropCounts;

/// The sockets of one address, bound and not yet served.
pub(crate) struct UdpSockets {
    sockets: Vec<Socket>,
    address: SocketAddr,
}

/// The threads that serve the sockets of one address.
#[derive(Default)]
pub(crate) struct UdpThreads {
    sockets: Vec<Arc<Socket>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl UdpSockets {
    /// Binds one socket per thread.
    pub(crate) fn bind(address: SocketAddr, threads: usize, beside: bool) -> Result<Self, BindError> {
        let sockets = socket::open(address, threads.max(1), beside)?;
        let local = sockets.first().map_or(Ok(address), socket::local);
        let address = local.map_err(|cause| BindError { address, cause })?;
        Ok(Self { sockets, address })
    }

    /// The bound address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the threads.
    pub(crate) fn serve(self, shared: &Arc<ListenerState>) -> io::Result<UdpThreads> {
        let stop = Arc::new(AtomicBool::new(false));
        let sockets: Vec<_> = self.sockets.into_iter().map(Arc::new).collect();
        let mut served = UdpThreads { sockets, threads: Vec::new(), stop };
        for (number, socket) in served.sockets.iter().enumerate() {
            let (socket, shared, stop) = (socket.clone(), shared.clone(), served.stop.clone());
            let address = self.address;
            let name = format!("dns-udp-{number}");
            let thread = move || {
                let work = || UdpWorker::new(socket.clone(), shared.clone(), stop.clone(), address).run();
                restart_thread_on_panic("a UDP thread", &shared.panics, work);
            };
            served.threads.push(std::thread::Builder::new().name(name).spawn(thread)?);
        }
        Ok(served)
    }
}

impl UdpThreads {
    /// The sockets that the threads read.
    pub(crate) fn sockets(&self) -> &[Arc<Socket>] {
        &self.sockets
    }

    /// Answers the queued packets and ends the threads. Blocks until they have ended.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        for socket in &self.sockets {
            // Wakes the thread. The call returns ENOTCONN but takes effect.
            let _ = socket.shutdown(std::net::Shutdown::Read);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(target: "dns-server", "a UDP thread panicked while stopping");
            }
        }
    }
}

impl Drop for UdpThreads {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The longest message in a datagram over IPv4 (RFC 768, RFC 791 §3.1). A longer reply is truncated, so that the client
/// retries over TCP.
const MAX_DATAGRAM: usize = 65_535 - 20 - 8;

/// Batches that are still answered after [`UdpThreads::stop`]: enough for the queue, but bounded under a flood.
const LAST_BATCHES: usize = 256;

struct UdpWorker {
    socket: Arc<Socket>,
    shared: Arc<ListenerState>,
    stop: Arc<AtomicBool>,
    batch: Batch,
    request: Request,
    answer: Answer,
    sampler: NameSampler,
    wildcard: bool,
}

impl UdpWorker {
    /// Must be called on the thread that uses the buffers.
    fn new(
        socket: Arc<Socket>,
        shared: Arc<ListenerState>,
        stop: Arc<AtomicBool>,
        address: SocketAddr,
    ) -> Self {
        Self {
            sampler: NameSampler::new(shared.names.clone(), Instant::now()),
            socket,
            shared,
            stop,
            batch: Batch::new(),
            request: Request::new(Transport::Udp, address),
            answer: Answer::default(),
            wildcard: address.ip().is_unspecified(),
        }
    }

    fn run(mut self) {
        let _slot = ThreadSlot::claim();
        let socket = self.socket.as_raw_fd();
        let (mut left, mut failing) = (LAST_BATCHES, false);
        while left > 0 {
            let count = match self.batch.receive(socket) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    if self.stop.load(Relaxed) {
                        return;
                    }
                    // Most likely the kernel is out of memory. Without a pause the loop would use a whole processor.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(target: "dns-server", "cannot read from {}: {error}", self.request.server);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    continue;
                }
            };
            failing = false;
            // After shutdown a socket returns the queued packets, and then empty ones without a sender.
            if self.stop.load(Relaxed) {
                if self.batch.reply_path(0).client().is_none() {
                    return;
                }
                left -= 1;
            }
            self.shared.arrivals.add(count);
            self.answer_all(count);
            self.batch.send(socket);
        }
    }

    /// Answers a batch. A panic affects only the query that caused it.
    // Hot: 0 allocations, unless a query has to wait.
    fn answer_all(&mut self, count: usize) {
        // Loaded once: the whole batch sees the same configuration.
        let shared = self.shared.clone();
        let routes = shared.routes.load();
        self.request.received = Instant::now();
        let mut at = 0;
        while at < count {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                while at < count {
                    self.answer_one(at, &routes);
                    at += 1;
                }
            }));
            if panicked.is_err() {
                shared.panics.inc();
                self.request.restore_client_question();
                let query = &self.request.query;
                self.batch.reply(at, |out| query.encode_error(rcode::SERVFAIL, out));
                at += 1;
            }
        }
        if let Some(at) = self.sampler.choose(count, self.request.received) {
            self.sample(at, count);
        }
    }

    /// Counts the name of one query of a batch that has been answered.
    #[cold]
    fn sample(&mut self, at: usize, count: usize) {
        let Self { batch, request, sampler, .. } = self;
        let query = request.query.parse(batch.packet(at)).is_ok().then_some(&request.query);
        sampler.take(query, count - at - 1, request.received, rand::random());
    }

    // Hot: 0 allocations, unless the query has to wait.
    fn answer_one(&mut self, at: usize, routes: &Arc<ZoneRoutes>) {
        let Self { batch, request, answer, .. } = self;
        let packet = batch.packet(at);
        request.size = packet.len();
        match request.query.parse(packet) {
            Ok(()) => {}
            Err(Rejection::Drop) => return,
            Err(Rejection::Reply(code)) => {
                batch.reply(at, |out| request.query.encode_error(code, out));
                return;
            }
        }
        if routes.is_bad_version(&request.query) {
            batch.reply(at, |out| request.query.encode_error(rcode::BADVERS, out));
            return;
        }
        let reply_path = batch.reply_path(at);
        // Nothing can be sent to port 0.
        let Some(client) = reply_path.client().filter(|client| client.port() != 0) else { return };
        request.client = client;
        if self.wildcard
            && let Some(ip) = reply_path.destination()
        {
            request.server.set_ip(ip.to_canonical());
        }
        if routes.keeps_messages() {
            request.message.clear();
            request.message.extend_from_slice(batch.packet(at));
        }
        let write = |encode: run::EncodeReply<'_>| {
            batch.reply(at, |out| encode(in_datagram(out)));
        };
        if let Some(pending) = run::answer(routes, request, answer, write) {
            let reply_path = *self.batch.reply_path(at);
            self.finish_later(pending, reply_path);
        }
    }

    /// Completes the query on the async runtime.
    fn finish_later(&self, pending: PendingQuery, mut reply_path: ReplyPath) {
        let (mut request, socket, shared) = (self.request.clone(), self.socket.clone(), self.shared.clone());
        self.shared.tasks.spawn_on(
            async move {
                let (mut answer, mut packet) = (Answer::default(), None);
                let finish = pending.finish(&mut request, &mut answer, |encode| {
                    packet = encode_message(|out| encode(in_datagram(out)));
                });
                if AssertUnwindSafe(finish).catch_unwind().await.is_err() {
                    shared.panics.inc();
                    request.restore_client_question();
                    packet = encode_message(|out| request.query.encode_error(rcode::SERVFAIL, out));
                }
                if let Some(packet) = packet {
                    // If the send queue is full, the reply is dropped; the client retries, as after a loss in the network.
                    let _ = reply_path.send(socket.as_raw_fd(), &packet);
                }
            },
            &self.shared.runtime,
        );
    }
}

/// The part of a buffer that a datagram can carry.
fn in_datagram(buffer: &mut [u8]) -> &mut [u8] {
    let length = buffer.len().min(MAX_DATAGRAM);
    &mut buffer[..length]
}

#[cfg(test)]
mod tests;
