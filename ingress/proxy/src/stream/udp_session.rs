//! UDP sessions: a client's address, and the endpoint that its datagrams go to.
//!
//! As in nginx a session ends with the last expected answer (`proxy-stream-responses` for each datagram of the client), or when neither side
//! has sent anything for `proxy-stream-timeout`. A client can make any number of addresses up, so that the number of sessions has a limit, at
//! which those that have been idle longest end.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cluster::Protocol;
use ingress_routes::StreamService;
use net::descriptors;
use tokio::io::{Interest, Ready};

use super::endpoint::{Attempts, is_own_port};
use super::record::{StreamAttempt, StreamRecord};
use super::udp_socket::{UdpListener, with_buffer};
use crate::observe::metrics::OpenGuard;
use crate::state::client_table::CloseReason;
use crate::state::open_streams::StreamGuard;
use crate::state::udp_sessions::{SessionKey, UdpSession};
use crate::state::worker::Worker;

/// How long neither side may send anything once the proxy stops: most sessions are over and wait only for their timeout, which would keep
/// the process for `worker-shutdown-timeout`.
const STOPPING: Duration = Duration::from_secs(5);

impl UdpSession {
    /// Sends a datagram of the client to the endpoint.
    pub(super) fn request(&self, worker: &Worker, bytes: &[u8]) {
        self.requests.set(self.requests.get() + 1);
        self.received.set(self.received.get() + bytes.len() as u64);
        self.touch(worker);
        let endpoint = self.endpoint.borrow().clone();
        match endpoint {
            Some(endpoint) => {
                if !self.send(worker, &endpoint, bytes) {
                    // It is for the next endpoint.
                    self.waiting.borrow_mut().push(bytes);
                }
            }
            None if self.waiting.borrow_mut().push(bytes) => {}
            None => worker.streams.metrics.dropped_busy.inc(),
        }
        if worker.settings().stream.responses == 0 {
            self.wake();
        }
    }

    /// Sends a datagram to the endpoint; false if that has failed, most often because an earlier one could not be delivered.
    fn send(&self, worker: &Worker, endpoint: &tokio::net::UdpSocket, bytes: &[u8]) -> bool {
        match net::datagram::try_send(endpoint, bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                worker.streams.metrics.dropped_busy.inc()
            }
            Err(error) => {
                self.failed.replace(Some(error));
                self.wake();
                return false;
            }
        }
        true
    }

    /// The end of the exchange with an endpoint that has failed: another one is tried if it has never answered.
    fn end_by(&self, error: io::Error) -> EndpointEnd {
        match self.responses.get() {
            0 => EndpointEnd::Unreachable(error),
            _ => EndpointEnd::Session(502),
        }
    }

    /// Waits until the endpoint has sent something or failed, or the session has ended.
    fn poll_event(
        &self,
        cx: &mut Context<'_>,
        worker: &Worker,
        open: &StreamGuard,
        readable: Pin<&mut impl Future<Output = io::Result<Ready>>>,
    ) -> Poll<SessionEvent> {
        if worker.is_stopping() && !self.is_shortened.replace(true) {
            self.arm(worker);
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(SessionEvent::Readable(Err(error)));
        }
        let is_done = self.is_done(worker.settings().stream.responses);
        if is_done || self.is_evicted.get() || open.is_cut() || worker.is_forced() {
            return Poll::Ready(SessionEvent::Ended(200));
        }
        if let Poll::Ready(ready) = readable.poll(cx) {
            return Poll::Ready(SessionEvent::Readable(ready));
        }
        if self.timer.poll_expired(cx) {
            // As in nginx: an answer was expected.
            return Poll::Ready(SessionEvent::Ended(502));
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The session is in use: it does not time out, and others end before it.
    fn touch(&self, worker: &Worker) {
        let now = worker.clock.now();
        self.active.set(now);
        self.slot.entry.begin_request();
        self.slot.entry.end_request(false, now);
        self.arm(worker);
    }

    /// Begins to wait for the next datagram of either side.
    fn arm(&self, worker: &Worker) {
        let timeout = worker.settings().stream.timeout;
        worker.clock.arm(&self.timer, if worker.is_stopping() { timeout.min(STOPPING) } else { timeout });
    }

    /// Whether the endpoint has sent as many answers as are expected. Without an answer a session ends with the first request.
    fn is_done(&self, expected: u32) -> bool {
        self.requests.get() > 0
            && self.responses.get() >= u64::from(expected).saturating_mul(self.requests.get())
    }
}

/// Begins the session of a client that has sent these bytes, or drops them if there is no room for it.
pub(super) fn begin(
    worker: &Rc<Worker>,
    listener: &Rc<UdpListener>,
    key: SessionKey,
    service: Arc<StreamService>,
    bytes: &[u8],
) {
    worker.connections.accepted.inc();
    let now = worker.clock.now();
    let evicted = worker.streams.sessions.make_room((worker.clients.limit() / 2).max(1));
    worker.streams.metrics.evicted.add(evicted as u64);
    if worker.clients.is_crowded() {
        worker.clients.drain(now);
    }
    let Some(slot) = worker.clients.admit(now) else {
        worker.limits.refused.inc();
        return worker.streams.metrics.dropped_limit.inc();
    };
    let session = Rc::new(UdpSession {
        endpoint: RefCell::default(),
        waiting: RefCell::default(),
        requests: Cell::new(0),
        responses: Cell::new(0),
        received: Cell::new(0),
        sent: Cell::new(0),
        failed: RefCell::default(),
        timer: worker.clock.timer(),
        active: Cell::new(now),
        slot,
        is_evicted: Cell::new(false),
        is_shortened: Cell::new(false),
        waker: RefCell::default(),
    });
    worker.streams.sessions.0.borrow_mut().insert(key, session.clone());
    session.request(worker, bytes);
    let local = SocketAddr::new(key.local, key.port);
    let running = RunningSession {
        record: Some(StreamRecord::new(worker, service.clone(), key.client, local)),
        open: worker.streams.open.add(service),
        _shown: worker.streams.metrics.open(Protocol::Udp),
        worker: worker.clone(),
        listener: listener.clone(),
        key,
        session,
    };
    worker.connections.handled.inc();
    let (token, limits) = (worker.drain.track(), worker.limits.clone());
    tokio::task::spawn_local(async move {
        let session = running.session.clone();
        let serving = Box::pin(running.run());
        if let Some(CloseReason::Drained) = session.slot.entry.run(serving).await {
            limits.drained.inc();
        }
        drop(token);
    });
}

/// A session with all that its task has of it. It is removed and logged when this is dropped.
struct RunningSession {
    worker: Rc<Worker>,
    listener: Rc<UdpListener>,
    key: SessionKey,
    session: Rc<UdpSession>,
    open: StreamGuard,
    _shown: OpenGuard,
    record: Option<StreamRecord>,
}

/// The events that a session waits for.
enum SessionEvent {
    /// The endpoint has sent something, or its socket has an error.
    Readable(io::Result<Ready>),
    /// The session has ended with this status.
    Ended(u16),
}

/// Why an endpoint is left.
enum EndpointEnd {
    /// The session has ended with this status.
    Session(u16),
    /// It cannot be reached, and has never answered.
    Unreachable(io::Error),
}

impl RunningSession {
    async fn run(mut self) {
        let status = self.serve().await;
        if let Some(record) = &mut self.record {
            record.status = status;
        }
    }

    /// Serves the session. Returns its status.
    async fn serve(&mut self) -> u16 {
        let Some(record) = &mut self.record else { return 500 };
        let (worker, session, service) = (self.worker.clone(), self.session.clone(), record.service.clone());
        let mut attempts = Attempts::new(&worker.settings().stream, record.started);
        while let Some(address) = attempts.next(&worker, &service).await {
            record.attempts.push(StreamAttempt::new(address));
            let end = match connect(&worker, address) {
                Ok(socket) => {
                    record.connected(0);
                    self.listener.exchange(&worker, &session, socket, self.key, &self.open).await
                }
                Err(error) => EndpointEnd::Unreachable(error),
            };
            record.attempt_ended(session.received.get(), session.sent.get());
            match end {
                EndpointEnd::Session(status) => return status,
                EndpointEnd::Unreachable(error) => {
                    if descriptors::is_exhausted(&error) {
                        worker.limits.no_descriptor.inc();
                        worker.clients.drain(worker.clock.now());
                    }
                    session.endpoint.replace(None);
                    if session.waiting.borrow().0.is_empty() {
                        // Nothing was kept that another endpoint could get.
                        break;
                    }
                    worker.upstream_log.failed(&service.upstream_name(), &address, &error);
                }
            }
        }
        502
    }
}

impl Drop for RunningSession {
    fn drop(&mut self) {
        self.worker.streams.sessions.0.borrow_mut().remove(&self.key);
        self.listener.ended.notify_one();
        if let Some(mut record) = self.record.take() {
            (record.received, record.sent) = (self.session.received.get(), self.session.sent.get());
            record.finish(&self.worker);
        }
        self.worker.report_panic();
    }
}

impl UdpListener {
    /// Sends what waits to an endpoint, and its answers to the client, until the session ends or the endpoint cannot be reached.
    async fn exchange(
        &self,
        worker: &Worker,
        session: &UdpSession,
        endpoint: Rc<tokio::net::UdpSocket>,
        key: SessionKey,
        open: &StreamGuard,
    ) -> EndpointEnd {
        session.endpoint.replace(Some(endpoint.clone()));
        let waiting = session.waiting.borrow_mut().sent();
        for bytes in &waiting {
            session.send(worker, &endpoint, bytes);
        }
        loop {
            let readable = endpoint.ready(Interest::READABLE | Interest::ERROR);
            let mut readable = std::pin::pin!(readable);
            let event =
                std::future::poll_fn(|cx| session.poll_event(cx, worker, open, readable.as_mut())).await;
            match event {
                SessionEvent::Readable(Ok(ready)) => {
                    if let Some(error) = net::datagram::take_error(&endpoint, ready) {
                        return session.end_by(error);
                    }
                    while let Some(received) = self.answer_one(worker, session, &endpoint, key) {
                        if let Err(error) = received {
                            return session.end_by(error);
                        }
                    }
                }
                SessionEvent::Readable(Err(error)) => return session.end_by(error),
                SessionEvent::Ended(status) => return EndpointEnd::Session(status),
            }
        }
    }

    /// Passes one answer on, if one has arrived.
    fn answer_one(
        &self,
        worker: &Worker,
        session: &UdpSession,
        endpoint: &tokio::net::UdpSocket,
        key: SessionKey,
    ) -> Option<io::Result<()>> {
        if session.is_done(worker.settings().stream.responses) {
            return None;
        }
        with_buffer(|buffer| match endpoint.try_recv(buffer) {
            Ok(length) => {
                self.answer(worker, session, key, &buffer[..length]);
                Some(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// Sends an answer to the client.
    fn answer(&self, worker: &Worker, session: &UdpSession, key: SessionKey, bytes: &[u8]) {
        session.responses.set(session.responses.get() + 1);
        session.touch(worker);
        session.waiting.borrow_mut().0.clear();
        match self.socket.try_send(bytes, key.client, key.local) {
            Ok(()) => session.sent.set(session.sent.get() + bytes.len() as u64),
            Err(error) => {
                worker.streams.metrics.dropped_busy.inc();
                tracing::debug!(%error, client = %key.client, "a datagram cannot be sent to a client");
            }
        }
    }
}

/// A socket that sends to an endpoint and receives only from it.
fn connect(worker: &Worker, address: SocketAddr) -> io::Result<Rc<tokio::net::UdpSocket>> {
    let any =
        if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    if is_own_port(worker, Protocol::Udp, socket.local_addr()?, address) {
        return Err(io::Error::other("is a listener of this proxy: the datagrams would loop for ever"));
    }
    Ok(Rc::new(tokio::net::UdpSocket::from_std(socket)?))
}
