//! UDP services: the socket of a port.

use std::io;
use std::net::UdpSocket;
use std::rc::Rc;

use cluster::Protocol;
use ingress_routes::StreamService;
use net::datagram::{Datagram, DatagramSocket};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::udp_session;
use super::udp_socket::{UdpListener, with_buffer};
use crate::state::udp_sessions::SessionKey;
use crate::state::worker::Worker;

/// Serves a port until it is closed or the proxy stops, and its sessions have ended.
pub(super) async fn listen(worker: Rc<Worker>, socket: UdpSocket, port: u16, closed: CancellationToken) {
    let socket = match DatagramSocket::new(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "the socket of a UDP service cannot be used"),
    };
    let listener = Rc::new(UdpListener { socket, port, ended: Notify::new() });
    let mut is_closing = false;
    // Each session has one clone.
    while !is_closing || Rc::strong_count(&listener) > 1 {
        tokio::select! {
            readable = listener.socket.readable() => {
                if let Err(error) = readable.and_then(|()| receive(&worker, &listener)) {
                    // An earlier datagram to a client could not be delivered, or memory is short.
                    tracing::debug!(%error, port, "receiving a datagram of a client failed");
                    tokio::task::yield_now().await;
                }
            }
            () = closed.cancelled(), if !is_closing => is_closing = true,
            () = worker.drain.stopping(), if !is_closing => is_closing = true,
            () = listener.ended.notified(), if is_closing => {}
            () = worker.drain.forced(), if is_closing => return,
        }
    }
}

/// How many datagrams are received before other tasks of the worker run.
const AT_ONCE: usize = 64;

/// Receives what has arrived.
fn receive(worker: &Rc<Worker>, listener: &Rc<UdpListener>) -> io::Result<()> {
    for _ in 0..AT_ONCE {
        let received = with_buffer(|buffer| {
            let datagram = listener.socket.try_receive(buffer)?;
            forward(worker, listener, datagram, &buffer[..datagram.length]);
            Ok(())
        });
        match received {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Sends a datagram of a client to the endpoint of its session, or begins one.
fn forward(worker: &Rc<Worker>, listener: &Rc<UdpListener>, datagram: Datagram, bytes: &[u8]) {
    let key = SessionKey { port: listener.port, client: datagram.peer, local: datagram.local };
    if let Some(session) = worker.streams.sessions.get(&key) {
        return session.request(worker, bytes);
    }
    // A port that is being closed serves only the sessions that it has.
    let service = worker.views.streams.load().get(Protocol::Udp, listener.port).cloned();
    let serves = |service: &StreamService| service.is_open() && service.rules.admit(datagram.peer.ip());
    match service.filter(|service| serves(service) && !worker.is_stopping()) {
        Some(service) => udp_session::begin(worker, listener, key, service, bytes),
        None => worker.streams.metrics.dropped_closed.inc(),
    }
}
