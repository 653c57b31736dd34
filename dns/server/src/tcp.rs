//! DNS over TCP (RFC 1035 §4.2.2, RFC 7766): listeners, and the limits on their connections.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use net::{BindError, Drain};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use crate::listener_state::{ANY, ListenerState};
use crate::supervise::restart_on_panic;

/// How long a listener pauses after a failed accept(2).
const PAUSE: Duration = Duration::from_millis(30);

/// Bytes of replies that the kernel may buffer for one client. Linux doubles the value. Without a limit it buffers up to
/// 4 MiB (`net.ipv4.tcp_wmem`) for a client that reads nothing.
const SEND_BUFFER: usize = 64 << 10;

/// Listeners of one address, bound and not yet accepting.
pub(crate) struct TcpListeners {
    listeners: Vec<std::net::TcpListener>,
}

impl TcpListeners {
    /// Binds to an address; the unspecified IPv6 address includes IPv4. `beside` if another listener of this process overlaps.
    pub(crate) fn bind(address: SocketAddr, beside: bool) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        let listen = if beside { net::listen::listen_beside } else { net::listen::listen };
        if address.ip() == ANY {
            let ipv4 = SocketAddr::from(([0; 4], address.port()));
            listeners = listen(ipv4, 1)?;
        }
        match listen(address, 1) {
            Ok(more) => listeners.extend(more),
            // A system without IPv6.
            Err(_) if !listeners.is_empty() => {}
            Err(error) => return Err(error),
        }
        Ok(Self { listeners })
    }

    /// Starts to accept connections. Must be called within the runtime that is to serve them.
    pub(crate) fn serve(self, state: &Arc<ListenerState>, drain: &Drain) -> io::Result<()> {
        for listener in self.listeners {
            // Accepted connections inherit the option. If it cannot be set, the kernel's default applies.
            let _ = SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER);
            let listener = Arc::new(TcpListener::from_std(listener)?);
            let (state, drain, panics) = (state.clone(), drain.clone(), state.panics.clone());
            tokio::spawn(async move {
                let accepting = || accept(listener.clone(), state.clone(), drain.clone());
                restart_on_panic("the TCP listener", &panics, accepting).await;
            });
        }
        Ok(())
    }
}

async fn accept(listener: Arc<TcpListener>, state: Arc<ListenerState>, drain: Drain) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.stopping() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                failing = false;
                serve(stream, client, &state, &drain);
            }
            // The client has already closed the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(target: "dns-server", "cannot accept TCP connections: {error}");
                }
                if net::descriptors::is_exhausted(&error) {
                    state.connections.evict_one();
                }
                // Without a pause the loop would use a whole processor.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection in a task of its own, or rejects it if there are too many.
fn serve(stream: TcpStream, client: SocketAddr, state: &Arc<ListenerState>, drain: &Drain) {
    let Some(slot) = state.connections.admit(client.ip()) else {
        // Makes the close a reset, so that the kernel keeps no state for the connection.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return;
    };
    let (state, drain, token) = (state.clone(), drain.clone(), drain.track());
    tokio::spawn(async move {
        let panics = state.panics.clone();
        let served = AssertUnwindSafe(connection::serve(stream, client, state, slot, &drain)).catch_unwind();
        tokio::select! {
            // A connection error concerns the client only.
            served = served => if served.is_err() {
                panics.inc();
            },
            () = drain.forced() => {}
        }
        drop(token);
    });
}
