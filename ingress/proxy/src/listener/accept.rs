//! Accepting connections, and serving each of them in a task of its own.

use std::cell::{Cell, OnceCell};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use ingress_routes::{ProxiedConnection, RequestScheme};
use net::descriptors;
use telemetry::causes;
use tokio::net::TcpStream;

use crate::client;
use crate::client::ServeRequests;
use crate::client::connection::ClientConnection;
use crate::exchange::handler::ExchangeHandler;
use crate::io::boxed::boxed;
use crate::io::transport_stream::ClientStream;
use crate::listener::handshake::{Handshake, handshake};
use crate::listener::passthrough;
use crate::listener::proxy_header::{self, ProxyHeaderError};
use crate::listener::{Listener, ListenerProperties};
use crate::observe::tls_details::TlsDetails;
use crate::state::client_table::{ClientEntry, CloseReason};
use crate::state::worker::Worker;

/// How long accepting pauses after an error, such as no free file descriptor: trying again at once would only use CPU time.
const PAUSE: Duration = Duration::from_millis(100);
/// How many unsent bytes a TLS session buffers: two records.
const TLS_BUFFER: usize = 32 * 1024;

/// Accepts connections of HTTP and HTTPS until the listener is closed or the proxy stops. Returns whether one of these was the reason.
pub(crate) async fn accept(worker: Rc<Worker>, listener: Listener) -> bool {
    let Listener { socket, properties, closed, held } = listener;
    let stop = async {
        tokio::select! {
            () = closed.cancelled() => {}
            () = worker.drain.stopping() => {}
        }
    };
    accept_until(&worker, socket, stop, |stream, peer| {
        let properties = properties.clone();
        admit(&worker, peer, |entry| {
            let beginning = Box::pin(begin(worker.clone(), stream, peer, properties, entry));
            async move {
                // Each step is dropped before the next one runs: a request would otherwise pass all of them each time it is polled.
                let serving = beginning.await;
                if let Some(serving) = serving {
                    serving.await;
                }
            }
        });
    })
    .await;
    drop(held);
    closed.is_cancelled() || worker.drain.is_stopping()
}

/// Accepts until `stop`. Then accepts the connections that the kernel has completed already: closing the socket would reset them.
pub(crate) async fn accept_until(
    worker: &Rc<Worker>,
    socket: TcpListener,
    stop: impl Future<Output = ()>,
    admit: impl Fn(TcpStream, SocketAddr),
) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                worker.follow(&worker.views.table.load());
                if worker.clients.is_crowded() && worker.clients.drain(worker.clock.now()) > 0 {
                    // The drained connections close when their tasks run.
                    tokio::task::yield_now().await;
                }
                admit(stream, peer);
            }
            Err(error) => {
                if worker.clients.should_warn(worker.clock.now()) {
                    tracing::warn!(%error, "a connection cannot be accepted");
                }
                if descriptors::is_exhausted(&error) {
                    worker.limits.no_descriptor.inc();
                    worker.clients.drain(worker.clock.now());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // tokio's accept makes no system call before a new event, so the remaining connections are accepted without tokio.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, peer)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = tokio::net::TcpStream::from_std(stream)
        {
            admit(stream, peer);
        }
    }
}

/// Serves a connection in a task of its own, or closes it if the worker has reached its limit of connections. The future is boxed if it
/// is large: the task reserves memory for it twice.
pub(crate) fn admit<F: Future<Output = ()> + 'static>(
    worker: &Rc<Worker>,
    peer: SocketAddr,
    serve: impl FnOnce(Rc<ClientEntry>) -> F,
) {
    worker.connections.accepted.inc();
    let now = worker.clock.now();
    let Some(slot) = worker.clients.admit(now) else {
        worker.limits.refused.inc();
        if worker.clients.should_warn(now) {
            tracing::warn!(
                client = %peer,
                limit = worker.clients.limit(),
                "a client is refused: all connections that a worker may have are in use (max-worker-connections)"
            );
        }
        return;
    };
    let open = worker.drain.track();
    let serving = serve(slot.entry.clone());
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let _active = ActiveConnection::new(&worker);
        let closed = slot.entry.run(std::pin::pin!(serving)).await;
        match closed {
            Some(CloseReason::Drained) => worker.limits.drained.inc(),
            Some(CloseReason::Buffers) => worker.limits.buffers.inc(),
            None => {}
        }
        drop((slot, open));
    });
}

/// Begins a connection: PROXY header, TLS handshake, protocol. `None` if it has ended with that.
async fn begin(
    worker: Rc<Worker>,
    mut stream: TcpStream,
    peer: SocketAddr,
    listener: ListenerProperties,
    entry: Rc<ClientEntry>,
) -> Option<ServeRequests> {
    worker.connections.handled.inc();
    // Small responses are sent at once.
    let _ = stream.set_nodelay(true);
    let proxied = match boxed(|| proxied(&worker, &mut stream)).await {
        Ok(proxied) => proxied,
        Err(error) => {
            tracing::debug!(client = %peer, %error, "a connection has no valid PROXY header");
            return None;
        }
    };
    let source = proxied.map(|proxied| proxied.source);
    let client = worker.settings().identity.connection_client(peer, source);
    let scheme = if listener.tls.is_some() { RequestScheme::Https } else { RequestScheme::Http };
    let mut client = ClientConnection {
        forwarded_lines: OnceCell::new(),
        worker: worker.clone(),
        number: worker.next_connection(),
        peer,
        proxied,
        client,
        peer_ip: client.ip().to_canonical().to_string().into(),
        scheme,
        tls: None,
        client_handshake: None,
        port: proxied.map_or(listener.port, |proxied| worker.public_port(proxied.destination.port())),
        http1: None,
        stream_timer: None.into(),
        requests: Cell::default(),
        waits_for_others: Cell::default(),
        entry,
    };
    let Some(tls) = listener.tls else {
        return boxed(|| client::begin(client, ClientStream::Plain(stream), None, ExchangeHandler)).await;
    };
    match boxed(|| handshake(&worker, stream, &tls)).await {
        Some(Ok(Handshake::Passthrough(stream, hello, route))) => {
            boxed(|| passthrough::serve(&worker, &client.entry, stream, hello, &route)).await;
        }
        Some(Ok(Handshake::Done(mut stream, client_handshake))) => {
            client.client_handshake = Some(Box::new(client_handshake));
            stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
            client.tls = Some(Box::new(TlsDetails::of(stream.get_ref().1)));
            let h2 = stream.get_ref().1.alpn_protocol() == Some(net::tls::H2);
            return boxed(|| client::begin(client, ClientStream::Tls(stream), Some(h2), ExchangeHandler))
                .await;
        }
        Some(Err(error)) => {
            tracing::debug!(client = %client.peer_ip, error = causes(&error), "a TLS handshake failed");
        }
        None => tracing::debug!(client = %client.peer_ip, "a TLS handshake took too long"),
    }
    None
}

/// The PROXY header of a new connection, if the ConfigMap asks for one.
async fn proxied(
    worker: &Worker,
    stream: &mut TcpStream,
) -> Result<Option<ProxiedConnection>, ProxyHeaderError> {
    let timeout = {
        let settings = worker.settings();
        settings.identity.proxy_protocol.then_some(settings.identity.proxy_header_timeout)
    };
    match timeout {
        Some(timeout) => proxy_header::read(worker, stream, timeout).await,
        None => Ok(None),
    }
}

/// Counts a connection as active while it is served.
struct ActiveConnection<'a>(&'a Worker);

impl<'a> ActiveConnection<'a> {
    fn new(worker: &'a Worker) -> Self {
        worker.connections.active.inc();
        Self(worker)
    }
}

impl Drop for ActiveConnection<'_> {
    fn drop(&mut self) {
        self.0.connections.active.dec();
        self.0.report_panic();
    }
}
