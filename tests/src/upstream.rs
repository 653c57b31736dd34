//! An upstream name server for `forward`: answers a few names and counts the queries.
//!
//! It runs in a thread with a separate network namespace, connected by a veth pair, because the server under test occupies
//! port 53 on all addresses of the test's namespace.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::dns::Transport;
use crate::namespace::ip;

/// The upstream's address, in a range for documentation (RFC 5737).
pub const UPSTREAM: &str = "192.0.2.53";

/// The interfaces of the veth pair: the test's and the upstream's.
const VETH: [&str; 2] = ["outward", "inward"];

/// A fully qualified name in lower case and its address.
pub type Address = (&'static str, [u8; 4]);

/// Makes the reply to a query; `None` for no reply.
pub type Responder = fn(&Message, Transport) -> Option<Message>;

type SharedResponder = Arc<dyn Fn(&Message, Transport) -> Option<Message> + Send + Sync>;

/// A name server on [`UPSTREAM`]. It is unreachable after the drop.
pub struct Upstream {
    queries: Arc<AtomicUsize>,
}

impl Upstream {
    /// Starts a server that answers A for `names`, NODATA for their other types and NXDOMAIN for other names.
    pub fn start(names: &'static [Address]) -> Upstream {
        Self::serve(Arc::new(|query: &Message, _| address_reply(query, names)))
    }

    /// Starts a server whose replies a function makes.
    pub fn start_with(responder: Responder) -> Upstream {
        Self::serve(Arc::new(responder))
    }

    fn serve(responder: SharedResponder) -> Upstream {
        let queries = Arc::new(AtomicUsize::new(0));
        let count = queries.clone();
        let ((thread_sender, thread), (link_sender, link_ready)) = (mpsc::channel(), mpsc::channel());
        let (ready_sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            // Moves only this thread and the threads that it starts.
            unshare(CloneFlags::CLONE_NEWNET).expect("root of the namespace may create another");
            let _ = thread_sender.send(gettid());
            let _ = link_ready.recv();
            configure_link(VETH[1], UPSTREAM);
            let datagrams = UdpSocket::bind((UPSTREAM, 53)).expect("the namespace has no other server");
            let listener = TcpListener::bind((UPSTREAM, 53)).expect("the namespace has no other server");
            let (tcp_count, tcp_responder) = (count.clone(), responder.clone());
            std::thread::spawn(move || serve_tcp(&listener, &tcp_count, &tcp_responder));
            let _ = ready_sender.send(());
            serve_udp(&datagrams, &count, &responder);
        });
        let thread = thread.recv().expect("the thread sends its ID").to_string();
        ip(&["link", "add", VETH[0], "type", "veth", "peer", "name", VETH[1], "netns", &thread])
            .expect("root of the namespace may create links");
        configure_link(VETH[0], "192.0.2.1");
        let _ = link_sender.send(());
        ready.recv().expect("the upstream has started");
        Upstream { queries }
    }

    /// The number of queries so far.
    pub fn query_count(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // The threads live until the test process ends, but the server is unreachable.
        let _ = ip(&["link", "delete", VETH[0]]);
    }
}

fn configure_link(end: &str, address: &str) {
    let set = ip(&["address", "add", &format!("{address}/24"), "dev", end]);
    set.and_then(|()| ip(&["link", "set", end, "up"])).expect("root of the namespace may set addresses");
}

fn serve_udp(socket: &UdpSocket, count: &AtomicUsize, responder: &SharedResponder) {
    let mut packet = [0; 4096];
    while let Ok((size, from)) = socket.recv_from(&mut packet) {
        if let Some(reply) = reply(&packet[..size], Transport::Udp, responder) {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&reply, from);
        }
    }
}

/// Serves each connection until its first malformed message.
fn serve_tcp(listener: &TcpListener, count: &Arc<AtomicUsize>, responder: &SharedResponder) {
    for mut stream in listener.incoming().flatten() {
        let (count, responder) = (count.clone(), responder.clone());
        std::thread::spawn(move || {
            let mut exchange = || -> io::Result<()> {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut query)?;
                let reply = reply(&query, Transport::Tcp, &responder).ok_or(io::ErrorKind::InvalidData)?;
                let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
                stream.write_all(&[&length.to_be_bytes(), &reply[..]].concat())
            };
            while exchange().is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

fn reply(packet: &[u8], transport: Transport, responder: &SharedResponder) -> Option<Vec<u8>> {
    responder(&Message::from_vec(packet).ok()?, transport)?.to_vec().ok()
}

fn address_reply(query: &Message, names: &[Address]) -> Option<Message> {
    let question = query.queries.first()?.clone();
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    let owner = question.name.to_string().to_ascii_lowercase();
    match names.iter().find(|(name, _)| *name == owner) {
        Some((_, address)) if question.query_type == RecordType::A => {
            let data = RData::A(A(Ipv4Addr::from(*address)));
            reply.add_answer(Record::from_rdata(question.name.clone(), 60, data));
        }
        Some(_) => {}
        None => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.add_query(question);
    Some(reply)
}
