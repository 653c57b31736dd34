//! The backend: a process on the load core that answers every request with the same response.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::epoll::Epoll;
use crate::http::message::response;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, free_port};

const LISTENER: usize = 0;

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
    let mut connections: HashMap<usize, (TcpStream, Vec<u8>)> = HashMap::new();
    let (mut next, response) = (LISTENER + 1, response());
    loop {
        epoll.wait(-1);
        let mut index = 0;
        while let Some(number) = epoll.ready(index) {
            index += 1;
            if number == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                epoll.add(&stream, next)?;
                connections.insert(next, (stream, Vec::new()));
                next += 1;
            } else if let Some((stream, received)) = connections.get_mut(&number)
                && !respond(stream, received, &response)
            {
                connections.remove(&number);
            }
        }
    }
}

/// Answers every complete request. Returns false when the connection has ended.
fn respond(stream: &mut TcpStream, received: &mut Vec<u8>, response: &[u8]) -> bool {
    let mut buffer = [0; 8192];
    let Ok(got @ 1..) = stream.read(&mut buffer) else { return false };
    received.extend_from_slice(&buffer[..got]);
    while let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") {
        received.drain(..end + 4);
        if stream.write_all(response).is_err() {
            return false;
        }
    }
    true
}
