//! A name server of the outside world, for what `forward` sends on: it knows a few names and counts the questions.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use socket2::{Domain, Socket, Type};

/// Its address.
pub const UPSTREAM: &str = "10.244.53.53";

/// A full name in lower case, and its address.
pub type Address = (&'static str, [u8; 4]);

/// A name server on [`UPSTREAM`], until the test ends or it is dropped and asked once more.
pub struct Upstream {
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers A for these names, NODATA for their other types and NXDOMAIN for everything else, over UDP and TCP.
    pub fn start(names: &'static [Address]) -> Upstream {
        let asked = Arc::new(AtomicUsize::new(0));
        let datagrams: UdpSocket = socket(Type::DGRAM).expect("nobody else is the upstream").into();
        let listener: TcpListener = socket(Type::STREAM)
            .and_then(|socket| socket.listen(16).map(|()| socket.into()))
            .expect("nobody else is the upstream");
        let (udp, tcp) = (Arc::downgrade(&asked), Arc::downgrade(&asked));
        std::thread::spawn(move || serve_udp(&datagrams, &udp, names));
        std::thread::spawn(move || serve_tcp(&listener, &tcp, names));
        Upstream { asked }
    }

    /// How many questions it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.asked));
        // One more of each, so that the threads see that nobody counts any more and free the port.
        if let Ok(socket) = UdpSocket::bind((UPSTREAM, 0)) {
            let _ = socket.send_to(b"end", (UPSTREAM, 53));
        }
        let _ = TcpStream::connect((UPSTREAM, 53));
    }
}

fn serve_udp(socket: &UdpSocket, count: &Weak<AtomicUsize>, names: &[Address]) {
    let mut packet = [0; 4096];
    while let Ok((size, from)) = socket.recv_from(&mut packet) {
        let Some(count) = count.upgrade() else { return };
        if let Some(reply) = reply(&packet[..size], names) {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&reply, from);
        }
    }
}

/// A connection ends with its first broken message.
fn serve_tcp(listener: &TcpListener, count: &Weak<AtomicUsize>, names: &'static [Address]) {
    for mut stream in listener.incoming().flatten() {
        if count.upgrade().is_none() {
            return;
        }
        let count = count.clone();
        std::thread::spawn(move || {
            let mut exchange = || -> io::Result<()> {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut query)?;
                let reply = reply(&query, names).ok_or(io::ErrorKind::InvalidData)?;
                let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
                stream.write_all(&[&length.to_be_bytes(), &reply[..]].concat())
            };
            while exchange().is_ok() {
                count.upgrade().inspect(|count| _ = count.fetch_add(1, Ordering::Relaxed));
            }
        });
    }
}

/// The server under test has port 53 of every address; SO_REUSEPORT on both sides lets one address be somebody else's.
fn socket(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    let address: Ipv4Addr = UPSTREAM.parse().map_err(io::Error::other)?;
    socket.bind(&SocketAddr::from((address, 53)).into())?;
    Ok(socket)
}

fn reply(packet: &[u8], names: &[Address]) -> Option<Vec<u8>> {
    let query = Message::from_vec(packet).ok()?;
    let question = query.queries.first()?.clone();
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    let asked = question.name.to_string().to_ascii_lowercase();
    match names.iter().find(|(name, _)| *name == asked) {
        Some((_, address)) if question.query_type == RecordType::A => {
            let data = RData::A(A(Ipv4Addr::from(*address)));
            reply.add_answer(Record::from_rdata(question.name.clone(), 60, data));
        }
        Some(_) => {}
        None => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.add_query(question);
    reply.to_vec().ok()
}
