//! Lines as messages of RFC 3164 over UDP, in the form that nginx sends: `<190>Nov 21 07:33:45 host nginx: line`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use jiff::Zoned;

/// Facility local7 and severity info, nginx's defaults.
const PRIORITY: u8 = 23 * 8 + 6;
/// nginx's default tag.
const TAG: &str = "nginx";

/// A syslog server.
pub(super) struct SyslogOutput {
    socket: UdpSocket,
    host_name: String,
    message: Vec<u8>,
}

impl SyslogOutput {
    /// Resolves the server's name. Whether a server is there is unknown, as it is with UDP.
    pub(super) fn open(host: &str, port: u16) -> io::Result<Self> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let no_address = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let server = (host, port).to_socket_addrs()?.next().ok_or_else(no_address)?;
        let own: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own)?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host_name = match host_name.trim() {
            "" => "localhost".to_owned(),
            name => name.to_ascii_lowercase(),
        };
        Ok(Self { socket, host_name, message: Vec::new() })
    }

    /// Sends each line as a message. Returns how many the system did not take, for example because its buffer was full.
    pub(super) fn send(&mut self, lines: &[u8]) -> u64 {
        let time = Zoned::now().strftime("%b %e %H:%M:%S").to_string();
        let head = format!("<{PRIORITY}>{time} {} {TAG}: ", self.host_name);
        let mut lost = 0;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.message.clear();
            self.message.extend_from_slice(head.as_bytes());
            self.message.extend_from_slice(line);
            let sent = match self.socket.send(&self.message) {
                // It reports that an earlier message did not arrive; this one was not sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.socket.send(&self.message)
                }
                sent => sent,
            };
            lost += u64::from(sent.is_err());
        }
        lost
    }
}
