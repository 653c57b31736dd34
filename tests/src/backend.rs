//! A web server on a Pod's address, in place of the Pod, which no kubelet runs. Its responses contain its name and the
//! request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A web server. Dropping it closes its port and all connections.
pub struct Backend {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: String,
    /// The status line of every response, after the version.
    status: &'static str,
    open: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Backend {
    /// Listens on `address` and answers every request with 200, the header `x-backend: <name>` and the request head as
    /// body.
    pub fn start(name: &str, address: &str) -> Backend {
        Backend::start_with("200 OK", name, address)
    }

    /// Like [`Backend::start`], with the status 500.
    pub fn start_failing(name: &str, address: &str) -> Backend {
        Backend::start_with("500 Internal Server Error", name, address)
    }

    fn start_with(status: &'static str, name: &str, address: &str) -> Backend {
        let address: SocketAddr = address.parse().expect("tests use valid addresses");
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let (name, open) = (name.to_owned(), AtomicBool::new(true));
        let state = Arc::new(State { name, status, open, streams: Mutex::default() });
        let shared = state.clone();
        std::thread::spawn(move || shared.accept(&listener));
        Backend { address, state }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.state.open.store(false, Ordering::SeqCst);
        // Wakes the accept loop, which then ends and closes the port.
        let _ = TcpStream::connect(self.address);
        for stream in self.state.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if !self.open.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(copy) = stream.try_clone() {
                self.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(copy);
            }
            let state = self.clone();
            std::thread::spawn(move || state.serve(stream));
        }
    }

    /// Serves requests until the first error, which is how a connection normally ends.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            io::copy(&mut (&mut reader).take(length.unwrap_or(0)), &mut io::sink())?;
            let (name, status, size) = (&self.name, self.status, head.len());
            let lines = format!("HTTP/1.1 {status}\r\nx-backend: {name}\r\ncontent-length: {size}\r\n\r\n");
            // One write: Nagle's algorithm would delay a second small one until the first is acknowledged.
            stream.write_all((lines + &head).as_bytes())?;
        }
    }
}
