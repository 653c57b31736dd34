//! A resolver like systemd-resolved: it begins with the best protocol features and falls back to fewer ones for a server that does not
//! answer them properly. A and AAAA of a name are asked at the same time, over one socket.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tests::stage::{DNS, SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};

use crate::manifests::namespace;

/// What a query has, from the least that systemd-resolved falls back to. The names are its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FeatureLevel {
    Tcp,
    Udp,
    Edns0,
    /// With DO and CD, and the longest reply that it accepts.
    Dnssec,
}

const LEVELS: [FeatureLevel; 4] =
    [FeatureLevel::Dnssec, FeatureLevel::Edns0, FeatureLevel::Udp, FeatureLevel::Tcp];

const TIMEOUT: Duration = Duration::from_secs(5);

impl FeatureLevel {
    fn query(self, id: u16, name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.metadata.id = id;
        query.metadata.recursion_desired = true;
        query.metadata.checking_disabled = self == FeatureLevel::Dnssec;
        query.add_query(Query::query(Name::from_ascii(name).expect("tests use valid names"), kind));
        if let FeatureLevel::Edns0 | FeatureLevel::Dnssec = self {
            let mut edns = Edns::new();
            edns.set_max_payload(if self == FeatureLevel::Edns0 { 512 } else { 1_472 });
            edns.set_dnssec_ok(self == FeatureLevel::Dnssec);
            query.set_edns(edns);
        }
        query
    }
}

/// Asks for both families. A reply that would make systemd-resolved fall back to a lower level is an error.
fn lookup(server: SocketAddr, level: FeatureLevel, name: &str) -> Result<BTreeMap<String, String>, String> {
    let kinds = [RecordType::A, RecordType::AAAA];
    let queries = [0, 1].map(|at| level.query(7 + at as u16, name, kinds[at]));
    let mut replies = match level {
        FeatureLevel::Tcp => over_tcp(server, &queries),
        _ => over_udp(server, &queries),
    }
    .map_err(|error| format!("{name} {level:?}: {error}"))?;
    let mut found = BTreeMap::new();
    for (query, kind) in queries.iter().zip(kinds) {
        let mut reply =
            replies.remove(&query.metadata.id).ok_or_else(|| format!("{name} {kind}: no reply"))?;
        if reply.metadata.truncation {
            let again = over_tcp(server, std::slice::from_ref(query)).map_err(|error| error.to_string())?;
            reply = again.into_values().next().ok_or("no reply over TCP")?;
        }
        let (code, edns) = (reply.metadata.response_code, &reply.edns);
        let degrades = reply.queries != query.queries
            || edns.is_some() != query.edns.is_some()
            || edns.as_ref().map(|edns| edns.flags().dnssec_ok)
                != query.edns.as_ref().map(|edns| edns.flags().dnssec_ok)
            || !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
        if degrades {
            return Err(format!("{name} {kind} {level:?}: {reply}"));
        }
        let mut records: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
        records.sort();
        let text = if records.is_empty() {
            code.to_string()
        } else {
            format!("{} records: {records:?}", records.len())
        };
        found.insert(kind.to_string(), text);
    }
    Ok(found)
}

fn over_udp(server: SocketAddr, queries: &[Message]) -> io::Result<BTreeMap<u16, Message>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    for query in queries {
        socket.send(&query.to_vec().map_err(io::Error::other)?)?;
    }
    let mut packet = [0; 1_472];
    let mut next = || {
        let length = socket.recv(&mut packet)?;
        Message::from_vec(&packet[..length]).map_err(io::Error::other)
    };
    queries.iter().map(|_| next().map(|reply| (reply.metadata.id, reply))).collect()
}

/// All queries are sent before the first reply is read.
fn over_tcp(server: SocketAddr, queries: &[Message]) -> io::Result<BTreeMap<u16, Message>> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    for query in queries {
        let query = query.to_vec().map_err(io::Error::other)?;
        stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat())?;
    }
    let mut next = || {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply)?;
        Message::from_vec(&reply).map_err(io::Error::other)
    };
    queries.iter().map(|_| next().map(|reply| (reply.metadata.id, reply))).collect()
}

pub(crate) fn systemd_resolved_stays_at_its_best_feature_level(stage: &mut Stage) {
    let api = &stage.plane.api;
    api.apply(&namespace("feature-levels"));
    api.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: many, namespace: feature-levels }
spec: { clusterIP: None, ports: [{ name: http, port: 80 }] }
",
    );
    // More addresses than fit into the longest reply over UDP.
    for part in 0..2 {
        let endpoints: Vec<String> =
            (1..=100).map(|last| format!("{{ addresses: [10.244.{}.{last}] }}", 90 + part)).collect();
        api.apply(&format!(
            "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: many-{part}, namespace: feature-levels, labels: {{ kubernetes.io/service-name: many }} }}
addressType: IPv4
ports: [{{ name: http, port: 80 }}]
endpoints: [{}]
",
            endpoints.join(", ")
        ));
    }
    let _upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 9])]);
    let corefile =
        stage.corefile("").replace("    errors", &format!("    errors\n    cache\n    forward . {UPSTREAM}"));
    let _dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "www.example.test A = 192.0.2.9");
    let server = SocketAddr::new(DNS.parse().expect("an address"), 53);
    for (name, v4) in [
        ("kubernetes.default.svc.cluster.local.", "1 records: [\"10.96.0.1\"]"),
        ("none.default.svc.cluster.local.", "Non-Existent Domain"),
        ("many.feature-levels.svc.cluster.local.", "200 records"),
        ("www.example.test.", "1 records: [\"192.0.2.9\"]"),
        ("none.example.test.", "Non-Existent Domain"),
    ] {
        let found =
            LEVELS.map(|level| lookup(server, level, name).unwrap_or_else(|problem| panic!("{problem}")));
        assert!(found[0]["A"].starts_with(v4), "{name}: {:?}", found[0]);
        for (level, other) in LEVELS.iter().zip(&found) {
            assert_eq!(*other, found[0], "{name} {level:?}");
        }
    }
}
