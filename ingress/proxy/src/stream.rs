//! TCP and UDP services: bytes and datagrams that are passed on to endpoints as they are.
//!
//! [`ports`] opens and closes the sockets of the view, and gives each worker its own. A worker serves a TCP stream in a task ([`tcp`]), and a
//! UDP session, which is a client's address with the endpoint that was chosen for it, in another ([`udp_session`]). What is open outlives
//! changes of the view ([`open_streams`](crate::state::open_streams)).

mod endpoint;
pub(crate) mod ports;
mod record;
mod tcp;
mod udp_socket;
mod udp_session;
mod udp;

use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::state::worker::Worker;

/// A socket of one worker for the port of a service.
pub(crate) struct OpenedPort {
    socket: StreamSocket,
    port: u16,
    /// Cancelled when the port is closed.
    closed: CancellationToken,
    /// The address is in use by this process until this is dropped.
    held: Arc<()>,
}

enum StreamSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Serves the ports that are opened until the proxy stops.
pub(crate) async fn run(worker: Rc<Worker>, mut opened: UnboundedReceiver<OpenedPort>) {
    let mut listeners = JoinSet::new();
    loop {
        tokio::select! {
            port = opened.recv() => match port {
                Some(port) => drop(listeners.spawn_local(serve(worker.clone(), port))),
                // The thread that opens ports has ended.
                None => break,
            },
            Some(ended) = listeners.join_next() => report(&worker, ended),
            () = worker.drain.stopping() => break,
        }
    }
    // They end by themselves.
    while let Some(ended) = listeners.join_next().await {
        report(&worker, ended);
    }
}

async fn serve(worker: Rc<Worker>, opened: OpenedPort) {
    let OpenedPort { socket, port, closed, held } = opened;
    match socket {
        StreamSocket::Tcp(socket) => tcp::listen(worker, socket, port, closed).await,
        StreamSocket::Udp(socket) => udp::listen(worker, socket, port, closed).await,
    }
    drop(held);
}

/// Reports a listener that has panicked. The other workers still serve its port.
fn report(worker: &Worker, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        worker.connections.panics.inc();
        tracing::error!("a listener of a TCP or UDP service has ended on worker {}: {error}", worker.number);
    }
}
