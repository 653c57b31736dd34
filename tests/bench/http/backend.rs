//! The backend: a process on the load core that answers every request with the page that it names, and echoes what follows an upgrade.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::epoll::Epoll;
use crate::http::message::BackendPage;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, free_port};

const LISTENER: usize = 0;

/// The field of a request that asks for an upgrade.
const UPGRADE: &[u8] = b"\r\nUpgrade: websocket";

/// The response to the one key that the load sends, the example of RFC 6455 §1.3: HAProxy checks it.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Starts this program as the backend, which listens on `address` (possibly the unspecified one).
pub(crate) fn start(testbed: &Testbed, address: Ipv4Addr) -> Result<Server, String> {
    let port = free_port()?;
    let itself = std::env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let mut command = Command::new(itself);
    command.args(["serve", "backend", &address.to_string(), &port.to_string()]);
    let mut process = Process::start(&mut command, testbed.load, &testbed.folder("backend")?)?;
    process.wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
    Ok(Server::new(process, port))
}

/// Serves until the process is terminated.
pub(crate) fn serve(address: &str, port: &str) -> Result<(), String> {
    let address: Ipv4Addr = address.parse().map_err(|_| format!("{address}: expected an IPv4 address"))?;
    let port: u16 = port.parse().map_err(|_| format!("{port}: expected a port"))?;
    run((address, port).into()).map_err(|error| format!("{address}:{port}: {error}"))
}

fn run(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER)?;
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut next = LISTENER + 1;
    let pages = Pages::default();
    loop {
        epoll.wait(-1);
        let mut index = 0;
        while let Some(number) = epoll.ready(index) {
            index += 1;
            if number == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                epoll.add(&stream, next)?;
                connections.insert(next, Connection { stream, received: Vec::new(), echoes: false });
                next += 1;
            } else if let Some(connection) = connections.get_mut(&number)
                && !connection.respond(&pages)
            {
                connections.remove(&number);
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// Whether the protocol was upgraded.
    echoes: bool,
}

impl Connection {
    /// Answers every complete request. Returns false when the connection has ended.
    fn respond(&mut self, pages: &Pages) -> bool {
        let mut buffer = [0; 8192];
        let Ok(got @ 1..) = self.stream.read(&mut buffer) else { return false };
        if self.echoes {
            return self.stream.write_all(&buffer[..got]).is_ok();
        }
        self.received.extend_from_slice(&buffer[..got]);
        while let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
            let head = &self.received[..end];
            let response = if head.windows(UPGRADE.len()).any(|part| part.eq_ignore_ascii_case(UPGRADE)) {
                self.echoes = true;
                SWITCHING
            } else {
                pages.response(BackendPage::requested(head))
            };
            if self.stream.write_all(response).is_err() {
                return false;
            }
            self.received.drain(..end + 4);
        }
        true
    }
}

/// The responses, each built once.
struct Pages {
    item: Vec<u8>,
    kibibyte: Vec<u8>,
    mebibyte: Vec<u8>,
}

impl Default for Pages {
    fn default() -> Self {
        let [item, kibibyte, mebibyte] =
            [BackendPage::Item, BackendPage::Kibibyte, BackendPage::Mebibyte].map(BackendPage::response);
        Self { item, kibibyte, mebibyte }
    }
}

impl Pages {
    fn response(&self, page: BackendPage) -> &[u8] {
        match page {
            BackendPage::Item => &self.item,
            BackendPage::Kibibyte => &self.kibibyte,
            BackendPage::Mebibyte => &self.mebibyte,
        }
    }
}
