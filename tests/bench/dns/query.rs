//! Query packets, and the check of their answers.

use crate::dns::service::Service;

/// The kinds of query about a Service.
#[derive(Clone, Copy)]
pub(crate) enum QueryKind {
    /// A: its ClusterIP.
    Address,
    /// A for a name that does not exist: the first one that a resolver with `ndots:5` tries.
    Missing,
    /// SRV: its port.
    Port,
    /// AAAA: the name exists and has no such record.
    NoData,
}

/// A query packet and the answer that is correct for it.
pub(crate) struct TestQuery {
    pub(crate) packet: Vec<u8>,
    expected: ExpectedAnswer,
}

#[derive(Debug)]
enum ExpectedAnswer {
    Address([u8; 4]),
    NxDomain,
    NoData,
    /// This number of addresses.
    Addresses(u8),
    Port(u16),
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const HEADER: usize = 12;

impl TestQuery {
    /// Builds a query. `id` is its index in the list of queries, by which a reply is matched.
    pub(crate) fn new(id: u16, kind: QueryKind, service: &Service) -> Self {
        let host = service.host();
        let (name, qtype, expected) = match kind {
            QueryKind::Address => (host, A, ExpectedAnswer::Address(service.address.octets())),
            QueryKind::Missing => {
                (format!("{host}.{}.svc.cluster.local", service.namespace), A, ExpectedAnswer::NxDomain)
            }
            QueryKind::Port => (format!("_http._tcp.{host}"), SRV, ExpectedAnswer::Port(service.port)),
            QueryKind::NoData => (host, AAAA, ExpectedAnswer::NoData),
        };
        Self::build(id, &name, qtype, expected)
    }

    /// A query for the address of any name, which has this number of them; 0: it does not exist.
    pub(crate) fn addresses(id: u16, name: &str, count: u8) -> Self {
        let expected = if count == 0 { ExpectedAnswer::NxDomain } else { ExpectedAnswer::Addresses(count) };
        Self::build(id, name, A, expected)
    }

    fn build(id: u16, name: &str, qtype: u16, expected: ExpectedAnswer) -> Self {
        let mut packet = id.to_be_bytes().to_vec();
        packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // recursion desired, one question
        packet.extend(encode_name(name));
        packet.extend(qtype.to_be_bytes());
        packet.extend([0, 1]);
        Self { packet, expected }
    }

    /// Whether `reply` is the correct answer.
    pub(crate) fn answered_by(&self, reply: &[u8]) -> bool {
        let asked = self.packet.len();
        if reply.len() < asked
            || reply[..2] != self.packet[..2]
            || reply[HEADER..asked] != self.packet[HEADER..]
        {
            return false;
        }
        let (is_reply, rcode) = (reply[2] & 0x80 != 0, reply[3] & 0x0f);
        let (answers, authority) = (reply[7], reply[9]);
        let data = || first_record(&reply[asked..]);
        is_reply
            && match self.expected {
                ExpectedAnswer::NxDomain => rcode == 3 && answers == 0 && authority == 1,
                ExpectedAnswer::NoData => rcode == 0 && answers == 0 && authority == 1,
                ExpectedAnswer::Addresses(count) => {
                    rcode == 0 && answers == count && data().is_some_and(|(rtype, _)| rtype == A)
                }
                ExpectedAnswer::Address(address) => {
                    rcode == 0 && answers == 1 && data() == Some((A, &address[..]))
                }
                ExpectedAnswer::Port(port) => {
                    let found = data().filter(|(rtype, data)| *rtype == SRV && data.len() > 6);
                    rcode == 0
                        && answers == 1
                        && found.is_some_and(|(_, data)| data[4..6] == port.to_be_bytes())
                }
            }
    }
}

/// Encodes a name in wire format.
pub(crate) fn encode_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// Type and RDATA of the first record.
fn first_record(records: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = 0;
    loop {
        match records.get(at)? {
            0 => break at += 1,
            0xc0.. => break at += 2,
            length => at += 1 + usize::from(*length),
        }
    }
    let fixed = records.get(at..at + 10)?;
    let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    Some((u16::from_be_bytes([fixed[0], fixed[1]]), records.get(at + 10..at + 10 + length)?))
}
