//! Answers compared with those of hickory-server, which serves the same records from a zone file: an independent implementation
//! decides which names exist, which have no data of a type, and what the sections contain (RFC 1034 §4.3.2).
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::op::{Message, MessageType, OpCode, Query};
use hickory_server::proto::rr::{Name, Record, RecordType};
use hickory_server::proto::serialize::txt::Parser;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use support::{TestClient, TestService};

const ORIGIN: &str = "cluster.local.";

/// The records of `FakeCluster::listed` by the Kubernetes DNS specification 1.1.0 and, for addresses of ports, by CoreDNS. The
/// objects were changed at 1.
const ZONE: &str = "
$TTL 5
@ SOA ns.dns hostmaster 1 7200 1800 86400 5
@ NS ns.dns
dns-version 28800 TXT 1.1.0
web.default.svc A 10.96.0.10
web.default.svc SRV 0 100 80 web.default.svc
_http._tcp.web.default.svc SRV 0 100 80 web.default.svc
_http._tcp.web.default.svc A 10.96.0.10
many.default.svc A 10.96.0.11
many.default.svc A 10.96.0.12
many.default.svc AAAA fd00::11
many.default.svc SRV 0 33 80 many.default.svc
_http._tcp.many.default.svc SRV 0 33 80 many.default.svc
_http._tcp.many.default.svc A 10.96.0.11
_http._tcp.many.default.svc A 10.96.0.12
_http._tcp.many.default.svc AAAA fd00::11
ext.default.svc CNAME www.example.org.
";

/// Types of queries.
const TYPES: [RecordType; 9] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::TXT,
];

/// Which queries a rule covers, by their name and type.
type Covers = fn(&str, RecordType) -> bool;

/// Where CoreDNS's `kubernetes` plugin, and so this server, answers otherwise than RFC 1034 requires, and the code and number of
/// answers there.
const DIFFERENCES: &[(&str, Covers, &str)] = &[
    (
        "every name has an empty SOA set",
        |name, rtype| rtype == RecordType::SOA && name != ORIGIN,
        "No Error 0",
    ),
    (
        "no name servers accompany the SOA record, which is optional",
        |name, rtype| rtype == RecordType::SOA && name == ORIGIN,
        "No Error 1",
    ),
    (
        "a name between a port and its Service does not exist",
        |name, rtype| name.starts_with("_tcp.") && rtype != RecordType::SOA,
        "Non-Existent Domain 0",
    ),
    (
        "the version has no data of other types and does not exist there",
        |name, rtype| {
            name.starts_with("dns-version.") && ![RecordType::SOA, RecordType::TXT].contains(&rtype)
        },
        "Non-Existent Domain 0",
    ),
    (
        "an ExternalName is an alias only for addresses",
        |name, rtype| {
            let aliased = [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::SOA];
            name.starts_with("ext.") && !aliased.contains(&rtype)
        },
        "No Error 0",
    ),
];

/// Serves the zone file with hickory-server. Stops when the server is dropped.
async fn oracle() -> (Server<Catalog>, SocketAddr) {
    let origin: Name = ORIGIN.parse().unwrap();
    let (origin, records) = Parser::new(ZONE, None, Some(origin)).parse().unwrap();
    let zone = InMemoryZoneHandler::<TokioRuntimeProvider>::new(
        origin.clone(),
        records,
        ZoneType::Primary,
        AxfrPolicy::Deny,
    );
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone.unwrap()) as Arc<dyn ZoneHandler>]);
    let mut server = Server::new(catalog);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    server.register_socket(socket);
    (server, address)
}

/// Every name of the zone file, the names above them, and names beside and below all of these.
fn names() -> BTreeSet<Name> {
    let origin: Name = ORIGIN.parse().unwrap();
    let mut names = BTreeSet::new();
    for owner in ZONE.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.starts_with('$'))
    {
        let mut name = match owner {
            "" | "@" => origin.clone(),
            owner => Name::parse(owner, Some(&origin)).unwrap(),
        };
        while origin.zone_of(&name) {
            names.insert(name.clone());
            names.insert(name.prepend_label("none").unwrap());
            name = name.base_name();
        }
    }
    names
}

/// What two servers must agree on: the code, the flags, and the records of two sections in any order.
#[derive(Debug, PartialEq)]
struct Answer {
    code: String,
    /// AA, TC and RD.
    flags: [bool; 3],
    answers: Vec<String>,
    authorities: Vec<String>,
}

impl Answer {
    fn of(server: SocketAddr, name: &Name, rtype: RecordType) -> Self {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), rtype));
        let packet = TestClient::udp(server).exchange(&message.to_vec().unwrap()).expect("a reply");
        let message = Message::from_vec(&packet).unwrap();
        let metadata = &message.metadata;
        Self {
            code: metadata.response_code.to_string(),
            flags: [metadata.authoritative, metadata.truncation, metadata.recursion_desired],
            answers: lines(&message.answers),
            authorities: lines(&message.authorities),
        }
    }
}

fn lines(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<_> = records.iter().map(|record| record.to_string().to_lowercase()).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_another_server_with_the_same_records() {
    let (_server, oracle) = oracle().await;
    let service = TestService::start(".:0 {\nkubernetes cluster.local\n}").await;
    let mut wrong = String::new();
    let (mut same, mut different) = (0, BTreeSet::new());
    for name in names() {
        for rtype in TYPES {
            let [own, other] = [service.address, oracle].map(|server| Answer::of(server, &name, rtype));
            let text = name.to_string();
            match DIFFERENCES.iter().find(|(_, covers, _)| own != other && covers(&text, rtype)) {
                Some((rule, _, expected)) => {
                    different.insert(*rule);
                    assert_eq!(format!("{} {}", own.code, own.answers.len()), *expected, "{name} {rtype}");
                }
                None if own == other => same += 1,
                None => wrong += &format!("{name} {rtype}\n  here  {own:?}\n  other {other:?}\n"),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(same > 100, "only {same} answers were compared");
    assert_eq!(different.len(), DIFFERENCES.len(), "a rule without a case: {different:?}");
    service.stop().await;
}
