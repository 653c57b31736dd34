//! Baseline: one thread that copies bytes between clients and the backend without parsing them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use crate::epoll::Epoll;
use crate::http::stream::LoadTls;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, free_port};

/// Name of the baseline.
pub(crate) const NAME: &str = "bare epoll byte pump";

/// Starts this program as the baseline proxy.
pub(crate) fn start(testbed: &Testbed, backend: u16, tls: Option<&LoadTls>) -> Result<Server, String> {
    if tls.is_some() {
        return Err("it does not terminate TLS".to_owned());
    }
    let port = free_port()?;
    let itself = std::env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let mut command = Command::new(itself);
    command.args(["serve", "pump", &port.to_string(), &backend.to_string()]);
    Ok(Server::new(Process::start_server(testbed, &mut command, &testbed.folder("pump")?)?, port))
}

/// Serves until the process is terminated.
pub(crate) fn serve(port: &str, backend: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text}: expected a port"));
    run(number(port)?, number(backend)?).map_err(|error| format!("port {port}: {error}"))
}

fn run(port: u16, backend: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut epoll = Epoll::new()?;
    // The two connections of a pair have the numbers 2n and 2n + 1. The listener's number is never reached.
    let listening = usize::MAX;
    epoll.add(&listener, listening)?;
    let mut ends: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        epoll.wait(-1);
        let mut index = 0;
        while let Some(number) = epoll.ready(index) {
            index += 1;
            if number == listening {
                let (client, _) = listener.accept()?;
                let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, backend))?;
                for end in [client, upstream] {
                    end.set_nodelay(true)?;
                    epoll.add(&end, ends.len())?;
                    ends.push(Some(end));
                }
            } else if !copy_once(&ends, number, &mut buffer) {
                ends[number] = None;
                ends[number ^ 1] = None;
            }
        }
    }
}

/// Copies available bytes to the other connection of the pair. Returns false when either of them has ended.
fn copy_once(ends: &[Option<TcpStream>], from: usize, buffer: &mut [u8]) -> bool {
    let (Some(mut source), Some(mut sink)) = (ends[from].as_ref(), ends[from ^ 1].as_ref()) else {
        return true;
    };
    matches!(source.read(buffer), Ok(got @ 1..) if sink.write_all(&buffer[..got]).is_ok())
}
