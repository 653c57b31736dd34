//! A DNS client that compares answers with a table in text form.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::wait;

/// How long one query waits for its reply.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A client of one DNS server.
#[derive(Clone, Copy, Debug)]
pub struct DnsClient(pub SocketAddr);

/// The transport protocol of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transport {
    /// One UDP datagram each way.
    Udp,
    /// A new TCP connection for each query.
    Tcp,
}

impl DnsClient {
    /// Sends one query. Checks that the reply belongs to it.
    pub fn query(&self, transport: Transport, name: &str, kind: RecordType) -> io::Result<Message> {
        self.exchange(transport, name, kind, false)
    }

    /// Sends one query with the DO bit (RFC 3225).
    pub fn query_with_dnssec(
        &self,
        transport: Transport,
        name: &str,
        kind: RecordType,
    ) -> io::Result<Message> {
        self.exchange(transport, name, kind, true)
    }

    fn exchange(
        &self,
        transport: Transport,
        name: &str,
        kind: RecordType,
        dnssec: bool,
    ) -> io::Result<Message> {
        let mut query = Message::query();
        let id = query.metadata.id;
        query.metadata.recursion_desired = true;
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        edns.set_dnssec_ok(dnssec);
        query.set_edns(edns);
        let mut owner = Name::from_ascii(name).map_err(io::Error::other)?;
        owner.set_fqdn(true);
        query.add_query(Query::query(owner.clone(), kind));
        let packet = query.to_vec().map_err(io::Error::other)?;
        let reply = match transport {
            Transport::Udp => self.over_udp(&packet)?,
            Transport::Tcp => self.over_tcp(&packet)?,
        };
        let reply = Message::from_vec(&reply).map_err(io::Error::other)?;
        let repeated = reply.queries.first().is_some_and(|query| query.name == owner);
        match reply.metadata.id == id && repeated {
            true => Ok(reply),
            false => Err(io::Error::other(format!("a reply to {:?}", reply.queries.first()))),
        }
    }

    /// The answer for a name and type in the notation of [`DnsClient::expect`].
    pub fn summary(&self, transport: Transport, name: &str, kind: RecordType) -> String {
        match self.query(transport, name, kind) {
            Ok(reply) => summary(&reply, kind),
            Err(error) => format!("no reply over {transport:?}: {error}"),
        }
    }

    /// Waits until every row of `table` matches the answer over UDP, then checks all rows over TCP.
    ///
    /// A row is `NAME TYPE = ANSWER`. An answer is the comma-separated data of all records in any order, with the type
    /// before the data if it differs from the queried one, or `NXDOMAIN`, `NODATA`, `SERVFAIL`, `REFUSED`.
    #[track_caller]
    pub fn expect(&self, limit: Duration, table: &str) {
        let rows = rows(table);
        wait::until("the answers", limit, || self.check(Transport::Udp, &rows));
        if let Err(problem) = self.check(Transport::Tcp, &rows) {
            panic!("UDP matches, TCP does not: {problem}");
        }
    }

    /// Checks every row of `table` once over UDP.
    pub fn matches(&self, table: &str) -> Result<(), String> {
        self.check(Transport::Udp, &rows(table))
    }

    fn check(&self, transport: Transport, rows: &[Row<'_>]) -> Result<(), String> {
        let wrong: Vec<String> = rows.iter().filter_map(|row| row.problem(self, transport)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("\n  {}", wrong.join("\n  "))) }
    }

    fn over_udp(&self, packet: &[u8]) -> io::Result<Vec<u8>> {
        let any: SocketAddr = if self.0.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(any)?;
        // A connected socket receives replies only from the queried address, like every stub resolver.
        socket.connect(self.0)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.send(packet)?;
        let mut reply = vec![0; 65535];
        let length = socket.recv(&mut reply)?;
        reply.truncate(length);
        Ok(reply)
    }

    /// RFC 1035 section 4.2.2: two bytes of length before each message.
    fn over_tcp(&self, packet: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.0, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), packet].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply)?;
        Ok(reply)
    }
}

struct Row<'a> {
    name: &'a str,
    kind: RecordType,
    wanted: BTreeSet<&'a str>,
}

impl Row<'_> {
    fn problem(&self, server: &DnsClient, transport: Transport) -> Option<String> {
        let Row { name, kind, wanted } = self;
        let answer = server.summary(transport, name, *kind);
        let found: BTreeSet<&str> = answer.split(", ").collect();
        (found != *wanted).then(|| {
            let wanted: Vec<&str> = wanted.iter().copied().collect();
            format!("{name} {kind}: got {answer:?}, expected {:?}", wanted.join(", "))
        })
    }
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let rows: Vec<Row<'_>> = lines.map(row).collect();
    assert!(!rows.is_empty(), "a table without rows proves nothing");
    rows
}

fn row(line: &str) -> Row<'_> {
    let (question, answer) = line.split_once(" = ").unwrap_or_else(|| panic!("no ` = ` in row {line:?}"));
    let (name, kind) = question.trim().split_once(' ').unwrap_or_else(|| panic!("no type in row {line:?}"));
    let kind = RecordType::from_str(kind.trim()).unwrap_or_else(|_| panic!("no record type in row {line:?}"));
    Row { name, kind, wanted: answer.trim().split(", ").collect() }
}

fn summary(reply: &Message, kind: RecordType) -> String {
    let soa = reply.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
    match reply.metadata.response_code {
        // RFC 2308 section 5: without its SOA a negative answer cannot be cached.
        ResponseCode::NXDomain if soa => return "NXDOMAIN".to_owned(),
        ResponseCode::NXDomain => return "NXDOMAIN without SOA".to_owned(),
        ResponseCode::NoError => {}
        ResponseCode::ServFail => return "SERVFAIL".to_owned(),
        ResponseCode::Refused => return "REFUSED".to_owned(),
        other => return format!("{other:?}"),
    }
    if reply.answers.is_empty() {
        return if soa { "NODATA".to_owned() } else { "NODATA without SOA".to_owned() };
    }
    let answer = reply.answers.iter().map(|record| match record.record_type() {
        own if own == kind => record.data.to_string(),
        other => format!("{other} {}", record.data),
    });
    let mut answer: Vec<String> = answer.collect();
    answer.sort();
    answer.join(", ")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{A, CNAME, SOA};
    use hickory_proto::rr::{RData, Record};

    use super::*;

    fn reply(code: ResponseCode) -> Message {
        let mut reply = Message::response(1, OpCode::Query);
        reply.metadata.response_code = code;
        reply
    }

    fn record(data: RData) -> Record {
        Record::from_rdata(Name::from_ascii("x.").unwrap(), 5, data)
    }

    #[test]
    fn a_reply_reads_as_one_line() {
        let name = Name::from_ascii("ns.").unwrap();
        let soa = RData::SOA(SOA::new(name.clone(), name, 1, 2, 3, 4, 5));
        let address = |last| RData::A(A(Ipv4Addr::new(10, 0, 0, last)));

        let mut answered = reply(ResponseCode::NoError);
        answered.add_answers([record(address(2)), record(address(1))]);
        assert_eq!(summary(&answered, RecordType::A), "10.0.0.1, 10.0.0.2");
        answered.add_answer(record(RData::CNAME(CNAME(Name::from_ascii("y.").unwrap()))));
        assert_eq!(summary(&answered, RecordType::A), "10.0.0.1, 10.0.0.2, CNAME y.");

        for (code, words) in [(ResponseCode::NXDomain, "NXDOMAIN"), (ResponseCode::NoError, "NODATA")] {
            let mut negative = reply(code);
            assert_eq!(summary(&negative, RecordType::A), format!("{words} without SOA"));
            negative.add_authority(record(soa.clone()));
            assert_eq!(summary(&negative, RecordType::A), words);
        }
        assert_eq!(summary(&reply(ResponseCode::ServFail), RecordType::A), "SERVFAIL");
    }

    #[test]
    fn a_row_holds_answers_in_any_order() {
        let row = row("web.shop.svc.cluster.local   SRV = 0 50 80 b., 0 50 80 a.");
        assert_eq!((row.name, row.kind), ("web.shop.svc.cluster.local", RecordType::SRV));
        assert!(row.wanted.into_iter().eq(["0 50 80 a.", "0 50 80 b."]));
    }
}
