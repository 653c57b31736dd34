//! One lookup at one server, and its answer as a line of text that can be compared.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::lookups::{Comparison, DnsLookup};

/// How long a reply may take. Stub resolvers wait five seconds; a healthy server answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The size of a reply over UDP that a resolver without EDNS accepts is 512 bytes; this leaves room for servers that ignore it.
const MAX_REPLY: usize = 4096;

impl DnsLookup {
    /// Sends the query over UDP from a new port, as stub resolvers do, so that each lookup may reach another Pod. Returns the response
    /// code and, unless only the code is compared, the data of the records of the queried type, sorted.
    ///
    /// # Errors
    /// Why there was no reply.
    pub(crate) async fn send(&self, server: SocketAddr) -> Result<String, String> {
        let kind: RecordType = self.kind.parse().map_err(|_| format!("{:?} is no record type", self.kind))?;
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        let name = Name::from_ascii(&self.name).map_err(|error| error.to_string())?;
        query.add_query(Query::query(name, kind));
        let packet = query.to_vec().map_err(|error| error.to_string())?;
        let reply = match timeout(TIMEOUT, exchange(server, &packet)).await {
            Ok(reply) => reply.map_err(|error| format!("no reply: {error}"))?,
            Err(_) => return Err(format!("no reply within {} s", TIMEOUT.as_secs())),
        };
        let reply = Message::from_vec(&reply).map_err(|error| format!("unreadable reply: {error}"))?;
        if reply.metadata.id != query.metadata.id {
            return Err("a reply to another query".to_owned());
        }
        Ok(summary(&reply, kind, self.compare))
    }
}

async fn exchange(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut reply = vec![0; MAX_REPLY];
    loop {
        net::datagram::readable(&socket).await?;
        match socket.try_recv(&mut reply) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            received => {
                reply.truncate(received?);
                return Ok(reply);
            }
        }
    }
}

fn summary(reply: &Message, kind: RecordType, compare: Comparison) -> String {
    let code = match reply.metadata.response_code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        code => format!("{code:?}"),
    };
    // A truncated set is a random part of the whole one.
    if compare == Comparison::Code || reply.metadata.truncation {
        return code;
    }
    let of_kind = reply.answers.iter().filter(|record| record.record_type() == kind);
    let mut data: Vec<String> = of_kind.map(|record| record.data.to_string()).collect();
    data.sort_unstable();
    std::iter::once(code).chain(data).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends each packet back as a reply, after a change by `edit`.
    async fn server(edit: fn(&mut Message)) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut packet).await.unwrap();
                let mut message = Message::from_vec(&packet[..length]).unwrap();
                edit(&mut message);
                socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
            }
        });
        address
    }

    fn lookup(compare: Comparison) -> DnsLookup {
        DnsLookup { name: "a.example.".into(), kind: "A".into(), compare, external: false, stable: false }
    }

    fn add(message: &mut Message, ip: [u8; 4]) {
        let name = message.queries[0].name().clone();
        let data = hickory_proto::rr::RData::A(std::net::Ipv4Addr::from(ip).into());
        message.add_answer(hickory_proto::rr::Record::from_rdata(name, 30, data));
    }

    #[tokio::test]
    async fn records_are_compared_in_any_order() {
        let address = server(|message| {
            add(message, [10, 0, 0, 2]);
            add(message, [10, 0, 0, 1]);
        })
        .await;
        assert_eq!(lookup(Comparison::Records).send(address).await.unwrap(), "NOERROR 10.0.0.1 10.0.0.2");
        assert_eq!(lookup(Comparison::Code).send(address).await.unwrap(), "NOERROR");
    }

    #[tokio::test]
    async fn a_code_is_an_answer_and_a_foreign_reply_is_none() {
        let address = server(|message| message.metadata.response_code = ResponseCode::NXDomain).await;
        assert_eq!(lookup(Comparison::Records).send(address).await.unwrap(), "NXDOMAIN");
        let address = server(|message| message.metadata.id = message.metadata.id.wrapping_add(1)).await;
        assert!(lookup(Comparison::Records).send(address).await.is_err());
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = lookup(Comparison::Records).send(closed).await.unwrap_err();
        assert!(error.to_lowercase().contains("no reply: connection refused"), "{error}");
    }
}
