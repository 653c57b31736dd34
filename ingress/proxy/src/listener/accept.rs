//! Accepting connections, and serving each of them in a task of its own.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ingress_routes::Scheme;
use telemetry::causes;
use tokio::net::TcpStream;

use crate::client;
use crate::client::connection::ClientConnection;
use crate::exchange::handler::Handler;
use crate::listener::tls::handshake;
use crate::listener::{Listener, ListenerProperties};
use crate::state::worker::Worker;

/// Accepts until the proxy stops, and then takes the connections that the system has completed already: closing the
/// socket would reset them.
pub(crate) async fn accept(worker: Rc<Worker>, listener: Listener) {
    let Listener { socket, properties } = listener;
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let spawn = |stream, peer| {
        worker.connections.accepted.inc();
        let open = worker.drain.track();
        tokio::task::spawn_local(serve(worker.clone(), stream, peer, properties.clone(), open));
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = worker.drain.stopping() => break,
        };
        match accepted {
            Ok((stream, peer)) => spawn(stream, peer),
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // tokio's own accept asks the system only after it has been told of something new.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, peer)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = tokio::net::TcpStream::from_std(stream)
        {
            spawn(stream, peer);
        }
    }
}

/// Serves a connection until it ends.
async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: ListenerProperties,
    _open: net::DrainToken,
) {
    worker.connections.handled.inc();
    worker.connections.active.inc();
    // Responses leave at once, however small.
    let _ = stream.set_nodelay(true);
    let scheme = if listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let client = ClientConnection {
        worker: worker.clone(),
        peer,
        peer_ip: peer.ip().to_canonical().to_string().into(),
        scheme,
        port: listener.port,
        state: None,
        stream_timer: None.into(),
        requests: Cell::default(),
        open_requests: Rc::default(),
        upgrade: None.into(),
    };
    match listener.tls {
        None => client::serve(client, stream, None, Handler).await,
        Some(config) => match handshake(&worker, stream, config).await {
            Some(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(net::tls::H2);
                client::serve(client, stream, Some(h2), Handler).await;
            }
            Some(Err(error)) => {
                tracing::debug!(client = %client.peer_ip, error = causes(&error), "a TLS handshake failed");
            }
            None => tracing::debug!(client = %client.peer_ip, "a TLS handshake took too long"),
        },
    }
    worker.connections.active.dec();
}
