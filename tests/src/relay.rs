//! A TCP relay between Portolan and the API server that can close connections or stall them in the middle of a response.
//!
//! It forwards bytes unchanged, TLS included.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A listener on the loopback interface that forwards all connections to one address.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cut: bool,
    /// Stalls a connection after the server has sent more bytes than this over it.
    limit: Option<usize>,
    held: bool,
    streams: Vec<TcpStream>,
}

impl Relay {
    /// Starts forwarding to `target`.
    pub fn start(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Shared { target, state: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let acceptor = shared.clone();
        // The thread lives until the test process ends: after its drop, the relay only closes connections.
        std::thread::spawn(move || acceptor.accept(&listener));
        Relay { port, shared }
    }

    /// The relay's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections and all new ones.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.cut = true;
        self.shared.close(&mut state);
    }

    /// Forwards again, without a limit.
    pub fn restore(&self) {
        let mut state = self.shared.lock();
        (state.cut, state.limit, state.held) = (false, None, false);
        self.shared.changed.notify_all();
    }

    /// Stalls each connection once the server has sent more than `bytes` over it.
    pub fn hold_after(&self, bytes: usize) {
        self.shared.lock().limit = Some(bytes);
    }

    /// Waits until a connection is stalled.
    #[track_caller]
    pub fn wait_until_held(&self, limit: Duration) {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !state.held)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(state.held, "no connection was stalled within {limit:?}");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            let shared = self.clone();
            std::thread::spawn(move || shared.pass(client));
        }
    }

    fn pass(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.target)?;
        {
            let mut state = self.lock();
            state.streams.extend([client.try_clone()?, server.try_clone()?]);
            if state.cut {
                self.close(&mut state);
                return Ok(());
            }
        }
        let (to_server, from) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || copy(from, to_server, |_| ()));
        copy(server, client, |sent| self.hold(sent));
        Ok(())
    }

    /// Blocks while the connection is over its limit, until the relay is cut or restored.
    fn hold(&self, sent: usize) {
        let mut state = self.lock();
        while !state.cut && state.limit.is_some_and(|limit| sent > limit) {
            state.held = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn close(&self, state: &mut State) {
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut before: impl FnMut(usize)) {
    let (mut buffer, mut sent) = ([0; 16 * 1024], 0);
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        sent += size;
        before(sent);
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
