//! A name server of the outside world, for what `forward` sends on: it knows a few names and counts the questions.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

/// Its address.
pub const UPSTREAM: &str = "10.244.53.53";

/// A name server on [`UPSTREAM`], until the test ends or it is dropped and asked once more.
pub struct Upstream {
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers A for these names, NODATA for their other types and NXDOMAIN for everything else, over UDP.
    pub fn start(names: &'static [(&'static str, [u8; 4])]) -> Upstream {
        let socket = UdpSocket::bind((UPSTREAM, 53)).expect("nobody else is the upstream");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::downgrade(&asked);
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((size, from)) = socket.recv_from(&mut packet) {
                let Some(count) = count.upgrade() else { return };
                let Some(reply) =
                    Message::from_vec(&packet[..size]).ok().and_then(|query| reply(query, names))
                else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&reply, from);
            }
        });
        Upstream { asked }
    }

    /// How many questions it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // One more packet, so that the thread sees that nobody counts any more and frees the port.
        if let Ok(socket) = UdpSocket::bind((UPSTREAM, 0)) {
            let last = std::mem::take(&mut self.asked);
            drop(last);
            let _ = socket.send_to(b"end", (UPSTREAM, 53));
        }
    }
}

fn reply(query: Message, names: &[(&str, [u8; 4])]) -> Option<Vec<u8>> {
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
